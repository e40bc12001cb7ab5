//! The real binary behind real proxies, with the configurations of `deploy/`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, LocalSigner, base64url, sha256};
use token_service::service::IDENTITY_HEADERS;
use token_testkit::{Curl, Process, RemoteStub, Reply, StubAnswer, StubRequest, wait_until, workspace_root};

mod configurations;
mod ext_authz;
mod jwt_authn;
mod nginx;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where clients see the API: what proofs name.
const API: &str = "https://api.example";

/// The wall clock, which the binary reads too.
#[expect(clippy::disallowed_methods, reason = "a real process runs by the real clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// `token-service --dev --json`.
struct Service {
    process: Process,
    http: String,
    grpc: String,
    api_key: String,
    issuer: String,
}

impl Service {
    fn start(vars: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_token-service"));
        command.args(["--dev", "--json"]).env_clear().env("PORT", "0").env("PUBLIC_ORIGINS", API);
        command.env("JWT_ALGORITHM", "ES256").envs(vars.iter().copied());
        let process = Process::start("token-service", command);
        let ready: Value = wait_until(&format!("the service\n{}", process.output()), PATIENCE, || {
            process.stdout().lines().next().and_then(|line| serde_json::from_str(line).ok())
        });
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self { http: text("http"), grpc: text("grpc"), api_key: text("api_key"), issuer: text("issuer"), process }
    }

    fn post(&self, path: &str, body: &Value, proof: Option<&str>) -> Value {
        let url = format!("{}{path}", self.http);
        let mut request = Curl::post(&url).header("Authorization", &format!("Bearer {}", self.api_key)).json(body);
        if let Some(proof) = proof {
            request = request.header("DPoP", proof);
        }
        let reply = request.send();
        assert_eq!(reply.status, 201, "{path}: {}", reply.text());
        reply.json()
    }

    /// A token of alice's, bound by `proof` if there is one.
    fn token(&self, more: &Value, proof: Option<&str>) -> String {
        let mut body = json!({"user_id": "alice"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/tokens", &body, proof)["token"].as_str().unwrap().to_owned()
    }
}

/// The API behind the proxy: answers everything with 200, and remembers it.
struct Upstream(RemoteStub);

impl Upstream {
    fn start() -> Self {
        Self(RemoteStub::start(|_| StubAnswer::Full(200, Vec::new(), b"upstream".to_vec())))
    }

    fn address(&self) -> String {
        self.0.url().replacen("http://", "", 1)
    }

    fn last(&self) -> StubRequest {
        self.0.requests().last().cloned().expect("a request")
    }

    fn count(&self) -> usize {
        self.0.requests().len()
    }
}

/// A file of `deploy/` with its addresses changed: the listener's, and those of the service and of the upstream.
fn deployed(file: &str, listener: &str, changes: &[(&str, &str)]) -> String {
    let path: PathBuf = workspace_root().join("deploy").join(file);
    let mut text = std::fs::read_to_string(&path).unwrap();
    let all =
        changes.iter().copied().chain([(listener.split("=>").next().unwrap(), listener.split("=>").nth(1).unwrap())]);
    for (from, to) in all {
        assert!(text.contains(from), "{file} has {from}");
        text = text.replace(from, to);
    }
    text
}

/// An Envoy configuration of `deploy/envoy`, for a listener on `port`.
fn envoy(file: &str, service: &Service, upstream: &str, port: u16) -> String {
    let endpoint = |address: &str| {
        let (host, port) = address.trim_start_matches("http://").rsplit_once(':').unwrap();
        format!("address: {host}, port_value: {port}")
    };
    let (from, to) = if file.contains("grpc") {
        ("address: token-service, port_value: 50052", endpoint(&service.grpc))
    } else {
        ("address: token-service, port_value: 8080", endpoint(&service.http))
    };
    deployed(
        &format!("envoy/{file}"),
        &format!("address: 0.0.0.0, port_value: 10000=>address: 127.0.0.1, port_value: {port}"),
        &[(from, &to), ("address: upstream, port_value: 8081", &endpoint(upstream))],
    )
}

/// A proof by `key`, made now.
fn proof(key: &LocalSigner, claims: &Value) -> String {
    let jwk = key.public_key().to_jwk();
    let header = json!({
        "typ": "dpop+jwt", "alg": "ES256",
        "jwk": {"kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"]},
    });
    let jti: [u8; 12] = sha256(format!("{claims}{}", now()).as_bytes())[..12].try_into().unwrap();
    let mut body = json!({"jti": base64url(&jti), "iat": now().as_second()});
    body.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(body.to_string().as_bytes()));
    let signature = key.sign_now(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url(&signature))
}

fn key() -> LocalSigner {
    LocalSigner::generate(Algorithm::Es256).unwrap()
}

fn bearer(request: Curl, token: &str) -> Curl {
    request.header("Authorization", &format!("Bearer {token}"))
}

/// A request that brings identity of its own, each header twice.
fn forged(mut request: Curl) -> Curl {
    for name in IDENTITY_HEADERS.iter().chain(&IDENTITY_HEADERS) {
        request = request.header(name, "forged");
    }
    request
}

/// **INV** what reached the upstream under the identity headers is the service's.
fn assert_identity(request: &StubRequest, expected: &[(&str, &str)]) {
    for name in IDENTITY_HEADERS {
        let found: Vec<&str> =
            request.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str()).collect();
        assert!(found.len() <= 1, "{name}: {found:?}");
        assert!(!found.contains(&"forged"), "{name} of the client reached the upstream: {request:?}");
        if let Some((_, value)) = expected.iter().find(|(header, _)| *header == name) {
            assert_eq!(found, [*value], "{name}");
        }
    }
}

fn status(reply: &Reply, expected: u16, what: &str) {
    assert_eq!(reply.status, expected, "{what}: {}", reply.text());
}
