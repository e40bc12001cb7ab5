//! The OAuth face: RFC 6749, 7009, 7523, 7662, 8414, 9449.

use serde_json::{Value, json};
use token_jose::{Algorithm, LocalSigner};

use super::fixture::{API, Ask, ISSUER, KEY, NARROW, Prover, READER, Reply, World, claims, client_key, sign, world};

const CREDENTIALS: [(&str, &str); 1] = [("grant_type", "client_credentials")];
const OFFLINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "read write offline_access")];

async fn session(world: &World) -> Value {
    let reply = world.post("/oauth2/token").basic("narrow", NARROW).form(&OFFLINE).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

fn refresh<'w>(world: &'w World, token: &str) -> Ask<'w> {
    world
        .post("/oauth2/token")
        .basic("narrow", NARROW)
        .form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

#[tokio::test]
async fn client_credentials_by_basic_post_and_bearer() {
    let world = world();
    for ask in [
        world.post("/oauth2/token").basic("narrow", NARROW).form(&CREDENTIALS),
        world.post("/oauth2/token").key(NARROW).form(&CREDENTIALS),
        world.post("/oauth2/token").form(&[CREDENTIALS[0], ("client_id", "narrow"), ("client_secret", NARROW)]),
        world.post("/oauth2/token").basic("narrow", NARROW).form(&[
            CREDENTIALS[0],
            ("client_id", "narrow"),
            ("unknown", "x"),
            ("scope", ""),
        ]),
    ] {
        let reply = ask.send().await;
        assert_eq!(
            (reply.status, reply.header("cache-control"), reply.header("pragma")),
            (200, "no-store", "no-cache"),
            "{}",
            reply.text
        );
        let body = reply.json();
        assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert!(body.get("refresh_token").is_none() && body.get("scope").is_none());
        let claims = claims(body["access_token"].as_str().unwrap());
        assert_eq!(
            (&claims["sub"], &claims["client_id"], &claims["aud"]),
            (&json!("narrow"), &json!("narrow"), &json!([API]))
        );
        assert_eq!(world.authorize(body["access_token"].as_str().unwrap()).await, 200);
    }
}

#[tokio::test]
async fn a_client_that_is_not_proven_gets_invalid_client() {
    let world = world();
    let unknown = [("grant_type", "client_credentials"), ("client_id", "narrow")];
    for (what, ask) in [
        ("nothing", world.post("/oauth2/token").form(&CREDENTIALS)),
        ("an id alone", world.post("/oauth2/token").form(&unknown)),
        ("a wrong secret", world.post("/oauth2/token").basic("narrow", KEY).form(&CREDENTIALS)),
        ("another's secret", world.post("/oauth2/token").basic("reader", NARROW).form(&CREDENTIALS)),
        ("an empty secret", world.post("/oauth2/token").basic("narrow", "").form(&CREDENTIALS)),
        ("no Basic", world.post("/oauth2/token").header("authorization", "Basic ???").form(&CREDENTIALS)),
        (
            "another client_id",
            world.post("/oauth2/token").basic("narrow", NARROW).form(&[CREDENTIALS[0], ("client_id", "backend")]),
        ),
        ("post", world.post("/oauth2/token").form(&[CREDENTIALS[0], ("client_id", "narrow"), ("client_secret", "x")])),
    ] {
        for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
            let _ = path;
        }
        let reply = ask.send().await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{what}");
        assert!(reply.header("www-authenticate").starts_with("Basic"), "{what}");
        assert!(!reply.text.contains(NARROW));
    }
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        assert_eq!(world.post(path).form(&[("token", "x")]).send().await.error(), (401, "invalid_client".to_owned()));
    }
    let both = [CREDENTIALS[0], ("client_id", "narrow"), ("client_secret", NARROW)];
    let reply = world.post("/oauth2/token").basic("narrow", NARROW).form(&both).send().await;
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "one method only");
}

