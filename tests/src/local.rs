//! The real gateway, its callers and what it issues.

use serde_json::{Value, json};
use token_jose::{Expectation, KeySet, verify};
use token_testkit::{Curl, Gateway, GatewayOptions, Reply};

use crate::{AUDIENCE, now};

/// An issuer whose keys are made quickly; clients.rs has the other algorithms.
#[must_use]
pub fn options() -> GatewayOptions {
    GatewayOptions { algorithm: Some("EdDSA".to_owned()), ..GatewayOptions::default() }
}

/// A gateway that knows these principals (`--principals FILE`).
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn gateway_with(principals: &Value) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("principals.json");
    std::fs::write(&file, principals.to_string()).unwrap();
    Gateway::start(&GatewayOptions { principals: Some(file), ..options() })
}

/// A principal of a file: a session of `role`, then changed.
///
/// # Panics
/// When `changes` is no object.
#[must_use]
pub fn principal(number: usize, role: &str, session: &str, changes: &Value) -> Value {
    let mut principal = json!({
        "name": format!("number {number}"), "arn": format!("arn:aws:sts::111122223333:assumed-role/{role}/{session}"),
        "caller": format!("AROAEXAMPLEEXAMPLE123:{session}"), "account_id": "111122223333", "organization_id": "o-exampleorg1",
        "access_key_id": format!("AKIA{number:016}"), "secret_access_key": format!("protects/nothing/{number}"),
    });
    principal.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    principal
}

/// The claims, verified against the key set that the gateway publishes.
///
/// # Panics
/// When there is no token, or it does not verify.
#[must_use]
pub fn claims(gateway: &Gateway, reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let keys = KeySet::parse(&Curl::get(gateway.jwks_uri()).send().body).unwrap();
    let expectation = Expectation::new(gateway.issuer(), AUDIENCE, &["JWT"]);
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    Value::Object(verify(&token, &keys, &expectation, now()).unwrap().into_inner())
}
