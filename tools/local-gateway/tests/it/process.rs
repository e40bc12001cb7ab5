//! The program itself: its ready line, and that nothing outlives it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::client::post_token;
use crate::sample;

/// Ends with the test, whatever happens.
struct Gateway {
    child: Child,
    _bin_dir: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Gently first, so that it tidies up; it has ended already in most tests.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let _ = self.child.wait();
    }
}

fn spawn(issuer: &str, more: &[&str]) -> Gateway {
    let bin_dir = sample::bin_dir(issuer, "ready");
    let child = Command::new(env!("CARGO_BIN_EXE_local-gateway"))
        .args(["--port", "0", "--algorithm", "ES256", "--bin-dir"])
        .arg(bin_dir.path())
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Gateway { child, _bin_dir: bin_dir }
}

impl Gateway {
    fn ready(&mut self) -> Value {
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

async fn function_pid(ready: &Value) -> u64 {
    let principals = local_gateway::principals::Principals::parse(&ready["principals"].to_string()).unwrap();
    let answer = post_token(ready["url"].as_str().unwrap(), &principals.all()[0], "echo").await;
    answer.json()["pid"].as_u64().unwrap()
}

/// Waits (at most 10 s) until a process is gone.
async fn wait_until_gone(pid: u64) {
    for _ in 0..200 {
        // A zombie has ended too; who collects it is not ours to say.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if !Path::new(&format!("/proc/{pid}")).exists() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("process {pid} outlives the gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_json_then_service_then_an_orderly_end() {
    for signal in ["TERM", "INT"] {
        let mut gateway = spawn("ready", &["--json"]);
        let ready = gateway.ready();
        let url = ready["url"].as_str().unwrap();
        assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with('/'), "{url}");
        assert_eq!(ready["issuer"], url);
        assert_eq!(ready["jwks_uri"], format!("{url}/.well-known/jwks.json"));
        assert_eq!(ready["region"], "eu-west-1");
        let mut members: Vec<&String> = ready.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["issuer", "jwks_uri", "principals", "region", "url"]);

        let pid = function_pid(&ready).await;
        gateway.signal(signal);
        assert!(gateway.child.wait().unwrap().success(), "{signal}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{signal}: children end first");
        let mut rest = String::new();
        gateway.child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing after the one line");
    }
}

/// Nobody can catch SIGKILL: then the functions notice that their Runtime API is gone.
#[tokio::test(flavor = "multi_thread")]
async fn functions_do_not_outlive_a_killed_gateway() {
    let mut gateway = spawn("ready", &["--json"]);
    let pid = function_pid(&gateway.ready()).await;
    gateway.signal("KILL");
    gateway.child.wait().unwrap();
    wait_until_gone(pid).await;
}

#[test]
fn an_init_error_ends_it_with_the_problems_on_standard_error() {
    let mut gateway = spawn("init-error", &["--json"]);
    let status = gateway.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let (mut out, mut err) = (String::new(), String::new());
    gateway.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    gateway.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(out, "");
    assert!(err.contains("[jwt-issuer] last words"), "{err}");
    assert!(err.contains("jwt-issuer: the initialisation failed: Config: 1. MAPPING: expected one"), "{err}");
}

#[test]
fn a_person_sees_commands_to_paste() {
    let mut gateway = spawn("ready", &[]);
    let mut lines = BufReader::new(gateway.child.stdout.as_mut().unwrap()).lines();
    let mut text = String::new();
    while !text.contains("jwks.json") {
        text += &lines.next().unwrap().unwrap();
        text += "\n";
    }
    assert!(text.contains("loopback only"), "{text}");
    assert_eq!(text.matches("curl --aws-sigv4 \"aws:amz:eu-west-1:execute-api\" --user AKIA").count(), 3, "{text}");
}
