//! The sample function. It is this very test binary, told by a script to run [`sample_function`] alone: so it needs no
//! further program, and speaks to the Runtime API through no code of the crate under test.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use token_shell::{ProcessVars, Vars as _};

/// Writes a program `NAME` into `directory` that runs the sample function; `mode` is how it starts: `ready`, `init-error`,
/// `exit`.
pub(crate) fn write(directory: &Path, name: &str, mode: &str) -> PathBuf {
    let path = directory.join(name);
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nSAMPLE_MODE={mode} exec '{}' --exact sample::sample_function --ignored --nocapture\n",
        this.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A directory for `--bin-dir`.
pub(crate) fn bin_dir(issuer: &str, jwks: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "jwt-issuer", issuer);
    write(directory.path(), "jwks", jwks);
    directory
}

#[test]
#[ignore = "no test: the sample function, run by the script that `write` makes"]
fn sample_function() {
    let Some(api) = ProcessVars.get("AWS_LAMBDA_RUNTIME_API") else { return };
    match ProcessVars.get("SAMPLE_MODE").as_deref() {
        Some("init-error") => {
            eprintln!("last words");
            let report = json!({"errorType": "Config", "errorMessage": "1. MAPPING: expected one"});
            call(&api, "POST", "init/error", report.to_string().as_bytes());
            std::process::exit(1);
        }
        Some("exit") => std::process::exit(7),
        _ => loop {
            let (head, event) = call(&api, "GET", "invocation/next", b"");
            // An end of the gateway is ours.
            let Some(id) = header(&head, "lambda-runtime-aws-request-id") else { std::process::exit(0) };
            let event: Value = serde_json::from_slice(&event).unwrap();
            obey(&api, &id, &head, &event);
        },
    }
}

fn obey(api: &str, id: &str, head: &str, event: &Value) {
    let respond = |body: Value| {
        let answer = json!({"statusCode": 200, "body": body.to_string()});
        call(api, "POST", &format!("invocation/{id}/response"), answer.to_string().as_bytes());
    };
    match event["body"].as_str().unwrap_or("echo") {
        "echo" => respond(json!({"event": event, "head": head, "pid": std::process::id()})),
        "environment" => {
            #[expect(clippy::disallowed_methods, reason = "what the process sees is what is tested")]
            respond(std::env::vars().map(|(name, value)| (name, Value::from(value))).collect());
        }
        "error" => {
            let report = json!({"errorType": "Sample", "errorMessage": "as told"});
            call(api, "POST", &format!("invocation/{id}/error"), report.to_string().as_bytes());
        }
        "malformed" => {
            call(api, "POST", &format!("invocation/{id}/response"), b"\"ok\"");
        }
        "too-large" => {
            let (head, _) = call(api, "POST", &format!("invocation/{id}/response"), &vec![b' '; 7 << 20]);
            assert!(head.starts_with("HTTP/1.1 413"), "{head}");
        }
        "impostor" => {
            let (wrong, _) = call(api, "POST", "invocation/another/response", b"{}");
            let (early, _) = call(api, "GET", "invocation/next", b"");
            let (rebound, _) = exchange(api, "evil.example", "GET", "nothing", b"");
            let (unknown, _) = call(api, "GET", "nothing", b"");
            let status = |head: String| head.get(9..12).unwrap_or_default().to_owned();
            respond(json!([status(wrong), status(early), status(rebound), status(unknown)]));
        }
        "talk" => {
            println!("on standard output");
            eprintln!("on standard error");
            respond(json!(null));
        }
        "exit" => std::process::exit(3),
        "hang" => std::thread::sleep(std::time::Duration::from_secs(600)),
        other => panic!("unknown command {other}"),
    }
}

/// One call of the Runtime API on a connection of its own: head and body of the answer, both empty when there is none.
fn call(api: &str, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    exchange(api, api, method, path, body)
}

fn exchange(api: &str, host: &str, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let attempt = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(api)?;
        write!(
            stream,
            "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        // The answer to too large a body may come, and the connection go, before all of it is sent.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if answer.is_empty() => Err(error),
            _ => Ok(answer),
        }
    };
    let answer = attempt().unwrap_or_default();
    let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Default::default() };
    (String::from_utf8_lossy(&answer[..at]).into_owned(), answer[at + 4..].to_vec())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
