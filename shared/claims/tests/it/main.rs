//! What users of token-claims rely on: principals, mapping documents, the collision proof, claims.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail like tests; clippy's exemption covers only functions marked #[test]"
)]

mod claims;
mod document;
mod hostile_documents;
mod hostile_principals;
mod principal;
mod proof;
mod resolve;
mod soundness;
mod support;
