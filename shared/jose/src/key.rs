//! Public keys: parsed once, of one algorithm, named by their thumbprint.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Map, Value, json};

use crate::algorithm::Algorithm;
use crate::kid::Kid;
use crate::text::{self, base64url, found};

/// The members that carry private or symmetric key material in a JWK: RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1,
/// RFC 8037 section 2, and `priv` of the algorithm key pairs.
pub const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Smallest and largest RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// `rsaEncryption` with its NULL (RFC 3279 section 2.3.1), as the contents of an `AlgorithmIdentifier`.
const RSA_IDENTIFIER: [u8; 13] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// `id-ecPublicKey` on `secp256r1` (RFC 5480 section 2.1.1).
const P256_IDENTIFIER: [u8; 19] =
    [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// `id-ecPublicKey` on `secp384r1`.
const P384_IDENTIFIER: [u8; 16] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// Why a key was not accepted. Messages never contain private key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A public JWK is not one that this project verifies with.
    #[error("{member}: expected {expected}, found {found}")]
    Jwk {
        /// The member at fault.
        member: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        found: String,
    },
    /// A document that must be public carries private key material.
    #[error(
        "expected a public key, found the private member \"{member}\"; hint: publish only the public half, and treat this key as compromised"
    )]
    PrivateMember {
        /// The member's name, one of [`PRIVATE_MEMBERS`].
        member: &'static str,
    },
    /// A private key could not be read.
    #[error("expected an unencrypted {algorithm} private key ({form}), found {reason}")]
    Private {
        /// The algorithm the key was to serve.
        algorithm: Algorithm,
        /// The forms that are read.
        form: &'static str,
        /// What is wrong, without any of the input.
        reason: &'static str,
    },
    /// The operating system or aws-lc could not make a key.
    #[error("expected a new {algorithm} key, found that aws-lc could not generate one")]
    Generate {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
}

/// The signature does not belong to the message and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a signature of this message by this key, found another")]
pub struct BadSignature;

/// A public key of exactly one algorithm. Cloning is cheap (shared).
///
/// A key is checked by aws-lc when it is read and then kept as `jsonwebtoken`'s [`DecodingKey`]. Signatures are verified by
/// `jsonwebtoken::crypto::verify` alone, never by its `decode`: that accepts `crit`, an embedded `jwk`, repeated claims and
/// any `typ`, takes the algorithm from the caller and reads the wall clock.
///
/// Two keys are equal when algorithm and exact public half are.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kid: Kid,
    algorithm: Algorithm,
    half: Half,
    decoding: DecodingKey,
}

/// The public half as JWK members name it; big-endian, RSA integers without leading zeros.
#[derive(PartialEq, Eq)]
enum Half {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { crv: &'static str, x: Vec<u8>, y: Vec<u8> },
    Okp { x: Vec<u8> },
}

impl Half {
    /// The members that RFC 7638 hashes, in lexicographic order.
    fn members(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Rsa { n, e } => vec![("e", base64url(e)), ("kty", "RSA".to_owned()), ("n", base64url(n))],
            Self::Ec { crv, x, y } => {
                vec![("crv", (*crv).to_owned()), ("kty", "EC".to_owned()), ("x", base64url(x)), ("y", base64url(y))]
            }
            Self::Okp { x } => {
                vec![("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", base64url(x))]
            }
        }
    }

    /// The key as `jsonwebtoken` verifies with it.
    fn decoding_key(&self) -> Result<DecodingKey, KeyError> {
        let members: Map<String, Value> =
            self.members().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let jwk: Option<Jwk> = serde_json::from_value(Value::Object(members)).ok();
        jwk.and_then(|jwk| DecodingKey::from_jwk(&jwk).ok()).ok_or_else(|| wrong("kty", "a key that can verify", None))
    }

    fn thumbprint(&self) -> Kid {
        // Every value is base64url or a constant, so nothing needs escaping.
        let members: Vec<String> =
            self.members().iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        Kid::of_canonical_jwk(&format!("{{{}}}", members.join(",")))
    }
}

