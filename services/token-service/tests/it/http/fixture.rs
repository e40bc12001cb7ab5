//! The router, its callers, and requests to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, LocalSigner, Nonces, base64url, sha256, sha256_hex};
use token_remote::{ClientOptions, HttpsClient};
use token_server::{Metrics, Rate, RateLimiter, Readiness, Shutdown, health_router};
use token_service::caller::Callers;
use token_service::http::{AuthorizeMode, HttpOptions, StreamOptions, router};
use token_service::keys::SigningKeys;
use token_service::observe::{Observe, ObservedStore};
use token_service::refresh_token::Vault;
use token_service::service::{Parts, Rules, TokenService};
use token_service::store::{
    Check, Child, Dead, Family, FamilyStore, Loaded, MemoryStore, Opened, Presented, Proposal, RefreshOutcome,
    RenewOutcome, ReplayCache, RevocationStore, Revoked, Standing, StoreError, Target, TokenId, UserKey, Verdict,
};
use token_shell::{Clock, OsIds};
use token_testkit::TestClock;
use tower::ServiceExt as _;

/// May do everything, for any user and audience.
pub const KEY: &str = "backend-key-0123456789-0123456789";
/// May read only.
pub const READER: &str = "reader-key-0123456789-0123456789";
/// May issue for `app-*`, scope `read`, ten minutes.
pub const NARROW: &str = "narrow-key-0123456789-0123456789";
pub const API: &str = "https://api.example";
pub const ISSUER: &str = "https://tokens.example";

struct Ticks(TestClock);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// The in-memory store, which can be down.
#[derive(Debug)]
pub struct Flaky {
    inner: MemoryStore,
    down: AtomicBool,
    pub calls: AtomicU64,
}

impl Flaky {
    pub fn go_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn up(&self) -> Result<&MemoryStore, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable {
                detail: "the test's outage at 10.1.2.3".to_owned(),
                retry_after_s: 7,
            });
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl FamilyStore for Flaky {
    async fn open(&self, family: &Family, current: Option<[u8; 32]>, now: Timestamp) -> Result<Opened, StoreError> {
        self.up()?.open(family, current, now).await
    }

    async fn load(&self, id: &TokenId, now: Timestamp) -> Result<Result<Loaded, Dead>, StoreError> {
        self.up()?.load(id, now).await
    }

    async fn refresh(
        &self,
        presented: &Presented<'_>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        self.up()?.refresh(presented, proposal, now).await
    }

    async fn renew(
        &self,
        id: &TokenId,
        next: &Child,
        threshold_s: u64,
        now: Timestamp,
    ) -> Result<RenewOutcome, StoreError> {
        self.up()?.renew(id, next, threshold_s, now).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenId>, StoreError> {
        self.up()?.due(now, limit).await
    }
}

#[async_trait]
impl RevocationStore for Flaky {
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError> {
        self.up()?.standing(user, until, now).await
    }

    async fn check(&self, check: &Check<'_>, now: Timestamp) -> Result<Verdict, StoreError> {
        self.up()?.check(check, now).await
    }

    async fn revoke(&self, target: &Target, until: Timestamp, now: Timestamp) -> Result<Revoked, StoreError> {
        self.up()?.revoke(target, until, now).await
    }
}

#[async_trait]
impl ReplayCache for Flaky {
    async fn first_use(&self, jkt: &str, jti: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.up()?.first_use(jkt, jti, until, now).await
    }
}

pub struct World {
    pub router: Router,
    pub clock: TestClock,
    pub store: Arc<Flaky>,
    pub metrics: Metrics,
}

/// What a test may set.
#[derive(Clone, Copy)]
pub struct Setting {
    pub mode: AuthorizeMode,
    pub nonce_required: bool,
    pub mints_per_minute: u32,
    pub streams: StreamOptions,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            mode: AuthorizeMode::EnvoyHttp,
            nonce_required: false,
            mints_per_minute: 1000,
            streams: StreamOptions::default(),
        }
    }
}

fn rules(nonce_required: bool) -> Rules {
    Rules { nonce_required, proof_algorithms: vec![Algorithm::Es256, Algorithm::EdDsa], ..crate::service::rules() }
}

/// The key of client assertions of `narrow`.
pub fn client_key() -> Arc<LocalSigner> {
    token_testkit::keys::signer(Algorithm::EdDsa)
}

fn callers() -> Callers {
    let jwk = client_key().public_key().to_jwk();
    let jwk: Vec<String> = jwk.as_object().unwrap().iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let document = format!(
        r#"
        [[caller]]
        name = "backend"
        api_key_sha256 = ["{}"]
        roles = ["tokens:issue", "tokens:revoke", "tokens:read"]
        issue = {{ users = ["*"], audiences = ["*"] }}
        [[caller]]
        name = "reader"
        api_key_sha256 = ["{}"]
        roles = ["tokens:read"]
        [[caller]]
        name = "narrow"
        api_key_sha256 = ["{}"]
        assertion_keys = {{ keys = [{{ {} }}] }}
        roles = ["tokens:issue"]
        issue = {{ users = ["app-*"], audiences = ["{API}"], scopes = ["read", "write", "offline_access"], max_ttl_seconds = 86400 }}
        "#,
        sha256_hex(KEY.as_bytes()),
        sha256_hex(READER.as_bytes()),
        sha256_hex(NARROW.as_bytes()),
        jwk.join(", "),
    );
    let client = Arc::new(HttpsClient::new(&ClientOptions::default()).unwrap());
    Callers::parse(&document, ISSUER, &client).unwrap()
}

