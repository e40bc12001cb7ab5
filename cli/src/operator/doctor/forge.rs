//! Tokens that a verifier must refuse, made from a good one.
//!
//! Each forgery differs from the good token in exactly one way, so that its refusal shows that this one thing is checked.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use token_jose::{Algorithm, LocalSigner, PublicKey, base64url};

/// A good token in its parts.
pub(super) struct Parts {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    payload: String,
    signing_input: String,
    signature: Vec<u8>,
}

/// A forgery and what it tests.
pub(super) struct Forgery {
    pub(super) name: &'static str,
    pub(super) token: String,
}

impl Parts {
    /// Takes a compact JWS apart; `None` when it is none.
    pub(super) fn of(token: &str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, payload) = signing_input.split_once('.')?;
        let object = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(payload)?,
            payload: payload.to_owned(),
            signing_input: signing_input.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    fn header_with(&self, changes: &[(&str, Value)]) -> String {
        let mut header = self.header.clone();
        header.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        base64url(Value::Object(header).to_string().as_bytes())
    }

    /// What anybody can make who has one token and the public key set; `own` is a key of the forger's.
    pub(super) fn forgeries(&self, public: &PublicKey, own: &LocalSigner) -> Vec<Forgery> {
        let mut all = vec![
            Forgery {
                name: "alg-none",
                token: format!("{}.{}.", self.header_with(&[("alg", json!("none"))]), self.payload),
            },
            Forgery { name: "no-signature", token: format!("{}.", self.signing_input) },
        ];
        let mut tampered = self.signature.clone();
        if let Some(byte) = tampered.first_mut() {
            *byte ^= 0x01;
        }
        all.push(Forgery {
            name: "tampered-signature",
            token: format!("{}.{}", self.signing_input, base64url(&tampered)),
        });

        let mut claims = self.claims.clone();
        claims.insert("sub".to_owned(), json!("doctor-was-here"));
        let payload = base64url(Value::Object(claims).to_string().as_bytes());
        let header = self.signing_input.split('.').next().unwrap_or_default();
        all.push(Forgery {
            name: "tampered-claims",
            token: format!("{header}.{payload}.{}", base64url(&self.signature)),
        });

        if let Some(der) = spki(public) {
            let secrets = [("hs256-public-pem", pem(&der).into_bytes()), ("hs256-public-der", der)];
            all.extend(secrets.into_iter().map(|(name, secret)| {
                let input = format!("{}.{}", self.header_with(&[("alg", json!("HS256"))]), self.payload);
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
                Forgery { name, token: format!("{input}.{}", base64url(tag.as_ref())) }
            }));
        }

        let own_key = own.public_key();
        let alg = json!(own_key.algorithm().name());
        let kid = json!(own_key.kid().as_str());
        for (name, changes) in [
            ("foreign-key", vec![("alg", alg.clone())]),
            ("foreign-kid", vec![("alg", alg.clone()), ("kid", kid.clone())]),
            ("embedded-jwk", vec![("alg", alg.clone()), ("kid", kid), ("jwk", own_key.to_jwk())]),
        ] {
            let input = format!("{}.{}", self.header_with(&changes), self.payload);
            if let Ok(signature) = own.sign_now(input.as_bytes()) {
                all.push(Forgery { name, token: format!("{input}.{}", base64url(&signature)) });
            }
        }
        all
    }

    /// The claims with other times and names, for who has the issuer's own key.
    pub(super) fn misdirected(&self, now: Timestamp) -> Vec<(&'static str, Map<String, Value>)> {
        let now = now.as_second();
        let with = |changes: &[(&str, Value)]| {
            let mut claims = self.claims.clone();
            claims.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            claims
        };
        vec![
            ("expired", with(&[("iat", json!(now - 7_200)), ("nbf", json!(now - 7_200)), ("exp", json!(now - 3_600))])),
            (
                "not-yet-valid",
                with(&[("iat", json!(now + 3_600)), ("nbf", json!(now + 3_600)), ("exp", json!(now + 7_200))]),
            ),
            ("wrong-audience", with(&[("aud", json!("https://doctor.invalid/other-audience"))])),
            ("wrong-issuer", with(&[("iss", json!("https://doctor.invalid/other-issuer"))])),
        ]
    }

    pub(super) fn typ(&self) -> &str {
        self.header.get("typ").and_then(Value::as_str).unwrap_or("JWT")
    }

    pub(super) fn kid(&self) -> &str {
        self.header.get("kid").and_then(Value::as_str).unwrap_or_default()
    }
}

/// `SubjectPublicKeyInfo` of a key (RFC 5280): what a careless verifier may take for an HMAC secret.
fn spki(key: &PublicKey) -> Option<Vec<u8>> {
    let jwk = key.to_jwk();
    let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    let (identifier, bits): (&[u8], Vec<u8>) = match key.algorithm() {
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let integers = [integer(&member("n")?), integer(&member("e")?)].concat();
            (&[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0], element(0x30, &integers))
        }
        Algorithm::Es256 => (
            &[0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            [vec![4], member("x")?, member("y")?].concat(),
        ),
        Algorithm::Es384 => (
            &[0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22],
            [vec![4], member("x")?, member("y")?].concat(),
        ),
        Algorithm::EdDsa => (&[0x30, 5, 6, 3, 0x2b, 0x65, 0x70], member("x")?),
    };
    let bits = element(3, &[vec![0], bits].concat());
    Some(element(0x30, &[identifier, &bits].concat()))
}

/// A non-negative INTEGER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    element(2, &[sign, bytes].concat())
}

/// One DER element; nothing here is 64 KiB long.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [_, .., high, low] = content.len().to_be_bytes();
    let length = match content.len() {
        0..128 => vec![low],
        128..256 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_testkit::keys;

    /// The independent reader is token-jose's own, which is tested against a KMS; Ed25519 has RFC 8410 section 10.1.
    #[test]
    fn a_public_key_reads_back_from_its_spki() {
        for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384] {
            let signer = keys::signer(algorithm);
            let der = spki(signer.public_key()).unwrap();
            assert_eq!(&PublicKey::from_spki(algorithm, &der).unwrap(), signer.public_key(), "{algorithm}");
        }
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&STANDARD.decode("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=").unwrap())});
        let text = pem(&spki(&PublicKey::from_jwk(&jwk).unwrap()).unwrap());
        assert!(text.contains("\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"), "{text}");
    }
}
