//! Two replicas of the token service on one Redis: what one knows, the other knows; and what happens when Redis stalls, is
//! emptied or goes, or a replica is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use token_jose::{Algorithm, KeyRing, RingPolicy, sha256_hex};
use token_testkit::{Curl, Process, Redis, Reply, binaries, free_port, skipped, wait_until};

const KEY: &str = "api-key-of-the-replica-tests-0123456789";
const ISSUER: &str = "https://tokens.example";
const API: &str = "https://api.example";
/// No answer may take longer than this, whatever Redis does: the store's timeout of a second, and the machine's noise.
const BOUND: Duration = Duration::from_secs(6);

struct World {
    redis: Redis,
    folder: TempDir,
}

impl World {
    /// A ring, its published set, a caller and a shared secret in files, and an empty Redis.
    fn start() -> Option<Self> {
        let redis = Redis::start()?;
        let folder = tempfile::tempdir().unwrap();
        let policy = RingPolicy { max_token_ttl_s: 2_592_000, retention_s: 2_764_800, ..RingPolicy::default() };
        let now = token_testkit::at("2026-11-01T00:00:00Z");
        let ring = KeyRing::first(&[Algorithm::Es256], policy, now).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("ring.json", &ring.to_json().unwrap());
        write("jwks.json", ring.published(now).to_stored_json().as_bytes());
        write("secret", b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
        let caller = format!(
            "[[caller]]\nname = \"backend\"\napi_key_sha256 = [\"{}\"]\nroles = [\"tokens:issue\", \"tokens:revoke\"]\nissue = {{ users = [\"*\"] }}\n",
            sha256_hex(KEY.as_bytes())
        );
        write("callers.toml", caller.as_bytes());
        Some(Self { redis, folder })
    }

    fn replica(&self) -> Replica {
        let file = |name: &str| format!("file:{}", self.folder.path().join(name).display());
        let port = free_port();
        let mut command = Command::new(binaries().join("token-service"));
        command.env_clear();
        for (name, value) in [
            ("HOST", "127.0.0.1"),
            ("PORT", port.to_string().as_str()),
            ("GRPC_PORT", free_port().to_string().as_str()),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", API),
            ("CALLERS", &file("callers.toml")),
            ("KEY_RING", &file("ring.json")),
            ("JWKS", &file("jwks.json")),
            ("SHARED_SECRET_FILE", self.folder.path().join("secret").to_str().unwrap()),
            ("REDIS_URL", &self.redis.url()),
            ("SHUTDOWN_GRACE_SECONDS", "0"),
        ] {
            command.env(name, value);
        }
        let process = Process::start("token-service", command);
        let replica = Replica { process, url: format!("http://127.0.0.1:{port}") };
        wait_until("a replica to be ready", Duration::from_secs(60), || {
            let ready = Curl::get(&format!("{}/readyz", replica.url)).try_send();
            ready.is_ok_and(|reply| reply.status == 200).then_some(())
        });
        replica
    }
}

struct Replica {
    process: Process,
    url: String,
}

impl Replica {
    fn post(&self, path: &str, body: &Value) -> Reply {
        let url = format!("{}{path}", self.url);
        Curl::post(&url).header("Authorization", &format!("Bearer {KEY}")).json(body).send()
    }

    fn delete(&self, path: &str) -> Reply {
        let url = format!("{}{path}", self.url);
        Curl::new("DELETE", &url).header("Authorization", &format!("Bearer {KEY}")).send()
    }

    fn authorize(&self, token: &str) -> Reply {
        Curl::get(&format!("{}/authorize", self.url)).header("Authorization", &format!("Bearer {token}")).send()
    }

    fn latest(&self, parent: &str) -> Reply {
        Curl::get(&format!("{}/tokens/latest", self.url)).header("Authorization", &format!("Bearer {parent}")).send()
    }

    fn refresh(&self, token: &str) -> Reply {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        Curl::post(&format!("{}/oauth2/token", self.url))
            .argument("--user")
            .argument(&format!("backend:{KEY}"))
            .body("application/x-www-form-urlencoded", &form)
            .send()
    }

