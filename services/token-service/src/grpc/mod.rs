//! The gRPC door: `token.v1.TokenService`, its former name `auth.token.TokenService`, Envoy's `Authorization/Check`, health
//! and reflection.
//!
//! It translates, and decides nothing about tokens: [`crate::service`] does. Both token services are one implementation
//! (`tokens`) under two sets of messages.
//!
//! Invariants:
//! - nothing is minted, read or revoked before the caller is authenticated; metadata that decides is there once, or the
//!   request is refused;
//! - a status message is a code, or a code and a text that the caller may know: nothing internal;
//! - our own outage is `UNAVAILABLE`, and a denied response 503 to Envoy, never a reason to throw a token away;
//! - on every allow of `Check`, each identity header is set, or removed when there is nothing to say: what a client itself
//!   sends under these names never reaches an upstream.

mod call;
mod check;
mod health;
pub mod pb;
mod services;
mod status;
mod tokens;

use std::sync::Arc;

use token_server::Readiness;

use crate::http::{MintLimiter, mint_limiter};
use crate::observe::Observe;
use crate::service::TokenService;

/// The largest message of the token services, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// What the door needs besides the service.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// What `grpc.health.v1` says.
    pub readiness: Readiness,
    /// Log and numbers.
    pub observe: Observe,
    /// Limit of minting: give the one of the HTTP door, so that a caller has one budget.
    pub minting: Arc<MintLimiter>,
}

impl GrpcOptions {
    /// Options with a limit of minting of its own.
    #[must_use]
    pub fn new(readiness: Readiness, observe: Observe) -> Self {
        Self { readiness, observe, minting: mint_limiter() }
    }
}

/// What every method has.
#[derive(Clone)]
struct Door(Arc<Inner>);

struct Inner {
    service: Arc<TokenService>,
    options: GrpcOptions,
}

impl Door {
    fn service(&self) -> &TokenService {
        &self.0.service
    }

    fn observe(&self) -> &Observe {
        &self.0.options.observe
    }
}

/// The routes of the gRPC door.
pub fn router(service: Arc<TokenService>, options: GrpcOptions) -> axum::Router {
    let health = health::Health::new(options.readiness.clone());
    let door = Door(Arc::new(Inner { service, options }));
    let former = pb::auth::token::token_service_server::TokenServiceServer::new(services::Former(door.clone()));
    let current = pb::token::v1::token_service_server::TokenServiceServer::new(services::Current(door.clone()));
    let mut routes = tonic::service::Routes::new(former.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(current.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(check::AuthorizationServer::new(check::Check(door)))
        .add_service(tonic_health::pb::health_server::HealthServer::new(health));
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "the reflection service is left out"),
    }
    routes.prepare().into_axum_router()
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
