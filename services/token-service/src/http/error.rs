//! Answers that did not go well, in the two forms that clients of this service read.

use axum::response::Response;
use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use token_server::{HeaderError, RetryAfter};

use super::Door;
use super::answer::{self, DPOP_NONCE};
use crate::observe::{Decision, Outcome};
use crate::service::{GrantProblem, ServiceError};

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) enum Problem {
    /// A use case refused or failed.
    Service(ServiceError),
    /// The request itself: a title in the former service's words, and a detail.
    Request(&'static str, String),
    /// The body is too large.
    TooLarge,
    /// The body is of another type.
    MediaType(&'static str),
    /// There is not exactly one proof.
    BadProof(String),
    /// Too many mints.
    Limited(RetryAfter),
    /// A grant type that there is not.
    GrantType,
    /// A presented parent that does not open what was asked: the words of the former service.
    Parent(StatusCode, &'static str, String),
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<HeaderError> for Problem {
    fn from(error: HeaderError) -> Self {
        Self::Request("Invalid request", error.to_string())
    }
}

/// Which client reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// The former service's clients: `{"error","message"}`; proofs bind what is minted.
    Mint,
    /// The same, where a parent is presented as a token is at a resource: proofs are answered with 401.
    Parent,
    /// OAuth clients: `{"error","error_description"}`.
    OAuth,
}

/// An error in the former service's form.
pub(super) fn plain(status: StatusCode, error: &str, message: &str) -> Response {
    let body = if message.is_empty() { json!({"error": error}) } else { json!({"error": error, "message": message}) };
    answer::json(status, &body)
}

impl Door {
    /// The answer to a request that was refused or failed; its one line is written here.
    pub(super) fn refuse(&self, decision: &Decision, problem: &Problem, face: Face) -> Response {
        let shape = Shape::of(problem, face);
        match problem {
            Problem::Service(error) => self.observe().failed(decision, error, shape.status.as_u16()),
            other => {
                let reason = if shape.message.is_empty() { &shape.error } else { &shape.message };
                let outcome = Outcome::Refused { code: other.code(), status: shape.status.as_u16(), reason };
                self.observe().record(decision, outcome);
            }
        }
        let challenge = self.challenge(problem, face, shape.status);
        let nonce = matches!(problem, Problem::Service(ServiceError::Proof(_)));
        let retry_after_s = match problem {
            Problem::Service(
                ServiceError::Unavailable { retry_after_s, .. } | ServiceError::Throttled { retry_after_s },
            ) => Some(*retry_after_s),
            Problem::Limited(wait) => Some(wait.seconds()),
            _ => None,
        };
        let body = match face {
            Face::OAuth => json!({"error": shape.code, "error_description": ascii(&shape.text())}),
            Face::Mint | Face::Parent if shape.message.is_empty() => json!({"error": shape.error}),
            Face::Mint | Face::Parent => json!({"error": shape.error, "message": shape.message}),
        };
        let mut response = answer::decided(answer::json(shape.status, &body), decision);
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(challenge) = challenge {
            response = answer::with(response, WWW_AUTHENTICATE, &challenge);
        }
        if nonce {
            response = self.with_nonce(response);
        }
        response
    }

    /// Hands out a nonce, which the next proof carries.
    pub(super) fn with_nonce(&self, response: Response) -> Response {
        let response = answer::with(response, DPOP_NONCE, &self.service().nonce());
        // A page of another origin may read it.
        answer::with(response, HeaderName::from_static("access-control-expose-headers"), "DPoP-Nonce, WWW-Authenticate")
    }

    /// `DPoP algs="…"` with an error, as RFC 9449 section 7.1 has it.
    pub(super) fn dpop_challenge(&self, error: Option<(&str, &str)>) -> String {
        let algorithms = token_jose::Algorithm::proof_names(&self.service().rules().proof_algorithms).join(" ");
        match error {
            Some((code, text)) => {
                format!("DPoP error=\"{code}\", error_description=\"{}\", algs=\"{algorithms}\"", ascii(text))
            }
            None => format!("DPoP algs=\"{algorithms}\""),
        }
    }

    fn challenge(&self, problem: &Problem, face: Face, status: StatusCode) -> Option<String> {
        if status != StatusCode::UNAUTHORIZED {
            return None;
        }
        match (face, problem) {
            (Face::OAuth, _) => Some("Basic realm=\"token-service\", charset=\"UTF-8\"".to_owned()),
            (_, Problem::BadProof(text)) => Some(self.dpop_challenge(Some(("invalid_dpop_proof", text)))),
            (_, Problem::Service(error @ ServiceError::Proof(proof))) => {
                Some(self.dpop_challenge(Some((proof.code(), &error.to_string()))))
            }
            (
                _,
                Problem::Service(error @ (ServiceError::ProofReplayed | ServiceError::Grant(GrantProblem::Unproven))),
            ) => Some(self.dpop_challenge(Some(("invalid_dpop_proof", &error.to_string())))),
            (Face::Mint, _) => Some("Bearer realm=\"token-service\"".to_owned()),
            (Face::Parent, _) => Some("Bearer realm=\"token-service\", error=\"invalid_token\"".to_owned()),
        }
    }
}

/// `error_description` and quoted strings take printable ASCII without `"` and `\` (RFC 6749 section 5.2).
pub(super) fn ascii(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            ' '..='[' | ']'..='~' => character,
            _ => '?',
        })
        .collect()
}

impl Problem {
    fn code(&self) -> &'static str {
        match self {
            Self::Service(error) => error.code(),
            Self::Request(..) => "bad_request",
            Self::TooLarge => "too_large",
            Self::MediaType(_) => "media_type",
            Self::BadProof(_) => "invalid_dpop_proof",
            Self::Limited(_) => "mint_limit",
            Self::GrantType => "unsupported_grant_type",
            Self::Parent(..) => "bad_parent",
        }
    }
}

