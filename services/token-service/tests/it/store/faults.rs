//! Redis lost, emptied, stopped, slow or cut off: nothing hangs, nothing comes back to life, and everything heals by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use token_service::store::{
    Dead, FamilyStore, RedisOptions, RedisStore, RefreshOutcome, ReplayCache, RevocationStore, Revoked, Standing,
    Store, StoreError, Target, UserKey, Verdict,
};
use token_shell::{Clock, OsIds, SystemClock};
use token_testkit::{LineFault, Redis, RedisReply, TcpProxy, wait_for};

use super::fixture::{after, check, id, opened, presented, proposal, redis, single};

/// How much longer than its timeout a call may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(700);

fn now() -> Timestamp {
    SystemClock.now()
}

/// Asks for a verdict, within the bound.
async fn bounded(store: &RedisStore, options: &RedisOptions, what: &str) -> Result<Verdict, StoreError> {
    let alice = UserKey::of("alice");
    let standing = Standing { epoch: "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap(), generation: 0 };
    let start = Instant::now();
    let verdict = store.check(&check(&alice, standing, id("alice"), None), now()).await;
    assert!(start.elapsed() < options.timeout + MARGIN, "{what}: {:?}", start.elapsed());
    verdict
}

/// Waits until the store answers again, without being told to.
async fn healed(store: &RedisStore, options: &RedisOptions, what: &str) {
    wait_for(what, Duration::from_secs(10), || async { bounded(store, options, what).await.ok() }).await;
}

async fn refuses_the_old(store: &dyn Store, family: &token_service::store::Family, what: &str) {
    let alice = UserKey::of("alice");
    for of in [None, Some(family.id)] {
        let verdict = store.check(&check(&alice, family.standing, id("alice"), of), now()).await.unwrap();
        assert_eq!(verdict, Verdict::Unknown, "{what}");
    }
    let outcome = store.refresh(&presented(family, "t0"), None, now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Dead(Dead::Unknown), "{what}");
    assert_eq!(store.load(&family.id, now()).await.unwrap(), Err(Dead::Unknown), "{what}");
}

#[tokio::test]
async fn an_emptied_or_restarted_store_refuses_all_older_tokens() {
    let Some(mut server) = Redis::start() else { return };
    let options = single(&server);
    let store = redis(&options).await;
    for what in ["emptied", "restarted"] {
        let family = opened(&store, "alice", "t0", now()).await;
        store.revoke(&Target::Token(id("alice")), after(now(), 60), now()).await.unwrap();
        if what == "emptied" {
            server.command(&["FLUSHALL"]);
        } else {
            server.restart();
            healed(&store, &options, "the store after a restart").await;
        }
        refuses_the_old(&store, &family, what).await;
        // A new token for the same user brings no old one back.
        let standing = store.standing(&UserKey::of("alice"), after(now(), 3600), now()).await.unwrap();
        assert_ne!(standing.epoch, family.standing.epoch, "{what}");
        refuses_the_old(&store, &family, what).await;
    }
}

/// The scripts are gone (`SCRIPT FLUSH`, or a fail-over): they are sent again, unasked.
#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await;
    let family = opened(&store, "alice", "t0", now()).await;
    server.command(&["SCRIPT", "FLUSH"]);
    let next = proposal(&family, "t1");
    let outcome = store.refresh(&presented(&family, "t0"), Some(&next), now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Rotated);
}

#[tokio::test]
async fn a_stopped_server_costs_a_bounded_time() {
    let Some(server) = Redis::start() else { return };
    let options = single(&server);
    let store = redis(&options).await;
    server.pause();
    for _ in 0..3 {
        let error = bounded(&store, &options, "stopped").await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert!(error.retry_after_s() > 0);
    }
    let many: Vec<_> = (0..100).map(|_| bounded(&store, &options, "stopped, 100 at once")).collect();
    for verdict in futures_util::future::join_all(many).await {
        assert!(verdict.is_err());
    }
    server.resume();
    healed(&store, &options, "the server that goes on").await;
}

