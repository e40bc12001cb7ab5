//! Tokens of the real gateway in clients that nobody here wrote: PyJWT, joserfc and jose verify them, botocore and aws4 get
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;

use e2e::AUDIENCE;
use e2e::clients::Script;
use serde_json::{Value, json};
use token_testkit::{Curl, Gateway, GatewayOptions};

/// Every verifier with its library.
const VERIFIERS: [(&str, &str); 3] = [("verify.py", "jwt"), ("verify_joserfc.py", "joserfc"), ("verify.mjs", "jose")];

/// A mapping with one generic audience, for every algorithm.
const GENERIC: &str = r#"
[defaults]
audience = "https://orders.example"

[[rule]]
name = "etl"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "etl/{role}"
scopes = ["orders:read", "orders:write"]
claims = { team = "data" }

[audience."https://orders.example"]
profile = "generic"
"#;

fn gateway(algorithm: &str, mapping: Option<&Path>) -> Gateway {
    Gateway::start(&GatewayOptions {
        algorithm: Some(algorithm.to_owned()),
        mapping: mapping.map(Path::to_owned),
        ..GatewayOptions::default()
    })
}

fn verifiers() -> Vec<(&'static str, Script)> {
    VERIFIERS.into_iter().filter_map(|(name, library)| Some((name, Script::find(name, library)?))).collect()
}

/// A token of the sample workload.
fn token(gateway: &Gateway, body: &Value) -> String {
    let reply = gateway.token_request(&gateway.principals()[1]).json(body).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

/// `token` with one of its three parts changed.
fn with_part(token: &str, index: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[index] = change(&parts[index]);
    parts.join(".")
}

/// A character in the middle replaced by another, so that no padding bits hide the change.
fn flipped(part: &str) -> String {
    let at = part.len() / 2;
    let other = if part.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &part[..at], &part[at + 1..])
}

fn verifies_everywhere(algorithm: &str) {
    let gateway = gateway(algorithm, None);
    let issuer = gateway.issuer();
    let good = token(&gateway, &json!({"expires_in": 600}));
    let published = Curl::get(gateway.jwks_uri()).send().json();
    let scope = if algorithm == "RS256" { "scp" } else { "scope" };

    let forged_claims = token_jose::base64url(
        json!({"iss": issuer, "sub": "CEO", "aud": AUDIENCE, "iat": 1, "nbf": 1, "exp": 9_999_999_999_i64, "jti": "x"})
            .to_string()
            .as_bytes(),
    );
    let no_algorithm = token_jose::base64url(br#"{"typ":"JWT","alg":"none"}"#);
    let tampered = [
        ("another subject", with_part(&good, 1, |_| forged_claims.clone())),
        ("another signature", with_part(&good, 2, flipped)),
        ("no signature", with_part(&good, 2, |_| String::new())),
        ("alg none", with_part(&with_part(&good, 0, |_| no_algorithm.clone()), 2, |_| String::new())),
    ];

    for (name, verifier) in verifiers() {
        let said = verifier
            .verify(issuer, AUDIENCE, &good)
            .unwrap_or_else(|refusal| panic!("{name} refuses a token of {algorithm}: {refusal}"));

        let header = said["header"].as_object().unwrap();
        assert_eq!(header.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["alg", "kid", "typ"]));
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("JWT")), "{name}");
        assert!(published["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]), "{name}");
        // PyJWT computes no thumbprint.
        if name != "verify.py" {
            assert_eq!(said["thumbprint"], header["kid"], "{name}: the kid is the RFC 7638 thumbprint");
        }

        let claims = said["claims"].as_object().unwrap();
        let names: BTreeSet<&str> = claims.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["iss", "sub", "aud", "iat", "nbf", "exp", "jti", scope]), "{name}");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(AUDIENCE)), "{name}");
        assert_eq!(claims["sub"], "111122223333/ETL-NIGHTLY", "{name}");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600, "{name}");
        assert_eq!(claims["nbf"], claims["iat"], "{name}");

        for (what, token) in &tampered {
            let refusal = verifier.verify(issuer, AUDIENCE, token);
            assert!(refusal.is_err(), "{name} takes a token of {algorithm} with {what}: {refusal:?}");
        }
        assert!(verifier.verify(issuer, "https://other.example", &good).is_err(), "{name} takes another audience");
    }
}

#[test]
fn rs256_verifies_everywhere() {
    verifies_everywhere("RS256");
}

#[test]
fn ps256_verifies_everywhere() {
    verifies_everywhere("PS256");
}

#[test]
fn es256_verifies_everywhere() {
    verifies_everywhere("ES256");
}

#[test]
fn es384_verifies_everywhere() {
    verifies_everywhere("ES384");
}

#[test]
fn eddsa_verifies_everywhere() {
    verifies_everywhere("EdDSA");
}

#[test]
fn a_generic_audience_has_its_claims_and_the_scopes_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = folder.path().join("mapping.toml");
    std::fs::write(&mapping, GENERIC).unwrap();
    let gateway = gateway("ES256", Some(&mapping));
    let all = token(&gateway, &json!({}));
    let some = token(&gateway, &json!({"scope": "orders:read"}));
    for (name, verifier) in verifiers() {
        let said = verifier.verify(gateway.issuer(), "https://orders.example", &all).unwrap();
        let claims = &said["claims"];
        assert_eq!((&claims["sub"], &claims["team"]), (&json!("etl/etl-nightly"), &json!("data")), "{name}");
        assert_eq!(claims["scope"], "orders:read orders:write", "{name}");
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            900,
            "{name}: the built-in 15 min"
        );
        let said = verifier.verify(gateway.issuer(), "https://orders.example", &some).unwrap();
        assert_eq!(said["claims"]["scope"], "orders:read", "{name}");
    }
}

#[test]
fn a_token_of_another_issuer_is_refused() {
    let (ours, other) = (gateway("ES256", None), gateway("ES256", None));
    let foreign = token(&other, &json!({}));
    for (name, verifier) in verifiers() {
        assert!(verifier.verify(other.issuer(), AUDIENCE, &foreign).is_ok(), "{name}");
        let refusal = verifier.verify(ours.issuer(), AUDIENCE, &foreign);
        assert!(refusal.is_err(), "{name} takes a token of another issuer: {refusal:?}");
    }
}

#[test]
fn other_signers_than_curl_get_a_token_too() {
    let gateway = gateway("EdDSA", None);
    let [_, workload, refused] = gateway.principals() else { panic!("three samples") };
    for (name, library) in [("get_token.py", "botocore"), ("get_token.mjs", "aws4")] {
        let Some(script) = Script::find(name, library) else { continue };
        let token = script.run(&[gateway.url(), gateway.region()], Some(workload)).unwrap();
        for (verifier, script) in verifiers() {
            let said = script.verify(gateway.issuer(), AUDIENCE, &token).unwrap();
            assert_eq!(said["claims"]["sub"], "111122223333/ETL-NIGHTLY", "{name}, {verifier}");
        }
        let why = script.run(&[gateway.url(), gateway.region()], Some(refused)).unwrap_err();
        assert!(why.starts_with("no token: HTTP 403") && why.contains("decision_id"), "{name}: {why}");
        let why = script.run(&[gateway.url(), "us-east-1"], Some(workload)).unwrap_err();
        assert!(why.contains("Credential should be scoped to a valid region"), "{name}: {why}");
    }
}
