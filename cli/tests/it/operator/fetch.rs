//! `fetch`: the credential chain, throttling, refusals, renewal.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use token_testkit::{Process, wait_until};

use super::stub::{Answer, Request, Stub};
use super::tokens::Tokens;
use super::{Run, command, text};

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "secret-of-the-environment")];

fn token_answer(token: &str, expires_in: u64) -> Answer {
    Answer::json(
        200,
        &json!({"token": token, "access_token": token, "token_type": "Bearer", "expires_in": expires_in, "scope": "load",
            "issued_token_type": "urn:ietf:params:oauth:token-type:jwt", "decision_id": "d1"}),
    )
}

/// Without instance metadata: no test may ask the network.
fn fetch(url: &str, tokens: &Tokens, more: &[&str]) -> Command {
    let out = tokens.path("out/token.jwt");
    let mut command = command(&[&["fetch", url, "--output-path", text(&out), "--output", "json"], more].concat());
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", tokens.folder.path());
    command
}

fn written(tokens: &Tokens) -> String {
    std::fs::read_to_string(tokens.path("out/token.jwt")).unwrap_or_default()
}

fn credential(request: &Request) -> String {
    let header = request.header("authorization").expect("it is signed");
    let scope = header.split("Credential=").nth(1).and_then(|rest| rest.split(',').next()).expect("a credential");
    assert!(header.starts_with("AWS4-HMAC-SHA256 ") && header.contains("SignedHeaders="), "{header}");
    scope.to_owned()
}

#[test]
fn throttling_and_outages_are_waited_out_as_the_server_asks() {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&count);
    let stub = Stub::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::json(429, &json!({"message": "Too Many Requests"})).header("retry-after", "2"),
        1 => Answer::json(503, &json!({"error": "temporarily_unavailable"})),
        _ => token_answer("aaa.bbb.ccc", 900),
    });
    let tokens = Tokens::new();
    let start = Instant::now();
    let more = ["--region", "eu-west-1", "--audience", "https://api.example.com", "--expires-in", "15m"];
    let answer = Run::of(fetch(&stub.url(), &tokens, &more).envs(KEYS).output().unwrap()).json(0);
    assert!(start.elapsed() >= Duration::from_secs(2), "Retry-After is a lower bound");
    assert_eq!((&answer["decision_id"], &answer["expires_in"]), (&json!("d1"), &json!(900)));
    assert!(!answer.to_string().contains("aaa.bbb"), "{answer}");
    assert_eq!(written(&tokens), "aaa.bbb.ccc");
    let asked = stub.requests();
    assert_eq!(asked.len(), 3);
    assert_eq!((asked[2].method.as_str(), asked[2].path.as_str()), ("POST", "/token"));
    let body: Value = serde_json::from_str(&asked[2].body).unwrap();
    assert_eq!(body, json!({"audience": "https://api.example.com", "expires_in": 900}));
    let scope = credential(&asked[2]);
    assert!(scope.starts_with("AKIDENVIRONMENT/") && scope.ends_with("/eu-west-1/execute-api/aws4_request"), "{scope}");
}

#[test]
fn the_deadline_ends_it_and_the_old_token_stays() {
    let stub =
        Stub::start(|_| Answer::json(429, &json!({"message": "Too Many Requests"})).header("retry-after", "3600"));
    let tokens = Tokens::new();
    std::fs::create_dir(tokens.path("out")).unwrap();
    tokens.write("out/token.jwt", "the.old.token");
    let start = Instant::now();
    let more = ["--region", "eu-west-1", "--deadline", "2s"];
    let answer = Run::of(fetch(&stub.url(), &tokens, &more).envs(KEYS).output().unwrap()).json(75);
    assert!(start.elapsed() < Duration::from_secs(30), "{answer}");
    assert_eq!((&answer["error"]["code"], &answer["error"]["status"]), (&json!("try_again"), &json!(429)));
    assert_eq!(written(&tokens), "the.old.token");
    let nobody = ["--region", "eu-west-1", "--deadline", "1s"];
    let answer = Run::of(fetch("http://127.0.0.1:9", &tokens, &nobody).envs(KEYS).output().unwrap()).json(75);
    assert!(answer["error"]["message"].as_str().unwrap().contains("does not answer"), "{answer}");
}

