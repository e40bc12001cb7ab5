//! What leaves a Lambda: the token's answer, an error's answer, and API Gateway's envelope for both.

use http::StatusCode;
use serde_json::{Map, Value, json};
use token_issuance::IssuedToken;

use crate::error::OAuthError;

/// RFC 8693 section 3: what kind of token the answer carries.
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A proxy integration's answer. The same shape serves REST and HTTP APIs.
#[derive(Clone, PartialEq, Eq)]
pub struct GatewayResponse {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl GatewayResponse {
    /// A JSON answer that no cache may keep (RFC 6749 section 5.1).
    fn json(status: StatusCode, body: &Value) -> Self {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: body.to_string() }
    }

    /// `{"error","error_description","decision_id"}`, with `Retry-After` or `Allow` where they belong.
    #[must_use]
    pub fn error(error: &OAuthError, decision_id: &str) -> Self {
        let body = json!({
            "error": error.code(),
            "error_description": error.description(),
            "decision_id": decision_id,
        });
        let mut response = Self::json(error.status(), &body);
        response.headers.extend(error.retry_after_s().map(|seconds| ("retry-after", seconds.to_string())));
        response.headers.extend(error.allow().map(|methods| ("allow", methods.to_owned())));
        response
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The envelope API Gateway expects.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "statusCode": self.status.as_u16(),
            "headers": headers,
            "body": self.body,
            "isBase64Encoded": false,
        })
    }
}

/// 200 with the token, `token_type` `DPoP` when it is bound to a key (RFC 9449 section 5): `token` for the source system's clients, `access_token` for everybody else's.
#[must_use]
pub fn token_response(issued: &IssuedToken) -> GatewayResponse {
    GatewayResponse::json(
        StatusCode::OK,
        &json!({
            "token": issued.token.as_str(),
            "access_token": issued.token.as_str(),
            "token_type": if issued.record.jkt.is_some() { "DPoP" } else { "Bearer" },
            "expires_in": issued.expires_in_s,
            "scope": issued.scopes.join(" "),
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "decision_id": issued.record.decision_id,
        }),
    )
}
