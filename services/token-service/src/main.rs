//! The token service.
fn main() {}
