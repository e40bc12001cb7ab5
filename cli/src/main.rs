//! The init container and the sidecar.
fn main() {}