impl PublicKey {
    /// Reads a public JWK (RFC 7517 section 4).
    ///
    /// `kty` is RSA, EC (P-256, P-384) or OKP (Ed25519). `alg` may be absent: RSA then means RS256, the others follow
    /// from the curve. `use` and `key_ops`, when present, must say signature verification and only that. A `kid`, when
    /// present, must be the thumbprint. Other members are ignored, as section 4 asks, but never private ones.
    ///
    /// # Errors
    /// When a member is missing, of another form, private, or contradicts another; when RSA is below 2048 or above 8192
    /// bits; when a point is not on its curve.
    ///
    /// ```
    /// # use token_jose::PublicKey;
    /// // RFC 8037 appendix A.2 and A.3.
    /// let jwk = serde_json::json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    /// let key = PublicKey::from_jwk(&jwk)?;
    /// assert_eq!(key.kid().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    /// # Ok::<(), token_jose::KeyError>(())
    /// ```
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeyError> {
        let Value::Object(members) = jwk else {
            return Err(wrong("jwk", "a JSON object", Some(jwk)));
        };
        Self::from_members(members, None)
    }

    /// [`PublicKey::from_jwk`], where `assumed` takes the place of an absent `alg`.
    pub(crate) fn from_members(members: &Map<String, Value>, assumed: Option<Algorithm>) -> Result<Self, KeyError> {
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|name| members.contains_key(*name)) {
            return Err(KeyError::PrivateMember { member });
        }
        check_usage(members)?;
        let (inferred, half) = read_half(members)?;
        let algorithm = read_algorithm(members, inferred, assumed)?;
        let key = Self::build(algorithm, half)?;
        match members.get("kid") {
            None => Ok(key),
            Some(Value::String(kid)) if kid == key.kid().as_str() => Ok(key),
            other => Err(wrong("kid", &format!("this key's RFC 7638 thumbprint \"{}\"", key.kid()), other)),
        }
    }

    /// Reads a DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1), the form in which a KMS hands out a public key, for the
    /// use with `algorithm`.
    ///
    /// # Errors
    /// When the DER is no key of that algorithm's type and curve, in exactly the form of RFC 3279 and RFC 5480, or for the
    /// reasons of [`PublicKey::from_jwk`]. Ed25519 is not read.
    pub fn from_spki(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let (identifier, expected): (&[u8], _) = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => (&RSA_IDENTIFIER, "an RSA SubjectPublicKeyInfo"),
            Algorithm::Es256 => (&P256_IDENTIFIER, "a P-256 SubjectPublicKeyInfo"),
            Algorithm::Es384 => (&P384_IDENTIFIER, "a P-384 SubjectPublicKeyInfo"),
            Algorithm::EdDsa => return Err(wrong("kty", "a key of another algorithm than EdDSA", None)),
        };
        let key = crate::der::spki_key(der, identifier).ok_or_else(|| wrong("kty", expected, None))?;
        match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Self::from_rsa_der(algorithm, key),
            _ => Self::from_ec_point(algorithm, key),
        }
    }

    /// An RSA key from its PKCS#1 `RSAPublicKey` DER, as aws-lc-rs hands it out.
    pub(crate) fn from_rsa_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = crate::der::rsa_public_key(der).ok_or_else(|| wrong("n", "an RSA public key", None))?;
        Self::build(algorithm, Half::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    /// An elliptic-curve key from its uncompressed point `04 || x || y`.
    pub(crate) fn from_ec_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        let (crv, length) = match algorithm {
            Algorithm::Es384 => ("P-384", 48),
            _ => ("P-256", 32),
        };
        match point.split_first() {
            Some((4, both)) if both.len() == 2 * length => {
                let (x, y) = both.split_at(length);
                Self::build(algorithm, Half::Ec { crv, x: x.to_vec(), y: y.to_vec() })
            }
            _ => Err(wrong("x", "an uncompressed point", None)),
        }
    }

    /// An Ed25519 key from its 32 bytes.
    pub(crate) fn from_ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::build(Algorithm::EdDsa, Half::Okp { x: bytes.to_vec() })
    }

    fn build(algorithm: Algorithm, half: Half) -> Result<Self, KeyError> {
        parse(algorithm, &half)?;
        let decoding = half.decoding_key()?;
        Ok(Self(Arc::new(Inner { kid: half.thumbprint(), algorithm, half, decoding })))
    }

    /// The thumbprint.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        &self.0.kid
    }

    /// The only algorithm this key verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// How many bytes a raw JOSE signature of this key has (RFC 7518 section 3.3 to 3.5, RFC 8037 section 3.1).
    #[must_use]
    pub fn signature_len(&self) -> usize {
        match (&self.0.half, self.0.algorithm) {
            (Half::Rsa { n, .. }, _) => n.len(),
            (_, Algorithm::Es384) => 96,
            _ => 64,
        }
    }

    /// The size of the RSA modulus in bits; `None` for the other key types.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.0.half {
            Half::Rsa { n, .. } => Some(bit_length(n)),
            _ => None,
        }
    }

    /// The public JWK: `kty`, the key's own members, `kid`, `use` = `sig`, `alg`.
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        let mut jwk = json!({"kid": self.kid().as_str(), "use": "sig", "alg": self.algorithm().name()});
        if let Value::Object(members) = &mut jwk {
            members.extend(self.0.half.members().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        }
        jwk
    }

    /// Verifies a raw JOSE signature (`r || s` for ECDSA) of `message`.
    ///
    /// # Errors
    /// [`BadSignature`] when it is not this key's signature of this message, or not of this algorithm's exact length.
    pub fn verify_signature(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if signature.len() != self.signature_len() {
            return Err(BadSignature);
        }
        let algorithm = self.0.algorithm.to_jsonwebtoken();
        match jsonwebtoken::crypto::verify(&base64url(signature), message, &self.0.decoding, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(BadSignature),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.algorithm == other.0.algorithm && self.0.half == other.0.half
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.kid())
    }
}

