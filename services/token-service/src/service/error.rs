//! Why a use case of the service did not do what was asked. The doors map it to their codes, each in one exhaustive match.

use token_jose::ProofError;

use crate::store::StoreError;

/// The refusal or failure of a use case. Texts are for the caller: they hold no secret and no other user's data.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A parameter is missing or wrong: `name: expected …, found …`.
    #[error("{0}")]
    Invalid(String),
    /// A scope that may not be granted.
    #[error("{0}")]
    Scope(String),
    /// An audience that may not be asked for.
    #[error("{0}")]
    Target(String),
    /// The caller proved no identity.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The refresh or parent token is not one that works; the reason is bounded to this set so that no caller learns more.
    #[error("{}", .0.text())]
    Grant(GrantProblem),
    /// The DPoP proof (RFC 9449).
    #[error("{0}")]
    Proof(#[from] ProofError),
    /// This very proof was used before.
    #[error("the DPoP proof was used before")]
    ProofReplayed,
    /// There is nothing to hand out.
    #[error("{0}")]
    NotFound(String),
    /// Too many requests.
    #[error("too many requests; hint: ask again after the pause")]
    Throttled {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// Our own trouble: a store, a key, a signature. Never a reason to throw a token away.
    #[error("{reason}; hint: ask again")]
    Unavailable {
        /// What is missing, without detail.
        reason: &'static str,
        /// Detail for the log.
        detail: String,
        /// Seconds to wait.
        retry_after_s: u64,
    },
}

/// What is wrong with a refresh or parent token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantProblem {
    /// Not a token of this service, or not for this use.
    Invalid,
    /// Past its lifetime.
    Expired,
    /// Revoked, by itself or with its user.
    Revoked,
    /// Used before: the family is revoked now.
    Reused,
    /// A proof of the bound key is missing.
    Unproven,
}

impl GrantProblem {
    /// The text for the caller.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Invalid => "the token is not valid here",
            Self::Expired => "the token has expired",
            Self::Revoked => "the token has been revoked",
            Self::Reused => "the token was used before; the whole family is revoked",
            Self::Unproven => "the token is bound to a key; hint: send a DPoP proof of that key",
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Reused => "reused",
            Self::Unproven => "unproven",
        }
    }
}

impl ServiceError {
    /// A stable label for metrics and logs, from a closed set.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::Scope(_) => "invalid_scope",
            Self::Target(_) => "invalid_target",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::Grant(problem) => problem.code(),
            Self::Proof(error) => error.code(),
            Self::ProofReplayed => "proof_replayed",
            Self::NotFound(_) => "not_found",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { reason, .. } => reason,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "texts and errors alike, most of them temporaries")]
    pub(crate) fn unavailable(reason: &'static str, detail: impl ToString, retry_after_s: u64) -> Self {
        Self::Unavailable { reason, detail: detail.to_string(), retry_after_s: retry_after_s.max(1) }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        Self::unavailable("store_unavailable", &error, error.retry_after_s())
    }
}
