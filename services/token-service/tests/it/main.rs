//! Tests of the token service.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "test code"
)]

mod grpc;
mod http;
mod proxies;
mod service;
mod store;
