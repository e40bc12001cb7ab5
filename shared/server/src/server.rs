//! What happens to each request before and after its handler.

mod body;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::connection::Busy;
use crate::limiter::RetryAfter;
use crate::limits::{self, Limits};
use crate::listen::Peer;
use crate::metrics::{Counters, Gauge, Histograms, LATENCY_BUCKETS, Metrics};
use crate::reply::{self, ErrorReply};
use crate::shutdown::Shutdown;
use crate::tls::PeerIdentity;
use crate::trace::RequestTrace;

pub use body::Streaming;

/// Paths that are answered however much goes on: a busy process is neither dead nor to be restarted.
const PROBES: [&str; 3] = ["/health", "/healthz", "/readyz"];

/// What the listeners of one process share: limits, the end, the numbers. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Arc<Limits>,
    shutdown: Shutdown,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    numbers: Numbers,
}

#[derive(Debug)]
struct Numbers {
    connections: Gauge,
    requests: Counters<2>,
    seconds: Histograms<1>,
    rejected: Counters<1>,
}

/// Why a request or connection was turned away: the values of `http_server_rejected_total{reason}`.
const REASONS: [&str; 10] =
    ["body", "deadline", "drain", "headers", "in_flight", "panic", "slow_body", "slow_head", "slow_request", "stalled"];

impl Server {
    /// Limits are per process: every listener that serves with this server (or a clone) counts towards them.
    #[must_use]
    pub fn new(limits: Limits, shutdown: Shutdown, metrics: &Metrics) -> Self {
        let permits = |most: usize| Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        let (in_flight, streams, connections) =
            (permits(limits.in_flight), permits(limits.streams), permits(limits.connections));
        let numbers = Numbers::new(metrics);
        for (name, help, permits) in [
            ("http_server_requests_in_flight", "Requests that are being answered", &in_flight),
            ("http_server_streams", "Streams that are open", &streams),
        ] {
            let (gauge, permits, most): (Gauge, _, _) =
                (metrics.gauge(name, help), Arc::clone(permits), permits.available_permits());
            metrics.before_scrape(move || {
                let taken = u32::try_from(most.saturating_sub(permits.available_permits())).unwrap_or(u32::MAX);
                gauge.set(f64::from(taken));
            });
        }
        Self(Arc::new(Shared { limits: Arc::new(limits), shutdown, in_flight, streams, connections, numbers }))
    }

    /// The end that this server takes part in.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Waits until one more connection may be taken.
    pub(crate) async fn connection_permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.connections).acquire_owned().await.ok()
    }

    pub(crate) fn app(&self, router: axum::Router) -> (App, Drained) {
        let router = router.layer(DefaultBodyLimit::disable()).layer(axum::middleware::from_fn(note_route));
        let (alive, ended) = mpsc::channel(1);
        (App { router, shared: Arc::clone(&self.0), _alive: alive }, Drained(ended))
    }
}

impl Numbers {
    fn new(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.gauge("http_server_connections", "Connections that are open"),
            requests: metrics.counters(
                "http_server_requests_total",
                "Requests by method and status",
                ["method", "status"],
            ),
            seconds: metrics.histograms(
                "http_server_request_duration_seconds",
                "From a request's head to the head of its answer",
                ["method"],
                &LATENCY_BUCKETS,
            ),
            rejected: metrics
                .counters("http_server_rejected_total", "Requests and connections turned away, by reason", ["reason"])
                .starting_with(REASONS.map(|reason| [reason])),
        }
    }
}

/// Waits for the last connection of a listener.
pub(crate) struct Drained(mpsc::Receiver<std::convert::Infallible>);

impl Drained {
    /// Returns when every connection has ended, at the latest a little after the deadline that ends them.
    pub(crate) async fn wait(mut self, shutdown: &Shutdown) {
        let late = async {
            shutdown.deadline().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        tokio::select! {
            _ = self.0.recv() => {}
            () = late => tracing::warn!("the drain's deadline has passed with requests in flight"),
        }
    }
}

/// An open connection, counted.
pub(crate) struct Open {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.add(-1.0);
    }
}

/// A router as one listener serves it.
#[derive(Clone)]
pub(crate) struct App {
    router: axum::Router,
    shared: Arc<Shared>,
    _alive: mpsc::Sender<std::convert::Infallible>,
}

impl App {
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    pub(crate) async fn closing(&self) {
        self.shared.shutdown.closing().await;
    }

    pub(crate) async fn deadline(&self) {
        self.shared.shutdown.deadline().await;
    }

    /// Counts a connection for as long as it is open; `permit` is given back with it.
    pub(crate) fn open(&self, permit: OwnedSemaphorePermit) -> Open {
        let gauge = self.shared.numbers.connections.clone();
        gauge.add(1.0);
        Open { gauge, _permit: permit }
    }

    /// Counts what was turned away.
    pub(crate) fn cut(&self, reason: &'static str) {
        self.shared.numbers.rejected.inc([reason]);
    }

