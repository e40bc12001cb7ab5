//! The signature algorithms this project speaks, and nothing else.

use std::fmt;
use std::str::FromStr;

use crate::text;

/// A JWS signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
///
/// The list is closed: `none` and the HMAC family cannot be expressed, so no code path can be talked into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256; the signature is `r || s`, 64 bytes.
    Es256,
    /// ECDSA on P-384 with SHA-384; the signature is `r || s`, 96 bytes.
    Es384,
    /// Ed25519 (JOSE calls it `EdDSA`); the signature is 64 bytes.
    EdDsa,
}

/// What RFC 9864 section 2.2 calls `EdDSA` with Ed25519.
const FULLY_SPECIFIED: &str = "Ed25519";

/// The `alg` that was read is none of [`Algorithm::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected one of RS256, PS256, ES256, ES384, EdDSA, found {found}; hint: names are case-sensitive (RFC 7515 section 4.1.1)"
)]
pub struct UnknownAlgorithm {
    found: String,
}

impl Algorithm {
    /// Every algorithm, in the order documents list them.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The JOSE name: `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm that somebody else's header or key means: [`Algorithm::name`], or the name that RFC 9864 section 2.2
    /// registered for Ed25519. Our own tokens never say that one.
    pub(crate) fn from_registered(name: &str) -> Option<Self> {
        if name == FULLY_SPECIFIED { Some(Self::EdDsa) } else { name.parse().ok() }
    }

    /// The names under which DPoP proofs with `algorithms` are accepted: `dpop_signing_alg_values_supported` (RFC 9449
    /// section 5.1).
    #[must_use]
    pub fn proof_names(algorithms: &[Self]) -> Vec<&'static str> {
        let fully_specified = algorithms.contains(&Self::EdDsa).then_some(FULLY_SPECIFIED);
        algorithms.iter().map(|algorithm| algorithm.name()).chain(fully_specified).collect()
    }

    /// The same algorithm in `jsonwebtoken`'s words.
    pub(crate) const fn to_jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithm { found: text::found_str(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_no_other_spelling_does() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let other_case = algorithm.name().to_ascii_lowercase();
            assert!(other_case.parse::<Algorithm>().is_err(), "{other_case}");
        }
        for refused in ["none", "None", "NONE", "", "HS256", "HS384", "RS1", "RS384", "ES256K", "Ed25519", " RS256"] {
            assert!(refused.parse::<Algorithm>().is_err(), "{refused:?}");
        }
    }
}
