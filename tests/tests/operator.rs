//! `jwt-operator` against the whole issuer: the real gateway and Lambdas, and a verifier that uses token-jose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use e2e::{AUDIENCE, now};
use serde_json::{Value, json};
use token_jose::{Expectation, KeySet, verify};
use token_testkit::{Curl, Gateway, GatewayOptions, GatewayPrincipal, Moto, MotoSecret, binaries};

fn operator(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, Value) {
    let output = Command::new(binaries().join("jwt-operator"))
        .args(["--output", "json"])
        .args(arguments)
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("jwt-operator starts");
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{:?}", output.stderr));
    (output.status.code().unwrap(), answer)
}

fn keys_of(principal: &GatewayPrincipal) -> Vec<(&'static str, &str)> {
    let mut keys = vec![
        ("AWS_ACCESS_KEY_ID", principal.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", principal.secret_access_key.as_str()),
    ];
    keys.extend(principal.session_token.as_deref().map(|token| ("AWS_SESSION_TOKEN", token)));
    keys
}

/// `GET /` is 200 for a token that token-jose verifies, else 401.
fn verifier(issuer: &str, keys: KeySet) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let expect = Expectation::new(issuer, AUDIENCE, &["JWT"]);
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut bearer = String::new();
            for line in BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok) {
                if let Some(("authorization", value)) = line.split_once(": ") {
                    bearer = value.trim_start_matches("Bearer ").to_owned();
                }
                if line.is_empty() {
                    break;
                }
            }
            let status = if verify(&bearer, &keys, &expect, now()).is_ok() { "200 OK" } else { "401 Unauthorized" };
            let _ = write!(connection, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    url
}

#[test]
fn a_token_is_fetched_verified_and_its_issuer_examined() {
    let mut gateway = Gateway::start(&GatewayOptions::default());
    let log = gateway.process().stderr();
    let [sso, workload, refused] = gateway.principals() else { panic!("three samples") };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token.jwt");
    let path = path.to_str().unwrap();
    let fetch = ["fetch", gateway.url(), "--output-path", path, "--region", gateway.region()];
    for (principal, subject) in [(sso, "ALICE"), (workload, "111122223333/ETL-NIGHTLY")] {
        let (code, answer) = operator(&fetch, &keys_of(principal));
        assert_eq!((code, answer["expires_in"].as_u64()), (0, Some(900)), "{answer}");
        let verify = ["verify", "--file", path, "--issuer", gateway.issuer(), "--audience", AUDIENCE];
        let (code, answer) = operator(&verify, &[]);
        assert_eq!((code, answer["claims"]["sub"].as_str()), (0, Some(subject)), "{answer}");
        let (code, answer) = operator(&["inspect", "--file", path], &[]);
        assert_eq!((code, &answer["verified"]), (0, &json!(false)), "{answer}");
    }
    let before = std::fs::read(path).unwrap();
    let (code, answer) = operator(&fetch, &keys_of(refused));
    assert_eq!((code, answer["error"]["error"].as_str()), (1, Some("access_denied")), "{answer}");
    assert_eq!(answer["error"]["decision_id"].as_str().unwrap().len(), 32);
    let wrong = [("AWS_ACCESS_KEY_ID", sso.access_key_id.as_str()), ("AWS_SECRET_ACCESS_KEY", "not-the-secret")];
    let (code, answer) = operator(&fetch, &wrong);
    assert_eq!((code, answer["error"]["status"].as_u64()), (1, Some(403)), "{answer}");
    assert_eq!(std::fs::read(path).unwrap(), before, "the old token stays");

    let published = KeySet::parse(&Curl::get(gateway.jwks_uri()).send().body).unwrap();
    let verifier = verifier(gateway.issuer(), published);
    // Its log says where its documents are.
    let ring = log.split("ring file:").nth(1).and_then(|rest| rest.split(',').next());
    let ring = ring.unwrap_or_else(|| panic!("where the ring is: {log}"));
    let mut doctor =
        vec!["doctor", gateway.url(), "--token-file", path, "--audience", AUDIENCE, "--verify-url", &verifier];
    doctor.extend(["--ring", ring]);
    let (code, answer) = operator(&doctor, &[]);
    assert_eq!((code, answer["failed"].as_u64()), (0, Some(0)), "{answer}");
    let skipped: Vec<&Value> =
        answer["probes"].as_array().unwrap().iter().filter(|p| p["outcome"] == "skipped").collect();
    assert!(matches!(skipped.as_slice(), [tls] if tls["name"] == "tls"), "{skipped:?}");
}

