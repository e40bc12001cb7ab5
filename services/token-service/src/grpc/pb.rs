//! The messages and services that the proto files describe, as build.rs compiles them.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    clippy::needless_pass_by_value,
    clippy::indexing_slicing,
    reason = "generated code"
)]

/// The former contract.
pub mod auth {
    /// Shared messages.
    pub mod common {
        tonic::include_proto!("auth.common");
    }
    /// `auth.token.TokenService`.
    pub mod token {
        tonic::include_proto!("auth.token");
    }
}

/// The contract for new clients.
pub mod token {
    /// `token.v1.TokenService`.
    pub mod v1 {
        tonic::include_proto!("token.v1");
    }
}

/// Descriptors of both, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/token_descriptor.bin"));
