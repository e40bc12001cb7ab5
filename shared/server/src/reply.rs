//! Errors as every client of ours reads them: JSON over HTTP, a status over gRPC.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use token_http::OAuthError;

use crate::limiter::RetryAfter;

/// An error in the form of RFC 6749 section 5.2: `{"error", "error_description"}`, `Cache-Control: no-store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    status: StatusCode,
    code: &'static str,
    description: String,
    retry_after: Option<u64>,
    allow: Option<HeaderValue>,
}

impl ErrorReply {
    /// An error with a code of OAuth's and a text for the caller: what was expected and what was found. Bytes that RFC 6749
    /// forbids in the text are replaced.
    pub fn new(status: StatusCode, code: &'static str, description: impl AsRef<str>) -> Self {
        let description = description
            .as_ref()
            .chars()
            .map(|character| match character {
                '"' => '\'',
                ' '..='[' | ']'..='~' => character,
                _ => '?',
            })
            .collect();
        Self { status, code, description, retry_after: None, allow: None }
    }

    /// 503 `temporarily_unavailable` with `Retry-After`: our own trouble, never the caller's.
    pub fn unavailable(description: impl AsRef<str>, retry_after: RetryAfter) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description).with_retry_after(retry_after)
    }

    /// 429 `temporarily_unavailable` with `Retry-After`.
    #[must_use]
    pub fn too_many_requests(retry_after: RetryAfter) -> Self {
        let description = "more requests than this caller may make; hint: ask again after the pause";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description).with_retry_after(retry_after)
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.retry_after = Some(retry_after.seconds());
        self
    }

    /// What a framework's bare status becomes; `None` for one that it does not make.
    pub(crate) fn bare(status: StatusCode) -> Option<Self> {
        let (status, description) = match status {
            // axum's word for JSON of the wrong shape; RFC 6749 knows 400 only.
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                (StatusCode::BAD_REQUEST, "expected a well-formed request of this resource, found another one")
            }
            StatusCode::NOT_FOUND => {
                let description = "expected a path of this service, found another one";
                return Some(Self::new(status, "not_found", description));
            }
            StatusCode::METHOD_NOT_ALLOWED => (status, "expected another method; hint: see the Allow header"),
            StatusCode::REQUEST_TIMEOUT => (status, "expected the whole request in time, found a part of it"),
            StatusCode::PAYLOAD_TOO_LARGE => (status, "expected a smaller body, found more than is read"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                (status, "expected a body of another content type; hint: send application/json or a form")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (status, "expected fewer headers, found more than are read"),
            StatusCode::INTERNAL_SERVER_ERROR => {
                let description = "the request could not be answered; hint: the service's log says why";
                return Some(Self::new(status, "server_error", description));
            }
            _ => return None,
        };
        Some(Self::new(status, "invalid_request", description))
    }

    /// The same answer for a gRPC client: a trailers-only response.
    fn into_grpc(self) -> Response {
        // https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
        let code = match self.status {
            StatusCode::REQUEST_TIMEOUT => "4",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "12",
            StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            | StatusCode::TOO_MANY_REQUESTS => "8",
            StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => "3",
            StatusCode::SERVICE_UNAVAILABLE => "14",
            _ => "13",
        };
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(code));
        // The description is printable ASCII: only "%" has a meaning in this header.
        let message = self.description.replace('%', "%25");
        headers.insert("grpc-message", HeaderValue::from_str(&message).unwrap_or(HeaderValue::from_static("")));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    /// The answer in the protocol that the request speaks.
    pub(crate) fn for_request(self, grpc: bool) -> Response {
        if grpc { self.into_grpc() } else { self.into_response() }
    }
}

impl From<OAuthError> for ErrorReply {
    fn from(error: OAuthError) -> Self {
        Self {
            status: error.status(),
            code: error.code(),
            description: error.description().to_owned(),
            retry_after: error.retry_after_s(),
            allow: error.allow().and_then(|allow| HeaderValue::from_str(allow).ok()),
        }
    }
}

impl IntoResponse for ErrorReply {
    fn into_response(self) -> Response {
        let body = json!({"error": self.code, "error_description": self.description}).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

/// Whether the request or response with these headers is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Replaces what the framework says in plain text by our JSON; its headers (`Allow`) stay. What a handler has written in
/// a content type of its own stays as it is.
pub(crate) fn without_plain_text(response: Response) -> Response {
    let plain = response.headers().get(CONTENT_TYPE).is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    if !plain {
        return response;
    }
    let Some(reply) = ErrorReply::bare(response.status()) else { return response };
    let (mut parts, _) = response.into_parts();
    let (new, body) = reply.into_response().into_parts();
    parts.status = new.status;
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.extend(new.headers);
    Response::from_parts(parts, body)
}
