//! Envoy verifies tokens itself, with our key set, while keys rotate.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use token_jose::{Algorithm, KeyRing, KeySet, PublishedKey, RingPolicy};
use token_testkit::{Curl, Envoy};

use super::{Service, Upstream, bearer, envoy, forged, key, now, proof, status};

/// Ring and published set as files, changed as a rotation changes them, with seconds where a rotation has hours.
struct Rotation {
    folder: tempfile::TempDir,
    ring: Value,
    keys: Vec<Value>,
    published: Vec<PublishedKey>,
}

impl Rotation {
    fn start() -> Self {
        let (key, published) = fresh(now() - SignedDuration::from_hours(48));
        let mut ring = ring_of(now());
        ring["keys"] = json!([]);
        let mut rotation =
            Self { folder: tempfile::tempdir().unwrap(), ring, keys: vec![key], published: vec![published] };
        rotation.keys[0]["signs_from"] = json!((now() - SignedDuration::from_hours(24)).to_string());
        rotation.publish_standby();
        rotation
    }

    /// A new key that does not sign yet.
    fn publish_standby(&mut self) {
        let (key, published) = fresh(now());
        self.keys.push(key);
        self.published.push(published);
        self.write();
    }

    /// The newest key signs from now on.
    fn promote(&mut self) {
        let from = Timestamp::from_second(now().as_second()).unwrap();
        self.keys.last_mut().unwrap()["signs_from"] = json!(from.to_string());
        self.write();
    }

    /// The oldest key goes, and its tokens with it.
    fn retire(&mut self) {
        self.keys.remove(0);
        self.published.remove(0);
        self.write();
    }

    fn write(&mut self) {
        self.ring["keys"] = json!(self.keys);
        self.ring["generation"] = json!(self.ring["generation"].as_u64().unwrap() + 1);
        let published = KeySet::new(self.published.clone(), 0);
        KeyRing::parse(self.ring.to_string().as_bytes()).unwrap();
        // What verifiers see first.
        replace(&self.path("jwks.json"), &published.to_stored_json());
        replace(&self.path("ring.json"), &self.ring.to_string());
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// A reader sees the old file or the new one.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

fn ring_of(at: Timestamp) -> Value {
    let ring = KeyRing::first(&[Algorithm::Es256], RingPolicy::default(), at).unwrap();
    serde_json::from_slice(&ring.to_json().unwrap()).unwrap()
}

/// A key as a ring has it, and as it is published since `at`.
fn fresh(at: Timestamp) -> (Value, PublishedKey) {
    let ring = KeyRing::first(&[Algorithm::Es256], RingPolicy::default(), at).unwrap();
    let version = &ring.key_versions()[0];
    let text: Value = serde_json::from_slice(&ring.to_json().unwrap()).unwrap();
    let found = text["keys"].as_array().unwrap().iter().find(|key| key["kid"] == version.kid().as_str()).unwrap();
    let mut key = found.clone();
    key["signs_from"] = Value::Null;
    let at = Timestamp::from_second(at.as_second()).unwrap();
    let mut published = PublishedKey::new(version.public_key().clone());
    published.published_at = Some(at);
    (key, published)
}

#[test]
fn three_rotations_without_one_rejected_request() {
    let mut rotation = Rotation::start();
    let file = |name: &str| format!("file:{}", rotation.path(name).display());
    let (ring, jwks) = (file("ring.json"), file("jwks.json"));
    let vars =
        [("KEY_RING", ring.as_str()), ("JWKS", &jwks), ("KEY_REFRESH_SECONDS", "1"), ("PARENT_TOKEN_TTL", "3600")];
    let service = Service::start(&vars);
    let upstream = Upstream::start();
    let configure = |port| {
        let text = envoy("jwt-authn.yaml", &service, &upstream.address(), port);
        let text = text.replace("issuer: https://tokens.example", &format!("issuer: {}", service.issuer));
        let text = text.replace("audiences: [https://api.example]", "audiences: [token-service-dev]");
        text.replace("cache_duration: { seconds: 300 }", "cache_duration: { seconds: 1 }")
    };
    let Some(proxy) = Envoy::start(configure) else { return };
    let url = format!("{}/orders", proxy.url());
    let mut tokens: Vec<(String, Instant)> = Vec::new();
    let mut kids = BTreeSet::new();
    let mut asked = 0;
    // Every request of a token that is still accepted: new ones, and those of the key before.
    let mut run = |seconds: u64| {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            // A caller may mint 600 times a minute: ten new tokens a second, and many more requests.
            if tokens.last().is_none_or(|(_, made)| made.elapsed() > Duration::from_millis(100)) {
                let token = service.token(&json!({}), None);
                kids.insert(token_jose::Unverified::parse(&token).unwrap().kid().to_string());
                tokens.push((token, Instant::now()));
            }
            tokens.retain(|(_, made)| made.elapsed() < Duration::from_secs(4));
            for (token, _) in [tokens.first().unwrap(), tokens.last().unwrap()] {
                let reply = forged(bearer(Curl::get(&url), token)).send();
                status(&reply, 200, &format!("request {asked}, {} keys seen", kids.len()));
                assert_eq!(upstream.last().header("x-subject"), Some("user_alice"));
                asked += 1;
            }
        }
    };
    run(2);
    for _ in 0..3 {
        // The new key is public for longer than all caches, then signs; the old one goes when its tokens have gone.
        run(5);
        rotation.promote();
        run(7);
        rotation.retire();
        rotation.publish_standby();
    }
    run(2);
    assert_eq!(kids.len(), 4, "after {asked} requests");
    println!("{asked} requests, {} keys", kids.len());

    // What is no token of ours, or is not for the API, does not pass; nor does one that is bound to a key.
    let parent = service.post("/token-pairs", &json!({"user_id": "alice"}), None);
    status(&bearer(Curl::get(&url), parent["parent_token"].as_str().unwrap()).send(), 403, "a parent");
    status(&Curl::get(&url).send(), 401, "nothing");
    let mint = format!("{}/tokens", service.http);
    let bound = service.token(&json!({}), Some(&proof(&key(), &json!({"htm": "POST", "htu": mint}))));
    status(&bearer(Curl::get(&url), &bound).send(), 403, "a bound token without its proof");
}
