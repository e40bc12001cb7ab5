//! Somebody else writes into our Redis: what is found there is an outage of ours or a refusal, never a live token.

use token_service::store::{
    FamilyStore, Rate, RedisError, RedisOptions, RefreshOutcome, RenewOutcome, ReplayCache, RevocationStore,
    StoreError, Target, UserKey, Verdict,
};
use token_testkit::{Redis, RedisReply};

use super::fixture::{after, check, child, family, id, opened, parent, presented, proposal, redis, single};
use token_service::store::{FamilyKind, RedisStore, Standing};

/// All keys of the server with this after the hash tag (`u`, `f`, …).
fn keys(server: &Redis, kind: &str) -> Vec<String> {
    let keys = server.command(&["KEYS", &format!("*}}:{kind}:*")]);
    keys.array().iter().map(RedisReply::text).collect()
}

fn put(server: &Redis, key: &str, value: &[u8]) {
    assert_eq!(server.command_bytes(&[b"SET", key.as_bytes(), value]), RedisReply::Text(b"OK".to_vec()));
}

/// Values that were never ours: of every size, and such that only look like ours.
fn nonsense(original: &[u8]) -> Vec<Vec<u8>> {
    let mut values = vec![
        Vec::new(),
        b"1".to_vec(),
        b"{}".to_vec(),
        vec![0; 41],
        vec![b'9'; 600],
        vec![0xff; 2_000_000],
        original[..original.len() / 2].to_vec(),
        original[..2].to_vec(),
    ];
    // Each column once with something that is no digit, no flag and no magic.
    for at in (0..original.len()).step_by(original.len() / 16 + 1) {
        let mut changed = original.to_vec();
        changed[at] = b'!';
        values.push(changed);
    }
    values
}

/// Whatever is done with these ids, nothing is live unless the value says exactly what we wrote.
async fn never_live(store: &RedisStore, user: &str, standing: Standing, of: &token_service::store::Family, what: &str) {
    let now = of.created;
    let key = UserKey::of(user);
    let verdict = store.check(&check(&key, standing, id(user), Some(of.id)), now).await;
    assert_ne!(verdict, Ok(Verdict::Live), "{what}");
    let next = proposal(of, "next");
    let outcome = store.refresh(&presented(of, "t0"), Some(&next), now).await;
    assert!(
        matches!(outcome, Err(StoreError::Corrupt { .. }) | Ok(RefreshOutcome::Dead(_) | RefreshOutcome::Theft)),
        "{what}: {outcome:?}"
    );
    let outcome = store.renew(&of.id, &child(user, now, 60), 60, now).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. }) | Ok(RenewOutcome::Dead(_))), "{what}: {outcome:?}");
    let outcome = store.load(&of.id, now).await;
    assert!(!matches!(outcome, Ok(Ok(_))), "{what}: {outcome:?}");
}

#[tokio::test]
async fn values_of_others_are_never_live() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await.judging_by_callers_clock();
    let now = super::fixture::clock().now();
    let family = opened(&store, "alice", "t0", now).await;
    for kind in ["u", "f"] {
        let key = keys(&server, kind).remove(0);
        let RedisReply::Text(original) = server.command(&["GET", &key]) else { panic!("a value") };
        let head = if kind == "f" { &original[..143] } else { &original[..] };
        for value in nonsense(head) {
            put(&server, &key, &value);
            let shown = format!("{kind} = {:?}…", String::from_utf8_lossy(&value[..value.len().min(60)]));
            let check_user = UserKey::of("alice");
            let verdict = store.check(&check(&check_user, family.standing, id("alice"), Some(family.id)), now).await;
            // A changed column may be one that a check does not read (a hash); then minting must notice.
            if kind == "u" {
                assert_ne!(verdict, Ok(Verdict::Live), "{shown}");
                never_live(&store, "alice", family.standing, &family, &shown).await;
            } else if verdict != Ok(Verdict::Live) {
                never_live(&store, "alice", family.standing, &family, &shown).await;
            }
            put(&server, &key, &original);
        }
        for wrong in ["hash", "list", "zset"] {
            server.command(&["DEL", &key]);
            match wrong {
                "hash" => server.command(&["HSET", &key, "a", "b"]),
                "list" => server.command(&["RPUSH", &key, "a"]),
                _ => server.command(&["ZADD", &key, "1", "a"]),
            };
            never_live(&store, "alice", family.standing, &family, wrong).await;
            let error =
                store.check(&check(&UserKey::of("alice"), family.standing, id("alice"), Some(family.id)), now).await;
            assert!(matches!(error, Err(StoreError::Corrupt { .. })), "{wrong}: {error:?}");
        }
        server.command(&["DEL", &key]);
        never_live(&store, "alice", family.standing, &family, "gone").await;
        put(&server, &key, &original);
    }
    assert!(store.load(&family.id, now).await.unwrap().is_ok(), "it was the values");
}

