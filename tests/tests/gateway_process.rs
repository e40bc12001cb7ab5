//! The gateway as a process: how it starts, what it prints, what it says when it cannot start, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::local::{claims, gateway_with, options};
use e2e::{AUDIENCE, MAPPING, now};
use serde_json::{Value, json};
use token_jose::{Expectation, KeySet, verify};
use token_testkit::{Curl, Gateway, Process, binaries, wait_until};

/// How long a busy machine may take.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn one_line_of_json_says_that_it_is_ready() {
    let mut gateway = Gateway::start(&options());
    for _ in 0..3 {
        assert_eq!(gateway.token_request(&gateway.principals()[1]).send().status, 200);
    }
    let stdout = gateway.process().stdout();
    assert_eq!(
        (stdout.matches('\n').count(), stdout.ends_with('\n')),
        (1, true),
        "logs go to standard error: {stdout}"
    );
    let line: Value = serde_json::from_str(&stdout).unwrap();
    let members: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(members, ["issuer", "jwks_uri", "principals", "region", "url"]);
    let url = line["url"].as_str().unwrap();
    let port = url.strip_prefix("http://127.0.0.1:").unwrap();
    assert!(port.parse::<u16>().unwrap() > 0, "the port itself, without a slash or stage behind it: {url}");
    assert_eq!((&line["issuer"], &line["region"]), (&line["url"], &json!("eu-west-1")));
    assert_eq!(line["jwks_uri"], format!("{url}/.well-known/jwks.json"));
    let mandatory = ["access_key_id", "account_id", "arn", "caller", "name", "organization_id", "secret_access_key"];
    let names: Vec<&Value> =
        line["principals"].as_array().unwrap().iter().map(|principal| &principal["name"]).collect();
    assert_eq!(names, ["sso-user", "workload", "refused"]);
    for principal in line["principals"].as_array().unwrap() {
        let members: BTreeSet<&str> = principal.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(mandatory));
    }
    assert!(gateway.process().stderr().contains("\"outcome\":\"issued\""), "the Lambda's log");

    let again = gateway_with(&line["principals"]);
    let replies = again.principals().iter().map(|principal| again.token_request(principal).send().status);
    assert_eq!(replies.collect::<Vec<_>>(), [200, 200, 403], "the line's principals are a principals file");
}

/// Somebody who starts it by hand pastes what it prints.
#[test]
fn the_printed_commands_work_as_pasted() {
    let mut command = Command::new(binaries().join("local-gateway"));
    command.args(["--port", "0", "--algorithm", "EdDSA", "--bin-dir"]).arg(binaries());
    let process = Process::start("local-gateway", command);
    let printed = wait_until("the printed commands", SOON, || {
        let text = process.stdout();
        text.contains("/.well-known/jwks.json\n").then_some(text)
    });
    let commands: Vec<&str> = printed.lines().filter(|line| line.starts_with("curl ")).collect();
    let answers: Vec<Value> = commands
        .iter()
        .map(|line| {
            let output = Command::new("sh").args(["-c", line]).output().unwrap();
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"))
        })
        .collect();
    let [sso, workload, refused, keys] = answers.as_slice() else { panic!("four commands: {printed}") };
    assert!(sso["access_token"].is_string() && workload["access_token"].is_string());
    assert!(refused["decision_id"].is_string() && refused["error_description"].is_string());
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert!(printed.contains("development tool") && printed.contains("loopback only"), "{printed}");
}

/// The ids of all processes below `parent`.
fn descendants(parent: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut children: Vec<u32> = processes
        .filter(|process: &u32| {
            // "pid (name) state ppid …"; a name may hold anything.
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(&parent.to_string())
        })
        .collect();
    children.extend(children.clone().into_iter().flat_map(descendants));
    children
}

#[test]
fn a_signal_ends_it_and_every_child() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start(&options());
        let (url, id) = (gateway.url().to_owned(), gateway.process().id());
        let children = descendants(id);
        assert!(children.len() >= 2, "a process for each Lambda: {children:?}");
        let sent = Command::new("kill").args(["-s", signal, &id.to_string()]).status().unwrap();
        assert!(sent.success());
        assert!(gateway.process().wait(SOON).success(), "{signal}\n{}", gateway.process().output());
        for child in children {
            assert!(!Path::new(&format!("/proc/{child}")).exists(), "{signal}: {child} is still there");
        }
        assert!(Curl::get(&url).try_send().is_err(), "{signal}: the port is free again");
    }
}

