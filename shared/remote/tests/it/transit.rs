//! Against a real OpenBao.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use token_issuance::rotation::KeyMaker as _;
use token_issuance::{SignerSource as _, SourceError};
use token_jose::{Algorithm, KeyRing, KeyVersion, PrivateLocation, RingPolicy, SignError, sign_compact, verify};
use token_remote::{TransitKeyMaker, TransitKeys, TransitOptions};
use token_testkit::{OpenBao, at, keys, wait_for};

use crate::{client, impatient, log_of, patient, url};

/// What the issuer's own policy says in the documentation, and what the maker needs beside it.
const POLICY: &str = r#"
path "transit/keys/*" { capabilities = ["read", "create", "update"] }
path "transit/sign/*" { capabilities = ["update"] }
"#;

/// An engine, a token file, and keys reached with it.
struct World {
    bao: OpenBao,
    folder: TempDir,
}

impl World {
    fn start() -> Option<Self> {
        let bao = OpenBao::start()?;
        bao.policy("issuer", POLICY);
        let world = Self { bao, folder: tempfile::tempdir().unwrap() };
        world.put_token(world.bao.root_token());
        Some(world)
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// As an agent does: a new file takes the old one's place.
    fn put_token(&self, token: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, token).unwrap();
        std::fs::rename(next, self.token_file()).unwrap();
    }

    fn keys(&self) -> Arc<TransitKeys> {
        let options = TransitOptions::new(url(&self.bao.url()), self.token_file());
        Arc::new(TransitKeys::new(client(&patient()), options).unwrap())
    }

    fn maker(&self) -> TransitKeyMaker {
        TransitKeyMaker::new(self.keys(), "ring").unwrap()
    }

    fn config(&self, key: &str, body: &Value) {
        self.bao.write(&format!("transit/keys/{key}/config"), body);
    }
}

fn signs(result: Result<Vec<u8>, SignError>, key: &KeyVersion, input: &[u8]) {
    key.public_key().verify_signature(input, &result.unwrap()).unwrap();
}

