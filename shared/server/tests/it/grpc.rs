//! gRPC over the same listeners.

use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use token_server::{Limits, Shutdown};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::kit::{PATIENCE, Running, get, serve_with};

async fn serve(limits: Limits, shutdown: Shutdown) -> (Running, HealthClient<Channel>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("kit", ServingStatus::Serving).await;
    let grpc = tonic::service::Routes::new(service).prepare().into_axum_router();
    let router = Router::new().route("/", on_get(|| async { "hello" })).merge(grpc);
    let kit = serve_with(limits, None, shutdown, router).await;
    let channel = Endpoint::try_from(format!("http://{}", kit.addr)).unwrap().connect().await.unwrap();
    (kit, HealthClient::new(channel))
}

fn question() -> HealthCheckRequest {
    HealthCheckRequest { service: "kit".to_owned() }
}

#[tokio::test]
async fn one_port_serves_grpc_and_http() {
    let (kit, mut client) = serve(Limits::default(), Shutdown::default()).await;
    let answer = client.check(question()).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    assert_eq!(kit.send(&get("/")).await.text(), "hello");
    let unknown = client.check(HealthCheckRequest { service: "other".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn limits_are_told_as_grpc_statuses() {
    let limits = Limits { streams: 1, body_bytes: 100, ..Limits::default() };
    let (_kit, mut client) = serve(limits, Shutdown::default()).await;
    let mut watch = client.watch(question()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let refused = client.watch(question()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().is_empty()), (Code::Unavailable, false));
    let large = client.check(HealthCheckRequest { service: "x".repeat(1000) }).await.unwrap_err();
    assert_eq!(large.code(), Code::ResourceExhausted, "{large:?}");
}

#[tokio::test]
async fn a_grpc_stream_outlives_the_request_timeout_and_ends_with_a_status_at_the_drain() {
    let limits = Limits { request_timeout: Duration::from_millis(100), ..Limits::default() };
    let (kit, mut client) = serve(limits, Shutdown::default()).await;
    let mut watch = client.watch(question()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    kit.shutdown.begin();
    let status = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    drop((watch, client));
    tokio::time::timeout(PATIENCE, kit.task).await.unwrap().unwrap().unwrap();
}
