//! The signing key: an HMAC secret, or a private key from PEM.

use std::fmt;

use aws_lc_rs::hmac;
use serde::Serialize;
use token_jose::{Algorithm, LocalSigner};

use super::secret::{LEAST_BYTES, weakness};
use super::source::{ReadError, Source};
use crate::exit::Exit;

/// Longer secrets are hashed first (RFC 2104) and gain nothing.
const MOST_SECRET_BYTES: usize = 4096;

/// Which key signs, and where it is.
#[derive(Clone)]
pub(crate) enum KeySource {
    /// HS256.
    Secret {
        /// The secret.
        source: Source,
        /// Whether short and published secrets are taken.
        allow_weak: bool,
    },
    /// A private key in PEM.
    Private {
        /// The PEM.
        source: Source,
        /// The algorithm; none = the key's own (RSA: RS256).
        algorithm: Option<Algorithm>,
    },
}

/// Why there is no key now. No key material is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFailure {
    /// It could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The secret is too short.
    #[error(
        "expected an HMAC secret of at least {LEAST_BYTES} bytes (RFC 7518 section 3.2), found {found}; hint: openssl rand -base64 48"
    )]
    Short {
        /// Its length in bytes.
        found: usize,
    },
    /// The secret is known.
    #[error("expected an HMAC secret that nobody else knows, found {found}; hint: openssl rand -base64 48")]
    Weak {
        /// What it is, never what it says.
        found: &'static str,
    },
    /// The secret is absurdly long.
    #[error("expected an HMAC secret of at most {MOST_SECRET_BYTES} bytes, found {found}; hint: is it the right file?")]
    Long {
        /// Its length in bytes.
        found: usize,
    },
    /// The PEM holds no usable private key.
    #[error("{0}")]
    Private(String),
    /// The key does not sign.
    #[error("expected a signature that its own public key verifies, found none; hint: is the key damaged?")]
    Sign,
}

impl KeyFailure {
    /// [`Exit::TryAgain`] for a file caught while it changed, else [`Exit::KeyMaterial`].
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read(ReadError::Changing { .. }) => Exit::TryAgain,
            _ => Exit::KeyMaterial,
        }
    }
}

/// A key that was read just now. The secret's bytes are wiped as soon as aws-lc has them, and aws-lc wipes its own.
pub(crate) enum SigningKey {
    Hmac(Box<hmac::Key>),
    Local(Box<LocalSigner>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, hidden)", self.algorithm())
    }
}

/// The protected header, in this order; HS256 has no `kid`: a thumbprint of a secret would help to guess it.
#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl KeySource {
    /// Reads the key as it is now.
    pub(crate) fn load(&self) -> Result<SigningKey, KeyFailure> {
        match self {
            Self::Secret { source, allow_weak } => {
                let secret = source.read()?;
                let found = secret.len();
                if found > MOST_SECRET_BYTES {
                    return Err(KeyFailure::Long { found });
                }
                // An empty secret is never meant.
                if secret.is_empty() || (!allow_weak && found < LEAST_BYTES) {
                    return Err(KeyFailure::Short { found });
                }
                match weakness(&secret) {
                    Some(found) if !allow_weak => Err(KeyFailure::Weak { found }),
                    _ => Ok(SigningKey::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)))),
                }
            }
            Self::Private { source, algorithm } => {
                let pem = source.read()?;
                let text = std::str::from_utf8(&pem)
                    .map_err(|_| KeyFailure::Private("expected a PEM text, found bytes that are no text".to_owned()))?;
                let signer = match algorithm {
                    Some(algorithm) => LocalSigner::from_pem(*algorithm, text).map_err(|error| error.to_string()),
                    None => own_algorithm(text),
                };
                signer.map(|signer| SigningKey::Local(Box::new(signer))).map_err(KeyFailure::Private)
            }
        }
    }
}

/// The algorithm that the key itself decides. An RSA key signs RS256 unless told otherwise.
fn own_algorithm(text: &str) -> Result<LocalSigner, String> {
    let mut first = None;
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Es384, Algorithm::Rs256] {
        match LocalSigner::from_pem(algorithm, text) {
            Ok(signer) => return Ok(signer),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let why = first.map(|error| error.to_string()).unwrap_or_default();
    Err(format!("expected a private key for ES256, ES384, EdDSA or RS256, found none of them (as ES256: {why})"))
}

impl SigningKey {
    /// The JOSE name.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Hmac(_) => "HS256",
            Self::Local(signer) => signer.public_key().algorithm().name(),
        }
    }

    /// The thumbprint of an asymmetric key.
    pub(crate) fn kid(&self) -> Option<&str> {
        match self {
            Self::Hmac(_) => None,
            Self::Local(signer) => Some(signer.public_key().kid().as_str()),
        }
    }

    /// The header of this key's tokens.
    pub(crate) fn header(&self) -> Result<Vec<u8>, KeyFailure> {
        let header = Header { typ: "JWT", alg: self.algorithm(), kid: self.kid() };
        serde_json::to_vec(&header).map_err(|_| KeyFailure::Sign)
    }

    /// Signs, and verifies before the signature leaves: a fault in an RSA signature gives the key away.
    pub(crate) fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, KeyFailure> {
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, signing_input).as_ref().to_vec()),
            Self::Local(signer) => {
                let signature = signer.sign_now(signing_input).map_err(|_| KeyFailure::Sign)?;
                if self.verifies(signing_input, &signature) { Ok(signature) } else { Err(KeyFailure::Sign) }
            }
        }
    }

    /// Whether this key made the signature.
    pub(crate) fn verifies(&self, signing_input: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, signing_input, signature).is_ok(),
            Self::Local(signer) => signer.public_key().verify_signature(signing_input, signature).is_ok(),
        }
    }
}
