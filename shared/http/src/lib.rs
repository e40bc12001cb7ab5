//! The wire: what reaches a Lambda and what leaves it, as values.
//!
//! [`GatewayEvent`] reads API Gateway's REST (v1) and HTTP API (v2) events; [`token_request()`] reads the body of
//! `POST /token` and [`dpop_proof`] its `DPoP` field; [`OAuthError`] turns the use case's error into status, code and text in one exhaustive match;
//! [`WellKnown`] answers for the key set and the metadata. No server, no client, no clock.
//!
//! Invariants:
//! - identity comes from the request context alone, never from a header, path or body;
//! - what a caller sends is parsed strictly: unknown or repeated members are refused, never ignored;
//! - a private key member never leaves through [`WellKnown`].

mod dpop;
mod error;
mod event;
mod response;
mod token_request;
mod well_known;

pub use dpop::dpop_proof;
pub use error::OAuthError;
pub use event::{Caller, Door, EventError, GatewayEvent, is_organization_id, without_stage};
pub use response::{GatewayResponse, token_response};
pub use token_request::{MAX_BODY_BYTES, token_request};
pub use well_known::{Published, WellKnown, WellKnownError, is_issuer};