fn wrong(member: &'static str, expected: &str, value: Option<&Value>) -> KeyError {
    KeyError::Jwk { member, expected: expected.to_owned(), found: found(value) }
}

/// `use` and `key_ops`, when present, allow verifying signatures and nothing else (RFC 7517 sections 4.2 and 4.3).
fn check_usage(members: &Map<String, Value>) -> Result<(), KeyError> {
    match members.get("use") {
        None => {}
        Some(Value::String(usage)) if usage == "sig" => {}
        other => return Err(wrong("use", "\"sig\"", other)),
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if matches!(operations.as_slice(), [Value::String(only)] if only == "verify") => {
            Ok(())
        }
        other => Err(wrong("key_ops", "[\"verify\"]", other)),
    }
}

/// The key's own members, and the algorithm that follows when `alg` is absent.
fn read_half(members: &Map<String, Value>) -> Result<(Algorithm, Half), KeyError> {
    let text = |name: &'static str| match members.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        other => Err(wrong(name, "a string", other)),
    };
    let coordinate = |name: &'static str, length: usize| match text::base64url_decode(text(name)?) {
        Some(bytes) if bytes.len() == length => Ok(bytes),
        _ => Err(wrong(name, &format!("{length} bytes in canonical base64url"), members.get(name))),
    };
    let integer = |name: &'static str| match text::base64url_decode(text(name)?) {
        Some(bytes) if bytes.first().is_some_and(|first| *first != 0) => Ok(bytes),
        _ => Err(wrong(name, "a positive integer in canonical base64url without leading zeros", members.get(name))),
    };
    let curve = || text("crv");
    match text("kty")? {
        "RSA" => Ok((Algorithm::Rs256, Half::Rsa { n: integer("n")?, e: integer("e")? })),
        "EC" => match curve()? {
            "P-256" => {
                Ok((Algorithm::Es256, Half::Ec { crv: "P-256", x: coordinate("x", 32)?, y: coordinate("y", 32)? }))
            }
            "P-384" => {
                Ok((Algorithm::Es384, Half::Ec { crv: "P-384", x: coordinate("x", 48)?, y: coordinate("y", 48)? }))
            }
            _ => Err(wrong("crv", "P-256 or P-384", members.get("crv"))),
        },
        "OKP" => match curve()? {
            "Ed25519" => Ok((Algorithm::EdDsa, Half::Okp { x: coordinate("x", 32)? })),
            _ => Err(wrong("crv", "Ed25519", members.get("crv"))),
        },
        _ => Err(wrong("kty", "RSA, EC or OKP", members.get("kty"))),
    }
}

