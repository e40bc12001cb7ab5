//! DPoP at the gRPC door.

use serde_json::json;
use token_jose::{Algorithm, LocalSigner};
use tonic::Code;

use super::{ALL, API, Current, ISSUER, Options, World, ath, by, current, order, rules, told, world, world_with};

const GENERATE: &str = "/token.v1.TokenService/GenerateTokens";
const REFRESH: &str = "/token.v1.TokenService/RefreshTokens";

fn key() -> LocalSigner {
    LocalSigner::generate(Algorithm::Es256).unwrap()
}

fn refresh(token: &str, proof: &str) -> current::RefreshTokensRequest {
    current::RefreshTokensRequest { refresh_token: token.to_owned(), scopes: Vec::new(), dpop_proof: proof.to_owned() }
}

#[tokio::test]
async fn a_proof_binds_the_pair_and_every_refresh_needs_one() {
    let world = world().await;
    let mut client = world.current().await;
    let (key, other) = (key(), key());
    let jkt = key.public_key().kid().to_string();
    let pair = world.pair("alice", &world.proof(&key, GENERATE, "1")).await;
    assert_eq!(pair.token_type, "DPoP");
    assert_eq!(world.claims(&pair.access_token).await["cnf"], json!({"jkt": jkt}));

    let bare = client.refresh_tokens(by(ALL, refresh(&pair.refresh_token, ""))).await.unwrap_err();
    assert_eq!(told(&bare), (Code::InvalidArgument, "INVALID_DPOP_PROOF"));
    let elsewhere = world.proof(&key, GENERATE, "2");
    let wrong = client.refresh_tokens(by(ALL, refresh(&pair.refresh_token, &elsewhere))).await.unwrap_err();
    assert_eq!(told(&wrong), (Code::InvalidArgument, "INVALID_DPOP_PROOF"));
    assert!(wrong.metadata().get("error-description").unwrap().to_str().unwrap().contains("htu"));

    let proof = world.proof(&key, REFRESH, "3");
    let next = client.refresh_tokens(by(ALL, refresh(&pair.refresh_token, &proof))).await.unwrap();
    assert!(next.metadata().get("dpop-nonce").is_some());
    let next = next.into_inner();
    assert_eq!(
        (next.token_type.as_str(), &world.claims(&next.access_token).await["cnf"]["jkt"]),
        ("DPoP", &json!(jkt))
    );
    let replayed = client.refresh_tokens(by(ALL, refresh(&next.refresh_token, &proof))).await.unwrap_err();
    assert_eq!(told(&replayed), (Code::InvalidArgument, "DPOP_REPLAY_DETECTED"));
    assert!(world.shows(r#"token_service_security_events_total{event_type="proof_replayed"} 1"#));

    // Another key is a thief's: the family is gone.
    let stolen = world.proof(&other, REFRESH, "4");
    let theft = client.refresh_tokens(by(ALL, refresh(&next.refresh_token, &stolen))).await.unwrap_err();
    assert_eq!(told(&theft), (Code::PermissionDenied, "TOKEN_REVOKED"));
    let late = client.refresh_tokens(by(ALL, refresh(&next.refresh_token, &world.proof(&key, REFRESH, "5")))).await;
    assert_eq!(told(&late.unwrap_err()), (Code::PermissionDenied, "TOKEN_REVOKED"));
}

#[tokio::test]
async fn one_proof_comes_in_the_message_or_in_the_metadata() {
    let world = world().await;
    let mut client = world.former().await;
    let key = key();
    let former = "/auth.token.TokenService/IssueTokenPair";
    let ask = |proofs: &[&str]| {
        let order = super::former::IssueTokenPairRequest { user_id: "alice".to_owned(), ..Default::default() };
        let mut request = by(ALL, order);
        for proof in proofs {
            request.metadata_mut().append("dpop", proof.parse().unwrap());
        }
        request
    };
    let pair = client.issue_token_pair(ask(&[&world.proof(&key, former, "1")])).await.unwrap().into_inner();
    assert_eq!(pair.token_type, "DPoP");
    let two = [world.proof(&key, former, "2"), world.proof(&key, former, "3")];
    for proofs in [vec![two[0].as_str(), two[1].as_str()], vec![&format!("{},{}", two[0], two[1])]] {
        let refused = client.issue_token_pair(ask(&proofs)).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message().starts_with("INVALID_REQUEST: dpop")),
            (Code::InvalidArgument, true)
        );
    }
    let mut both =
        by(ALL, current::GenerateTokensRequest { dpop_proof: world.proof(&key, GENERATE, "4"), ..order("alice") });
    both.metadata_mut().insert("dpop", world.proof(&key, GENERATE, "5").parse().unwrap());
    let refused = world.current().await.generate_tokens(both).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_nonce_is_handed_out_and_heals_a_wrong_clock() {
    let rules = token_service::service::Rules { nonce_required: true, ..rules() };
    let world = world_with(Options { rules, ..Options::default() }).await;
    let mut client = world.current().await;
    let key = key();
    let bare = current::GenerateTokensRequest { dpop_proof: world.proof(&key, GENERATE, "1"), ..order("alice") };
    let refused = client.generate_tokens(by(ALL, bare)).await.unwrap_err();
    assert_eq!(told(&refused), (Code::InvalidArgument, "USE_DPOP_NONCE"));
    let nonce = refused.metadata().get("dpop-nonce").unwrap().to_str().unwrap().to_owned();
    let claims = json!({"htm": "POST", "htu": format!("{ISSUER}{GENERATE}"), "nonce": nonce, "iat": 1});
    let pair = world.pair("alice", &world.proof_with(&key, "2", &claims)).await;
    assert_eq!(pair.token_type, "DPoP");
}

async fn validate(client: &mut Current, proof: &str, token: &str, nonce: &str) -> current::ValidateDPoPResponse {
    let asked = current::ValidateDPoPRequest {
        proof: proof.to_owned(),
        method: "GET".to_owned(),
        uri: format!("{API}/orders?page=2"),
        access_token: token.to_owned(),
        nonce: nonce.to_owned(),
    };
    client.validate_d_po_p(by(ALL, asked)).await.unwrap().into_inner()
}

fn for_orders(world: &World, key: &LocalSigner, jti: &str, more: &serde_json::Value) -> String {
    let mut claims = json!({"htm": "GET", "htu": format!("{API}/orders")});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.proof_with(key, jti, &claims)
}

#[tokio::test]
async fn validate_dpop_says_whose_proof_it_is_or_what_is_wrong() {
    let world = world().await;
    let mut client = world.current().await;
    let key = key();
    let proof = for_orders(&world, &key, "1", &json!({}));
    let valid = validate(&mut client, &proof, "", "").await;
    assert_eq!((valid.valid, valid.thumbprint, valid.error.as_str()), (true, key.public_key().kid().to_string(), ""));
    let cases = [
        ("replayed", proof, ""),
        ("htm_mismatch", for_orders(&world, &key, "2", &json!({"htm": "POST"})), ""),
        ("htu_mismatch", for_orders(&world, &key, "3", &json!({"htu": format!("{API}/other")})), ""),
        ("missing_ath", for_orders(&world, &key, "4", &json!({})), "token"),
        ("ath_mismatch", for_orders(&world, &key, "5", &json!({"ath": ath("another")})), "token"),
        ("use_nonce", for_orders(&world, &key, "6", &json!({"iat": 1})), ""),
        ("malformed", "garbage".to_owned(), ""),
    ];
    for (error, proof, token) in cases {
        let refused = validate(&mut client, &proof, token, "").await;
        assert_eq!((refused.valid, refused.thumbprint.as_str(), refused.error.as_str()), (false, "", error));
    }
    let bound = for_orders(&world, &key, "7", &json!({"ath": ath("token")}));
    assert!(validate(&mut client, &bound, "token", "").await.valid);
    // With a nonce of this service.
    let nonce = world.service.nonce();
    let with = for_orders(&world, &key, "8", &json!({"nonce": nonce}));
    assert!(validate(&mut client, &with, "", &nonce).await.valid);
    for (proof, nonce) in [("x", "not-ours"), (for_orders(&world, &key, "9", &json!({})).as_str(), nonce.as_str())] {
        let asked = current::ValidateDPoPRequest {
            proof: proof.to_owned(),
            method: "GET".to_owned(),
            uri: format!("{API}/orders"),
            nonce: nonce.to_owned(),
            ..Default::default()
        };
        let refused = client.validate_d_po_p(by(ALL, asked)).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message().starts_with("INVALID_REQUEST: nonce")),
            (Code::InvalidArgument, true)
        );
    }
    assert!(world.shows(r#"token_service_dpop_validations_total{status="failure",error_type="htm_mismatch"} 1"#));
}
