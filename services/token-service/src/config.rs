//! The service's settings: read once, all problems reported together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use token_issuance::Location;
use token_jose::{Algorithm, Htu};
use token_server::{ClientCertificates, Listen, TelemetryConfig, Tls};
use token_shell::{Problems, Settings, Vars};
use zeroize::Zeroizing;

use crate::service::Rules;

/// 30 days: a parent's usual lifetime, and the longest of anything.
const MONTH_S: u64 = 30 * 86_400;
/// Where system 1's images keep their key.
const USUAL_KEY: &str = "/etc/jwt-service/private-key.pem";

/// What the process was asked to be on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// `--dev`: nothing has to be configured or installed.
    pub dev: bool,
    /// `--json`: one JSON line on standard output once ready.
    pub json: bool,
}

/// Where the signing keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySettings {
    /// One generated ring in this process (`--dev`).
    Fresh(Algorithm),
    /// A PEM file with one private key; its public half is what is published.
    Pem(PathBuf, Option<Algorithm>),
    /// A ring, and the published set beside it.
    Ring {
        /// `secretsmanager:`, `ssm:` or `file:`.
        ring: Location,
        /// `ssm:` or `file:`.
        published: Location,
        /// Which of the ring's algorithms signs; its default when absent.
        algorithm: Option<Algorithm>,
    },
}

/// Vault or OpenBao, where a ring's keys are in Transit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitSettings {
    /// The server.
    pub address: token_remote::RemoteUrl,
    /// The file that an agent keeps the token in.
    pub token_file: PathBuf,
    /// The engine's mount.
    pub mount: String,
    /// The namespace.
    pub namespace: Option<String>,
}

/// Where families and revocations are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSettings {
    /// In this process: one replica, lost with it.
    Memory,
    /// Redis.
    Redis(RedisSettings),
}

/// How Redis is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Addresses as URLs.
    pub urls: Vec<String>,
    /// User.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Zeroizing<String>>,
    /// Authorities of its certificate.
    pub ca_file: Option<PathBuf>,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// How many replicas confirm a revocation.
    pub min_replicas: u32,
    /// How long a call may take.
    pub timeout: Duration,
}

