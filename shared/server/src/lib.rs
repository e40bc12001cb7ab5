//! Kit of the long-running services: what every one of them needs around its routes, and nothing of what it is for.
//!
//! [`Bound`] listens (plain or TLS, HTTP/1.1 and HTTP/2, so gRPC too), a [`Server`] holds the [`Limits`] that all listeners
//! of a process share, [`Shutdown`] ends it without dropping what it has begun, [`Parts`] makes the failure of one part the
//! end of all. [`Readiness`], [`Metrics`] and [`Telemetry`] tell operators how it is. [`RateLimiter`] and [`Breaker`] are
//! values with time as a parameter. No routes of a product, no store, no credential: who a caller is, services decide.
//!
//! Invariants:
//! - every connection, request and stream is bounded in number and time: a peer that sends slowly, takes nothing or says
//!   nothing is cut off;
//! - our own trouble is 503 with `Retry-After` (gRPC `UNAVAILABLE`), never 401, on which clients throw tokens away;
//! - what the framework says in plain text reaches no client: errors are JSON in OAuth's form, or a gRPC status;
//! - health is answered however busy the process is, and readiness never waits for a soft dependency;
//! - no label of a metric can carry what a caller chose;
//! - a [`PeerIdentity`] comes from a verified certificate of the connection itself, never from a header;
//! - a collector of traces that is down or hangs delays no request, and the end by a bounded time.
//!
//! A handler is dropped where it waits when its client goes away or its time is over: what must not be half done is one
//! call to a store.
//!
//! ```
//! use axum::{Router, routing::get};
//! use jiff::Timestamp;
//! use token_server::{Bound, Limits, Listen, Metrics, Parts, Readiness, Server, Shutdown, health_router};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), token_server::ServeError> {
//! let shutdown = Shutdown::default();
//! let metrics = Metrics::new(Timestamp::UNIX_EPOCH); // the start of the process
//! let server = Server::new(Limits::default(), shutdown.clone(), &metrics);
//! let router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .merge(health_router(Readiness::new(shutdown.clone()), metrics));
//! let bound = Bound::bind(&Listen::plain(([127, 0, 0, 1], 0).into())).await?;
//! println!("http://{}", bound.local_addr());
//!
//! let mut parts = Parts::new(shutdown.clone());
//! parts.spawn("http", async move { bound.serve(router, &server).await });
//! shutdown.begin(); // a service calls `shutdown.on_signals()` instead
//! parts.run().await
//! # }
//! ```

mod breaker;
mod connection;
mod header;
mod health;
mod limiter;
mod limits;
mod listen;
mod metrics;
mod process;
mod readiness;
mod reply;
mod server;
mod shutdown;
mod telemetry;
mod tls;
mod trace;

pub use breaker::{Breaker, BreakerPolicy, BreakerState, Permit};
pub use header::{HeaderError, credential, one_header, set_header};
pub use health::health_router;
pub use limiter::{Rate, RateLimiter, RetryAfter};
pub use limits::Limits;
pub use listen::{Bound, Listen, Peer, ServeError};
pub use metrics::{Counter, Counters, Gauge, Gauges, Histograms, LATENCY_BUCKETS, Metrics};
pub use process::{Parts, refuse_to_start};
pub use readiness::{CheckState, Readiness, ReadinessReport};
pub use reply::ErrorReply;
pub use server::{Server, Streaming};
pub use shutdown::Shutdown;
pub use telemetry::{Telemetry, TelemetryConfig};
pub use tls::{ClientCertificates, PeerIdentity, Tls};
pub use trace::current_trace_id;
