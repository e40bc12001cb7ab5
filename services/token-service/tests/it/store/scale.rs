//! How much a family costs in Redis, and that a request costs the same among a thousand families and a million.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use token_service::store::{
    Family, FamilyKind, FamilyStore as _, Rate, RedisStore, RevocationStore as _, Store, UserKey, Verdict,
};
use token_shell::{Clock as _, SystemClock};
use token_testkit::{Redis, RedisReply};

use super::fixture::{after, check, family, hash, id, memory, presented, proposal, redis, single};

const BOUND: i64 = 1024;

fn now() -> Timestamp {
    SystemClock.now()
}

/// A family as full as they come in practice: bound, two scopes, an audience, a session, a claim.
async fn add(store: &dyn Store, number: usize) -> Family {
    let user = format!("user-{number:07}@example.com");
    let now = now();
    let standing = store.standing(&UserKey::of(&user), after(now, 86_400), now).await.unwrap();
    let kind = if number.is_multiple_of(2) { FamilyKind::Refresh } else { FamilyKind::Parent };
    let mut family = family(&user, kind, standing, now, 86_400);
    family.jkt = Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned());
    let current = (kind == FamilyKind::Refresh).then(|| hash("t0"));
    store.open(&family, current, now).await.unwrap();
    family
}

fn memory_of(server: &Redis, key: &str) -> i64 {
    match server.command(&["MEMORY", "USAGE", key]) {
        RedisReply::Int(bytes) => bytes,
        other => panic!("{key}: {other:?}"),
    }
}

/// `used_memory` for each family, everything that Redis needs for it included.
#[tokio::test]
async fn a_family_costs_at_most_a_kibibyte() {
    let Some(server) = Redis::start() else { return };
    let store = Arc::new(redis(&single(&server)).await);
    for number in 0..200 {
        add(store.as_ref(), number).await;
    }
    let before: i64 = server.info("used_memory").parse().unwrap();
    const MORE: usize = 2000;
    for number in 200..200 + MORE {
        add(store.as_ref(), number).await;
    }
    let after: i64 = server.info("used_memory").parse().unwrap();
    let each = (after - before) / i64::try_from(MORE).unwrap();
    for kind in ["u", "f"] {
        let keys = server.command(&["KEYS", &format!("*}}:{kind}:*")]);
        let largest = keys.array().iter().take(20).map(|key| memory_of(&server, &key.text())).max();
        println!("MEMORY USAGE of a {kind} key: {largest:?}");
    }
    println!("used_memory per family, with user, expiry and hint: {each} bytes");
    assert!(each <= BOUND, "{each} bytes per family");
}

async fn measure(store: &RedisStore, families: &[Family]) -> [Duration; 3] {
    const CALLS: usize = 2000;
    let picked: Vec<_> = (0..CALLS).map(|call| &families[(call * 7919) % families.len()]).collect();
    let started = Instant::now();
    for family in &picked {
        let user = UserKey::of(&family.user);
        let mut one = check(&user, family.standing, id(&family.user), Some(family.id));
        one.rate = Rate::per_minute(100_000);
        assert_eq!(store.check(&one, now()).await.unwrap(), Verdict::Live);
    }
    let checks = started.elapsed();
    let started = Instant::now();
    for family in &picked {
        assert!(store.load(&family.id, now()).await.unwrap().is_ok());
    }
    let loads = started.elapsed();
    let started = Instant::now();
    for _ in 0..CALLS / 4 {
        let fresh =
            add(store, 20_000_000 + usize::try_from(started.elapsed().as_nanos() % 1_000_000_000).unwrap() * 2).await;
        let next = proposal(&fresh, "t1");
        store.refresh(&presented(&fresh, "t0"), Some(&next), now()).await.unwrap();
    }
    let calls = u32::try_from(CALLS).unwrap();
    [checks / calls, loads / calls, started.elapsed() / (calls / 4)]
}

/// `cargo nextest run -p token-service scale --run-ignored only --no-capture` prints the figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: fills a Redis with a million families"]
async fn a_request_costs_the_same_among_a_million() {
    let Some(server) = Redis::start() else { return };
    let store = Arc::new(redis(&single(&server)).await);
    let mut families: Vec<Family> = Vec::new();
    let empty: i64 = server.info("used_memory").parse().unwrap();
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        while families.len() < size {
            let many = (families.len()..(families.len() + 500).min(size)).map(|number| {
                let store = Arc::clone(&store);
                async move { add(store.as_ref(), number).await }
            });
            families.extend(futures_util::future::join_all(many).await);
        }
        let used: i64 = server.info("used_memory").parse().unwrap();
        let cpu = |server: &Redis| {
            server.info("used_cpu_user").parse::<f64>().unwrap() + server.info("used_cpu_sys").parse::<f64>().unwrap()
        };
        let before = cpu(&server);
        let [check, load, rotate] = measure(&store, &families).await;
        let spent = (cpu(&server) - before) * 1e6 / 5500.0;
        println!(
            "{size} families: {} bytes each; check {check:?}, load {load:?}, standing + open + rotate {rotate:?}; Redis CPU {spent:.1} us per call",
            (used - empty) / i64::try_from(size).unwrap()
        );
    }
}

/// Expired entries go a few at a time: no call pays for all of them, and none stays for good.
#[tokio::test]
async fn memory_sweeps_as_it_goes() {
    let store = token_service::store::MemoryStore::new(Arc::new(token_shell::OsIds), 20_000);
    let start = now();
    let until = after(start, 10);
    for number in 0..10_000 {
        let user = format!("user {number}");
        store.standing(&UserKey::of(&user), until, start).await.unwrap();
    }
    assert_eq!(store.len().unwrap(), 10_000);
    let late = after(start, 1000);
    store.standing(&UserKey::of("one more"), after(late, 10), late).await.unwrap();
    assert!(store.len().unwrap() > 9_900, "one call does not sweep all");
    for _ in 0..2_000 {
        store.standing(&UserKey::of("one more"), after(late, 10), late).await.unwrap();
    }
    assert_eq!(store.len().unwrap(), 1, "and nothing stays");
}

/// A full store refuses new entries, still revokes, and takes new ones when old ones are over.
#[tokio::test]
async fn memory_is_bounded() {
    let store = token_service::store::MemoryStore::new(Arc::new(token_shell::OsIds), 100);
    let start = now();
    let until = after(start, 10);
    for number in 0..100 {
        store.standing(&UserKey::of(&format!("user {number}")), until, start).await.unwrap();
    }
    let error = store.standing(&UserKey::of("one more"), until, start).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert!(store.standing(&UserKey::of("user 5"), until, start).await.is_ok(), "who is there stays");
    let revoked = store.revoke(&token_service::store::Target::Token(id("user 5")), until, start).await;
    assert_eq!(revoked, Ok(token_service::store::Revoked::Token));
    let late = after(start, 100);
    assert!(store.standing(&UserKey::of("one more"), after(late, 10), late).await.is_ok());
    let _ = memory();
}
