//! What users of token-jose rely on, in one test binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy exempts test functions, but not the helpers beside them"
)]
#![expect(clippy::needless_pass_by_value, reason = "builders of documents read better when they take `json!` values")]

mod dpop;
mod dpop_properties;
mod foreign;
mod interop;
mod keyset;
mod private_keys;
mod properties;
mod refusals;
mod ring;
mod standards;
mod strict_json;
mod support;
mod wycheproof_vectors;