    /// Answers one request: within the limits by the router, else with an error in the request's own protocol.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        identity: Option<PeerIdentity>,
        busy: Busy,
    ) -> Response {
        let started = Instant::now();
        let method = method_label(request.method());
        let grpc = reply::is_grpc(request.headers());
        let route = Route::default();
        let trace = RequestTrace::start(request.method(), request.headers());
        let span = trace.span().clone();
        let handled = async {
            let outcome = self.handle(request, peer, identity, route.clone()).await;
            let response = outcome.unwrap_or_else(|(reason, error)| {
                self.cut(reason);
                error.for_request(grpc)
            });
            if grpc { response } else { reply::without_plain_text(response) }
        };
        let response = trace.scope(handled.instrument(span.clone())).await;
        trace.finish(route.0.get().map(MatchedPath::as_str), response.status());
        self.shared.numbers.requests.inc([method, status_label(response.status())]);
        self.shared.numbers.seconds.observe([method], started.elapsed().as_secs_f64());
        self.guarded(response, grpc, busy)
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        identity: Option<PeerIdentity>,
        route: Route,
    ) -> Result<Response, (&'static str, ErrorReply)> {
        let limits = self.limits();
        if request.headers().len() > limits.headers {
            let description = format!("expected at most {} header fields, found more", limits.headers);
            let error = ErrorReply::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "invalid_request", description);
            return Err(("headers", error));
        }
        let too_large = || {
            let description = format!("expected a body of at most {} bytes, found a larger one", limits.body_bytes);
            ("body", ErrorReply::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", description))
        };
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes > limits.body_bytes)) {
            return Err(too_large());
        }
        let _permit = if PROBES.contains(&request.uri().path()) {
            None
        } else {
            let permit = Arc::clone(&self.shared.in_flight).try_acquire_owned();
            Some(permit.map_err(|_| {
                let description = "more requests are in flight than are taken on; hint: ask again after the pause";
                ("in_flight", ErrorReply::unavailable(description, RetryAfter::new(Duration::from_secs(1))))
            })?)
        };
        let time = limits::deadline(limits, request.headers());
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(peer);
        parts.extensions.insert(ConnectInfo(peer.addr));
        parts.extensions.insert(route);
        parts.extensions.extend(identity.into_iter().fold(http::Extensions::new(), |mut extensions, identity| {
            extensions.insert(identity);
            extensions
        }));
        let (body, progress) = body::limited(body, limits.body_bytes);
        let request = Request::from_parts(parts, body);
        let answer = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match tokio::time::timeout(time, answer).await {
            Ok(Ok(Ok(_))) if progress.is_too_large() => Err(too_large()),
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                tracing::error!("a handler panicked");
                let description = "the request could not be answered; hint: the service's log says why";
                Err(("panic", ErrorReply::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", description)))
            }
            Err(_) if progress.is_waited_for() => {
                let description = "expected the whole body in time, found a part of it";
                Err(("slow_body", ErrorReply::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", description)))
            }
            Err(_) => {
                let description = "the answer was not ready in time; hint: ask again after the pause";
                Err(("deadline", ErrorReply::unavailable(description, RetryAfter::new(Duration::from_secs(1)))))
            }
        }
    }

    /// Ties the answer's body to its connection, and a stream to the process's end.
    fn guarded(&self, response: Response, grpc: bool, mut busy: Busy) -> Response {
        let streaming = response.extensions().get::<Streaming>().cloned();
        // A gRPC stream needs no marker: its end must be told in trailers, whatever made it.
        let endless = streaming.is_some() || (grpc && hyper::body::Body::size_hint(response.body()).exact().is_none());
        if !endless {
            return response.map(|body| Body::new(body::Guarded::answer(body, busy)));
        }
        let Ok(permit) = Arc::clone(&self.shared.streams).try_acquire_owned() else {
            self.cut("in_flight");
            let description = "more streams are open than are taken on; hint: ask again after the pause";
            return ErrorReply::unavailable(description, RetryAfter::new(Duration::from_secs(5))).for_request(grpc);
        };
        busy.streams();
        let farewell = if grpc { body::Farewell::GrpcUnavailable } else { streaming.unwrap_or_default().farewell() };
        let shutdown = self.shared.shutdown.clone();
        let closing = Box::pin(async move { shutdown.closing().await });
        response.map(|body| Body::new(body::Guarded::stream(body, busy, permit, closing, farewell)))
    }
}

/// Which route template a request matched; filled in by the router, read after it.
#[derive(Clone, Debug, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

async fn note_route(request: axum::extract::Request, next: Next) -> Response {
    let extensions = request.extensions();
    if let (Some(route), Some(matched)) = (extensions.get::<Route>(), extensions.get::<MatchedPath>()) {
        let _ = route.0.set(matched.clone());
    }
    next.run(request).await
}

/// A method as a label: a caller may invent methods, and must not invent series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A status as a label: what handlers answer is a closed set in practice, and this makes it one.
fn status_label(status: StatusCode) -> &'static str {
    const KNOWN: [(u16, &str); 19] = [
        (200, "200"),
        (201, "201"),
        (204, "204"),
        (304, "304"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (408, "408"),
        (409, "409"),
        (412, "412"),
        (413, "413"),
        (415, "415"),
        (429, "429"),
        (431, "431"),
        (500, "500"),
        (502, "502"),
        (503, "503"),
    ];
    let status = status.as_u16();
    match (KNOWN.iter().find(|(known, _)| *known == status), status / 100) {
        (Some((_, label)), _) => label,
        (None, 1) => "1xx",
        (None, 2) => "2xx",
        (None, 3) => "3xx",
        (None, 4) => "4xx",
        (None, _) => "5xx",
    }
}