#[test]
fn a_refusal_says_what_the_server_says_and_is_not_tried_again() {
    let refusal =
        json!({"error": "access_denied", "error_description": "no rule admits this caller", "decision_id": "ab12"});
    let stub = Stub::start(move |_| Answer::json(403, &refusal));
    let tokens = Tokens::new();
    let answer = Run::of(fetch(&stub.url(), &tokens, &["--region", "eu-west-1"]).envs(KEYS).output().unwrap()).json(1);
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(message, "the server answered 403: access_denied: no rule admits this caller (decision ab12)");
    assert_eq!((&answer["error"]["decision_id"], stub.requests().len()), (&json!("ab12"), 1));
    assert_eq!(written(&tokens), "");
    let html = Stub::start(|_| Answer::new(200, "<html>not json</html>"));
    let answer = Run::of(fetch(&html.url(), &tokens, &["--region", "eu-west-1"]).envs(KEYS).output().unwrap()).json(75);
    assert!(answer["error"]["message"].as_str().unwrap().contains("expected access_token"), "{answer}");
    let spaced = Stub::start(|_| token_answer("aaa bbb\nccc", 900));
    Run::of(fetch(&spaced.url(), &tokens, &["--region", "eu-west-1"]).envs(KEYS).output().unwrap()).json(75);
    assert_eq!(written(&tokens), "", "nothing that is no token is written");
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let tokens = Tokens::new();
    for (url, more, words) in [
        ("http://issuer.example", &["--region", "eu-west-1"][..], "https:"),
        ("https://user:hunter2@issuer.example", &["--region", "eu-west-1"], "user name"),
        ("http://127.0.0.1:9", &["--region", "eu-west-1"], "credential"),
        ("http://127.0.0.1:9", &[], "--region"),
    ] {
        let answer = Run::of(fetch(url, &tokens, more).output().unwrap()).json(64);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words) && !message.contains("hunter2"), "{url}: {message}");
    }
    // The path is judged before anything is asked for.
    let stub = Stub::start(|_| token_answer("a.b.c", 900));
    let answer = Run::of(
        command(&["fetch", &stub.url(), "--output-path", "/", "--region", "r", "--output", "json"])
            .envs(KEYS)
            .output()
            .unwrap(),
    );
    assert_eq!(answer.json(64)["error"]["code"], "usage");
    assert_eq!(stub.requests().len(), 0);
}

#[test]
fn the_shared_profile_gives_the_credential_and_the_region() {
    let stub = Stub::start(|_| token_answer("a.b.c", 900));
    let tokens = Tokens::new();
    let file = tokens.write(
        "credentials",
        "[work]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret-of-the-profile\naws_session_token = session\n",
    );
    let config = tokens.write("config", "[profile work]\nregion = eu-central-1\n");
    let mut command = fetch(&stub.url(), &tokens, &["--profile", "work"]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", &file).env("AWS_CONFIG_FILE", &config);
    Run::of(command.output().unwrap()).json(0);
    let request = &stub.requests()[0];
    let scope = credential(request);
    assert!(scope.starts_with("AKIDPROFILE/") && scope.contains("/eu-central-1/"), "{scope}");
    assert_eq!(request.header("x-amz-security-token"), Some("session"));
}

fn credentials(key: &str) -> Value {
    json!({"AccessKeyId": key, "SecretAccessKey": "secret", "Token": "session", "Expiration": "2099-01-01T00:00:00Z"})
}

#[test]
fn a_container_gives_its_credential() {
    let container = Stub::start(|_| Answer::json(200, &credentials("AKIDCONTAINER")));
    let stub = Stub::start(|_| token_answer("a.b.c", 900));
    let tokens = Tokens::new();
    // EKS Pod Identity: the bearer is in a file.
    let bearer = tokens.write("bearer", "pod-identity");
    let mut command = fetch(&stub.url(), &tokens, &["--region", "eu-west-1"]);
    command
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", container.url()))
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &bearer);
    Run::of(command.output().unwrap()).json(0);
    assert_eq!(container.requests()[0].header("authorization"), Some("pod-identity"));
    assert!(credential(&stub.requests()[0]).starts_with("AKIDCONTAINER/"));
}

