//! What the client does when the other end misbehaves.

use std::time::{Duration, Instant};

use serde_json::json;
use token_remote::{Body, ClientOptions, HttpsClient, RemoteError};
use token_testkit::{RemoteStub, StubAnswer};

use crate::{client, impatient, log_of, url};

const SECRET: &str = "secret-that-nobody-may-show";

async fn get_from(answer: StubAnswer) -> (Result<token_remote::Reply, RemoteError>, usize) {
    let stub = RemoteStub::start(move |_| answer.clone());
    let result = client(&impatient()).get(&url(&stub.url()), &[]).await;
    (result, stub.requests().len())
}

#[tokio::test]
async fn an_answer_comes_whole_whatever_its_status() {
    let stub = RemoteStub::start(|request| match request.path.as_str() {
        "/form" => StubAnswer::Full(400, vec![("retry-after", "7".to_owned())], request.body.clone()),
        "/json" => StubAnswer::json(&json!({"type": request.header("content-type"), "length": request.body.len()})),
        _ => StubAnswer::status(204),
    });
    let client = client(&impatient());
    let base = url(&stub.url());
    let form = [("grant_type", "a b&c"), ("token", "=\u{e9}")];
    let reply = client.post(&base.join("form").unwrap(), &[], Body::Form(&form)).await.unwrap();
    assert_eq!((reply.status, reply.retry_after_s()), (400, Some(7)));
    assert_eq!(&reply.body[..], b"grant_type=a+b%26c&token=%3D%C3%A9");
    let error = reply.success().unwrap_err();
    assert!(matches!(error, RemoteError::Status { status: 400, retry_after_s: Some(7), .. }) && !error.is_outage());

    let body = json!({"a": 1});
    let reply = client.post(&base.join("json").unwrap(), &[("x-one", "1")], Body::Json(&body)).await.unwrap();
    assert_eq!(reply.success().unwrap().json().unwrap(), json!({"type": "application/json", "length": 7}));
    assert_eq!(client.get(&base, &[]).await.unwrap().success().unwrap().status, 204);
    let sent = stub.requests();
    assert_eq!(sent[1].header("x-one"), Some("1"));
    assert_eq!((sent[2].header("accept-encoding"), sent[2].header("cookie")), (None, None));
}

