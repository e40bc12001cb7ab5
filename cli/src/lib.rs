//! What `jwt-generator` (the init container and the sidecar) and `jwt-operator` (the operator's tool) share.

pub mod exit;
pub mod file;
pub mod generator;
#[cfg(feature = "operator")]
pub mod operator;
