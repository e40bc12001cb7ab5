//! One server: its connections, which mend themselves, and the words of its errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    Pipeline, RedisConnectionInfo, RedisError, ServerError, ServerErrorKind, TlsCertificates, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::port::StoreError;
use super::options::{Address, RedisOptions, Seeds};

/// How many connections carry calls that wait for replicas: such a wait holds up whatever else is on its connection.
const DURABLE: usize = 4;

/// For how long a server that could not be reached is not tried again.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How much of a foreign error text is repeated.
const SHOWN: usize = 160;

/// Why a call did not succeed, as far as it decides what to do next.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection is of no use any more; the call may or may not have been carried out.
    Connection(String),
    /// The server refuses for now, and has done nothing.
    Busy(String),
    /// The slot is another server's.
    Moved(Option<Address>),
    /// This key is another server's, for this time.
    Ask(Option<Address>),
    /// The server does not know the script.
    NoScript,
    /// Final.
    Store(StoreError),
}

/// How to make connections.
pub(crate) struct Connector {
    settings: RedisConnectionInfo,
    tls: Option<TlsCertificates>,
    cluster: bool,
    attempt: Duration,
}

impl Connector {
    pub(crate) fn new(options: &RedisOptions, seeds: &Seeds) -> Self {
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &seeds.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &seeds.password {
            // The client library keeps a copy of its own, which it does not erase.
            settings = settings.set_password(password.as_str());
        }
        let tls = seeds.tls.then(|| TlsCertificates {
            client_tls: options
                .identity_pem
                .as_ref()
                .map(|(cert, key)| ClientTlsConfig { client_cert: cert.clone(), client_key: key.to_vec() }),
            root_cert: options.ca_pem.clone(),
        });
        Self { settings, tls, cluster: options.cluster, attempt: options.timeout / 2 }
    }

    /// How long one attempt may take.
    pub(crate) fn attempt(&self) -> Duration {
        self.attempt
    }

    async fn connect(&self, address: &Address) -> Result<MultiplexedConnection, Failure> {
        let client = self.client(address).map_err(|error| {
            let what = bounded(&error.to_string());
            Failure::Store(StoreError::unavailable(format!("the settings for {address} do not work: {what}")))
        })?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.attempt))
            .set_response_timeout(Some(self.attempt));
        let opened = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut pipeline = Pipeline::new();
            pipeline.cmd("INFO").arg("memory").cmd("INFO").arg("replication");
            let values = connection.send_packed_commands(&pipeline, 0, 2).await?;
            Ok::<_, RedisError>((connection, values))
        };
        let (connection, values) = tokio::time::timeout(self.attempt, opened)
            .await
            .map_err(|_| Failure::Connection(format!("{address} did not answer within {:?}", self.attempt)))?
            .map_err(|error| match failure(address, &error) {
                // Whatever it was, there is no connection.
                Failure::Busy(detail) | Failure::Connection(detail) => Failure::Connection(detail),
                other => other,
            })?;
        self.fit(address, &values)?;
        Ok(connection)
    }

    fn client(&self, address: &Address) -> redis::RedisResult<Client> {
        let Address { host, port } = address.clone();
        let addr = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info: ConnectionInfo = addr.into_connection_info()?.set_redis_settings(self.settings.clone());
        match &self.tls {
            None => Client::open(info),
            Some(tls) => Client::build_with_tls(info, tls.clone()),
        }
    }

    /// Whether what the server says about itself lets us keep our promises on it.
    fn fit(&self, address: &Address, values: &[Value]) -> Result<(), Failure> {
        let mut policy = None;
        let mut role = None;
        for value in values {
            let text = match value {
                Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Value::VerbatimString { text, .. } => text.clone(),
                Value::ServerError(error) => return Err(server_failure(address, error)),
                _ => continue,
            };
            for line in text.lines() {
                if let Some(found) = line.strip_prefix("maxmemory_policy:") {
                    policy = Some(found.trim().to_owned());
                }
                if let Some(found) = line.strip_prefix("role:") {
                    role = Some(found.trim().to_owned());
                }
            }
        }
        if policy.as_deref() != Some("noeviction") {
            let found = policy.as_deref().map_or_else(|| "none".to_owned(), bounded);
            return Err(Failure::Store(StoreError::Unavailable {
                detail: format!(
                    "expected maxmemory-policy noeviction on {address}, found {found}: a revocation that Redis evicts would \
                     be undone; set `maxmemory-policy noeviction`"
                ),
                retry_after_s: 30,
            }));
        }
        if !self.cluster && role.as_deref() != Some("master") {
            return Err(Failure::Connection(format!("expected a master at {address}, found a replica")));
        }
        Ok(())
    }
}

/// A server with its connections. They are made when they are needed, and again when they have failed.
pub(crate) struct Node {
    address: Address,
    connector: Arc<Connector>,
    fast: Slot,
    durable: Vec<Slot>,
    next: AtomicUsize,
    made: AtomicU64,
}

#[derive(Default)]
struct Slot(Mutex<Link>);

#[derive(Default)]
struct Link {
    connection: Option<(u64, MultiplexedConnection)>,
    failed: Option<(Instant, String)>,
}

/// A connection, and what tells it from the next one in its place.
pub(crate) struct Lease<'a> {
    slot: &'a Slot,
    generation: u64,
    connection: MultiplexedConnection,
}