/// A bad proof is 400 where something is minted for its key (RFC 9449 section 5), 401 where a token is presented (section 7).
fn proof_status(face: Face) -> StatusCode {
    if face == Face::Parent { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST }
}

/// A problem as it is told.
struct Shape {
    status: StatusCode,
    /// OAuth's code.
    code: &'static str,
    /// The former service's `error`.
    error: String,
    /// The former service's `message`; may be empty.
    message: String,
}

impl Shape {
    fn new(status: StatusCode, code: &'static str, error: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code, error: error.into(), message: message.into() }
    }

    fn text(&self) -> String {
        if self.message.is_empty() { self.error.clone() } else { self.message.clone() }
    }

    /// The one place where a problem becomes a status.
    fn of(problem: &Problem, face: Face) -> Self {
        match problem {
            Problem::Service(error) => Self::of_service(error, face),
            Problem::Request(title, detail) => Self::new(StatusCode::BAD_REQUEST, "invalid_request", *title, detail),
            Problem::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "Request body too large",
                format!("expected a body of at most {} bytes, found a larger one", super::MAX_BODY_BYTES),
            ),
            Problem::MediaType(expected) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "Unsupported media type",
                format!("expected Content-Type: {expected}, found another or none"),
            ),
            Problem::BadProof(text) => Self::new(proof_status(face), "invalid_dpop_proof", "Invalid DPoP proof", text),
            Problem::Limited(_) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                "Too many requests",
                "more tokens are asked for than this caller may have; hint: ask again after the pause",
            ),
            Problem::GrantType => Self::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Unsupported grant type",
                "grant_type: expected client_credentials or refresh_token, found another",
            ),
            Problem::Parent(status, error, message) => Self::new(
                *status,
                if *status == StatusCode::FORBIDDEN { "access_denied" } else { "invalid_token" },
                *error,
                message,
            ),
        }
    }

    fn of_service(error: &ServiceError, face: Face) -> Self {
        let text = error.to_string();
        let bad = StatusCode::BAD_REQUEST;
        let proof_status = proof_status(face);
        match error {
            ServiceError::Invalid(_) => Self::new(bad, "invalid_request", text, ""),
            ServiceError::Scope(_) => Self::new(bad, "invalid_scope", text, ""),
            ServiceError::Target(_) => Self::new(bad, "invalid_target", text, ""),
            ServiceError::Unauthenticated(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "Unauthorized", text)
            }
            ServiceError::Forbidden(_) if face == Face::OAuth => {
                Self::new(bad, "unauthorized_client", "Forbidden", text)
            }
            ServiceError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "unauthorized_client", "Forbidden", text),
            ServiceError::Grant(GrantProblem::Unproven) => {
                Self::new(proof_status, "invalid_dpop_proof", "DPoP proof required", text)
            }
            ServiceError::Grant(problem) => {
                let (status, error) = match problem {
                    _ if face == Face::OAuth => (bad, "Invalid grant"),
                    GrantProblem::Revoked | GrantProblem::Reused => {
                        (StatusCode::FORBIDDEN, "Parent token has been revoked")
                    }
                    GrantProblem::Invalid | GrantProblem::Expired | GrantProblem::Unproven => {
                        (StatusCode::UNAUTHORIZED, "Invalid parent token")
                    }
                };
                Self::new(status, "invalid_grant", error, text)
            }
            ServiceError::Proof(proof) => Self::new(proof_status, proof.code(), "Invalid DPoP proof", text),
            ServiceError::ProofReplayed => Self::new(proof_status, "invalid_dpop_proof", "Invalid DPoP proof", text),
            ServiceError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", text, ""),
            ServiceError::Throttled { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "Too many requests", text)
            }
            ServiceError::Unavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "Service temporarily unavailable",
                text,
            ),
        }
    }
}
