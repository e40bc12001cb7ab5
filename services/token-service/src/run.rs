//! From settings to a running service: opens what they name, serves both doors, renews, and ends in order.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use token_aws::{AwsClients, KmsBudget, KmsKeys};
use token_issuance::{DocumentSource, KeyLoader, Location};
use token_jose::{Algorithm, Nonces};
use token_remote::{ClientOptions, HttpsClient, TransitKeys, TransitOptions};
use token_server::{
    Bound, Limits, Metrics, Parts, Readiness, Server, Shutdown, Telemetry, health_router, refuse_to_start,
};
use token_shell::{Clock, IdSource, OsIds, Problems, SystemClock, Vars};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::caller::Callers;
use crate::config::{Config, KeySettings, Mode, RedisSettings, StoreSettings};
use crate::keys::{FRESH_S, SigningKeys};
use crate::observe::{Observe, ObservedStore};
use crate::pem::{Half, PemDocument};
use crate::refresh_token::Vault;
use crate::service::{self, TokenService};
use crate::store::{MemoryStore, RedisOptions, RedisStore, Store};
use crate::{grpc, http, signers};

/// How long a readiness check may take.
const PROBE: Duration = Duration::from_secs(2);
/// How long the last spans may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs the service until it is told to end.
pub async fn run(vars: &dyn Vars, mode: Mode) -> ExitCode {
    let config = match Config::read(vars, mode) {
        Ok(config) => config,
        Err(problems) => return refuse_to_start(&problems),
    };
    let telemetry = Telemetry::start(&config.telemetry);
    let code = match serve(config, vars, mode).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => refuse_to_start(&problems),
    };
    telemetry.finish(FLUSH).await;
    code
}

async fn serve(config: Config, vars: &dyn Vars, mode: Mode) -> Result<(), Problems> {
    let clock: Arc<dyn Clock + Send + Sync> = Arc::new(SystemClock);
    let ids: Arc<dyn IdSource + Send + Sync> = Arc::new(OsIds);
    let http = Bound::bind(&config.http).await.map_err(one)?;
    let grpc = Bound::bind(&config.grpc).await.map_err(one)?;
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let (http_url, grpc_url) =
        (format!("{scheme}://{}", http.local_addr()), format!("{scheme}://{}", grpc.local_addr()));
    let mut rules = config.rules.clone();
    rules.issuer = config.issuer.clone().unwrap_or_else(|| http_url.clone());
    complete_origins(&mut rules, [&http_url, &grpc_url], mode);

    let mut problems = Problems::default();
    let clients = Clients { vars, aws: None };
    let api_key = mode.dev.then(|| format!("dev-{}{}", ids.next_id(), ids.next_id()));
    let callers = callers(&config, api_key.as_deref(), &clients, clock.now()).await;
    let keys = signing_keys(&config, &clients, clock.now()).await;
    let store = open_store(&config, &ids).await;
    let (callers, keys, store) = match (callers, keys, store) {
        (Ok(callers), Ok(keys), Ok(store)) => (callers, keys, store),
        (callers, keys, store) => {
            for problem in [callers.err(), keys.err(), store.err()].into_iter().flatten() {
                problems.add(problem);
            }
            return Err(problems);
        }
    };
    let (current, former) = match &config.secret {
        Some(secret) => (secret.current.clone(), secret.former.clone()),
        None => (Zeroizing::new(drawn(ids.as_ref())), Vec::new()),
    };
    let metrics = Metrics::new(clock.now());
    let observe = Observe::new(&metrics);
    let service = Arc::new(TokenService::new(service::Parts {
        rules,
        keys: keys.observed(observe.clone()),
        store: Arc::new(ObservedStore::new(store, observe.clone())),
        callers,
        vault: Vault::new(&current, &former),
        nonces: Nonces::new(&current),
        clock: clock.clone(),
        ids,
    }));

    let shutdown = Shutdown::new(config.shutdown.0, config.shutdown.1);
    shutdown.on_signals().map_err(one)?;
    let readiness = {
        let service = service.clone();
        Readiness::new(shutdown.clone()).hard("keys_and_store", PROBE, move || {
            let service = service.clone();
            async move { service.ready().await.map_err(|error| error.code().to_owned()) }
        })
    };
    let server = Server::new(Limits::default(), shutdown.clone(), &metrics);
    let mut options =
        http::HttpOptions::new(&service.rules().issuer, observe.clone(), readiness.clone()).map_err(one)?;
    options.mode = config.authorize_mode.parse().map_err(one)?;
    options.store = match config.store {
        StoreSettings::Memory => "embedded",
        StoreSettings::Redis(_) => "connected",
    };
    let grpc_options = grpc::GrpcOptions {
        minting: options.minting.clone(),
        ..grpc::GrpcOptions::new(readiness.clone(), observe.clone())
    };
    let http_router = http::router(service.clone(), options).merge(health_router(readiness.clone(), metrics.clone()));
    let grpc_router = grpc::router(service.clone(), grpc_options);

    let mut parts = Parts::new(shutdown.clone());
    let (for_http, for_grpc) = (server.clone(), server);
    parts.spawn("http", async move { http.serve(http_router, &for_http).await });
    parts.spawn("grpc", async move { grpc.serve(grpc_router, &for_grpc).await });
    parts.spawn("renewal", renew(service.clone(), observe, config.worker_interval, shutdown));
    announce(mode, &http_url, &grpc_url, api_key.as_deref(), &service.rules().issuer);
    parts.run().await.map_err(one)
}

