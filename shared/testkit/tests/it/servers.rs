//! The scripted store as an HTTP client sees it.

use std::time::Duration;

use serde_json::json;
use token_jose::Algorithm;
use token_testkit::{Behaviour, Curl, Reply, ScriptedAws, Target, TestClock, at, keys};

fn get_secret(aws: &ScriptedAws) -> Result<Reply, String> {
    Curl::post(&aws.url())
        .header("X-Amz-Target", "secretsmanager.GetSecretValue")
        .body("application/x-amz-json-1.1", &json!({ "SecretId": "ring" }).to_string())
        .argument("--max-time")
        .argument("1")
        .try_send()
}

#[test]
fn a_script_is_followed_then_the_default() {
    let aws = ScriptedAws::start();
    assert_eq!(get_secret(&aws).unwrap().json()["__type"], "ResourceNotFoundException");

    aws.put_secret("ring", "content");
    aws.next(Target::GetSecretValue, Behaviour::Throttled);
    aws.next(Target::GetSecretValue, Behaviour::Status(503));
    let throttled = get_secret(&aws).unwrap();
    assert_eq!((throttled.status, throttled.json()["__type"].as_str()), (400, Some("ThrottlingException")));
    assert_eq!(get_secret(&aws).unwrap().status, 503);
    let value = get_secret(&aws).unwrap();
    assert_eq!((value.status, value.json()["SecretString"].as_str()), (200, Some("content")));

    for broken in [Behaviour::Stall, Behaviour::StalledBody, Behaviour::Truncated, Behaviour::Reset] {
        aws.always(Target::GetSecretValue, broken.clone());
        let error = get_secret(&aws).expect_err(&format!("{broken:?} is no answer"));
        let expected = match broken {
            Behaviour::Reset => "reset",
            Behaviour::Truncated => "transfer closed",
            _ => "timed out",
        };
        assert!(error.contains(expected), "{broken:?}: {error}");
    }
    aws.always(Target::GetSecretValue, Behaviour::MalformedJson);
    let malformed = get_secret(&aws).unwrap();
    assert!(malformed.status == 200 && malformed.text().contains("content"));

    assert_eq!(aws.calls(Target::GetSecretValue), 9);
    assert_eq!(aws.calls(Target::GetParameter), 0);
    assert_eq!(aws.requests(Target::GetSecretValue)[0], json!({ "SecretId": "ring" }));
}

#[test]
fn keys_are_made_once_and_are_two() {
    for algorithm in Algorithm::ALL {
        let kid = |signer: &token_jose::LocalSigner| signer.public_key().kid().to_string();
        assert_eq!(kid(&keys::signer(algorithm)), kid(&keys::signer(algorithm)));
        assert_ne!(kid(&keys::signer(algorithm)), kid(&keys::other(algorithm)));
        assert!(!keys::pkcs8(algorithm).is_empty());
    }
}

#[test]
fn clones_of_a_clock_share_one_time() {
    let clock = TestClock::at("2026-11-22T00:00:00Z");
    clock.clone().advance(-1);
    assert_eq!(clock.now(), at("2026-11-21T23:59:59Z"));
}

#[tokio::test]
#[should_panic(expected = "waited 30ms for the impossible")]
async fn an_async_wait_names_what_it_waited_for() {
    token_testkit::wait_for("the impossible", Duration::from_millis(30), || async { None::<()> }).await;
}
