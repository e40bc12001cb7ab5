//! What users of token-claims rely on: principals, mapping documents, the collision proof, claims.

mod claims;
mod hostile_documents;
mod hostile_principals;
mod principal;
mod proof;
mod resolve;
mod soundness;
mod support;
