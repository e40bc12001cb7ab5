//! Listeners: sockets, the accept loop, and how a listener ends.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::connection;
use crate::server::Server;
use crate::tls::{PeerIdentity, Reloading, Tls};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Plain where absent.
    pub tls: Option<Tls>,
}

impl Listen {
    /// Plain HTTP on `addr`.
    #[must_use]
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, tls: None }
    }
}

/// Why a service cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("expected to listen on {addr}, found: {source}; hint: another process may have the port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A certificate file does not do.
    #[error("{}: expected {expected}, found: {found}; hint: certificate, key and CA are PEM files", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A part of the process ended by itself.
    #[error("{name}: expected to run until the process is told to end, found: {found}")]
    Ended {
        /// Which one.
        name: &'static str,
        /// How.
        found: String,
    },
}

/// A socket that listens: the port is taken, and nothing is served yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Arc<Reloading>>,
}

/// Who is at the other end of a connection; in the extensions of each request, beside axum's `ConnectInfo<SocketAddr>` and
/// [`PeerIdentity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that the connection came from: a proxy's, where there is one.
    pub addr: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Bound {
    /// Takes the port and loads the certificates.
    ///
    /// # Errors
    /// [`ServeError::Bind`], [`ServeError::Certificate`].
    pub async fn bind(listen: &Listen) -> Result<Self, ServeError> {
        let tls = listen.tls.clone().map(Reloading::start).transpose()?.map(Arc::new);
        let failed = |source| ServeError::Bind { addr: listen.addr, source };
        let listener = TcpListener::bind(listen.addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr, tls })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `router` until the server's shutdown has drained it. HTTP/1.1 and HTTP/2 on one port; gRPC services are
    /// routers too (`tonic::service::Routes::into_axum_router`), so they get the same limits, the same drain and the same
    /// extensions.
    ///
    /// After [`Shutdown::closing`](crate::Shutdown::closing) no connection is taken, idle ones end, and those with a
    /// request end after its answer; at [`Shutdown::deadline`](crate::Shutdown::deadline) the rest is cut off.
    ///
    /// # Errors
    /// None today: trouble with one connection ends that connection, and trouble with accepting is waited out.
    pub async fn serve(self, router: axum::Router, server: &Server) -> Result<(), ServeError> {
        let (app, drained) = server.app(router);
        let shutdown = server.shutdown().clone();
        let reload = async {
            match &self.tls {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        };
        let accept = async {
            loop {
                // First the permit: above the cap, connections wait in the operating system's queue.
                let Some(permit) = server.connection_permit().await else { return };
                match self.listener.accept().await {
                    Ok((stream, addr)) => {
                        let config = self.tls.as_ref().map(|tls| tls.config());
                        tokio::spawn(connect(stream, addr, config, app.clone(), app.open(permit)));
                    }
                    Err(error) => {
                        // One peer's trouble is over at once; without file descriptors, a pause lets others end.
                        if !matches!(
                            error.kind(),
                            io::ErrorKind::ConnectionAborted
                                | io::ErrorKind::ConnectionReset
                                | io::ErrorKind::ConnectionRefused
                        ) {
                            tracing::warn!(%error, "no connection can be accepted; trying again");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.closing() => {}
            () = reload => {}
            () = accept => {}
        }
        drop((self.listener, app));
        drained.wait(&shutdown).await;
        Ok(())
    }
}

async fn connect(
    stream: TcpStream,
    addr: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    app: crate::server::App,
    open: crate::server::Open,
) {
    let limits = app.limits();
    connection::tune(&stream, limits.stall_timeout);
    let peer = Peer { addr, tls: tls.is_some() };
    let Some(config) = tls else {
        return connection::serve(stream, peer, None, false, app, open).await;
    };
    // A handshake takes place on the connection's own task and time: a slow one delays nobody.
    let handshake = tokio::time::timeout(limits.header_timeout, TlsAcceptor::from(config).accept(stream));
    let outcome = tokio::select! {
        outcome = handshake => outcome,
        () = app.closing() => return,
    };
    match outcome {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let h2 = session.alpn_protocol() == Some(b"h2");
            let leaf = session.peer_certificates().and_then(<[_]>::first);
            let identity = leaf.and_then(PeerIdentity::of);
            if leaf.is_some() && identity.is_none() {
                tracing::warn!(%addr, "a client certificate passed the handshake and cannot be read; not served");
                return;
            }
            connection::serve(stream, peer, identity, h2, app, open).await;
        }
        Ok(Err(error)) => tracing::debug!(%addr, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%addr, "a TLS handshake took too long"),
    }
}
