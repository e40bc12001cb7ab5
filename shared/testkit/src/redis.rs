//! Redis: real servers on free ports, alone, with replicas, as a cluster, and with TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

/// How long a server may take to answer after its start.
const START: Duration = Duration::from_secs(20);

/// How long a cluster may take to agree, at start and after a fail-over.
const AGREE: Duration = Duration::from_secs(60);

/// A cluster's bus has the server's port + 10000.
const LAST_PORT: u16 = 55_535;

/// One Redis server that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    tls: Option<(u16, Certificates)>,
    arguments: Vec<String>,
    folder: TempDir,
}

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisReply {
    /// Nothing there.
    Nil,
    /// A number.
    Int(i64),
    /// A text, of whatever bytes.
    Text(Vec<u8>),
    /// Several answers.
    Array(Vec<RedisReply>),
    /// An error.
    Error(String),
}

impl RedisReply {
    /// The number that it is, or is the text of.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::Text(text) => std::str::from_utf8(text).expect("digits").parse().expect("a number"),
            other => panic!("expected a number of Redis, found {other:?}"),
        }
    }

    /// The text that it is.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("expected a text of Redis, found {other:?}"),
        }
    }

    /// The answers that it consists of.
    ///
    /// # Panics
    /// When it is one.
    #[must_use]
    pub fn array(&self) -> &[RedisReply] {
        match self {
            Self::Array(replies) => replies,
            other => panic!("expected an array of Redis, found {other:?}"),
        }
    }
}

impl Redis {
    /// Starts an empty server, or says that the test is skipped.
    ///
    /// # Panics
    /// When Redis is on this machine and does not answer in time.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// [`start`](Self::start) with more arguments (`--maxmemory-policy`, `allkeys-lru`, …).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::serve(arguments, None)
    }

    /// Starts one that speaks TLS on [`tls_port`](Self::tls_port), with a certificate of a CA of its own and without asking for
    /// the client's; and plain on [`port`](Self::port), for the test.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_tls() -> Option<Self> {
        Self::serve(&[], Some(Certificates::make()?))
    }

    /// Starts a replica of this server and waits until it follows.
    ///
    /// # Panics
    /// As [`start`](Self::start), or when it does not follow in time.
    #[must_use]
    pub fn replica(&self) -> Self {
        let master = self.port.to_string();
        let replica = Self::start_with(&["--replicaof", "127.0.0.1", &master]).expect("Redis is here");
        make_offset(self.port);
        wait_until("the replica to follow and to be counted", START, || {
            (replica.follows() && counts_its_replica(self.port)).then_some(())
        });
        replica
    }

    fn serve(arguments: &[&str], tls: Option<Certificates>) -> Option<Self> {
        let Some(program) = tool("redis-server") else {
            skipped("redis-server");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A port may be taken between asking and binding: then the server ends at once, and others are tried.
        for _ in 0..5 {
            let port = bus_port();
            let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let mut tls_port = 0;
            if let Some(tls) = &tls {
                tls_port = free_port();
                let file = |name: &str| tls.path(name).display().to_string();
                let port = tls_port.to_string();
                let (cert, key, ca) = (file("leaf.pem"), file("leaf.key"), file("ca.pem"));
                let options = [
                    ("--tls-port", port),
                    ("--tls-cert-file", cert),
                    ("--tls-key-file", key),
                    ("--tls-ca-cert-file", ca),
                    ("--tls-auth-clients", "no".to_owned()),
                ];
                all.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
            }
            let mut process = launch(&program, port, &all, folder.path());
            if up(&mut process, port) {
                let tls = tls.map(|certificates| (tls_port, certificates));
                return Some(Self { process, port, tls, arguments: all, folder });
            }
            eprintln!("{}", process.output());
        }
        panic!("redis-server ended five times instead of answering");
    }

    /// Its port, without TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port with TLS, and the certificates that it uses.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn tls_port(&self) -> (u16, &Certificates) {
        let (port, certificates) = self.tls.as_ref().expect("started with TLS");
        (*port, certificates)
    }

    /// Asks it something, on a connection of its own.
    ///
    /// # Panics
    /// When it does not answer within 5 s.
    pub fn command(&self, words: &[&str]) -> RedisReply {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.command_bytes(&words)
    }

    /// [`command`](Self::command) with words of whatever bytes.
    ///
    /// # Panics
    /// As [`command`](Self::command).
    pub fn command_bytes(&self, words: &[&[u8]]) -> RedisReply {
        ask(self.port, words).unwrap_or_else(|error| panic!("Redis on port {} does not answer: {error}", self.port))
    }

    /// One value of `INFO`.
    ///
    /// # Panics
    /// When it does not answer, or has no such value.
    #[must_use]
    pub fn info(&self, name: &str) -> String {
        let text = self.command(&["INFO", "everything"]).text();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no {name} in INFO")).to_owned()
    }

    fn follows(&self) -> bool {
        let reply = ask(self.port, &[b"INFO", b"replication"]);
        reply.is_ok_and(|reply| matches!(reply, RedisReply::Text(_)) && reply.text().contains("master_link_status:up"))
    }

    /// Stops it where it stands: it accepts connections and never answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it, and starts it again on the same port: empty.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self) {
        self.process.kill();
        let program = tool("redis-server").expect("it was there");
        let port = self.port;
        wait_until("the port of Redis to be free again", START, || {
            if TcpListener::bind(("127.0.0.1", port)).is_err() {
                return None;
            }
            self.process = launch(&program, port, &self.arguments, self.folder.path());
            up(&mut self.process, port).then_some(())
        });
    }
}

