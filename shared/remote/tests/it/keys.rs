//! How long a key set is used, and how often it is asked for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::Algorithm;
use token_remote::{KeysFault, RemoteKeys, RemoteKeysPolicy};
use token_testkit::{RemoteStub, StubAnswer, at, keys};

use crate::{client, impatient, url};

/// An issuer whose answer tests change.
pub(crate) struct Issuer {
    pub(crate) stub: RemoteStub,
    answer: Arc<Mutex<StubAnswer>>,
}

impl Issuer {
    pub(crate) fn start(set: &Value) -> Self {
        Self::slow(set, Duration::ZERO)
    }

    fn slow(set: &Value, pause: Duration) -> Self {
        let answer = Arc::new(Mutex::new(StubAnswer::json(set)));
        let current = Arc::clone(&answer);
        let stub = RemoteStub::start(move |_| {
            std::thread::sleep(pause);
            current.lock().unwrap().clone()
        });
        Self { stub, answer }
    }

    pub(crate) fn answers(&self, answer: StubAnswer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.stub.requests().len()
    }

    pub(crate) fn keys(&self) -> RemoteKeys {
        RemoteKeys::new(url(&self.stub.url()), client(&impatient()), RemoteKeysPolicy::default())
    }
}

/// A set with the test key of `algorithm` under this name.
pub(crate) fn set(kid: &str, algorithm: Algorithm) -> Value {
    let mut jwk = keys::signer(algorithm).public_key().to_jwk();
    jwk["kid"] = json!(kid);
    json!({ "keys": [jwk] })
}

fn start() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn after(seconds: i64) -> Timestamp {
    start() + jiff::SignedDuration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_callers_are_one_request() {
    let issuer = Issuer::slow(&set("a", Algorithm::Es256), Duration::from_millis(200));
    let keys = Arc::new(issuer.keys());
    let all = |kid: &'static str, now: Timestamp| {
        let tasks: Vec<_> = (0..100_i64)
            .map(|index| {
                let keys = Arc::clone(&keys);
                // Each has its own look at the clock.
                let now = now + jiff::SignedDuration::from_millis((index * 37) % 100);
                tokio::spawn(async move { keys.for_kid(kid, now).await.map(|keys| keys.contains(kid)) })
            })
            .collect();
        async move {
            let mut found = Vec::new();
            for task in tasks {
                found.push(task.await.unwrap());
            }
            found
        }
    };
    assert!(all("a", start()).await.iter().all(|found| *found == Ok(true)));
    assert_eq!(issuer.asked(), 1, "cold");
    assert!(all("b", after(40)).await.iter().all(|found| *found == Ok(false)));
    assert_eq!(issuer.asked(), 2, "an unknown kid");
    issuer.answers(StubAnswer::status(500));
    assert!(all("b", after(80)).await.iter().all(Result::is_err));
    assert_eq!(issuer.asked(), 3, "an unknown kid while the issuer is down");
    assert!(all("a", after(400)).await.iter().all(|found| *found == Ok(true)));
    assert_eq!(issuer.asked(), 4, "stale");
    assert!(all("a", after(4_000)).await.iter().all(Result::is_err));
    assert_eq!(issuer.asked(), 5, "too old, and down");
}

#[tokio::test]
async fn a_set_is_used_for_its_age_and_no_longer() {
    let issuer = Issuer::start(&set("a", Algorithm::Es256));
    let keys = issuer.keys();
    for (seconds, asked) in [(0, 1), (299, 1), (300, 2), (599, 2), (600, 3)] {
        keys.keys(after(seconds)).await.unwrap();
        assert_eq!(issuer.asked(), asked, "after {seconds} s");
    }
    // A clock that was set back makes it stale, not young; a few milliseconds between threads do not.
    keys.keys(after(595)).await.unwrap();
    assert_eq!(issuer.asked(), 3);
    keys.keys(after(0)).await.unwrap();
    assert_eq!(issuer.asked(), 4);
    assert_eq!(keys.age(after(30)), (Some(30), false));
}

#[tokio::test]
async fn while_its_issuer_is_down_the_last_good_set_serves_up_to_its_bound() {
    let issuer = Issuer::start(&set("a", Algorithm::Es256));
    let keys = issuer.keys();
    keys.keys(start()).await.unwrap();
    issuer.answers(StubAnswer::status(503));
    assert!(keys.for_kid("a", after(301)).await.unwrap().contains("a"));
    assert_eq!((issuer.asked(), keys.age(after(301))), (2, (Some(301), true)));
    // 1 s, 2 s, 4 s, …: asked again when the pause is over and not before.
    for (seconds, asked) in [(301, 2), (302, 3), (303, 3), (304, 4), (307, 4), (308, 5)] {
        assert!(keys.keys(after(seconds)).await.is_ok());
        assert_eq!(issuer.asked(), asked, "after {seconds} s");
    }
    assert!(keys.keys(after(3_600)).await.is_ok());
    let error = keys.keys(after(3_601)).await.unwrap_err();
    assert!(matches!(&error.reason, KeysFault::Remote(reason) if reason.is_outage()), "{error}");
    assert!((1..=30).contains(&error.retry_after_s), "{error:?}");
    // It comes back, and so do the keys, without a restart.
    issuer.answers(StubAnswer::json(&set("b", Algorithm::EdDsa)));
    assert!(keys.keys(after(3_640)).await.unwrap().contains("b"));
    assert_eq!(keys.age(after(3_640)), (Some(0), false));
}

