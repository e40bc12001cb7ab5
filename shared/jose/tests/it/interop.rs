//! The wire is JOSE's, not ours: `jsonwebtoken` reads what is signed here, and the other way round.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use token_jose::{Algorithm, sign_compact, verify};

use crate::support::{AUDIENCE, ISSUER, block_on, claims, expectation, key_set, now, signer};

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    algorithm.name().parse().unwrap()
}

#[test]
fn jsonwebtoken_accepts_our_tokens_with_our_jwk() {
    for algorithm in Algorithm::ALL {
        let token = block_on(sign_compact(signer(algorithm), "JWT", claims().to_string().as_bytes())).unwrap();
        let jwk: Jwk = serde_json::from_value(signer(algorithm).public_key().to_jwk()).unwrap();
        assert_eq!(jwk.common.key_id.as_deref(), Some(signer(algorithm).public_key().kid().as_str()));
        let mut validation = Validation::new(theirs(algorithm));
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        // It reads the wall clock, and these tests stand still.
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let read = jsonwebtoken::decode::<Map<String, Value>>(token.as_str(), &key, &validation).unwrap();
        assert_eq!(Value::Object(read.claims), claims());
        assert_eq!(read.header.kid, jwk.common.key_id);
    }
}

#[test]
fn we_accept_jsonwebtoken_s_tokens() {
    for algorithm in Algorithm::ALL {
        let pkcs8 = signer(algorithm).to_pkcs8();
        let key = match algorithm {
            // Its RSA keys are PKCS#1, which starts after the 26 bytes of the PKCS#8 wrapping.
            Algorithm::Rs256 | Algorithm::Ps256 => EncodingKey::from_rsa_der(&pkcs8[26..]),
            Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_der(&pkcs8),
            Algorithm::EdDsa => EncodingKey::from_ed_der(&pkcs8),
        };
        let mut header = Header::new(theirs(algorithm));
        header.kid = Some(signer(algorithm).public_key().kid().to_string());
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        let verified = verify(&token, &key_set(&[algorithm]), &expectation(), now()).unwrap();
        assert_eq!(Value::Object(verified.into_inner()), claims());
    }
}

#[test]
fn thumbprints_agree() {
    for algorithm in Algorithm::ALL {
        let jwk: Jwk = serde_json::from_value(signer(algorithm).public_key().to_jwk()).unwrap();
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(thumbprint, signer(algorithm).public_key().kid().as_str());
    }
}