pub fn world() -> World {
    world_with(Setting::default())
}

pub fn world_with(setting: Setting) -> World {
    let clock = TestClock::at("2026-11-22T12:00:00Z");
    let store = Arc::new(Flaky {
        inner: MemoryStore::new(Arc::new(OsIds), 10_000),
        down: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    });
    let metrics = Metrics::new(clock.now());
    let observe = Observe::new(&metrics);
    let service = Arc::new(TokenService::new(Parts {
        rules: rules(setting.nonce_required),
        keys: SigningKeys::fresh(Algorithm::Es256, clock.now()).unwrap().observed(observe.clone()),
        store: Arc::new(ObservedStore::new(store.clone(), observe.clone())),
        callers: callers(),
        vault: Vault::new(&[1; 32], &[]),
        nonces: Nonces::new(&[2; 32]),
        clock: Arc::new(Ticks(clock.clone())),
        ids: Arc::new(OsIds),
    }));
    let probe = service.clone();
    let readiness = Readiness::new(Shutdown::default()).hard("store", std::time::Duration::from_secs(2), move || {
        let probe = probe.clone();
        async move { probe.ready().await.map_err(|error| error.to_string()) }
    });
    let mut options = HttpOptions::new(ISSUER, observe, readiness.clone()).unwrap();
    options.mode = setting.mode;
    options.streams = setting.streams;
    options.minting = Arc::new(RateLimiter::new(Rate::per_minute(setting.mints_per_minute), 100));
    let router = router(service, options).merge(health_router(readiness, metrics.clone()));
    World { router, clock, store, metrics }
}

/// A request in the making.
pub struct Ask<'w> {
    world: &'w World,
    method: Method,
    uri: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl World {
    pub fn ask(&self, method: &str, uri: &str) -> Ask<'_> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Ask { world: self, method, uri: uri.to_owned(), headers: HeaderMap::new(), body: Vec::new() }
    }

    pub fn get(&self, uri: &str) -> Ask<'_> {
        self.ask("GET", uri)
    }

    pub fn post(&self, uri: &str) -> Ask<'_> {
        self.ask("POST", uri)
    }

    /// A plain token.
    pub async fn token(&self, user: &str) -> Value {
        let reply = self.post("/tokens").key(KEY).json(&json!({"user_id": user})).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()
    }

    /// A parent with its first child.
    pub async fn pair(&self, user: &str) -> Value {
        let body = json!({"user_id": user, "include_child": true});
        let reply = self.post("/token-pairs").key(KEY).json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()
    }

    /// What `/authorize` says of a bearer token.
    pub async fn authorize(&self, token: &str) -> u16 {
        self.get("/authorize").header("authorization", &format!("Bearer {token}")).send().await.status
    }
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn basic(self, id: &str, secret: &str) -> Self {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        self.header("authorization", &format!("Basic {text}"))
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A form; values are taken as they are, so give them encoded.
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let encode = |text: &str| {
            text.bytes().fold(String::new(), |mut out, byte| {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
                    other => out.push_str(&format!("%{other:02X}")),
                }
                out
            })
        };
        let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        self.body("application/x-www-form-urlencoded", body.join("&"))
    }

    pub async fn send(self) -> Reply {
        let response = self.open().await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// The answer with its body still to be read.
    pub async fn open(self) -> axum::response::Response {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri.parse().unwrap();
        *request.headers_mut() = self.headers;
        self.world.router.clone().oneshot(request).await.unwrap()
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header's one value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and the member `error`.
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(StatusCode::from_u16(self.status).unwrap().as_u16() >= 400, "{}", self.text);
        (self.status, body["error"].as_str().unwrap().to_owned())
    }
}

/// A client that can prove possession.
pub struct Prover(pub LocalSigner);

impl Prover {
    pub fn new() -> Self {
        Self(LocalSigner::generate(Algorithm::Es256).unwrap())
    }

    pub fn jkt(&self) -> String {
        self.0.public_key().kid().to_string()
    }

    pub fn proof(&self, method: &str, uri: &str, now: Timestamp, token: Option<&str>, nonce: Option<&str>) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.0.public_key().to_jwk()});
        let mut claims = json!({
            "jti": token_shell::IdSource::next_id(&OsIds), "htm": method, "htu": uri, "iat": now.as_second()
        });
        if let Some(token) = token {
            claims["ath"] = base64url(&sha256(token.as_bytes())).into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        sign(&self.0, &header, &claims)
    }
}

/// A compact JWS of these.
pub fn sign(signer: &LocalSigner, header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    format!("{input}.{}", base64url(&signer.sign_now(input.as_bytes()).unwrap()))
}

/// A token's claims, unverified.
pub fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
