//! Answers: what a function returned, made into HTTP as API Gateway makes it, and API Gateway's own errors.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::event::{API_ACCOUNT, API_ID, REGION, RequestIds, STAGE};
use crate::sigv4::AuthError;

/// Why API Gateway answers by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Not authenticated.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// No such method and path. API Gateway says what it says to an unsigned request.
    #[error("Missing Authentication Token")]
    NoRoute,
    /// The resource policy refuses.
    #[error(
        "User: {user} is not authorized to perform: execute-api:Invoke on resource: {resource}{suffix}",
        resource = resource_arn(path),
        suffix = if *explicit { " with an explicit deny" } else { "" }
    )]
    Denied {
        /// The signer's `userArn`.
        user: String,
        /// The path called.
        path: String,
        /// Whether a Deny matched, or merely no Allow.
        explicit: bool,
    },
    /// The body is over 10 MB.
    #[error("Request Too Long")]
    TooLong,
    /// The body did not arrive.
    #[error("Bad Request")]
    BadRequest,
    /// The function failed, or answered what is no proxy response.
    #[error("Internal server error")]
    Function,
    /// The function took longer than the integration's 29 s.
    #[error("Endpoint request timed out")]
    TimedOut,
}

/// The ARN that is shown to callers: all but the last four digits of the account are masked.
fn resource_arn(path: &str) -> String {
    let account = API_ACCOUNT.get(8..).unwrap_or_default();
    format!("arn:aws:execute-api:{REGION}:********{account}:{API_ID}/{STAGE}/POST{path}")
}

impl GatewayError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Auth(_) | Self::NoRoute | Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Function => StatusCode::BAD_GATEWAY,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::Auth(error) => error.error_type(),
            Self::NoRoute => "MissingAuthenticationTokenException",
            Self::Denied { .. } => "AccessDeniedException",
            Self::TooLong => "RequestTooLargeException",
            Self::BadRequest => "BadRequestException",
            Self::Function | Self::TimedOut => "InternalServerErrorException",
        }
    }

    /// The answer: `{"message": …}` with `x-amzn-ErrorType`.
    #[must_use]
    pub fn response(&self, ids: &RequestIds) -> Response<Full<Bytes>> {
        let body = json!({"message": self.to_string()}).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(self.error_type()));
        stamp(&mut response, ids);
        response
    }
}

/// What a proxy integration must return. REST APIs answer 502 to any other member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ProxyResponse {
    status_code: Value,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<BTreeMap<String, Vec<Value>>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// Response headers that API Gateway does not pass as they are but under `x-amzn-Remapped-…`.
