//! The use case over documents in memory, and the adapters of this crate under the port's conformance suite.

mod documents;
mod issuing;
mod refreshing;