fn one(problem: impl std::fmt::Display) -> Problems {
    let mut problems = Problems::default();
    problems.add(problem);
    problems
}

/// Proofs name public URIs: the configured origins, or the issuer's; in development what is listened on.
fn complete_origins(rules: &mut service::Rules, listening: [&String; 2], mode: Mode) {
    if rules.origins.is_empty() {
        let origin: Vec<&str> = rules.issuer.splitn(4, '/').take(3).collect();
        rules.origins.push(origin.join("/"));
    }
    if mode.dev {
        for url in listening {
            if !rules.origins.contains(url) {
                rules.origins.push(url.clone());
            }
        }
    }
}

fn drawn(ids: &dyn IdSource) -> [u8; 32] {
    let text = format!("{}{}", ids.next_id(), ids.next_id());
    let mut secret = [0_u8; 32];
    for (byte, pair) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or_default();
    }
    secret
}

/// The clients of AWS, built when the first document needs them.
struct Clients<'a> {
    vars: &'a dyn Vars,
    aws: Option<AwsClients>,
}

impl Clients<'_> {
    fn aws(&self) -> Result<AwsClients, String> {
        match &self.aws {
            Some(clients) => Ok(clients.clone()),
            None => AwsClients::from_vars(|name| self.vars.get(name)).map_err(|problem| problem.to_string()),
        }
    }

    fn open(&self, name: &str, location: &Location) -> Result<Arc<dyn DocumentSource>, String> {
        if let Some(source) = location.open_local() {
            return Ok(source);
        }
        let clients = self.aws()?;
        let wrong = |problem: &dyn std::fmt::Display| format!("{name}: {problem}");
        match location {
            Location::Ssm(parameter) if name == "KEY_RING" => {
                clients.parameter(parameter).map(|source| Arc::new(source.secure_only()) as _).map_err(|e| wrong(&e))
            }
            Location::Ssm(parameter) => clients.parameter(parameter).map(|s| Arc::new(s) as _).map_err(|e| wrong(&e)),
            Location::SecretsManager(secret) => clients.secret(secret).map(|s| Arc::new(s) as _).map_err(|e| wrong(&e)),
            Location::File(_) | Location::Inline(_) => Err(format!("{name}: expected file:, ssm: or secretsmanager:")),
        }
    }
}

async fn callers(
    config: &Config,
    api_key: Option<&str>,
    clients: &Clients<'_>,
    _now: jiff::Timestamp,
) -> Result<Callers, String> {
    let Some(location) = &config.callers else {
        return Ok(Callers::dev(api_key.unwrap_or_default()));
    };
    let document = clients.open("CALLERS", location)?.read().await.map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(document.bytes()).map_err(|_| format!("{location}: expected UTF-8 text"))?;
    let client = HttpsClient::new(&ClientOptions::default()).map_err(|error| error.to_string())?;
    Callers::parse(text, &config.rules.issuer, &Arc::new(client)).map_err(|problems| {
        problems.to_string().lines().map(|line| format!("{location}: {line}")).collect::<Vec<_>>().join("\n")
    })
}

