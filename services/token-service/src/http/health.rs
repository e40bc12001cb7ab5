//! `/health` as the former service had it.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use token_server::CheckState;

use super::{Door, answer, error};

/// `{"status":"healthy","redis":"connected"}`, or 503.
///
/// Unlike `/readyz` it does not say that the process ends: former clients took it for liveness.
pub(super) async fn health(State(door): State<Door>) -> Response {
    let report = door.0.options.readiness.report().await;
    let failing: Vec<&str> = report
        .checks
        .iter()
        .filter(|(_, hard, state)| *hard && *state != CheckState::Ok)
        .map(|(name, _, _)| *name)
        .collect();
    if failing.is_empty() {
        return answer::json(StatusCode::OK, &json!({"status": "healthy", "redis": door.0.options.store}));
    }
    let message = format!("expected every check to be good, found failing: {}", failing.join(", "));
    let title = if failing.iter().any(|name| name.contains("store")) { "Redis unhealthy" } else { "Service unhealthy" };
    let response = error::plain(StatusCode::SERVICE_UNAVAILABLE, title, &message);
    answer::with(response, http::header::RETRY_AFTER, "1")
}
