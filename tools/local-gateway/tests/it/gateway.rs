//! The gateway in front of sample functions, over real connections.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use local_gateway::binaries::TargetDir;
use local_gateway::cli::Options;
use local_gateway::function::Function;
use local_gateway::gateway::{Gateway, MAX_BODY_BYTES, Serving};
use local_gateway::principals::{DEFAULT_ORGANIZATION, Principals, SamplePrincipal};
use local_gateway::run::{self, RunError, Surroundings};
use serde_json::{Value, json};
use token_shell::{OsIds, SystemClock};

use crate::client::{get, post_token, request};
use crate::function::{LONG, Lines, spec};
use crate::sample;

struct Rig {
    _directory: tempfile::TempDir,
    _serving: Serving,
    url: String,
    lines: Arc<Lines>,
}

async fn rig(principals: &Principals, timeout: Duration) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let binary = sample::write(directory.path(), "sample", "ready");
    let lines = Arc::new(Lines::default());
    let start = || Function::start(spec(binary.clone(), timeout), Arc::new(SystemClock), Arc::clone(&lines) as _);
    let (issuer, jwks) = (start().await.unwrap(), start().await.unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Gateway {
        principals: principals.clone(),
        organization: DEFAULT_ORGANIZATION.to_owned(),
        issuer,
        jwks,
        recorder: None,
        clock: Arc::new(SystemClock),
        ids: Arc::new(OsIds),
        console: Arc::clone(&lines) as _,
    };
    let serving = Arc::new(gateway).serve(listener, address.port());
    Rig { _directory: directory, _serving: serving, url: format!("http://{address}"), lines }
}

fn built_in() -> Principals {
    Principals::built_in(DEFAULT_ORGANIZATION)
}