#[tokio::test]
async fn the_pause_between_attempts_never_exceeds_its_bound() {
    let issuer = Issuer::start(&json!({}));
    let keys = issuer.keys();
    let mut now = 0;
    for _ in 0..40 {
        let error = keys.keys(after(now)).await.unwrap_err();
        assert!(matches!(error.reason, KeysFault::Document { .. }), "{error}");
        now += i64::try_from(error.retry_after_s).unwrap();
        assert!(error.retry_after_s <= 30);
    }
    assert_eq!(issuer.asked(), 40);
    // An issuer that asks for more than that is asked again all the same.
    issuer.answers(StubAnswer::Full(429, vec![("retry-after", "3600".to_owned())], vec![]));
    assert_eq!(keys.keys(after(now)).await.unwrap_err().retry_after_s, 30);
}

#[tokio::test]
async fn an_unknown_kid_is_looked_for_once_per_cool_down() {
    let issuer = Issuer::start(&set("a", Algorithm::Es256));
    let keys = issuer.keys();
    for seconds in 0..30 {
        assert!(!keys.for_kid(&format!("made-up-{seconds}"), after(seconds)).await.unwrap().contains("a kid"));
        assert_eq!(issuer.asked(), 1, "after {seconds} s");
    }
    issuer.answers(StubAnswer::json(&set("b", Algorithm::Es256)));
    assert!(!keys.for_kid("b", after(29)).await.unwrap().contains("b"));
    assert!(keys.for_kid("b", after(30)).await.unwrap().contains("b"), "a rotation is seen before the set is old");
    assert_eq!(issuer.asked(), 2);
    assert!(!keys.for_kid("a", after(59)).await.unwrap().contains("a"), "and a withdrawn key is gone");
}

#[tokio::test]
async fn an_unknown_kid_while_the_issuer_is_down_is_not_called_unknown() {
    let issuer = Issuer::start(&set("a", Algorithm::Es256));
    let keys = issuer.keys();
    keys.keys(start()).await.unwrap();
    issuer.answers(StubAnswer::Reset);
    assert!(keys.for_kid("b", after(60)).await.is_err());
    assert!(keys.for_kid("b", after(60)).await.is_err(), "nor during the pause that follows");
    assert!(keys.for_kid("a", after(60)).await.unwrap().contains("a"));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_published_private_key_ends_the_trust_in_the_last_good_set() {
    let issuer = Issuer::start(&set("a", Algorithm::Es256));
    let keys = issuer.keys();
    keys.keys(start()).await.unwrap();
    let mut poisoned = set("a", Algorithm::Es256);
    poisoned["keys"][0]["d"] = json!("secret-half");
    issuer.answers(StubAnswer::json(&poisoned));
    for seconds in [301, 302] {
        let error = keys.for_kid("a", after(seconds)).await.unwrap_err().to_string();
        assert!(error.contains("private member") && !error.contains("secret-half"), "{error}");
    }
    // While any other nonsense does not.
    issuer.answers(StubAnswer::json(&set("a", Algorithm::Es256)));
    keys.keys(after(400)).await.unwrap();
    issuer.answers(StubAnswer::Full(200, vec![], b"<html>".to_vec()));
    assert!(keys.for_kid("a", after(800)).await.unwrap().contains("a"));
    // No keys is an answer: they were withdrawn.
    issuer.answers(StubAnswer::json(&json!({"keys": []})));
    assert!(keys.for_kid("a", after(1_200)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_set_that_needs_a_credential_is_fetched_with_the_file_s_current_one() {
    let stub = RemoteStub::start(|request| match request.header("authorization") {
        Some("Bearer second") => StubAnswer::json(&set("a", Algorithm::Es256)),
        _ => StubAnswer::status(401),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let keys = RemoteKeys::new(url(&stub.url()), client(&impatient()), RemoteKeysPolicy::default());
    let keys = keys.with_bearer_file(&file);
    let error = keys.keys(start()).await.unwrap_err();
    assert!(matches!(error.reason, KeysFault::Credential { .. }) && stub.requests().is_empty(), "{error}");
    std::fs::write(&file, "first\n").unwrap();
    let error = keys.keys(after(10)).await.unwrap_err();
    assert!(error.to_string().contains("401") && !format!("{error:?} {keys:?}").contains("first"), "{error}");
    std::fs::write(folder.path().join("next"), "second").unwrap();
    std::fs::rename(folder.path().join("next"), &file).unwrap();
    assert!(keys.keys(after(20)).await.unwrap().contains("a"));
}

#[tokio::test]
async fn a_caller_that_goes_away_half_way_stops_nobody() {
    let stalls = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&stalls);
    let stub =
        RemoteStub::start(move |_| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => StubAnswer::Stall,
            Err(_) => StubAnswer::json(&set("a", Algorithm::Es256)),
        });
    let keys = RemoteKeys::new(url(&stub.url()), client(&impatient()), RemoteKeysPolicy::default());
    let gone = tokio::time::timeout(Duration::from_millis(100), keys.keys(start())).await;
    assert!(gone.is_err());
    assert!(keys.keys(start()).await.unwrap().contains("a"));
    assert_eq!(stub.requests().len(), 2);
}