#[tokio::test]
async fn requests_that_are_none_have_their_code() {
    let world = world();
    for (form, code) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "")], "invalid_request"),
        (vec![("grant_type", "password"), ("username", "a"), ("password", "b")], "unsupported_grant_type"),
        (vec![("grant_type", "client_credentials"), ("grant_type", "refresh_token")], "invalid_request"),
        (vec![("grant_type", "client_credentials"), ("scope", "read"), ("scope", "read")], "invalid_request"),
        (vec![("grant_type", "client_credentials"), ("scope", "admin")], "invalid_scope"),
        (vec![("grant_type", "client_credentials"), ("resource", "https://other.example")], "invalid_target"),
        (vec![("grant_type", "client_credentials"), ("resource", ISSUER)], "invalid_target"),
        (vec![("grant_type", "refresh_token")], "invalid_request"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "rt1.x.y")], "invalid_grant"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "x"), ("resource", API)], "invalid_target"),
    ] {
        let reply = world.post("/oauth2/token").basic("narrow", NARROW).form(&form).send().await;
        assert_eq!(reply.error(), (400, code.to_owned()), "{form:?}");
        assert!(reply.json()["error_description"].is_string());
    }
    let reader = world.post("/oauth2/token").basic("reader", READER).form(&CREDENTIALS).send().await;
    assert_eq!(reader.error(), (400, "unauthorized_client".to_owned()));
    let json = world
        .post("/oauth2/token")
        .basic("narrow", NARROW)
        .json(&json!({"grant_type": "client_credentials"}))
        .send()
        .await;
    assert_eq!(json.error(), (415, "invalid_request".to_owned()));
    let query =
        world.post("/oauth2/token?grant_type=client_credentials").basic("narrow", NARROW).form(&[]).send().await;
    assert_eq!(query.error(), (400, "invalid_request".to_owned()), "nothing is read from the query");
    let bytes = world
        .post("/oauth2/token")
        .basic("narrow", NARROW)
        .body("application/x-www-form-urlencoded", vec![0xff, 0xfe])
        .send()
        .await;
    assert_eq!(bytes.status, 400);
    let two = [CREDENTIALS[0], ("resource", API), ("resource", API)];
    assert_eq!(
        world.post("/oauth2/token").basic("narrow", NARROW).form(&two).send().await.status,
        200,
        "RFC 8707 section 2"
    );
}

