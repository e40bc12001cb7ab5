//! Envoy's question, in Envoy's messages.

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as Attributes};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use serde_json::json;
use token_jose::{Algorithm, LocalSigner};
use token_service::service::{IDENTITY_HEADERS, PairOrder, TokenOrder};

use super::{ALL, API, World, ath, by, current, rules, world, world_with};

fn asked(method: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let headers: HashMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let http = HttpRequest { method: method.to_owned(), path: path.to_owned(), headers, ..Default::default() };
    request(http)
}

fn request(http: HttpRequest) -> CheckRequest {
    let request = Attributes { http: Some(http), ..Default::default() };
    CheckRequest { attributes: Some(AttributeContext { request: Some(request), ..Default::default() }) }
}

/// Headers as Envoy would apply them.
fn pairs(headers: &[HeaderValueOption]) -> Vec<(String, String)> {
    let pair = |header: &HeaderValueOption| header.header.clone().map(|header| (header.key, header.value)).unwrap();
    headers.iter().map(pair).collect()
}

/// What a denied response says: status, headers, body.
struct Denied {
    status: i32,
    headers: Vec<(String, String)>,
    body: String,
    reason: String,
}

impl Denied {
    fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }
}

fn metadata(answer: &CheckResponse) -> BTreeMap<String, String> {
    let fields = &answer.dynamic_metadata.as_ref().unwrap().fields;
    let text = |kind: &Option<Kind>| match kind {
        Some(Kind::StringValue(text)) => text.clone(),
        other => panic!("a text, found {other:?}"),
    };
    fields.iter().map(|(name, value)| (name.clone(), text(&value.kind))).collect()
}

fn denied(answer: CheckResponse) -> Denied {
    let told = metadata(&answer);
    assert_eq!(told["decision"], "deny");
    assert_ne!(answer.status.unwrap().code, 0);
    let Some(HttpResponse::DeniedResponse(response)) = answer.http_response else { panic!("denied") };
    Denied {
        status: response.status.unwrap().code,
        headers: pairs(&response.headers),
        body: response.body,
        reason: told["reason"].clone(),
    }
}

impl World {
    async fn ask(&self, request: CheckRequest) -> CheckResponse {
        AuthorizationClient::new(self.channel().await).check(request).await.unwrap().into_inner()
    }