const REMAPPED: [&str; 9] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "max-forwards",
    "server",
    "user-agent",
    "www-authenticate",
];
/// Response headers that it drops.
const DROPPED: [&str; 8] =
    ["expect", "host", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"];

/// The HTTP response for a function's answer; the error says in words what is malformed about it.
///
/// # Errors
/// When the answer is no proxy response: to the caller that is 502, the words are for the console.
pub fn translate(answer: &[u8], ids: &RequestIds) -> Result<Response<Full<Bytes>>, String> {
    let proxy: ProxyResponse =
        serde_json::from_slice(answer).map_err(|error| format!("malformed Lambda proxy response: {error}"))?;
    let status = match &proxy.status_code {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let status = status
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| format!("malformed Lambda proxy response: statusCode {}", proxy.status_code))?;
    let body = match (proxy.body, proxy.is_base64_encoded) {
        (None, _) => Bytes::new(),
        (Some(text), false) => Bytes::from(text),
        (Some(text), true) => STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| format!("malformed Lambda proxy response: body is not base64: {error}"))?,
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let multi = proxy.multi_value_headers.unwrap_or_default();
    let single = proxy.headers.unwrap_or_default().into_iter().filter(|(name, _)| {
        // In both: the list wins.
        !multi.keys().any(|other| other.eq_ignore_ascii_case(name))
    });
    for (name, values) in single.map(|(name, value)| (name, vec![value])).chain(multi.clone()) {
        for value in values {
            append(&mut response, &name, &value)?;
        }
    }
    if !response.headers().contains_key(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    stamp(&mut response, ids);
    Ok(response)
}

fn append(response: &mut Response<Full<Bytes>>, name: &str, value: &Value) -> Result<(), String> {
    let malformed = || format!("malformed Lambda proxy response: header {name:?}");
    let lower = name.to_ascii_lowercase();
    if DROPPED.contains(&lower.as_str()) {
        return Ok(());
    }
    let lower = if REMAPPED.contains(&lower.as_str()) { format!("x-amzn-remapped-{lower}") } else { lower };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return Err(malformed()),
    };
    let name = HeaderName::try_from(lower).map_err(|_| malformed())?;
    let value = HeaderValue::try_from(text).map_err(|_| malformed())?;
    response.headers_mut().append(name, value);
    Ok(())
}

/// The ids that API Gateway puts on every answer.
fn stamp(response: &mut Response<Full<Bytes>>, ids: &RequestIds) {
    for (name, value) in [("x-amzn-requestid", &ids.request_id), ("x-amz-apigw-id", &ids.extended_request_id)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{GatewayError, RequestIds, translate};

    fn ids() -> RequestIds {
        RequestIds::new([&"1".repeat(32), &"2".repeat(32), &"3".repeat(32)], Timestamp::UNIX_EPOCH)
    }

    async fn text(response: http::Response<http_body_util::Full<bytes::Bytes>>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_proxy_response_becomes_http() {
        let answer = json!({"statusCode": 401, "headers": {"Content-Type": "text/plain", "X-A": "1", "WWW-Authenticate": "DPoP"},
            "multiValueHeaders": {"x-a": ["2", "3"]}, "body": "aGk=", "isBase64Encoded": true});
        let response = translate(answer.to_string().as_bytes(), &ids()).unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["2", "3"], "the list wins");
        assert_eq!(response.headers()["x-amzn-remapped-www-authenticate"], "DPoP");
        assert!(response.headers().get("www-authenticate").is_none());
        assert_eq!(response.headers()["x-amzn-requestid"], "11111111-1111-1111-1111-111111111111");
        assert_eq!(text(response).await, "hi");
    }

    #[test]
    fn defaults_are_api_gateways() {
        let response = translate(br#"{"statusCode": "204", "headers": null}"#, &ids()).unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()["content-type"], "application/json");
    }

    #[test]
    fn what_is_no_proxy_response_is_refused() {
        for answer in [
            json!("ok"),
            json!(null),
            json!({"body": "no status"}),
            json!({"statusCode": 99}),
            json!({"statusCode": 200, "token": "unknown member"}),
            json!({"statusCode": 200, "body": {"not": "text"}}),
            json!({"statusCode": 200, "body": "not base64!", "isBase64Encoded": true}),
            json!({"statusCode": 200, "headers": {"x": ["list"]}}),
            json!({"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}}),
            json!({"statusCode": 200, "headers": {"bad name": "a"}}),
        ] {
            assert!(translate(answer.to_string().as_bytes(), &ids()).is_err(), "{answer}");
        }
    }

    #[tokio::test]
    async fn api_gateways_own_errors_have_its_shape() {
        let denied = GatewayError::Denied { user: "arn:x".to_owned(), path: "/token".to_owned(), explicit: true };
        let response = denied.response(&ids());
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["x-amzn-errortype"], "AccessDeniedException");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(
            body,
            json!({"message": "User: arn:x is not authorized to perform: execute-api:Invoke on resource: \
                arn:aws:execute-api:eu-west-1:********7777:localgw001/v1/POST/token with an explicit deny"})
        );
        assert_eq!(GatewayError::TimedOut.response(&ids()).status(), 504);
        assert_eq!(GatewayError::Function.response(&ids()).status(), 502);
    }
}
