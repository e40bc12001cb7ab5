//! `/authorize`: whether another request may pass, for Envoy, nginx and Traefik.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use token_server::{one_header, set_header};

use super::answer::{self, DPOP_NONCE};
use super::error::plain;
use super::{AuthorizeMode, Door};
use crate::observe::{Decision, Outcome};
pub use crate::service::IDENTITY_HEADERS;
use crate::service::{Allowed, AuthorizeRequest, Denial, DenialReason};

/// What a proxy's configuration lets through to the client when it is not let through.
pub const FORWARDED_HEADERS: [&str; 4] = ["www-authenticate", "dpop-nonce", "retry-after", "x-decision-id"];

/// Where `/authorize` begins.
const PREFIX: &str = "/authorize";

/// Any method, any path below `/authorize`.
pub(super) async fn authorize(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("authorize");
    let (parts, _) = request.into_parts();
    let original = match Original::of(door.0.options.mode, &parts) {
        Ok(original) => original,
        Err(message) => {
            let outcome = Outcome::Refused { code: "bad_request", status: 400, reason: &message };
            door.observe().record(&decision, outcome);
            return answer::decided(plain(StatusCode::BAD_REQUEST, "Invalid request", &message), &decision);
        }
    };
    match door.judge(&parts.headers, original).await {
        Ok(allowed) => {
            door.observe().authorized(None);
            decision.subject(&allowed.subject);
            if let Some(client) = &allowed.client_id {
                decision.caller(client);
            }
            if let Some(jkt) = &allowed.jkt {
                decision.jkt(jkt);
                door.observe().proof_accepted();
            }
            door.observe().record(&decision, Outcome::Done("allowed"));
            let response = answer::decided(pass(&allowed), &decision);
            if allowed.jkt.is_some() { door.with_nonce(response) } else { response }
        }
        Err(denial) => {
            door.observe().authorized(Some(denial.reason));
            let (code, status) = (denial.reason.code(), denial.reason.status());
            let outcome = match denial.reason {
                DenialReason::Unavailable => Outcome::Failed { code, status, reason: &denial.message },
                _ => Outcome::Refused { code, status, reason: &denial.message },
            };
            door.observe().record(&decision, outcome);
            door.stop(&parts.headers, &denial, &decision)
        }
    }
}

/// The request that somebody asks about.
#[derive(Clone, Copy)]
struct Original<'a> {
    method: &'a str,
    path: &'a str,
}

impl<'a> Original<'a> {
    /// Method and path as the listener's mode says, and from nowhere else.
    fn of(mode: AuthorizeMode, parts: &'a Parts) -> Result<Self, String> {
        let (method, uri) = match mode {
            AuthorizeMode::EnvoyHttp => {
                let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
                (parts.method.as_str(), if path.is_empty() { "/" } else { path })
            }
            AuthorizeMode::Nginx => pair(&parts.headers, "x-original-method", "x-original-uri")?,
            AuthorizeMode::Traefik => pair(&parts.headers, "x-forwarded-method", "x-forwarded-uri")?,
        };
        let path = uri.split(['?', '#']).next().unwrap_or_default();
        if !path.starts_with('/') {
            // Behind an origin it would become a part of the host.
            return Err("expected the original request's path to begin with '/', found another text".to_owned());
        }
        Ok(Self { method, path })
    }
}

fn pair<'a>(headers: &'a HeaderMap, method: &'static str, uri: &'static str) -> Result<(&'a str, &'a str), String> {
    let one = |name: &'static str| match one_header(headers, name) {
        Ok(Some(value)) if !value.is_empty() => Ok(value),
        Ok(_) => {
            Err(format!("{name}: expected the original request's, found none; hint: the proxy's configuration sets it"))
        }
        Err(error) => Err(error.to_string()),
    };
    Ok((one(method)?, one(uri)?))
}

impl Door {
    async fn judge(&self, headers: &HeaderMap, original: Original<'_>) -> Result<Allowed, Denial> {
        let malformed = |error: token_server::HeaderError| Denial {
            reason: DenialReason::Malformed,
            message: error.to_string(),
            retry_after_s: None,
        };
        let proof = token_http::dpop_proof(headers).map_err(|error| Denial {
            reason: DenialReason::InvalidProof,
            message: error.description().to_owned(),
            retry_after_s: None,
        })?;
        let request = AuthorizeRequest {
            authorization: one_header(headers, "authorization").map_err(malformed)?,
            autonity_token: one_header(headers, "autonity-token").map_err(malformed)?,
            proof,
            method: original.method,
            path: original.path,
        };
        self.service().authorize(request).await
    }

    fn stop(&self, headers: &HeaderMap, denial: &Denial, decision: &Decision) -> Response {
        let status = StatusCode::from_u16(denial.reason.status()).unwrap_or(StatusCode::FORBIDDEN);
        let (title, message) = denial.words();
        let mut response = answer::decided(plain(status, title, message), decision);
        let algorithms = &self.service().rules().proof_algorithms;
        for challenge in denial.challenges(algorithms, speaks_dpop(headers)) {
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                response.headers_mut().append(WWW_AUTHENTICATE, value);
            }
        }
        if let Some(seconds) = denial.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if denial.reason == DenialReason::UseNonce {
            response = answer::with(response, DPOP_NONCE, &self.service().nonce());
        }
        response
    }
}

fn speaks_dpop(headers: &HeaderMap) -> bool {
    !headers.contains_key("autonity-token")
        && matches!(one_header(headers, "authorization"), Ok(Some(text)) if token_server::credential(text, "DPoP").is_some())
}

/// 200 without a body, and every identity header.
fn pass(allowed: &Allowed) -> Response {
    let mut response = answer::empty(StatusCode::OK);
    for (name, value) in allowed.identity() {
        set_header(response.headers_mut(), HeaderName::from_static(name), &value);
    }
    response
}
