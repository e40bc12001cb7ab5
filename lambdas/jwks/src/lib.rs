//! The `jwks` Lambda: serves the public key set and the issuer's metadata to anybody.
//!
//! What it is: [`App`], a cache of the published key set behind [`token_http::WellKnown`]. It holds no secret and has no
//! permission but to read one parameter.
//!
//! Invariants:
//! - what is served was read at most a minute ago, or while the store fails at most an hour ago;
//! - an empty set, a set past its time or one with a private member is never served.

mod app;
mod config;

pub use app::App;
pub use config::Config;
