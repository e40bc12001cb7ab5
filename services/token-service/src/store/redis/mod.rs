//! The store of several replicas: Redis 7, single, cluster or with TLS. One Lua script is one decision.
//!
//! Time: the server's (`TIME`) judges all windows and expiries, so replicas whose clocks differ agree.
//!
//! Repeating: an answer may be lost after the script has run, so a call is repeated (at most [`ATTEMPTS`] times, within the
//! timeout) only because each is made to be harmless when it runs twice. `open`, `renew` and the commit of a refresh recognise
//! their own proposal; `first_use` its own call; `standing`, `load`, `due` and revocations of tokens and families come to the
//! same; `check` may count a use twice, a user's revocation count twice, and a re-answer be counted twice: each on the safe
//! side.
//!
//! Confirmed: with `min_replicas` > 0 every call that must not be lost is followed by `WAIT` on the connection that wrote.

mod node;
mod options;
mod script;
mod store;
mod topology;

use std::fmt;
use std::sync::Arc;

use redis::{Pipeline, Value};
use token_shell::IdSource;
use tokio::time::{Duration, Instant};

use self::node::{Connector, Failure, Node, server_failure};
pub use self::options::RedisOptions;
use self::script::{Scripts, Source};
use self::topology::{Topology, slot};
use super::port::StoreError;

/// How often a call is tried at most.
const ATTEMPTS: u32 = 4;

/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(20);

/// The store on Redis: all three ports.
pub struct RedisStore {
    ids: Arc<dyn IdSource>,
    topology: Topology,
    scripts: Scripts,
    prefix: String,
    min_replicas: u32,
    timeout: Duration,
    /// How long a server may wait for its replicas, in milliseconds.
    wait_ms: u64,
    callers_clock: bool,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .field("min_replicas", &self.min_replicas)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The Redis store cannot be used as it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The options are wrong: all that is wrong with them, one per line.
    #[error("{}", .0.join("\n"))]
    Options(Vec<String>),
    /// The servers cannot be used (yet).
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One call: a script, the hash tag that its keys share, and what it needs.
struct Call<'a> {
    script: &'a Source,
    tag: &'a str,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
    /// Whether its writes must not be lost.
    durable: bool,
}

impl RedisStore {
    /// Connects to every master, and refuses servers on which our promises would not hold (`maxmemory-policy`). `ids` gives
    /// epochs and names of calls.
    ///
    /// # Errors
    /// [`RedisError::Options`] tells all that is wrong with the options; [`RedisError::Store`] that the servers do not answer
    /// or do not fit. A caller that wants to start without them uses [`lazy`](Self::lazy).
    pub async fn connect(options: &RedisOptions, ids: Arc<dyn IdSource>) -> Result<Self, RedisError> {
        let store = Self::lazy(options, ids)?;
        store.ready().await?;
        Ok(store)
    }

    /// A store that connects when it is first asked.
    ///
    /// # Errors
    /// [`RedisError::Options`].
    pub fn lazy(options: &RedisOptions, ids: Arc<dyn IdSource>) -> Result<Self, RedisError> {
        let seeds = options.checked().map_err(RedisError::Options)?;
        let connector = Arc::new(Connector::new(options, &seeds));
        let waits = options.min_replicas > 0;
        Ok(Self {
            ids,
            topology: Topology::new(connector, seeds.nodes, options.cluster, waits),
            scripts: Scripts::new(),
            prefix: options.prefix.clone(),
            min_replicas: options.min_replicas,
            timeout: options.timeout,
            wait_ms: u64::try_from(options.timeout.as_millis() / 4).unwrap_or(u64::MAX).max(1),
            callers_clock: false,
        })
    }

    /// Judges by the caller's `now` instead of the server's time: for tests of what takes hours.
    #[doc(hidden)]
    #[must_use]
    pub fn judging_by_callers_clock(mut self) -> Self {
        self.callers_clock = true;
        self
    }

