//! Against a Transit that lies, throttles and stalls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use token_issuance::{SignerSource as _, SourceError};
use token_jose::{Algorithm, KeyVersion, PrivateLocation, SignError};
use token_remote::{TransitKeys, TransitOptions};
use token_testkit::{RemoteStub, StubAnswer, StubRequest, keys};

use crate::{client, impatient, url};

const TOKEN: &str = "token-that-nobody-may-show";

/// A description of `ring` whose version 1 is the test's EdDSA key.
fn description() -> Value {
    let jwk = keys::signer(Algorithm::EdDsa).public_key().to_jwk();
    let x = jwk["x"].as_str().unwrap();
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(x).unwrap();
    json!({"data": {
        "type": "ed25519", "latest_version": 1, "min_decryption_version": 1,
        "keys": {"1": {"public_key": STANDARD.encode(raw)}},
    }})
}

/// The signature of the request's input, as Transit says it.
fn signed(request: &StubRequest) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((&body["key_version"], &body["prehashed"]), (&json!(1), &json!(false)));
    let input = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
    STANDARD.encode(keys::signer(Algorithm::EdDsa).sign_now(&input).unwrap())
}

struct World {
    stub: RemoteStub,
    keys: TransitKeys,
    folder: tempfile::TempDir,
}

/// A server that describes the key, and answers a request to sign, or another one, as `answer` says.
fn world(answer: impl Fn(&StubRequest) -> StubAnswer + Send + Sync + 'static) -> World {
    let stub = RemoteStub::start(move |request| match request.path.as_str() {
        "/v1/transit/keys/ring" => StubAnswer::json(&description()),
        _ => answer(request),
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let mut options = TransitOptions::new(url(&stub.url()), folder.path().join("token"));
    options.namespace = Some("team-a".to_owned());
    let keys = TransitKeys::new(client(&impatient()), options).unwrap();
    World { stub, keys, folder }
}

fn entry() -> KeyVersion {
    let location = PrivateLocation::Transit { key: "ring".to_owned(), version: 1 };
    KeyVersion::remote_standby(location, keys::signer(Algorithm::EdDsa))
}

async fn sign_with(answer: impl Fn(&StubRequest) -> StubAnswer + Send + Sync + 'static) -> Result<Vec<u8>, SignError> {
    let world = world(answer);
    let result = world.keys.signer(&entry()).await.unwrap().sign(b"input").await;
    if let Err(error) = &result {
        assert!(!format!("{error} {error:?} {:?}", world.keys).contains(TOKEN), "{error}");
    }
    result
}

#[tokio::test]
async fn a_signature_of_another_version_is_no_signature() {
    let said = |signature: String, version: Value| json!({"data": {"signature": signature, "key_version": version}});
    let result =
        sign_with(move |request| StubAnswer::json(&said(format!("vault:v1:{}", signed(request)), json!(1)))).await;
    entry().public_key().verify_signature(b"input", &result.unwrap()).unwrap();
    // Older servers do not say the version beside it.
    let without = |request: &StubRequest| {
        StubAnswer::json(&json!({"data": {"signature": format!("vault:v1:{}", signed(request))}}))
    };
    assert!(sign_with(without).await.is_ok());
    for (prefix, version) in [("vault:v2:", json!(2)), ("vault:v2:", json!(1)), ("vault:v1:", json!(2)), ("", json!(1))]
    {
        let prefix = prefix.to_owned();
        let result =
            sign_with(move |request| StubAnswer::json(&said(format!("{prefix}{}", signed(request)), version.clone())));
        let error = result.await.unwrap_err();
        assert!(matches!(error, SignError::Refused { .. }), "{error}");
    }
    // A signature of this version by another key.
    let forged = format!("vault:v1:{}", STANDARD.encode(keys::other(Algorithm::EdDsa).sign_now(b"input").unwrap()));
    let result = sign_with(move |_| StubAnswer::json(&json!({"data": {"signature": forged}}))).await;
    assert!(matches!(result, Err(SignError::Refused { .. })));
    for nonsense in
        [json!({}), json!({"data": null}), json!({"data": []}), json!([]), json!({"data": {"signature": 7}})]
    {
        let result = sign_with(move |_| StubAnswer::json(&nonsense)).await;
        assert!(matches!(result, Err(SignError::Refused { .. })));
    }
}

#[tokio::test]
async fn what_the_server_answers_becomes_wait_or_give_up() {
    let retry = |seconds: &str| StubAnswer::Full(429, vec![("retry-after", seconds.to_owned())], vec![]);
    for (answer, retry_after_s) in [(retry("9"), 9), (retry("soon"), 1), (retry("0"), 1), (StubAnswer::status(429), 1)]
    {
        let error = sign_with(move |_| answer.clone()).await.unwrap_err();
        assert_eq!(error, SignError::Throttled { retry_after_s });
    }
    for answer in [
        StubAnswer::status(500),
        StubAnswer::status(503),
        StubAnswer::status(472),
        StubAnswer::status(412),
        StubAnswer::Full(307, vec![("location", "http://127.0.0.1:1/".to_owned())], vec![]),
        StubAnswer::Reset,
        StubAnswer::Stall,
        StubAnswer::StalledBody(vec![b'x'; 100]),
    ] {
        let shown = format!("{answer:?}");
        let error = sign_with(move |_| answer.clone()).await.unwrap_err();
        assert!(matches!(error, SignError::Unavailable { .. }), "{shown}: {error}");
    }
    for answer in [
        StubAnswer::status(400),
        StubAnswer::status(403),
        StubAnswer::status(404),
        StubAnswer::Endless,
        StubAnswer::Full(200, vec![], b"<html>".to_vec()),
        StubAnswer::Full(200, vec![], br#"{"data":{"signature":"a","signature":"b"}}"#.to_vec()),
    ] {
        let shown = format!("{answer:?}");
        let error = sign_with(move |_| answer.clone()).await.unwrap_err();
        assert!(matches!(error, SignError::Refused { .. }), "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_refused_call_is_made_once_more_with_another_token_and_never_twice() {
    let world = world(|request| match request.path.as_str() {
        "/v1/transit/sign/ring" => StubAnswer::status(403),
        _ => StubAnswer::json(&json!({"data": {"ttl": 0}})),
    });
    let signer = world.keys.signer(&entry()).await.unwrap();
    let signs = || {
        let requests = world.stub.requests();
        requests.into_iter().filter(|request| request.path.contains("/sign/")).collect::<Vec<_>>()
    };
    assert!(signer.sign(b"x").await.is_err());
    assert_eq!(signs().len(), 1, "the same token would be refused again");
    assert_eq!(signs()[0].header("x-vault-token"), Some(TOKEN));
    assert_eq!(signs()[0].header("x-vault-namespace"), Some("team-a"));
    assert_eq!(signs()[0].header("x-vault-request"), Some("true"));

    // The file says nothing new of itself between the look and the refusal, so the server changes it.
    let file = world.folder.path().join("token");
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    let at = file.clone();
    let changing = RemoteStub::start(move |request| match request.path.as_str() {
        "/v1/transit/keys/ring" => StubAnswer::json(&description()),
        "/v1/transit/sign/ring" => {
            std::fs::write(&at, format!("token-{}", count.fetch_add(1, Ordering::SeqCst))).unwrap();
            StubAnswer::status(403)
        }
        _ => StubAnswer::json(&json!({"data": {"ttl": 0}})),
    });
    let options = TransitOptions::new(url(&changing.url()), file);
    let keys = TransitKeys::new(client(&impatient()), options).unwrap();
    let error = keys.signer(&entry()).await.unwrap().sign(b"x").await.unwrap_err();
    assert!(matches!(error, SignError::Refused { .. }), "{error}");
    assert_eq!(writes.load(Ordering::SeqCst), 2, "once more, and no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_signatures_cause_one_renewal_and_its_failure_is_nobody_s() {
    let world = world(|request| match request.path.as_str() {
        "/v1/auth/token/lookup-self" => {
            StubAnswer::json(&json!({"data": {"ttl": 10, "creation_ttl": 100, "renewable": true}}))
        }
        "/v1/auth/token/renew-self" => {
            std::thread::sleep(Duration::from_millis(100));
            StubAnswer::status(500)
        }
        _ => StubAnswer::json(&json!({"data": {"signature": format!("vault:v1:{}", signed(request))}})),
    });
    let signer = world.keys.signer(&entry()).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let signer = Arc::clone(&signer);
            tokio::spawn(async move { signer.sign(b"x").await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let count = |path: &str| world.stub.requests().iter().filter(|request| request.path.ends_with(path)).count();
    assert_eq!((count("sign/ring"), count("lookup-self"), count("renew-self")), (50, 1, 1));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let world = world(|_| StubAnswer::status(200));
    std::fs::remove_file(world.folder.path().join("token")).unwrap();
    let error = world.keys.signer(&entry()).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unavailable { detail, .. } if detail.contains("token file")), "{error}");
    assert_eq!(world.stub.requests(), []);
    // And it comes when the file does.
    std::fs::write(world.folder.path().join("token"), TOKEN).unwrap();
    assert!(world.keys.signer(&entry()).await.is_ok());
}
