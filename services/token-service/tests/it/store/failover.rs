//! A master of the cluster is killed under load: what was confirmed is there afterwards, and everything goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use token_service::store::{
    Family, FamilyStore, RedisStore, RefreshOutcome, ReplayCache, RevocationStore, Revoked, Target, TokenId, UserKey,
    Verdict,
};
use token_shell::{Clock, SystemClock};
use token_testkit::{RedisCluster, wait_for, wait_until};

use super::fixture::{after, check, cluster, id, opened, presented, proposal, redis};

/// How long calls go on after the fail-over.
const AFTERWARDS: Duration = Duration::from_secs(3);

fn now() -> Timestamp {
    SystemClock.now()
}

/// What the store confirmed.
#[derive(Default)]
struct Confirmed {
    revoked: Vec<TokenId>,
    proofs: Vec<String>,
    /// The last refresh token, and the one before.
    rotated: Option<(String, String)>,
    longest: Duration,
}

/// One user's worth of load until told to stop; then the last rotation is brought to its end.
async fn load(store: Arc<RedisStore>, family: Arc<Family>, over: Arc<AtomicBool>) -> Confirmed {
    let mut confirmed = Confirmed::default();
    let mut turn = 0;
    while !over.load(Ordering::Relaxed) {
        let until = after(now(), 600);
        let started = Instant::now();
        let token = id(&family.user);
        if let Ok(Revoked::Token) = store.revoke(&Target::Token(token), until, now()).await {
            confirmed.revoked.push(token);
        }
        let proof = format!("{} {turn}", family.user);
        if let Ok(true) = store.first_use("key", &proof, until, now()).await {
            confirmed.proofs.push(proof);
        }
        confirmed.longest = confirmed.longest.max(started.elapsed() / 2);
        let (from, to) = (format!("t{turn}"), format!("t{}", turn + 1));
        let next = proposal(&family, &to);
        let outcome = wait_for("a rotation, through a fail-over", Duration::from_secs(40), || async {
            store.refresh(&presented(&family, &from), Some(&next), now()).await.ok()
        })
        .await;
        match outcome {
            RefreshOutcome::Rotated => confirmed.rotated = Some((from, to)),
            // Without replicas that confirm, the store may have gone back in time: then the client's token is none of its.
            RefreshOutcome::Theft | RefreshOutcome::Dead(_) => return confirmed,
            other => panic!("{other:?}"),
        }
        turn += 1;
    }
    confirmed
}

#[derive(Debug, Default)]
struct Lost {
    revocations: usize,
    proofs: usize,
    rotations: usize,
    of: usize,
    longest: Duration,
}

/// Kills a master. With `cut`, its replica has heard nothing of it for the last 300 ms: what was written then is gone.
async fn round(servers: &mut RedisCluster, min_replicas: u32, number: usize, cut: bool) -> Lost {
    let mut options = cluster(servers);
    options.min_replicas = min_replicas;
    let store = Arc::new(redis(&options).await);
    let key_of = |user: &str| {
        let [a, b, c, d] = UserKey::of(user).tag();
        format!("ts:{{{a:02x}{b:02x}{c:02x}{d:02x}}}:u")
    };
    let victim = servers.master_of(&key_of(&format!("round {number}")));
    let users: Vec<String> = (0..200)
        .map(|user| format!("round {number} user {user} replicas {min_replicas}"))
        .filter(|user| servers.master_of(&key_of(user)) == victim)
        .take(12)
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let mut families = Vec::new();
    let mut running = Vec::new();
    for user in &users {
        let family = Arc::new(opened(store.as_ref(), user, "t0", now()).await);
        running.push(tokio::spawn(load(Arc::clone(&store), Arc::clone(&family), Arc::clone(&over))));
        families.push(family);
    }
    tokio::time::sleep(Duration::from_millis(200 + 37 * (number as u64 % 7))).await;
    let place = key_of(&users[0]);
    let replica = servers.replica_of(victim);
    if cut {
        servers.pause(replica);
        servers.nodes()[victim].command(&["CLIENT", "KILL", "TYPE", "replica"]);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    servers.kill(victim);
    servers.resume(replica);
    wait_until("another master", Duration::from_secs(30), || (servers.master_of(&place) != victim).then_some(()));
    // Alone, the new master confirms nothing. The old one comes back empty, and follows it. (Had it come back before the
    // fail-over, its replica would have followed it into emptiness: then epochs refuse every older token.)
    servers.restart(victim);
    tokio::time::sleep(AFTERWARDS).await;
    over.store(true, Ordering::Relaxed);

    let mut lost = Lost::default();
    for (family, running) in families.iter().zip(running) {
        let confirmed = running.await.unwrap();
        let user = UserKey::of(&family.user);
        lost.longest = lost.longest.max(confirmed.longest);
        for token in confirmed.revoked {
            let verdict = store.check(&check(&user, family.standing, token, None), now()).await.unwrap();
            lost.revocations += usize::from(verdict == Verdict::Live);
            lost.of += 1;
        }
        for proof in confirmed.proofs {
            lost.proofs += usize::from(store.first_use("key", &proof, after(now(), 600), now()).await.unwrap());
            lost.of += 1;
        }
        if let Some((from, to)) = confirmed.rotated {
            let live = store.refresh(&presented(family, &to), None, now()).await.unwrap() == RefreshOutcome::Current;
            let old = store.refresh(&presented(family, &from), None, now()).await.unwrap() == RefreshOutcome::Current;
            lost.rotations += usize::from(!live || old);
            lost.of += 1;
        }
    }
    servers.wait_healthy();
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_with_a_master() {
    let Some(mut servers) = RedisCluster::start() else { return };
    let lost = round(&mut servers, 1, 0, true).await;
    assert!(lost.of > 20, "there was load: {lost:?}");
    assert_eq!((lost.revocations, lost.proofs, lost.rotations), (0, 0, 0), "{lost:?}");
    assert!(lost.longest < Duration::from_secs(4), "calls are bounded: {lost:?}");
    // The same without a replica that confirms shows that the test can tell.
    let lost = round(&mut servers, 0, 1, true).await;
    assert!(lost.revocations + lost.proofs + lost.rotations > 0, "{lost:?}");
}

/// 20 kills with a replica that confirms, 20 without, every other one with the replica cut off before:
/// `cargo nextest run -p token-service failover --run-ignored only --no-capture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "eight minutes: prints the loss with and without confirmation"]
async fn the_loss_of_twenty_fail_overs() {
    let Some(mut servers) = RedisCluster::start() else { return };
    for min_replicas in [1, 0] {
        let mut total = Lost::default();
        for number in 0..20 {
            let lost = round(&mut servers, min_replicas, number, number % 2 == 1).await;
            println!("replicas {min_replicas}, round {number}: {lost:?}");
            total.revocations += lost.revocations;
            total.proofs += lost.proofs;
            total.rotations += lost.rotations;
            total.of += lost.of;
            total.longest = total.longest.max(lost.longest);
        }
        println!("replicas {min_replicas}, 20 rounds: {total:?}");
        assert!(min_replicas == 0 || total.revocations + total.proofs + total.rotations == 0, "{total:?}");
    }
}
