//! Project Wycheproof: forged, malleable and badly encoded signatures, through `PublicKey::verify_signature`.

use serde_json::json;
use token_jose::{PublicKey, base64url};
use wycheproof::TestResult;

/// Every test of a group against one key: `(id, valid, message, signature)`.
fn check(key: &PublicKey, tests: impl Iterator<Item = (usize, TestResult, Vec<u8>, Vec<u8>)>) -> usize {
    let mut count = 0;
    for (id, expected, message, signature) in tests {
        let accepted = key.verify_signature(&message, &signature).is_ok();
        match expected {
            TestResult::Valid => assert!(accepted, "test {id} is a valid signature of {key:?}"),
            TestResult::Invalid => assert!(!accepted, "test {id} is an invalid signature of {key:?}"),
            TestResult::Acceptable => {}
        }
        count += 1;
    }
    count
}

/// The JWK integer: big-endian without the sign byte that the vectors carry.
fn integer(bytes: &[u8]) -> String {
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    base64url(&bytes[leading..])
}

macro_rules! tests_of {
    ($group:expr) => {
        $group.tests.iter().map(|test| (test.tc_id, test.result, test.msg.to_vec(), test.sig.to_vec()))
    };
}

#[test]
fn rsa_pkcs1_2048_sha256() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let set = TestSet::load(TestName::Rsa2048Sha256).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let jwk = json!({"kty": "RSA", "alg": "RS256", "n": integer(&group.key.n), "e": integer(&group.key.e)});
        count += check(&PublicKey::from_jwk(&jwk).unwrap(), tests_of!(group));
    }
    assert!(count > 200, "{count}");
}

#[test]
fn rsa_pss_2048_sha256_salt_32() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let set = TestSet::load(TestName::RsaPss2048Sha256Mgf1SaltLen32).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let jwk = json!({"kty": "RSA", "alg": "PS256", "n": integer(&group.key.n), "e": integer(&group.key.e)});
        count += check(&PublicKey::from_jwk(&jwk).unwrap(), tests_of!(group));
    }
    assert!(count > 50, "{count}");
}

#[test]
fn a_pss_salt_of_another_length_is_refused() {
    // RFC 7518 section 3.5: the salt is as long as the digest.
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let set = TestSet::load(TestName::RsaPss2048Sha256Mgf1SaltLen0).unwrap();
    for group in &set.test_groups {
        let jwk = json!({"kty": "RSA", "alg": "PS256", "n": integer(&group.key.n), "e": integer(&group.key.e)});
        let key = PublicKey::from_jwk(&jwk).unwrap();
        let valid_with_other_salt: Vec<_> =
            group.tests.iter().filter(|test| test.result == TestResult::Valid).collect();
        assert!(!valid_with_other_salt.is_empty());
        for test in valid_with_other_salt {
            assert!(key.verify_signature(&test.msg, &test.sig).is_err(), "test {}", test.tc_id);
        }
    }
}

fn ecdsa(name: wycheproof::ecdsa::TestName, crv: &str, length: usize) -> usize {
    let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let point = group.key.key.as_ref();
        assert_eq!((point[0], point.len()), (4, 1 + 2 * length));
        let (x, y) = point[1..].split_at(length);
        let jwk = json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)});
        count += check(&PublicKey::from_jwk(&jwk).unwrap(), tests_of!(group));
    }
    count
}

#[test]
fn ecdsa_p256_and_p384_raw_signatures() {
    use wycheproof::ecdsa::TestName;
    let p256 = ecdsa(TestName::EcdsaSecp256r1Sha256P1363, "P-256", 32);
    let p384 = ecdsa(TestName::EcdsaSecp384r1Sha384P1363, "P-384", 48);
    assert!(p256 > 200 && p384 > 200, "{p256} {p384}");
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk)});
        count += check(&PublicKey::from_jwk(&jwk).unwrap(), tests_of!(group));
    }
    assert!(count > 100, "{count}");
}
