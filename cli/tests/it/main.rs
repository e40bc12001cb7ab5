//! The command-line tools as their users run them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod generator;
#[cfg(feature = "operator")]
mod operator;
