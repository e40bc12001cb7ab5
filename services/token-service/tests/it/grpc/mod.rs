//! The gRPC door, asked by a gRPC client over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, KeySet, LocalSigner, Nonces, base64url, sha256, verify};
use token_remote::{ClientOptions, HttpsClient};
use token_server::{Bound, Limits, Listen, Metrics, Readiness, Server, Shutdown, Tls};
use token_service::caller::Callers;
use token_service::grpc::pb::auth::token as former;
use token_service::grpc::pb::token::v1 as current;
use token_service::grpc::{GrpcOptions, router};
use token_service::keys::SigningKeys;
use token_service::observe::Observe;
use token_service::refresh_token::Vault;
use token_service::service::{Parts, Rules, TokenService};
use token_service::store::MemoryStore;
use token_shell::{Clock, OsIds};
use token_testkit::TestClock;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

mod check;
mod proofs;
mod server;
mod tokens;

pub type Former = former::token_service_client::TokenServiceClient<Channel>;
pub type Current = current::token_service_client::TokenServiceClient<Channel>;

pub const API: &str = "https://api.example";
pub const ISSUER: &str = "https://tokens.example";
/// API keys: of a caller with every role, and of callers with one each.
pub const ALL: &str = "all-0123456789abcdef0123456789abcdef";
pub const MINTER: &str = "minter-0123456789abcdef0123456789ab";
pub const READER: &str = "reader-0123456789abcdef0123456789ab";

struct Ticks(TestClock);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// What a world differs in.
pub struct Options {
    pub rules: Rules,
    pub keys: Option<SigningKeys>,
    pub store_limit: usize,
    pub mints_per_minute: u32,
    pub tls: Option<Tls>,
    pub certificate: Option<[u8; 32]>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rules: rules(), keys: None, store_limit: 10_000, mints_per_minute: 600, tls: None, certificate: None }
    }
}

/// A served door.
pub struct World {
    pub addr: SocketAddr,
    pub clock: TestClock,
    pub service: Arc<TokenService>,
    pub shutdown: Shutdown,
    pub metrics: Metrics,
}

pub fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub use crate::service::rules;

fn callers(certificate: Option<[u8; 32]>) -> Callers {
    let digest = |key: &str| token_jose::sha256_hex(key.as_bytes());
    let issue = "issue = { users = [\"*\"], audiences = [\"*\"], max_ttl_seconds = 2592000 }";
    let mut text = format!(
        "[[caller]]\nname = \"all\"\napi_key_sha256 = [\"{}\"]\nroles = [\"tokens:issue\", \"tokens:revoke\", \"tokens:read\", \"keys:rotate\"]\n{issue}\n\
         [[caller]]\nname = \"minter\"\napi_key_sha256 = [\"{}\"]\nroles = [\"tokens:issue\"]\nissue = {{ users = [\"app-*\"] }}\n\
         [[caller]]\nname = \"reader\"\napi_key_sha256 = [\"{}\"]\nroles = [\"tokens:read\"]\n",
        digest(ALL),
        digest(MINTER),
        digest(READER),
    );
    if let Some(sum) = certificate {
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!(
            "[[caller]]\nname = \"workload\"\ncertificate = [{{ sha256 = \"{sum}\" }}]\nroles = [\"tokens:issue\"]\n{issue}\n"
        ));
    }
    let client = Arc::new(HttpsClient::new(&ClientOptions::default()).unwrap());
    Callers::parse(&text, ISSUER, &client).unwrap()
}

pub async fn world() -> World {
    world_with(Options::default()).await
}

