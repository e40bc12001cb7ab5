//! What every store promises. Each suite runs on memory, on a Redis, and on a Redis cluster; the clock is the test's.

use std::sync::Arc;

use token_service::store::{
    Dead, FamilyKind, Opened, Presented, Rate, RefreshOutcome, RenewOutcome, Revoked, Store, Target, UserKey, Verdict,
};
use token_testkit::{Redis, RedisCluster, TestClock};

use super::fixture::{
    after, check, child, clock, cluster, family, hash, id, memory, opened, parent, presented, proposal, redis, single,
};

async fn suites(store: &dyn Store) {
    let clock = clock();
    rotation(store, &clock).await;
    reanswers(store, &clock).await;
    reanswers_end(store, &clock).await;
    theft(store, &clock).await;
    binding(store, &clock).await;
    families(store, &clock).await;
    lost_commits(store, &clock).await;
    revocation(store, &clock).await;
    users(store, &clock).await;
    memory_of_revocations(store, &clock).await;
    renewal(store, &clock).await;
    hints(store, &clock).await;
    rates(store, &clock).await;
    replays(store, &clock).await;
    foreign_ids(store, &clock).await;
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    suites(memory().as_ref()).await;
}

#[tokio::test]
async fn redis_keeps_the_promises() {
    let Some(server) = Redis::start() else { return };
    suites(&redis(&single(&server)).await.judging_by_callers_clock()).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_promises() {
    let Some(servers) = RedisCluster::start() else { return };
    suites(&redis(&cluster(&servers)).await.judging_by_callers_clock()).await;
}

/// Many callers at once, on stores with connections of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_decides_once() {
    let store = memory();
    races([Arc::clone(&store), store]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_decides_once() {
    let Some(server) = Redis::start() else { return };
    let one: Arc<dyn Store> = Arc::new(redis(&single(&server)).await.judging_by_callers_clock());
    let other: Arc<dyn Store> = Arc::new(redis(&single(&server)).await.judging_by_callers_clock());
    races([one, other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_decides_once() {
    let Some(servers) = RedisCluster::start() else { return };
    let one: Arc<dyn Store> = Arc::new(redis(&cluster(&servers)).await.judging_by_callers_clock());
    let other: Arc<dyn Store> = Arc::new(redis(&cluster(&servers)).await.judging_by_callers_clock());
    races([one, other]).await;
}

async fn refresh(store: &dyn Store, presented: &Presented<'_>, clock: &TestClock) -> RefreshOutcome {
    store.refresh(presented, None, clock.now()).await.unwrap()
}

async fn rotation(store: &dyn Store, clock: &TestClock) {
    let family = opened(store, "rotation", "t0", clock.now()).await;
    for turn in 0..5 {
        let token = format!("t{turn}");
        assert_eq!(refresh(store, &presented(&family, &token), clock).await, RefreshOutcome::Current);
        let next = proposal(&family, &format!("t{}", turn + 1));
        let outcome = store.refresh(&presented(&family, &token), Some(&next), clock.now()).await.unwrap();
        assert_eq!(outcome, RefreshOutcome::Rotated);
        clock.advance(40);
    }
    let outcome = refresh(store, &presented(&family, "t5"), clock).await;
    assert_eq!(outcome, RefreshOutcome::Current, "the last one is live");
    assert_eq!(refresh(store, &presented(&family, "t0"), clock).await, RefreshOutcome::Theft, "an early one is stolen");
    assert_eq!(refresh(store, &presented(&family, "t5"), clock).await, RefreshOutcome::Dead(Dead::Revoked));
}

async fn reanswers(store: &dyn Store, clock: &TestClock) {
    let family = opened(store, "reanswers", "t0", clock.now()).await;
    let next = proposal(&family, "t1");
    store.refresh(&presented(&family, "t0"), Some(&next), clock.now()).await.unwrap();
    let again = RefreshOutcome::ReAnswer { sealed: next.sealed.clone() };
    clock.advance(29);
    for turn in 0..3 {
        // With or without a proposal of one's own: the answer of that time.
        let mine = proposal(&family, "t1 of another replica");
        let mine = (turn == 1).then_some(&mine);
        let outcome = store.refresh(&presented(&family, "t0"), mine, clock.now()).await.unwrap();
        assert_eq!(outcome, again, "{turn}");
    }
    assert_eq!(refresh(store, &presented(&family, "t0"), clock).await, RefreshOutcome::Theft, "three times at most");

    // Each rotation has a window of its own: the end of an earlier one takes nothing away.
    let family = opened(store, "reanswers-2", "t0", clock.now()).await;
    for turn in 0..4 {
        let next = proposal(&family, &format!("t{}", turn + 1));
        let token = format!("t{turn}");
        store.refresh(&presented(&family, &token), Some(&next), clock.now()).await.unwrap();
        clock.advance(20);
        let outcome = refresh(store, &presented(&family, &token), clock).await;
        assert_eq!(outcome, RefreshOutcome::ReAnswer { sealed: next.sealed }, "{turn}");
    }
}

async fn reanswers_end(store: &dyn Store, clock: &TestClock) {
    for end in ["window", "successor seen", "successor rotated", "access token seen", "public client", "other scope"] {
        let user = format!("end by {end}");
        let family = opened(store, &user, "t0", clock.now()).await;
        let next = proposal(&family, "t1");
        store.refresh(&presented(&family, "t0"), Some(&next), clock.now()).await.unwrap();
        let mut late = presented(&family, "t0");
        match end {
            "window" => clock.advance(30),
            "successor seen" => {
                assert_eq!(refresh(store, &presented(&family, "t1"), clock).await, RefreshOutcome::Current);
            }
            "successor rotated" => {
                let after = proposal(&family, "t2");
                let outcome = store.refresh(&presented(&family, "t1"), Some(&after), clock.now()).await.unwrap();
                assert_eq!(outcome, RefreshOutcome::Rotated);
            }
            "access token seen" => {
                let key = UserKey::of(&user);
                let seen = check(&key, family.standing, next.access, Some(family.id));
                assert_eq!(store.check(&seen, clock.now()).await.unwrap(), Verdict::Live);
            }
            "public client" => late.may_reanswer = false,
            _ => late.scope = hash("a wider scope"),
        }
        assert_eq!(refresh(store, &late, clock).await, RefreshOutcome::Theft, "{end}");
        assert_eq!(store.load(&family.id, clock.now()).await.unwrap(), Err(Dead::Revoked), "{end}");
    }
}

async fn theft(store: &dyn Store, clock: &TestClock) {
    let family = opened(store, "theft", "t0", clock.now()).await;
    let next = proposal(&family, "t1");
    store.refresh(&presented(&family, "t0"), Some(&next), clock.now()).await.unwrap();
    clock.advance(31);
    let thief = proposal(&family, "thief's");
    let outcome = store.refresh(&presented(&family, "t0"), Some(&thief), clock.now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Theft);
    for token in ["t0", "t1", "thief's"] {
        assert_eq!(refresh(store, &presented(&family, token), clock).await, RefreshOutcome::Dead(Dead::Revoked));
    }
    let key = UserKey::of("theft");
    let access = check(&key, family.standing, next.access, Some(family.id));
    assert_eq!(store.check(&access, clock.now()).await.unwrap(), Verdict::RevokedParent, "what was minted dies too");
    let other = opened(store, "theft", "other", clock.now()).await;
    assert_eq!(refresh(store, &presented(&other, "other"), clock).await, RefreshOutcome::Current, "only that family");
}

async fn binding(store: &dyn Store, clock: &TestClock) {
    for (user, client, jkt, live) in [
        ("b1", "api-key:other", Some("key-1"), false),
        ("b2", "api-key:backend", Some("key-2"), false),
        ("b3", "api-key:backend", None, false),
        ("b4", "api-key:backend", Some("key-1"), true),
    ] {
        let standing = store.standing(&UserKey::of(user), after(clock.now(), 3600), clock.now()).await.unwrap();
        let mut family = family(user, FamilyKind::Refresh, standing, clock.now(), 3600);
        family.jkt = Some("key-1".to_owned());
        store.open(&family, Some(hash("t0")), clock.now()).await.unwrap();
        let other = Presented { client, jkt, ..presented(&family, "t0") };
        let next = proposal(&family, "t1");
        let outcome = store.refresh(&other, Some(&next), clock.now()).await.unwrap();
        assert_eq!(outcome, if live { RefreshOutcome::Rotated } else { RefreshOutcome::Theft }, "{user}");
        if live {
            let thief = Presented { client, jkt: Some("key-2"), ..presented(&family, "t0") };
            assert_eq!(refresh(store, &thief, clock).await, RefreshOutcome::Theft, "the answer is the client's own");
        }
    }
}

async fn families(store: &dyn Store, clock: &TestClock) {
    let now = clock.now();
    let one = opened(store, "families", "t0", now).await;
    let loaded = store.load(&one.id, now).await.unwrap().unwrap();
    assert_eq!(loaded.family, one, "it comes back as it went in");
    assert_eq!(loaded.latest, None);
    assert_eq!(store.open(&one, Some(hash("t0")), now).await.unwrap(), Opened::Open, "opening may be repeated");
    assert_eq!(store.open(&one, Some(hash("t9")), now).await.unwrap(), Opened::Stale, "and never changes one");
    assert_eq!(refresh(store, &presented(&one, "t0"), clock).await, RefreshOutcome::Current);

    store.revoke(&Target::Family(one.id), after(now, 3600), now).await.unwrap();
    assert_eq!(store.open(&one, Some(hash("t0")), now).await.unwrap(), Opened::Stale, "nor does it raise the dead");
    assert_eq!(store.load(&id("families"), now).await.unwrap(), Err(Dead::Unknown));

    let two = opened(store, "families", "t0", now).await;
    clock.advance(3599);
    assert_eq!(refresh(store, &presented(&two, "t0"), clock).await, RefreshOutcome::Current);
    clock.advance(1);
    assert_eq!(refresh(store, &presented(&two, "t0"), clock).await, RefreshOutcome::Dead(Dead::Expired));
    assert_eq!(store.load(&two.id, clock.now()).await.unwrap(), Err(Dead::Expired));

    // A family of a standing that is over, of no user, or that is over itself.
    let now = clock.now();
    let key = UserKey::of("families-2");
    let standing = store.standing(&key, after(now, 60), now).await.unwrap();
    store.revoke(&Target::User(key), after(now, 60), now).await.unwrap();
    let late = family("families-2", FamilyKind::Refresh, standing, now, 60);
    assert_eq!(store.open(&late, Some(hash("t")), now).await.unwrap(), Opened::Stale);
    let nobody = family("families-3", FamilyKind::Refresh, standing, now, 60);
    assert_eq!(store.open(&nobody, Some(hash("t")), now).await.unwrap(), Opened::Stale);
    let standing = store.standing(&key, after(now, 60), now).await.unwrap();
    let over = family("families-2", FamilyKind::Refresh, standing, now, 0);
    assert_eq!(store.open(&over, Some(hash("t")), now).await.unwrap(), Opened::Stale);

    // Programming errors are none of the caller's tokens' business.
    let mut wrong = family("families-2", FamilyKind::Refresh, standing, now, 60);
    assert_eq!(store.open(&wrong, None, now).await.unwrap_err().code(), "corrupt");
    wrong.id = id("somebody else");
    assert_eq!(store.open(&wrong, Some(hash("t")), now).await.unwrap_err().code(), "corrupt");
    let mut huge = family("families-2", FamilyKind::Refresh, standing, now, 60);
    huge.scopes = vec!["x".repeat(20_000)];
    assert_eq!(store.open(&huge, Some(hash("t")), now).await.unwrap_err().code(), "corrupt");
}

/// The answer of a commit is lost between store and service: the same commit again comes to the same.
async fn lost_commits(store: &dyn Store, clock: &TestClock) {
    let family = opened(store, "lost", "t0", clock.now()).await;
    let mut client = presented(&family, "t0");
    client.may_reanswer = false;
    let next = proposal(&family, "t1");
    for _ in 0..3 {
        let outcome = store.refresh(&client, Some(&next), clock.now()).await.unwrap();
        assert_eq!(outcome, RefreshOutcome::Rotated);
    }
    assert_eq!(refresh(store, &presented(&family, "t1"), clock).await, RefreshOutcome::Current);
    store.revoke(&Target::Family(family.id), after(clock.now(), 60), clock.now()).await.unwrap();
    let outcome = store.refresh(&client, Some(&next), clock.now()).await.unwrap();
    assert_eq!(outcome, RefreshOutcome::Dead(Dead::Revoked), "but not past a revocation");
}

async fn revocation(store: &dyn Store, clock: &TestClock) {
    let now = clock.now();
    let until = after(now, 3600);
    let key = UserKey::of("revocation");
    let family = opened(store, "revocation", "t0", now).await;
    let (token, other) = (id("revocation"), id("revocation"));
    let verdict = async |jti, of| store.check(&check(&key, family.standing, jti, of), now).await.unwrap();
    assert_eq!(verdict(token, None).await, Verdict::Live);
    assert_eq!(store.revoke(&Target::Token(token), until, now).await.unwrap(), Revoked::Token);
    assert_eq!(store.revoke(&Target::Token(token), until, now).await.unwrap(), Revoked::Already);
    assert_eq!(verdict(token, None).await, Verdict::RevokedToken);
    assert_eq!(verdict(other, None).await, Verdict::Live, "alone");
    assert_eq!(verdict(other, Some(family.id)).await, Verdict::Live);
    assert_eq!(verdict(family.id, None).await, Verdict::Live);

    // By its id alone, the family goes with all that came from it.
    assert_eq!(store.revoke(&Target::Token(family.id), until, now).await.unwrap(), Revoked::Family);
    assert_eq!(store.revoke(&Target::Family(family.id), until, now).await.unwrap(), Revoked::Already);
    assert_eq!(verdict(other, Some(family.id)).await, Verdict::RevokedParent);
    assert_eq!(verdict(family.id, None).await, Verdict::RevokedToken);
    assert_eq!(verdict(family.id, Some(family.id)).await, Verdict::RevokedToken);
    assert_eq!(refresh(store, &presented(&family, "t0"), clock).await, RefreshOutcome::Dead(Dead::Revoked));
    assert_eq!(store.load(&family.id, now).await.unwrap(), Err(Dead::Revoked));
    assert_eq!(store.revoke(&Target::Family(id("revocation")), until, now).await.unwrap(), Revoked::Nothing);
    assert_eq!(verdict(other, Some(id("revocation"))).await, Verdict::Unknown, "a family that nobody knows");
}

async fn users(store: &dyn Store, clock: &TestClock) {
    let now = clock.now();
    let until = after(now, 3600);
    let key = UserKey::of("users");
    assert_eq!(store.revoke(&Target::User(key), until, now).await.unwrap(), Revoked::Nothing, "nothing is alive");
    let family = opened(store, "users", "t0", now).await;
    let old = family.standing;
    assert_eq!(store.standing(&key, until, now).await.unwrap(), old, "a standing stays");
    assert_eq!(store.revoke(&Target::User(key), until, now).await.unwrap(), Revoked::User);
    let jti = id("users");
    let verdict = async |standing| store.check(&check(&key, standing, jti, None), now).await.unwrap();
    assert_eq!(verdict(old).await, Verdict::RevokedUser);
    assert_eq!(refresh(store, &presented(&family, "t0"), clock).await, RefreshOutcome::Dead(Dead::UserRevoked));
    assert_eq!(store.load(&family.id, now).await.unwrap(), Err(Dead::UserRevoked));
    let new = store.standing(&key, until, now).await.unwrap();
    assert_eq!((new.epoch, new.generation), (old.epoch, old.generation + 1));
    assert_eq!(verdict(new).await, Verdict::Live);
    let ahead = token_service::store::Standing { generation: new.generation + 1, ..new };
    assert_eq!(verdict(ahead).await, Verdict::Unknown, "a token that saw more revocations than the store");

    // When nothing of the user is alive any more, another life begins, and no token of the former one comes back.
    clock.advance(3600 + 61);
    let now = clock.now();
    assert_eq!(store.check(&check(&key, new, jti, None), now).await.unwrap(), Verdict::Live, "kept for the family");
    clock.advance(120);
    let now = clock.now();
    assert_eq!(store.check(&check(&key, new, jti, None), now).await.unwrap(), Verdict::Unknown);
    let next = store.standing(&key, after(now, 60), now).await.unwrap();
    assert_ne!(next.epoch, new.epoch);
    assert_eq!(store.check(&check(&key, new, jti, None), now).await.unwrap(), Verdict::Unknown);
}

/// INV: every revocation is remembered to its `until` at least, and a later call never shortens that.
async fn memory_of_revocations(store: &dyn Store, clock: &TestClock) {
    let start = clock.now();
    let key = UserKey::of("remembers");
    let standing = store.standing(&key, after(start, 100_000), start).await.unwrap();
    let token = id("remembers");
    let family = family("remembers", FamilyKind::Refresh, standing, start, 600);
    store.open(&family, Some(hash("t0")), start).await.unwrap();
    for until in [1000, 2000, 10] {
        store.revoke(&Target::Token(token), after(start, until), start).await.unwrap();
        store.revoke(&Target::Family(family.id), after(start, until), start).await.unwrap();
    }
    for step in [0, 9, 11, 600, 721, 1000, 1999] {
        clock.set(after(start, step));
        let now = clock.now();
        let verdict = store.check(&check(&key, standing, token, None), now).await.unwrap();
        assert_eq!(verdict, Verdict::RevokedToken, "after {step} s");
        let verdict = store.check(&check(&key, standing, id("remembers"), Some(family.id)), now).await.unwrap();
        assert_eq!(verdict, Verdict::RevokedParent, "after {step} s");
    }
    clock.set(after(start, 2061));
    let verdict = store.check(&check(&key, standing, token, None), clock.now()).await.unwrap();
    assert_eq!(verdict, Verdict::Live, "and no longer than it must be (with the skew)");
}

async fn renewal(store: &dyn Store, clock: &TestClock) {
    let family = parent(store, "renewal", clock.now()).await;
    let first = child("renewal", clock.now(), 900);
    let RenewOutcome::Renewed(stored) = store.renew(&family.id, &first, 60, clock.now()).await.unwrap() else {
        panic!("a family without a child is due")
    };
    assert_eq!((stored.id, stored.expires, stored.seq), (first.id, first.expires, 1));
    let again = store.renew(&family.id, &first, 60, clock.now()).await.unwrap();
    assert_eq!(again, RenewOutcome::Renewed(stored), "the same call again is the same");
    let second = child("renewal", clock.now(), 900);
    assert_eq!(store.renew(&family.id, &second, 60, clock.now()).await.unwrap(), RenewOutcome::NotDue(stored));
    assert_eq!(store.load(&family.id, clock.now()).await.unwrap().unwrap().latest, Some(stored));

    clock.advance(839);
    let second = child("renewal", clock.now(), 900);
    assert_eq!(store.renew(&family.id, &second, 60, clock.now()).await.unwrap(), RenewOutcome::NotDue(stored));
    clock.advance(1);
    let RenewOutcome::Renewed(stored) = store.renew(&family.id, &second, 60, clock.now()).await.unwrap() else {
        panic!("due at the threshold")
    };
    assert_eq!((stored.id, stored.seq), (second.id, 2));
    let slow = child("renewal", after(clock.now(), -120), 900);
    let outcome = store.renew(&family.id, &slow, 900, clock.now()).await.unwrap();
    assert_eq!(outcome, RenewOutcome::NotDue(stored), "a child that ends earlier is no renewal");

    // The last child ends with the family, and is not renewed for nothing.
    clock.advance(2000);
    let last = child("renewal", clock.now(), 900);
    let RenewOutcome::Renewed(stored) = store.renew(&family.id, &last, 60, clock.now()).await.unwrap() else {
        panic!("due")
    };
    assert_eq!(stored.expires, family.expires, "no child outlives its parent");
    clock.advance(700);
    let more = child("renewal", clock.now(), 900);
    assert_eq!(store.renew(&family.id, &more, 60, clock.now()).await.unwrap(), RenewOutcome::NotDue(stored));
    clock.advance(60);
    let outcome = store.renew(&family.id, &more, 60, clock.now()).await.unwrap();
    assert_eq!(outcome, RenewOutcome::Dead(Dead::Expired));

    let family = parent(store, "renewal-2", clock.now()).await;
    store.revoke(&Target::Family(family.id), after(clock.now(), 60), clock.now()).await.unwrap();
    let outcome = store.renew(&family.id, &child("renewal-2", clock.now(), 9), 60, clock.now()).await.unwrap();
    assert_eq!(outcome, RenewOutcome::Dead(Dead::Revoked), "a revoked family mints nothing");
    let refresh = opened(store, "renewal-3", "t", clock.now()).await;
    let outcome = store.renew(&refresh.id, &child("renewal-3", clock.now(), 9), 60, clock.now()).await.unwrap();
    assert_eq!(outcome, RenewOutcome::Dead(Dead::Unknown), "a refresh family has no children of that kind");
}

async fn hints(store: &dyn Store, clock: &TestClock) {
    clock.advance(1_000_000);
    // What other suites left behind is dead, and goes.
    for left in store.due(clock.now(), 1000).await.unwrap() {
        let outcome = store.renew(&left, &child("x", clock.now(), 60), 60, clock.now()).await.unwrap();
        assert!(matches!(outcome, RenewOutcome::Dead(_)), "{outcome:?}");
    }
    let mut families = Vec::new();
    for user in ["h1", "h2", "h3"] {
        families.push(parent(store, user, clock.now()).await);
    }
    let mut all: Vec<_> = families.iter().map(|family| family.id).collect();
    all.sort();
    let sorted = |mut ids: Vec<_>| {
        ids.sort();
        ids
    };
    let some = store.due(clock.now(), 2).await.unwrap();
    assert_eq!(some.len(), 2, "no more than asked for");
    let rest = store.due(clock.now(), 10).await.unwrap();
    assert_eq!(sorted([some, rest].concat()), all, "each is handed out once");
    assert!(store.due(clock.now(), 10).await.unwrap().is_empty());
    clock.advance(15);
    assert_eq!(sorted(store.due(clock.now(), 10).await.unwrap()), all, "who did not come back is replaced");
    for family in &families {
        store.renew(&family.id, &child(&family.user, clock.now(), 900), 60, clock.now()).await.unwrap();
    }
    store.revoke(&Target::Family(families[0].id), after(clock.now(), 3600), clock.now()).await.unwrap();
    clock.advance(839);
    assert!(store.due(clock.now(), 10).await.unwrap().is_empty());
    clock.advance(1);
    let due = sorted(store.due(clock.now(), 10).await.unwrap());
    assert_eq!(due, sorted(vec![families[1].id, families[2].id]), "due at the threshold, unless revoked");
}

async fn rates(store: &dyn Store, clock: &TestClock) {
    let key = UserKey::of("rates");
    let standing = store.standing(&key, after(clock.now(), 3600), clock.now()).await.unwrap();
    let use_one = async |limit| {
        let one =
            token_service::store::Check { rate: Rate::per_minute(limit), ..check(&key, standing, id("rates"), None) };
        store.check(&one, clock.now()).await.unwrap()
    };
    for turn in 0..6 {
        assert_eq!(use_one(6).await, Verdict::Live, "{turn}");
    }
    assert_eq!(use_one(6).await, Verdict::Limited { retry_after_s: 10 }, "over all of the user's tokens");
    assert_eq!(use_one(7).await, Verdict::Live, "another rate has its own count");
    assert_eq!(use_one(0).await, Verdict::Live, "0 is no limit");
    clock.advance(9);
    assert_eq!(use_one(6).await, Verdict::Limited { retry_after_s: 1 });
    clock.advance(1);
    assert_eq!(use_one(6).await, Verdict::Live);
    assert_eq!(use_one(6).await, Verdict::Limited { retry_after_s: 10 });
    clock.advance(3000);
    for _ in 0..6 {
        assert_eq!(use_one(6).await, Verdict::Live, "an idle allowance is whole, and not more");
    }
    assert!(matches!(use_one(6).await, Verdict::Limited { .. }));
}

/// INV: every used proof is remembered to its `until` at least.
async fn replays(store: &dyn Store, clock: &TestClock) {
    let start = clock.now();
    let until = after(start, 70);
    let first = async |jkt: &str, jti: &str, until| store.first_use(jkt, jti, until, clock.now()).await.unwrap();
    assert!(first("key", "proof", until).await);
    assert!(!first("key", "proof", until).await);
    assert!(first("other key", "proof", until).await, "ids are the client's: of each key its own");
    assert!(first("key", "other proof", until).await);
    assert!(first("ab", "c", until).await && first("a", "bc", until).await, "no two proofs are mixed up");
    for step in [1, 69, 70, 129] {
        clock.set(after(start, step));
        assert!(!first("key", "proof", after(clock.now(), 5)).await, "after {step} s");
    }
    clock.set(after(start, 130));
    assert!(first("key", "proof", after(clock.now(), 5)).await, "with the skew, and no longer");
    assert!(!first("key", "late", after(clock.now(), -61)).await, "a proof whose time is over is no first use");
}

/// Ids that lead elsewhere than the user they are said to be of.
async fn foreign_ids(store: &dyn Store, clock: &TestClock) {
    let now = clock.now();
    let mine = opened(store, "foreign", "t0", now).await;
    let theirs = opened(store, "neighbour", "t0", now).await;
    let key = UserKey::of("foreign");
    for (jti, of) in [
        (id("neighbour"), None),
        (id("neighbour"), Some(mine.id)),
        (id("foreign"), Some(theirs.id)),
        (theirs.id, None),
        (theirs.id, Some(theirs.id)),
    ] {
        let verdict = store.check(&check(&key, mine.standing, jti, of), now).await.unwrap();
        assert_eq!(verdict, Verdict::Unknown, "{jti} {of:?}");
    }
    let verdict = store.check(&check(&key, theirs.standing, id("foreign"), None), now).await.unwrap();
    assert_eq!(verdict, Verdict::Unknown, "the epoch of somebody else");
    let swapped = Presented { family: theirs.id, ..presented(&mine, "t0") };
    assert_eq!(refresh(store, &swapped, clock).await, RefreshOutcome::Current, "only hash, client and key count here");
}

async fn races(stores: [Arc<dyn Store>; 2]) {
    let clock = clock();
    let now = clock.now();
    // 100 first uses of one proof.
    let firsts = together(100, |turn| {
        let store = Arc::clone(&stores[turn % 2]);
        async move { store.first_use("key", "raced", after(now, 60), now).await.unwrap() }
    });
    assert_eq!(firsts.await.into_iter().filter(|first| *first).count(), 1);

    // 50 commits on one refresh token: one rotates, and a few are told its answer; the rest end the family.
    let family = Arc::new(opened(stores[0].as_ref(), "raced", "t0", now).await);
    let outcomes = together(50, |turn| {
        let (store, family) = (Arc::clone(&stores[turn % 2]), Arc::clone(&family));
        async move {
            let next = proposal(&family, &format!("next {turn}"));
            (next.sealed.clone(), store.refresh(&presented(&family, "t0"), Some(&next), now).await.unwrap())
        }
    })
    .await;
    let rotated: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == RefreshOutcome::Rotated).collect();
    assert_eq!(rotated.len(), 1);
    let again = RefreshOutcome::ReAnswer { sealed: rotated[0].0.clone() };
    assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == again).count(), 3);
    assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == RefreshOutcome::Theft).count(), 1);
    let dead = RefreshOutcome::Dead(Dead::Revoked);
    assert_eq!(outcomes.iter().filter(|(_, outcome)| *outcome == dead).count(), 45);

    // 50 renewals of one family: one child.
    let family = parent(stores[0].as_ref(), "raced-2", now).await;
    let outcomes = together(50, |turn| {
        let store = Arc::clone(&stores[turn % 2]);
        async move { store.renew(&family.id, &child("raced-2", now, 900), 60, now).await.unwrap() }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, RenewOutcome::Renewed(_))).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, RenewOutcome::NotDue(_))).count(), 49);

    // 50 first tokens of one user: one life.
    let key = UserKey::of("raced-3");
    let standings = together(50, |turn| {
        let store = Arc::clone(&stores[turn % 2]);
        async move { store.standing(&key, after(now, 60), now).await.unwrap() }
    })
    .await;
    assert!(standings.iter().all(|standing| *standing == standings[0]));
}

async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    make: impl Fn(usize) -> F,
) -> Vec<T> {
    let running: Vec<_> = (0..count).map(|turn| tokio::spawn(make(turn))).collect();
    let mut results = Vec::new();
    for one in running {
        results.push(one.await.unwrap());
    }
    results
}