/// A cluster of three masters with a replica each.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts one, or says that the test is skipped.
    ///
    /// # Panics
    /// When Redis is on this machine and the servers do not agree in time.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(cli) = tool("redis-cli") else {
            skipped("redis-cli");
            return None;
        };
        let arguments =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"];
        let nodes: Option<Vec<_>> = (0..6).map(|_| Redis::start_with(&arguments)).collect();
        let cluster = Self { nodes: nodes? };
        let mut create = Command::new(cli);
        create.args(["--cluster", "create"]);
        create.args(cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let mut create = Process::start("redis-cli --cluster create", create);
        let status = create.wait(AGREE);
        assert!(status.success(), "{}", create.output());
        cluster.nodes.iter().for_each(|node| make_offset(node.port));
        cluster.wait_healthy();
        Some(cluster)
    }

    /// The servers, masters and replicas.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The URLs of all servers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Which of the [`nodes`](Self::nodes) is the master of `key`'s slot now.
    ///
    /// # Panics
    /// When none is known to be.
    #[must_use]
    pub fn master_of(&self, key: &str) -> usize {
        let slot = self.any().command(&["CLUSTER", "KEYSLOT", key]).int();
        let slots = self.any().command(&["CLUSTER", "SLOTS"]);
        let port = slots.array().iter().find_map(|range| match range.array() {
            [first, last, master, ..] if (first.int()..=last.int()).contains(&slot) => Some(master.array()[1].int()),
            _ => None,
        });
        let index = self.nodes.iter().position(|node| Some(i64::from(node.port)) == port);
        index.expect("a server of the cluster has the slot")
    }

    /// Which of the [`nodes`](Self::nodes) follows the master `index`.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn replica_of(&self, index: usize) -> usize {
        let master = format!("master_port:{}\r", self.nodes[index].port);
        let follows = |node: &Redis| node.command(&["INFO", "replication"]).text().contains(&master);
        self.nodes.iter().position(follows).expect("a replica of that master")
    }

    /// Ends a server at once (SIGKILL).
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Starts a server again. It is empty, and knows its cluster.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self, index: usize) {
        self.nodes[index].restart();
    }

    /// Stops a server where it stands.
    pub fn pause(&self, index: usize) {
        self.nodes[index].pause();
    }

    /// Lets it go on.
    pub fn resume(&self, index: usize) {
        self.nodes[index].resume();
    }

    /// Waits until every server says that the cluster is well, there are three masters, and every replica follows its master.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub fn wait_healthy(&self) {
        wait_until("the cluster to be well, with every replica following", AGREE, || {
            let well = self.nodes.iter().all(|node| {
                let state = ask(node.port, &[b"CLUSTER", b"INFO"]);
                let agreed = state.is_ok_and(|state| {
                    matches!(state, RedisReply::Text(_))
                        && state.text().contains("cluster_state:ok")
                        && state.text().contains("cluster_known_nodes:6")
                        && state.text().contains("cluster_size:3")
                });
                agreed && (node.follows() || counts_its_replica(node.port))
            });
            well.then_some(())
        });
    }

    /// A server that answers.
    fn any(&self) -> &Redis {
        self.nodes.iter().find(|node| ask(node.port, &[b"PING"]).is_ok()).expect("a server of the cluster answers")
    }
}

