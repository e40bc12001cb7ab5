//! Signing: the port that every private key stands behind, and the keys held in this process.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::der;
use crate::key::{KeyError, PublicKey};
use crate::pem::{self, Label};

/// One key version that can sign. Where the private half is (this process, KMS, Transit) is the adapter's business, and
/// so are DER signatures, quotas and time-outs.
///
/// An implementation must sign with exactly the private half of [`Signer::public_key`], must bound its own time, and
/// must not show key material in `Debug` or errors.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half; its `kid` and algorithm go into the header.
    fn public_key(&self) -> &PublicKey;

    /// Signs a JWS signing input (RFC 7515 section 5.1) and returns the raw JOSE signature: `r || s` for ECDSA.
    ///
    /// # Errors
    /// When the key cannot be used now ([`SignError::Unavailable`]) or at all.
    async fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The signing operation itself failed.
    #[error("expected a signature, found that the key could not sign")]
    Failed,
    /// A remote signer did not answer in time, throttled, or was unreachable: ask again later.
    #[error("expected a signature, found the signer unavailable: {detail}")]
    Unavailable {
        /// What the adapter saw; never key material.
        detail: String,
    },
    /// A remote signer refused for good: the key is disabled, deleted, or permission is missing.
    #[error("expected a signature, found the signer refusing: {detail}")]
    Refused {
        /// What the adapter saw; never key material.
        detail: String,
    },
    /// The signer returned something that is no raw JOSE signature, for example DER from a KMS.
    #[error("expected a raw signature of {expected} bytes, found {found}; hint: JOSE wants r || s, not DER")]
    SignatureLength {
        /// The length of the key's signatures.
        expected: usize,
        /// The length returned.
        found: usize,
    },
    /// A remote signer's budget is spent, here or there: ask again after a pause.
    #[error("expected a signature, found the signer's budget spent; hint: ask again after {retry_after_s} s")]
    Throttled {
        /// Seconds after which it is worth asking again.
        retry_after_s: u64,
    },
    /// The `typ` cannot stand in a header.
    #[error("expected typ to be a media type name of 1 to 64 characters (RFC 7515 section 4.1.9), found another")]
    Typ,
    /// The claims are not a JSON object.
    #[error("expected the claims as a JSON object, found something else")]
    Claims,
    /// The token would be longer than [`crate::MAX_TOKEN_BYTES`].
    #[error("expected a token of at most {limit} bytes, found {found}; hint: fewer scopes or custom claims")]
    TooLarge {
        /// The most bytes a token may have.
        limit: usize,
        /// What it would have.
        found: usize,
    },
}

