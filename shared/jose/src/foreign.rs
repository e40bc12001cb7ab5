//! Key sets of other issuers: Kubernetes, GitHub, AWS STS, EKS, an identity provider.

use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::key::{KeyError, PRIVATE_MEMBERS, PublicKey};
use crate::strict_json::{self, Limits, StrictJsonError};
use crate::text::found;

/// The public keys of another issuer, read from its JWK Set (RFC 7517 section 5).
///
/// Unlike a [`crate::KeySet`], a `kid` here is any string that the issuer chose, or absent, and nothing that the issuer adds
/// is a reason to refuse its set. What this project does not verify with, is left out and counted: encryption keys, other
/// curves and algorithms, RSA below 2048 bits, points off their curve.
///
/// ```
/// let set = br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"of 2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}]}"#;
/// let keys = token_jose::ForeignKeys::parse(set)?;
/// assert_eq!((keys.len(), keys.skipped()), (1, 1));
/// assert!(keys.contains("of 2026"));
/// # Ok::<(), token_jose::ForeignKeysError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ForeignKeys {
    keys: Vec<ForeignKey>,
    skipped: usize,
}

/// One key, once per algorithm that it may verify: an RSA key without `alg` is two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ForeignKey {
    kid: Option<String>,
    uses: Vec<PublicKey>,
}

/// Why another issuer's key set was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignKeysError {
    /// The document is not strict JSON, or no object.
    #[error(transparent)]
    Json(#[from] StrictJsonError),
    /// The document is JSON, but has no array of keys.
    #[error("keys: expected an array of JWKs (RFC 7517 section 5), found {found}")]
    NotASet {
        /// What was there.
        found: String,
    },
    /// The set publishes private or symmetric key material, so everybody can sign as this issuer.
    #[error(
        "keys[{index}]: expected public keys only, found the private member \"{member}\"; hint: this issuer has published a secret, so nothing that it signs can be believed; tell its operator"
    )]
    PrivateMember {
        /// The position in `keys`.
        index: usize,
        /// The member's name; never its value.
        member: &'static str,
    },
}

impl ForeignKeys {
    /// The largest key set that is read.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// Reads a JWK Set.
    ///
    /// A set without any key that can be used is no error: its issuer may have withdrawn them all, and then every token is
    /// refused.
    ///
    /// # Errors
    /// When the document is over [`ForeignKeys::MAX_BYTES`], is not strict JSON, has no array `keys`, or has a key with a
    /// private or symmetric member.
    pub fn parse(json: &[u8]) -> Result<Self, ForeignKeysError> {
        let document = strict_json::parse_object(json, Limits::new(Self::MAX_BYTES, 8))?;
        let Some(Value::Array(keys)) = document.get("keys") else {
            return Err(ForeignKeysError::NotASet { found: found(document.get("keys")) });
        };
        let mut set = Self::default();
        for (index, jwk) in keys.iter().enumerate() {
            let members = jwk.as_object();
            let private = PRIVATE_MEMBERS.into_iter().find(|name| members.is_some_and(|jwk| jwk.contains_key(*name)));
            if let Some(member) = private {
                return Err(ForeignKeysError::PrivateMember { index, member });
            }
            match members.and_then(foreign_key) {
                // The same key listed again is one key.
                Some(key) if set.keys.contains(&key) => {}
                Some(key) => set.keys.push(key),
                None => set.skipped += 1,
            }
        }
        Ok(set)
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there is no key that can be used, so that every token is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the document cannot be used here.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether a usable key has this `kid`. A cache that finds none reads the set anew before it refuses.
    #[must_use]
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The different keys for `algorithm`: those named `kid`, or all of them.
    pub(crate) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&PublicKey> {
        let named = self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let mut candidates: Vec<&PublicKey> = Vec::new();
        for key in named.flat_map(|key| &key.uses).filter(|key| key.algorithm() == algorithm) {
            if !candidates.contains(&key) {
                candidates.push(key);
            }
        }
        candidates
    }
}

/// The key, or nothing when this project does not verify with its like.
fn foreign_key(jwk: &Map<String, Value>) -> Option<ForeignKey> {
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return None,
    };
    let first = bare_key(jwk, None).ok()?;
    let mut uses = vec![first];
    if uses.iter().any(|key| key.algorithm() == Algorithm::Rs256) && !jwk.contains_key("alg") {
        uses.extend(bare_key(jwk, Some(Algorithm::Ps256)).ok());
    }
    Some(ForeignKey { kid, uses })
}

/// Reads the public key in a JWK that somebody else made: its `kid` may be any, members that say nothing about the key
/// (`x5c`, `x5u`, `x5t`, `ext`, …) are not looked at, and `Ed25519` in `alg` is `EdDSA` (RFC 9864 section 2.2).
pub(crate) fn bare_key(jwk: &Map<String, Value>, assumed: Option<Algorithm>) -> Result<PublicKey, KeyError> {
    const READ: [&str; 9] = ["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg"];
    let mut members: Map<String, Value> = jwk
        .iter()
        .filter(|(name, _)| READ.contains(&name.as_str()) || PRIVATE_MEMBERS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(alg) = members.get_mut("alg")
        && let Some(algorithm) = alg.as_str().and_then(Algorithm::from_registered)
    {
        *alg = algorithm.name().into();
    }
    PublicKey::from_members(&members, assumed)
}
