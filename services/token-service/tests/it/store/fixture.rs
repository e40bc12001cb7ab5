//! Stores to test, and things to put into them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use token_jose::sha256;
use token_service::store::{
    Check, Child, Family, FamilyKind, MemoryStore, Opened, Presented, Proposal, RedisOptions, RedisStore, Standing,
    Store, TokenId, UserKey,
};
use token_shell::OsIds;
use token_testkit::{Redis, RedisCluster, TestClock};

/// Tests whose clock is a value live in a time that no server's own clock reaches: entries end when the test says so.
pub fn clock() -> TestClock {
    TestClock::at("2100-01-01T00:00:00Z")
}

pub fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(OsIds), 100_000))
}

pub async fn redis(options: &RedisOptions) -> RedisStore {
    RedisStore::connect(options, Arc::new(OsIds)).await.unwrap()
}

pub fn single(server: &Redis) -> RedisOptions {
    RedisOptions::single(server.url())
}

pub fn cluster(servers: &RedisCluster) -> RedisOptions {
    RedisOptions::cluster(servers.urls())
}

/// 16 bytes that were not there before.
pub fn fresh() -> [u8; 16] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    sha256(&number.to_be_bytes())[..16].try_into().unwrap()
}

pub fn id(user: &str) -> TokenId {
    TokenId::new(&UserKey::of(user), fresh())
}

/// A refresh token, as far as the store knows it.
pub fn hash(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

pub fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(seconds)
}

pub fn family(user: &str, kind: FamilyKind, standing: Standing, now: Timestamp, seconds: i64) -> Family {
    Family {
        id: id(user),
        user: user.to_owned(),
        kind,
        client: "api-key:backend".to_owned(),
        scopes: vec!["orders:read".to_owned(), "orders:write".to_owned()],
        audience: vec!["https://orders.example.com".to_owned()],
        session_id: Some("session-1".to_owned()),
        network: Some("mainnet".to_owned()),
        rate_limit: Some(100),
        extra: BTreeMap::from([("tenant".to_owned(), serde_json::json!("acme"))]),
        access_ttl_s: 900,
        jkt: None,
        renews: kind == FamilyKind::Parent,
        created: now,
        expires: after(now, seconds),
        standing,
    }
}

/// Opens a refresh family of one hour, whose first token is `token`.
pub async fn opened(store: &dyn Store, user: &str, token: &str, now: Timestamp) -> Family {
    let standing = store.standing(&UserKey::of(user), after(now, 3600), now).await.unwrap();
    let family = family(user, FamilyKind::Refresh, standing, now, 3600);
    assert_eq!(store.open(&family, Some(hash(token)), now).await.unwrap(), Opened::Open);
    family
}

/// Opens a parent of one hour.
pub async fn parent(store: &dyn Store, user: &str, now: Timestamp) -> Family {
    let standing = store.standing(&UserKey::of(user), after(now, 3600), now).await.unwrap();
    let family = family(user, FamilyKind::Parent, standing, now, 3600);
    assert_eq!(store.open(&family, None, now).await.unwrap(), Opened::Open);
    family
}

/// The rightful client with `token`.
pub fn presented<'a>(family: &'a Family, token: &str) -> Presented<'a> {
    Presented {
        family: family.id,
        hash: hash(token),
        client: &family.client,
        jkt: family.jkt.as_deref(),
        scope: hash("scope"),
        may_reanswer: true,
    }
}

pub fn proposal(family: &Family, next: &str) -> Proposal {
    Proposal { next: hash(next), access: id(&family.user), sealed: format!("sealed answer with {next}").into_bytes() }
}

pub fn child(user: &str, now: Timestamp, seconds: i64) -> Child {
    Child { id: id(user), issued: now, expires: after(now, seconds), seq: 0 }
}

pub fn check<'a>(user: &'a UserKey, standing: Standing, jti: TokenId, family: Option<TokenId>) -> Check<'a> {
    Check { user, standing, jti, family, rate: None }
}
