//! The HTTP door: the former service's API, the OAuth face, external authorization, the public documents.
//!
//! It translates, and decides nothing about tokens: [`crate::service`] does. What it does decide is who speaks
//! (`caller`), in which form (`form`), and where an original request's method and path come from (`authorize`).
//!
//! Invariants:
//! - nothing is minted, read or revoked before the caller, or the token that is itself the authority, has been verified;
//! - a header that decides is there once or the request is refused; a member or parameter is there once;
//! - paths are matched as received, never decoded or normalised first: whatever begins with `/authorize/` is a question about
//!   another request and reaches no other route, and nothing else reaches `/authorize`;
//! - whatever holds a token is `no-store`;
//! - every answer has `X-Decision-Id`, which the log line has too.

mod answer;
mod authorize;
mod caller;
mod client;
mod error;
mod form;
mod health;
mod oauth;
mod parents;
mod stream;
mod tokens;
mod well_known;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, delete, get, post};
use http::StatusCode;
use token_http::{WellKnown, WellKnownError};
use token_server::{Rate, RateLimiter, Readiness};

use crate::observe::{Decision, DoorName, Observe};
use crate::service::TokenService;

pub use authorize::{FORWARDED_HEADERS, IDENTITY_HEADERS};

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What is sent to clients as the OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Which proxy asks at `/authorize`, and therefore where method and path of the original request are. Nothing else is looked
/// at: a header of another proxy's convention is a client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorizeMode {
    /// Envoy's HTTP `ext_authz` with `path_prefix: /authorize`: the request's own method, and its path after the prefix.
    #[default]
    EnvoyHttp,
    /// nginx's `auth_request`: `X-Original-Method` and `X-Original-URI`, which the configuration must set.
    Nginx,
    /// Traefik's `forwardAuth`: `X-Forwarded-Method` and `X-Forwarded-Uri`, which Traefik sets.
    Traefik,
}

/// A text that names no [`AuthorizeMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected envoy-http, nginx or traefik, found another text")]
pub struct UnknownAuthorizeMode;

impl FromStr for AuthorizeMode {
    type Err = UnknownAuthorizeMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "envoy-http" => Ok(Self::EnvoyHttp),
            "nginx" => Ok(Self::Nginx),
            "traefik" => Ok(Self::Traefik),
            _ => Err(UnknownAuthorizeMode),
        }
    }
}

impl fmt::Display for AuthorizeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EnvoyHttp => "envoy-http",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
        })
    }
}

/// How often one caller, or one parent, may have tokens minted: shared by all doors of the process.
pub type MintLimiter = RateLimiter<String>;

/// What a new [`MintLimiter`] gives each caller per minute, and how many callers and parents it tells apart.
pub const MINTS_PER_MINUTE: u32 = 600;
/// How many callers and parents a [`MintLimiter`] tells apart.
pub const MINT_KEYS: usize = 100_000;

/// The usual limit of minting.
#[must_use]
pub fn mint_limiter() -> Arc<MintLimiter> {
    Arc::new(RateLimiter::new(Rate::per_minute(MINTS_PER_MINUTE), MINT_KEYS))
}

/// How streams behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// How often the store is asked per family that has streams open: the bound within which a revocation ends them.
    pub poll: Duration,
    /// How often a stream that has nothing to say says so.
    pub heartbeat: Duration,
    /// After which time a client connects again.
    pub retry: Duration,
}

impl Default for StreamOptions {
    /// The store every 5 s, a heartbeat every 10 s, again after 3 s.
    fn default() -> Self {
        Self { poll: Duration::from_secs(5), heartbeat: Duration::from_secs(10), retry: Duration::from_secs(3) }
    }
}

/// What the door needs beside the service.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Which proxy asks at `/authorize`.
    pub mode: AuthorizeMode,
    /// Log and numbers.
    pub observe: Observe,
    /// What `/health` shows.
    pub readiness: Readiness,
    /// Limit of minting.
    pub minting: Arc<MintLimiter>,
    /// Streams.
    pub streams: StreamOptions,
    /// The public documents: caching.
    pub well_known: WellKnown,
    /// The member `redis` of a healthy `/health`: `connected`, or `embedded` where the store is in this process.
    pub store: &'static str,
}

impl HttpOptions {
    /// Options for `issuer` with the usual limits: [`MINTS_PER_MINUTE`], key set cached for 300 s, an embedded store.
    ///
    /// # Errors
    /// When `issuer` is none that verifiers can take.
    pub fn new(issuer: &str, observe: Observe, readiness: Readiness) -> Result<Self, WellKnownError> {
        Ok(Self {
            mode: AuthorizeMode::default(),
            observe,
            readiness,
            minting: mint_limiter(),
            streams: StreamOptions::default(),
            well_known: WellKnown::new(issuer, 300, 300)?,
            store: "embedded",
        })
    }
}

/// What every handler has.
#[derive(Clone)]
struct Door(Arc<Inner>);

struct Inner {
    service: Arc<TokenService>,
    options: HttpOptions,
    hub: stream::Hub,
}

impl Door {
    fn service(&self) -> &TokenService {
        &self.0.service
    }

    fn observe(&self) -> &Observe {
        &self.0.options.observe
    }

    fn decision(&self, operation: &'static str) -> Decision {
        Decision::new(self.service().decision_id(), DoorName::Http, operation)
    }

    /// The JOSE name of what signs now, for the metrics.
    async fn algorithm(&self) -> &'static str {
        self.service().keys().algorithm(self.service().now()).await
    }
}

/// All routes of the HTTP door. `/healthz`, `/readyz` and `/metrics` are [`token_server::health_router`]'s, merged beside it.
pub fn router(service: Arc<TokenService>, options: HttpOptions) -> Router {
    let hub = stream::Hub::new(Arc::clone(&service), options.streams);
    let door = Door(Arc::new(Inner { service, options, hub }));
    Router::new()
        .route("/tokens", post(tokens::create))
        .route("/token-pairs", post(tokens::create_pair))
        .route("/renew", post(parents::renew))
        .route("/tokens/latest", get(parents::latest))
        .route("/tokens/stream", get(stream::open))
        .route("/tokens/{id}", delete(tokens::revoke))
        .route("/users/{id}/tokens", delete(tokens::revoke_user))
        .route("/authorize", any(authorize::authorize))
        .route("/authorize/", any(authorize::authorize))
        .route("/authorize/{*path}", any(authorize::authorize))
        .route("/oauth2/token", post(oauth::token))
        .route("/oauth2/introspect", post(oauth::introspect))
        .route("/oauth2/revoke", post(oauth::revoke))
        .route("/.well-known/jwks.json", get(well_known::keys))
        .route("/.well-known/openid-configuration", get(well_known::openid))
        .route("/.well-known/oauth-authorization-server", get(well_known::oauth))
        .route("/.well-known/oauth-authorization-server/{*path}", get(well_known::oauth))
        .route("/openapi.json", get(well_known::openapi))
        .route("/health", get(health::health))
        .fallback(|| async { error::plain(StatusCode::NOT_FOUND, "Not found", "expected a path of this service") })
        .method_not_allowed_fallback(|| async {
            let message = "expected another method; hint: see the Allow header";
            error::plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(door)
}
