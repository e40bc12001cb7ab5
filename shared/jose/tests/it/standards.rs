//! Vectors of the standards, copied by hand.

use serde_json::{Value, json};
use token_jose::{Algorithm, JwsError, KeySet, KeySetError, LocalSigner, PublicKey, PublishedKey, base64url, verify};

use crate::support::{expectation, now};

/// The payload of RFC 7515 appendix A.2 and A.3, and of RFC 7519 section 3.1.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const RFC8037_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn rfc7515_a2() -> Value {
    json!({"kty": "RSA", "n": A2_N, "e": "AQAB"})
}

fn rfc7515_a3() -> Value {
    json!({"kty": "EC", "crv": "P-256",
           "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

fn rfc8037_a2() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn bytes(base64url: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

#[test]
fn rfc7515_a2_rs256_and_a3_es256_verify() {
    for (jwk, header, signature, algorithm) in [
        (rfc7515_a2(), "eyJhbGciOiJSUzI1NiJ9", A2_SIGNATURE, Algorithm::Rs256),
        (rfc7515_a3(), "eyJhbGciOiJFUzI1NiJ9", A3_SIGNATURE, Algorithm::Es256),
    ] {
        let key = PublicKey::from_jwk(&jwk).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let input = format!("{header}.{PAYLOAD}");
        assert_eq!(key.verify_signature(input.as_bytes(), &bytes(signature)), Ok(()));
        let other = format!("{header}.{PAYLOAD}A");
        assert!(key.verify_signature(other.as_bytes(), &bytes(signature)).is_err());
    }
}

#[test]
fn rfc7638_section_3_1_thumbprint() {
    let jwk = json!({"kty": "RSA", "e": "AQAB", "alg": "RS256",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
    let key = PublicKey::from_jwk(&jwk).unwrap();
    assert_eq!(key.kid().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    // The RFC's own `kid` ("2011-04-29") is not the thumbprint: no name may be chosen.
    let mut chosen = jwk;
    chosen["kid"] = "2011-04-29".into();
    assert!(PublicKey::from_jwk(&chosen).is_err());
}

#[test]
fn rfc8037_a_ed25519_thumbprint_signature_and_verification() {
    let key = PublicKey::from_jwk(&rfc8037_a2()).unwrap();
    assert_eq!(key.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");

    // Appendix A.1's `d` as PKCS#8 version 1 (RFC 8410 section 7).
    let seed = bytes("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let v1 = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &seed].concat();
    let signer = LocalSigner::from_pkcs8(Algorithm::EdDsa, &v1).unwrap();
    assert_eq!(signer.public_key(), &key);

    // Appendix A.4 and A.5; Ed25519 is deterministic.
    let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert_eq!(base64url(&signer.sign_now(input).unwrap()), RFC8037_SIGNATURE);
    assert_eq!(key.verify_signature(input, &bytes(RFC8037_SIGNATURE)), Ok(()));
}

#[test]
fn rfc7519_examples_are_refused_whatever_the_keys() {
    let jwks = [rfc7515_a2(), rfc7515_a3(), rfc8037_a2()];
    let keys = KeySet::new(jwks.iter().map(|jwk| PublishedKey::new(PublicKey::from_jwk(jwk).unwrap())), 0);
    // Section 3.1 (HS256) and section 6.1 (none, empty signature); and RFC 7515 A.2, which names no key.
    for token in [
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        format!("eyJhbGciOiJub25lIn0.{PAYLOAD}."),
        format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{A2_SIGNATURE}"),
    ] {
        let refused = verify(&token, &keys, &expectation(), now());
        assert!(matches!(refused, Err(JwsError::Header { member: "kid", .. })), "{refused:?}");
    }
}

#[test]
fn rfc7517_a1_encryption_keys_and_a2_private_keys_are_no_key_set() {
    let a1 = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "use": "enc", "kid": "1"});
    let refused = KeySet::parse(json!({"keys": [a1]}).to_string().as_bytes()).unwrap_err().to_string();
    assert_eq!(refused, "keys[0].use: expected \"sig\", found \"enc\"");

    let mut a2 = a1;
    a2["d"] = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE".into();
    let refused = KeySet::parse(json!({"keys": [a2]}).to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, KeySetError::PrivateMember { at: "keys[0]".to_owned(), member: "d".to_owned() });
}

#[test]
fn a_key_set_round_trips_through_the_public_form() {
    let keys = [rfc7515_a2(), rfc7515_a3(), rfc8037_a2()].map(|jwk| PublicKey::from_jwk(&jwk).unwrap());
    let set = KeySet::new(keys.iter().cloned().map(PublishedKey::new), 0);
    assert_eq!(KeySet::parse(set.to_public_json().as_bytes()), Ok(set.clone()));
    let document: Value = serde_json::from_str(&set.to_public_json()).unwrap();
    assert_eq!(document["keys"].as_array().unwrap().len(), 3);
    let rsa = document["keys"].as_array().unwrap().iter().find(|jwk| jwk["kty"] == "RSA").unwrap();
    assert_eq!(
        rsa,
        &json!({"kty": "RSA", "n": A2_N, "e": "AQAB", "kid": keys[0].kid().as_str(), "use": "sig", "alg": "RS256"})
    );
}
