//! Envoy's `envoy.service.auth.v3.Authorization/Check`: whether another request may pass.
//!
//! Method and path come from the attribute context alone; a header that forwards another method or path is a client's own and
//! is not looked at.

use std::collections::HashMap;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue as EnvoyHeader, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
pub(super) use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value, value::Kind};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use token_server::{credential, one_header};
use tonic::{Code, Request, Response, Status, async_trait};

use super::Door;
use crate::observe::{Decision, DoorName, Outcome};
use crate::service::{Allowed, AuthorizeRequest, Denial, DenialReason};

/// The headers of the original request that decide.
const DECIDING: [&str; 3] = ["authorization", "autonity-token", "dpop"];

/// The service.
pub(super) struct Check(pub(super) Door);

#[async_trait]
impl Authorization for Check {
    /// Allows or denies. Our own outage is a denied response too, with 503 and `Retry-After`: an error of this call would be
    /// told to the client as Envoy sees fit.
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let started = Instant::now();
        let mut decision = Decision::new(self.0.service().decision_id(), DoorName::Envoy, "check");
        let attributes = request.into_inner().attributes;
        let original = attributes.and_then(|attributes| attributes.request).and_then(|request| request.http);
        let answer = match original.as_ref().map(Original::of) {
            Some(Ok(original)) => self.judge(&original, &mut decision).await,
            Some(Err(message)) => self.unreadable(message, &decision),
            None => self.unreadable("expected the attributes of an HTTP request, found none", &decision),
        };
        self.0.observe().grpc("Check", started.elapsed().as_secs_f64());
        Ok(Response::new(answer))
    }
}

/// The request that Envoy asks about.
struct Original<'a> {
    method: &'a str,
    path: &'a str,
    headers: HeaderMap,
}

impl<'a> Original<'a> {
    fn of(request: &'a HttpRequest) -> Result<Self, &'static str> {
        let path = request.path.split(['?', '#']).next().unwrap_or_default();
        if !path.starts_with('/') {
            // Behind an origin it would become a part of the host.
            return Err("expected the original request's path to begin with '/', found another text");
        }
        if request.method.is_empty() {
            return Err("expected the original request's method, found none");
        }
        Ok(Self { method: &request.method, path, headers: deciding(request)? })
    }
}

/// The deciding headers, in whichever of the two forms the filter sends (`encode_raw_headers`). In the plain form Envoy has
/// joined repeated fields with commas, which no credential holds.
fn deciding(request: &HttpRequest) -> Result<HeaderMap, &'static str> {
    let raw = request.header_map.iter().flat_map(|map| &map.headers);
    let raw = raw.map(|header| {
        let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { header.raw_value.as_slice() };
        (header.key.as_str(), value)
    });
    let plain = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut headers = HeaderMap::new();
    for (name, value) in plain.chain(raw) {
        let Some(known) = DECIDING.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else { continue };
        let value = HeaderValue::from_bytes(value).map_err(|_| "expected header values of one line, found another")?;
        headers.append(HeaderName::from_static(known), value);
    }
    Ok(headers)
}

impl Check {
    async fn judge(&self, original: &Original<'_>, decision: &mut Decision) -> CheckResponse {
        let observe = self.0.observe();
        let outcome = match asked(original) {
            Ok(request) => self.0.service().authorize(request).await,
            Err(denial) => Err(denial),
        };
        match outcome {
            Ok(allowed) => {
                observe.authorized(None);
                decision.subject(&allowed.subject);
                if let Some(client) = &allowed.client_id {
                    decision.caller(client);
                }
                if let Some(jkt) = &allowed.jkt {
                    decision.jkt(jkt);
                    observe.proof_accepted();
                }
                observe.record(decision, Outcome::Done("allowed"));
                let nonce = allowed.jkt.as_ref().map(|_| self.0.service().nonce());
                pass(&allowed, nonce, decision)
            }
            Err(denial) => {
                observe.authorized(Some(denial.reason));
                let (code, status) = (denial.reason.code(), denial.reason.status());
                let outcome = match denial.reason {
                    DenialReason::Unavailable => Outcome::Failed { code, status, reason: &denial.message },
                    _ => Outcome::Refused { code, status, reason: &denial.message },
                };
                observe.record(decision, outcome);
                self.stop(original, &denial, decision)
            }
        }
    }

    fn stop(&self, original: &Original<'_>, denial: &Denial, decision: &Decision) -> CheckResponse {
        let authorization = original.headers.get("authorization").and_then(|value| value.to_str().ok());
        let speaks_dpop = authorization.is_some_and(|text| credential(text, "DPoP").is_some())
            && !original.headers.contains_key("autonity-token");
        let challenges = denial.challenges(&self.0.service().rules().proof_algorithms, speaks_dpop);
        // Of a denied response Envoy sets each of several fields of one name, and leaves out what should be appended.
        let mut headers: Vec<_> = challenges.into_iter().map(|text| set("www-authenticate", text)).collect();
        if let Some(seconds) = denial.retry_after_s {
            headers.push(set("retry-after", seconds.max(1).to_string()));
        }
        if denial.reason == DenialReason::UseNonce {
            headers.push(set("dpop-nonce", self.0.service().nonce()));
        }
        let (title, message) = denial.words();
        let status = denial.reason.status();
        denied(status, code(denial.reason), title, message, denial.reason.code(), headers, decision)
    }