#[tokio::test]
async fn damaged_revocations_rates_proofs_and_answers_are_an_outage() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await.judging_by_callers_clock();
    let now = super::fixture::clock().now();
    let until = after(now, 60);
    let family = opened(&store, "alice", "t0", now).await;
    let key = UserKey::of("alice");
    let jti = id("alice");
    store.revoke(&Target::Token(jti), until, now).await.unwrap();
    let next = proposal(&family, "t1");
    store.refresh(&presented(&family, "t0"), Some(&next), now).await.unwrap();
    let limited =
        token_service::store::Check { rate: Rate::per_minute(1), ..check(&key, family.standing, id("alice"), None) };
    store.check(&limited, now).await.unwrap();
    store.first_use("key", "proof", until, now).await.unwrap();
    let proofs = server.command(&["KEYS", "ts:r:*"]).array()[0].text();
    for (stored, what) in [(keys(&server, "x").remove(0), "x"), (keys(&server, "q").remove(0), "q"), (proofs, "r")] {
        for value in [&b""[..], b"1", b"X1999999999999a", &[0xff; 100_000]] {
            put(&server, &stored, value);
            let corrupt = match what {
                "x" => store.check(&check(&key, family.standing, jti, None), now).await.err(),
                "q" => store.check(&limited, now).await.err(),
                _ => store.first_use("key", "proof", until, now).await.err(),
            };
            assert!(matches!(corrupt, Some(StoreError::Corrupt { .. })), "{what} {value:?}: {corrupt:?}");
        }
    }
    // The answer of a rotation is taken away while its window is open.
    server.command(&["DEL", &keys(&server, "a").remove(0)]);
    let error = store.refresh(&presented(&family, "t0"), None, now).await.unwrap_err();
    assert_eq!(error.code(), "corrupt");
    assert!(!error.to_string().contains("alice") && error.retry_after_s() > 0, "{error}");
}

#[tokio::test]
async fn a_family_under_the_name_of_another_is_not_read() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await.judging_by_callers_clock();
    let now = super::fixture::clock().now();
    let rich = parent(&store, "alice", now).await;
    let RedisReply::Text(value) = server.command(&["GET", &keys(&server, "f")[0]]) else { panic!("a value") };
    let poor = parent(&store, "bob", now).await;
    let stored =
        keys(&server, "f").into_iter().find(|key| server.command(&["GET", key]) != RedisReply::Text(value.clone()));
    put(&server, &stored.unwrap(), &value);
    let loaded = store.load(&poor.id, now).await;
    assert!(!matches!(&loaded, Ok(Ok(_))), "{loaded:?}");
    assert!(store.load(&rich.id, now).await.unwrap().is_ok());
}

#[tokio::test]
async fn options_are_checked_all_at_once() {
    let mut options = RedisOptions::single("redis://:top-secret@127.0.0.1:1/5");
    options.urls.push("http://x".to_owned());
    options.urls.push("rediss://127.0.0.1:2/#insecure".to_owned());
    options.prefix = "a{b}".to_owned();
    options.timeout = std::time::Duration::ZERO;
    let error = RedisStore::lazy(&options, std::sync::Arc::new(token_shell::OsIds)).unwrap_err();
    let RedisError::Options(problems) = &error else { panic!("{error:?}") };
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(!format!("{error} {options:?}").contains("top-secret"));
}

#[tokio::test]
async fn a_family_that_is_no_refresh_family_is_not_refreshed() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await.judging_by_callers_clock();
    let now = super::fixture::clock().now();
    let parent = parent(&store, "alice", now).await;
    let outcome = store.refresh(&presented(&parent, "t0"), None, now).await.unwrap();
    assert!(matches!(outcome, RefreshOutcome::Dead(_)), "{outcome:?}");
    let standing = store.standing(&UserKey::of("alice"), after(now, 60), now).await.unwrap();
    let other = family("alice", FamilyKind::Refresh, standing, now, 60);
    let outcome = store.refresh(&presented(&other, "t0"), None, now).await.unwrap();
    assert!(matches!(outcome, RefreshOutcome::Dead(_)), "{outcome:?}");
}