#[test]
fn a_web_identity_is_exchanged_at_sts() {
    let sts = Stub::start(|_| {
        let body = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDWEBIDENTITY</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/app/run</Arn><AssumedRoleId>AROAEXAMPLE:run</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        Answer::new(200, body).header("content-type", "text/xml")
    });
    let stub = Stub::start(|_| token_answer("a.b.c", 900));
    let tokens = Tokens::new();
    let identity = tokens.write("identity", "the.service.account");
    let mut command = fetch(&stub.url(), &tokens, &["--region", "eu-west-1"]);
    command
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &identity)
        .env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/app")
        .env("AWS_ENDPOINT_URL_STS", sts.url());
    Run::of(command.output().unwrap()).json(0);
    assert!(sts.requests()[0].body.contains("WebIdentityToken=the.service.account"), "{:?}", sts.requests());
    assert!(credential(&stub.requests()[0]).starts_with("AKIDWEBIDENTITY/"));
}

#[test]
fn an_instance_gives_its_role() {
    let imds = Stub::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token") => {
            Answer::new(200, "imds-token").header("x-aws-ec2-metadata-token-ttl-seconds", "600")
        }
        (_, path) if path.contains("security-credentials") && path.ends_with('/') => Answer::new(200, "app-role"),
        (_, path) if path.contains("security-credentials") => Answer::json(
            200,
            &json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
                "AccessKeyId": "AKIDINSTANCE", "SecretAccessKey": "secret", "Token": "session", "Expiration": "2099-01-01T00:00:00Z"}),
        ),
        _ => Answer::new(404, ""),
    });
    let stub = Stub::start(|_| token_answer("a.b.c", 900));
    let tokens = Tokens::new();
    let mut command = fetch(&stub.url(), &tokens, &["--region", "eu-west-1"]);
    command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url());
    Run::of(command.output().unwrap()).json(0);
    assert!(credential(&stub.requests()[0]).starts_with("AKIDINSTANCE/"));
}

/// Renewal at 70 %, at SIGHUP, and the old token through an outage; SIGTERM ends it with 0.
#[test]
fn a_token_is_kept_fresh_until_sigterm() {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&count);
    let stub = Stub::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => token_answer("first.a.b", 3),
        1 => Answer::json(403, &json!({"error": "access_denied"})),
        2 => token_answer("second.a.b", 3600),
        _ => token_answer("third.a.b", 3600),
    });
    let tokens = Tokens::new();
    let mut command = fetch(&stub.url(), &tokens, &["--region", "eu-west-1", "--renew"]);
    command.envs(KEYS);
    let mut process = Process::start("jwt-operator", command);
    let limit = Duration::from_secs(30);
    wait_until("the first token", limit, || (written(&tokens) == "first.a.b").then_some(()));
    wait_until("the renewal after a refusal", limit, || (written(&tokens) == "second.a.b").then_some(()));
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    wait_until("the renewal at SIGHUP", limit, || (written(&tokens) == "third.a.b").then_some(()));
    process.terminate();
    let status = process.wait(limit);
    assert_eq!(status.code(), Some(0), "{}", process.output());
    let log: Vec<Value> =
        process.stderr().lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let messages: Vec<&str> = log.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["token written", "token not renewed", "token written", "token written"], "{log:?}");
    assert!(!process.output().contains(".a.b"), "{}", process.output());
}
