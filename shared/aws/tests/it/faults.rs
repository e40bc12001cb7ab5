//! A store on a bad day.

use std::time::{Duration, Instant};

use serde_json::json;
use token_issuance::{DocumentSource, SourceError};
use token_testkit::{Behaviour, ScriptedAws, Target};

use crate::{IMPATIENT, clients};

const VALUE: &str = "value-that-no-error-may-show";

/// Both adapters over one scripted store that has both documents.
fn both(aws: &ScriptedAws) -> [(Target, Box<dyn DocumentSource>); 2] {
    aws.put_secret("ring", VALUE);
    aws.put_parameter("/mapping", VALUE);
    let clients = clients(&aws.environment(), IMPATIENT);
    [
        (Target::GetSecretValue, Box::new(clients.secret("ring").unwrap())),
        (Target::GetParameter, Box::new(clients.parameter("/mapping").unwrap())),
    ]
}

async fn read_error(source: &dyn DocumentSource) -> SourceError {
    let error = source.read().await.expect_err("no document");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains(VALUE) && !shown.contains("Rate exceeded"), "{shown}");
    }
    error
}

#[tokio::test]
async fn the_current_stage_and_the_decrypted_value_are_asked_for() {
    let aws = ScriptedAws::start();
    for (target, source) in both(&aws) {
        assert_eq!(source.read().await.unwrap().bytes(), VALUE.as_bytes());
        let expected = match target {
            Target::GetSecretValue => json!({ "SecretId": "ring", "VersionStage": "AWSCURRENT" }),
            Target::GetParameter => json!({ "Name": "/mapping", "WithDecryption": true }),
            other => panic!("{other:?} reads no document"),
        };
        assert_eq!(aws.requests(target), [expected]);
    }
}

#[tokio::test]
async fn one_failure_is_healed_by_back_off() {
    for fault in [
        Behaviour::Throttled,
        Behaviour::Status(500),
        Behaviour::Status(502),
        Behaviour::Status(503),
        Behaviour::Stall,
        Behaviour::StalledBody,
        Behaviour::Truncated,
        Behaviour::Reset,
    ] {
        let aws = ScriptedAws::start();
        for (target, source) in both(&aws) {
            aws.next(target, fault.clone());
            let document = source.read().await.unwrap_or_else(|error| panic!("{target:?}, {fault:?} once: {error}"));
            assert_eq!(document.bytes(), VALUE.as_bytes());
            assert_eq!(aws.calls(target), 2, "{target:?}, {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_lasting_failure_ends_after_three_attempts_within_the_bound() {
    for fault in [
        Behaviour::Throttled,
        Behaviour::Status(500),
        Behaviour::Status(503),
        Behaviour::Stall,
        Behaviour::StalledBody,
        Behaviour::Truncated,
        Behaviour::Reset,
    ] {
        let aws = ScriptedAws::start();
        for (target, source) in both(&aws) {
            aws.always(target, fault.clone());
            let start = Instant::now();
            let error = read_error(source.as_ref()).await;
            let took = start.elapsed();
            let right = match fault {
                Behaviour::Throttled => matches!(error, SourceError::Throttled { .. }),
                _ => matches!(error, SourceError::Unavailable { .. }),
            };
            assert!(right, "{target:?}, {fault:?}: {error:?}");
            assert!(took < IMPATIENT.operation + Duration::from_secs(2), "{target:?}, {fault:?} took {took:?}");
            assert!((2..=3).contains(&aws.calls(target)), "{target:?}, {fault:?}: {} calls", aws.calls(target));
        }
    }
}

#[tokio::test]
async fn what_no_repetition_can_mend_is_not_repeated() {
    for (code, check) in [
        ("AccessDeniedException", "denied"),
        ("UnrecognizedClientException", "denied"),
        ("ExpiredTokenException", "denied"),
        ("ResourceNotFoundException", "not found"),
        ("InvalidRequestException", "InvalidRequestException"),
    ] {
        let aws = ScriptedAws::start();
        for (target, source) in both(&aws) {
            aws.next(target, Behaviour::Error(code));
            let error = read_error(source.as_ref()).await;
            assert!(error.to_string().contains(check), "{code}: {error}");
            assert!(error.to_string().contains(&source.describe()), "{code}: {error}");
            assert_eq!(aws.calls(target), 1, "{code}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_unavailable_and_not_shown() {
    let aws = ScriptedAws::start();
    for (target, source) in both(&aws) {
        aws.always(target, Behaviour::MalformedJson);
        let error = read_error(source.as_ref()).await;
        assert!(matches!(error, SourceError::Unavailable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_without_a_usable_value_is_malformed() {
    let aws = ScriptedAws::start();
    let [(_, secret), (_, parameter)] = both(&aws);
    for members in [json!({}), json!({ "SecretString": "" }), json!({ "SecretBinary": "" })] {
        aws.put_raw(Target::GetSecretValue, "ring", members.clone());
        let error = read_error(secret.as_ref()).await;
        assert!(matches!(error, SourceError::Malformed { .. }), "{members}: {error:?}");
    }
    for members in [
        json!({ "Type": "String" }),
        json!({ "Type": "String", "Value": "" }),
        json!({ "Type": "StringList", "Value": VALUE }),
        json!({ "Value": VALUE }),
        json!({ "Type": "String", "Value": "x".repeat(8_193) }),
    ] {
        aws.put_raw(Target::GetParameter, "/mapping", members.clone());
        let error = read_error(parameter.as_ref()).await;
        assert!(matches!(error, SourceError::Malformed { .. }), "{members}: {error:?}");
    }
}

#[tokio::test]
async fn a_failed_read_is_not_remembered() {
    let aws = ScriptedAws::start();
    for (target, source) in both(&aws) {
        aws.always(target, Behaviour::Status(500));
        read_error(source.as_ref()).await;
        aws.always(target, Behaviour::Value);
        assert_eq!(source.read().await.unwrap().bytes(), VALUE.as_bytes());
    }
}

/// The SDK pays for each repetition out of a budget; an outage of an hour may use it up, but the read after it must work.
#[tokio::test]
async fn a_long_outage_does_not_block_the_first_read_after_it() {
    let aws = ScriptedAws::start();
    let [(target, source), _] = both(&aws);
    aws.always(target, Behaviour::Reset);
    for _ in 0..40 {
        read_error(source.as_ref()).await;
    }
    aws.always(target, Behaviour::Value);
    assert_eq!(source.read().await.unwrap().bytes(), VALUE.as_bytes());
}
