//! Requests that nobody sends by accident.

use serde_json::json;

use super::fixture::{KEY, claims, world};

#[tokio::test]
async fn a_header_that_decides_is_there_once() {
    let world = world();
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    let body = json!({"user_id": "a"});
    let twice = world.post("/tokens").key(KEY).key(KEY).json(&body).send().await;
    assert_eq!(twice.error(), (400, "Invalid request".to_owned()));
    let joined =
        world.post("/tokens").header("authorization", &format!("Bearer {KEY}, Bearer {KEY}")).json(&body).send().await;
    assert_eq!(joined.status, 401);
    assert_eq!(world.get("/authorize").key(&token).key("x").send().await.status, 401);
    assert_eq!(world.get("/authorize").key("x").key(&token).send().await.status, 401);
    assert_eq!(
        world.get("/authorize").key(&token).header("dpop", "a.b.c").header("dpop", "d.e.f").send().await.status,
        401
    );
    let parent = world.pair("a").await["parent_token"].as_str().unwrap().to_owned();
    assert_eq!(world.get("/tokens/latest").key(&parent).key(&parent).send().await.status, 400);
    let form = [("grant_type", "client_credentials")];
    assert_eq!(world.post("/oauth2/token").basic("backend", KEY).key(KEY).form(&form).send().await.status, 400);
    let types = world.post("/tokens").key(KEY).json(&body).header("content-type", "application/json").send().await;
    assert_eq!(types.status, 415);
}

#[tokio::test]
async fn what_looks_like_authorize_reaches_nothing_else_and_nothing_else_reaches_it() {
    let world = world();
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    // Below /authorize, dots and encodings are the original request's, and are never resolved.
    for path in [
        "/authorize/../tokens",
        "/authorize/..%2ftokens",
        "/authorize/%2e%2e/tokens",
        "/authorize/%2E%2E%2Ftoken-pairs",
        "/authorize/./health",
        "/authorize/..;/metrics",
        "/authorize/%00",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let denied = world.ask(method, path).json(&json!({"user_id": "a"})).send().await;
            assert_eq!(denied.error().0, 401, "{method} {path}");
            let allowed = world.ask(method, path).key(&token).send().await;
            assert_eq!((allowed.status, allowed.text.as_str()), (200, ""), "{method} {path}");
        }
    }
    for path in [
        "//authorize",
        "/Authorize",
        "/authorize%2f",
        "/%61uthorize",
        "/authorizeX",
        "/x/../authorize",
        "/./authorize",
        "/authorize;x",
    ] {
        let reply = world.get(path).key(&token).send().await;
        assert_eq!(reply.error(), (404, "Not found".to_owned()), "{path}");
        assert!(reply.headers.get("x-user-id").is_none());
    }
    for path in ["//tokens", "/tokens/", "/tokens/../token-pairs", "/TOKENS", "/%74okens", "/oauth2/token/", "/"] {
        let reply = world.post(path).key(KEY).json(&json!({"user_id": "a"})).send().await;
        assert!(reply.status == 404 || reply.status == 405, "{path}: {}", reply.status);
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_strict() {
    let world = world();
    let large = format!("{{\"user_id\":\"a\",\"network\":\"{}\"}}", "x".repeat(70_000));
    for path in ["/tokens", "/token-pairs"] {
        let reply = world.post(path).key(KEY).body("application/json", large.clone()).send().await;
        assert_eq!(reply.error(), (413, "Request body too large".to_owned()));
    }
    let form = format!("grant_type=client_credentials&x={}", "y".repeat(70_000));
    let reply =
        world.post("/oauth2/token").basic("backend", KEY).body("application/x-www-form-urlencoded", form).send().await;
    assert_eq!(reply.error(), (413, "invalid_request".to_owned()));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let deep = format!("{{\"user_id\":\"a\",\"audience\":{deep}}}");
    assert_eq!(world.post("/tokens").key(KEY).body("application/json", deep).send().await.status, 400);
    for user in ["a\u{0}b", "a\nb", "ü", "a\"b c", &"x".repeat(256), "../../etc", "{{7*7}}"] {
        let reply = world.post("/tokens").key(KEY).json(&json!({"user_id": user})).send().await;
        assert!(reply.status == 400 || reply.status == 201, "{user:?}");
        if reply.status == 201 {
            assert_eq!(claims(reply.json()["token"].as_str().unwrap())["sub"], format!("user_{user}"));
        } else {
            assert!(!reply.text.contains(user), "a foreign text is not echoed: {}", reply.text);
        }
    }
    let name = "n".repeat(10_000);
    let reply = world.post("/tokens").key(KEY).json(&json!({"user_id": "a", name.as_str(): 1})).send().await;
    assert!(reply.status == 400 && reply.text.len() < 400, "{}", reply.text);
}

#[tokio::test]
async fn other_methods_are_405_with_allow() {
    let world = world();
    for (method, path, allow) in [
        ("GET", "/tokens", "POST"),
        ("PUT", "/token-pairs", "POST"),
        ("OPTIONS", "/renew", "POST"),
        ("POST", "/tokens/latest", "GET,HEAD"),
        ("DELETE", "/tokens/latest", "GET,HEAD"),
        ("GET", "/users/a/tokens", "DELETE"),
        ("GET", "/oauth2/token", "POST"),
        ("DELETE", "/.well-known/jwks.json", "GET,HEAD"),
        ("POST", "/health", "GET,HEAD"),
    ] {
        let reply = world.ask(method, path).key(KEY).send().await;
        assert_eq!(reply.error(), (405, "Method not allowed".to_owned()), "{method} {path}");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
    let head = world.ask("HEAD", "/.well-known/jwks.json").send().await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn nothing_that_opens_a_door_is_in_the_metrics() {
    let world = world();
    let pair = world.pair("alice-in-metrics").await;
    let token = world.token("alice-in-metrics").await;
    world.authorize(token["token"].as_str().unwrap()).await;
    world.ask("DELETE", "/users/alice-in-metrics/tokens").key(KEY).send().await;
    let reply = world.get("/metrics").send().await;
    assert_eq!(reply.status, 200);
    for secret in
        ["alice-in-metrics", pair["parent_jti"].as_str().unwrap(), token["token_id"].as_str().unwrap(), "eyJ", KEY]
    {
        assert!(!reply.text.contains(secret), "{secret}");
    }
    for line in [
        "token_service_tokens_issued_total{token_type=\"parent\",algorithm=\"ES256\"} 1",
        "token_service_tokens_issued_total{token_type=\"access\",algorithm=\"ES256\"} 1",
        "token_service_authorizations_total{decision=\"allowed\"} 1",
        "token_service_tokens_revoked_total{reason=\"user\"} 1",
        "token_service_crypto_operations_total{operation=\"sign\",status=\"success\"} 3",
        "token_service_cache_operations_total{operation=\"revoke\",status=\"success\"} 2",
        "jwt_parent_tokens_active_total 1.0",
        "jwt_revoked_tokens_total 1.0",
    ] {
        assert!(reply.text.lines().any(|found| found == line), "{line} in\n{}", reply.text);
    }
    assert_eq!(world.metrics.text().matches("# TYPE jwt_parent_tokens_active_total").count(), 1);
    world.pair("bob").await;
    assert!(world.get("/metrics").send().await.text.contains("jwt_parent_tokens_active_total 2.0"));
}