#[tokio::test]
async fn a_refresh_token_rotates_and_a_second_use_ends_the_family() {
    let world = world();
    let first = session(&world).await;
    assert_eq!((&first["scope"], &first["refresh_expires_in"]), (&json!("read write offline_access"), &json!(86_400)));
    let token = first["refresh_token"].as_str().unwrap();
    let second = refresh(&world, token).send().await.json();
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(claims(second["access_token"].as_str().unwrap())["sub"], "narrow");
    let narrowed = [
        ("grant_type", "refresh_token"),
        ("refresh_token", second["refresh_token"].as_str().unwrap()),
        ("scope", "read"),
    ];
    let third = world.post("/oauth2/token").basic("narrow", NARROW).form(&narrowed).send().await.json();
    assert_eq!(third["scope"], "read");
    let wider = [
        ("grant_type", "refresh_token"),
        ("refresh_token", third["refresh_token"].as_str().unwrap()),
        ("scope", "admin"),
    ];
    let reply = world.post("/oauth2/token").basic("narrow", NARROW).form(&wider).send().await;
    assert_eq!(reply.error(), (400, "invalid_scope".to_owned()));
    // The first one again: whoever has it is not who has the third.
    assert_eq!(refresh(&world, token).send().await.error(), (400, "invalid_grant".to_owned()));
    let live = third["refresh_token"].as_str().unwrap();
    assert_eq!(refresh(&world, live).send().await.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(world.authorize(third["access_token"].as_str().unwrap()).await, 403);
    assert!(
        world.metrics.text().contains("token_service_security_events_total{event_type=\"refresh_token_reused\"} 1")
    );
    // Another client's refresh token, though genuine, is a theft.
    let stolen = session(&world).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", stolen["refresh_token"].as_str().unwrap())];
    let reply = world.post("/oauth2/token").basic("backend", KEY).form(&form).send().await;
    assert_eq!(reply.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(refresh(&world, stolen["refresh_token"].as_str().unwrap()).send().await.status, 400);
}

#[tokio::test]
async fn introspection_tells_its_own_clients_and_readers_only() {
    let world = world();
    let issued = session(&world).await;
    let (access, token) = (issued["access_token"].as_str().unwrap(), issued["refresh_token"].as_str().unwrap());
    let ask = async |key: &str, token: &str| -> Value {
        let reply =
            world.post("/oauth2/introspect").key(key).form(&[("token", token), ("token_type_hint", "x")]).send().await;
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
        reply.json()
    };
    for key in [NARROW, READER, KEY] {
        let active = ask(key, access).await;
        assert_eq!(
            (&active["active"], &active["client_id"], &active["iss"]),
            (&json!(true), &json!("narrow"), &json!(ISSUER))
        );
        assert_eq!(active["token_type"], "Bearer");
        assert!(active.get("ep").is_none() && active.get("ugen").is_none() && active.get("sid").is_none());
        assert_eq!(ask(key, token).await["active"], json!(true));
    }
    let others = world.token("alice").await["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(NARROW, &others).await, json!({"active": false}), "another's token");
    assert_eq!(ask(READER, &others).await["active"], json!(true));
    let parent = world.pair("alice").await["parent_token"].as_str().unwrap().to_owned();
    for token in ["x", "rt1.x.y", &format!("{access}x"), &parent] {
        assert_eq!(ask(READER, token).await, json!({"active": false}));
    }
    let missing = world.post("/oauth2/introspect").key(READER).form(&[]).send().await;
    assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
    world.clock.advance(1000);
    assert_eq!(ask(READER, access).await, json!({"active": false}), "expired");
}

#[tokio::test]
async fn revocation_is_200_for_anything_and_takes_the_family_along() {
    let world = world();
    let issued = session(&world).await;
    let (access, token) = (issued["access_token"].as_str().unwrap(), issued["refresh_token"].as_str().unwrap());
    let ask =
        async |key: &str, token: &str| world.post("/oauth2/revoke").key(key).form(&[("token", token)]).send().await;
    for nothing in ["x", "rt1.x.y", "a.b.c"] {
        let reply = ask(NARROW, nothing).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, ""));
    }
    let others = world.token("alice").await["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(NARROW, &others).await.error(), (400, "unauthorized_client".to_owned()));
    assert_eq!(world.authorize(&others).await, 200);
    assert_eq!(ask(READER, access).await.status, 400, "reading is not revoking");
    assert_eq!(world.authorize(access).await, 200);
    assert_eq!(ask(NARROW, token).await.status, 200);
    assert_eq!(world.authorize(access).await, 403);
    assert_eq!(refresh(&world, token).send().await.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(ask(KEY, &others).await.status, 200, "with the role, anybody's");
    assert_eq!(world.authorize(&others).await, 403);
    assert_eq!(
        world.post("/oauth2/revoke").key(KEY).form(&[]).send().await.error(),
        (400, "invalid_request".to_owned())
    );
}

fn assertion(signer: &LocalSigner, now: i64, changes: &Value) -> String {
    let mut header = json!({"alg": signer.public_key().algorithm().name(), "typ": "JWT", "kid": client_key().public_key().kid().as_str()});
    let mut claims = json!({"iss": "narrow", "sub": "narrow", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": token_shell::IdSource::next_id(&token_shell::OsIds)});
    for (name, value) in changes.as_object().unwrap() {
        match name.strip_prefix("header.") {
            Some(member) => header[member] = value.clone(),
            None if value.is_null() => drop(claims.as_object_mut().unwrap().remove(name)),
            None => claims[name] = value.clone(),
        }
    }
    sign(signer, &header, &claims)
}

async fn assert_with(world: &World, assertion: &str) -> Reply {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    world.post("/oauth2/token").form(&form).send().await
}

#[tokio::test]
async fn a_client_assertion_works_once_and_only_for_us() {
    let world = world();
    let key = client_key();
    let now = world.clock.now().as_second();
    for good in [
        json!({}),
        json!({"aud": format!("{ISSUER}/oauth2/token")}),
        json!({"aud": [ISSUER]}),
        json!({"header.typ": "client-authentication+jwt"}),
        json!({"exp": now + 3600}),
    ] {
        let made = assertion(&key, now, &good);
        assert_eq!(assert_with(&world, &made).await.status, 200, "{good}");
        assert_eq!(assert_with(&world, &made).await.error(), (401, "invalid_client".to_owned()), "used before: {good}");
    }
    let other = token_testkit::keys::other(Algorithm::EdDsa);
    assert_eq!(assert_with(&world, &assertion(&other, now, &json!({}))).await.status, 401, "another key");
    for bad in [
        json!({"aud": "https://other.example"}),
        json!({"aud": [ISSUER, "https://other.example"]}),
        json!({"aud": null}),
        json!({"iss": "backend", "sub": "backend"}),
        json!({"iss": "nobody", "sub": "nobody"}),
        json!({"sub": "backend"}),
        json!({"sub": null}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"exp": null}),
        json!({"exp": now - 100}),
        json!({"exp": now + 3700}),
        json!({"nbf": now + 100}),
        json!({"header.typ": "dpop+jwt"}),
        json!({"header.alg": "none"}),
        json!({"header.alg": "HS256"}),
    ] {
        let reply = assert_with(&world, &assertion(&key, now, &bad)).await;
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{bad}");
    }
    let made = assertion(&key, now, &json!({}));
    let form = [("grant_type", "client_credentials"), ("client_assertion", &made)];
    assert_eq!(world.post("/oauth2/token").form(&form).send().await.status, 400, "the type is required");
    // The lifetime of its memory: as long as it could be accepted.
    let late = assertion(&key, now, &json!({"exp": now + 3600}));
    assert_eq!(assert_with(&world, &late).await.status, 200);
    world.clock.advance(3600 + 59);
    assert_eq!(assert_with(&world, &late).await.status, 401);
}

#[tokio::test]
async fn dpop_with_nonces_at_the_token_endpoint() {
    let world = world();
    let (prover, thief) = (Prover::new(), Prover::new());
    let now = world.clock.now();
    let uri = format!("{ISSUER}/oauth2/token");
    let ask = async |form: &[(&str, &str)], proof: &str| {
        world.post("/oauth2/token").basic("narrow", NARROW).header("dpop", proof).form(form).send().await
    };
    let late = now - jiff::SignedDuration::from_secs(300);
    let stale = ask(&OFFLINE, &prover.proof("POST", &uri, late, None, None)).await;
    assert_eq!(stale.error(), (400, "use_dpop_nonce".to_owned()));
    let nonce = stale.header("dpop-nonce").to_owned();
    let reply = ask(&OFFLINE, &prover.proof("POST", &uri, late, None, Some(&nonce))).await;
    assert_eq!((reply.status, reply.json()["token_type"].as_str()), (200, Some("DPoP")));
    assert!(!reply.header("dpop-nonce").is_empty(), "the next one rides on 200");
    let issued = reply.json();
    assert_eq!(claims(issued["access_token"].as_str().unwrap())["cnf"]["jkt"], prover.jkt());
    let token = issued["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    // Without a proof nobody has shown to be the holder: refused, and the family lives.
    assert_eq!(refresh(&world, token).send().await.error(), (400, "invalid_dpop_proof".to_owned()));
    let next = ask(&form, &prover.proof("POST", &uri, now, None, None)).await;
    assert_eq!(next.status, 200, "{}", next.text);
    let next = next.json()["refresh_token"].as_str().unwrap().to_owned();
    // With a proof of another key it is a theft.
    let stolen = [("grant_type", "refresh_token"), ("refresh_token", next.as_str())];
    assert_eq!(
        ask(&stolen, &thief.proof("POST", &uri, now, None, None)).await.error(),
        (400, "invalid_grant".to_owned())
    );
    assert_eq!(
        ask(&stolen, &prover.proof("POST", &uri, now, None, None)).await.error(),
        (400, "invalid_grant".to_owned())
    );
    for wrong in [
        "x",
        "",
        &prover.proof("GET", &uri, now, None, None),
        &prover.proof("POST", "https://evil.example/oauth2/token", now, None, None),
    ] {
        assert_eq!(ask(&CREDENTIALS, wrong).await.error(), (400, "invalid_dpop_proof".to_owned()));
    }
    let once = prover.proof("POST", &uri, now, None, None);
    assert_eq!(ask(&CREDENTIALS, &once).await.status, 200);
    assert_eq!(ask(&CREDENTIALS, &once).await.error(), (400, "invalid_dpop_proof".to_owned()));
    // A wrong client does not use a proof up.
    let unused = prover.proof("POST", &uri, now, None, None);
    let wrong =
        world.post("/oauth2/token").basic("narrow", "wrong").header("dpop", &unused).form(&CREDENTIALS).send().await;
    assert_eq!(wrong.status, 401);
    assert_eq!(ask(&CREDENTIALS, &unused).await.status, 200);
}

#[tokio::test]
async fn the_public_documents_say_what_is_so() {
    let world = world();
    let jwks = world.get("/.well-known/jwks.json").send().await;
    assert_eq!((jwks.status, jwks.header("access-control-allow-origin")), (200, "*"));
    assert!(jwks.header("cache-control").starts_with("public, max-age=300"), "{jwks:?}");
    let keys = jwks.json();
    assert!(
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["alg"] == "ES256" && key["use"] == "sig" && key.get("d").is_none())
    );
    let etag = jwks.header("etag").to_owned();
    let same = world.get("/.well-known/jwks.json").header("if-none-match", &etag).send().await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    for path in ["openid-configuration", "oauth-authorization-server"] {
        let reply = world.get(&format!("/.well-known/{path}")).send().await;
        let document = reply.json();
        assert_eq!(document["issuer"], ISSUER);
        for (member, route) in [
            ("token_endpoint", "POST"),
            ("introspection_endpoint", "POST"),
            ("revocation_endpoint", "POST"),
            ("jwks_uri", "GET"),
        ] {
            let uri = document[member].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned();
            let status = world.ask(route, &uri).send().await.status;
            assert!(status != 404 && status != 405, "{member} is served: {status}");
        }
        assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA", "Ed25519"]));
        assert_eq!(document["grant_types_supported"], json!(["client_credentials", "refresh_token"]));
        assert!(!reply.header("etag").is_empty());
    }
    assert_eq!(world.get("/.well-known/oauth-authorization-server/other").send().await.status, 404);
    let health = world.get("/health").send().await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "healthy", "redis": "embedded"})));
}
