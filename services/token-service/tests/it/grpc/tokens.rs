//! Minting, refreshing, revoking, keys: under both names.

use std::collections::HashMap;

use prost::Message as _;
use serde_json::{Value, json};
use token_jose::{Algorithm, KeySet};
use token_service::grpc::pb::auth::common::Empty;
use token_service::keys::SigningKeys;
use token_testkit::MemoryDocument;
use tonic::Code;

use super::{ALL, ISSUER, MINTER, Options, READER, by, current, former, order, start, told, world, world_with};

fn refresh(token: &str, scopes: &[&str]) -> current::RefreshTokensRequest {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    current::RefreshTokensRequest { refresh_token: token.to_owned(), scopes, dpop_proof: String::new() }
}

#[tokio::test]
async fn a_pair_says_what_was_ordered_and_a_refresh_keeps_it() {
    let world = world().await;
    let mut client = world.current().await;
    let order = current::GenerateTokensRequest {
        session_id: "s-1".to_owned(),
        scopes: vec!["read".to_owned(), "write".to_owned()],
        custom_claims: HashMap::from([("tenant".to_owned(), "acme".to_owned())]),
        access_token_ttl_seconds: 120,
        refresh_token_ttl_seconds: 3600,
        ..order("alice")
    };
    let pair = client.generate_tokens(by(ALL, order)).await.unwrap().into_inner();
    let now = start().as_second();
    assert_eq!((pair.expires_at, pair.token_type.as_str(), pair.id_token.as_str()), (now + 120, "Bearer", ""));
    let claims = world.claims(&pair.access_token).await;
    for (name, value) in [
        ("iss", json!(ISSUER)),
        ("sub", json!("alice")),
        ("aud", json!(["https://api.example"])),
        ("session_id", json!("s-1")),
        ("scopes", json!(["read", "write"])),
        ("scope", json!("read write")),
        ("tenant", json!("acme")),
        ("iat", json!(now)),
        ("nbf", json!(now)),
        ("exp", json!(now + 120)),
        ("client_id", json!("all")),
    ] {
        assert_eq!(claims.get(name), Some(&value), "{name}");
    }
    // Custom claims and lifetime are the family's; scopes only shrink.
    world.clock.advance(60);
    let next = client.refresh_tokens(by(ALL, refresh(&pair.refresh_token, &["read"]))).await.unwrap().into_inner();
    assert_eq!(next.expires_at, now + 60 + 120);
    let renewed = world.claims(&next.access_token).await;
    assert_eq!((&renewed["scopes"], &renewed["tenant"]), (&json!(["read"]), &json!("acme")));
    assert_ne!(renewed["jti"], claims["jti"]);
    let more = client.refresh_tokens(by(ALL, refresh(&next.refresh_token, &["admin"]))).await.unwrap_err();
    assert_eq!((more.code(), more.message().starts_with("INVALID_SCOPE: ")), (Code::InvalidArgument, true));
    // The family ends when it was said to.
    world.clock.advance(3600);
    let late = client.refresh_tokens(by(ALL, refresh(&next.refresh_token, &[]))).await.unwrap_err();
    assert_eq!(told(&late), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn the_former_name_is_the_same_service() {
    let world = world().await;
    let mut client = world.former().await;
    let order = former::IssueTokenPairRequest {
        user_id: "alice".to_owned(),
        scopes: vec!["read".to_owned()],
        ..Default::default()
    };
    let pair = client.issue_token_pair(by(ALL, order)).await.unwrap().into_inner();
    assert_eq!(world.claims(&pair.access_token).await["sub"], "alice");
    assert_eq!(pair.token_type, "Bearer");
    // What the one has opened, the other goes on with.
    let next =
        world.current().await.refresh_tokens(by(ALL, refresh(&pair.refresh_token, &[]))).await.unwrap().into_inner();
    let again = former::RefreshTokensRequest { refresh_token: next.refresh_token, scopes: Vec::new() };
    let last = client.refresh_tokens(by(ALL, again)).await.unwrap().into_inner();
    let keys = client.get_jwks(Empty {}).await.unwrap().into_inner().keys_json;
    assert_eq!(KeySet::parse(keys.as_bytes()).unwrap().len(), 2);
    let gone = former::RevokeAllUserTokensRequest { user_id: "alice".to_owned() };
    assert!(client.revoke_all_user_tokens(by(ALL, gone)).await.unwrap().into_inner().success);
    let again = former::RefreshTokensRequest { refresh_token: last.refresh_token, scopes: Vec::new() };
    let dead = client.refresh_tokens(by(ALL, again)).await.unwrap_err();
    assert_eq!(told(&dead), (Code::PermissionDenied, "TOKEN_REVOKED"));
}

#[tokio::test]
async fn a_second_use_revokes_the_family() {
    let world = world().await;
    let mut client = world.current().await;
    let first = world.pair("alice", "").await;
    let second = client.refresh_tokens(by(ALL, refresh(&first.refresh_token, &[]))).await.unwrap().into_inner();
    // A retry in time gets the same answer; once the answer was used, the old token is a thief's.
    let retry = client.refresh_tokens(by(ALL, refresh(&first.refresh_token, &[]))).await.unwrap().into_inner();
    assert_eq!(retry, second);
    let third = client.refresh_tokens(by(ALL, refresh(&second.refresh_token, &[]))).await.unwrap().into_inner();
    let reused = client.refresh_tokens(by(ALL, refresh(&first.refresh_token, &[]))).await.unwrap_err();
    assert_eq!(told(&reused), (Code::PermissionDenied, "TOKEN_REVOKED"));
    let dead = client.refresh_tokens(by(ALL, refresh(&third.refresh_token, &[]))).await.unwrap_err();
    assert_eq!(told(&dead), (Code::PermissionDenied, "TOKEN_REVOKED"));
    assert!(world.shows(r#"token_service_tokens_refreshed_total{status="reused"} 1"#), "{}", world.metrics.text());
    assert!(world.shows(r#"token_service_security_events_total{event_type="refresh_token_reused"} 1"#));
    for garbage in ["garbage", "rt1.x.y", &first.access_token] {
        let wrong = client.refresh_tokens(by(ALL, refresh(garbage, &[]))).await.unwrap_err();
        assert_eq!(told(&wrong), (Code::Unauthenticated, "UNAUTHENTICATED"), "{garbage}");
    }
}

#[tokio::test]
async fn a_revoked_refresh_token_takes_its_family_along_whatever_the_hint() {
    let world = world().await;
    let mut client = world.current().await;
    for hint in ["", "refresh_token", "access_token", "nonsense"] {
        let pair = world.pair("alice", "").await;
        let ask =
            |token: &str| current::RevokeTokenRequest { token: token.to_owned(), token_type_hint: hint.to_owned() };
        assert!(client.revoke_token(by(ALL, ask(&pair.refresh_token))).await.unwrap().into_inner().success);
        let dead = client.refresh_tokens(by(ALL, refresh(&pair.refresh_token, &[]))).await.unwrap_err();
        assert_eq!(told(&dead), (Code::PermissionDenied, "TOKEN_REVOKED"), "{hint}");
        assert_eq!(world.check_code(&pair.access_token).await, 403, "{hint}");
        // Again, and of nothing at all: no error (RFC 7009).
        for token in [pair.refresh_token.as_str(), pair.access_token.as_str(), "garbage"] {
            assert!(client.revoke_token(by(ALL, ask(token))).await.unwrap().into_inner().success);
        }
    }
    let pair = world.pair("alice", "").await;
    let access = current::RevokeTokenRequest { token: pair.access_token.clone(), token_type_hint: String::new() };
    assert_eq!(world.check_code(&pair.access_token).await, 200);
    client.revoke_token(by(ALL, access)).await.unwrap();
    assert_eq!(world.check_code(&pair.access_token).await, 403);
}

#[tokio::test]
async fn an_order_beyond_the_callers_policy_is_refused_with_its_reason() {
    let world = world().await;
    let mut client = world.current().await;
    let claim = |name: &str| HashMap::from([(name.to_owned(), "x".to_owned())]);
    for (what, key, order, code, begins) in [
        ("no user", ALL, order(""), Code::InvalidArgument, "INVALID_REQUEST: user_id"),
        ("another door's user", ALL, order("user_alice"), Code::InvalidArgument, "INVALID_REQUEST: user_id"),
        ("a client's name", ALL, order("minter"), Code::InvalidArgument, "INVALID_REQUEST: user_id"),
        ("a user of others", MINTER, order("alice"), Code::PermissionDenied, "FORBIDDEN: "),
        ("no role", READER, order("alice"), Code::PermissionDenied, "FORBIDDEN: "),
        (
            "a reserved claim",
            ALL,
            current::GenerateTokensRequest { custom_claims: claim("sub"), ..order("alice") },
            Code::InvalidArgument,
            "INVALID_REQUEST: custom_claims",
        ),
        (
            "a negative lifetime",
            ALL,
            current::GenerateTokensRequest { access_token_ttl_seconds: -1, ..order("alice") },
            Code::InvalidArgument,
            "INVALID_REQUEST: access_token_ttl_seconds",
        ),
        (
            "too long a lifetime",
            ALL,
            current::GenerateTokensRequest { refresh_token_ttl_seconds: i32::MAX, ..order("alice") },
            Code::InvalidArgument,
            "INVALID_REQUEST: refresh_token_ttl_seconds",
        ),
        (
            "an audience of others",
            MINTER,
            current::GenerateTokensRequest { audience: vec!["https://other.example".to_owned()], ..order("app-1") },
            Code::InvalidArgument,
            "INVALID_TARGET: ",
        ),
        (
            "the audience of parents",
            ALL,
            current::GenerateTokensRequest { audience: vec![ISSUER.to_owned()], ..order("alice") },
            Code::InvalidArgument,
            "INVALID_TARGET: ",
        ),
    ] {
        let refused = client.generate_tokens(by(key, order)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{what}: {refused:?}");
        assert!(refused.message().starts_with(begins), "{what}: {}", refused.message());
        assert!(refused.metadata().get("error-description").is_some(), "{what}");
    }
    let large = current::GenerateTokensRequest { session_id: "x".repeat(100_000), ..order("alice") };
    let refused = client.generate_tokens(by(ALL, large)).await.unwrap_err();
    assert!(matches!(refused.code(), Code::ResourceExhausted | Code::OutOfRange), "{refused:?}");
}

#[tokio::test]
async fn keys_rotate_here_and_no_token_is_lost() {
    let world = world().await;
    let mut client = world.current().await;
    let before = world.pair("alice", "").await;
    let rotate = |key_id: &str| current::RotateSigningKeyRequest { key_id: key_id.to_owned() };
    let refused = client.rotate_signing_key(by(MINTER, rotate(""))).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().starts_with("FORBIDDEN: ")), (Code::PermissionDenied, true));
    let wrong = client.rotate_signing_key(by(ALL, rotate("my-own-label"))).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message().contains("key_id")), (Code::FailedPrecondition, true));
    let mut kids = Vec::new();
    for _ in 0..3 {
        let signing = kid(&world.pair("alice", "").await.access_token);
        let first = client.rotate_signing_key(by(ALL, rotate(&signing))).await.unwrap().into_inner();
        assert!(first.success && first.new_key_id != signing);
        // A repeated order rotates once; until its time the promoted key does not sign.
        let again = client.rotate_signing_key(by(ALL, rotate(&signing))).await.unwrap().into_inner();
        assert_eq!(again, first);
        assert_eq!(kid(&world.pair("alice", "").await.access_token), signing);
        let keys = client.get_jwks(current::GetJwksRequest {}).await.unwrap().into_inner().keys_json;
        let published: Value = serde_json::from_str(&keys).unwrap();
        let published: Vec<&str> =
            published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert!(published.contains(&signing.as_str()) && published.contains(&first.new_key_id.as_str()));
        // The lead later it does.
        world.clock.advance(86_400 + 1200);
        assert_eq!(kid(&world.pair("alice", "").await.access_token), first.new_key_id);
        kids.push(first.new_key_id);
    }
    kids.dedup();
    assert_eq!(kids.len(), 3);
    // What the first key signed has expired, and its family lives on.
    let next = client.refresh_tokens(by(ALL, refresh(&before.refresh_token, &[]))).await.unwrap().into_inner();
    assert_eq!(world.check_code(&next.access_token).await, 200);
}

#[tokio::test]
async fn a_ring_of_others_is_rotated_by_others() {
    let ring = token_jose::KeyRing::first(&[Algorithm::Es256], token_jose::RingPolicy::default(), start()).unwrap();
    let document = |name, bytes: &[u8]| std::sync::Arc::new(MemoryDocument::with(name, bytes));
    let loader = token_issuance::KeyLoader::new(
        document("ring", &ring.to_json().unwrap()),
        document("jwks", ring.published(start()).to_stored_json().as_bytes()),
    );
    let world = world_with(Options { keys: Some(SigningKeys::new(loader, 60, None)), ..Options::default() }).await;
    let asked = former::RotateSigningKeyRequest { key_id: String::new() };
    let refused = world.former().await.rotate_signing_key(by(ALL, asked)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("key-rotation function")), (Code::FailedPrecondition, true));
}

#[test]
fn field_numbers_are_those_of_the_former_contract() {
    let order = former::IssueTokenPairRequest {
        user_id: "u".to_owned(),
        session_id: "s".to_owned(),
        scopes: vec!["r".to_owned()],
        custom_claims: HashMap::from([("k".to_owned(), "v".to_owned())]),
        access_token_ttl_seconds: 1,
        refresh_token_ttl_seconds: 2,
    };
    let bytes = b"\x0a\x01u\x12\x01s\x1a\x01r\x22\x06\x0a\x01k\x12\x01v\x28\x01\x30\x02";
    assert_eq!(order.encode_to_vec(), bytes);
    let answer = former::TokenPairResponse {
        access_token: "a".to_owned(),
        refresh_token: "r".to_owned(),
        id_token: "i".to_owned(),
        expires_at: 1,
        token_type: "t".to_owned(),
    };
    assert_eq!(answer.encode_to_vec(), b"\x0a\x01a\x12\x01r\x1a\x01i\x20\x01\x2a\x01t");
    // The newer messages are the same on the wire, and add.
    let newer = current::GenerateTokensRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!((newer.user_id.as_str(), newer.refresh_token_ttl_seconds), ("u", 2));
    let newer = current::GenerateTokensRequest {
        dpop_proof: "p".to_owned(),
        audience: vec!["a".to_owned()],
        ..Default::default()
    };
    assert_eq!(newer.encode_to_vec(), b"\x3a\x01p\x42\x01a");
    let asked =
        current::RefreshTokensRequest { refresh_token: "r".to_owned(), scopes: Vec::new(), dpop_proof: "p".to_owned() };
    assert_eq!(asked.encode_to_vec(), b"\x0a\x01r\x1a\x01p");
    let proof = current::ValidateDPoPRequest {
        proof: "p".to_owned(),
        method: "m".to_owned(),
        uri: "u".to_owned(),
        access_token: "a".to_owned(),
        nonce: "n".to_owned(),
    };
    assert_eq!(proof.encode_to_vec(), b"\x0a\x01p\x12\x01m\x1a\x01u\x22\x01a\x2a\x01n");
}

fn kid(token: &str) -> String {
    token_jose::Unverified::parse(token).unwrap().kid().to_string()
}
