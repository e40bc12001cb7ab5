//! The public documents: key set, metadata (RFC 8414, OpenID Connect Discovery), the OpenAPI document.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use token_http::Published;
use token_jose::{Algorithm, KeySet};

use super::client::ENDPOINTS;
use super::{Door, OPENAPI, error};
use crate::service::ServiceError;

/// `GET /.well-known/jwks.json`.
pub(super) async fn keys(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    door.published(&parts, |_| None).await
}

/// `GET /.well-known/openid-configuration`.
pub(super) async fn openid(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let metadata = |keys: &KeySet| Some(door.metadata(Some(keys)).to_string());
    door.published(&parts, metadata).await
}

/// `GET /.well-known/oauth-authorization-server`, and with the issuer's own path after it.
pub(super) async fn oauth(State(door): State<Door>, request: Request) -> Response {
    const PATH: &str = "/.well-known/oauth-authorization-server";
    let (parts, _) = request.into_parts();
    let own = door
        .service()
        .rules()
        .issuer
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(_, path)| path);
    let asked = parts.uri.path().strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
    if asked.is_some() && asked != own {
        return error::plain(
            StatusCode::NOT_FOUND,
            "Not found",
            "expected the metadata of this issuer, found another path",
        );
    }
    door.published(&parts, |_| Some(door.metadata(None).to_string())).await
}

/// `GET /openapi.json`.
pub(super) async fn openapi(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let well_known = &door.0.options.well_known;
    well_known.document(&parts.method, &parts.headers, OPENAPI.to_owned()).map(Body::from)
}

impl Door {
    /// A document about the published keys: the set itself, or what `make` says.
    async fn published(&self, parts: &Parts, make: impl Fn(&KeySet) -> Option<String> + Send) -> Response {
        let now = self.service().now();
        let well_known = &self.0.options.well_known;
        let keys = match self.service().keys().published(now).await {
            Ok(keys) => Some(keys),
            Err(ServiceError::Unavailable { retry_after_s, .. }) => {
                return self.set(parts, Published::Unavailable { retry_after_s }, now);
            }
            Err(_) => None,
        };
        let Some(keys) = keys else { return self.set(parts, Published::Unavailable { retry_after_s: 1 }, now) };
        match make(&keys) {
            Some(document) => well_known.document(&parts.method, &parts.headers, document).map(Body::from),
            None => self.set(parts, Published::Keys(&keys), now),
        }
    }

    fn set(&self, parts: &Parts, published: Published<'_>, now: jiff::Timestamp) -> Response {
        let path = "/.well-known/jwks.json";
        self.0.options.well_known.answer(&parts.method, path, &parts.headers, published, now).map(Body::from)
    }

    /// RFC 8414 section 2; with the keys, what OpenID Connect Discovery wants beyond it.
    fn metadata(&self, keys: Option<&KeySet>) -> Value {
        let rules = self.service().rules();
        let at = |path: &str| format!("{}{path}", rules.issuer);
        let [token, introspect, revoke] = ENDPOINTS.map(at);
        let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"];
        let algorithms = Algorithm::proof_names(&Algorithm::ALL);
        let mut document = json!({
            "issuer": rules.issuer,
            "jwks_uri": at("/.well-known/jwks.json"),
            "token_endpoint": token,
            "introspection_endpoint": introspect,
            "revocation_endpoint": revoke,
            "grant_types_supported": ["client_credentials", "refresh_token"],
            "response_types_supported": ["none"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "dpop_signing_alg_values_supported": Algorithm::proof_names(&rules.proof_algorithms),
        });
        if let (Some(keys), Some(members)) = (keys, document.as_object_mut()) {
            let signed_with: Vec<&str> = Algorithm::ALL
                .into_iter()
                .filter(|algorithm| keys.keys().any(|key| key.algorithm() == *algorithm))
                .map(Algorithm::name)
                .collect();
            members.insert("subject_types_supported".to_owned(), json!(["public"]));
            members.insert("id_token_signing_alg_values_supported".to_owned(), json!(signed_with));
            members.insert(
                "claims_supported".to_owned(),
                json!(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "cnf", "scope", "client_id", "user_id"]),
            );
        }
        document
    }
}
