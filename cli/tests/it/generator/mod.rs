//! `jwt-generator` as its users run it: the executable, its files, its exit codes.

mod files;
mod help;
mod one_shot;
mod sidecar;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use token_jose::{Algorithm, LocalSigner};
use token_testkit::tool;

/// 48 hexadecimal digits that no list knows.
const SECRET: &str = "9b1c7d0e3f5a42c68d7e1f0a9c3b5d7e2a4c6e8f0b1d3c5a";

fn program() -> &'static str {
    env!("CARGO_BIN_EXE_jwt-generator")
}

/// A folder, and the program with a complete environment for it and nothing else.
struct Setup {
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Self { folder, variables: BTreeMap::new() };
        let output = setup.output().to_str().unwrap().to_owned();
        setup.set("JWT_SECRET_KEY", SECRET).set("SERVICE_NAME", "billing").set("OUTPUT_PATH", &output);
        setup
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn unset(&mut self, name: &str) -> &mut Self {
        self.variables.remove(name);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self) -> PathBuf {
        self.path("token.jwt")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&self.command(arguments).output().unwrap())
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.output()).expect("a token is on disk")
    }

    /// A key of this algorithm in PEM at `name`.
    fn key(&self, name: &str, algorithm: Algorithm) -> (PathBuf, LocalSigner) {
        let signer = LocalSigner::generate(algorithm).unwrap();
        let path = self.path(name);
        std::fs::write(&path, pem(&signer)).unwrap();
        (path, signer)
    }

    /// Nothing that was not there before but the token itself.
    fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.contains(".tmp")).collect()
    }
}

fn pem(signer: &LocalSigner) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(signer.to_pkcs8().as_slice());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// How a run ended.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Ended with `code`, said `words` on standard error and nothing on standard output.
    #[track_caller]
    fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word}: {self:?}");
        }
        self.shows_nothing_of(SECRET);
    }

    #[track_caller]
    fn succeeded(&self, path: &Path) {
        let line = format!("JWT successfully written to {}\n", path.display());
        assert_eq!((self.code, self.stdout.as_str(), self.stderr.as_str()), (Some(0), line.as_str(), ""));
    }

    #[track_caller]
    fn shows_nothing_of(&self, secret: &str) {
        assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "{self:?}");
    }
}

/// Header and claims, unverified.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url without padding"));
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Whether PyJWT accepts the token with this secret; none when this machine has no PyJWT.
fn pyjwt(token: &str, secret: &str, options: &str) -> Option<Result<Value, String>> {
    let python = tool("python3")?;
    if !Command::new(&python).args(["-c", "import jwt"]).output().is_ok_and(|run| run.status.success()) {
        return None;
    }
    let script = format!(
        "import json, os, jwt\nprint(json.dumps(jwt.decode(os.environ['TOKEN'], os.environ['SECRET'], algorithms=['HS256'], {options})))"
    );
    let run = Command::new(python).args(["-c", &script]).env("TOKEN", token).env("SECRET", secret).output().unwrap();
    Some(if run.status.success() {
        Ok(serde_json::from_slice(&run.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&run.stderr).into_owned())
    })
}
