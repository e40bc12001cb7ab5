//! `/renew`, `/tokens/latest`, `/tokens/stream`: what the bearer of a parent gets, and nobody else.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use token_service::http::StreamOptions;

use super::fixture::{ISSUER, KEY, Prover, Setting, World, claims, world, world_with};

async fn renew(world: &World, token: &str) -> super::fixture::Reply {
    world.post("/renew").json(&json!({"parent_token": token})).send().await
}

#[tokio::test]
async fn renew_gives_a_child_that_is_one_and_takes_parents_only() {
    let world = world();
    let pair = world.pair("alice").await;
    let (parent, child) = (pair["parent_token"].as_str().unwrap(), pair["child_token"].as_str().unwrap());
    let reply = renew(&world, parent).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
    let renewed = reply.json();
    assert_eq!(renewed.as_object().unwrap().keys().collect::<Vec<_>>(), ["expires_at", "token", "token_id"]);
    let of = claims(renewed["token"].as_str().unwrap());
    assert_eq!((&of["token_type"], &of["parent_jti"]), (&json!("child"), &pair["parent_jti"]));
    assert_eq!(world.authorize(renewed["token"].as_str().unwrap()).await, 200);

    assert_eq!(renew(&world, "").await.error(), (400, "parent_token is required".to_owned()));
    let missing = world.post("/renew").json(&json!({})).send().await;
    assert_eq!(missing.error(), (400, "parent_token is required".to_owned()));
    assert_eq!(renew(&world, "garbage").await.error(), (401, "Invalid parent token".to_owned()));
    let plain = world.token("alice").await;
    for access in [child, plain["token"].as_str().unwrap()] {
        assert_eq!(renew(&world, access).await.error(), (400, "Token is not a parent token".to_owned()));
    }
    // A changed signature, and an API key, are nothing.
    let (rest, signature) = parent.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    assert_eq!(renew(&world, &forged).await.status, 401);
    assert_eq!(renew(&world, KEY).await.status, 401);

    let jti = pair["parent_jti"].as_str().unwrap();
    world.ask("DELETE", &format!("/tokens/{jti}")).key(KEY).send().await;
    assert_eq!(renew(&world, parent).await.error(), (403, "Parent token has been revoked".to_owned()));
    assert_eq!(world.authorize(renewed["token"].as_str().unwrap()).await, 403, "children die with it");
}

#[tokio::test]
async fn an_expired_parent_is_401() {
    let world = world();
    let body = json!({"user_id": "a", "parent_expires_in": 60});
    let pair = world.post("/token-pairs").key(KEY).json(&body).send().await.json();
    world.clock.advance(200);
    assert_eq!(
        renew(&world, pair["parent_token"].as_str().unwrap()).await.error(),
        (401, "Invalid parent token".to_owned())
    );
}

#[tokio::test]
async fn the_latest_child_is_for_the_presenter_of_the_parent_only() {
    let world = world();
    let pair = world.pair("alice").await;
    let other = world.pair("alice").await;
    let (parent, jti) = (pair["parent_token"].as_str().unwrap(), pair["parent_jti"].as_str().unwrap());
    for path in ["/tokens/latest", &format!("/tokens/latest?parent_jti={jti}"), "/tokens/latest?parent_jti="] {
        let reply = world.get(path).key(parent).send().await;
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
        let latest = reply.json();
        assert_eq!(
            latest.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["child_jti", "child_token", "expires_at", "renewed_at"]
        );
        assert_eq!(latest["child_jti"], pair["child_jti"], "the included child is the latest from the start");
        assert_eq!(latest["renewed_at"], "2026-11-22T12:00:00Z");
        assert_eq!(world.authorize(latest["child_token"].as_str().unwrap()).await, 200);
    }
    for path in [format!("/tokens/latest?parent_jti={jti}"), format!("/tokens/stream?parent_jti={jti}")] {
        let nobody = world.get(&path).send().await;
        assert_eq!(nobody.error(), (401, "Missing Authorization header".to_owned()));
        for wrong in [KEY, pair["child_token"].as_str().unwrap(), "x"] {
            let status = world.get(&path).key(wrong).send().await.status;
            assert!(status == 401 || status == 400, "{status}");
        }
        let another = world.get(&path).key(other["parent_token"].as_str().unwrap()).send().await;
        assert_eq!(another.error(), (403, "parent_jti is not the presented token's".to_owned()));
        let twice = world.get(&format!("{path}&parent_jti={jti}")).key(parent).send().await;
        assert_eq!(twice.status, 400);
    }
    // When it is due, the next one is there at once: nobody waits for a worker.
    world.clock.advance(14 * 60);
    let next = world.get("/tokens/latest").key(parent).send().await.json();
    assert_ne!(next["child_jti"], pair["child_jti"]);
    world.ask("DELETE", "/users/alice/tokens").key(KEY).send().await;
    let dead = world.get("/tokens/latest").key(parent).send().await;
    assert_eq!(dead.error(), (403, "Parent token has been revoked".to_owned()));
}

