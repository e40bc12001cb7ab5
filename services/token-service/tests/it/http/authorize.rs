//! `/authorize`: who passes, what the upstream is told, and what a refused client is told.

use http::HeaderMap;
use serde_json::json;
use token_service::http::{AuthorizeMode, IDENTITY_HEADERS};

use super::fixture::{API, ISSUER, KEY, Prover, Reply, Setting, World, world, world_with};

fn mode(mode: AuthorizeMode) -> World {
    world_with(Setting { mode, ..Setting::default() })
}

#[tokio::test]
async fn any_method_and_path_is_decided_and_a_denial_is_told_as_the_former_service_did() {
    let world = world();
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in [
            "/authorize",
            "/authorize/",
            "/authorize/orders/1?x=1",
            "/authorize//",
            "/authorize/tokens",
            "/authorize/%zz",
            "/authorize/%ff/a%2fb",
        ] {
            let reply = world.ask(method, path).key(&token).send().await;
            assert_eq!((reply.status, reply.text.as_str()), (200, ""), "{method} {path}");
            assert_eq!(world.ask(method, path).send().await.status, 401, "{method} {path}");
        }
    }
    let deny = async |authorization: &str| world.get("/authorize").header("authorization", authorization).send().await;
    assert_eq!(world.get("/authorize").send().await.error(), (401, "Missing Authorization header".to_owned()));
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        &token,
        &format!("Bearer {token} x"),
        &format!("Bearer {token},{token}"),
    ] {
        assert_eq!(deny(wrong).await.error(), (401, "Invalid Authorization header format".to_owned()), "{wrong}");
    }
    for wrong in ["Bearer garbage", &format!("Bearer {token}x"), "Bearer a.b.c", &format!("Bearer {KEY}")] {
        let reply = deny(wrong).await;
        assert_eq!(reply.error(), (401, "Invalid JWT token".to_owned()), "{wrong}");
        assert!(reply.header("www-authenticate").contains("error=\"invalid_token\""), "{reply:?}");
    }
    assert_eq!(deny(&format!("bearer {token}")).await.status, 200, "a scheme has no case");
}

#[tokio::test]
async fn a_missing_token_is_challenged_for_both_schemes() {
    let world = world();
    let reply = world.get("/authorize/x").send().await;
    let challenges: Vec<_> =
        reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(challenges, ["Bearer realm=\"token-service\"", "DPoP algs=\"ES256 EdDSA Ed25519\""]);
}

/// With a client's own identity headers.
fn forged(mut ask: super::fixture::Ask<'_>) -> super::fixture::Ask<'_> {
    for name in IDENTITY_HEADERS {
        ask = ask.header(name, "forged");
    }
    ask
}

fn assert_identity(headers: &HeaderMap, expected: &[(&str, &str)]) {
    for name in IDENTITY_HEADERS {
        let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        let expected = expected.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| *value);
        assert_eq!(values, [expected], "{name}: exactly one on every allow");
    }
}

#[tokio::test]
async fn every_identity_header_is_set_on_every_allow() {
    let world = world();
    let body = json!({"user_id": "alice", "network": "mainnet", "rate_limit": 7, "scope": "read write"});
    let token = world.post("/tokens").key(KEY).json(&body).send().await.json();
    let reply = forged(world.get("/authorize/x").key(token["token"].as_str().unwrap())).send().await;
    assert_eq!(reply.status, 200);
    let expires = "1795352400";
    assert_identity(
        &reply.headers,
        &[
            ("x-user-id", "alice"),
            ("x-subject", "user_alice"),
            ("x-scope", "read write"),
            ("x-network", "mainnet"),
            ("x-rate-limit", "7"),
            ("x-token-expires", expires),
        ],
    );
    let form = [("grant_type", "client_credentials")];
    let client = world.post("/oauth2/token").basic("narrow", super::fixture::NARROW).form(&form).send().await.json();
    let reply = forged(world.get("/authorize/x").key(client["access_token"].as_str().unwrap())).send().await;
    assert_eq!(reply.status, 200);
    assert_identity(
        &reply.headers,
        &[("x-subject", "narrow"), ("x-client-id", "narrow"), ("x-token-expires", reply.header("x-token-expires"))],
    );
}

