//! What a caller is told when there is no token.

use http::StatusCode;
use token_claims::Refusal;
use token_issuance::IssueError;
use token_jose::{ProofError, SignError};

/// An error in the form of RFC 6749 section 5.2: a status, a code and a text for the caller. What the log needs is in the
/// error it was made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {description}")]
pub struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

impl OAuthError {
    /// 400 `invalid_request`: what was expected and what was found.
    pub fn invalid_request(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// 400 `invalid_target` (RFC 8693 section 2.2.2): the audience.
    pub fn invalid_target(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", description)
    }

    /// 400 `invalid_scope`.
    pub fn invalid_scope(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }

    /// 400 `invalid_dpop_proof` (RFC 9449 section 5).
    pub fn invalid_dpop_proof(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_dpop_proof", description)
    }

    /// 401: the request carries no IAM identity.
    #[must_use]
    pub fn no_identity() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "expected a request signed with AWS credentials (SigV4), found no IAM identity; hint: the method needs AWS_IAM authorization",
        )
    }

    /// 403 `access_denied`.
    pub fn access_denied(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// 404: no such route.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "expected POST /token, found another path")
    }

    /// 405, with the methods there are.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let description = format!("expected {allow}, found another method");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", description) }
    }

    /// 413, naming the bound.
    #[must_use]
    pub fn body_too_large(most: usize) -> Self {
        let description = format!("expected a body of at most {most} bytes, found a larger one");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", description)
    }

    /// 415.
    pub fn unsupported_media_type(description: impl AsRef<str>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", description)
    }

    /// 429 `temporarily_unavailable` with `Retry-After`: the budget of signatures is spent.
    #[must_use]
    pub fn too_many_requests(retry_after_s: u64) -> Self {
        let description = "too many tokens are asked for at once; hint: ask again after the pause";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..error }
    }

    /// 503 `temporarily_unavailable` with `Retry-After`: our own trouble is never 401, on which clients throw tokens away.
    pub fn unavailable(description: impl AsRef<str>, retry_after_s: u64) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..error }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The OAuth error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The text for the caller: printable ASCII without `"` and `\` (RFC 6749 section 5.2).
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Seconds for `Retry-After`.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    /// The methods for `Allow`.
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        self.allow
    }

    fn new(status: StatusCode, code: &'static str, description: impl AsRef<str>) -> Self {
        let description = description
            .as_ref()
            .chars()
            .map(|character| match character {
                '"' => '\'',
                ' '..='[' | ']'..='~' => character,
                _ => '?',
            })
            .collect();
        Self { status, code, description, retry_after_s: None, allow: None }
    }
}

/// The one place where the use case's error becomes a status.
impl From<&IssueError> for OAuthError {
    fn from(error: &IssueError) -> Self {
        let retry_after_s = error.retry_after_s().unwrap_or(1);
        match error {
            IssueError::Refused { refusal, .. } => {
                let reason = refusal.public_reason();
                match refusal {
                    Refusal::Audience { .. } => Self::invalid_target(reason),
                    Refusal::Lifetime { .. } => Self::invalid_request(reason),
                    Refusal::Scope { .. } => Self::invalid_scope(reason),
                    Refusal::NoRule { .. } | Refusal::Session | Refusal::Subject { .. } => Self::access_denied(reason),
                }
            }
            IssueError::NoSigningKey(_) => Self::unavailable(
                format!("no published key can sign now ({}); hint: ask again", error.code()),
                retry_after_s,
            ),
            IssueError::NotUsable(_) => Self::unavailable(
                format!("the issuer cannot read what it needs to decide ({}); hint: ask again", error.code()),
                retry_after_s,
            ),
            IssueError::Sign(SignError::Throttled { .. }) => Self::too_many_requests(retry_after_s),
            IssueError::Claims(_)
            | IssueError::SelfCheck(_)
            | IssueError::Sign(_)
            | IssueError::UnknownAlgorithm(_) => Self::unavailable(
                format!("the token could not be made ({}); hint: ask again", error.code()),
                retry_after_s,
            ),
        }
    }
}

/// A token endpoint's answer: 400 `invalid_dpop_proof`, or `use_dpop_nonce` (RFC 9449 sections 5 and 8). Resources answer 401.
impl From<&ProofError> for OAuthError {
    fn from(error: &ProofError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_signing_budget_is_429_and_other_trouble_503() {
        let spent = OAuthError::from(&IssueError::Sign(SignError::Throttled { retry_after_s: 1 }));
        assert_eq!((spent.status(), spent.retry_after_s()), (StatusCode::TOO_MANY_REQUESTS, Some(1)));
        let failed = OAuthError::from(&IssueError::Sign(SignError::Failed));
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(failed.retry_after_s().is_some());
    }
}
