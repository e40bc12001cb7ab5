//! The use case over documents in memory, and the adapters of this crate under the port's conformance suite.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod documents;
mod issuing;
mod refreshing;
mod rotation_steps;
mod simulation;
