//! The ring document: its wire shape, what it may not be, and which key signs when.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, KeyRing, KeySet, LocalSigner, PrivateLocation, Problem, RingError, RingPolicy};

use crate::support::{now, signer, with};

const KMS: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A key entry with an inline private half.
fn entry(signer: &LocalSigner, signs_from: Value) -> Value {
    let key = signer.public_key();
    json!({"kid": key.kid().as_str(), "alg": key.algorithm().name(), "signs_from": signs_from, "public": key.to_jwk(),
           "private": {"pkcs8": STANDARD.encode(&*signer.to_pkcs8())}})
}

/// [`entry`] without `null` members that [`with`] would take for removal.
fn remote(signer: &LocalSigner, signs_from: &str, private: Value) -> Value {
    with(entry(signer, signs_from.into()), "private", private)
}

fn ring(keys: Vec<Value>) -> Value {
    json!({"version": 1, "generation": 7, "derived_from": "v-6", "default_alg": keys[0]["alg"],
           "policy": {"interval": 2_592_000, "lead": 86_400, "max_token_ttl": 3_600, "retention": 172_800,
                      "jwks_max_age": 300, "verifier_cache": 3_600, "skew": 60},
           "withdrawn": [], "keys": keys})
}

fn parse(document: &Value) -> Result<KeyRing, RingError> {
    KeyRing::parse(document.to_string().as_bytes())
}

fn problems(document: &Value) -> Vec<String> {
    match parse(document) {
        Err(RingError::Invalid(problems)) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

#[test]
fn the_wire_shape_is_the_contract_s() {
    // RFC 8037 appendix A's key, written by hand.
    let document = br#"{"version":1,"generation":7,"derived_from":"8a1f","default_alg":"EdDSA",
        "policy":{"interval":2592000,"lead":86400,"max_token_ttl":3600,"retention":172800,
                  "jwks_max_age":300,"verifier_cache":3600,"skew":60},
        "withdrawn":["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"],
        "keys":[{"kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"EdDSA","signs_from":"2026-11-22T00:00:00Z",
                 "public":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
                 "private":{"pkcs8":"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"}}]}"#;
    let ring = KeyRing::parse(document).unwrap();
    assert_eq!((ring.generation(), ring.derived_from(), ring.default_algorithm()), (7, Some("8a1f"), Algorithm::EdDsa));
    assert_eq!(*ring.policy(), RingPolicy::default());
    assert_eq!(
        ring.withdrawn().map(token_jose::Kid::as_str).collect::<Vec<_>>(),
        ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]
    );
    let key = ring.active(Algorithm::EdDsa, at("2026-11-22T00:00:00Z")).unwrap();
    assert_eq!(
        (key.kid().as_str(), key.location()),
        ("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", &PrivateLocation::Inline)
    );
    assert!(key.signer().is_some());

    let written: Value = serde_json::from_slice(&ring.to_json().unwrap()).unwrap();
    let mut expected: Value = serde_json::from_slice(document).unwrap();
    expected["keys"][0]["public"] = key.public_key().to_jwk();
    assert_eq!(written, expected);
}

#[test]
fn active_is_the_newest_that_has_started_and_no_older_one_steps_in() {
    let (old, new) = (LocalSigner::generate(Algorithm::Es256).unwrap(), signer(Algorithm::Es256));
    let standby = LocalSigner::generate(Algorithm::Es256).unwrap();
    let document = ring(vec![
        entry(new, "2026-11-22T00:00:00Z".into()),
        entry(&old, "2026-10-22T00:00:00Z".into()),
        entry(&standby, Value::Null),
    ]);
    let ring = parse(&document).unwrap();
    let active = |time: &str| ring.active(Algorithm::Es256, at(time)).map(|key| key.kid().clone());
    assert_eq!(active("2026-10-21T23:59:59Z"), None);
    assert_eq!(active("2026-10-22T00:00:00Z").as_ref(), Some(old.public_key().kid()));
    assert_eq!(active("2026-11-21T23:59:59.999999999Z").as_ref(), Some(old.public_key().kid()));
    assert_eq!(active("2026-11-22T00:00:00Z").as_ref(), Some(new.public_key().kid()));
    assert_eq!(active("2126-11-22T00:00:00Z").as_ref(), Some(new.public_key().kid()));
    assert!(ring.active(Algorithm::Rs256, now()).is_none());

    // Everything is published, the superseded key until its last token is dead.
    let set = ring.published(now());
    assert_eq!(set.len(), 3);
    assert!(set.entries().all(|entry| entry.published_at == Some(now())));
    let not_after = |signer: &LocalSigner| set.entry(signer.public_key().kid()).unwrap().not_after;
    assert_eq!(not_after(&old), Some(at("2026-11-24T00:00:00Z")));
    assert_eq!((not_after(new), not_after(&standby)), (None, None));

    // The private half of the old key is dropped: before the switch nobody signs, rather than a key that is not there.
    let mut dropped = document;
    dropped["keys"][1].as_object_mut().unwrap().remove("private");
    let ring = parse(&dropped).unwrap();
    assert!(ring.active(Algorithm::Es256, at("2026-11-01T00:00:00Z")).is_none());
    assert_eq!(ring.active(Algorithm::Es256, now()).unwrap().kid(), new.public_key().kid());
    assert_eq!(ring.published(now()).len(), 3);
    assert_eq!(ring.unattached().count(), 0);
}

