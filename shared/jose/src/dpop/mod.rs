//! Proofs of possession (RFC 9449): whether a request's sender holds the private key that he names.

mod error;
mod htu;
mod nonce;
mod proof;

pub use error::{ProofError, Retry};
pub use htu::{Htu, HtuError};
pub use nonce::Nonces;
pub use proof::{MAX_PROOF_BYTES, Proof, ProofExpectation, verify_proof};
