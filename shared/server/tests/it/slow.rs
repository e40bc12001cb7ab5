//! Clients that hold on: slow, silent, or gone.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{get as on_get, post as on_post};
use token_server::{Limits, Streaming};
use token_testkit::{Reply, wait_for};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::kit::{PATIENCE, Running, get, serve, to_end, until};

const SHORT: Duration = Duration::from_millis(400);

fn hasty() -> Limits {
    Limits {
        header_timeout: SHORT,
        request_timeout: SHORT,
        idle_timeout: SHORT * 4,
        stall_timeout: SHORT,
        ..Limits::default()
    }
}

fn router() -> Router {
    Router::new()
        .route("/", on_get(|| async { "hello" }))
        .route("/echo", on_post(|body: Bytes| async move { body }))
        .route("/never", on_get(|| async { std::future::pending::<&'static str>().await }))
        .route("/large", on_get(|| async { vec![b'x'; 64 << 20] }))
}

async fn none_is_open(kit: &Running) {
    wait_for("the last connection to end", PATIENCE, || async {
        kit.shows("http_server_connections 0.0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_loris_is_cut_off_however_steadily_it_sends() {
    let kit = serve(hasty(), router()).await;
    let mut client = kit.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let start = Instant::now();
    let dripping = async {
        // A header every 50 ms, for ever: the head as a whole has a time, not each byte.
        while client.write_all(b"X-Drip: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dripping).await.expect("the server ends the connection");
    assert!(start.elapsed() >= SHORT / 2, "{:?}", start.elapsed());
    none_is_open(&kit).await;
    assert!(kit.shows("http_server_rejected_total{reason=\"slow_head\"} 1"), "{}", kit.metrics.text());
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends() {
    let kit = serve(hasty(), router()).await;
    let mut silent = kit.connect().await;
    assert!(to_end(&mut silent).await.is_empty());
    // Nor do the first bytes of HTTP/2's preface help.
    let mut undecided = kit.connect().await;
    undecided.write_all(b"PRI * HTT").await.unwrap();
    assert!(to_end(&mut undecided).await.is_empty());
    none_is_open(&kit).await;
}

#[tokio::test]
async fn a_silent_http2_connection_ends() {
    let kit = serve(hasty(), router()).await;
    let mut client = kit.connect().await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    to_end(&mut client).await;
    // A HEADERS frame that announces more than it brings.
    let mut client = kit.connect().await;
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x10\0\x01\x05\0\0\0\x01\x82")
        .await
        .unwrap();
    to_end(&mut client).await;
    none_is_open(&kit).await;
}

#[tokio::test]
async fn a_kept_connection_stays_longer_than_a_head_may_take_and_then_ends() {
    let kit = serve(hasty(), router()).await;
    let mut client = kit.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
        until(&mut client, "hello").await;
        tokio::time::sleep(SHORT * 2).await;
    }
    assert!(to_end(&mut client).await.is_empty());
    none_is_open(&kit).await;
    assert!(kit.shows("http_server_rejected_total{reason=\"slow_head\"} 0"), "{}", kit.metrics.text());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let kit = serve(hasty(), router()).await;
    let head = "POST /echo HTTP/1.1\r\nHost: kit\r\nContent-Length: 10\r\n\r\nhalf";
    let reply = kit.send(head).await;
    assert_eq!((reply.status, reply.json()["error"].as_str()), (408, Some("invalid_request")));
    assert!(kit.shows("http_server_rejected_total{reason=\"slow_body\"} 1"), "{}", kit.metrics.text());
    none_is_open(&kit).await;
}

#[tokio::test]
async fn an_answer_that_is_not_ready_is_our_trouble_503() {
    let kit = serve(hasty(), router()).await;
    let reply = kit.send(&get("/never")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.json()["error"], "temporarily_unavailable");
}

/// A stream that always has more, without a pause.
async fn flood() -> Response {
    let events = futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>("data: {}\n\n"));
    let mut response = Response::new(Body::from_stream(events));
    response.extensions_mut().insert(Streaming::with_farewell("event: shutdown\n\n"));
    response
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_stream_is_cut_off() {
    let kit = serve(hasty(), router().route("/flood", on_get(flood))).await;
    let mut client = kit.connect().await;
    client.write_all(b"GET /flood HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
    until(&mut client, "data").await;
    // By the kernel's user timeout or by our own watch, whichever is first.
    none_is_open(&kit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_always_has_more_ends_with_its_farewell_too() {
    let kit = serve(hasty(), router().route("/flood", on_get(flood))).await;
    let mut client = kit.connect().await;
    client.write_all(b"GET /flood HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
    until(&mut client, "data").await;
    kit.shutdown.begin();
    let all = to_end(&mut client).await;
    assert!(String::from_utf8_lossy(&all).contains("event: shutdown"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
    let kit = serve(hasty(), router()).await;
    let mut client = kit.connect().await;
    client.write_all(b"GET /large HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
    // The client reads no more than the head, and keeps the connection.
    until(&mut client, "200 OK").await;
    none_is_open(&kit).await;
    drop(client);
    // One that reads gets it all.
    let reply = Reply::parse(&{
        let mut client = kit.connect().await;
        client.write_all(get("/large").as_bytes()).await.unwrap();
        to_end(&mut client).await
    });
    assert_eq!((reply.status, reply.body.len()), (200, 64 << 20));
}