#[tokio::test]
async fn a_bound_parent_opens_nothing_without_a_proof_of_its_key() {
    let world = world();
    let (prover, thief) = (Prover::new(), Prover::new());
    let now = world.clock.now();
    let minted = prover.proof("POST", &format!("{ISSUER}/token-pairs"), now, None, None);
    let body = json!({"user_id": "alice", "include_child": true});
    let pair = world.post("/token-pairs").key(KEY).header("dpop", &minted).json(&body).send().await.json();
    let parent = pair["parent_token"].as_str().unwrap();
    assert_eq!(claims(pair["child_token"].as_str().unwrap())["cnf"]["jkt"], prover.jkt(), "children are bound too");
    let uri = format!("{ISSUER}/tokens/latest");
    let proof = |by: &Prover, method: &str, uri: &str| by.proof(method, uri, now, Some(parent), None);
    let latest = |scheme: &str, proof: Option<String>| {
        let mut ask = world.get("/tokens/latest").header("authorization", &format!("{scheme} {parent}"));
        if let Some(proof) = proof {
            ask = ask.header("dpop", &proof);
        }
        ask
    };
    assert_eq!(latest("DPoP", Some(proof(&prover, "GET", &uri))).send().await.status, 200);
    for (what, scheme, given) in [
        ("as bearer", "Bearer", None),
        ("as bearer with a good proof", "Bearer", Some(proof(&prover, "GET", &uri))),
        ("without proof", "DPoP", None),
        ("by another key", "DPoP", Some(proof(&thief, "GET", &uri))),
        ("another method", "DPoP", Some(proof(&prover, "POST", &uri))),
        ("another path", "DPoP", Some(proof(&prover, "GET", &format!("{ISSUER}/tokens/stream")))),
        ("another token", "DPoP", Some(prover.proof("GET", &uri, now, Some("x"), None))),
        ("no token", "DPoP", Some(prover.proof("GET", &uri, now, None, None))),
        ("another host", "DPoP", Some(proof(&prover, "GET", "https://evil.example/tokens/latest"))),
    ] {
        let reply = latest(scheme, given).send().await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        assert!(reply.header("www-authenticate").starts_with("DPoP error=\"invalid_dpop_proof\""), "{what}: {reply:?}");
    }
    let once = proof(&prover, "GET", &uri);
    assert_eq!(latest("DPoP", Some(once.clone())).send().await.status, 200);
    assert_eq!(latest("DPoP", Some(once)).send().await.status, 401, "a proof is used once");
    // The same at /renew, where the parent is in the body.
    assert_eq!(renew(&world, parent).await.status, 401);
    let proven = prover.proof("POST", &format!("{ISSUER}/renew"), now, Some(parent), None);
    let renewed = world.post("/renew").header("dpop", &proven).json(&json!({"parent_token": parent})).send().await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    // And an unbound one is no DPoP token.
    let unbound = world.pair("bob").await;
    let token = unbound["parent_token"].as_str().unwrap();
    let proof = prover.proof("GET", &uri, now, Some(token), None);
    let reply = world
        .get("/tokens/latest")
        .header("authorization", &format!("DPoP {token}"))
        .header("dpop", &proof)
        .send()
        .await;
    assert_eq!(reply.status, 401);
}

/// The events of a stream, read one by one.
struct Events(axum::body::BodyDataStream);