#[test]
fn a_ring_in_secrets_manager_is_made_rotated_and_withdrawn() {
    let Some(moto) = Moto::start() else { return };
    let environment = moto.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let rotated = MotoSecret::create(&moto, "jwt/rotated-by-aws");
    let plain = moto_secret(&moto, "jwt/by-hand");
    let keys = |command: &[&str], secret: &str| {
        let ring = format!("secretsmanager:{secret}");
        let places = ["--ring", ring.as_str(), "--jwks", "ssm:/jwt/jwks"];
        operator(&[&["keys"], command, &places].concat(), &environment)
    };
    let (code, first) = keys(&["new", "--algorithm", "ES256"], &plain);
    assert_eq!((code, first["generation"].as_u64()), (0, Some(1)), "{first}");
    let (code, second) = keys(&["rotate"], &plain);
    assert_eq!((code, second["generation"].as_u64()), (0, Some(2)), "{second}");
    assert_eq!(second["keys"].as_array().unwrap().len(), 3);
    let (code, report) = keys(&["withdraw", "all"], &plain);
    assert_eq!((code, report["keys"].as_array().unwrap().len()), (0, 3), "{report}");
    let (code, after) = keys(&["list"], &plain);
    assert_eq!((code, after["generation"].as_u64()), (0, Some(4)), "{after}");

    let (code, refusal) = keys(&["new"], &rotated.arn);
    assert_eq!(code, 64, "{refusal}");
    assert!(refusal["error"]["message"].as_str().unwrap().contains("rotate-secret"), "{refusal}");
}

/// A secret without a value that Secrets Manager does not rotate.
fn moto_secret(moto: &Moto, name: &str) -> String {
    let reply = Curl::post(&moto.url())
        .header("X-Amz-Target", "secretsmanager.CreateSecret")
        .body("application/x-amz-json-1.1", &json!({"Name": name}).to_string())
        .signed(("AKIATESTKIT", "testkit-secret-access-key"), None, "eu-west-1", "secretsmanager")
        .send();
    reply.json()["ARN"].as_str().expect("an ARN").to_owned()
}

/// A mapping that needs no evidence of Identity Center.
const WORKERS: &str = r#"
[defaults]
audience = "https://api.example.com"

[[rule]]
name = "etl workers"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role}"
"#;

/// The blocks of docs/CLI.md that need no issuer, as a reader pastes them.
#[test]
fn the_commands_of_the_page_work_as_pasted() {
    let page = std::fs::read_to_string("../docs/CLI.md").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mapping.toml"), WORKERS).unwrap();
    std::fs::write(folder.path().join("new.toml"), WORKERS).unwrap();
    std::fs::write(folder.path().join("decisions.jsonl"), "").unwrap();
    for (mark, expected) in [("keys", "may-sign"), ("mapping", "granted by rule")] {
        let block =
            page.split(&format!("<!-- run: {mark} -->\n```sh\n")).nth(1).and_then(|rest| rest.split("```").next());
        let block = block.unwrap_or_else(|| panic!("docs/CLI.md has the block {mark}"));
        let path = format!("{}:/usr/bin:/bin", binaries().display());
        let script = format!("set -euo pipefail\n{block}");
        let run =
            Command::new("bash").args(["-c", &script]).current_dir(folder.path()).env("PATH", path).output().unwrap();
        let shown = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && shown.contains(expected), "{mark}: {run:?}");
    }
}
