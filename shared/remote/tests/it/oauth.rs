//! Finding an issuer's endpoints, and exchanging a token.

use serde_json::{Value, json};
use token_remote::{DiscoveryError, ExchangeRequest, TokenEndpointError, discover, token_exchange};
use token_testkit::{RemoteStub, StubAnswer, StubRequest};

use crate::{client, impatient, url};

const SECRET: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2VjcmV0LXRoYXQtbm9ib2R5LW1heS1zaG93";

/// A server whose documents, by path, are made of its own address.
fn documents(by_path: impl Fn(&str, &str) -> Option<Value> + Send + Sync + 'static) -> RemoteStub {
    RemoteStub::start(move |request: &StubRequest| {
        let base = format!("http://{}", request.header("host").unwrap());
        by_path(&request.path, &base).map_or(StubAnswer::status(404), |document| StubAnswer::json(&document))
    })
}

#[tokio::test]
async fn metadata_is_found_at_either_address() {
    let stub = documents(|path, base| match path {
        "/.well-known/oauth-authorization-server/a/b" => Some(json!({
            "issuer": format!("{base}/a/b"), "jwks_uri": format!("{base}/keys"), "token_endpoint": format!("{base}/t"),
        })),
        "/c/.well-known/openid-configuration" => Some(json!({"issuer": format!("{base}/c/")})),
        "/.well-known/openid-configuration" => Some(json!({"issuer": base, "extra": [1]})),
        _ => None,
    });
    let client = client(&impatient());
    let found = discover(&client, &format!("{}/a/b", stub.url())).await.unwrap();
    assert_eq!(found.jwks_uri, Some(url(&format!("{}/keys", stub.url()))));
    assert_eq!(found.token_endpoint, Some(url(&format!("{}/t", stub.url()))));
    let found = discover(&client, &format!("{}/c/", stub.url())).await.unwrap();
    assert_eq!(
        (found.jwks_uri, found.found_at.as_str()),
        (None, &*format!("{}/c/.well-known/openid-configuration", stub.url()))
    );
    let found = discover(&client, &stub.url()).await.unwrap();
    assert_eq!((found.issuer, &found.document["extra"]), (stub.url(), &json!([1])));
    let error = discover(&client, &format!("{}/nowhere", stub.url())).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_document_of_another_issuer_is_not_believed() {
    let stub = documents(|path, base| {
        let issuer = match path {
            "/.well-known/oauth-authorization-server/slash" => json!(format!("{base}/slash/")),
            "/.well-known/oauth-authorization-server/other" => json!("https://evil.example"),
            "/.well-known/oauth-authorization-server/list" => json!([format!("{base}/list")]),
            "/.well-known/oauth-authorization-server/none" => Value::Null,
            _ => return None,
        };
        Some(json!({"issuer": issuer, "jwks_uri": "https://evil.example/keys"}))
    });
    let client = client(&impatient());
    for path in ["slash", "other", "list", "none"] {
        let error = discover(&client, &format!("{}/{path}", stub.url())).await.unwrap_err();
        assert!(matches!(error, DiscoveryError::OtherIssuer { .. }), "{path}: {error}");
    }
    for issuer in ["http://issuer.example", "https://issuer.example/?a=1", "issuer.example", ""] {
        assert!(discover(&client, issuer).await.is_err(), "{issuer}");
    }
    assert_eq!(stub.requests().len(), 4);
}

#[tokio::test]
async fn endpoints_that_may_not_be_called_and_outages_are_said() {
    let stub = documents(|path, base| {
        let issuer =
            path.strip_prefix("/.well-known/oauth-authorization-server").map(|path| format!("{base}{path}"))?;
        Some(
            json!({"issuer": issuer, "token_endpoint": if path.ends_with("/clear") { json!("http://issuer.example/t") } else { json!(7) }}),
        )
    });
    let http = client(&impatient());
    for path in ["clear", "number"] {
        let error = discover(&http, &format!("{}/{path}", stub.url())).await.unwrap_err();
        assert!(matches!(error, DiscoveryError::Member { member: "token_endpoint", .. }), "{error}");
    }
    let down = RemoteStub::start(|_| StubAnswer::status(503));
    let error = discover(&http, &down.url()).await.unwrap_err();
    assert!(matches!(&error, DiscoveryError::Remote(error) if error.is_outage()), "{error}");
    assert_eq!(down.requests().len(), 1);
}

#[tokio::test]
async fn an_exchange_sends_what_was_given_and_reads_what_was_issued() {
    let stub = RemoteStub::start(|_| {
        StubAnswer::json(&json!({
            "access_token": SECRET, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer", "expires_in": 300,
        }))
    });
    let request = ExchangeRequest {
        subject_token: "subject token",
        actor_token: Some(("actor", "urn:ietf:params:oauth:token-type:jwt")),
        audience: Some("did:web:a"),
        scope: Some("read write"),
        ..ExchangeRequest::default()
    };
    let endpoint = url(&stub.url()).join("token").unwrap();
    let token = token_exchange(&client(&impatient()), &endpoint, &request, &[("dpop", "proof")]).await.unwrap();
    assert_eq!(
        (token.access_token.as_str(), token.token_type.as_str(), token.expires_in),
        (SECRET, "Bearer", Some(300))
    );
    assert!(!format!("{token:?} {request:?}").contains(SECRET) && !format!("{request:?}").contains("subject token"));
    let sent = &stub.requests()[0];
    assert_eq!(sent.header("dpop"), Some("proof"));
    assert_eq!(
        String::from_utf8_lossy(&sent.body),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=subject+token\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&actor_token=actor\
         &actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&audience=did%3Aweb%3Aa&scope=read+write"
    );
}

#[tokio::test]
async fn a_refusal_is_told_from_an_outage_and_repeats_no_token() {
    let echo = json!({"error": "invalid_grant\n", "error_description": format!("bad token {SECRET} \u{1b}[31m")});
    for (status, body, outage, expected) in [
        (400, echo, false, "invalid_grant\\n: bad token … \\u{1b}[31m"),
        (401, json!({"error": "invalid_client"}), false, "(HTTP 401): invalid_client"),
        (403, json!({"message": "Forbidden"}), false, "HTTP 403"),
        (429, json!({"error": "slow_down"}), true, "HTTP 429"),
        (503, json!({"error": "temporarily_unavailable"}), true, "HTTP 503"),
        (200, json!({"token_type": "Bearer"}), false, "expected access_token"),
        (200, json!({"access_token": SECRET}), false, "expected token_type"),
        (200, json!({"access_token": {"a": SECRET}, "token_type": "Bearer"}), false, "expected access_token"),
        (302, json!({}), false, "redirect"),
    ] {
        let answer = StubAnswer::Full(status, vec![], body.to_string().into_bytes());
        let stub = RemoteStub::start(move |_| answer.clone());
        let request = ExchangeRequest { subject_token: SECRET, ..ExchangeRequest::default() };
        let error = token_exchange(&client(&impatient()), &url(&stub.url()), &request, &[]).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{text}");
        assert_eq!(error.is_outage(), outage, "{text}");
        assert_eq!(matches!(error, TokenEndpointError::Refused { .. }), matches!(status, 400 | 401), "{text}");
    }
}
