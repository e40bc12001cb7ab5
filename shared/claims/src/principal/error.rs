use thiserror::Error;

/// Why a caller is not a [`Principal`](super::Principal). Foreign text in it is quoted, escaped and at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PrincipalError {
    /// The request carries no identity at all: it was not signed, or the door is not an IAM door. HTTP 401.
    #[error("expected {what}, found none; hint: sign the request with SigV4 (service execute-api)")]
    Missing {
        /// What is absent.
        what: &'static str,
    },
    /// A value is longer than its authority allows.
    #[error("expected {what} of at most {max} bytes, found {found} bytes")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
        /// The length found in bytes.
        found: usize,
    },
    /// A value does not have the form that its authority gives it.
    #[error("expected {what} ({expected}), found {found}")]
    Malformed {
        /// Which value.
        what: &'static str,
        /// Its form.
        expected: &'static str,
        /// The value, quoted.
        found: String,
    },
    /// Two parts of the request context name different callers.
    #[error("expected {what} to be {expected} as userArn says, found {found}")]
    Disagreement {
        /// Which part.
        what: &'static str,
        /// What the ARN says, quoted.
        expected: String,
        /// What the part says, quoted.
        found: String,
    },
    /// A role that borrows the reserved prefix without having the whole form.
    #[error(
        "expected a role named AWSReservedSSO_<permission set>_<16 lower-case hex digits>, found {found}; hint: the \
         prefix is reserved for IAM Identity Center, so no rule admits this role"
    )]
    ReservedRole {
        /// The role name, quoted.
        found: String,
    },
}

impl PrincipalError {
    /// Whether the request carried no identity (401) rather than an unusable one (403).
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
