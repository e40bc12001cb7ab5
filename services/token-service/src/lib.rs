//! The token service: token pairs and refresh families that live as long as they may and die when they must, over HTTP and
//! gRPC.
//!
//! What it is: [`service::TokenService`], the use cases; [`store`], what is remembered and the one atomic decision about a
//! refresh token; [`caller`], who may ask; the doors [`http`] and [`grpc`], which only translate. What it is not: an identity
//! provider. It never sees a password, and mints only what an authenticated caller may ask for.

pub mod caller;
pub mod config;
pub mod grpc;
pub mod http;
pub mod keys;
pub mod observe;
pub mod pem;
pub mod refresh_token;
pub mod run;
pub mod service;
pub mod signers;
pub mod store;
pub mod tokens;