/// The secret that replicas share.
#[derive(Clone)]
pub struct SharedSecret {
    /// The one in use.
    pub current: Zeroizing<[u8; 32]>,
    /// Those before it.
    pub former: Vec<[u8; 32]>,
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(hidden)")
    }
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The HTTP listener.
    pub http: Listen,
    /// The gRPC listener.
    pub grpc: Listen,
    /// `JWT_ISSUER`; in `--dev` the HTTP address once it is known.
    pub issuer: Option<String>,
    /// The rules of the use cases; issuer and origins are completed when the address is known.
    pub rules: Rules,
    /// Keys.
    pub keys: KeySettings,
    /// Transit.
    pub transit: Option<TransitSettings>,
    /// Signatures per second asked of KMS.
    pub kms_signs_per_second: u32,
    /// How old ring and published set may grow before they are read again, in seconds.
    pub key_refresh_s: u64,
    /// Store.
    pub store: StoreSettings,
    /// The document of callers; `None` in `--dev`.
    pub callers: Option<Location>,
    /// The shared secret; `None` draws one.
    pub secret: Option<SharedSecret>,
    /// How often the worker looks for children to renew.
    pub worker_interval: Duration,
    /// Grace and drain of a shutdown.
    pub shutdown: (Duration, Duration),
    /// Which proxy asks at `/authorize`.
    pub authorize_mode: String,
    /// Log and traces.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// Every problem, one per line.
    pub fn read(vars: &dyn Vars, mode: Mode) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let config = Self::gather(&mut Settings::new(vars, &mut problems), mode);
        problems.into_result(config)
    }

    fn gather(settings: &mut Settings<'_>, mode: Mode) -> Option<Self> {
        let address = if mode.dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let host = settings.parsed("HOST", "an IP address", IpAddr::V4(address));
        let port = settings.parsed("PORT", "a port number", 8080_u16);
        let grpc_default = if port == Some(0) { 0 } else { 50_052 };
        let grpc_port = settings.parsed("GRPC_PORT", "a port number", grpc_default);
        if port.is_some() && port == grpc_port && port != Some(0) {
            settings.note("GRPC_PORT: expected another port than PORT, found the same");
        }
        if !mode.dev {
            for (name, value) in [("PORT", port), ("GRPC_PORT", grpc_port)] {
                if value == Some(0) {
                    settings.note(format_args!("{name}: expected a port other than 0, which is for --dev only"));
                }
            }
        }
        let tls = tls(settings);
        let issuer = issuer(settings, mode);
        let rules = rules(settings, mode, issuer.as_deref());
        let keys = keys(settings, mode);
        let transit = transit(settings);
        let store = store(settings);
        let secret = secret(settings, &store, mode);
        let callers = callers(settings, mode);
        let worker = seconds(settings, "AUTO_RENEW_WORKER_INTERVAL", 1..=3600, 30);
        let grace = seconds(settings, "SHUTDOWN_GRACE_SECONDS", 0..=300, if mode.dev { 0 } else { 5 });
        let drain = seconds(settings, "SHUTDOWN_DRAIN_SECONDS", 1..=300, 20);
        let kms = settings.parsed("KMS_SIGNS_PER_SECOND", "a whole number from 1 to 1000", 20_u32);
        // Rotation counts on issuers whose ring is at most 300 s old (`token_jose::RING_AGE_S`).
        let key_refresh = seconds(settings, "KEY_REFRESH_SECONDS", 1..=300, crate::keys::FRESH_S);
        let authorize_mode = settings.optional("AUTHORIZE_MODE").unwrap_or_else(|| "envoy-http".to_owned());
        if !["envoy-http", "nginx", "traefik"].contains(&authorize_mode.as_str()) {
            settings.problem("AUTHORIZE_MODE", "envoy-http, nginx or traefik", &authorize_mode, None);
        }
        let telemetry = TelemetryConfig::from_settings(settings, "token-service");
        let host = host?;
        Some(Self {
            http: Listen { addr: SocketAddr::new(host, port?), tls: tls.clone()? },
            grpc: Listen { addr: SocketAddr::new(host, grpc_port?), tls: tls? },
            issuer: issuer.clone(),
            rules: rules?,
            keys: keys?,
            transit: transit?,
            kms_signs_per_second: kms?,
            key_refresh_s: key_refresh?,
            store: store?,
            callers: callers?,
            secret: secret?,
            worker_interval: Duration::from_secs(worker?),
            shutdown: (Duration::from_secs(grace?), Duration::from_secs(drain?)),
            authorize_mode,
            telemetry: telemetry?,
        })
    }
}

