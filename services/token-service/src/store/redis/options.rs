//! How to reach Redis.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo as _};
use zeroize::Zeroizing;

/// Where Redis is, and how much a write must be worth. Secrets are hidden from `Debug`.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://HOST:PORT` or `rediss://HOST:PORT`. Without a cluster the one that is master is used; of a cluster some nodes
    /// are enough.
    pub urls: Vec<String>,
    /// The user, when the server has more than the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
    /// The authorities that the server's certificate is checked against, as PEM, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own certificate and key, as PEM.
    pub identity_pem: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// Whether the servers are a cluster.
    pub cluster: bool,
    /// How many replicas must have a revocation, rotation or used proof before it counts. 0 where there is one server.
    pub min_replicas: u32,
    /// How long any call may take, all its attempts together.
    pub timeout: Duration,
    /// What all keys start with.
    pub prefix: String,
}

impl RedisOptions {
    /// One server at `url`, no replicas, 1 s.
    #[must_use]
    pub fn single(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            username: None,
            password: None,
            ca_pem: None,
            identity_pem: None,
            cluster: false,
            min_replicas: 0,
            timeout: Duration::from_secs(1),
            prefix: "ts".to_owned(),
        }
    }

    /// A cluster that these nodes belong to; writes wait for one replica; 2 s.
    #[must_use]
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        Self { urls, cluster: true, min_replicas: 1, timeout: Duration::from_secs(2), ..Self::single("") }
    }

    /// Everything that is wrong with these options, or the servers they name.
    pub(crate) fn checked(&self) -> Result<Seeds, Vec<String>> {
        let mut problems = Vec::new();
        let mut seeds = Seeds { nodes: Vec::new(), tls: false, username: None, password: None };
        let mut plain = false;
        for url in &self.urls {
            // The error of the parser is not shown: it may repeat a password.
            let Ok(info) = url.as_str().into_connection_info() else {
                problems.push(
                    "expected a Redis URL, found something else; hint: redis://HOST:PORT or rediss://HOST:PORT"
                        .to_owned(),
                );
                continue;
            };
            let settings = info.redis_settings();
            match info.addr() {
                ConnectionAddr::Tcp(host, port) => {
                    plain = true;
                    seeds.nodes.push(Address { host: host.clone(), port: *port });
                }
                ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
                    seeds.tls = true;
                    seeds.nodes.push(Address { host: host.clone(), port: *port });
                }
                ConnectionAddr::TcpTls { .. } => problems.push(
                    "expected a Redis URL that checks the certificate, found one with #insecure; hint: give the authority's \
                     certificate instead"
                        .to_owned(),
                ),
                _ => problems.push("expected a Redis URL with host and port, found another kind".to_owned()),
            }
            if settings.db() != 0 {
                problems.push(format!("expected database 0, found {}; hint: use a prefix", settings.db()));
            }
            seeds.username = seeds.username.or_else(|| settings.username().map(ToOwned::to_owned));
            seeds.password = seeds.password.or_else(|| settings.password().map(|text| Zeroizing::new(text.to_owned())));
        }
        if self.username.is_some() {
            seeds.username.clone_from(&self.username);
        }
        if self.password.is_some() {
            seeds.password.clone_from(&self.password);
        }
        if self.urls.is_empty() {
            problems.push("expected at least one Redis URL, found none".to_owned());
        }
        if plain && seeds.tls {
            problems.push("expected all Redis URLs with TLS or none, found both".to_owned());
        }
        let prefix_fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.prefix.is_empty() || self.prefix.len() > 16 || !self.prefix.bytes().all(prefix_fits) {
            problems.push("expected a key prefix of 1 to 16 letters, digits, - and _, found something else".to_owned());
        }
        if !(Duration::from_millis(20)..=Duration::from_secs(60)).contains(&self.timeout) {
            problems.push(format!("expected a timeout from 20 ms to 60 s, found {:?}", self.timeout));
        }
        if problems.is_empty() { Ok(seeds) } else { Err(problems) }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("urls", &self.urls.len())
            .field("cluster", &self.cluster)
            .field("min_replicas", &self.min_replicas)
            .field("timeout", &self.timeout)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What the URLs say.
pub(crate) struct Seeds {
    pub(crate) nodes: Vec<Address>,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