#[test]
fn the_first_ring_has_an_active_key_and_a_standby_for_each_algorithm() {
    let start = Timestamp::new(now().as_second(), 999_999_999).unwrap();
    let wanted = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es384];
    let ring = KeyRing::first(&wanted, RingPolicy::default(), start).unwrap();
    assert_eq!((ring.generation(), ring.default_algorithm()), (1, Algorithm::EdDsa));
    assert_eq!(ring.algorithms(), [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es384]);
    for algorithm in wanted {
        let versions: Vec<_> = ring.key_versions().iter().filter(|key| key.algorithm() == algorithm).collect();
        assert_eq!(versions.iter().map(|key| key.signs_from()).collect::<Vec<_>>(), [Some(now()), None]);
        assert_eq!(ring.active(algorithm, start).unwrap().kid(), versions[0].kid());
    }
    let published = ring.published(start);
    assert_eq!(published.len(), 6);
    assert!(published.entries().all(|entry| entry.published_at == Some(now()) && entry.not_after.is_none()));
    assert!(ring.permitted_by(&published).is_ok());
    let (shown, document) = (format!("{ring:?} {:?}", ring.key_versions()), ring.to_json().unwrap());
    let document: Value = serde_json::from_slice(&document).unwrap();
    for key in document["keys"].as_array().unwrap() {
        assert!(!shown.contains(&key["private"]["pkcs8"].as_str().unwrap()[30..50]));
    }

    for algorithms in [&[][..], &[Algorithm::Es256, Algorithm::Es256]] {
        assert!(matches!(KeyRing::first(algorithms, RingPolicy::default(), now()), Err(RingError::Invalid(_))));
    }
    let unsafe_policy = RingPolicy { retention_s: 47_279, ..RingPolicy::default() };
    let error = KeyRing::first(&[Algorithm::Es256], unsafe_policy, now()).unwrap_err().to_string();
    assert!(error.contains("retention >= lead / 2 + max_token_ttl + leeway + jwks_max_age + 2 skew"), "{error}");
    assert!(error.contains("47279 < 43200 + 3600 + 60 + 300 + 120 = 47280"), "{error}");
}