fn seconds(
    settings: &mut Settings<'_>,
    name: &str,
    bounds: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Option<u64> {
    let expected = format!("a whole number of seconds from {} to {}", bounds.start(), bounds.end());
    let value = settings.parsed(name, &expected, default)?;
    if bounds.contains(&value) {
        return Some(value);
    }
    settings.problem(name, &expected, &value.to_string(), None);
    None
}

fn flag(settings: &mut Settings<'_>, name: &str) -> Option<bool> {
    settings.parsed(name, "true or false", false)
}

fn issuer(settings: &mut Settings<'_>, mode: Mode) -> Option<String> {
    if mode.dev && settings.optional("JWT_ISSUER").is_none() {
        return None;
    }
    let issuer = settings.required("JWT_ISSUER", "the URL that tokens name as their issuer")?;
    let http = issuer.starts_with("http://127.0.0.1") || issuer.starts_with("http://localhost");
    if !(issuer.starts_with("https://") || http) || issuer.ends_with('/') || issuer.contains(['?', '#', ' ']) {
        settings.problem("JWT_ISSUER", "an https URL without query, fragment and trailing slash", &issuer, None);
    }
    Some(issuer)
}

fn rules(settings: &mut Settings<'_>, mode: Mode, issuer: Option<&str>) -> Option<Rules> {
    let audiences = match settings.optional("JWT_AUDIENCE") {
        None if mode.dev => vec!["token-service-dev".to_owned()],
        None => {
            settings.note(
                "JWT_AUDIENCE: expected the audience of the APIs, found nothing; hint: several are separated by commas",
            );
            Vec::new()
        }
        Some(text) => text.split(',').map(|audience| audience.trim().to_owned()).filter(|a| !a.is_empty()).collect(),
    };
    if issuer.is_some_and(|issuer| audiences.iter().any(|audience| audience == issuer)) {
        settings
            .note("JWT_AUDIENCE: expected another text than JWT_ISSUER, which is the audience of parent tokens alone");
    }
    let access = seconds(settings, "ACCESS_TOKEN_TTL", 1..=86_400, 900);
    let plain = seconds(settings, "TOKEN_TTL", 1..=86_400, 3600);
    let child = seconds(settings, "CHILD_TOKEN_TTL", 1..=86_400, 900);
    let parent = seconds(settings, "PARENT_TOKEN_TTL", 60..=MONTH_S, MONTH_S);
    let refresh = seconds(settings, "REFRESH_TOKEN_TTL", 60..=MONTH_S, 604_800);
    let threshold = seconds(settings, "AUTO_RENEW_THRESHOLD_SECONDS", 0..=86_400, 120);
    let window = seconds(settings, "RATE_LIMIT_WINDOW_SECONDS", 1..=86_400, 60);
    let nonce_required = flag(settings, "DPOP_NONCE_REQUIRED");
    let origins = origins(settings);
    Some(Rules {
        issuer: issuer.unwrap_or_default().to_owned(),
        audiences,
        plain_ttl_s: plain?,
        access_ttl_s: access?,
        child_ttl_s: child?,
        parent_ttl_s: parent?,
        refresh_ttl_s: refresh?,
        most_ttl_s: MONTH_S,
        skew_s: 60,
        leeway_s: 60,
        renew_threshold_s: threshold?,
        rate_window_s: u32::try_from(window?).ok()?,
        default_rate_limit: 100,
        origins: origins?,
        nonce_required: nonce_required?,
        proof_algorithms: vec![
            Algorithm::Es256,
            Algorithm::EdDsa,
            Algorithm::Es384,
            Algorithm::Ps256,
            Algorithm::Rs256,
        ],
    })
}

/// `PUBLIC_ORIGINS`: where clients see this service and the APIs behind it.
fn origins(settings: &mut Settings<'_>) -> Option<Vec<String>> {
    let text = settings.optional("PUBLIC_ORIGINS").unwrap_or_default();
    let mut origins = Vec::new();
    for origin in text.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
        let bare = origin.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#']));
        if !bare || Htu::parse(&format!("{origin}/")).is_err() {
            settings.problem(
                "PUBLIC_ORIGINS",
                "origins such as https://api.example, separated by commas",
                origin,
                None,
            );
            return None;
        }
        origins.push(origin.to_owned());
    }
    Some(origins)
}

fn tls(settings: &mut Settings<'_>) -> Option<Option<Tls>> {
    let files = (settings.optional("TLS_CERT_FILE"), settings.optional("TLS_KEY_FILE"));
    let clients = settings.optional("TLS_CLIENT_CA_FILE");
    match files {
        (Some(cert), Some(key)) => {
            let mut tls = Tls::new(cert, key);
            if let Some(file) = clients {
                tls.clients = ClientCertificates::Optional(file.into());
            }
            Some(Some(tls))
        }
        (None, None) if clients.is_none() => Some(None),
        _ => {
            settings.note("TLS_CERT_FILE, TLS_KEY_FILE: expected both, found one; hint: set both, or neither and no TLS_CLIENT_CA_FILE");
            None
        }
    }
}