#[test]
fn two_at_once_are_two_issuers() {
    let (one, two) = (Gateway::start(&options()), Gateway::start(&options()));
    assert_ne!(one.url(), two.url());
    let reply = one.token_request(&one.principals()[1]).send();
    assert_eq!(claims(&one, &reply)["iss"], one.issuer());
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let others = KeySet::parse(&Curl::get(two.jwks_uri()).send().body).unwrap();
    let expectation = Expectation::new(one.issuer(), AUDIENCE, &["JWT"]);
    assert_eq!(verify(&token, &others, &expectation, now()).unwrap_err().code(), "unknown_kid");
    drop(one);
    let reply = two.token_request(&two.principals()[1]).send();
    assert_eq!(claims(&two, &reply)["iss"], two.issuer(), "and one outlives the other");
}

#[test]
fn a_mapping_that_cannot_be_used_is_explained_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = folder.path().join("mapping.toml");
    let start = |text: &str, algorithm: &str| {
        std::fs::write(&mapping, text).unwrap();
        let mut command = Command::new(binaries().join("local-gateway"));
        command.args(["--json", "--port", "0", "--algorithm", algorithm, "--bin-dir"]).arg(binaries());
        command.arg("--mapping").arg(&mapping);
        let mut process = Process::start("local-gateway", command);
        assert_eq!(process.wait(SOON).code(), Some(1), "{}", process.output());
        assert_eq!(process.stdout(), "", "no line that says it is ready");
        process.stderr()
    };
    // Three mistakes, one of them that all etl roles would be one subject.
    let wrong = MAPPING
        .replace("email_domain", "mail_domain")
        .replace("{account}/{role|upper}", "ETL")
        .replace("scopes = [\"session:role:ANALYST\"]", "");
    let said = start(&wrong, "RS256");
    for expected in [
        "line 12: ",
        "did you mean email_domain?",
        "line 16: ",
        "found \"ETL\" for both arn:aws:sts::111122223333:assumed-role/etl-a/* and \
         arn:aws:sts::111122223333:assumed-role/etl-b/*",
        "hint: add {role} to the subject",
        "scopes",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in:\n{said}");
    }
    let said = start(MAPPING, "EdDSA");
    assert!(said.contains("found RS256") && said.contains("EdDSA"), "the profile's algorithm and the ring's:\n{said}");
}

#[test]
fn what_it_is_told_wrongly_is_said_with_the_flag_and_the_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.json"), r#"[{"name": "x", "stage": "v1"}]"#).unwrap();
    for (flag, value, expected) in [
        ("--principals", "absent.json", "--principals absent.json: expected a readable file, found: No such file"),
        ("--principals", "bad.json", "--principals bad.json:\n1. principals[0]: expected only name, arn, "),
        ("--mapping", "absent.toml", "--mapping absent.toml: expected a readable file, found: No such file"),
        ("--record", "/proc/x", "--record /proc/x: expected a directory to write to, found: "),
        (
            "--organization-id",
            "ours",
            "ORGANIZATION_ID: expected an organization id such as o-exampleorg1, found \"ours\"",
        ),
        ("--aws-endpoint", "issuer.example", "--aws-endpoint: "),
    ] {
        let mut command = Command::new(binaries().join("local-gateway"));
        command.args(["--json", "--port", "0", "--algorithm", "EdDSA", "--bin-dir"]).arg(binaries());
        command.args([flag, value]).current_dir(folder.path());
        let mut process = Process::start("local-gateway", command);
        assert_eq!((process.wait(SOON).code(), process.stdout().as_str()), (Some(1), ""), "{flag} {value}");
        // The last words may still be on their way when it has ended.
        wait_until(&format!("{expected:?} in\n{}", process.stderr()), SOON, || {
            process.stderr().contains(expected).then_some(())
        });
    }
}
