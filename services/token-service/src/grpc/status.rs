//! From the service's errors to gRPC statuses: the one place where a code is chosen.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::service::{GrantProblem, ServiceError};

/// Why a call was not answered as asked.
#[derive(Debug)]
pub(super) enum Problem {
    /// A use case refused or failed.
    Service(ServiceError),
    /// Something has to be different first.
    Precondition(&'static str),
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

/// A problem as it is told.
#[derive(Debug)]
pub(super) struct Shape {
    /// The gRPC code.
    pub(super) code: Code,
    /// The message: a name of the closed set, where the caller can mend something followed by what.
    pub(super) message: String,
    /// More for the caller, in metadata `error-description`.
    pub(super) description: String,
    /// Seconds to wait, in metadata `retry-after`.
    pub(super) retry_after_s: Option<u64>,
    /// Whether the next proof should carry a nonce.
    pub(super) nonce: bool,
}

impl Shape {
    /// What `problem` is told as.
    pub(super) fn of(problem: &Problem) -> Self {
        let error = match problem {
            Problem::Precondition(text) => {
                let message = format!("FAILED_PRECONDITION: {text}");
                return Self::new(Code::FailedPrecondition, message, text);
            }
            Problem::Service(error) => error,
        };
        let text = error.to_string();
        let mendable = |code, name: &str| Self::new(code, format!("{name}: {text}"), &text);
        match error {
            ServiceError::Invalid(_) => mendable(Code::InvalidArgument, "INVALID_REQUEST"),
            ServiceError::Scope(_) => mendable(Code::InvalidArgument, "INVALID_SCOPE"),
            ServiceError::Target(_) => mendable(Code::InvalidArgument, "INVALID_TARGET"),
            ServiceError::NotFound(_) => mendable(Code::NotFound, "NOT_FOUND"),
            ServiceError::Forbidden(_) => mendable(Code::PermissionDenied, "FORBIDDEN"),
            ServiceError::Unauthenticated(_) => Self::new(Code::Unauthenticated, "UNAUTHENTICATED", &text),
            ServiceError::Grant(GrantProblem::Invalid | GrantProblem::Expired) => {
                Self::new(Code::Unauthenticated, "UNAUTHENTICATED", &text)
            }
            ServiceError::Grant(GrantProblem::Revoked | GrantProblem::Reused) => {
                Self::new(Code::PermissionDenied, "TOKEN_REVOKED", &text)
            }
            ServiceError::Grant(GrantProblem::Unproven) => {
                Self::new(Code::InvalidArgument, "INVALID_DPOP_PROOF", &text)
            }
            ServiceError::Proof(proof) if proof.code() == "use_dpop_nonce" => {
                Self { nonce: true, ..Self::new(Code::InvalidArgument, "USE_DPOP_NONCE", &text) }
            }
            ServiceError::Proof(_) => {
                Self { nonce: true, ..Self::new(Code::InvalidArgument, "INVALID_DPOP_PROOF", &text) }
            }
            ServiceError::ProofReplayed => Self::new(Code::InvalidArgument, "DPOP_REPLAY_DETECTED", &text),
            ServiceError::Throttled { retry_after_s } => {
                let retry_after_s = Some(*retry_after_s);
                Self { retry_after_s, ..Self::new(Code::ResourceExhausted, "RATE_LIMITED", &text) }
            }
            ServiceError::Unavailable { reason, retry_after_s, .. } => {
                let retry_after_s = Some(*retry_after_s);
                Self {
                    retry_after_s,
                    ..Self::new(Code::Unavailable, outage(reason), "our own trouble; hint: ask again")
                }
            }
        }
    }

    fn new(code: Code, message: impl Into<String>, description: &str) -> Self {
        let description = description.to_owned();
        Self { code, message: message.into(), description, retry_after_s: None, nonce: false }
    }

    /// The HTTP status that the code stands for, for the log.
    pub(super) fn http_status(&self) -> u16 {
        match self.code {
            Code::Ok => 200,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            Code::InvalidArgument | Code::FailedPrecondition => 400,
            _ => 500,
        }
    }

    /// The status itself, with `metadata` beside it.
    pub(super) fn into_status(self, mut metadata: MetadataMap) -> Status {
        if let Some(seconds) = self.retry_after_s {
            metadata.insert("retry-after", MetadataValue::from(seconds.max(1)));
        }
        if let Some(value) = ascii(&self.description) {
            metadata.insert("error-description", value);
        }
        Status::with_metadata(self.code, self.message, metadata)
    }
}

/// What is out, in the names of the former contract. A use case's own word for it is for the log.
fn outage(reason: &str) -> &'static str {
    match reason {
        "store_unavailable" => "CACHE_UNAVAILABLE",
        "keys_unavailable" | "ring_retention" | "no_signing_key" | "sign" | "self_check" => "KMS_UNAVAILABLE",
        _ => "SERVICE_UNAVAILABLE",
    }
}

/// A text as metadata can hold it.
pub(super) fn ascii(text: &str) -> Option<MetadataValue<Ascii>> {
    let text: String = text.chars().map(|found| if matches!(found, ' '..='~') { found } else { '?' }).collect();
    text.parse().ok()
}
