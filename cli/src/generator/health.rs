//! `GET /healthz`: whether the token on disk is valid now. Just enough HTTP/1.1 for a probe; one request a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::issuer::Issuer;

/// From the first byte to the last of a probe, and for the disk to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A probe's head has a few hundred bytes.
const MOST_HEAD_BYTES: usize = 4096;
/// Probes at the same time; more wait for their turn.
const MOST_CONNECTIONS: usize = 16;

/// A bound health address.
pub(crate) struct Health(TcpListener);

impl Health {
    /// Binds the address.
    ///
    /// # Errors
    /// The system's answer.
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// The address, with the port that was chosen for port 0.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers for ever.
    pub(crate) async fn serve(self, issuer: Arc<Issuer>) {
        let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            match self.0.accept().await {
                Ok((connection, _)) => {
                    let issuer = Arc::clone(&issuer);
                    tokio::spawn(async move {
                        // A probe that dawdles is dropped without an answer.
                        let _ = tokio::time::timeout(2 * PATIENCE, answer(connection, &issuer)).await;
                        drop(seat);
                    });
                }
                // Out of descriptors, or the peer has gone: a pause instead of a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn answer(mut connection: TcpStream, issuer: &Arc<Issuer>) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    loop {
        if head.len() > MOST_HEAD_BYTES {
            return reply(&mut connection, "431 Request Header Fields Too Large", "", "", true).await;
        }
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
        if tokio::time::timeout(PATIENCE, connection.read_buf(&mut head)).await?? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let path = target.map(|target| target.split('?').next().unwrap_or_default());
    let body = method != Some("HEAD");
    match (method, path, version) {
        (Some("GET" | "HEAD"), Some("/healthz"), Some("HTTP/1.1" | "HTTP/1.0")) => match verdict(issuer).await {
            Ok(()) => reply(&mut connection, "200 OK", "", "the token on disk is valid\n", body).await,
            Err(found) => {
                let text = format!("expected a valid token on disk, found {found}\n");
                reply(&mut connection, "503 Service Unavailable", "Retry-After: 1\r\n", &text, body).await
            }
        },
        (Some(_), Some("/healthz"), Some("HTTP/1.1" | "HTTP/1.0")) => {
            reply(&mut connection, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", "", true).await
        }
        (Some(_), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) if path.starts_with('/') => {
            reply(&mut connection, "404 Not Found", "", "expected /healthz\n", body).await
        }
        _ => reply(&mut connection, "400 Bad Request", "", "", true).await,
    }
}

/// The disk may hang: then the answer is no.
async fn verdict(issuer: &Arc<Issuer>) -> Result<(), &'static str> {
    let issuer = Arc::clone(issuer);
    let check = tokio::task::spawn_blocking(move || issuer.valid_until().map(drop));
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Err("that it could not be checked"),
        Err(_) => Err("a disk that does not answer"),
    }
}

async fn reply(to: &mut TcpStream, status: &str, extra: &str, text: &str, body: bool) -> std::io::Result<()> {
    let length = text.len();
    let shown = if body { text } else { "" };
    let whole = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{extra}Connection: close\r\n\r\n{shown}"
    );
    to.write_all(whole.as_bytes()).await?;
    to.shutdown().await
}