/// A private key in this process.
///
/// The aws-lc key pair is parsed once and kept: parsing an RSA key for each signature costs 2.8 times the signature.
/// aws-lc wipes its own memory when the key is freed; the PKCS#8 copy kept for [`LocalSigner::to_pkcs8`] is wiped too.
pub struct LocalSigner {
    public: PublicKey,
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl LocalSigner {
    /// Reads an unencrypted PKCS#8 key (RFC 5958): RSA of 2048 to 8192 bits, EC on the algorithm's curve, Ed25519 as
    /// version 1 (48 bytes) or version 2 (83 bytes).
    ///
    /// # Errors
    /// When the DER is no such key of this algorithm, is followed by other bytes, or its halves do not match.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let refused = |reason: &'static str| KeyError::Private { algorithm, form: "PKCS#8 DER", reason };
        if !der::is_one_sequence(der) {
            return Err(refused("bytes that are not exactly one DER document"));
        }
        let pair = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                RsaKeyPair::from_pkcs8(der).map(|pair| Pair::Rsa(pair, rsa_encoding(algorithm)))
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                EcdsaKeyPair::from_pkcs8(ecdsa_algorithm(algorithm), der).map(Pair::Ecdsa)
            }
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
        }
        .map_err(|error| refused(rejection(algorithm, &error.to_string())))?;
        Self::build(algorithm, pair, Zeroizing::new(der.to_vec()))
    }

    /// Reads the one private key of a PEM text: PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// When there is no private key or more than one, when it is encrypted, or for the reasons of
    /// [`LocalSigner::from_pkcs8`].
    pub fn from_pem(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let refused = |reason: &'static str| KeyError::Private { algorithm, form: "PEM", reason };
        let (label, der) = pem::private_key(text).map_err(refused)?;
        let pair = match (label, algorithm) {
            (Label::Pkcs8, _) => return Self::from_pkcs8(algorithm, &der),
            _ if !der::is_one_sequence(&der) => return Err(refused("bytes that are not exactly one DER document")),
            (Label::Pkcs1, Algorithm::Rs256 | Algorithm::Ps256) => {
                RsaKeyPair::from_der(&der).map(|pair| Pair::Rsa(pair, rsa_encoding(algorithm)))
            }
            (Label::Sec1, Algorithm::Es256 | Algorithm::Es384) => {
                EcdsaKeyPair::from_private_key_der(ecdsa_algorithm(algorithm), &der).map(Pair::Ecdsa)
            }
            (Label::Pkcs1, _) => return Err(refused("an RSA key; hint: the key decides the algorithm")),
            (Label::Sec1, _) => return Err(refused("an EC key; hint: the key decides the algorithm")),
        }
        .map_err(|error| refused(rejection(algorithm, &error.to_string())))?;
        let pkcs8 = pair.to_pkcs8().ok_or(KeyError::Generate { algorithm })?;
        Self::build(algorithm, pair, pkcs8)
    }

    /// Makes a new key: RSA with 2048 bits, the algorithm's curve, or Ed25519.
    ///
    /// RSA generation takes a tenth of a second and more.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when aws-lc has no randomness or memory.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate { algorithm };
        let pair = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?, rsa_encoding(algorithm))
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                Pair::Ecdsa(EcdsaKeyPair::generate(ecdsa_algorithm(algorithm)).map_err(failed)?)
            }
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        let pkcs8 = pair.to_pkcs8().ok_or(KeyError::Generate { algorithm })?;
        Self::build(algorithm, pair, pkcs8)
    }

    fn build(algorithm: Algorithm, pair: Pair, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let public = match &pair {
            Pair::Rsa(pair, _) => PublicKey::from_rsa_der(algorithm, pair.public_key().as_ref())?,
            Pair::Ecdsa(pair) => PublicKey::from_ec_point(algorithm, pair.public_key().as_ref())?,
            Pair::Ed25519(pair) => PublicKey::from_ed25519(pair.public_key().as_ref())?,
        };
        Ok(Self { public, pair, pkcs8 })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The private key as PKCS#8 DER: the bytes it was read from, or the encoding of a generated or converted key
    /// (Ed25519 as version 1, the form that every tool reads).
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// Signs without the port's `async`: a local signature never waits.
    ///
    /// # Errors
    /// [`SignError::Failed`] when aws-lc cannot sign.
    pub fn sign_now(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a signature's blinding and nonce are drawn here and nowhere else"
        )]
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, signing_input, &mut signature).map_err(|_| SignError::Failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, signing_input).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                let signature = pair.try_sign(signing_input).map_err(|_| SignError::Failed)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

#[async_trait]
impl Signer for LocalSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign_now(signing_input)
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalSigner({:?}, private half hidden)", self.public)
    }
}

impl Pair {
    fn to_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let copy = |document: &[u8]| Zeroizing::new(document.to_vec());
        match self {
            Self::Rsa(pair, _) => {
                let document: Pkcs8V1Der<'_> = pair.as_der().ok()?;
                Some(copy(document.as_ref()))
            }
            Self::Ecdsa(pair) => Some(copy(pair.to_pkcs8v1().ok()?.as_ref())),
            Self::Ed25519(pair) => Some(copy(pair.to_pkcs8v1().ok()?.as_ref())),
        }
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        _ => &RSA_PKCS1_SHA256,
    }
}

fn ecdsa_algorithm(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

/// aws-lc-rs names the reason in one word; the words an operator can act on are explained.
fn rejection(algorithm: Algorithm, reason: &str) -> &'static str {
    match (reason, algorithm) {
        ("TooSmall", _) => "an RSA key of less than 2048 bits; hint: make a new key",
        ("TooLarge", _) => "an RSA key of more than 8192 bits",
        ("WrongAlgorithm", _) => "a key of another type; hint: the key decides the algorithm",
        ("InconsistentComponents", _) => "halves that do not belong together",
        (_, Algorithm::Es256 | Algorithm::Es384) => "something else; hint: is the key on this algorithm's curve?",
        _ => "something that aws-lc cannot read as such a key",
    }
}
