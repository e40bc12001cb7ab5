//! Routes for those who watch the process.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, json};

use crate::metrics::Metrics;
use crate::readiness::{Readiness, ReadinessReport};

/// `GET /healthz` (alive; looks at nothing), `GET /readyz` (200 or 503, with name and state of each check) and
/// `GET /metrics`. Merge it into a service's router, or serve it on a port of its own.
pub fn health_router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { json_reply(StatusCode::OK, r#"{"status":"ok"}"#.to_owned()) }))
        .route(
            "/readyz",
            get(move || {
                let readiness = readiness.clone();
                async move { readiness.report().await.into_response() }
            }),
        )
        .route("/metrics", get(move || std::future::ready(metrics.response())))
}

impl IntoResponse for ReadinessReport {
    fn into_response(self) -> Response {
        let (status, word) = match (self.ready, self.ending) {
            (true, _) => (StatusCode::OK, "ready"),
            (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        };
        let checks: Map<_, _> = self
            .checks
            .into_iter()
            .map(|(name, hard, state)| (name.to_owned(), json!({"status": state.name(), "required": hard})))
            .collect();
        json_reply(status, json!({"status": word, "checks": checks}).to_string())
    }
}

fn json_reply(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