    /// Whether every master answers and fits: for start and readiness. Bounded by the timeout.
    ///
    /// # Errors
    /// When one does not.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let check = async {
            let mut slot = Some(0);
            while let Some(first) = slot {
                let (node, version) = self.topology.master(first).await?;
                let mut pipeline = Pipeline::new();
                pipeline.cmd("PING");
                if let Err(failure) = node.send(false, &pipeline, 1).await {
                    self.topology.forget(version);
                    return Err(failure);
                }
                slot = self.topology.after(first);
            }
            Ok(())
        };
        match tokio::time::timeout(self.timeout, check).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(told(failure)),
            Err(_) => Err(StoreError::unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }

    /// Runs a call to its end, or to the end of its time.
    async fn run(&self, call: &Call<'_>) -> Result<Value, StoreError> {
        let deadline = Instant::now() + self.timeout;
        let mut why = None;
        match tokio::time::timeout_at(deadline, self.attempts(call, &mut why)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(why.map_or_else(|| StoreError::unavailable(format!("no answer within {:?}", self.timeout)), told))
            }
        }
    }

    async fn attempts(&self, call: &Call<'_>, why: &mut Option<Failure>) -> Result<Value, StoreError> {
        let slot = slot(call.tag.as_bytes());
        let mut redirected: Option<(Arc<Node>, bool)> = None;
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let (node, asking, version) = match redirected.take() {
                Some((node, asking)) => (node, asking, None),
                None => match self.topology.master(slot).await {
                    Ok((node, version)) => (node, false, Some(version)),
                    Err(failure @ Failure::Store(_)) => return Err(told(failure)),
                    Err(failure) => {
                        *why = Some(failure);
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                        continue;
                    }
                },
            };
            let failure = match self.once(&node, call, asking).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let stale = || {
                if let Some(version) = version {
                    self.topology.forget(version);
                }
            };
            match failure {
                Failure::Store(error) => return Err(error),
                Failure::Moved(to) => {
                    stale();
                    redirected = to.clone().map(|to| (self.topology.named(to), false));
                    *why = Some(Failure::Moved(to));
                }
                Failure::Ask(to) => {
                    redirected = to.clone().map(|to| (self.topology.named(to), true));
                    *why = Some(Failure::Ask(to));
                }
                failure => {
                    stale();
                    if matches!(failure, Failure::Busy(_)) {
                        // A master that became a replica stays one for this connection.
                        node.reset().await;
                    }
                    *why = Some(failure);
                    if attempt < ATTEMPTS {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                    }
                }
            }
        }
        Err(told(why.take().unwrap_or(Failure::NoScript)))
    }

    /// One attempt on one server, with the script's text if the server lacks it, and the wait for its replicas.
    async fn once(&self, node: &Node, call: &Call<'_>, asking: bool) -> Result<Value, Failure> {
        let waits = call.durable && self.min_replicas > 0;
        for whole in [false, true] {
            let mut pipeline = Pipeline::new();
            if asking {
                pipeline.cmd("ASKING");
            }
            call.script.call(&mut pipeline, whole, &call.keys, &call.args);
            if waits {
                pipeline.cmd("WAIT").arg(self.min_replicas).arg(self.wait_ms);
            }
            let count = 1 + usize::from(asking) + usize::from(waits);
            let mut values = node.send(waits, &pipeline, count).await?.into_iter().skip(usize::from(asking));
            let outcome = match values.next() {
                Some(Value::ServerError(error)) => match server_failure(node.address(), &error) {
                    Failure::NoScript if !whole => continue,
                    failure => return Err(failure),
                },
                Some(value) => value,
                None => return Err(Failure::Connection(format!("{} gave no answer", node.address()))),
            };
            if waits {
                self.confirmed(node, values.next().as_ref())?;
            }
            return Ok(outcome);
        }
        Err(Failure::NoScript)
    }

    fn confirmed(&self, node: &Node, waited: Option<&Value>) -> Result<(), Failure> {
        let found = match waited {
            Some(Value::Int(found)) => u32::try_from(*found).unwrap_or(0),
            Some(Value::ServerError(error)) => return Err(server_failure(node.address(), error)),
            _ => 0,
        };
        if found >= self.min_replicas {
            return Ok(());
        }
        Err(Failure::Store(StoreError::NotReplicated { wanted: self.min_replicas, found, retry_after_s: 2 }))
    }
}

/// What the caller is told of a failure.
fn told(failure: Failure) -> StoreError {
    match failure {
        Failure::Store(error) => error,
        Failure::Connection(detail) | Failure::Busy(detail) => StoreError::unavailable(detail),
        Failure::Moved(_) | Failure::Ask(_) => StoreError::unavailable("the cluster is moving its slots"),
        Failure::NoScript => StoreError::unavailable("the server forgets our scripts"),
    }
}