fn keys(settings: &mut Settings<'_>, mode: Mode) -> Option<KeySettings> {
    let algorithm = match settings.optional("JWT_ALGORITHM") {
        None => None,
        Some(text) => match text.parse::<Algorithm>() {
            Ok(algorithm) => Some(algorithm),
            Err(_) => {
                settings.problem("JWT_ALGORITHM", "RS256, PS256, ES256, ES384 or EdDSA", &text, None);
                return None;
            }
        },
    };
    if settings.optional("KMS_KEY_ID").is_some() {
        settings.note(
            "KMS_KEY_ID: expected keys in KMS to be named by a ring, found a key id; hint: KEY_STORE=kms of the rotation function makes such a ring, give it as KEY_RING",
        );
        return None;
    }
    let pem = settings.optional("PRIVATE_KEY_PATH");
    match (settings.optional("KEY_RING"), settings.optional("JWKS")) {
        (Some(ring), Some(published)) => {
            if pem.is_some() {
                settings.note("KEY_RING, PRIVATE_KEY_PATH: expected one of them, found both");
            }
            let ring = location(settings, "KEY_RING", &ring, &["secretsmanager", "ssm", "file"]);
            let published = location(settings, "JWKS", &published, &["ssm", "file"]);
            Some(KeySettings::Ring { ring: ring?, published: published?, algorithm })
        }
        (None, None) => match pem {
            Some(path) => Some(KeySettings::Pem(path.into(), algorithm)),
            None if mode.dev => Some(KeySettings::Fresh(algorithm.unwrap_or(Algorithm::Rs256))),
            None => Some(KeySettings::Pem(USUAL_KEY.into(), algorithm)),
        },
        _ => {
            settings
                .note("KEY_RING, JWKS: expected both, found one; hint: JWKS is the set that the rotation publishes");
            None
        }
    }
}

fn location(settings: &mut Settings<'_>, name: &str, text: &str, schemes: &[&str]) -> Option<Location> {
    let location = text.parse::<Location>().ok().filter(|location| schemes.contains(&location.scheme()));
    if location.is_none() {
        let expected = schemes.iter().map(|scheme| format!("{scheme}:…")).collect::<Vec<_>>().join(" or ");
        // The value may be a key that somebody pasted.
        settings.note(format_args!("{name}: expected {expected}, found another text"));
    }
    location
}

fn transit(settings: &mut Settings<'_>) -> Option<Option<TransitSettings>> {
    let Some(address) = settings.optional("TRANSIT_ADDRESS") else { return Some(None) };
    let token_file = settings.required("TRANSIT_TOKEN_FILE", "the file in which an agent keeps the token");
    let mount = settings.optional("TRANSIT_MOUNT").unwrap_or_else(|| "transit".to_owned());
    let Ok(address) = address.parse() else {
        settings.problem("TRANSIT_ADDRESS", "an https URL (http on a loopback address)", &address, None);
        return None;
    };
    Some(Some(TransitSettings {
        address,
        token_file: token_file?.into(),
        mount,
        namespace: settings.optional("TRANSIT_NAMESPACE"),
    }))
}

fn store(settings: &mut Settings<'_>) -> Option<StoreSettings> {
    let urls: Vec<String> = match (settings.optional("REDIS_URL"), settings.optional("REDIS_ADDR")) {
        (None, None) => return Some(StoreSettings::Memory),
        (Some(_), Some(_)) => {
            settings.note("REDIS_URL, REDIS_ADDR: expected one of them, found both");
            return None;
        }
        (Some(urls), None) => urls.split(',').map(|url| url.trim().to_owned()).collect(),
        (None, Some(addresses)) => addresses.split(',').map(|address| format!("redis://{}", address.trim())).collect(),
    };
    if urls.iter().any(|url| url.contains('@')) {
        settings.note(
            "REDIS_URL: expected no user or password in it, found '@'; hint: REDIS_USERNAME and REDIS_PASSWORD_FILE",
        );
        return None;
    }
    let password = secret_text(settings, "REDIS_PASSWORD")?;
    let cluster = flag(settings, "REDIS_CLUSTER")?;
    let min_replicas = settings.parsed("REDIS_MIN_REPLICAS", "a whole number", u32::from(cluster))?;
    let timeout = settings.parsed("REDIS_TIMEOUT_MILLISECONDS", "a whole number", 1000_u64)?;
    Some(StoreSettings::Redis(RedisSettings {
        urls,
        username: settings.optional("REDIS_USERNAME"),
        password,
        ca_file: settings.optional("REDIS_CA_FILE").map(Into::into),
        cluster,
        min_replicas,
        timeout: Duration::from_millis(timeout.clamp(50, 60_000)),
    }))
}

