//! One function: its environment, its words, its failures, and that it comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use local_gateway::console::Console;
use local_gateway::function::{Function, FunctionSpec, InvokeError, StartError};
use serde_json::{Value, json};
use token_shell::SystemClock;

use crate::sample;

/// Keeps the lines.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Console for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Lines {
    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// Waits (at most 10 s) until a line is there: a function's words come through pipes of their own.
    pub(crate) async fn wait_for(&self, text: &str) {
        for _ in 0..200 {
            if self.all().lines().any(|line| line == text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("expected the line {text:?}, found:\n{}", self.all());
    }
}

pub(crate) fn spec(binary: PathBuf, timeout: Duration) -> FunctionSpec {
    let environment = BTreeMap::from([("OWN".to_owned(), "value".to_owned())]);
    FunctionSpec { name: "sample".to_owned(), binary, environment, timeout }
}

pub(crate) const LONG: Duration = Duration::from_secs(29);

async fn start(mode: &str, timeout: Duration) -> (tempfile::TempDir, Arc<Lines>, Result<Arc<Function>, StartError>) {
    let directory = tempfile::tempdir().unwrap();
    let binary = sample::write(directory.path(), "sample", mode);
    let lines = Arc::new(Lines::default());
    let function = Function::start(spec(binary, timeout), Arc::new(SystemClock), Arc::clone(&lines) as _).await;
    (directory, lines, function)
}

async fn invoke(function: &Arc<Function>, command: &str) -> Result<Value, InvokeError> {
    let event = Bytes::from(json!({"body": command}).to_string());
    let answer = function.invoke("11111111-aaaa".to_owned(), event, "Root=1-x".to_owned()).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    Ok(serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

fn pid(answer: &Value) -> u64 {
    answer["pid"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_with_lambdas_headers() {
    let (_directory, _, function) = start("ready", LONG).await;
    let answer = invoke(&function.unwrap(), "echo").await.unwrap();
    assert_eq!(answer["event"], json!({"body": "echo"}));
    let head = answer["head"].as_str().unwrap().to_ascii_lowercase();
    for expected in [
        "lambda-runtime-aws-request-id: 11111111-aaaa",
        "lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:999988887777:function:sample",
        "lambda-runtime-trace-id: root=1-x",
        "lambda-runtime-deadline-ms: 1",
    ] {
        assert!(head.contains(expected), "{expected}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sees_its_own_environment_only() {
    let (_directory, _, function) = start("ready", LONG).await;
    let seen = invoke(&function.unwrap(), "environment").await.unwrap();
    let seen = seen.as_object().unwrap();
    assert_eq!(seen["OWN"], "value");
    assert_eq!(seen["AWS_LAMBDA_FUNCTION_NAME"], "sample");
    assert_eq!(seen["AWS_EC2_METADATA_DISABLED"], "true");
    let foreign: Vec<&String> = seen
        .keys()
        .filter(|name| {
            // The script's own and its shell's.
            let shell = ["SAMPLE_MODE", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str());
            let lambda = name.starts_with("AWS_LAMBDA_")
                || ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED", "TZ", "_HANDLER", "OWN"]
                    .contains(&name.as_str());
            !shell && !lambda
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_is_shown_with_its_name() {
    let (_directory, lines, function) = start("ready", LONG).await;
    invoke(&function.unwrap(), "talk").await.unwrap();
    lines.wait_for("[sample] on standard output").await;
    lines.wait_for("[sample] on standard error").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_leaves_it_warm_and_an_exit_starts_it_again() {
    let (_directory, lines, function) = start("ready", LONG).await;
    let function = function.unwrap();
    let first = pid(&invoke(&function, "echo").await.unwrap());

    let error = invoke(&function, "error").await.unwrap_err();
    assert_eq!(error.to_string(), "sample: Sample: as told");
    assert_eq!(invoke(&function, "too-large").await.unwrap_err().to_string(), "sample: its answer is over 6 MB");
    assert_eq!(pid(&invoke(&function, "echo").await.unwrap()), first);

    let error = invoke(&function, "exit").await.unwrap_err();
    assert_eq!(error.to_string(), "sample: its process ended (exit status: 3)");
    assert_ne!(pid(&invoke(&function, "echo").await.unwrap()), first);
    lines.wait_for("[sample] starting again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_ends_it_and_the_next_call_starts_it_again() {
    let (_directory, _, function) = start("ready", Duration::from_secs(5)).await;
    let function = function.unwrap();
    let first = pid(&invoke(&function, "echo").await.unwrap());
    let error = invoke(&function, "hang").await.unwrap_err();
    assert_eq!(error, InvokeError::TimedOut { function: "sample".to_owned(), seconds: 5 });
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists(), "it is gone when the time-out is reported");
    assert_ne!(pid(&invoke(&function, "echo").await.unwrap()), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_out_of_turn_or_from_elsewhere_do_no_harm() {
    let (_directory, _, function) = start("ready", LONG).await;
    let statuses = invoke(&function.unwrap(), "impostor").await.unwrap();
    // Another id; `next` before the answer; an unknown call, under another Host (DNS rebinding) and under ours.
    assert_eq!(statuses, json!(["400", "403", "403", "404"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_all_get_their_own_answer() {
    let (_directory, _, function) = start("ready", LONG).await;
    let function = function.unwrap();
    let calls = (0..20).map(|number| {
        let function = Arc::clone(&function);
        tokio::spawn(async move {
            let event = Bytes::from(json!({"number": number}).to_string());
            let answer = function.invoke(format!("id-{number}"), event, String::new()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            assert_eq!(body["event"]["number"], number);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_error_is_reported_with_its_last_words() {
    let (_directory, lines, function) = start("init-error", LONG).await;
    assert_eq!(
        function.unwrap_err().to_string(),
        "sample: the initialisation failed: Config: 1. MAPPING: expected one"
    );
    assert!(lines.all().contains("[sample] last words"), "shown before the error: {}", lines.all());
    let (_directory, _, function) = start("exit", LONG).await;
    assert_eq!(
        function.unwrap_err().to_string(),
        "sample: the initialisation failed: its process ended (exit status: 7)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_not_there_is_named() {
    let spec = spec("/nonexistent/sample".into(), LONG);
    let error = Function::start(spec, Arc::new(SystemClock), Arc::new(Lines::default())).await.unwrap_err();
    assert!(matches!(&error, StartError::Spawn { binary, .. } if binary == "/nonexistent/sample"), "{error}");
}
