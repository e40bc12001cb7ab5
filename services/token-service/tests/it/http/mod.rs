//! The HTTP door, in this process: the router on the in-memory store, with a clock that the tests set.

mod authorize;
mod fixture;
mod hostile;
mod oauth;
mod openapi;
mod parents;
mod tokens;