    fn session(&self) -> Value {
        let form = "grant_type=client_credentials&scope=offline_access";
        let reply = Curl::post(&format!("{}/oauth2/token", self.url))
            .argument("--user")
            .argument(&format!("backend:{KEY}"))
            .body("application/x-www-form-urlencoded", form)
            .send();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn missing() {
    skipped("redis-server");
}

#[test]
fn what_one_replica_revokes_no_replica_lets_in() {
    let Some(world) = World::start() else { return missing() };
    let (one, two) = (world.replica(), world.replica());
    let pair = one.post("/token-pairs", &json!({"user_id": "alice", "include_child": true}));
    assert_eq!(pair.status, 201, "{}", pair.text());
    let pair = pair.json();
    let (parent, child) = (text(&pair["parent_token"]), text(&pair["child_token"]));
    assert_eq!(two.authorize(&child).status, 200);
    // The latest child is the same one, whichever replica signs it.
    let latest = two.latest(&parent);
    assert_eq!(latest.json()["child_jti"], pair["child_jti"], "{}", latest.text());
    assert_eq!(two.authorize(latest.json()["child_token"].as_str().unwrap()).status, 200);

    assert_eq!(two.delete(&format!("/tokens/{}", text(&pair["parent_jti"]))).status, 204);
    assert_eq!(one.authorize(&child).status, 403);
    assert_eq!(one.latest(&parent).status, 403);

    let token = text(&one.post("/tokens", &json!({"user_id": "bob"})).json()["token"]);
    assert_eq!(two.authorize(&token).status, 200);
    assert_eq!(one.delete("/users/bob/tokens").status, 204);
    assert_eq!(two.authorize(&token).status, 403);
}

#[test]
fn a_refresh_at_both_replicas_at_once_gives_one_answer_and_a_late_one_ends_the_family() {
    let Some(world) = World::start() else { return missing() };
    let (one, two) = (world.replica(), world.replica());
    let first = text(&one.session()["refresh_token"]);
    let answers = std::thread::scope(|scope| {
        let at = [&one, &two].map(|replica| scope.spawn(|| replica.refresh(&first)));
        at.map(|thread| thread.join().unwrap())
    });
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(answers[0].json()["refresh_token"], answers[1].json()["refresh_token"]);
    assert_eq!(answers[0].json()["access_token"], answers[1].json()["access_token"]);
    // The successor is used: the answer has arrived, so the first token is a copy in foreign hands.
    let second = text(&answers[0].json()["refresh_token"]);
    let third = two.refresh(&second);
    assert_eq!(third.status, 200, "{}", third.text());
    let stolen = one.refresh(&first);
    assert_eq!((stolen.status, stolen.json()["error"].as_str()), (400, Some("invalid_grant")));
    let dead = two.refresh(&text(&third.json()["refresh_token"]));
    assert_eq!((dead.status, dead.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(one.authorize(&text(&third.json()["access_token"])).status, 403);
    assert!(one.process.stderr().contains("REPLAY_ATTACK_DETECTED"));
    assert!(!one.process.stderr().contains(&first), "no token is in the log");
}

#[test]
fn a_stalled_redis_is_503_in_bounded_time_and_over_when_it_is_over() {
    let Some(world) = World::start() else { return missing() };
    let one = world.replica();
    let token = text(&one.post("/tokens", &json!({"user_id": "alice"})).json()["token"]);
    assert_eq!(one.authorize(&token).status, 200);
    world.redis.pause();
    for ask in [
        &(|| one.authorize(&token)) as &dyn Fn() -> Reply,
        &|| one.post("/tokens", &json!({"user_id": "alice"})),
        &|| one.delete("/users/alice/tokens"),
    ] {
        let asked = Instant::now();
        let reply = ask();
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    }
    let health = |path: &str| Curl::get(&format!("{}{path}", one.url)).send().status;
    assert_eq!(health("/healthz"), 200, "alive: a restart would mend nothing");
    wait_until("the replica to be not ready", Duration::from_secs(20), || (health("/readyz") == 503).then_some(()));
    world.redis.resume();
    wait_until("the token to open again", Duration::from_secs(30), || {
        (one.authorize(&token).status == 200).then_some(())
    });
}

#[test]
fn an_emptied_redis_refuses_what_was_before_and_serves_what_comes_after() {
    let Some(mut world) = World::start() else { return missing() };
    let one = world.replica();
    let mint = || text(&one.post("/tokens", &json!({"user_id": "alice"})).json()["token"]);
    let (revoked, good, refresh) = (mint(), mint(), text(&one.session()["refresh_token"]));
    let id = {
        let introspected = Curl::post(&format!("{}/oauth2/revoke", one.url))
            .argument("--user")
            .argument(&format!("backend:{KEY}"))
            .body("application/x-www-form-urlencoded", &format!("token={revoked}"))
            .send();
        introspected.status
    };
    assert_eq!((id, one.authorize(&revoked).status, one.authorize(&good).status), (200, 403, 200));
    world.redis.kill();
    assert_eq!(one.authorize(&good).status, 503);
    world.redis.restart();
    wait_until("Redis to be used again", Duration::from_secs(30), || {
        (one.post("/tokens", &json!({"user_id": "somebody"})).status == 201).then_some(())
    });
    let fresh = mint();
    assert_eq!(one.authorize(&fresh).status, 200);
    // **INV** Nothing is un-revoked: what was before is unknown now, the revoked token with the good one.
    for old in [&revoked, &good] {
        assert_eq!(one.authorize(old).status, 401);
    }
    let gone = one.refresh(&refresh);
    assert_eq!((gone.status, gone.json()["error"].as_str()), (400, Some("invalid_grant")), "{}", gone.text());
}

#[test]
fn a_killed_replica_takes_nothing_along_and_a_told_one_ends_in_order() {
    let Some(world) = World::start() else { return missing() };
    let (mut one, mut two) = (world.replica(), world.replica());
    let session = one.session();
    let pair = one.post("/token-pairs", &json!({"user_id": "alice"})).json();
    one.process.kill();
    assert_eq!(two.refresh(&text(&session["refresh_token"])).status, 200);
    assert_eq!(two.latest(&text(&pair["parent_token"])).status, 200);
    two.process.terminate();
    assert!(two.process.wait(Duration::from_secs(30)).success(), "{}", two.process.output());
}
