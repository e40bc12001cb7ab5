//! The `key-rotation` and `withdraw` Lambdas: they change which keys the issuer signs with and which verifiers see.
//!
//! What it is: [`RotationApp`], which Secrets Manager calls with its four steps, and [`WithdrawApp`], which an operator
//! calls when a key is in foreign hands; two functions, so that each has its own permissions and alarms. Both are thin
//! over [`token_issuance::rotation`]. What it is not: the rules of which key signs when (`token-jose` has them), or a
//! schedule (Secrets Manager has it).
//!
//! Invariants:
//! - only the configured secret is touched, whatever an event names;
//! - one log line per event and its metrics, none of which holds key material or a text that an event chose;
//! - a misconfiguration fails the init; it never answers an event.

mod audit;
mod config;
mod rotate;
mod withdraw;

pub use config::Config;
pub use rotate::RotationApp;
pub use withdraw::WithdrawApp;

use lambda_runtime::Diagnostic;
use token_issuance::rotation::RotationError;

/// Why an event was not done. Secrets Manager tries a failed rotation again; an operator reads the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The event is none of this function's.
    #[error("{0}")]
    Event(String),
    /// The event is about another secret than the configured one.
    #[error(
        "expected an event of the configured secret {expected}, found another; hint: each secret has a function of its own"
    )]
    OtherSecret {
        /// The configured secret.
        expected: String,
    },
    /// The step, or the withdrawal, was not done.
    #[error(transparent)]
    Rotation(#[from] RotationError),
}

impl Failure {
    /// A stable word for metrics and for Lambda's `errorType`, from a closed set.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::OtherSecret { .. } => "other_secret",
            Self::Rotation(error) => match error {
                RotationError::BadKey { .. } => "bad_key",
                RotationError::KeySet(_) => "key_set",
                RotationError::Lost { .. } => "lost",
                RotationError::NotPending { .. } => "not_pending",
                RotationError::NotReadBack => "not_read_back",
                RotationError::Ring { .. } => "ring",
                RotationError::Setup(_) => "setup",
                RotationError::Store(_) => "store",
                RotationError::TooLarge { .. } => "too_large",
                RotationError::TooSoon { .. } => "too_soon",
                _ => "other",
            },
        }
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: format!("KeyRotation.{}", failure.code()), error_message: failure.to_string() }
    }
}

/// A text of an event as a message may show it: escaped, and cut at 64 characters.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests;