#[tokio::test]
async fn whatever_never_ends_is_cut_off_in_time() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-le".to_vec();
    for answer in [
        StubAnswer::Stall,
        StubAnswer::StalledBody(vec![b'x'; 1_000]),
        StubAnswer::RawThenStall(head),
        StubAnswer::RawThenStall(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
    ] {
        let start = Instant::now();
        let (result, _) = get_from(answer.clone()).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, RemoteError::Timeout { limit_ms: 1_000, .. }) && error.is_outage(),
            "{answer:?}: {error}"
        );
        assert!(start.elapsed() < Duration::from_secs(5), "{answer:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_no_further() {
    let limit = impatient().max_body;
    let exactly = StubAnswer::Full(200, vec![], vec![b'x'; limit]);
    assert_eq!(get_from(exactly).await.0.unwrap().body.len(), limit);
    let promised = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", limit + 1).into_bytes();
    for answer in [
        StubAnswer::Full(200, vec![], vec![b'x'; limit + 1]),
        StubAnswer::Full(500, vec![], vec![b'x'; limit + 1]),
        // Refused by its length alone: not a byte of it comes.
        StubAnswer::RawThenStall(promised),
        StubAnswer::Endless,
    ] {
        let error = get_from(answer).await.0.unwrap_err();
        assert!(matches!(error, RemoteError::TooLarge { .. }) && !error.is_outage(), "{error}");
    }
    // Headers have a limit of their own.
    let endless_head = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'x'; 1_000_000]].concat();
    let many_headers = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"x: y\r\n".repeat(5_000), b"\r\n"].concat();
    for answer in [StubAnswer::Raw(endless_head), StubAnswer::Raw(many_headers)] {
        let error = get_from(answer).await.0.unwrap_err();
        assert!(matches!(error, RemoteError::Interrupted { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_broken_answer_is_an_outage_and_is_not_asked_for_twice() {
    for answer in [
        StubAnswer::Reset,
        StubAnswer::Truncated(b"0123456789".to_vec()),
        StubAnswer::Raw(Vec::new()),
        StubAnswer::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        StubAnswer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef".to_vec()),
        StubAnswer::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
    ] {
        let (result, requests) = get_from(answer.clone()).await;
        let error = result.unwrap_err();
        assert!(matches!(error, RemoteError::Interrupted { .. }) && error.is_outage(), "{answer:?}: {error}");
        assert_eq!(requests, 1, "{answer:?}");
    }
    let gone = format!("http://127.0.0.1:{}", token_testkit::free_port());
    let error = client(&impatient()).get(&url(&gone), &[]).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Connect { detail, .. } if detail.contains("refused")), "{error}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_goes_there() {
    let elsewhere = RemoteStub::start(|_| StubAnswer::status(200));
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.url();
        let stub = RemoteStub::start(move |_| StubAnswer::Full(status, vec![("location", location.clone())], vec![]));
        let client = client(&impatient());
        let reply = client.post(&url(&stub.url()), &[("x-vault-token", SECRET)], Body::Empty).await.unwrap();
        assert_eq!(reply.status, status);
        let error = reply.success().unwrap_err();
        assert!(matches!(error, RemoteError::Redirect { .. }) && !error.is_outage(), "{error}");
    }
    assert_eq!(elsewhere.requests(), []);
}

#[tokio::test]
async fn a_header_that_is_none_is_refused_and_not_shown() {
    let stub = RemoteStub::start(|_| StubAnswer::status(200));
    let client = client(&impatient());
    let smuggled = format!("{SECRET}\r\nx-evil: 1");
    for (name, value) in [("authorization", smuggled.as_str()), ("x\r\ny", SECRET), ("", SECRET)] {
        let error = client.get(&url(&stub.url()), &[(name, value)]).await.unwrap_err();
        assert!(matches!(error, RemoteError::Header { .. }) && !format!("{error:?}").contains(SECRET), "{error}");
    }
    assert_eq!(stub.requests(), []);
}

#[tokio::test]
async fn json_has_one_reading() {
    let twice = StubAnswer::Full(200, vec![], br#"{"a":1,"a":2}"#.to_vec());
    let reply = get_from(twice).await.0.unwrap();
    assert!(matches!(reply.json(), Err(RemoteError::Json { .. })));
    let deep = StubAnswer::Full(200, vec![], "[".repeat(1_000).into_bytes());
    assert!(get_from(deep).await.0.unwrap().json().is_err());
}

#[test]
fn neither_errors_nor_logs_show_what_was_sent_or_answered() {
    let log = log_of(async {
        let token = [("authorization", SECRET), ("x-vault-token", SECRET)];
        let form = [("subject_token", SECRET)];
        for answer in [
            StubAnswer::Full(200, vec![("x-secret", SECRET.to_owned())], SECRET.as_bytes().to_vec()),
            StubAnswer::Full(403, vec![], SECRET.as_bytes().to_vec()),
            StubAnswer::Truncated(SECRET.as_bytes().to_vec()),
            StubAnswer::Raw(SECRET.as_bytes().to_vec()),
            StubAnswer::Reset,
        ] {
            let stub = RemoteStub::start(move |_| answer.clone());
            let target = url(&format!("{}/path?code={SECRET}", stub.url()));
            let client = client(&impatient());
            for body in [Body::Form(&form), Body::Json(&json!({"token": SECRET})), Body::Empty] {
                let shown = match client.post(&target, &token, body).await {
                    Ok(reply) => format!("{reply:?} {:?} {:?} {body:?}", reply.json(), reply.clone().success()),
                    Err(error) => format!("{error} {error:?} {client:?}"),
                };
                assert!(!shown.contains(SECRET), "{shown}");
            }
        }
    });
    assert_eq!(log.lines().find(|line| line.contains(SECRET)), None);
}

/// Runs in a process of its own, see below: what it is told, and where to, comes by the environment.
#[tokio::test]
#[ignore = "started by the_proxies_of_the_environment_are_not_used"]
#[expect(clippy::disallowed_methods, reason = "a child process of a test")]
async fn child_with_proxies_in_its_environment() {
    let target = std::env::var("TEST_TARGET").unwrap();
    let reply = client(&impatient()).get(&url(&target), &[]).await.unwrap();
    assert_eq!(&reply.body[..], b"direct");
}

#[tokio::test]
async fn the_proxies_of_the_environment_are_not_used() {
    let proxy = RemoteStub::start(|_| StubAnswer::Full(200, vec![], b"by proxy".to_vec()));
    let target = RemoteStub::start(|_| StubAnswer::Full(200, vec![], b"direct".to_vec()));
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "client::child_with_proxies_in_its_environment", "--ignored"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env(name, proxy.url());
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    let output = command.env("TEST_TARGET", target.url()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!((target.requests().len(), proxy.requests().len()), (1, 0));

    // The one that was asked for is.
    let options = ClientOptions { proxy: Some(url(&proxy.url())), ..impatient() };
    let client = HttpsClient::new(&options).unwrap();
    assert_eq!(&client.get(&url(&target.url()), &[]).await.unwrap().body[..], b"by proxy");
}
