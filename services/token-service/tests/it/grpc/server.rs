//! Who may call, health, reflection, limits, outages.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use token_issuance::KeyLoader;
use token_jose::{Algorithm, KeyRing, RingPolicy};
use token_server::{ClientCertificates, Tls};
use token_service::grpc::pb::auth::common::Empty;
use token_service::keys::SigningKeys;
use token_testkit::{Certificates, MemoryDocument};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::{ALL, Current, Options, by, current, former, order, start, told, world, world_with};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_method_but_the_key_set_wants_one_credential() {
    let world = world().await;
    let (mut current_client, mut former_client) = (world.current().await, world.former().await);
    let with = |values: &[&str]| {
        let mut metadata = tonic::metadata::MetadataMap::new();
        for value in values {
            metadata.append("authorization", value.parse().unwrap());
        }
        metadata
    };
    let key = format!("Bearer {ALL}");
    for values in
        [vec![], vec!["Bearer wrong"], vec![ALL], vec![&key, &key], vec![&key, "Bearer x"], vec!["Bearer x", &key]]
    {
        macro_rules! refused {
            ($client:ident.$method:ident($message:expr)) => {{
                let mut request = Request::new($message);
                *request.metadata_mut() = with(&values);
                let status = $client.$method(request).await.unwrap_err();
                assert_eq!(
                    told(&status),
                    (Code::Unauthenticated, "UNAUTHENTICATED"),
                    "{} {values:?}",
                    stringify!($method)
                );
            }};
        }
        refused!(current_client.generate_tokens(order("alice")));
        refused!(current_client.refresh_tokens(current::RefreshTokensRequest::default()));
        refused!(current_client.revoke_token(current::RevokeTokenRequest::default()));
        refused!(current_client.revoke_all_user_tokens(current::RevokeAllUserTokensRequest::default()));
        refused!(current_client.rotate_signing_key(current::RotateSigningKeyRequest::default()));
        refused!(current_client.validate_d_po_p(current::ValidateDPoPRequest::default()));
        refused!(former_client.issue_token_pair(former::IssueTokenPairRequest::default()));
        refused!(former_client.refresh_tokens(former::RefreshTokensRequest::default()));
        refused!(former_client.revoke_token(former::RevokeTokenRequest::default()));
        refused!(former_client.revoke_all_user_tokens(former::RevokeAllUserTokensRequest::default()));
        refused!(former_client.rotate_signing_key(former::RotateSigningKeyRequest::default()));
    }
    current_client.get_jwks(current::GetJwksRequest {}).await.unwrap();
    former_client.get_jwks(Empty {}).await.unwrap();
    // Our own tokens prove no caller.
    let pair = world.pair("alice", "").await;
    let own = current_client.generate_tokens(by(&pair.access_token, order("bob"))).await.unwrap_err();
    assert_eq!(told(&own), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_client_certificate_proves_its_caller() {
    let Some(certificates) = Certificates::make() else { return };
    let leaf = String::from_utf8(certificates.read("leaf.pem")).unwrap();
    let der = der_of(&leaf);
    let mut tls = Tls::new(certificates.path("leaf.pem"), certificates.path("leaf.key"));
    tls.clients = ClientCertificates::Optional(certificates.path("ca.pem"));
    let options = Options { tls: Some(tls), certificate: Some(token_jose::sha256(&der)), ..Options::default() };
    let world = world_with(options).await;
    let with = |identity: bool| {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates.read("ca.pem")));
        let own = Identity::from_pem(certificates.read("leaf.pem"), certificates.read("leaf.key"));
        let config = if identity { config.identity(own) } else { config };
        Endpoint::try_from(format!("https://{}", world.addr)).unwrap().tls_config(config).unwrap()
    };
    let mut client = Current::new(with(true).connect().await.unwrap());
    let pair = client.generate_tokens(order("alice")).await.unwrap().into_inner();
    assert_eq!(pair.token_type, "Bearer");
    let mut stranger = Current::new(with(false).connect().await.unwrap());
    let refused = stranger.generate_tokens(order("alice")).await.unwrap_err();
    assert_eq!(told(&refused), (Code::Unauthenticated, "UNAUTHENTICATED"));
    // A credential that is wrong is not mended by a certificate that is right.
    let wrong = client.generate_tokens(by("wrong", order("alice"))).await.unwrap_err();
    assert_eq!(told(&wrong), (Code::Unauthenticated, "UNAUTHENTICATED"));
}

fn der_of(pem: &str) -> Vec<u8> {
    use base64::Engine as _;
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(lines).unwrap()
}

