//! Answers that went well.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::observe::Decision;

/// The header that names a decision.
pub(super) const DECISION_ID: HeaderName = HeaderName::from_static("x-decision-id");
/// The header that hands out a nonce (RFC 9449 section 8).
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// JSON that no cache keeps.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    let mut text = body.to_string();
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    private(&mut response);
    response
}

/// Nothing, which no cache keeps.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    private(&mut response);
    response
}

/// Forbids caches to keep an answer (RFC 6749 section 5.1).
pub(super) fn private(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

/// Sets a header whose value this service has made; one that no header can hold is left out.
pub(super) fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Names the decision in its answer.
pub(super) fn decided(response: Response, decision: &Decision) -> Response {
    with(response, DECISION_ID, decision.id())
}
