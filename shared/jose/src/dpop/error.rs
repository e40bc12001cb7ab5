//! Why a proof was refused.

use jiff::Timestamp;

use crate::jws::{JwsError, Part};
use crate::key::KeyError;
use crate::strict_json::StrictJsonError;

/// Why a proof was refused. Messages quote foreign text bounded and escaped, and never the proof or a token.
///
/// Until the signature has been verified with the embedded key, nothing about the payload is judged or reported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Too long, or not three parts of canonical base64url.
    #[error("the DPoP proof is no compact JWS: {0}")]
    Malformed(JwsError),
    /// Header or payload is not one strict JSON object.
    #[error("the DPoP proof's {part}: {error}")]
    Json {
        /// Which part.
        part: Part,
        /// What is wrong with it.
        error: StrictJsonError,
    },
    /// The header changes how the proof would have to be read: `crit`, `b64`, `enc` or `zip`.
    #[error("the DPoP proof's header: expected no member that changes its processing, found {member}")]
    HeaderMember {
        /// The member.
        member: &'static str,
    },
    /// `typ` is not `dpop+jwt`.
    #[error("the DPoP proof's header: expected typ \"dpop+jwt\", found {found}")]
    InvalidType {
        /// The proof's.
        found: String,
    },
    /// `alg` is missing, none of the accepted ones, symmetric or `none`.
    #[error("the DPoP proof's header: expected alg {expected}, found {found}")]
    UnsupportedAlgorithm {
        /// The accepted ones.
        expected: String,
        /// The proof's.
        found: String,
    },
    /// `jwk` carries a private or symmetric member: the client has sent its secret.
    #[error(
        "the DPoP proof's jwk: expected a public key, found the private member \"{member}\"; hint: this key is exposed, make another and send only its public half"
    )]
    PrivateKey {
        /// The member's name; never its value.
        member: &'static str,
    },
    /// `jwk` is missing, or no key that fits `alg`.
    #[error("the DPoP proof's key: {0}")]
    Key(KeyError),
    /// The signature is not the embedded key's signature of this proof.
    #[error("the DPoP proof: expected a signature by the key in its jwk, found another")]
    InvalidSignature,
    /// A required claim is missing, or a claim has another form than expected.
    #[error("the DPoP proof's claim {claim}: expected {expected}, found {found}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// What it should have been.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// `htm` is not the request's method. Methods are case-sensitive (RFC 9110 section 9.1).
    #[error("the DPoP proof's claim htm: expected {expected}, found {found}; hint: methods are case-sensitive")]
    HtmMismatch {
        /// The request's method.
        expected: String,
        /// The proof's.
        found: String,
    },
    /// `htu` is none of the request's public URIs.
    #[error("the DPoP proof's claim htu: expected {expected}, found {found}; hint: the URI as the client sees it")]
    HtuMismatch {
        /// The public URIs.
        expected: String,
        /// The proof's.
        found: String,
    },
    /// An access token is presented, and the proof has no `ath`.
    #[error("the DPoP proof's claim ath: expected the SHA-256 of the access token in base64url, found nothing")]
    MissingAth,
    /// `ath` is another token's.
    #[error("the DPoP proof's claim ath: expected the SHA-256 of this access token in base64url, found another value")]
    AthMismatch,
    /// The proof was not made just now, and no nonce can heal that: this door issues none.
    #[error(
        "the DPoP proof's claim iat: expected a time from {past_s} s before to {ahead_s} s after {now}, found {found}; hint: compare the clocks, and make a new proof for every request"
    )]
    InvalidIat {
        /// How old a proof may be, in seconds.
        past_s: i64,
        /// How far a client's clock may be ahead, in seconds.
        ahead_s: i64,
        /// The verifier's time.
        now: Timestamp,
        /// The proof's `iat`.
        found: String,
    },
    /// The same proof with a nonce of ours, which the answer carries, would be accepted.
    #[error(
        "the DPoP proof: expected a current nonce, found {0}; hint: repeat the request with the DPoP-Nonce of this answer"
    )]
    UseNonce(Retry),
}

/// What was wrong with a proof that a nonce heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// There is no nonce, and this door wants one.
    Missing,
    /// The nonce is not ours, or no longer accepted.
    Stale,
    /// There is no nonce, and `iat` is out of its window: the clocks differ, or the proof was kept.
    Clock,
}

impl std::fmt::Display for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "none",
            Self::Stale => "one that is not of this server or is no longer accepted",
            Self::Clock => "none, and an iat too far from this server's clock",
        })
    }
}

impl ProofError {
    /// The OAuth error code: `use_dpop_nonce` (RFC 9449 section 8) where a nonce heals it, else `invalid_dpop_proof`
    /// (section 5 and 7.1).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UseNonce(_) => "use_dpop_nonce",
            _ => "invalid_dpop_proof",
        }
    }

    /// A short stable name for metrics and log fields, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Json { .. } => "malformed",
            Self::HeaderMember { .. } => "header",
            Self::InvalidType { .. } => "invalid_type",
            Self::UnsupportedAlgorithm { .. } => "unsupported_algorithm",
            Self::PrivateKey { .. } => "private_key",
            Self::Key(_) => "invalid_key",
            Self::InvalidSignature => "invalid_signature",
            Self::Claim { .. } => "claim",
            Self::HtmMismatch { .. } => "htm_mismatch",
            Self::HtuMismatch { .. } => "htu_mismatch",
            Self::MissingAth => "missing_ath",
            Self::AthMismatch => "ath_mismatch",
            Self::InvalidIat { .. } => "invalid_iat",
            Self::UseNonce(_) => "use_nonce",
        }
    }
}

impl From<JwsError> for ProofError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Json { part, error } => Self::Json { part, error },
            other => Self::Malformed(other),
        }
    }
}

impl From<KeyError> for ProofError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::PrivateMember { member } => Self::PrivateKey { member },
            other => Self::Key(other),
        }
    }
}
