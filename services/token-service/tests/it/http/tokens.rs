//! Minting and revoking: the former service's conformance list, and what it lacked.

use serde_json::{Value, json};

use super::fixture::{API, ISSUER, KEY, NARROW, Prover, READER, Setting, claims, world, world_with};

#[tokio::test]
async fn a_token_has_the_former_shape_and_complete_claims() {
    let world = world();
    let body = json!({"user_id": "alice", "network": "mainnet", "rate_limit": 50, "expires_in": 600});
    let reply = world.post("/tokens").key(KEY).json(&body).send().await;
    assert_eq!(
        (reply.status, reply.header("content-type"), reply.header("cache-control")),
        (201, "application/json", "no-store")
    );
    assert_eq!(reply.header("x-decision-id").len(), 32);
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["expires_at", "token", "token_id"]);
    assert_eq!(body["expires_at"], "2026-11-22T12:10:00Z");
    let claims = claims(body["token"].as_str().unwrap());
    for (name, expected) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("user_alice")),
        ("aud", json!([API])),
        ("jti", body["token_id"].clone()),
        ("network", json!("mainnet")),
        ("rate_limit", json!(50)),
        ("user_id", json!("alice")),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert!(claims.get("token_type").is_none());
}

#[tokio::test]
async fn the_former_defaults_hold() {
    let world = world();
    let token = world.token("alice").await;
    let claims = claims(token["token"].as_str().unwrap());
    assert_eq!((&claims["network"], &claims["rate_limit"]), (&json!("default"), &json!(100)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    for (path, body) in [
        ("/tokens", json!({"user_id": "a", "network": "", "rate_limit": 0, "expiry_days": 0, "expires_in": null})),
        (
            "/token-pairs",
            json!({"user_id": "a", "parent_expiry_hours": 0, "parent_expires_in": 0, "include_child": null}),
        ),
    ] {
        let reply = world.post(path).key(KEY).json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text);
    }
}

#[tokio::test]
async fn lifetimes_of_readme_and_code_are_both_taken_and_never_differ() {
    let world = world();
    let lifetime = |reply: &super::fixture::Reply| {
        let claims = claims(reply.json()["token"].as_str().unwrap());
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    for (body, seconds) in [
        (json!({"user_id": "a", "expiry_days": 2}), 172_800),
        (json!({"user_id": "a", "expires_in": 172_800}), 172_800),
        (json!({"user_id": "a", "expires_in": 86_400, "expiry_days": 1}), 86_400),
    ] {
        let reply = world.post("/tokens").key(KEY).json(&body).send().await;
        assert_eq!((reply.status, lifetime(&reply)), (201, seconds), "{body}");
    }
    for (path, body, said) in [
        ("/tokens", json!({"user_id": "a", "expires_in": 60, "expiry_days": 1}), "two different lifetimes"),
        ("/tokens", json!({"user_id": "a", "expires_in": -1}), "not negative, found -1"),
        ("/tokens", json!({"user_id": "a", "expiry_days": -1}), "not negative, found -1"),
        ("/tokens", json!({"user_id": "a", "expiry_days": 31}), "expected 1 to 2592000 seconds"),
        ("/tokens", json!({"user_id": "a", "expiry_days": u64::MAX}), ""),
        ("/tokens", json!({"user_id": "a", "expires_in": 1.5}), "a whole number"),
        ("/tokens", json!({"user_id": "a", "expires_in": "60"}), "found a string"),
        ("/tokens", json!({"user_id": "a", "rate_limit": -1}), "not negative"),
        ("/tokens", json!({"user_id": "a", "rate_limit": 4_294_967_296_u64}), "at most"),
        (
            "/token-pairs",
            json!({"user_id": "a", "parent_expiry_hours": -1}),
            "parent_expiry_hours must be between 0 and 720",
        ),
        (
            "/token-pairs",
            json!({"user_id": "a", "parent_expiry_hours": 721}),
            "parent_expiry_hours must be between 0 and 720",
        ),
        ("/token-pairs", json!({"user_id": "a", "parent_expiry_hours": 8, "parent_expires_in": 60}), "two different"),
        ("/token-pairs", json!({"user_id": "a", "child_expires_in": -5}), "not negative"),
        ("/token-pairs", json!({"user_id": "a", "parent_expires_in": 2_592_001}), "expected 1 to 2592000"),
    ] {
        let reply = world.post(path).key(KEY).json(&body).send().await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text);
        assert!(reply.text.contains(said), "{body}: {}", reply.text);
    }
    for hours in [8, 24, 720] {
        let body = json!({"user_id": "a", "parent_expiry_hours": hours});
        let reply = world.post("/token-pairs").key(KEY).json(&body).send().await;
        assert_eq!(reply.json()["parent_expiry"], hours * 3600);
    }
}

#[tokio::test]
async fn a_pair_has_the_former_shape_and_a_child_only_when_asked() {
    let world = world();
    let pair = world.pair("alice").await;
    assert_eq!((&pair["parent_expiry"], &pair["child_expiry"]), (&json!(2_592_000), &json!(900)));
    let (parent, child) =
        (claims(pair["parent_token"].as_str().unwrap()), claims(pair["child_token"].as_str().unwrap()));
    assert_eq!((&parent["token_type"], &parent["aud"]), (&json!("parent"), &json!([ISSUER])));
    assert_eq!((&child["token_type"], &child["parent_jti"]), (&json!("child"), &pair["parent_jti"]));
    let alone = world.post("/token-pairs").key(KEY).json(&json!({"user_id": "alice"})).send().await.json();
    assert_eq!(alone.as_object().unwrap().keys().collect::<Vec<_>>(), ["parent_expiry", "parent_jti", "parent_token"]);
    let short = json!({"user_id": "a", "parent_expires_in": 60, "child_expires_in": 900, "include_child": true});
    let short = world.post("/token-pairs").key(KEY).json(&short).send().await.json();
    assert_eq!(short["child_expiry"], 60, "a child never outlives its parent");
}

#[tokio::test]
async fn nothing_is_minted_or_revoked_without_a_caller() {
    let world = world();
    let id = world.token("alice").await["token_id"].as_str().unwrap().to_owned();
    let body = json!({"user_id": "alice"});
    for (method, path) in [
        ("POST", "/tokens".to_owned()),
        ("POST", "/token-pairs".to_owned()),
        ("DELETE", format!("/tokens/{id}")),
        ("DELETE", "/users/alice/tokens".to_owned()),
    ] {
        for authorization in ["", "Bearer wrong-key-0123456789-0123456789", "Basic YTpi", "Bearer", KEY] {
            let mut ask = world.ask(method, &path).json(&body);
            if !authorization.is_empty() {
                ask = ask.header("authorization", authorization);
            }
            let reply = ask.send().await;
            assert_eq!(reply.error(), (401, "Unauthorized".to_owned()), "{method} {path} {authorization:?}");
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{reply:?}");
        }
        // A role is not another one.
        let reply = world.ask(method, &path).key(READER).json(&body).send().await;
        assert_eq!(reply.error(), (403, "Forbidden".to_owned()), "{method} {path}");
    }
    // Our own tokens are no callers.
    let token = world.token("alice").await;
    let reply = world.post("/tokens").key(token["token"].as_str().unwrap()).json(&body).send().await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        world.authorize(world.token("alice").await["token"].as_str().unwrap()).await,
        200,
        "nothing was revoked"
    );
}