    async fn refused(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Denied {
        denied(self.ask(asked(method, path, headers)).await)
    }

    /// The HTTP status that a bearer of `token` gets.
    pub async fn check_code(&self, token: &str) -> i32 {
        let answer = self.ask(asked("GET", "/", &[("authorization", &format!("Bearer {token}"))])).await;
        match answer.http_response {
            Some(HttpResponse::DeniedResponse(denied)) => denied.status.unwrap().code,
            Some(HttpResponse::OkResponse(_)) if answer.status.is_some_and(|status| status.code == 0) => 200,
            other => panic!("an answer, found {other:?}"),
        }
    }

    pub async fn denied(&self, token: &str) -> (i32, Vec<(String, String)>) {
        let denied = self.refused("GET", "/", &[("authorization", &format!("Bearer {token}"))]).await;
        (denied.status, denied.headers)
    }
}

#[tokio::test]
async fn an_allow_sets_or_removes_every_identity_header() {
    let world = world().await;
    let order = current::GenerateTokensRequest {
        session_id: "s-1".to_owned(),
        scopes: vec!["read".to_owned()],
        ..super::order("alice")
    };
    let pair = world.current().await.generate_tokens(by(ALL, order)).await.unwrap().into_inner();
    let answer = world
        .ask(asked("PATCH", "/a/../b%2Fc?x=1", &[("authorization", &format!("Bearer {}", pair.access_token))]))
        .await;
    assert_eq!(answer.status.as_ref().unwrap().code, 0);
    let told = metadata(&answer);
    assert_eq!(
        (told["decision"].as_str(), told["reason"].as_str(), told["subject"].as_str()),
        ("allow", "allowed", "alice")
    );
    let Some(HttpResponse::OkResponse(allowed)) = answer.http_response else { panic!("allowed") };
    let set: BTreeMap<String, String> = pairs(&allowed.headers).into_iter().collect();
    // **INV**: each is set, replacing what was there, or removed; none is left alone.
    #[expect(deprecated, reason = "Envoy's ext_authz reads `append` here")]
    let replaces = |header: &HeaderValueOption| !header.append.as_ref().unwrap().value;
    assert!(allowed.headers.iter().all(replaces));
    for name in IDENTITY_HEADERS {
        assert_ne!(set.contains_key(name), allowed.headers_to_remove.iter().any(|removed| removed == name), "{name}");
    }
    assert_eq!(
        (set["x-subject"].as_str(), set["x-scope"].as_str(), set["x-session-id"].as_str()),
        ("alice", "read", "s-1")
    );
    for removed in ["x-user-id", "x-network", "x-token-jkt"] {
        assert!(allowed.headers_to_remove.iter().any(|name| name == removed), "{removed}");
    }
    assert!(world.shows(r#"token_service_authorizations_total{decision="allowed"} 1"#));
}

#[tokio::test]
async fn each_no_has_its_own_status_and_challenge() {
    let world = world().await;
    let pair = world.pair("alice", "").await;
    let bearer = format!("Bearer {}", pair.access_token);
    let caller = world.service.callers().named("all").unwrap().clone();
    let token = TokenOrder { user_id: "alice".to_owned(), rate_limit: Some(1), ..TokenOrder::default() };
    let limited = world.service.issue_token(&caller, &token).await.unwrap();
    let limited = format!("Bearer {}", *limited.token);
    let parent = world.service.issue_parent(&caller, &PairOrder { token, ..PairOrder::default() }).await.unwrap();
    let parent = format!("Bearer {}", *parent.parent.token);
    let refresh = format!("Bearer {}", pair.refresh_token);
    world.ask(asked("GET", "/", &[("authorization", &limited)])).await;
    let joined = format!("{bearer},{bearer}");
    let as_if_bound = bearer.replace("Bearer", "DPoP");
    let spaced = format!("{bearer}, {bearer}");
    let cases = [
        ("nothing", vec![], 401, "missing_token"),
        ("another scheme", vec![("authorization", "Basic YTpi")], 401, "malformed_authorization"),
        ("joined", vec![("authorization", &joined)], 401, "malformed_authorization"),
        ("joined with a space", vec![("authorization", &spaced)], 401, "malformed_authorization"),
        ("garbage", vec![("authorization", "Bearer garbage")], 401, "invalid_token"),
        (
            "an empty own header",
            vec![("authorization", &bearer), ("autonity-token", "")],
            401,
            "malformed_authorization",
        ),
        ("as if bound", vec![("authorization", &as_if_bound)], 401, "invalid_token"),
        ("several proofs", vec![("authorization", &bearer), ("dpop", "a,b")], 401, "invalid_dpop_proof"),
        ("a parent", vec![("authorization", &parent)], 403, "not_an_access_token"),
        ("a refresh token", vec![("authorization", &refresh)], 403, "not_an_access_token"),
        ("too often", vec![("authorization", &limited)], 429, "rate_limited"),
    ];
    for (what, headers, status, reason) in cases {
        let found = world.refused("GET", "/", &headers).await;
        assert_eq!((found.status, found.reason.as_str()), (status, reason), "{what}: {}", found.body);
        assert_eq!(found.values("www-authenticate").is_empty(), status != 401, "{what}");
        assert_eq!(found.values("retry-after").is_empty(), status != 429, "{what}");
        assert_eq!(
            (found.values("x-decision-id").len(), found.values("cache-control")),
            (1, vec!["no-store"]),
            "{what}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&found.body).unwrap()["error"].is_string(), "{what}");
    }
    let both = world.refused("GET", "/", &[]).await;
    let challenges = both.values("www-authenticate");
    assert!(challenges[0].starts_with("Bearer ") && challenges[1].starts_with("DPoP "), "{challenges:?}");
    let revoke = current::RevokeTokenRequest { token: pair.access_token.clone(), token_type_hint: String::new() };
    world.current().await.revoke_token(by(ALL, revoke)).await.unwrap();
    let revoked = world.refused("GET", "/", &[("authorization", &bearer)]).await;
    assert_eq!((revoked.status, revoked.reason.as_str()), (403, "revoked"));
}

#[tokio::test]
async fn raw_headers_are_read_and_two_of_one_name_refused() {
    let world = world().await;
    let pair = world.pair("alice", "").await;
    let raw = |values: &[&str]| {
        let header = |value: &&str| HeaderValue {
            key: "authorization".to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..Default::default()
        };
        let header_map = Some(HeaderMap { headers: values.iter().map(header).collect() });
        request(HttpRequest { method: "GET".to_owned(), path: "/".to_owned(), header_map, ..Default::default() })
    };
    let good = format!("Bearer {}", pair.access_token);
    assert_eq!(world.ask(raw(&[&good])).await.status.unwrap().code, 0);
    for values in [[good.as_str(), good.as_str()], [good.as_str(), "Bearer x"]] {
        assert_eq!(denied(world.ask(raw(&values)).await).reason, "malformed_authorization");
    }
}

#[tokio::test]
async fn what_is_no_http_request_is_denied_and_not_failed() {
    let world = world().await;
    let pair = world.pair("alice", "").await;
    let good = format!("Bearer {}", pair.access_token);
    let bearer = [("authorization", good.as_str())];
    for request in [
        CheckRequest::default(),
        CheckRequest { attributes: Some(AttributeContext::default()) },
        asked("GET", "", &bearer),
        asked("GET", "@evil.example/", &bearer),
        asked("GET", "*", &bearer),
        asked("", "/", &bearer),
        asked("GET", "/", &[("authorization", "Bearer a\r\nx: y")]),
    ] {
        let found = denied(world.ask(request).await);
        assert_eq!((found.status, found.reason.as_str()), (400, "bad_request"));
    }
}

#[tokio::test]
async fn a_bound_token_needs_its_proof_for_this_very_request() {
    let world = world().await;
    let (key, other) =
        (LocalSigner::generate(Algorithm::Es256).unwrap(), LocalSigner::generate(Algorithm::Es256).unwrap());
    let generate = "/token.v1.TokenService/GenerateTokens";
    let pair = world.pair("alice", &world.proof(&key, generate, "0")).await;
    let (dpop, bearer) = (format!("DPoP {}", pair.access_token), format!("Bearer {}", pair.access_token));
    let proof = |key: &LocalSigner, jti: &str, method: &str, path: &str| {
        let htu = format!("{API}{path}");
        world.proof_with(key, jti, &json!({"htm": method, "htu": htu, "ath": ath(&pair.access_token)}))
    };
    let first = proof(&key, "1", "PUT", "/orders/7");
    let forwarded = [
        ("authorization", dpop.as_str()),
        ("dpop", first.as_str()),
        // A client's own: nobody looks at them.
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/other"),
        ("x-original-uri", "/other"),
        ("x-http-method-override", "GET"),
        ("host", "evil.example"),
    ];
    let answer = world.ask(asked("PUT", "/orders/7?a=b", &forwarded)).await;
    let Some(HttpResponse::OkResponse(allowed)) = &answer.http_response else { panic!("{answer:?}") };
    let set: BTreeMap<String, String> = pairs(&allowed.headers).into_iter().collect();
    assert_eq!(set["x-token-jkt"], token_jose::Signer::public_key(&key).kid().to_string());
    assert_eq!(pairs(&allowed.response_headers_to_add)[0].0, "dpop-nonce");

    let replayed = world.refused("PUT", "/orders/7", &[("authorization", &dpop), ("dpop", &first)]).await;
    assert_eq!((replayed.status, replayed.reason.as_str()), (401, "invalid_dpop_proof"));
    assert!(replayed.values("www-authenticate")[0].starts_with("DPoP error=\"invalid_dpop_proof\""));
    let as_bearer = world.refused("PUT", "/orders/7", &[("authorization", &bearer)]).await;
    assert_eq!((as_bearer.status, as_bearer.reason.as_str()), (401, "invalid_token"));
    for (what, proof, reason) in [
        ("another method", proof(&key, "2", "GET", "/orders/7"), "invalid_dpop_proof"),
        ("another path", proof(&key, "3", "PUT", "/orders/8"), "invalid_dpop_proof"),
        ("another key", proof(&other, "4", "PUT", "/orders/7"), "invalid_dpop_proof"),
        (
            "no token's hash",
            world.proof_with(&key, "5", &json!({"htm": "PUT", "htu": format!("{API}/orders/7")})),
            "invalid_dpop_proof",
        ),
        (
            "old",
            world.proof_with(
                &key,
                "6",
                &json!({"htm": "PUT", "htu": format!("{API}/orders/7"), "ath": ath(&pair.access_token), "iat": 1}),
            ),
            "use_dpop_nonce",
        ),
    ] {
        let found = world.refused("PUT", "/orders/7", &[("authorization", &dpop), ("dpop", &proof)]).await;
        assert_eq!((found.status, found.reason.as_str()), (401, reason), "{what}: {}", found.body);
        assert_eq!(found.values("dpop-nonce").is_empty(), reason != "use_dpop_nonce", "{what}");
    }
    let none = world.refused("PUT", "/orders/7", &[("authorization", &dpop)]).await;
    assert_eq!((none.status, none.reason.as_str()), (401, "invalid_dpop_proof"));
    // The nonce heals a wrong clock.
    let nonce =
        none.values("dpop-nonce").first().map(|nonce| (*nonce).to_owned()).unwrap_or_else(|| world.service.nonce());
    let claims = json!({"htm": "PUT", "htu": format!("{API}/orders/7"), "ath": ath(&pair.access_token), "iat": 1, "nonce": nonce});
    let healed = world.proof_with(&key, "7", &claims);
    let answer = world.ask(asked("PUT", "/orders/7", &[("authorization", &dpop), ("dpop", &healed)])).await;
    assert_eq!(answer.status.unwrap().code, 0);
}

#[tokio::test]
async fn a_value_that_no_header_holds_is_removed_and_never_the_clients() {
    let rules = token_service::service::Rules { audiences: vec![API.to_owned()], ..rules() };
    let world = world_with(super::Options { rules, ..Default::default() }).await;
    let pair = world.pair("alice", "").await;
    let headers = [("authorization", format!("Bearer {}", pair.access_token)), ("x-user-id", "admin".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = world.ask(asked("GET", "/", &headers)).await;
    let Some(HttpResponse::OkResponse(allowed)) = answer.http_response else { panic!("allowed") };
    assert!(allowed.headers_to_remove.contains(&"x-user-id".to_owned()));
    assert!(pairs(&allowed.headers).iter().all(|(_, value)| value != "admin"));
}