#[tokio::test]
async fn a_bad_line_costs_a_bounded_time_and_heals() {
    let Some(server) = Redis::start() else { return };
    let proxy = TcpProxy::to(server.port());
    let options = RedisOptions::single(format!("redis://127.0.0.1:{}", proxy.port()));
    let store = redis(&options).await;
    assert_eq!(bounded(&store, &options, "a good line").await, Ok(Verdict::Unknown));
    for fault in [LineFault::Stall, LineFault::LoseAnswers, LineFault::Reset, LineFault::Truncate(3)] {
        proxy.set(fault);
        let what = format!("{fault:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
        let error = bounded(&store, &options, &what).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{what}: {error}");
        proxy.set(LineFault::None);
        healed(&store, &options, &what).await;
    }
    proxy.set(LineFault::Delay(Duration::from_millis(50)));
    assert_eq!(bounded(&store, &options, "a slow line").await, Ok(Verdict::Unknown));
    proxy.set(LineFault::None);
    assert!(bounded(&store, &options, "a good line again").await.is_ok());
    // Half-open: neither end knows. The call itself finds out, connects again and succeeds within its time.
    proxy.half_open();
    assert_eq!(bounded(&store, &options, "half-open").await, Ok(Verdict::Unknown));
}

/// Answers are lost after the server has done the work: the repeated call comes to the same, once.
#[tokio::test]
async fn calls_whose_answer_was_lost_come_to_the_same() {
    let Some(server) = Redis::start() else { return };
    let proxy = TcpProxy::to(server.port());
    let mut options = RedisOptions::single(format!("redis://127.0.0.1:{}", proxy.port()));
    options.timeout = Duration::from_secs(4);
    let store = Arc::new(redis(&options).await);
    let family = Arc::new(opened(store.as_ref(), "alice", "t0", now()).await);
    // The server knows the scripts: else what is lost is only that it does not.
    store.refresh(&presented(&family, "t0"), None, now()).await.unwrap();
    store.first_use("key", "another", after(now(), 1), now()).await.unwrap();
    let heal_when_done = async |pattern: &str, keys: usize| {
        wait_for("Redis to have done it", Duration::from_secs(2), || async {
            (server.command(&["KEYS", pattern]).array().len() == keys).then_some(())
        })
        .await;
        // What was lost stays lost: that connection is as dead as it looks.
        proxy.half_open();
        proxy.set(LineFault::None);
    };

    proxy.set(LineFault::LoseAnswers);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let next = proposal(&family, "t1");
    let mut client = presented(&family, "t0");
    client.may_reanswer = false;
    let (outcome, ()) = tokio::join!(store.refresh(&client, Some(&next), now()), heal_when_done("*}:a:*", 1));
    assert_eq!(outcome.unwrap(), RefreshOutcome::Rotated, "not theft: it was our own commit");
    let outcome = store.refresh(&presented(&family, "t1"), None, now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Current);

    proxy.set(LineFault::LoseAnswers);
    tokio::time::sleep(Duration::from_millis(30)).await;
    let until = after(now(), 60);
    let (first, ()) = tokio::join!(store.first_use("key", "proof", until, now()), heal_when_done("ts:r:*", 2));
    assert!(first.unwrap(), "not a replay: it was our own call");
    assert!(!store.first_use("key", "proof", until, now()).await.unwrap());
}

#[tokio::test]
async fn servers_that_evict_are_refused_at_start() {
    let Some(server) = Redis::start_with(&["--maxmemory-policy", "allkeys-lru"]) else { return };
    let error = RedisStore::connect(&single(&server), Arc::new(OsIds)).await.unwrap_err().to_string();
    for part in ["maxmemory-policy", "noeviction", "allkeys-lru", &server.port().to_string()] {
        assert!(error.contains(part), "{part}: {error}");
    }
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert!(RedisStore::connect(&single(&server), Arc::new(OsIds)).await.is_ok());
}

#[tokio::test]
async fn a_full_server_refuses_and_forgets_nothing() {
    let Some(server) = Redis::start() else { return };
    let options = single(&server);
    let store = redis(&options).await;
    let family = opened(&store, "alice", "t0", now()).await;
    let jti = id("alice");
    store.revoke(&Target::Token(jti), after(now(), 60), now()).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let next = proposal(&family, "t1");
    let error = store.refresh(&presented(&family, "t0"), Some(&next), now()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let verdict = store.check(&check(&UserKey::of("alice"), family.standing, jti, None), now()).await.unwrap();
    assert_eq!(verdict, Verdict::RevokedToken);
    let outcome = store.refresh(&presented(&family, "t0"), Some(&next), now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Rotated, "nothing was half done");
}

#[tokio::test]
async fn a_password_is_needed_and_never_shown() {
    let Some(server) = Redis::start() else { return };
    server.command(&["CONFIG", "SET", "requirepass", "canary-9f31"]);
    for password in [None, Some("canary-wrong")] {
        let mut options = single(&server);
        options.password = password.map(|password| password.to_owned().into());
        let error = RedisStore::connect(&options, Arc::new(OsIds)).await.unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }
    let mut options = single(&server);
    options.password = Some("canary-9f31".to_owned().into());
    assert!(redis(&options).await.ready().await.is_ok());
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let Some(server) = Redis::start_tls() else { return };
    let (port, certificates) = server.tls_port();
    let mut options = RedisOptions::single(format!("rediss://127.0.0.1:{port}"));
    options.ca_pem = Some(certificates.read("ca.pem"));
    let store = redis(&options).await;
    let family = opened(&store, "alice", "t0", now()).await;
    assert!(store.load(&family.id, now()).await.unwrap().is_ok());
    let Some(other) = token_testkit::Certificates::make() else { return };
    options.ca_pem = Some(other.read("ca.pem"));
    let error = RedisStore::connect(&options, Arc::new(OsIds)).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    options.ca_pem = Some(certificates.read("ca.pem"));
    options.urls = vec![format!("rediss://localhost:{port}")];
    assert!(RedisStore::connect(&options, Arc::new(OsIds)).await.is_err(), "the name counts");
}

/// Without a replica that confirms, nothing counts; the client asks again and is answered by what was committed.
#[tokio::test]
async fn writes_wait_for_a_replica() {
    let Some(server) = Redis::start() else { return };
    let mut replica = server.replica();
    let mut options = single(&server);
    options.min_replicas = 1;
    let store = redis(&options).await;
    let family = opened(&store, "alice", "t0", now()).await;
    let jti = id("alice");
    assert_eq!(store.revoke(&Target::Token(jti), after(now(), 60), now()).await.unwrap(), Revoked::Token);
    let there = replica.command(&["KEYS", "*}:x:*"]);
    assert_eq!(there.array().len(), 1, "confirmed is there: {there:?}");

    replica.pause();
    let next = proposal(&family, "t1");
    let started = Instant::now();
    let error = store.refresh(&presented(&family, "t0"), Some(&next), now()).await.unwrap_err();
    assert_eq!(error, StoreError::NotReplicated { wanted: 1, found: 0, retry_after_s: 2 });
    assert!(started.elapsed() < options.timeout + MARGIN);
    let until = after(now(), 60);
    assert_eq!(store.first_use("k", "p", until, now()).await.unwrap_err().code(), "not_replicated");
    assert_eq!(store.revoke(&Target::Family(family.id), until, now()).await.unwrap_err().code(), "not_replicated");
    // Reading goes on, beside the calls that wait.
    let verdict = store.check(&check(&UserKey::of("alice"), family.standing, jti, None), now()).await;
    assert_eq!(verdict, Ok(Verdict::RevokedToken));

    replica.resume();
    let again = wait_for("the replica to confirm again", Duration::from_secs(10), || async {
        store.revoke(&Target::Family(family.id), until, now()).await.ok()
    });
    assert_eq!(again.await, Revoked::Already, "it was done, and is confirmed now");
    replica.kill();
    let error = store.standing(&UserKey::of("bob"), until, now()).await.unwrap_err();
    assert_eq!(error.code(), "not_replicated");
}

/// A master that becomes a replica is left for the one that is master now.
#[tokio::test]
async fn the_master_among_several_is_found() {
    let Some(one) = Redis::start() else { return };
    let other = one.replica();
    let mut options = single(&one);
    options.urls = vec![other.url(), one.url()];
    let store = redis(&options).await;
    let family = opened(&store, "alice", "t0", now()).await;
    wait_for("the replica to have it", Duration::from_secs(5), || async {
        (other.command(&["DBSIZE"]).int() == 2).then_some(())
    })
    .await;
    other.command(&["REPLICAOF", "NO", "ONE"]);
    one.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let next = proposal(&family, "t1");
    let outcome = wait_for("a rotation on the new master", Duration::from_secs(10), || async {
        store.refresh(&presented(&family, "t0"), Some(&next), now()).await.ok()
    });
    assert_eq!(outcome.await, RefreshOutcome::Rotated);
}

/// INV: on a real server, with its own clock, every revocation and used proof outlives its `until`.
#[tokio::test]
async fn redis_keeps_every_entry_long_enough() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await;
    let family = opened(&store, "alice", "t0", now()).await;
    let lives = |pattern: &str| {
        let keys = server.command(&["KEYS", pattern]);
        let keys: Vec<_> = keys.array().iter().map(RedisReply::text).collect();
        assert!(!keys.is_empty(), "{pattern}");
        keys.iter().map(|key| server.command(&["PEXPIRETIME", key]).int()).collect::<Vec<_>>()
    };
    for seconds in [50, 5000, 500] {
        let until = after(now(), seconds);
        store.revoke(&Target::Token(id("alice")), until, now()).await.unwrap();
        assert!(lives("*}:x:*").into_iter().max().unwrap() >= until.as_millisecond());
        store.first_use("key", &format!("proof {seconds}"), until, now()).await.unwrap();
        assert!(lives("ts:r:*").into_iter().max().unwrap() >= until.as_millisecond());
    }
    let expires = family.expires.as_millisecond();
    assert!(lives("*}:u:*")[0] >= expires && lives("*}:f:*")[0] >= expires);
    let late = after(now(), 100_000);
    store.revoke(&Target::Family(family.id), late, now()).await.unwrap();
    assert!(lives("*}:f:*")[0] >= late.as_millisecond());
    store.revoke(&Target::User(UserKey::of("alice")), late, now()).await.unwrap();
    assert!(lives("*}:u:*")[0] >= late.as_millisecond());

    // A sealed answer is gone as soon as it cannot be given again.
    for end in ["seen", "stolen", "revoked"] {
        let family = opened(&store, end, "t0", now()).await;
        let next = proposal(&family, "t1");
        store.refresh(&presented(&family, "t0"), Some(&next), now()).await.unwrap();
        assert!(lives("*}:a:*")[0] >= now().as_millisecond() + 25_000);
        match end {
            "seen" => drop(store.refresh(&presented(&family, "t1"), None, now()).await.unwrap()),
            "stolen" => drop(store.refresh(&presented(&family, "t9"), None, now()).await.unwrap()),
            _ => drop(store.revoke(&Target::Family(family.id), late, now()).await.unwrap()),
        }
        assert_eq!(server.command(&["KEYS", "*}:a:*"]), RedisReply::Array(Vec::new()), "{end}");
    }
}

/// The server's clock judges, not the caller's: replicas an hour apart agree.
#[tokio::test]
async fn the_clock_of_the_server_judges() {
    let Some(server) = Redis::start() else { return };
    let store = redis(&single(&server)).await;
    let family = opened(&store, "alice", "t0", now()).await;
    for skew in [-7200, 7200] {
        let outcome = store.refresh(&presented(&family, "t0"), None, after(now(), skew)).await.unwrap();
        assert_eq!(outcome, RefreshOutcome::Current);
    }
    let next = proposal(&family, "t1");
    store.refresh(&presented(&family, "t0"), Some(&next), after(now(), -3600)).await.unwrap();
    let outcome = store.refresh(&presented(&family, "t0"), None, after(now(), 3600)).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::ReAnswer { sealed: next.sealed });
}