#[tokio::test]
async fn a_callers_policy_bounds_what_it_mints() {
    let world = world();
    for (body, status) in [
        (json!({"user_id": "app-1", "scope": "read"}), 201),
        (json!({"user_id": "app-1", "audience": API}), 201),
        (json!({"user_id": "alice"}), 403),
        (json!({"user_id": "app-1", "expires_in": 86_401}), 400),
        (json!({"user_id": "app-1", "scope": "admin"}), 400),
        (json!({"user_id": "app-1", "audience": "https://other.example"}), 400),
        (json!({"user_id": "app-1", "audience": [API, "https://other.example"]}), 400),
    ] {
        let reply = world.post("/tokens").key(NARROW).json(&body).send().await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
    }
    // Nobody gets a token for this service itself, which is what a parent is.
    let body = json!({"user_id": "a", "audience": ISSUER});
    assert_eq!(world.post("/tokens").key(KEY).json(&body).send().await.status, 400);
}

#[tokio::test]
async fn revoking_a_token_a_family_or_a_user_is_204_and_shows_at_once() {
    let world = world();
    let token = world.token("alice").await;
    let pair = world.pair("alice").await;
    let (text, child) = (token["token"].as_str().unwrap(), pair["child_token"].as_str().unwrap());
    assert_eq!((world.authorize(text).await, world.authorize(child).await), (200, 200));
    let revoke = async |path: String| world.ask("DELETE", &path).key(KEY).send().await;
    let reply = revoke(format!("/tokens/{}", token["token_id"].as_str().unwrap())).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    assert_eq!((world.authorize(text).await, world.authorize(child).await), (403, 200));
    assert_eq!(revoke(format!("/tokens/{}", pair["parent_jti"].as_str().unwrap())).await.status, 204);
    let denied = world.get("/authorize").key(child).send().await;
    assert_eq!(denied.error(), (403, "Parent token has been revoked".to_owned()));
    // Unknown ids and users without tokens are no errors; a text that is no id is one.
    assert_eq!(revoke("/tokens/00000000-0000-4000-8000-000000000000".to_owned()).await.status, 204);
    assert_eq!(revoke("/users/nobody/tokens".to_owned()).await.status, 204);
    for id in ["x", "..", "%2e%2e", "%ff", "00000000-0000-4000-8000-00000000000g", "%2Ftokens"] {
        assert_eq!(revoke(format!("/tokens/{id}")).await.status, 400, "{id}");
    }
    let (one, two) = (world.token("alice").await, world.token("bob").await);
    assert_eq!(revoke("/users/alice/tokens".to_owned()).await.status, 204);
    assert_eq!(world.authorize(one["token"].as_str().unwrap()).await, 403);
    assert_eq!(world.authorize(two["token"].as_str().unwrap()).await, 200);
    let again = world.token("alice").await;
    assert_eq!(world.authorize(again["token"].as_str().unwrap()).await, 200);
    // A user's id may hold a slash.
    let slash = world.token("a/b").await;
    assert_eq!(revoke("/users/a%2Fb/tokens".to_owned()).await.status, 204);
    assert_eq!(world.authorize(slash["token"].as_str().unwrap()).await, 403);
}