async fn signing_keys(config: &Config, clients: &Clients<'_>, now: jiff::Timestamp) -> Result<SigningKeys, String> {
    let keys = match &config.keys {
        KeySettings::Fresh(algorithm) => SigningKeys::fresh(*algorithm, now).map_err(|error| error.to_string())?,
        KeySettings::Pem(path, algorithm) => {
            warn!(path = %path.display(), "one key file cannot rotate without an outage; hint: KEY_RING");
            let algorithm = algorithm.unwrap_or(Algorithm::Rs256);
            let half = |half| {
                Arc::new(PemDocument::new(path.clone(), algorithm, half, config.rules.most_ttl_s))
                    as Arc<dyn DocumentSource>
            };
            SigningKeys::new(KeyLoader::new(half(Half::Ring), half(Half::Published)), FRESH_S, None)
        }
        KeySettings::Ring { ring, published, algorithm } => {
            let loader = KeyLoader::new(clients.open("KEY_RING", ring)?, clients.open("JWKS", published)?);
            let kms = match clients.aws() {
                Ok(aws) => Some(KmsKeys::new(aws, Arc::new(KmsBudget::new(config.kms_signs_per_second)))),
                Err(_) => None,
            };
            let loader = loader.with_signers(Arc::new(signers::Remote::new(kms, transit(config)?)));
            SigningKeys::new(loader, config.key_refresh_s, *algorithm)
        }
    };
    keys.warm(now).await.map_err(|error| error.to_string())?;
    let covered = keys.current(now).await.map_err(|error| error.to_string())?.ring().policy().max_token_ttl_s;
    let longest = config.rules.parent_ttl_s.max(config.rules.refresh_ttl_s.min(config.rules.access_ttl_s));
    if covered < longest {
        return Err(format!(
            "KEY_RING: expected a policy with max_token_ttl >= {longest} s (PARENT_TOKEN_TTL), found {covered} s; hint: raise the ring's max_token_ttl and retention, or lower PARENT_TOKEN_TTL"
        ));
    }
    Ok(keys)
}

fn transit(config: &Config) -> Result<Option<TransitKeys>, String> {
    let Some(settings) = &config.transit else { return Ok(None) };
    let client = HttpsClient::new(&ClientOptions::default()).map_err(|error| error.to_string())?;
    let options = TransitOptions {
        mount: settings.mount.clone(),
        namespace: settings.namespace.clone(),
        ..TransitOptions::new(settings.address.clone(), settings.token_file.clone())
    };
    TransitKeys::new(Arc::new(client), options).map(Some).map_err(|error| error.to_string())
}

async fn open_store(config: &Config, ids: &Arc<dyn IdSource + Send + Sync>) -> Result<Arc<dyn Store>, String> {
    match &config.store {
        StoreSettings::Memory => {
            warn!("families and revocations are in this process alone: one replica, lost with it; hint: REDIS_URL");
            Ok(Arc::new(MemoryStore::new(ids.clone(), MemoryStore::DEFAULT_LIMIT)))
        }
        StoreSettings::Redis(settings) => {
            let options = redis_options(settings)?;
            RedisStore::connect(&options, ids.clone())
                .await
                .map(|store| Arc::new(store) as _)
                .map_err(|e| e.to_string())
        }
    }
}

fn redis_options(settings: &RedisSettings) -> Result<RedisOptions, String> {
    let ca_pem = match &settings.ca_file {
        None => None,
        Some(path) => Some(
            std::fs::read(path).map_err(|error| format!("REDIS_CA_FILE: expected a readable file, found: {error}"))?,
        ),
    };
    let base = RedisOptions::cluster(settings.urls.clone());
    Ok(RedisOptions {
        username: settings.username.clone(),
        password: settings.password.clone(),
        ca_pem,
        cluster: settings.cluster,
        min_replicas: settings.min_replicas,
        timeout: settings.timeout,
        ..base
    })
}

/// Renews children that are due, on every replica: the store lets each be minted once.
async fn renew(
    service: Arc<TokenService>,
    observe: Observe,
    interval: Duration,
    shutdown: Shutdown,
) -> Result<(), std::convert::Infallible> {
    loop {
        tokio::select! {
            () = shutdown.begun() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
        observe.tick(service.now());
        match service.renew_due().await {
            Ok(0) => {}
            Ok(renewed) => info!(renewed, "children were renewed"),
            Err(error) => error!(%error, "this round of renewals was not run"),
        }
    }
}

/// The one line on standard output, for people or for programs.
fn announce(mode: Mode, http: &str, grpc: &str, api_key: Option<&str>, issuer: &str) {
    let mut out = std::io::stdout().lock();
    let written = match (mode.json, api_key) {
        (true, _) => writeln!(out, "{}", json!({ "http": http, "grpc": grpc, "api_key": api_key, "issuer": issuer })),
        (false, Some(key)) => writeln!(
            out,
            "token-service for development: nothing is kept, do not use it for anything real\n\
             HTTP     {http}\ngRPC     {grpc}\nissuer   {issuer}\nAPI key  {key}\n\n\
             curl -sS {http}/tokens -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"user_id\":\"alice\"}}'"
        ),
        (false, None) => writeln!(out, "token-service: HTTP {http}, gRPC {grpc}, issuer {issuer}"),
    };
    if written.and_then(|()| out.flush()).is_err() {
        warn!("standard output is closed");
    }
}