/// `alg` when present, else the assumed one, else the inferred one; checked against what the key type can do.
fn read_algorithm(
    members: &Map<String, Value>,
    inferred: Algorithm,
    assumed: Option<Algorithm>,
) -> Result<Algorithm, KeyError> {
    let named = match members.get("alg") {
        None => Some(assumed.unwrap_or(inferred)),
        Some(Value::String(name)) => name.parse::<Algorithm>().ok(),
        Some(_) => None,
    };
    match (inferred, named) {
        (_, Some(named)) if named == inferred => Ok(named),
        (Algorithm::Rs256, Some(Algorithm::Ps256)) => Ok(Algorithm::Ps256),
        (Algorithm::Rs256, _) => Err(wrong("alg", "RS256 or PS256 for this key type", members.get("alg"))),
        _ => Err(wrong("alg", &format!("{inferred} for this key type"), members.get("alg"))),
    }
}

/// Hands the key to aws-lc, which checks that points are on their curve; RSA's form is checked here.
fn parse(algorithm: Algorithm, half: &Half) -> Result<ParsedPublicKey, KeyError> {
    let refuse = |member: &'static str, expected: &str, found: String| KeyError::Jwk {
        member,
        expected: expected.to_owned(),
        found,
    };
    let off_curve = |_| refuse("x", "a point on the curve", "one that is not".to_owned());
    let point = |x: &[u8], y: &[u8]| [&[4], x, y].concat();
    match (algorithm, half) {
        (Algorithm::Rs256 | Algorithm::Ps256, Half::Rsa { n, e }) => {
            let bits = bit_length(n);
            if !RSA_BITS.contains(&bits) {
                return Err(refuse("n", "an RSA modulus of 2048 to 8192 bits", format!("{bits} bits")));
            }
            // aws-lc bounds the exponent at 33 bits; one that is even or 1 is no RSA key at all.
            let odd = |integer: &[u8]| integer.last().is_some_and(|byte| byte & 1 == 1);
            if !odd(n) || !odd(e) || *e == [1] || bit_length(e) > 33 {
                return Err(refuse("e", "an odd modulus and an odd exponent of 2 to 33 bits", "another".to_owned()));
            }
            let parameters = match algorithm {
                Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                _ => &signature::RSA_PKCS1_2048_8192_SHA256,
            };
            RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(parameters)
                .map_err(|_| refuse("n", "an RSA public key", "one that aws-lc rejects".to_owned()))
        }
        (Algorithm::Es256, Half::Ec { crv: "P-256", x, y }) => {
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point(x, y)).map_err(off_curve)
        }
        (Algorithm::Es384, Half::Ec { crv: "P-384", x, y }) => {
            ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point(x, y)).map_err(off_curve)
        }
        (Algorithm::EdDsa, Half::Okp { x }) => ParsedPublicKey::new(&signature::ED25519, x).map_err(off_curve),
        _ => Err(refuse("alg", "the algorithm of this key type", format!("{algorithm}"))),
    }
}

fn bit_length(integer: &[u8]) -> usize {
    let leading = integer.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (integer.len() * 8).saturating_sub(leading)
}
