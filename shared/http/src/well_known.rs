//! The public documents: the key set (RFC 7517 section 5) and the issuer's metadata (OpenID Connect Discovery 1.0 section 3,
//! RFC 8414 section 2).

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use token_jose::{Algorithm, KeySet, sha256_hex};

/// Path of the key set.
const JWKS: &str = "/.well-known/jwks.json";
/// Path of the OpenID Connect metadata, appended to the issuer.
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Path of the OAuth metadata; an issuer's own path follows it (RFC 8414 section 3.1).
const OAUTH_AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";

/// The methods there are.
const METHODS: &str = "GET, HEAD";

/// Answers `GET` and `HEAD` under `/.well-known/`.
#[derive(Clone, Debug)]
pub struct WellKnown {
    issuer: String,
    max_age_s: u64,
    stale_if_error_s: u64,
}

/// What there is to publish at this moment.
#[derive(Clone, Copy, Debug)]
pub enum Published<'a> {
    /// The key set as stored; what is past its `not_after` is left out here.
    Keys(&'a KeySet),
    /// The stored set holds a private member: nothing of it may leave.
    Poisoned,
    /// There is no usable key set now; ask again after so many seconds.
    Unavailable {
        /// Seconds for `Retry-After`.
        retry_after_s: u64,
    },
}

/// A document that could not be answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WellKnownError {
    /// `issuer` is no URL that verifiers can take.
    #[error("expected an https URL (http on loopback only) without query, fragment or trailing slash")]
    Issuer,
}

impl WellKnown {
    /// Answers for `issuer`. Caches may keep an answer `max_age_s` seconds, and `stale_if_error_s` more while the origin
    /// fails (RFC 5861 section 4).
    ///
    /// # Errors
    /// When `issuer` is not what [`is_issuer`] takes: a wrong one would be published to every verifier.
    pub fn new(issuer: &str, max_age_s: u64, stale_if_error_s: u64) -> Result<Self, WellKnownError> {
        if !is_issuer(issuer) {
            return Err(WellKnownError::Issuer);
        }
        Ok(Self { issuer: issuer.to_owned(), max_age_s, stale_if_error_s })
    }

