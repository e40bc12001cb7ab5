//! What a key set document may be, and what comes out of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, KeySet, KeySetError, PublishedKey};

use crate::support::{key_set, now, signer, with};

fn jwk(algorithm: Algorithm) -> Value {
    signer(algorithm).public_key().to_jwk()
}

fn parse(document: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(document.to_string().as_bytes())
}

fn refusal(key: Value) -> String {
    match parse(&json!({"keys": [key]})) {
        Err(KeySetError::Invalid(problems)) => problems.to_string(),
        other => panic!("expected problems, found {other:?}"),
    }
}

#[test]
fn bookkeeping_is_stored_and_stripped() {
    let stored = json!({"min_generation": 7, "keys": [
        with(with(jwk(Algorithm::EdDsa), "published_at", "2026-11-01T00:00:00Z".into()), "not_after", "2026-12-01T00:00:00Z".into()),
        jwk(Algorithm::Es256),
    ]});
    let set = parse(&stored).unwrap();
    assert_eq!(set.min_generation(), 7);
    let entry = set.entry(signer(Algorithm::EdDsa).public_key().kid()).unwrap();
    assert_eq!(entry.published_at.unwrap().to_string(), "2026-11-01T00:00:00Z");
    assert_eq!(entry.not_after.unwrap().to_string(), "2026-12-01T00:00:00Z");
    assert_eq!(KeySet::parse(set.to_stored_json().as_bytes()), Ok(set.clone()));

    let public: Value = serde_json::from_str(&set.to_public_json()).unwrap();
    assert_eq!(public.as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
    for key in public["keys"].as_array().unwrap() {
        assert!(key.get("published_at").is_none() && key.get("not_after").is_none());
    }
    // The order of the document does not show in what is served.
    let mut reversed = stored;
    reversed["keys"].as_array_mut().unwrap().reverse();
    assert_eq!(parse(&reversed).unwrap().to_public_json(), set.to_public_json());
}

#[test]
fn keys_past_not_after_are_dropped_to_the_instant() {
    let not_after = now();
    let mut entry = PublishedKey::new(signer(Algorithm::Es256).public_key().clone());
    entry.not_after = Some(not_after);
    let set = KeySet::new([entry, PublishedKey::new(signer(Algorithm::EdDsa).public_key().clone())], 3);
    let just_before = Timestamp::from_second(not_after.as_second() - 1).unwrap();
    assert_eq!(set.live(just_before).len(), 2);
    let after = set.live(not_after);
    assert_eq!((after.len(), after.min_generation()), (1, 3));
    assert!(!after.contains(signer(Algorithm::Es256).public_key()));
}

#[test]
fn contains_compares_the_exact_key() {
    let set = key_set(&[Algorithm::Rs256, Algorithm::EdDsa]);
    assert!(set.contains(signer(Algorithm::Rs256).public_key()));
    assert!(!set.contains(signer(Algorithm::Es256).public_key()));
    // The same RSA key under PS256 has the same kid and is another key.
    let other = token_jose::PublicKey::from_jwk(&with(jwk(Algorithm::Rs256), "alg", "PS256".into())).unwrap();
    assert!(set.get(other.kid()).is_some() && !set.contains(&other));
}

#[test]
fn every_private_member_anywhere_has_its_own_error_and_no_value_in_it() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "D", "Priv", "private", "private_key", "pkcs8"] {
        let inside = with(jwk(Algorithm::Es256), name, secret.into());
        for document in [
            json!({"keys": [jwk(Algorithm::EdDsa), inside]}),
            with(json!({"keys": []}), name, secret.into()),
            json!({"keys": [], "other": [{"deeper": {name: {"x": secret}}}]}),
        ] {
            let error = parse(&document).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(matches!(error, KeySetError::PrivateMember { ref member, .. } if member == name), "{shown}");
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let pem = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----";
    let error = parse(&json!({"keys": [with(jwk(Algorithm::Es256), "x", pem.into())]})).unwrap_err();
    assert!(matches!(error, KeySetError::PrivateMember { .. }));
    // A key ring stored in the wrong place.
    let ring = token_jose::KeyRing::first(&[Algorithm::Es256], token_jose::RingPolicy::default(), now()).unwrap();
    assert!(matches!(KeySet::parse(&ring.to_json().unwrap()), Err(KeySetError::PrivateMember { .. })));
}

#[test]
fn what_a_public_key_may_not_be() {
    let (rsa, ec, ed) = (jwk(Algorithm::Rs256), jwk(Algorithm::Es256), jwk(Algorithm::EdDsa));
    let small = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGk";
    let long = token_jose::base64url(&[vec![0x81; 1024], vec![0x01]].concat());
    let zero_led = token_jose::base64url(&[vec![0], vec![0x81; 256]].concat());
    for (key, expected) in [
        (
            with(rsa.clone(), "n", small.into()),
            "keys[0].n: expected an RSA modulus of 2048 to 8192 bits, found 1024 bits",
        ),
        (
            with(rsa.clone(), "n", long.into()),
            "keys[0].n: expected an RSA modulus of 2048 to 8192 bits, found 8200 bits",
        ),
        (with(rsa.clone(), "n", zero_led.into()), "keys[0].n: expected a positive integer"),
        (with(rsa.clone(), "e", "AQ".into()), "keys[0].e: expected an odd modulus and an odd exponent"),
        (with(rsa.clone(), "e", "AQAC".into()), "keys[0].e: expected an odd modulus and an odd exponent"),
        (with(rsa.clone(), "e", "AAEAAQ".into()), "keys[0].e: expected a positive integer"),
        (with(rsa.clone(), "e", "AQAB=".into()), "keys[0].e: expected a positive integer"),
        (with(rsa.clone(), "n", Value::Null), "keys[0].n: expected a string, found nothing"),
        (
            with(rsa.clone(), "alg", "RS512".into()),
            "keys[0].alg: expected RS256 or PS256 for this key type, found \"RS512\"",
        ),
        (with(rsa.clone(), "alg", "HS256".into()), "keys[0].alg: expected RS256 or PS256"),
        (with(rsa.clone(), "alg", "none".into()), "keys[0].alg: expected RS256 or PS256"),
        (with(ec.clone(), "alg", "ES384".into()), "keys[0].alg: expected ES256 for this key type"),
        (with(ec.clone(), "crv", "P-384".into()), "keys[0].x: expected 48 bytes"),
        (with(ec.clone(), "crv", "secp256k1".into()), "keys[0].crv: expected P-256 or P-384, found \"secp256k1\""),
        (with(ec.clone(), "x", ec["y"].clone()), "keys[0].x: expected a point on the curve"),
        (with(ec.clone(), "y", "AA".into()), "keys[0].y: expected 32 bytes"),
        (with(ed.clone(), "crv", "X25519".into()), "keys[0].crv: expected Ed25519"),
        (with(ed.clone(), "x", json!(7)), "keys[0].x: expected a string, found 7"),
        (with(ed.clone(), "kty", "oct".into()), "keys[0].kty: expected RSA, EC or OKP, found \"oct\""),
        (with(ed.clone(), "kty", Value::Null), "keys[0].kty: expected a string, found nothing"),
        (with(ed.clone(), "use", "enc".into()), "keys[0].use: expected \"sig\", found \"enc\""),
        (with(ed.clone(), "key_ops", json!(["verify", "sign"])), "keys[0].key_ops: expected [\"verify\"]"),
        (with(ed.clone(), "key_ops", json!([])), "keys[0].key_ops: expected [\"verify\"]"),
        (with(ed.clone(), "kid", "key-1".into()), "keys[0].kid: expected this key's RFC 7638 thumbprint"),
        (with(ed.clone(), "kid", ec["kid"].clone()), "keys[0].kid: expected this key's RFC 7638 thumbprint"),
        (with(ed.clone(), "kid", Value::Null), "keys[0].kid: expected"),
        (with(ed.clone(), "not_afer", "2026-12-01T00:00:00Z".into()), "keys[0]: expected only kty"),
        (with(ed.clone(), "x5c", json!(["MIIB"])), "keys[0]: expected only kty"),
        (with(ed.clone(), "not_after", "tomorrow".into()), "keys[0].not_after: expected an RFC 3339 time"),
        (with(ed.clone(), "published_at", json!(1)), "keys[0].published_at: expected an RFC 3339 time"),
        (
            with(
                with(ed.clone(), "published_at", "2026-12-01T00:00:00Z".into()),
                "not_after",
                "2026-11-01T00:00:00Z".into(),
            ),
            "keys[0].not_after: expected a time after published_at",
        ),
        (json!("key"), "keys[0]: expected a JWK, found \"key\""),
    ] {
        let found = refusal(key);
        assert!(found.starts_with(expected), "expected {expected:?}, found {found:?}");
    }
}

#[test]
fn absent_alg_and_use_are_inferred() {
    for (algorithm, inferred) in [
        (Algorithm::Rs256, Algorithm::Rs256),
        (Algorithm::Ps256, Algorithm::Rs256),
        (Algorithm::Es256, Algorithm::Es256),
        (Algorithm::Es384, Algorithm::Es384),
        (Algorithm::EdDsa, Algorithm::EdDsa),
    ] {
        let bare = with(with(jwk(algorithm), "alg", Value::Null), "use", Value::Null);
        let set = parse(&json!({"keys": [with(bare, "key_ops", json!(["verify"]))]})).unwrap();
        assert_eq!(set.keys().next().unwrap().algorithm(), inferred);
    }
}

#[test]
fn all_problems_are_listed_together() {
    let document = json!({"keys": [
        jwk(Algorithm::EdDsa), jwk(Algorithm::EdDsa),
        with(jwk(Algorithm::Es256), "use", "enc".into()), with(jwk(Algorithm::Es384), "colour", "red".into()),
    ], "min_generation": -1, "version": 1});
    let Err(KeySetError::Invalid(problems)) = parse(&document) else { panic!("accepted") };
    let places: Vec<&str> = problems.iter().map(token_jose::Problem::at).collect();
    assert_eq!(places, ["document", "min_generation", "keys[1].kid", "keys[2].use", "keys[3]"]);
    assert_eq!(problems.to_string().lines().count(), 5);
}

#[test]
fn documents_of_another_shape_are_refused() {
    let duplicate = br#"{"keys":[],"keys":[{"k":1}]}"#;
    assert!(matches!(KeySet::parse(duplicate), Err(KeySetError::Json(_))));
    for document in [json!([]), json!({}), json!({"keys": {}}), json!({"keys": null}), json!("keys")] {
        assert!(parse(&document).is_err(), "{document}");
    }
    assert!(KeySet::parse(b"").is_err());
    assert!(parse(&json!({"keys": []})).unwrap().is_empty());
}

#[test]
fn min_generation_never_goes_down() {
    let set = key_set(&[]).with_min_generation(5).with_min_generation(3);
    assert_eq!(set.min_generation(), 5);
}
