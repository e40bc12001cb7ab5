//! The token service as a process, with clients that nobody here wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::process::Command;
use std::time::Duration;

use e2e::clients::Script;
use serde_json::{Value, json};
use tempfile::TempDir;
use token_jose::sha256_hex;
use token_testkit::{Curl, Process, binaries, skipped, tool, wait_until, workspace_root};

const SECRET: &str = "client-secret-0123456789-0123456789";
const AUDIENCE: &str = "token-service-dev";

/// A service in development mode, and its ready line.
struct Service {
    process: Process,
    ready: Value,
    _folder: TempDir,
}

impl Service {
    /// With `callers` where there are some, else with one API key that is printed.
    fn start(callers: Option<&str>, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(binaries().join("token-service"));
        command.args(["--dev", "--json"]).env_clear().env("PORT", "0").envs(environment.iter().copied());
        if let Some(callers) = callers {
            let file = folder.path().join("callers.toml");
            std::fs::write(&file, callers).unwrap();
            command.env("CALLERS", format!("file:{}", file.display()));
        }
        let process = Process::start("token-service", command);
        let ready = wait_until("token-service to be ready", Duration::from_secs(60), || {
            let out = process.stdout();
            out.lines().find(|line| line.contains("\"api_key\"")).and_then(|line| serde_json::from_str(line).ok())
        });
        Self { process, ready, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.ready["http"].as_str().unwrap())
    }

    fn key(&self) -> String {
        format!("Bearer {}", self.ready["api_key"].as_str().unwrap())
    }
}

/// One caller `web`, with a secret and a public key.
fn web(public: &Value) -> String {
    let members: Vec<String> =
        public.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        r#"
        [[caller]]
        name = "web"
        api_key_sha256 = ["{}"]
        assertion_keys = {{ keys = [{{ {} }}] }}
        roles = ["tokens:issue", "tokens:revoke", "tokens:read"]
        issue = {{ users = ["*"], audiences = ["*"] }}
        "#,
        sha256_hex(SECRET.as_bytes()),
        members.join(", ")
    )
}

#[test]
fn curl_mints_authorizes_renews_and_revokes() {
    let service = Service::start(None, &[]);
    let pair = Curl::post(&service.url("/token-pairs"))
        .header("Authorization", &service.key())
        .json(&json!({"user_id": "alice", "include_child": true}))
        .send();
    assert_eq!(pair.status, 201, "{}", pair.text());
    let pair = pair.json();
    let authorize = |token: &Value| {
        let bearer = format!("Bearer {}", token.as_str().unwrap());
        Curl::new("PUT", &service.url("/authorize/orders/1?x=1")).header("Authorization", &bearer).send()
    };
    let allowed = authorize(&pair["child_token"]);
    assert_eq!((allowed.status, allowed.header("x-user-id")), (200, Some("alice")));
    assert_eq!(authorize(&pair["parent_token"]).status, 403);
    let renewed = Curl::post(&service.url("/renew")).json(&json!({"parent_token": pair["parent_token"]})).send().json();
    assert_eq!(authorize(&renewed["token"]).status, 200);
    let gone = Curl::new("DELETE", &service.url("/users/alice/tokens")).header("Authorization", &service.key()).send();
    assert_eq!(gone.status, 204);
    for token in [&pair["child_token"], &renewed["token"]] {
        assert_eq!(authorize(token).status, 403);
    }
    assert_eq!(Curl::get(&service.url("/health")).send().json()["status"], "healthy");
    // Paths are not put together before they are matched.
    let dots =
        Curl::post(&service.url("/authorize/../tokens")).argument("--path-as-is").json(&json!({"user_id": "a"})).send();
    assert_eq!(dots.status, 401);
    let log = service.process.stderr();
    assert!(log.contains("\"operation\":\"users.revoke\"") && log.contains("\"decision_id\""), "{log}");
    let key = service.ready["api_key"].as_str().unwrap();
    assert!(!log.contains("eyJ") && !service.process.stderr().contains(key), "{log}");
}

#[test]
fn openid_client_and_oauth4webapi_do_what_they_always_do() {
    let Some(script) = Script::find("oauth_client.mjs", "openid-client") else { return };
    let pair: Value = serde_json::from_str(&script.run(&["key"], None).unwrap()).unwrap();
    for nonce in [false, true] {
        let service = Service::start(
            Some(&web(&pair["public"])),
            &[("DPOP_NONCE_REQUIRED", if nonce { "true" } else { "false" })],
        );
        let issuer = service.ready["issuer"].as_str().unwrap();
        let private = pair["private"].to_string();
        let by_secret = script.run(&[issuer, AUDIENCE, "web", SECRET], None).unwrap();
        let by_key = script.run(&[issuer, AUDIENCE, "web", "", &private], None).unwrap();
        let (by_secret, by_key): (Value, Value) =
            (serde_json::from_str(&by_secret).unwrap(), serde_json::from_str(&by_key).unwrap());
        let expected = json!({
            "token_type": "bearer", "rotated": true, "active": [true, false], "sub": "web", "refused": "invalid_grant",
            "dpop": {"token_type": "dpop", "bare": "invalid_dpop_proof", "nonce": nonce, "authorize": 200, "subject": "web",
                     "bearer": 401, "bound": true},
        });
        assert_eq!(by_secret, json!({"basic": expected, "post": expected}));
        assert_eq!(by_key, json!({"private_key_jwt": expected}));
    }
}

#[test]
fn authlib_does_what_it_always_does() {
    let Some(script) = Script::find("oauth_authlib.py", "authlib") else { return };
    let pair: Value = serde_json::from_str(&script.run(&["key"], None).unwrap()).unwrap();
    let service = Service::start(Some(&web(&pair["public"])), &[]);
    let private = pair["private"].to_string();
    let seen = script.run(&[service.ready["issuer"].as_str().unwrap(), "web", SECRET, &private], None).unwrap();
    let expected =
        json!({"token_type": "Bearer", "rotated": true, "active": [true, false], "sub": "web", "revoked": 200});
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(
        seen,
        json!({"client_secret_basic": expected, "client_secret_post": expected, "private_key_jwt": expected})
    );
}

#[test]
fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let own = workspace_root().join(".tools/fuzz/bin/schemathesis");
    let Some(schemathesis) = tool("schemathesis").or_else(|| own.is_file().then_some(own)) else {
        return skipped("schemathesis");
    };
    let service = Service::start(None, &[]);
    let output = Command::new(schemathesis)
        .args(["run", &service.url("/openapi.json"), "--max-examples", "25", "--seed", "1", "--no-color"])
        .args(["--header", &format!("Authorization: {}", service.key())])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--exclude-path", "/tokens/stream"])
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
