//! The `jwt-issuer` Lambda: `POST /token`, authorized by AWS IAM, answers with a signed JWT for whoever signed the request.
//!
//! What it is: [`App`], the door between API Gateway's event and [`token_issuance::TokenIssuer`]. What it is not: a mapping,
//! a signature, a store.
//!
//! Invariants:
//! - the caller is who API Gateway's request context says, never what a header, path or body says;
//! - every decision has an id, one log line and one metric, and none of them holds a token, a key or a whole claim set;
//! - a misconfiguration fails the init; it never answers a request.

mod app;
mod audit;
mod config;

pub use app::App;
pub use config::Config;