impl Node {
    pub(crate) fn new(address: Address, connector: Arc<Connector>, waits: bool) -> Self {
        let durable = (0..if waits { DURABLE } else { 0 }).map(|_| Slot::default()).collect();
        Self { address, connector, fast: Slot::default(), durable, next: AtomicUsize::new(0), made: AtomicU64::new(0) }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A connection, made now if there is none. At most one caller makes it.
    pub(crate) async fn lease(&self, durable: bool) -> Result<Lease<'_>, Failure> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = match self.durable.len() {
            waiting if durable && waiting > 0 => self.durable.get(turn % waiting).unwrap_or(&self.fast),
            _ => &self.fast,
        };
        let mut link = slot.0.lock().await;
        if let Some((generation, connection)) = &link.connection {
            return Ok(Lease { slot, generation: *generation, connection: connection.clone() });
        }
        if let Some((at, why)) = &link.failed
            && at.elapsed() < COOL_DOWN
        {
            return Err(Failure::Connection(why.clone()));
        }
        match self.connector.connect(&self.address).await {
            Ok(connection) => {
                let generation = self.made.fetch_add(1, Ordering::Relaxed);
                *link = Link { connection: Some((generation, connection.clone())), failed: None };
                Ok(Lease { slot, generation, connection })
            }
            Err(failure) => {
                if let Failure::Connection(why) = &failure {
                    link.failed = Some((Instant::now(), why.clone()));
                }
                Err(failure)
            }
        }
    }

    /// Sends the commands as one, and gives their answers. A connection that fails is not used again.
    pub(crate) async fn send(&self, durable: bool, pipeline: &Pipeline, count: usize) -> Result<Vec<Value>, Failure> {
        let mut lease = self.lease(durable).await?;
        let sent =
            tokio::time::timeout(self.connector.attempt(), lease.connection.send_packed_commands(pipeline, 0, count));
        let failure = match sent.await {
            Ok(Ok(values)) => return Ok(values),
            Ok(Err(error)) => failure(&self.address, &error),
            Err(_) => {
                let within = self.connector.attempt();
                Failure::Connection(format!("{} did not answer within {within:?}", self.address))
            }
        };
        if matches!(failure, Failure::Connection(_)) {
            lease.give_up().await;
        }
        Err(failure)
    }

    /// Closes all connections: the server is not what it was.
    pub(crate) async fn reset(&self) {
        for slot in std::iter::once(&self.fast).chain(&self.durable) {
            slot.0.lock().await.connection = None;
        }
    }
}

impl Lease<'_> {
    async fn give_up(self) {
        let mut link = self.slot.0.lock().await;
        if link.connection.as_ref().is_some_and(|(generation, _)| *generation == self.generation) {
            link.connection = None;
        }
    }
}

/// What an error of the client library means.
fn failure(address: &Address, error: &RedisError) -> Failure {
    if let ErrorKind::Server(kind) = error.kind() {
        return by_kind(address, Some(kind), error.code().unwrap_or_default(), error.detail());
    }
    match error.kind() {
        ErrorKind::Extension => by_kind(address, None, error.code().unwrap_or_default(), error.detail()),
        ErrorKind::AuthenticationFailed => Failure::Store(StoreError::Unavailable {
            detail: format!("{address} refuses our user or password"),
            retry_after_s: 30,
        }),
        _ => Failure::Connection(format!("{address}: {}", bounded(&error.to_string()))),
    }
}

/// What an error among the answers means.
pub(crate) fn server_failure(address: &Address, error: &ServerError) -> Failure {
    by_kind(address, error.kind(), error.code(), error.details())
}

fn by_kind(address: &Address, kind: Option<ServerErrorKind>, code: &str, detail: Option<&str>) -> Failure {
    let detail = detail.unwrap_or_default();
    let said = || format!("{address} answers {}", bounded(&format!("{code} {detail}")));
    match kind {
        Some(ServerErrorKind::Moved) => Failure::Moved(redirect(address, detail)),
        Some(ServerErrorKind::Ask) => Failure::Ask(redirect(address, detail)),
        Some(ServerErrorKind::NoScript) => Failure::NoScript,
        Some(
            ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly,
        ) => Failure::Busy(said()),
        None if code == "CORRUPT" => Failure::Store(StoreError::corrupt(bounded(detail))),
        None if code == "WRONGTYPE" => Failure::Store(StoreError::corrupt("a key of another type")),
        // OOM, BUSY, MISCONF, NOREPLICAS, NOAUTH, NOPERM, and whatever a later version invents.
        _ => Failure::Store(StoreError::unavailable(said())),
    }
}

/// `SLOT HOST:PORT`; no host means the same one.
fn redirect(from: &Address, detail: &str) -> Option<Address> {
    let (host, port) = detail.split_whitespace().nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { from.host.clone() } else { host.to_owned() };
    Some(Address { host, port: port.parse().ok()? })
}

/// A foreign text: short, and without control characters.
fn bounded(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::options::Address;
    use super::{bounded, redirect};

    #[test]
    fn redirects_are_read() {
        let from = Address { host: "10.0.0.1".into(), port: 6379 };
        let to = |host: &str, port| Some(Address { host: host.into(), port });
        assert_eq!(redirect(&from, "3999 127.0.0.1:6381"), to("127.0.0.1", 6381));
        assert_eq!(redirect(&from, "3999 :6381"), to("10.0.0.1", 6381));
        assert_eq!(redirect(&from, "3999 ::1:6381"), to("::1", 6381));
        for nonsense in ["", "3999", "3999 host", "3999 host:x", "3999 host:99999"] {
            assert_eq!(redirect(&from, nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn foreign_texts_are_short_and_plain() {
        assert_eq!(bounded("a\r\nb\u{1b}[31m"), "a  b [31m");
        assert_eq!(bounded(&"x".repeat(1000)).len(), 160);
    }
}