fn bus_port() -> u16 {
    wait_until("a free port with a free bus port", START, || {
        let port = free_port();
        (port < LAST_PORT && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok()).then_some(port)
    })
}

fn launch(program: &Path, port: u16, arguments: &[String], folder: &Path) -> Process {
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--daemonize", "no", "--repl-diskless-sync-delay", "0", "--dir"]).arg(folder);
    command.args(arguments);
    Process::start("redis-server", command)
}

/// Whether the server answers; `false` when it has ended instead.
fn up(process: &mut Process, port: u16) -> bool {
    wait_until("redis-server to answer", START, || match process.ended() {
        Some(_) => Some(false),
        None => ask(port, &[b"PING"]).is_ok_and(|reply| reply == RedisReply::Text(b"PONG".to_vec())).then_some(true),
    })
}

/// One write of no consequence and without a key, so that the offset that replicas acknowledge is not 0. A replica refuses it.
fn make_offset(port: u16) {
    let library = b"#!lua name=testkit\nredis.register_function('testkit', function() return 1 end)";
    let _ = ask(port, &[b"FUNCTION", b"LOAD", b"REPLACE", library]);
}

/// Whether a master's replica has acknowledged something. It shows as online up to a second earlier, and `WAIT` does not count
/// it until then.
fn counts_its_replica(port: u16) -> bool {
    ask(port, &[b"INFO", b"replication"]).is_ok_and(|reply| {
        matches!(reply, RedisReply::Text(_))
            && reply.text().contains("role:master")
            && reply.text().lines().any(|line| line.contains("state=online") && !line.contains("offset=0,"))
    })
}

fn ask(port: u16, words: &[&[u8]]) -> std::io::Result<RedisReply> {
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request)?;
    reply(&mut BufReader::new(stream))
}

fn reply(stream: &mut BufReader<TcpStream>) -> std::io::Result<RedisReply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let nonsense = || std::io::Error::other(format!("no answer of Redis: {line:?}"));
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(nonsense)?;
    let number = || rest.parse::<i64>().map_err(|_| nonsense());
    Ok(match kind {
        "+" => RedisReply::Text(rest.as_bytes().to_vec()),
        "-" => RedisReply::Error(rest.to_owned()),
        ":" => RedisReply::Int(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => RedisReply::Nil,
            Ok(length) => {
                let mut text = vec![0; length + 2];
                stream.read_exact(&mut text)?;
                text.truncate(length);
                RedisReply::Text(text)
            }
        },
        "*" => match usize::try_from(number()?) {
            Err(_) => RedisReply::Nil,
            Ok(length) => RedisReply::Array((0..length).map(|_| reply(stream)).collect::<Result<_, _>>()?),
        },
        _ => return Err(nonsense()),
    })
}
