//! A server in this process, and a client that does what it is told and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use token_server::{Bound, Limits, Listen, Metrics, ServeError, Server, Shutdown, Tls};
use token_testkit::{Reply, at};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Far longer than anything here takes, so that a hang is a failure and a busy machine is not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) server: Server,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

pub(crate) async fn serve(limits: Limits, router: Router) -> Running {
    serve_with(limits, None, Shutdown::default(), router).await
}

pub(crate) async fn serve_with(limits: Limits, tls: Option<Tls>, shutdown: Shutdown, router: Router) -> Running {
    let metrics = Metrics::new(at("2026-11-22T00:00:00Z"));
    let server = Server::new(limits, shutdown.clone(), &metrics);
    let listen = Listen { addr: SocketAddr::from(([127, 0, 0, 1], 0)), tls };
    let bound = Bound::bind(&listen).await.unwrap();
    let addr = bound.local_addr();
    let serving = server.clone();
    let task = tokio::spawn(async move { bound.serve(router, &serving).await });
    Running { addr, shutdown, metrics, server, task }
}

impl Running {
    pub(crate) async fn send(&self, request: &str) -> Reply {
        let mut client = self.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        Reply::parse(&to_end(&mut client).await)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    pub(crate) fn shows(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|found| found == line)
    }
}

/// A GET that closes its connection.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: kit\r\nConnection: close\r\n\r\n")
}

/// What comes until the server closes, or resets, the connection.
pub(crate) async fn to_end(client: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(read @ 1..) = client.read(&mut buffer).await {
            all.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the server ends the connection");
    all
}

/// What comes until `mark` has come.
pub(crate) async fn until(client: &mut (impl tokio::io::AsyncRead + Unpin), mark: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        loop {
            let read = client.read(&mut buffer).await.unwrap();
            all.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&all).into_owned();
            if text.contains(mark) {
                return text;
            }
            assert!(read > 0, "the connection ended before {mark:?}: {text}");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("what is waited for comes")
}