    /// The answer to one request. `path` is without stage.
    ///
    /// Keys and metadata come with a strong `ETag` and may be cached; every failure is `no-store`. An empty key set is
    /// never published: a verifier that caches it refuses every token.
    #[must_use]
    pub fn answer(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        published: Published<'_>,
        now: Timestamp,
    ) -> Response<String> {
        let Some(document) = self.named(path) else {
            return failure(
                StatusCode::NOT_FOUND,
                "not_found",
                "expected a document under /.well-known/, found another path",
            );
        };
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "expected GET or HEAD, found another method",
            );
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
            return response;
        }
        let keys = match published {
            Published::Keys(keys) => keys.live(now),
            Published::Poisoned => {
                return failure(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "server_error",
                    "the stored key set holds a private key member and is not published; the operator has been alarmed",
                );
            }
            Published::Unavailable { retry_after_s } => return unavailable(retry_after_s),
        };
        if keys.is_empty() {
            return unavailable(EMPTY_RETRY_S);
        }
        let body = match document {
            Document::Keys => keys.to_public_json(),
            Document::OpenId => self.openid_configuration(&keys),
            Document::OAuth => self.oauth_metadata(),
        };
        self.document(method, headers, body)
    }

    fn named(&self, path: &str) -> Option<Document> {
        match path {
            JWKS => Some(Document::Keys),
            OPENID_CONFIGURATION => Some(Document::OpenId),
            _ => {
                let suffix = path.strip_prefix(OAUTH_AUTHORIZATION_SERVER)?;
                (suffix.is_empty() || suffix == issuer_path(&self.issuer)).then_some(Document::OAuth)
            }
        }
    }

    /// `body`, a public JSON document of the caller's, with the caching and validators of the documents here; `GET` and `HEAD`.
    #[must_use]
    pub fn document(&self, method: &Method, headers: &HeaderMap, body: String) -> Response<String> {
        let digest = sha256_hex(body.as_bytes());
        let etag = format!("\"{}\"", digest.get(..32).unwrap_or(&digest));
        let matched = headers.get_all(IF_NONE_MATCH).iter().any(|value| names(value, &etag));
        let status = if matched { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let cache_control = format!("public, max-age={}, stale-if-error={}", self.max_age_s, self.stale_if_error_s);
        let body = if matched || *method == Method::HEAD { String::new() } else { body };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        // Digits, hexadecimal and fixed words only.
        headers.extend(HeaderValue::try_from(etag).ok().map(|value| (ETAG, value)));
        headers.extend(HeaderValue::try_from(cache_control).ok().map(|value| (CACHE_CONTROL, value)));
        // RFC 7517 section 8.5.1 registers application/jwk-set+json; verifiers exist that insist on application/json.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        open_to_browsers(headers);
        response
    }

    /// What Snowflake's workload identity federation, Envoy and OpenID Connect clients look for.
    fn openid_configuration(&self, keys: &KeySet) -> String {
        let algorithms: Vec<&str> = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| keys.keys().any(|key| key.algorithm() == *algorithm))
            .map(Algorithm::name)
            .collect();
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}{JWKS}", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "dpop_signing_alg_values_supported": Algorithm::proof_names(&Algorithm::ALL),
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "cnf", "scope", "scp"],
        })
        .to_string()
    }

    /// RFC 8414. The token endpoint takes no registered grant: it is called with SigV4, which the extension names say.
    fn oauth_metadata(&self) -> String {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}{JWKS}", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "grant_types_supported": ["aws_iam"],
            "token_endpoint_auth_methods_supported": ["aws_sigv4"],
            "dpop_signing_alg_values_supported": Algorithm::proof_names(&Algorithm::ALL),
            "response_types_supported": ["none"],
        })
        .to_string()
    }
}

/// Seconds after which a verifier may ask again when every key is past its time, or none exists yet.
const EMPTY_RETRY_S: u64 = 30;

#[derive(Clone, Copy)]
enum Document {
    Keys,
    OAuth,
    OpenId,
}

/// Whether `issuer` can be one: `https://…` (`http://` on loopback only), printable ASCII, no query, fragment, user or
/// trailing slash. Verifiers compare it byte by byte.
#[must_use]
pub fn is_issuer(issuer: &str) -> bool {
    let Some((scheme, rest)) = issuer.split_once("://") else { return false };
    let host_port = rest.split('/').next().unwrap_or_default();
    let host = host_port.rsplit_once(':').map_or(host_port, |(host, _)| host);
    let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
    (scheme == "https" || (scheme == "http" && loopback))
        && !host.is_empty()
        && !issuer.ends_with('/')
        && issuer.len() <= 2_048
        && issuer
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'"' | b'\\' | b'<' | b'>'))
}

/// The path of an issuer, empty for most.
fn issuer_path(issuer: &str) -> &str {
    issuer
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|start| rest.get(start..)))
        .unwrap_or_default()
}

/// Whether an `If-None-Match` value names `etag`, by the weak comparison of RFC 9110 section 13.1.2.
fn names(value: &HeaderValue, etag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',').map(str::trim).any(|candidate| candidate == "*" || candidate.trim_start_matches("W/") == etag)
    })
}

fn unavailable(retry_after_s: u64) -> Response<String> {
    let mut response = failure(
        StatusCode::SERVICE_UNAVAILABLE,
        "temporarily_unavailable",
        "there is no usable key set now; hint: ask again",
    );
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)));
    response
}

fn failure(status: StatusCode, code: &str, description: &str) -> Response<String> {
    let mut response = Response::new(json!({"error": code, "error_description": description}).to_string());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    open_to_browsers(headers);
    response
}

/// The documents are public and carry no credentials, so any origin may read them.
fn open_to_browsers(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests;