#[tokio::test]
async fn parents_and_refresh_tokens_are_403() {
    let world = world();
    let pair = world.pair("alice").await;
    let form = [("grant_type", "client_credentials"), ("scope", "offline_access")];
    let session = world.post("/oauth2/token").basic("narrow", super::fixture::NARROW).form(&form).send().await.json();
    for token in [&pair["parent_token"], &session["refresh_token"]] {
        let reply = world.get("/authorize/x").key(token.as_str().unwrap()).send().await;
        assert_eq!(reply.error(), (403, "Token is not an access token".to_owned()));
    }
    assert_eq!(world.authorize(session["access_token"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn autonity_token_alone_counts_when_it_is_there() {
    let world = world();
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    let ask = |autonity: &str| world.get("/authorize").key(&token).header("autonity-token", autonity);
    assert_eq!(world.get("/authorize").header("autonity-token", &token).send().await.status, 200);
    assert_eq!(ask(&token).send().await.status, 200);
    assert_eq!(ask("garbage").send().await.error(), (401, "Invalid JWT token".to_owned()), "no fallback");
    assert_eq!(ask("").send().await.error(), (401, "Empty Autonity-Token header".to_owned()));
    assert_eq!(ask(" ").send().await.status, 401);
    assert_eq!(ask(&token).header("autonity-token", &token).send().await.status, 401, "twice is refused");
}

#[tokio::test]
async fn a_tokens_rate_limit_is_429_with_retry_after() {
    let world = world();
    let body = json!({"user_id": "alice", "rate_limit": 2});
    let token = world.post("/tokens").key(KEY).json(&body).send().await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!((world.authorize(&token).await, world.authorize(&token).await), (200, 200));
    let reply = world.get("/authorize").key(&token).send().await;
    assert_eq!(reply.error(), (429, "Rate limit exceeded".to_owned()));
    assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn tokens_of_others_and_for_others_are_401() {
    let world = world();
    let other = json!({"user_id": "alice", "audience": "https://other.example"});
    let other = world.post("/tokens").key(KEY).json(&other).send().await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(world.authorize(&other).await, 401, "an audience that this door does not guard");
    let foreign = super::fixture::world().token("alice").await["token"].as_str().unwrap().to_owned();
    assert_eq!(world.authorize(&foreign).await, 401, "keys of another");
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    world.clock.advance(3600 + 61);
    assert_eq!(world.authorize(&token).await, 401, "expired");
}

/// A bound token, and its key.
async fn bound(world: &World) -> (Prover, String) {
    let prover = Prover::new();
    let proof = prover.proof("POST", &format!("{ISSUER}/tokens"), world.clock.now(), None, None);
    let reply = world.post("/tokens").key(KEY).header("dpop", &proof).json(&json!({"user_id": "alice"})).send().await;
    (prover, reply.json()["token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_bound_token_passes_with_a_proof_for_this_request_only() {
    let world = world();
    let (prover, token) = bound(&world).await;
    let now = world.clock.now();
    let ask = async |scheme: &str, method: &str, path: &str, proof: Option<&str>| -> Reply {
        let mut ask = world.ask(method, path).header("authorization", &format!("{scheme} {token}"));
        if let Some(proof) = proof {
            ask = ask.header("dpop", proof);
        }
        ask.send().await
    };
    let proof = |method: &str, uri: &str| prover.proof(method, uri, now, Some(&token), None);
    let good = proof("PUT", &format!("{API}/orders/1"));
    let reply = ask("DPoP", "PUT", "/authorize/orders/1?a=b", Some(&good)).await;
    assert_eq!((reply.status, reply.header("x-token-jkt")), (200, prover.jkt().as_str()), "{}", reply.text);
    assert!(!reply.header("dpop-nonce").is_empty());
    for (what, scheme, method, path, proof) in [
        ("used before", "DPoP", "PUT", "/authorize/orders/1", Some(good.clone())),
        ("bearer", "Bearer", "GET", "/authorize/x", None),
        ("bearer with a proof", "Bearer", "GET", "/authorize/x", Some(proof("GET", &format!("{API}/x")))),
        ("no proof", "DPoP", "GET", "/authorize/x", None),
        ("another method", "DPoP", "GET", "/authorize/x", Some(proof("POST", &format!("{API}/x")))),
        ("another path", "DPoP", "GET", "/authorize/x", Some(proof("GET", &format!("{API}/y")))),
        (
            "the prefix is no part of it",
            "DPoP",
            "GET",
            "/authorize/x",
            Some(proof("GET", &format!("{API}/authorize/x"))),
        ),
        ("another host", "DPoP", "GET", "/authorize/x", Some(proof("GET", "https://evil.example/x"))),
        ("two proofs", "DPoP", "GET", "/authorize/x", Some(format!("{0},{0}", proof("GET", &format!("{API}/x"))))),
    ] {
        let reply = ask(scheme, method, path, proof.as_deref()).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        assert!(!reply.header("www-authenticate").is_empty(), "{what}");
    }
    // The origin root.
    assert_eq!(ask("DPoP", "GET", "/authorize/", Some(&proof("GET", &format!("{API}/")))).await.status, 200);
}

#[tokio::test]
async fn a_nonce_is_asked_for_and_heals() {
    let world = world_with(Setting { nonce_required: true, ..Setting::default() });
    let prover = Prover::new();
    let now = world.clock.now();
    let mint = async |nonce: Option<&str>| {
        let proof = prover.proof("POST", &format!("{ISSUER}/tokens"), now, None, nonce);
        world.post("/tokens").key(KEY).header("dpop", &proof).json(&json!({"user_id": "a"})).send().await
    };
    let nonce = mint(None).await.header("dpop-nonce").to_owned();
    let token = mint(Some(&nonce)).await.json()["token"].as_str().unwrap().to_owned();
    let ask = async |nonce: Option<&str>| {
        let proof = prover.proof("GET", &format!("{API}/x"), now, Some(&token), nonce);
        world.get("/authorize/x").header("authorization", &format!("DPoP {token}")).header("dpop", &proof).send().await
    };
    let reply = ask(None).await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").starts_with("DPoP error=\"use_dpop_nonce\""), "{reply:?}");
    assert_eq!(ask(Some(reply.header("dpop-nonce"))).await.status, 200);
    assert_eq!(ask(Some("made-up")).await.status, 401);
}

#[tokio::test]
async fn the_mode_alone_says_where_the_original_request_is() {
    for (kind, method_header, uri_header) in [
        (AuthorizeMode::Nginx, "x-original-method", "x-original-uri"),
        (AuthorizeMode::Traefik, "x-forwarded-method", "x-forwarded-uri"),
    ] {
        let world = mode(kind);
        let (prover, token) = bound(&world).await;
        let now = world.clock.now();
        let proof = |path: &str| prover.proof("DELETE", &format!("{API}{path}"), now, Some(&token), None);
        let ask = |path: &str, proof: &str| {
            world
                .get("/authorize")
                .header("authorization", &format!("DPoP {token}"))
                .header("dpop", proof)
                .header(method_header, "DELETE")
                .header(uri_header, path)
        };
        assert_eq!(ask("/orders/1?a=b", &proof("/orders/1")).send().await.status, 200, "{kind}");
        // Another convention's headers change nothing.
        let (other_method, other_uri) = if kind == AuthorizeMode::Nginx {
            ("x-forwarded-method", "x-forwarded-uri")
        } else {
            ("x-original-method", "x-original-uri")
        };
        let reply = ask("/orders/2", &proof("/orders/1"))
            .header(other_method, "DELETE")
            .header(other_uri, "/orders/1")
            .send()
            .await;
        assert_eq!(reply.status, 401, "{kind}");
        let reply = ask("/orders/2", &proof("/orders/1"))
            .header("x-envoy-original-path", "/orders/1")
            .header("x-forwarded-host", "evil.example")
            .send()
            .await;
        assert_eq!(reply.status, 401, "{kind}");
        for (method, uri) in [
            (None, Some("/x")),
            (Some("GET"), None),
            (Some("GET"), Some("")),
            (Some("GET"), Some(".evil.example/x")),
            (Some("GET"), Some("@evil.example/")),
            (Some("GET"), Some("https://evil.example/")),
        ] {
            let mut ask = world.get("/authorize/x").key("x");
            if let Some(method) = method {
                ask = ask.header(method_header, method);
            }
            if let Some(uri) = uri {
                ask = ask.header(uri_header, uri);
            }
            assert_eq!(ask.send().await.error(), (400, "Invalid request".to_owned()), "{kind} {method:?} {uri:?}");
        }
        let twice = ask("/orders/1", &proof("/orders/1")).header(uri_header, "/other");
        assert_eq!(twice.send().await.status, 400, "{kind}");
    }
    // And under Envoy, all of those headers are a client's own.
    let world = world();
    let (prover, token) = bound(&world).await;
    let proof = prover.proof("DELETE", &format!("{API}/orders/1"), world.clock.now(), Some(&token), None);
    let reply = world
        .get("/authorize/public")
        .header("authorization", &format!("DPoP {token}"))
        .header("dpop", &proof)
        .header("x-original-method", "DELETE")
        .header("x-original-uri", "/orders/1")
        .header("x-forwarded-method", "DELETE")
        .header("x-forwarded-uri", "/orders/1")
        .send()
        .await;
    assert_eq!(reply.status, 401);
    for mode in ["envoy-http", "nginx", "traefik"] {
        assert_eq!(mode.parse::<AuthorizeMode>().unwrap().to_string(), mode);
    }
    assert!("envoy".parse::<AuthorizeMode>().is_err());
}