#[tokio::test]
async fn a_wrong_body_is_told_what_is_wrong_and_mints_nothing() {
    let world = world();
    for (body, error) in [
        ("{", "Invalid request body"),
        ("", "Invalid request body"),
        ("[]", "Invalid request body"),
        ("{\"user_id\":\"a\",\"user_id\":\"b\"}", "Invalid request body"),
        ("{\"user_id\":\"a\"} {}", "Invalid request body"),
        ("{}", "user_id is required"),
        ("{\"user_id\":\"\"}", "user_id is required"),
        ("{\"user_id\":null}", "user_id is required"),
    ] {
        let reply = world.post("/tokens").key(KEY).body("application/json", body).send().await;
        assert_eq!(reply.error(), (400, error.to_owned()), "{body}");
    }
    for body in [
        json!({"user_id": "a", "expire_in": 60}),
        json!({"User_ID": "a", "user_id": "a"}),
        json!({"user_id": 7}),
        json!({"user_id": "a b"}),
    ] {
        let reply = world.post("/tokens").key(KEY).json(&body).send().await;
        assert_eq!(reply.status, 400, "{body}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json, text/plain", ""] {
        let reply = world.post("/tokens").key(KEY).body(content_type, "{\"user_id\":\"a\"}").send().await;
        assert_eq!(reply.error(), (415, "Unsupported media type".to_owned()), "{content_type}");
    }
    let charset =
        world.post("/tokens").key(KEY).body("Application/JSON; charset=utf-8", "{\"user_id\":\"a\"}").send().await;
    assert_eq!(charset.status, 201);
}

#[tokio::test]
async fn a_proof_binds_what_is_minted() {
    let world = world();
    let prover = Prover::new();
    let now = world.clock.now();
    let proof = prover.proof("POST", &format!("{ISSUER}/tokens"), now, None, None);
    let ask = || world.post("/tokens").key(KEY).header("dpop", &proof).json(&json!({"user_id": "a"}));
    let reply = ask().send().await;
    assert_eq!(claims(reply.json()["token"].as_str().unwrap())["cnf"]["jkt"], prover.jkt());
    let again = ask().send().await;
    assert_eq!(again.error(), (400, "Invalid DPoP proof".to_owned()), "a proof is used once");
    let old = prover.proof("POST", &format!("{ISSUER}/tokens"), now - jiff::SignedDuration::from_secs(120), None, None);
    let reply = world.post("/tokens").key(KEY).header("dpop", &old).json(&json!({"user_id": "a"})).send().await;
    assert_eq!(reply.status, 400);
    let nonce = reply.header("dpop-nonce");
    let healed = prover.proof(
        "POST",
        &format!("{ISSUER}/tokens"),
        now - jiff::SignedDuration::from_secs(120),
        None,
        Some(nonce),
    );
    let reply = world.post("/tokens").key(KEY).header("dpop", &healed).json(&json!({"user_id": "a"})).send().await;
    assert_eq!(reply.status, 201, "a client whose clock is wrong heals itself: {}", reply.text);
}

#[tokio::test]
async fn each_caller_has_a_limit_of_its_own() {
    let world = world_with(Setting { mints_per_minute: 3, ..Setting::default() });
    let mint =
        async |key: &str, user: &str| world.post("/tokens").key(key).json(&json!({"user_id": user})).send().await;
    for _ in 0..3 {
        assert_eq!(mint(KEY, "a").await.status, 201);
    }
    let refused = mint(KEY, "a").await;
    assert_eq!(refused.error(), (429, "Too many requests".to_owned()));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(mint(NARROW, "app-1").await.status, 201);
    // Revoking is never limited.
    assert_eq!(world.ask("DELETE", "/users/a/tokens").key(KEY).send().await.status, 204);
    world.clock.advance(60);
    assert_eq!(mint(KEY, "a").await.status, 201);
}

#[tokio::test]
async fn our_outage_is_503_with_retry_after_and_tells_nothing_internal() {
    let world = world();
    let pair = world.pair("alice").await;
    let token = world.token("alice").await["token"].as_str().unwrap().to_owned();
    world.store.go_down(true);
    let parent = pair["parent_token"].as_str().unwrap();
    let asks = [
        world.post("/tokens").key(KEY).json(&json!({"user_id": "a"})),
        world.post("/token-pairs").key(KEY).json(&json!({"user_id": "a"})),
        world.post("/renew").json(&json!({"parent_token": parent})),
        world.get("/tokens/latest").key(parent),
        world.get("/tokens/stream").key(parent),
        world.ask("DELETE", "/users/a/tokens").key(KEY),
        world.ask("DELETE", "/tokens/00000000-0000-4000-8000-000000000000").key(KEY),
        world.get("/authorize/x").key(&token),
        world.post("/oauth2/token").basic("backend", KEY).form(&[("grant_type", "client_credentials")]),
        world.post("/oauth2/introspect").basic("backend", KEY).form(&[("token", &token)]),
        world.post("/oauth2/revoke").basic("backend", KEY).form(&[("token", &token)]),
        world.get("/health"),
    ];
    for ask in asks {
        let reply = ask.send().await;
        assert_eq!(reply.status, 503, "{}", reply.text);
        assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1, "{reply:?}");
        assert!(!reply.text.contains("10.1.2.3") && !reply.text.contains("outage"), "{}", reply.text);
        let _: Value = reply.json();
    }
    assert_eq!(world.get("/readyz").send().await.status, 503);
    assert_eq!(world.get("/healthz").send().await.status, 200);
}