impl Events {
    async fn open(world: &World, parent: &str, last: Option<&str>) -> Self {
        let mut ask = world.get("/tokens/stream").key(parent);
        if let Some(last) = last {
            ask = ask.header("last-event-id", last);
        }
        let response = ask.open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.headers().get("access-control-allow-origin").is_none());
        assert!(response.extensions().get::<token_server::Streaming>().is_some());
        Self(response.into_body().into_data_stream())
    }

    /// The next event's fields; `None` at the end.
    async fn next(&mut self) -> Option<Vec<(String, String)>> {
        let event = tokio::time::timeout(Duration::from_secs(3600), self.0.next()).await.expect("an event")?.unwrap();
        let text = String::from_utf8(event.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"), "{text:?}");
        Some(text.lines().filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// The next event of `kind`, and its data; other kinds than heartbeats are unexpected.
    async fn expect(&mut self, kind: &str) -> (Option<String>, Value) {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("expected {kind}, found the end"));
            let field = |name: &str| event.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
            let found = field("event").unwrap();
            if found == "heartbeat" && kind != "heartbeat" {
                continue;
            }
            assert_eq!(found, kind);
            return (field("id"), serde_json::from_str(&field("data").unwrap()).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_each_child_once_and_ends_with_its_parent() {
    let world = world();
    let pair = world.pair("alice").await;
    let parent = pair["parent_token"].as_str().unwrap();
    let mut events = Events::open(&world, parent, None).await;
    let hello = events.next().await.unwrap();
    assert_eq!(hello[0], ("retry".to_owned(), "3000".to_owned()));
    assert_eq!(hello[1].1, "connected");
    let (id, token) = events.expect("token").await;
    assert_eq!((id.as_deref(), &token["child_jti"]), (Some("1"), &pair["child_jti"]));
    let (_, beat) = events.expect("heartbeat").await;
    assert_eq!(beat["timestamp"], "2026-11-22T12:00:00Z");
    world.clock.advance(14 * 60);
    let (id, token) = events.expect("token").await;
    assert_eq!(id.as_deref(), Some("2"));
    assert_eq!(world.authorize(token["child_token"].as_str().unwrap()).await, 200);

    // A client that comes again, to this or another replica, hears nothing twice.
    let mut again = Events::open(&world, parent, Some("2")).await;
    again.expect("connected").await;
    again.expect("heartbeat").await;
    let mut behind = Events::open(&world, parent, Some("1")).await;
    behind.expect("connected").await;
    assert_eq!(behind.expect("token").await.0.as_deref(), Some("2"));
    for strange in ["99999", "x", "-1"] {
        let mut strange = Events::open(&world, parent, Some(strange)).await;
        strange.expect("connected").await;
        assert_eq!(strange.expect("token").await.0.as_deref(), Some("2"));
    }

    world.ask("DELETE", "/users/alice/tokens").key(KEY).send().await;
    for mut stream in [events, again, behind] {
        assert_eq!(stream.expect("revoked").await.1, json!({"reason": "revoked"}));
        assert!(stream.next().await.is_none(), "the stream ends");
    }
    assert_eq!(world.get("/tokens/stream").key(parent).send().await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_parent_expires_and_survives_an_outage() {
    let world = world();
    let body = json!({"user_id": "a", "parent_expires_in": 600});
    let pair = world.post("/token-pairs").key(KEY).json(&body).send().await.json();
    let mut events = Events::open(&world, pair["parent_token"].as_str().unwrap(), None).await;
    events.expect("connected").await;
    events.expect("token").await;
    world.store.go_down(true);
    for _ in 0..3 {
        events.expect("heartbeat").await;
    }
    world.store.go_down(false);
    world.clock.advance(700);
    assert_eq!(events.expect("revoked").await.1, json!({"reason": "expired"}));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn many_streams_of_one_parent_cost_one_look_at_the_store_and_are_bounded() {
    let streams = StreamOptions { poll: Duration::from_secs(5), ..StreamOptions::default() };
    let world = world_with(Setting { streams, ..Setting::default() });
    let pair = world.pair("alice").await;
    let parent = pair["parent_token"].as_str().unwrap();
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(Events::open(&world, parent, None).await);
    }
    let refused = world.get("/tokens/stream").key(parent).send().await;
    assert_eq!(refused.status, 429);
    assert!(!refused.header("retry-after").is_empty());
    for events in &mut open {
        events.expect("connected").await;
        events.expect("token").await;
    }
    let before = world.store.calls.load(std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(50)).await;
    let looks = world.store.calls.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert!((8..=12).contains(&looks), "{looks} looks in 50 s");
    drop(open);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = world.store.calls.load(std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.store.calls.load(std::sync::atomic::Ordering::SeqCst), before, "nobody listens, nobody looks");
    Events::open(&world, parent, None).await.expect("connected").await;
}