#[tokio::test]
async fn every_algorithm_signs_through_a_ring() {
    let Some(world) = World::start() else { return };
    let (maker, now) = (world.maker(), at("2026-11-22T12:00:00Z"));
    let mut versions = Vec::new();
    for algorithm in Algorithm::ALL {
        versions.push(maker.standby(algorithm).await.unwrap());
        versions.push(maker.standby(algorithm).await.unwrap());
    }
    let ring = KeyRing::first_of(&Algorithm::ALL, versions, RingPolicy::default(), now).unwrap();
    // As another process reads it.
    let mut ring = KeyRing::parse(&ring.to_json().unwrap()).unwrap();
    assert_eq!(ring.unattached().count(), 10);
    let keys = world.keys();
    for key in ring.unattached().cloned().collect::<Vec<_>>() {
        ring.attach(keys.signer(&key).await.unwrap()).unwrap();
    }
    let published = ring.published(now);
    for algorithm in Algorithm::ALL {
        let key = ring.active(algorithm, now).unwrap();
        assert!(matches!(key.location(), PrivateLocation::Transit { version: 1 | 2, .. }), "{:?}", key.location());
        let claims = format!(r#"{{"iss":"i","sub":"s","aud":"a","exp":{}}}"#, now.as_second() + 60);
        let token = sign_compact(key.signer().unwrap().as_ref(), "JWT", claims.as_bytes()).await.unwrap();
        let expectation = token_jose::Expectation::new("i", "a", &["JWT"]);
        let verified = verify(token.as_str(), &published, &expectation, now).unwrap();
        assert_eq!((verified.kid(), verified.algorithm()), (key.kid(), algorithm));
        // Nothing but the size of the request bounds the input, and the empty one is one.
        for input in [&b""[..], &[7; 20_000]] {
            signs(key.signer().unwrap().sign(input).await, key, input);
        }
    }
}

#[tokio::test]
async fn larger_rsa_keys_are_made_when_asked_for() {
    let Some(world) = World::start() else { return };
    let maker = world.maker().with_rsa_bits(3072);
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let key = maker.standby(algorithm).await.unwrap();
        assert_eq!(key.public_key().rsa_bits(), Some(3072));
        signs(key.signer().unwrap().sign(b"input").await, &key, b"input");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_transit_rotates_the_pinned_version_signs() {
    let Some(world) = World::start() else { return };
    let maker = world.maker();
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = maker.standby(algorithm).await.unwrap();
        let keys = world.keys();
        let signer = keys.signer(&key).await.unwrap();
        assert_eq!(signer.public_key(), key.public_key());
        let name = maker.key_name(algorithm);
        let signing = tokio::spawn(async move {
            for index in 0..60_u32 {
                let input = index.to_be_bytes();
                signer.public_key().verify_signature(&input, &signer.sign(&input).await.unwrap()).unwrap();
            }
        });
        for _ in 0..5 {
            world.bao.write(&format!("transit/keys/{name}/rotate"), &json!({}));
        }
        signing.await.unwrap();
        // The versions keep their numbers and their halves.
        let listed = world.keys().public_keys(&name, algorithm).await.unwrap();
        let numbers: Vec<_> = listed.iter().map(|found| (found.version, found.signs)).collect();
        assert_eq!(numbers, (1..=6).map(|version| (version, true)).collect::<Vec<_>>());
        assert_eq!(&listed[0].public_key, key.public_key());
        // A new standby is the version after them.
        let next = maker.standby(algorithm).await.unwrap();
        assert_eq!(next.location(), &PrivateLocation::Transit { key: name, version: 7 });
        assert_ne!(next.kid(), key.kid());
    }
}

#[tokio::test]
async fn a_version_that_transit_has_retired_is_refused_for_good_and_says_so() {
    let Some(world) = World::start() else { return };
    let maker = world.maker();
    let first = maker.standby(Algorithm::EdDsa).await.unwrap();
    let name = maker.key_name(Algorithm::EdDsa);
    for _ in 0..2 {
        maker.standby(Algorithm::EdDsa).await.unwrap();
    }
    let signer = first.signer().unwrap();
    signs(signer.sign(b"x").await, &first, b"x");

    let mut last = String::new();
    for (step, numbers) in [
        (json!({"min_encryption_version": 2}), "versions 1 to 3 exist and 2 to 3 sign"),
        (json!({"min_decryption_version": 2}), "versions 2 to 3 exist and 2 to 3 sign"),
        (json!({"trim": 2}), "versions 2 to 3 exist and 2 to 3 sign"),
    ] {
        if step["trim"].is_null() {
            world.config(&name, &step);
        } else {
            world.bao.write(&format!("transit/keys/{name}/trim"), &json!({"min_available_version": 2}));
        }
        let error = signer.sign(b"x").await.unwrap_err();
        assert!(matches!(&error, SignError::Refused { detail } if detail.contains(numbers)), "{step}: {error}");
        last = error.to_string();
    }
    assert!(last.contains("expected version 1 to be live") && last.contains("hint: rotate the ring"), "{last}");
    // A ring that names it finds no signer, and the list starts at what is left.
    let error = world.keys().signer(&first).await.unwrap_err();
    assert!(matches!(&error, SourceError::Malformed { detail, .. } if detail.contains("version 1")), "{error}");
    let listed = world.keys().public_keys(&name, Algorithm::EdDsa).await.unwrap();
    assert_eq!(listed.iter().map(|found| found.version).collect::<Vec<_>>(), [2, 3]);
    // One version cannot be disabled alone, and that is not passed over in silence.
    let error = maker.disable(&first).await.unwrap_err().to_string();
    assert!(error.contains("min_encryption_version to 2"), "{error}");
}

#[tokio::test]
async fn a_ring_that_names_the_wrong_key_does_not_sign() {
    let Some(world) = World::start() else { return };
    let maker = world.maker();
    let key = maker.standby(Algorithm::Es256).await.unwrap();
    let name = maker.key_name(Algorithm::Es256);
    let keys = world.keys();
    let entry = |name: &str, version: u64, algorithm: Algorithm| {
        let location = PrivateLocation::Transit { key: name.to_owned(), version };
        KeyVersion::remote_standby(location, keys::signer(algorithm))
    };
    for (name, version, algorithm, found) in [
        (name.as_str(), 1, Algorithm::Es256, "public half of version 1, found another"),
        (name.as_str(), 2, Algorithm::Es256, "version 2 to be live"),
        (name.as_str(), 0, Algorithm::Es256, "version 0 to be live"),
        (name.as_str(), u64::MAX, Algorithm::Es256, "to be live"),
        (name.as_str(), 1, Algorithm::EdDsa, "found type \"ecdsa-p256\""),
        ("../../sys/health", 1, Algorithm::Es256, "expected a key name"),
        ("a/b", 1, Algorithm::Es256, "expected a key name"),
        ("", 1, Algorithm::Es256, "expected a key name"),
        ("..", 1, Algorithm::Es256, "expected a key name"),
    ] {
        let error = keys.signer(&entry(name, version, algorithm)).await.unwrap_err();
        assert!(matches!(&error, SourceError::Malformed { detail, .. } if detail.contains(found)), "{error}");
    }
    let error = keys.signer(&entry("nowhere", 1, Algorithm::Es256)).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
    let inline = KeyVersion::standby(token_jose::LocalSigner::generate(Algorithm::Es256).unwrap());
    assert!(keys.signer(&inline).await.is_err());

    // Deleted and made anew under the same name and number: the signer that is held says so.
    let signer = keys.signer(&key).await.unwrap();
    world.config(&name, &json!({"deletion_allowed": true}));
    delete(&world, &name).await;
    let missing = signer.sign(b"x").await.unwrap_err();
    assert!(matches!(missing, SignError::Refused { .. }), "{missing}");
    maker.standby(Algorithm::Es256).await.unwrap();
    let error = signer.sign(b"x").await.unwrap_err();
    assert!(matches!(&error, SignError::Refused { detail } if detail.contains("made anew")), "{error}");
}

async fn delete(world: &World, name: &str) {
    let target = format!("{}/v1/transit/keys/{name}", world.bao.url());
    let token = world.bao.root_token();
    let reply = tokio::task::spawn_blocking(move || {
        token_testkit::Curl::new("DELETE", &target).header("x-vault-token", token).send()
    });
    assert_eq!(reply.await.unwrap().status, 204);
}

#[tokio::test]
async fn sealed_or_stopped_is_an_outage_that_ends_by_itself() {
    let Some(world) = World::start() else { return };
    let key = world.maker().standby(Algorithm::EdDsa).await.unwrap();
    let signer = world.keys().signer(&key).await.unwrap();
    world.bao.seal();
    let error = signer.sign(b"x").await.unwrap_err();
    assert!(matches!(&error, SignError::Unavailable { detail } if detail.contains("sealed")), "{error}");
    let error = world.keys().signer(&key).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    world.bao.unseal();
    signs(signer.sign(b"x").await, &key, b"x");

    let options = TransitOptions::new(url(&world.bao.url()), world.token_file());
    let hasty = TransitKeys::new(client(&impatient()), options).unwrap();
    let signer = hasty.signer(&key).await.unwrap();
    world.bao.pause();
    // The signal takes its moment to arrive.
    let stalled = wait_for("a stall", Duration::from_secs(20), || async { signer.sign(b"x").await.err() });
    let error = stalled.await;
    assert!(matches!(&error, SignError::Unavailable { detail } if detail.contains("within 1000 ms")), "{error}");
    world.bao.resume();
    wait_for("signatures again", Duration::from_secs(20), || async { signer.sign(b"x").await.ok() }).await;
}

#[tokio::test]
async fn a_dead_token_is_replaced_by_the_file_s_next_one_within_the_call() {
    let Some(world) = World::start() else { return };
    let key = world.maker().standby(Algorithm::EdDsa).await.unwrap();
    let mortal = world.bao.token(&["issuer"], "1h", "0");
    world.put_token(&mortal);
    let signer = world.keys().signer(&key).await.unwrap();
    signs(signer.sign(b"x").await, &key, b"x");

    world.bao.write("auth/token/revoke", &json!({"token": mortal}));
    let error = signer.sign(b"x").await.unwrap_err();
    assert!(matches!(&error, SignError::Refused { detail } if detail.contains("403")), "{error}");
    assert!(!format!("{error} {error:?} {signer:?}").contains(&mortal));
    world.put_token(&world.bao.token(&["issuer"], "1h", "0"));
    signs(signer.sign(b"x").await, &key, b"x");

    // The file says the same of itself as before, and holds another token: only the refusal can tell.
    let (old, new) = (world.bao.token(&["issuer"], "1h", "0"), world.bao.token(&["issuer"], "1h", "0"));
    assert_eq!(old.len(), new.len());
    world.put_token(&old);
    let file = world.token_file();
    signs(signer.sign(b"x").await, &key, b"x");
    world.bao.write("auth/token/revoke", &json!({"token": old}));
    std::fs::write(&file, &new).unwrap();
    signs(signer.sign(b"x").await, &key, b"x");

    // A token that may do nothing is refused, once.
    world.put_token(&world.bao.token(&["default"], "1h", "0"));
    let error = signer.sign(b"x").await.unwrap_err();
    assert!(matches!(error, SignError::Refused { .. }), "{error}");
    let error = world.keys().signer(&key).await.unwrap_err();
    assert!(matches!(error, SourceError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn a_token_renews_itself_by_being_used() {
    let Some(world) = World::start() else { return };
    let key = world.maker().standby(Algorithm::EdDsa).await.unwrap();
    world.put_token(&world.bao.token(&["issuer", "default"], "6s", "0"));
    let signer = world.keys().signer(&key).await.unwrap();
    // Longer than it would live, in steps in which it may be renewed.
    for _ in 0..20 {
        signs(signer.sign(b"x").await, &key, b"x");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // One that may not even ask about itself signs until its end.
    world.put_token(&world.bao.token(&["issuer"], "1h", "0"));
    signs(signer.sign(b"x").await, &key, b"x");
}

#[test]
fn no_token_is_in_any_log() {
    let Some(world) = World::start() else { return };
    let token = world.bao.token(&["issuer"], "1h", "0");
    world.put_token(&token);
    let log = log_of(async {
        let key = world.maker().standby(Algorithm::Es256).await.unwrap();
        let signer = world.keys().signer(&key).await.unwrap();
        signer.sign(b"x").await.unwrap();
        world.bao.write("auth/token/revoke", &json!({"token": token}));
        assert!(signer.sign(b"x").await.is_err());
    });
    assert!(log.contains("time to live is not known"), "our own lines are there: {log}");
    assert_eq!(log.lines().find(|line| line.contains(&token)), None);
}

#[tokio::test]
async fn another_mount_and_a_namespace_are_used_as_configured() {
    let Some(world) = World::start() else { return };
    world.bao.write("sys/mounts/keys/of-issuer", &json!({"type": "transit"}));
    let mut options = TransitOptions::new(url(&world.bao.url()), world.token_file());
    options.mount = "/keys/of-issuer/".to_owned();
    let keys = Arc::new(TransitKeys::new(client(&patient()), options.clone()).unwrap());
    let key = TransitKeyMaker::new(Arc::clone(&keys), "ring").unwrap().standby(Algorithm::EdDsa).await.unwrap();
    signs(key.signer().unwrap().sign(b"x").await, &key, b"x");
    // The header arrives: there is no such namespace, so there is no such engine.
    options.namespace = Some("team-a/".to_owned());
    let elsewhere = TransitKeys::new(client(&patient()), options.clone()).unwrap();
    assert!(elsewhere.signer(&key).await.is_err());
    for (mount, namespace) in [("a b", None), ("", None), ("a/../b", None), ("a//b", None), ("a", Some("b\r\nc"))] {
        let options = TransitOptions { mount: mount.into(), namespace: namespace.map(Into::into), ..options.clone() };
        let error = TransitKeys::new(client(&patient()), options).unwrap_err().to_string();
        assert!(error.contains("expected letters"), "{error}");
    }
    assert!(TransitKeyMaker::new(keys, "a/b").is_err());
}
