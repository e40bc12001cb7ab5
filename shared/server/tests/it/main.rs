//! The kit as its users meet it: on real sockets, and as a process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod grpc;
mod health;
mod kit;
mod limits;
mod process;
mod properties;
mod slow;
mod telemetry;
mod tls;