#[tokio::test]
async fn every_answer_names_the_call() {
    let world = world().await;
    let mut client = world.current().await;
    let mut request = by(ALL, order("alice"));
    request.metadata_mut().insert("x-correlation-id", "caller-7".parse().unwrap());
    let answered = client.generate_tokens(request).await.unwrap();
    assert_eq!(answered.metadata().get("x-correlation-id").unwrap(), "caller-7");
    let refused = client.generate_tokens(order("alice")).await.unwrap_err();
    let own = refused.metadata().get("x-correlation-id").unwrap();
    assert_eq!(Some(own), refused.metadata().get("x-decision-id"));
    for bad in ["a b", &"x".repeat(200)] {
        let mut request = by(ALL, order("alice"));
        request.metadata_mut().insert("x-correlation-id", bad.parse().unwrap());
        let answered = client.generate_tokens(request).await.unwrap();
        assert_eq!(answered.metadata().get("x-correlation-id"), answered.metadata().get("x-decision-id"));
    }
    let text = world.metrics.text();
    assert!(text.contains(r#"token_service_grpc_latency_seconds_count{method="GenerateTokens"} 4"#), "{text}");
    assert!(text.contains(r#"token_service_tokens_issued_total{token_type="access",algorithm="ES256"} 3"#), "{text}");
    assert!(!text.contains("alice"));
}

#[tokio::test]
async fn too_many_mints_are_told_to_wait() {
    let world = world_with(Options { mints_per_minute: 2, ..Options::default() }).await;
    let mut client = world.current().await;
    for _ in 0..2 {
        client.generate_tokens(by(ALL, order("alice"))).await.unwrap();
    }
    let limited = client.generate_tokens(by(ALL, order("alice"))).await.unwrap_err();
    assert_eq!(told(&limited), (Code::ResourceExhausted, "RATE_LIMITED"));
    let wait: u64 = limited.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
}

#[tokio::test]
async fn our_outages_are_told_as_ours() {
    // A store that takes nothing more.
    let full = world_with(Options { store_limit: 0, ..Options::default() }).await;
    let status = full.current().await.generate_tokens(by(ALL, order("alice"))).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "CACHE_UNAVAILABLE"));
    assert!(status.metadata().get("retry-after").is_some());
    // Keys that cannot be read any more.
    let ring = KeyRing::first(&[Algorithm::Es256], RingPolicy::default(), start()).unwrap();
    let stored = Arc::new(MemoryDocument::with("ring", ring.to_json().unwrap().as_slice()));
    let published = MemoryDocument::with("jwks", ring.published(start()).to_stored_json().as_bytes());
    let keys = SigningKeys::new(KeyLoader::new(stored.clone(), Arc::new(published)), 60, None);
    let world = world_with(Options { keys: Some(keys), ..Options::default() }).await;
    let mut client = world.current().await;
    let pair = world.pair("alice", "").await;
    stored.go_down();
    world.clock.advance(13 * 3600);
    let status = client.generate_tokens(by(ALL, order("alice"))).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "KMS_UNAVAILABLE"));
    let status = client.get_jwks(current::GetJwksRequest {}).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, "KMS_UNAVAILABLE"));
    // To Envoy it is a denied response, not an error.
    let (code, headers) = world.denied(&pair.access_token).await;
    assert_eq!(code, 503);
    assert!(
        headers.iter().any(|(name, value)| name == "retry-after" && value.parse::<u64>().unwrap() >= 1),
        "{headers:?}"
    );
    let health = HealthClient::new(world.channel().await).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 2, "not serving");
}

#[tokio::test]
async fn health_follows_readiness() {
    let world = world().await;
    let mut client = HealthClient::new(world.channel().await);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "token.v1.TokenService", "auth.token.TokenService", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(client.check(ask(service)).await.unwrap().into_inner().status, 1, "{service}");
    }
    assert_eq!(client.check(ask("other")).await.unwrap_err().code(), Code::NotFound);
    let mut unknown = client.watch(ask("other")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status, 3, "unknown, and the stream stays open");
    let mut watch = client.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    world.shutdown.begin();
    let next = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap();
    // Told as not serving, or the stream ended with the listener.
    assert!(next.map_or(true, |state| state.is_none_or(|state| state.status == 2)));
}

#[tokio::test]
async fn reflection_describes_both_services() {
    let world = world().await;
    let mut client = ServerReflectionClient::new(world.channel().await);
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("token.v1.TokenService.ValidateDPoP".to_owned()),
        MessageRequest::FileContainingSymbol("auth.common.Empty".to_owned()),
    ];
    let asked = asked.map(|message| ServerReflectionRequest { host: String::new(), message_request: Some(message) });
    let answers = client.server_reflection_info(stream::iter(asked)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.take(3).map(|answer| answer.unwrap()).collect().await;
    let [listed, method, empty] = answers.try_into().unwrap();
    let answer = |answer: ServerReflectionResponse| answer.message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer(listed) else { panic!("a list") };
    let names: Vec<&str> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["auth.token.TokenService", "token.v1.TokenService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for found in [method, empty] {
        assert!(matches!(answer(found), MessageResponse::FileDescriptorResponse(_)));
    }
}

#[tokio::test]
async fn what_there_is_not_is_unimplemented() {
    let world = world().await;
    let mut client = tonic::client::Grpc::new(world.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Empty, Empty>::default();
    let path = http::uri::PathAndQuery::from_static("/token.v1.TokenService/Nothing");
    let status = client.unary(Request::new(Empty {}), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
