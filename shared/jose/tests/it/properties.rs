//! Properties: round trips hold, one changed byte never passes, and no input panics.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use token_jose::{
    Algorithm, Expectation, KeyRing, KeySet, Kid, LocalSigner, PublicKey, PublishedKey, RingPolicy, Unverified,
    sign_compact, strict_json, verify,
};

use crate::support::{block_on, claims, expectation, key_set, now, signer, with};

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(Algorithm::ALL.to_vec())
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_102_444_800).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_signed_verifies_with_the_same_claims(
        algorithm in algorithms(), subject in any::<String>(), name in "x_[a-z]{1,8}", number in any::<i64>(),
    ) {
        let claims = with(with(claims(), "sub", subject.into()), &name, json!({"deep": [number, null, true]}));
        let token = block_on(sign_compact(signer(algorithm), "JWT", claims.to_string().as_bytes())).unwrap();
        let verified = verify(token.as_str(), &key_set(&Algorithm::ALL), &expectation(), now()).unwrap();
        prop_assert_eq!(Value::Object(verified.into_inner()), claims);
    }

    #[test]
    fn one_changed_byte_is_refused(algorithm in algorithms(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let token = block_on(sign_compact(signer(algorithm), "JWT", claims().to_string().as_bytes())).unwrap();
        let mut bytes = token.as_str().as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(verify(&changed, &key_set(&Algorithm::ALL), &expectation(), now()).is_err());
    }

    #[test]
    fn one_changed_bit_of_a_signature_is_refused(
        algorithm in algorithms(), message in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let key = signer(algorithm).public_key();
        let mut signature = signer(algorithm).sign_now(&message).unwrap();
        prop_assert_eq!(key.verify_signature(&message, &signature), Ok(()));
        let at = at.index(signature.len());
        signature[at] ^= 1 << bit;
        prop_assert!(key.verify_signature(&message, &signature).is_err());
    }

    #[test]
    fn a_stored_key_set_reads_back(
        chosen in prop::collection::vec((algorithms(), prop::option::of(times()), prop::option::of(1_i64..1_000_000)), 0..6),
        min_generation in any::<u64>(),
    ) {
        let keys = chosen.into_iter().map(|(algorithm, published_at, live_s)| {
            let mut entry = PublishedKey::new(signer(algorithm).public_key().clone());
            entry.published_at = published_at;
            entry.not_after = published_at.zip(live_s).map(|(start, live_s)| {
                Timestamp::from_second(start.as_second() + live_s).unwrap()
            });
            entry
        });
        let set = KeySet::new(keys, min_generation);
        prop_assert_eq!(KeySet::parse(set.to_stored_json().as_bytes()), Ok(set.clone()));
        let plain = KeySet::parse(set.to_public_json().as_bytes()).unwrap();
        prop_assert!(plain.keys().eq(set.keys()));
        prop_assert_eq!(plain.to_public_json(), set.to_public_json());
    }

    #[test]
    fn one_key_is_active_and_it_is_published(at in times(), later_s in 0_i64..100_000_000) {
        let ring = KeyRing::first(&[Algorithm::EdDsa, Algorithm::Es256], RingPolicy::default(), at).unwrap();
        let later = Timestamp::from_second(at.as_second() + later_s).unwrap();
        let published = ring.published(at).live(later);
        for algorithm in ring.algorithms() {
            let active = ring.active(algorithm, later).unwrap();
            prop_assert_eq!(active.algorithm(), algorithm);
            prop_assert!(published.contains(active.public_key()) && active.signer().is_some());
        }
        prop_assert!(ring.active(Algorithm::EdDsa, Timestamp::from_second(at.as_second() - 1).unwrap()).is_none());
        let stored = ring.to_json().unwrap();
        let read = KeyRing::parse(&stored).unwrap();
        prop_assert_eq!(&*read.to_json().unwrap(), &*stored);
        prop_assert_eq!(read.published(at), ring.published(at));
    }
}

/// JSON that resembles the documents read here, so that parsing gets past the first member.
fn document() -> impl Strategy<Value = Value> {
    let names = [
        "keys",
        "kid",
        "alg",
        "kty",
        "n",
        "e",
        "crv",
        "x",
        "y",
        "d",
        "use",
        "key_ops",
        "public",
        "private",
        "pkcs8",
        "kms",
        "transit",
        "key",
        "version",
        "generation",
        "policy",
        "interval",
        "lead",
        "withdrawn",
        "default_alg",
        "signs_from",
        "private_key",
        "min_generation",
        "not_after",
        "iss",
        "aud",
        "exp",
    ];
    let texts = [
        "RSA",
        "EC",
        "OKP",
        "P-256",
        "Ed25519",
        "RS256",
        "ES256",
        "EdDSA",
        "sig",
        "AQAB",
        "AA",
        "",
        "2026-11-22T00:00:00Z",
        "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----",
        "MC4CAQAwBQYDK2VwBCIEIA==",
    ];
    let leaf = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(names.to_vec()), inner, 0..6)
                .prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<Map<_, _>>())
                .prop_map(Value::from),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_document_panics(document in document()) {
        let text = document.to_string();
        let _ = KeyRing::parse(text.as_bytes());
        let _ = KeySet::parse(text.as_bytes());
        let _ = PublicKey::from_jwk(&document);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
        let _ = KeyRing::parse(&bytes);
        let _ = KeySet::parse(&bytes);
        let _ = strict_json::parse(&bytes, strict_json::Limits::new(100, 3));
        for algorithm in Algorithm::ALL {
            let _ = LocalSigner::from_pkcs8(algorithm, &bytes);
            let _ = LocalSigner::from_pem(algorithm, &text);
        }
        let _ = Unverified::parse(&text);
        let _ = text.parse::<Kid>();
        let _ = text.parse::<Algorithm>();
    }

    #[test]
    fn no_token_panics(header in document(), payload in document(), leeway_s in any::<u64>()) {
        let expectation = Expectation::new("", "", &["JWT"]).with_leeway_s(leeway_s);
        let token = crate::support::token(signer(Algorithm::EdDsa), &header.to_string(), &payload.to_string());
        prop_assert!(verify(&token, &key_set(&[Algorithm::EdDsa]), &expectation, now()).is_err());
        // And with a good header, so that every payload reaches the claims.
        let good = crate::support::header(signer(Algorithm::EdDsa)).to_string();
        let token = crate::support::token(signer(Algorithm::EdDsa), &good, &payload.to_string());
        let _ = verify(&token, &key_set(&[Algorithm::EdDsa]), &expectation, now());
    }
}
