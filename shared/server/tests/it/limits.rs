//! What is turned away, and how it is told.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{get as on_get, post as on_post};
use http::StatusCode;
use token_server::{Limits, Peer, PeerIdentity, Streaming};
use token_testkit::Reply;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use crate::kit::{Running, get, serve, to_end, until};

fn small() -> Limits {
    Limits { body_bytes: 1000, headers: 10, request_timeout: Duration::from_secs(5), ..Limits::default() }
}

fn echo() -> Router {
    Router::new()
        .route("/echo", on_post(|body: Bytes| async move { body }))
        .route("/json", on_post(|axum::Json(value): axum::Json<u8>| async move { value.to_string() }))
        .route("/panic", on_get(|| async { panic!("a bug with a secret in its text") as &'static str }))
        .route("/own", on_get(|| async { (StatusCode::NOT_FOUND, [("content-type", "text/html")], "mine") }))
}

fn assert_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.json()["error"], code);
    assert!(reply.json()["error_description"].as_str().is_some_and(|text| !text.is_empty()));
}

#[tokio::test]
async fn an_oversized_body_is_413_announced_or_not() {
    let kit = serve(small(), echo()).await;
    let head = "POST /echo HTTP/1.1\r\nHost: kit\r\nConnection: close\r\n";
    let fits = "x".repeat(1000);
    let reply = kit.send(&format!("{head}Content-Length: 1000\r\n\r\n{fits}")).await;
    assert_eq!((reply.status, reply.body.len()), (200, 1000));

    // Announced: refused before a byte of it is read.
    let reply = kit.send(&format!("{head}Content-Length: 1001\r\n\r\n")).await;
    assert_error(&reply, 413, "invalid_request");
    assert!(reply.text().contains("at most 1000 bytes"));
    // Not announced: refused where it exceeds.
    let reply =
        kit.send(&format!("{head}Transfer-Encoding: chunked\r\n\r\n3e8\r\n{fits}\r\n1\r\nx\r\n0\r\n\r\n")).await;
    assert_error(&reply, 413, "invalid_request");
    assert!(kit.shows("http_server_rejected_total{reason=\"body\"} 2"), "{}", kit.metrics.text());
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_431() {
    let kit = serve(small(), echo()).await;
    let many: String = (0..11).map(|n| format!("X-{n}: 1\r\n")).collect();
    let reply = kit.send(&format!("GET /echo HTTP/1.1\r\nHost: kit\r\n{many}\r\n")).await;
    assert_eq!(reply.status, 431);
    let large = "x".repeat(64 * 1024);
    let reply = kit.send(&format!("GET /echo HTTP/1.1\r\nHost: kit\r\nX-Large: {large}\r\n\r\n")).await;
    assert_eq!(reply.status, 431);
    // And the next client is served.
    assert_eq!(kit.send(&get("/own")).await.status, 404);
}

#[tokio::test]
async fn no_plain_text_of_the_framework_reaches_a_client() {
    let kit = serve(small(), echo()).await;
    assert_error(&kit.send(&get("/nowhere")).await, 404, "not_found");
    let reply = kit.send(&get("/echo")).await;
    assert_error(&reply, 405, "invalid_request");
    assert_eq!(reply.header("allow"), Some("POST"));
    let post = |content_type: &str, body: &str| {
        format!(
            "POST /json HTTP/1.1\r\nHost: kit\r\nConnection: close\r\n{content_type}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_error(&kit.send(&post("", "1")).await, 415, "invalid_request");
    assert_error(&kit.send(&post("Content-Type: application/json\r\n", "{")).await, 400, "invalid_request");
    assert_error(&kit.send(&post("Content-Type: application/json\r\n", "\"x\"")).await, 400, "invalid_request");
    let reply = kit.send(&get("/panic")).await;
    assert_error(&reply, 500, "server_error");
    assert!(!reply.text().contains("secret"));
    // What a handler says in a content type of its own stays.
    let reply = kit.send(&get("/own")).await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "mine"));
}

#[tokio::test]
async fn a_panic_ends_its_request_and_not_its_connection() {
    let kit = serve(small(), echo()).await;
    let mut client = kit.connect().await;
    client.write_all(b"GET /panic HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
    assert!(until(&mut client, "server_error").await.starts_with("HTTP/1.1 500"));
    client.write_all(get("/own").as_bytes()).await.unwrap();
    assert_eq!(Reply::parse(&to_end(&mut client).await).status, 404);
    assert!(kit.shows("http_server_rejected_total{reason=\"panic\"} 1"));
}

/// A handler that waits until it is let go, and says when it has begun.
async fn gated(limits: Limits) -> (Running, Arc<Semaphore>, Arc<Semaphore>) {
    let (begun, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&gate));
    let wait = move || {
        let (says, waits) = (Arc::clone(&says), Arc::clone(&waits));
        async move {
            says.add_permits(1);
            waits.acquire().await.unwrap().forget();
            "done"
        }
    };
    let router = Router::new().route("/wait", on_get(wait)).route("/healthz", on_get(|| async { "ok" }));
    (serve(limits, router).await, begun, gate)
}

#[tokio::test]
async fn above_the_cap_requests_are_503_with_retry_after_and_health_is_answered() {
    let (kit, begun, gate) = gated(Limits { in_flight: 2, ..small() }).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = kit.connect().await;
        client.write_all(get("/wait").as_bytes()).await.unwrap();
        busy.push(client);
    }
    begun.acquire_many(2).await.unwrap().forget();
    let reply = kit.send(&get("/wait")).await;
    assert_error(&reply, 503, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(kit.send(&get("/healthz")).await.status, 200);
    assert!(kit.shows("http_server_requests_in_flight 2.0"), "{}", kit.metrics.text());
    assert!(kit.shows("http_server_rejected_total{reason=\"in_flight\"} 1"));

    gate.add_permits(2);
    for mut client in busy {
        assert_eq!(Reply::parse(&to_end(&mut client).await).text(), "done");
    }
    gate.add_permits(1);
    assert_eq!(kit.send(&get("/wait")).await.status, 200);
}

#[tokio::test]
async fn the_cap_is_of_the_server_and_not_of_a_listener() {
    let (kit, begun, gate) = gated(Limits { in_flight: 1, ..small() }).await;
    let second = token_server::Bound::bind(&token_server::Listen::plain(([127, 0, 0, 1], 0).into())).await.unwrap();
    let addr = second.local_addr();
    let server = kit.server.clone();
    tokio::spawn(async move { second.serve(Router::new().route("/", on_get(|| async { "hello" })), &server).await });
    let mut busy = kit.connect().await;
    busy.write_all(get("/wait").as_bytes()).await.unwrap();
    begun.acquire().await.unwrap().forget();
    let mut other = tokio::net::TcpStream::connect(addr).await.unwrap();
    other.write_all(get("/").as_bytes()).await.unwrap();
    assert_eq!(Reply::parse(&to_end(&mut other).await).status, 503);
    gate.add_permits(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_parallel_requests_are_all_answered() {
    let kit = Arc::new(serve(Limits::default(), echo()).await);
    let clients: Vec<_> = (0..1000)
        .map(|n| {
            let kit = Arc::clone(&kit);
            tokio::spawn(async move {
                let body = format!("client {n}");
                let head = "POST /echo HTTP/1.1\r\nHost: kit\r\nConnection: close\r\nContent-Length: ";
                let reply = kit.send(&format!("{head}{}\r\n\r\n{body}", body.len())).await;
                (reply.status, reply.text()) == (200, body)
            })
        })
        .collect();
    for client in clients {
        assert!(client.await.unwrap());
    }
    assert!(kit.shows("http_server_requests_total{method=\"POST\",status=\"200\"} 1000"), "{}", kit.metrics.text());
    assert!(kit.shows("http_server_requests_in_flight 0.0"));
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_their_turn() {
    let kit = serve(Limits { connections: 2, idle_timeout: Duration::from_secs(30), ..small() }, echo()).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = kit.connect().await;
        client.write_all(b"GET /own HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
        until(&mut client, "mine").await;
        open.push(client);
    }
    let mut third = kit.connect().await;
    third.write_all(get("/own").as_bytes()).await.unwrap();
    let answer = tokio::spawn(async move { to_end(&mut third).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!answer.is_finished());
    drop(open);
    assert_eq!(Reply::parse(&answer.await.unwrap()).status, 404);
}

#[tokio::test]
async fn streams_have_a_cap_of_their_own_and_outlive_the_request_timeout() {
    let endless = || async {
        let body = Body::from_stream(futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::convert::Infallible>("data: {}\n\n"), ()))
        }));
        let mut response = Response::new(body);
        response.extensions_mut().insert(Streaming::new());
        response
    };
    let limits = Limits { streams: 1, in_flight: 1, request_timeout: Duration::from_millis(200), ..small() };
    let kit = serve(limits, echo().route("/events", on_get(endless))).await;
    let mut stream = kit.connect().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: kit\r\n\r\n").await.unwrap();
    until(&mut stream, "data").await;
    // The one request permit is free again; the one stream is taken.
    assert_eq!(kit.send(&get("/own")).await.status, 404);
    let reply = kit.send(&get("/events")).await;
    assert_error(&reply, 503, "temporarily_unavailable");
    assert!(kit.shows("http_server_streams 1.0"));
    let much_later = tokio::time::Instant::now() + Duration::from_secs(1);
    while tokio::time::Instant::now() < much_later {
        until(&mut stream, "data").await;
    }
}

#[tokio::test]
async fn who_is_connected_comes_from_the_connection_alone() {
    let who = |request: axum::extract::Request| async move {
        let peer = request.extensions().get::<Peer>().copied();
        let info = request.extensions().get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|info| info.0);
        let identity = request.extensions().get::<PeerIdentity>().is_some();
        format!("{} {} {identity}", peer.is_some_and(|peer| Some(peer.addr) == info), peer.is_some_and(|peer| peer.tls))
    };
    let kit = serve(small(), Router::new().route("/", on_get(who))).await;
    let forged =
        "GET / HTTP/1.1\r\nHost: kit\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.1\r\nX-Client-Cert: x\r\n\r\n";
    assert_eq!(kit.send(forged).await.text(), "true false false");
}