pub async fn world_with(options: Options) -> World {
    let clock = TestClock::at("2026-11-22T12:00:00Z");
    let service = Arc::new(TokenService::new(Parts {
        rules: options.rules,
        keys: options.keys.unwrap_or_else(|| SigningKeys::fresh(Algorithm::Es256, start()).unwrap()),
        store: Arc::new(MemoryStore::new(Arc::new(OsIds), options.store_limit)),
        callers: callers(options.certificate),
        vault: Vault::new(&[1; 32], &[]),
        nonces: Nonces::new(&[2; 32]),
        clock: Arc::new(Ticks(clock.clone())),
        ids: Arc::new(OsIds),
    }));
    let shutdown = Shutdown::default();
    let metrics = Metrics::new(start());
    let readiness = {
        let service = Arc::clone(&service);
        Readiness::new(shutdown.clone()).hard("keys_and_store", Duration::from_secs(2), move || {
            let service = Arc::clone(&service);
            async move { service.ready().await.map_err(|error| error.code().to_owned()) }
        })
    };
    let minting = token_server::RateLimiter::new(token_server::Rate::per_minute(options.mints_per_minute), 100);
    let mut door = GrpcOptions::new(readiness, Observe::new(&metrics));
    door.minting = Arc::new(minting);
    let router = router(Arc::clone(&service), door);
    let server = Server::new(Limits::default(), shutdown.clone(), &metrics);
    let bound = Bound::bind(&Listen { addr: SocketAddr::from(([127, 0, 0, 1], 0)), tls: options.tls }).await.unwrap();
    let addr = bound.local_addr();
    tokio::spawn(async move { bound.serve(router, &server).await });
    World { addr, clock, service, shutdown, metrics }
}

impl World {
    pub async fn channel(&self) -> Channel {
        Endpoint::try_from(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    pub async fn former(&self) -> Former {
        Former::new(self.channel().await)
    }

    pub async fn current(&self) -> Current {
        Current::new(self.channel().await)
    }

    /// A pair for `user`, bound by `proof` where it is not empty.
    pub async fn pair(&self, user: &str, proof: &str) -> current::GenerateTokensResponse {
        let order = current::GenerateTokensRequest { dpop_proof: proof.to_owned(), ..order(user) };
        self.current().await.generate_tokens(by(ALL, order)).await.unwrap().into_inner()
    }

    /// The claims of an access token, verified with the published keys.
    pub async fn claims(&self, token: &str) -> serde_json::Map<String, Value> {
        let keys = self.current().await.get_jwks(current::GetJwksRequest {}).await.unwrap().into_inner().keys_json;
        let keys = KeySet::parse(keys.as_bytes()).unwrap();
        verify(token, &keys, &Expectation::new(ISSUER, API, &["JWT"]), self.clock.now()).unwrap().into_inner()
    }

    pub fn shows(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|found| found == line)
    }

    /// A proof by `key` for a POST to a method of the service.
    pub fn proof(&self, key: &LocalSigner, path: &str, jti: &str) -> String {
        self.proof_with(key, jti, &json!({"htm": "POST", "htu": format!("{ISSUER}{path}")}))
    }

    /// A proof with these claims over `jti` and `iat`.
    pub fn proof_with(&self, key: &LocalSigner, jti: &str, claims: &Value) -> String {
        let jwk = key.public_key().to_jwk();
        let header = json!({
            "typ": "dpop+jwt", "alg": "ES256",
            "jwk": {"kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"]},
        });
        let mut body = json!({"jti": jti, "iat": self.clock.now().as_second()});
        body.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(body.to_string().as_bytes()));
        let signature = key.sign_now(input.as_bytes()).unwrap();
        format!("{input}.{}", base64url(&signature))
    }
}

/// `ath` of an access token.
pub fn ath(token: &str) -> String {
    base64url(&sha256(token.as_bytes()))
}

/// A request of the caller with this key.
pub fn by<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

pub fn order(user: &str) -> current::GenerateTokensRequest {
    current::GenerateTokensRequest { user_id: user.to_owned(), ..Default::default() }
}

/// The code and message, and that nothing internal is told.
pub fn told(status: &Status) -> (Code, &str) {
    let all = format!("{} {:?}", status.message(), status.metadata()).to_ascii_lowercase();
    for internal in ["redis", "memory store", ".rs", "panicked", "memory:", "the test took it down"] {
        assert!(!all.contains(internal), "{internal} in {all}");
    }
    (status.code(), status.message())
}