/// `NAME` or the content of `NAME_FILE`, without the line's end.
fn secret_text(settings: &mut Settings<'_>, name: &str) -> Option<Option<Zeroizing<String>>> {
    let file = settings.optional(&format!("{name}_FILE"));
    match (settings.optional(name), file) {
        (Some(_), Some(_)) => {
            settings.note(format_args!("{name}, {name}_FILE: expected one of them, found both"));
            None
        }
        (Some(text), None) => Some(Some(Zeroizing::new(text))),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                Some(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
            }
            Err(error) => {
                settings.note(format_args!("{name}_FILE: expected a readable file, found: {error}"));
                None
            }
        },
        (None, None) => Some(None),
    }
}

/// `SHARED_SECRET`: one or more secrets of 32 bytes in base64, the one in use first, the former ones after it.
fn secret(settings: &mut Settings<'_>, store: &Option<StoreSettings>, mode: Mode) -> Option<Option<SharedSecret>> {
    let Some(text) = secret_text(settings, "SHARED_SECRET")? else {
        if !mode.dev && matches!(store, Some(StoreSettings::Redis(_))) {
            settings.note(
                "SHARED_SECRET_FILE: expected the secret that replicas share, found nothing; hint: head -c 32 /dev/urandom | base64",
            );
            return None;
        }
        return Some(None);
    };
    let mut secrets = Vec::new();
    for part in text.split([',', '\n', ' ']).filter(|part| !part.is_empty()) {
        let decoded = STANDARD.decode(part).ok().map(Zeroizing::new);
        match decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()) {
            Some(secret) => secrets.push(secret),
            None => {
                settings.note("SHARED_SECRET: expected 32 bytes in base64 each, found another text; hint: head -c 32 /dev/urandom | base64");
                return None;
            }
        }
    }
    let mut secrets = secrets.into_iter();
    let current = Zeroizing::new(secrets.next()?);
    Some(Some(SharedSecret { current, former: secrets.collect() }))
}

fn callers(settings: &mut Settings<'_>, mode: Mode) -> Option<Option<Location>> {
    match settings.optional("CALLERS") {
        None if mode.dev => Some(None),
        None => {
            settings.note(
                "CALLERS: expected file:PATH of the document of callers, found nothing; hint: docs/TOKEN-SERVICE.md",
            );
            None
        }
        Some(text) => location(settings, "CALLERS", &text, &["file", "secretsmanager", "ssm"]).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_shell::MapVars;

    #[test]
    fn dev_needs_nothing() {
        let config = Config::read(&MapVars::default(), Mode { dev: true, json: false }).unwrap();
        assert_eq!(config.http.addr.to_string(), "127.0.0.1:8080");
        assert_eq!(config.grpc.addr.port(), 50_052);
        assert_eq!(config.store, StoreSettings::Memory);
        let vars = MapVars::from([("PORT", "0")]);
        assert_eq!(Config::read(&vars, Mode { dev: true, json: true }).unwrap().grpc.addr.port(), 0);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let vars = MapVars::from([
            ("PORT", "eighty"),
            ("JWT_ISSUER", "http://tokens.example"),
            ("REDIS_URL", "redis://:topsecret@redis:6379"),
            ("TLS_CERT_FILE", "/x"),
            ("KEY_RING", "-----BEGIN PRIVATE KEY-----"),
            ("JWKS", "file:/x"),
            ("ACCESS_TOKEN_TTL", "0"),
        ]);
        let problems = Config::read(&vars, Mode::default()).unwrap_err().to_string();
        for name in [
            "PORT:",
            "JWT_ISSUER:",
            "JWT_AUDIENCE:",
            "REDIS_URL:",
            "TLS_CERT_FILE",
            "KEY_RING:",
            "ACCESS_TOKEN_TTL:",
            "CALLERS:",
        ] {
            assert!(problems.contains(name), "{name} in\n{problems}");
        }
        assert!(!problems.contains("topsecret") && !problems.contains("PRIVATE KEY-"), "{problems}");
    }

    #[test]
    fn replicas_must_share_a_secret() {
        let vars = MapVars::from([
            ("JWT_ISSUER", "https://tokens.example"),
            ("JWT_AUDIENCE", "api"),
            ("CALLERS", "file:/callers.toml"),
            ("REDIS_ADDR", "redis:6379"),
        ]);
        let problems = Config::read(&vars, Mode::default()).unwrap_err().to_string();
        assert!(problems.contains("SHARED_SECRET_FILE"), "{problems}");
    }
}
