//! The store: one set of promises, held by every adapter.

mod conformance;
mod differential;
mod failover;
mod faults;
mod fixture;
mod hostile;
mod scale;