#[test]
fn the_source_system_s_secret_is_a_ring_of_one() {
    let key = signer(Algorithm::Rs256);
    let pem =
        |label: &str, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
    let pkcs8 = key.to_pkcs8();
    for text in [pem("PRIVATE KEY", &pkcs8), pem("RSA PRIVATE KEY", &pkcs8[26..])] {
        let ring = parse(&json!({"private_key": text, "public_key": "MIIB"})).unwrap();
        assert_eq!((ring.generation(), ring.algorithms().as_slice()), (0, &[Algorithm::Rs256][..]));
        let active = ring.active(Algorithm::Rs256, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(active.public_key(), key.public_key());
        // Written, it is a version 1 ring.
        assert_eq!(
            parse(&serde_json::from_slice(&ring.to_json().unwrap()).unwrap()).unwrap().published(now()),
            ring.published(now())
        );
    }
    for (secret, expected) in [
        (json!({"private_key": 7}), "private_key: expected an RSA private key as PEM text"),
        (
            json!({"private_key": pem("PRIVATE KEY", &signer(Algorithm::Es256).to_pkcs8())}),
            "private_key: expected an unencrypted RS256 private key",
        ),
        (
            json!({"private_key": "-----BEGIN PRIVATE KEY-----"}),
            "private_key: expected an unencrypted RS256 private key",
        ),
        (json!({"private_key": pem("PRIVATE KEY", &pkcs8), "keys": []}), "document: expected only version"),
    ] {
        let found = problems(&secret);
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn remote_keys_sign_once_their_own_signer_is_attached() {
    let (kms, transit) = (signer(Algorithm::Es256), signer(Algorithm::EdDsa));
    let document = ring(vec![
        remote(kms, "2026-11-22T00:00:00Z", json!({"kms": KMS})),
        remote(transit, "2026-11-22T00:00:00Z", json!({"transit": {"key": "signing-jwt", "version": 3}})),
        entry(signer(Algorithm::Es384), "2026-11-22T00:00:00Z".into()),
    ]);
    let mut ring = parse(&document).unwrap();
    assert_eq!(ring.key_versions()[0].location(), &PrivateLocation::Kms { arn: KMS.to_owned() });
    assert_eq!(
        ring.key_versions()[1].location(),
        &PrivateLocation::Transit { key: "signing-jwt".to_owned(), version: 3 }
    );
    assert_eq!(ring.unattached().count(), 2);
    assert!(ring.active(Algorithm::Es256, now()).unwrap().signer().is_none());
    let written: Value = serde_json::from_slice(&ring.to_json().unwrap()).unwrap();
    assert_eq!(written["keys"], document["keys"]);

    let copy = |signer: &LocalSigner| {
        Arc::new(LocalSigner::from_pkcs8(signer.public_key().algorithm(), &signer.to_pkcs8()).unwrap())
    };
    ring.attach(copy(kms)).unwrap();
    let attached = ring.active(Algorithm::Es256, now()).unwrap();
    assert_eq!(attached.signer().unwrap().public_key(), kms.public_key());
    assert_eq!(ring.unattached().count(), 1);

    let foreign = Arc::new(LocalSigner::generate(Algorithm::EdDsa).unwrap());
    assert!(matches!(ring.attach(foreign), Err(RingError::Attach { expected: "a key version of this ring", .. })));
    assert!(matches!(ring.attach(copy(signer(Algorithm::Es384))), Err(RingError::Attach { .. })));
    // The same RSA key as another algorithm has the same kid, and is another key.
    let rsa = signer(Algorithm::Rs256);
    let mut ring = parse(&self::ring(vec![remote(rsa, "2026-11-22T00:00:00Z", json!({"kms": KMS}))])).unwrap();
    let as_ps256 = Arc::new(LocalSigner::from_pkcs8(Algorithm::Ps256, &rsa.to_pkcs8()).unwrap());
    assert!(matches!(ring.attach(as_ps256), Err(RingError::Attach { .. })));
}

#[test]
fn a_withdrawn_key_or_an_old_generation_never_passes() {
    let key = signer(Algorithm::Es256);
    let document = with(
        ring(vec![entry(key, "2026-11-22T00:00:00Z".into())]),
        "withdrawn",
        json!([key.public_key().kid().as_str()]),
    );
    assert!(problems(&document)[0].contains("expected no withdrawn key, found"));
    // Nor as a standby or a retained public half, which would still be published.
    let other = signer(Algorithm::EdDsa);
    let standby = ring(vec![entry(other, "2026-11-22T00:00:00Z".into()), entry(key, Value::Null)]);
    assert_eq!(problems(&with(standby, "withdrawn", json!([key.public_key().kid().as_str()]))).len(), 1);

    let ring = parse(&ring(vec![entry(key, "2026-11-22T00:00:00Z".into())])).unwrap();
    let set = |minimum| KeySet::new([], minimum);
    assert_eq!(ring.permitted_by(&set(7)), Ok(()));
    assert_eq!(ring.permitted_by(&set(8)), Err(RingError::Stale { minimum: 8, found: 7 }));
}

#[test]
fn what_a_ring_may_not_be() {
    let key = signer(Algorithm::Es256);
    let other = LocalSigner::generate(Algorithm::Es256).unwrap();
    let start = "2026-11-22T00:00:00Z";
    let base = || entry(key, start.into());
    let good = ring(vec![base()]);
    assert_eq!(problems(&good), Vec::<String>::new());
    let one = |name: &str, value: Value| with(good.clone(), name, value);
    let key_with = |name: &str, value: Value| ring(vec![with(base(), name, value)]);
    let policy_with = |name: &str, value: Value| one("policy", with(good["policy"].clone(), name, value));
    let other_pkcs8 = STANDARD.encode(&*other.to_pkcs8());
    for (document, expected) in [
        (one("version", json!(2)), "version: expected 1, found 2"),
        (one("version", json!("1")), "version: expected 1, found \"1\""),
        (one("version", Value::Null), "version: expected 1, found nothing"),
        (one("generation", json!(-1)), "generation: expected a whole number, found -1"),
        (one("generation", json!(1.5)), "generation: expected a whole number, found 1.5"),
        (one("generation", Value::Null), "generation: expected a whole number, found nothing"),
        (one("derived_from", json!("")), "derived_from: expected a version id"),
        (
            one("default_alg", json!("HS256")),
            "default_alg: expected one of RS256, PS256, ES256, ES384, EdDSA, found \"HS256\"",
        ),
        (one("default_alg", json!("RS256")), "default_alg: expected a key of RS256 with signs_from, found none"),
        (one("keys", json!([])), "keys: expected an array of at least one key"),
        (one("keys", Value::Null), "keys: expected an array of at least one key, found nothing"),
        (one("kyes", json!(1)), "document: expected only version"),
        (one("policy", json!([])), "policy: expected an object of seconds"),
        (policy_with("interval", json!("30d")), "policy.interval: expected a whole number, found \"30d\""),
        (policy_with("intervall", json!(1)), "policy: expected only interval"),
        (policy_with("interval", json!(86_400)), "policy.interval: expected interval > lead, found 86400 <= 86400"),
        (policy_with("retention", json!(1)), "policy.retention: expected retention >= lead / 2"),
        (policy_with("verifier_cache", json!(604_800)), "policy.lead: expected lead >= jwks_max_age"),
        (one("withdrawn", json!("all")), "withdrawn: expected an array of kids"),
        (one("withdrawn", json!(["key-1"])), "withdrawn[0]: expected a thumbprint"),
        (key_with("kid", json!("key-1")), "keys[0].kid: expected a thumbprint"),
        (key_with("kid", other.public_key().kid().as_str().into()), "keys[0].kid: expected this key's thumbprint"),
        (key_with("alg", json!("ES384")), "keys[0].public.alg: expected ES384 as alg beside it, found ES256"),
        (key_with("alg", json!("none")), "keys[0].alg: expected one of"),
        (key_with("signs_from", json!("2026-11-22")), "keys[0].signs_from: expected an RFC 3339 time in UTC"),
        (key_with("signs_from", json!("2026-11-22T00:00:00+01:00")), "keys[0].signs_from: expected an RFC 3339"),
        (key_with("signs_from", json!(1_795_305_600)), "keys[0].signs_from: expected an RFC 3339"),
        (key_with("signs_from", Value::Null), "default_alg: expected a key of ES256 with signs_from, found none"),
        (key_with("public", Value::Null), "keys[0].public: expected a public JWK, found nothing"),
        (
            key_with("public", with(base()["public"].clone(), "d", json!("AA"))),
            "keys[0].public: expected a public key, found the private member \"d\"",
        ),
        (key_with("public", with(base()["public"].clone(), "x5c", json!("AA"))), "keys[0].public: expected only kty"),
        (key_with("public", other.public_key().to_jwk()), "keys[0].kid: expected this key's thumbprint"),
        (
            key_with("private", json!({"pkcs8": other_pkcs8})),
            "keys[0].private: expected the private half of public, found another key's",
        ),
        (
            key_with("private", json!({"pkcs8": "AA=="})),
            "keys[0].private.pkcs8: expected an unencrypted ES256 private key",
        ),
        (key_with("private", json!({"pkcs8": "A"})), "keys[0].private.pkcs8: expected PKCS#8 DER in padded base64"),
        (key_with("private", json!({"pkcs8": 7})), "keys[0].private: expected {\"pkcs8\"}"),
        (key_with("private", json!({})), "keys[0].private: expected {\"pkcs8\"}"),
        (key_with("private", json!({"pkcs8": other_pkcs8, "kms": KMS})), "keys[0].private: expected {\"pkcs8\"}"),
        (key_with("private", json!({"file": "/key.pem"})), "keys[0].private: expected {\"pkcs8\"}"),
        (key_with("private", json!({"kms": "alias/signing"})), "keys[0].private.kms: expected arn:PARTITION:kms"),
        (
            key_with("private", json!({"kms": KMS.replace("key/", "alias/")})),
            "keys[0].private.kms: expected arn:PARTITION:kms",
        ),
        (
            key_with("private", json!({"transit": {"key": "a", "version": 0}})),
            "keys[0].private.transit.version: expected a pinned version from 1",
        ),
        (
            key_with("private", json!({"transit": {"key": "../a", "version": 1}})),
            "keys[0].private.transit.key: expected a transit key name",
        ),
        (
            key_with("private", json!({"transit": {"key": "a", "version": 1, "latest": true}})),
            "keys[0].private.transit: expected only key version",
        ),
        (key_with("private", Value::Null), "keys: expected the newest ES256 key to have its private half"),
        (key_with("extra", json!(1)), "keys[0]: expected only kid"),
        (ring(vec![base(), base()]), "keys: expected every key once"),
        (
            ring(vec![base(), entry(&other, start.into())]),
            "keys: expected one ES256 key to sign from 2026-11-22T00:00:00Z",
        ),
        (
            ring(vec![base(), with(entry(&other, Value::Null), "private", Value::Null)]),
            "keys[1]: expected a standby to have a private half",
        ),
        (ring(vec![base(), json!("key")]), "keys[1]: expected an object"),
        (json!([]), "expected a JSON object, found an array"),
    ] {
        let found = problems(&document);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "expected {expected:?}, found {found:#?}");
    }
    let duplicate = good.to_string().replacen('{', r#"{"generation":8,"#, 1);
    assert!(matches!(KeyRing::parse(duplicate.as_bytes()), Err(RingError::Json(_))));
    let deep_duplicate = good.to_string().replacen(r#""lead":"#, r#""lead":1,"lead":"#, 1);
    assert!(matches!(KeyRing::parse(deep_duplicate.as_bytes()), Err(RingError::Json(_))));
}

#[test]
fn all_problems_are_listed_together() {
    let mut document = ring(vec![entry(signer(Algorithm::Es256), "soon".into()), json!({"kid": "x"})]);
    document["generation"] = json!("7");
    document["policy"]["lead"] = json!(null);
    document["withdrawn"] = json!(["x"]);
    let found = problems(&document);
    let places: Vec<&str> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(
        places,
        ["generation", "policy.lead", "withdrawn[0]", "keys[0].signs_from", "keys[1].kid", "keys[1].alg"],
        "{found:#?}"
    );
}

#[test]
fn a_small_policy_and_absent_optional_members_are_fine() {
    let mut document = ring(vec![entry(signer(Algorithm::Es256), "2026-11-22T00:00:00Z".into())]);
    document["policy"] = json!({"interval": 11, "lead": 10, "max_token_ttl": 60, "retention": 131,
                                "jwks_max_age": 4, "verifier_cache": 5, "skew": 1});
    assert_eq!(parse(&document).unwrap().policy().lead_s, 10);
    for name in ["policy", "withdrawn", "derived_from"] {
        document.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(*parse(&document).unwrap().policy(), RingPolicy::default());
}

/// Every place in a document, as JSON pointers.
fn places(at: &str, value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, inner)| (format!("{at}/{name}"), inner)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, inner)| (format!("{at}/{index}"), inner)).collect()
        }
        _ => Vec::new(),
    };
    let below = inner.iter().flat_map(|(place, inner)| places(place, inner));
    below.chain(inner.iter().map(|(place, _)| place.clone())).collect()
}

#[test]
fn no_message_repeats_key_material_wherever_it_was_put() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let secret = STANDARD.encode(&*signer(algorithm).to_pkcs8());
        let document = ring(vec![entry(signer(algorithm), "2026-11-22T00:00:00Z".into())]);
        let spoilt = places("", &document).into_iter().flat_map(|place| {
            [Value::from(secret.as_str()), json!([secret]), json!({secret.as_str(): secret})].map(|value| {
                let mut document = document.clone();
                *document.pointer_mut(&place).unwrap() = value;
                document
            })
        });
        let with_name = with(document.clone(), &secret, json!(1));
        for spoilt in spoilt.chain([with_name]) {
            let Err(error) = parse(&spoilt) else { continue };
            let shown = format!("{error}\n{error:?}");
            for at in 0..secret.len() - 10 {
                assert!(!shown.contains(&secret[at..at + 10]), "{shown}");
            }
        }
    }
}