fn principal(changes: &Value) -> Principals {
    let mut one = json!({"name": "p", "arn": "", "caller": "", "account_id": "", "organization_id": "o-exampleorg1",
        "access_key_id": "ASIA000000000EXAMPLE", "secret_access_key": "s"});
    for (name, value) in changes.as_object().unwrap() {
        one[name] = value.clone();
    }
    Principals::parse(&json!([one]).to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_reaches_the_function_with_its_principal() {
    let principals = built_in();
    let rig = rig(&principals, LONG).await;
    for principal in principals.all() {
        let answer = post_token(&rig.url, principal, "echo").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let event = &answer.json()["event"];
        assert_eq!(event["requestContext"]["identity"]["userArn"], principal.arn());
        assert_eq!(event["path"], "/token");
        assert!(!event.to_string().to_ascii_lowercase().contains("aws4-hmac"), "no Authorization: {event}");
        assert!(answer.header("x-amzn-requestid").is_some());
    }
}

/// What stands in a principals file is copied, however odd: judging it is the function's part.
#[tokio::test(flavor = "multi_thread")]
async fn principals_are_copied_unjudged() {
    let odd = principal(&json!({"arn": "not an ARN", "caller": "", "account_id": "x", "session_token": "t"}));
    let rig = rig(&odd, LONG).await;
    let answer = post_token(&rig.url, &odd.all()[0], "echo").await;
    let identity = &answer.json()["event"]["requestContext"]["identity"];
    assert_eq!((&identity["userArn"], &identity["caller"]), (&json!("not an ARN"), &json!("")));
    assert_eq!((&identity["accountId"], &identity["user"]), (&json!("x"), &json!("")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_documents_need_no_signature() {
    let rig = rig(&built_in(), LONG).await;
    let answer = get(&rig.url, "/.well-known/jwks.json?a=1").await;
    assert_eq!(answer.status, 200);
    let event = &answer.json()["event"];
    assert_eq!(event["requestContext"]["identity"]["userArn"], Value::Null);
    assert_eq!(event["queryStringParameters"], json!({"a": "1"}));
    let head = request(&rig.url, "HEAD", "/.well-known/jwks.json", &[], b"").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_api_gateway_refuses_never_reaches_a_function() {
    let rig = rig(&built_in(), LONG).await;
    for (method, path) in
        [("POST", "/token"), ("GET", "/token"), ("POST", "/other"), ("GET", "/"), ("POST", "/.well-known/jwks.json")]
    {
        let answer = request(&rig.url, method, path, &[], b"echo").await;
        assert_eq!(answer.status, 403, "{method} {path}");
        assert_eq!(answer.json(), json!({"message": "Missing Authentication Token"}));
        assert_eq!(answer.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
    }
    let wrong = Principals::parse(&built_in_with_secret("another")).unwrap();
    let answer = post_token(&rig.url, &wrong.all()[0], "echo").await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (403, Some("InvalidSignatureException")));
    assert!(answer.json()["message"].as_str().unwrap().starts_with("The request signature we calculated"));
    let unknown = principal(&json!({}));
    let answer = post_token(&rig.url, &unknown.all()[0], "echo").await;
    assert_eq!(answer.json(), json!({"message": "The security token included in the request is invalid."}));
    let answer = request(&rig.url, "GET", "/.well-known/x", &[], &vec![b'x'; MAX_BODY_BYTES + 1]).await;
    assert_eq!((answer.status, answer.json()), (413, json!({"message": "Request Too Long"})));
}

fn built_in_with_secret(secret: &str) -> String {
    let mut all = serde_json::to_value(built_in().all()).unwrap();
    all[0]["secret_access_key"] = secret.into();
    all.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resource_policy_holds() {
    let sso = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@example.com";
    for (changes, explicit) in [
        (json!({"arn": sso, "organization_id": "o-exampleorg2"}), false),
        (json!({"arn": sso, "role_path": "/"}), true),
    ] {
        let principals = principal(&changes);
        let rig = rig(&principals, LONG).await;
        let answer = post_token(&rig.url, &principals.all()[0], "echo").await;
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (403, Some("AccessDeniedException")));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with(&format!("User: {sso} is not authorized to perform: execute-api:Invoke")),
            "{message}"
        );
        assert_eq!(message.ends_with("with an explicit deny"), explicit, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_function_is_502_and_comes_back() {
    let principals = built_in();
    let rig = rig(&principals, LONG).await;
    for command in ["error", "malformed", "exit", "too-large"] {
        let answer = post_token(&rig.url, &principals.all()[0], command).await;
        assert_eq!((answer.status, answer.json()), (502, json!({"message": "Internal server error"})), "{command}");
        let answer = post_token(&rig.url, &principals.all()[0], "echo").await;
        assert_eq!(answer.status, 200, "after {command}");
    }
    assert!(rig.lines.all().contains("sample: Sample: as told"), "{}", rig.lines.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_hangs_is_504_and_comes_back() {
    let principals = built_in();
    let rig = rig(&principals, Duration::from_secs(5)).await;
    let answer = post_token(&rig.url, &principals.all()[0], "hang").await;
    assert_eq!((answer.status, answer.json()), (504, json!({"message": "Endpoint request timed out"})));
    assert_eq!(post_token(&rig.url, &principals.all()[0], "echo").await.status, 200);
}

fn surroundings(target: &std::path::Path) -> (Surroundings, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        ids: Arc::new(OsIds),
        console: Arc::clone(&lines) as _,
        cargo: "/nonexistent/cargo".to_owned(),
        target: TargetDir { root: Some(target.to_owned()), triple: None },
    };
    (around, lines)
}

fn options(bin_dir: &tempfile::TempDir, more: &[&str]) -> Options {
    let bin_dir = bin_dir.path().to_str().unwrap();
    let arguments = ["local-gateway", "--port", "0", "--algorithm", "ES256", "--bin-dir", bin_dir];
    Options::parse_from([arguments.as_slice(), more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_at_once_do_not_disturb_each_other() {
    let (target, bin_dir) = (tempfile::tempdir().unwrap(), sample::bin_dir("ready", "ready"));
    let (around, _) = surroundings(target.path());
    let options = options(&bin_dir, &[]);
    let (one, two) = (run::start(&options, &around).await.unwrap(), run::start(&options, &around).await.unwrap());
    assert_ne!(one.url(), two.url());
    let environment = |answer: crate::client::Answer| answer.json();
    let first = environment(post_token(one.url(), &one.principals()[0], "environment").await);
    let second = environment(post_token(two.url(), &two.principals()[0], "environment").await);
    assert_eq!(first["JWT_ISSUER_URL"], one.url());
    assert_ne!(first["KEY_RING"], second["KEY_RING"]);
    let ring = first["KEY_RING"].as_str().unwrap().strip_prefix("file:").unwrap().to_owned();
    let other = second["KEY_RING"].as_str().unwrap().strip_prefix("file:").unwrap().to_owned();
    assert!(std::path::Path::new(&ring).is_file());
    one.stop().await;
    assert!(!std::path::Path::new(&ring).exists() && std::path::Path::new(&other).is_file());
    assert_eq!(post_token(two.url(), &two.principals()[0], "echo").await.status, 200);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_recorded_without_credentials() {
    let (target, bin_dir) = (tempfile::tempdir().unwrap(), sample::bin_dir("ready", "ready"));
    let (around, _) = surroundings(target.path());
    let file = target.path().join("principals.json");
    let signer = json!([{"name": "p", "arn": "a", "caller": "c", "account_id": "1", "organization_id": "o-exampleorg1",
        "access_key_id": "ASIA000000000EXAMPLE", "secret_access_key": "s", "session_token": "the-session-token"}]);
    std::fs::write(&file, signer.to_string()).unwrap();
    let records = target.path().join("a/b");
    let more = ["--record", records.to_str().unwrap(), "--principals", file.to_str().unwrap()];
    let options = options(&bin_dir, &more);
    for _ in 0..2 {
        let running = run::start(&options, &around).await.unwrap();
        let seen = post_token(running.url(), &running.principals()[0], "echo").await.json()["event"].clone();
        assert_eq!(seen["headers"]["x-amz-security-token"], "the-session-token");
        get(running.url(), "/.well-known/jwks.json").await;
        running.stop().await;
    }
    let mut names: Vec<String> =
        std::fs::read_dir(&records).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0001-token.json", "0002-well-known.json", "0003-token.json", "0004-well-known.json"]);
    let text = std::fs::read_to_string(records.join("0001-token.json")).unwrap();
    assert!(!text.contains("the-session-token") && !text.contains("AWS4-HMAC"), "{text}");
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["requestContext"]["identity"]["userArn"], "a");
}

/// So that problems name the file that can be mended, and edits are seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_file_is_read_where_it_is() {
    let (target, bin_dir) = (tempfile::tempdir().unwrap(), sample::bin_dir("ready", "ready"));
    let (around, lines) = surroundings(target.path());
    let file = target.path().join("own.toml");
    std::fs::write(&file, "").unwrap();
    let running = run::start(&options(&bin_dir, &["--mapping", file.to_str().unwrap()]), &around).await.unwrap();
    let seen = post_token(running.url(), &running.principals()[0], "environment").await.json();
    assert_eq!(seen["MAPPING"], format!("file:{}", file.display()));
    assert!(lines.all().contains(&format!("mapping file:{}", file.display())), "{}", lines.all());
    running.stop().await;
    let absent = run::start(&options(&bin_dir, &["--mapping", "/nonexistent"]), &around).await;
    assert!(matches!(absent, Err(RunError::Path { flag: "--mapping", .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_functions_problems_are_reported_and_nothing_is_left() {
    let (target, bin_dir) = (tempfile::tempdir().unwrap(), sample::bin_dir("init-error", "exit"));
    let (around, lines) = surroundings(target.path());
    let Err(RunError::Functions(problems)) = run::start(&options(&bin_dir, &[]), &around).await else { panic!() };
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "jwt-issuer: the initialisation failed: Config: 1. MAPPING: expected one",
            "jwks: the initialisation failed: its process ended (exit status: 7)"
        ]
    );
    assert!(lines.all().contains("[jwt-issuer] last words"));
    assert_eq!(std::fs::read_dir(target.path().join("local-gateway")).unwrap().count(), 0, "no ring is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_said_before_anything_is_built() {
    let target = tempfile::tempdir().unwrap();
    let (around, _) = surroundings(target.path());
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let options = Options::parse_from(["local-gateway", "--port", &port]);
    assert!(matches!(run::start(&options, &around).await, Err(RunError::Listen { .. })));
}

#[test]
fn the_ready_principals_read_back_as_a_file() {
    let text = serde_json::to_string(built_in().all()).unwrap();
    let again = Principals::parse(&text).unwrap();
    assert_eq!(again.all(), built_in().all());
    assert!(!format!("{:?}", built_in().all()).contains("EXAMPLESECRET"));
    let names: Vec<&str> = again.all().iter().map(SamplePrincipal::name).collect();
    assert_eq!(names, ["sso-user", "workload", "refused"]);
}

#[test]
fn every_problem_of_a_principals_file_is_reported() {
    let text = r#"[
        {"name": "p", "arn": "", "caller": "", "account_id": "", "organization_id": "", "access_key_id": "AKIA0000000000000000",
         "secret_access_key": "hush", "stage": "v1", "role_path": "team", "arn": "twice"},
        {"name": "p", "arn": 1, "caller": "", "account_id": null, "access_key_id": "short/key", "secret_access_key": ""},
        {"name": "q", "arn": "", "caller": "", "account_id": "", "organization_id": "", "access_key_id": "AKIA0000000000000001",
         "secret_access_key": "s"},
        {"name": "q", "arn": "", "caller": "", "account_id": "", "organization_id": "", "access_key_id": "AKIA0000000000000001",
         "secret_access_key": "s"}
    ]"#;
    let problems = Principals::parse(text).unwrap_err().to_string();
    for expected in [
        "principals[0]: expected only name, arn, caller, account_id, organization_id, access_key_id, secret_access_key, \
         session_token, role_path, found \"stage\"",
        "principals[0].arn: expected it once, found it twice",
        "principals[0].role_path: expected an IAM path, as \"/\" or \"/team/\", found \"team\"",
        "principals[1].arn: expected a string, found a number",
        "principals[1].account_id: expected a string, found null",
        "principals[1].organization_id: expected a string, found nothing",
        "principals[1].access_key_id: expected 16 to 128 letters and digits, found \"short/key\"",
        "principals[1].secret_access_key: expected printable ASCII, found nothing or something else",
        "principals: expected each name once, found \"q\" twice",
        "principals: expected each access_key_id once, found \"AKIA0000000000000001\" twice",
    ] {
        assert!(problems.contains(expected), "{expected}\n---\n{problems}");
    }
    assert_eq!(problems.lines().count(), 10, "{problems}");
    assert!(!problems.contains("hush"));
    for no_array in ["", "{}", "[1]", "[]", "[{}", "[null]"] {
        assert!(Principals::parse(no_array).is_err(), "{no_array}");
    }
}