    /// What is no question about an HTTP request is denied, not failed: a filter may be set to let failures pass.
    fn unreadable(&self, message: &str, decision: &Decision) -> CheckResponse {
        self.0.observe().record(decision, Outcome::Refused { code: "bad_request", status: 400, reason: message });
        denied(400, Code::InvalidArgument, "Invalid request", message, "bad_request", Vec::new(), decision)
    }
}

/// The question in the service's terms: a deciding header that is there twice is a denial.
fn asked<'a>(original: &'a Original<'_>) -> Result<AuthorizeRequest<'a>, Denial> {
    let denial = |reason, message: String| Denial { reason, message, retry_after_s: None };
    let one =
        |name| one_header(&original.headers, name).map_err(|error| denial(DenialReason::Malformed, error.to_string()));
    let proof = token_http::dpop_proof(&original.headers)
        .map_err(|error| denial(DenialReason::InvalidProof, error.description().to_owned()))?;
    Ok(AuthorizeRequest {
        authorization: one("authorization")?,
        autonity_token: one("autonity-token")?,
        proof,
        method: original.method,
        path: original.path,
    })
}

/// The gRPC code beside a denied response, for access logs; the client gets the HTTP status.
fn code(reason: DenialReason) -> Code {
    match reason {
        DenialReason::Missing
        | DenialReason::Malformed
        | DenialReason::InvalidToken
        | DenialReason::InvalidProof
        | DenialReason::UseNonce => Code::Unauthenticated,
        DenialReason::NotAnAccessToken | DenialReason::Revoked => Code::PermissionDenied,
        DenialReason::RateLimited => Code::ResourceExhausted,
        DenialReason::Unavailable => Code::Unavailable,
    }
}

fn pass(allowed: &Allowed, nonce: Option<String>, decision: &Decision) -> CheckResponse {
    let mut response = OkHttpResponse::default();
    for (name, value) in allowed.identity() {
        // A value that no header holds is as good as none: the client's own must go either way.
        if value.is_empty() || HeaderValue::from_str(&value).is_err() {
            response.headers_to_remove.push(name.to_owned());
        } else {
            response.headers.push(set(name, value));
        }
    }
    if let Some(nonce) = nonce {
        response.response_headers_to_add.push(set("dpop-nonce", nonce));
    }
    let mut metadata = vec![("decision", "allow"), ("reason", "allowed"), ("decision_id", decision.id())];
    metadata.push(("subject", &allowed.subject));
    for (name, value) in [("user_id", &allowed.user_id), ("client_id", &allowed.client_id), ("scope", &allowed.scope)] {
        if let Some(value) = value {
            metadata.push((name, value));
        }
    }
    answer(Code::Ok, "allowed", HttpResponse::OkResponse(response), metadata)
}

fn denied(
    status: u16,
    code: Code,
    title: &str,
    message: &str,
    reason: &str,
    mut headers: Vec<HeaderValueOption>,
    decision: &Decision,
) -> CheckResponse {
    let body = if message.is_empty() { json!({"error": title}) } else { json!({"error": title, "message": message}) };
    headers.push(set("content-type", "application/json"));
    headers.push(set("cache-control", "no-store"));
    headers.push(set("x-decision-id", decision.id()));
    let response =
        DeniedHttpResponse { status: Some(HttpStatus { code: i32::from(status) }), headers, body: format!("{body}\n") };
    let metadata = vec![("decision", "deny"), ("reason", reason), ("decision_id", decision.id())];
    answer(code, reason, HttpResponse::DeniedResponse(response), metadata)
}

fn answer(code: Code, message: &str, response: HttpResponse, metadata: Vec<(&str, &str)>) -> CheckResponse {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields: HashMap<_, _> = metadata.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    CheckResponse {
        status: Some(envoy_types::pb::google::rpc::Status {
            code: code.into(),
            message: message.to_owned(),
            details: Vec::new(),
        }),
        dynamic_metadata: Some(Struct { fields }),
        http_response: Some(response),
    }
}

/// A header that replaces whatever is there.
#[expect(deprecated, reason = "Envoy's ext_authz reads `append` here")]
fn set(name: &str, value: impl Into<String>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(EnvoyHeader { key: name.to_owned(), value: value.into(), ..EnvoyHeader::default() }),
        append: Some(BoolValue { value: false }),
        ..HeaderValueOption::default()
    }
}
