//! TLS: client certificates, protocols, and certificates that change under way.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get as on_get;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use token_server::{ClientCertificates, Limits, Listen, Peer, PeerIdentity, ServeError, Shutdown, Tls};
use token_testkit::{Certificates, Reply, skipped, tool, wait_for};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::kit::{PATIENCE, Running, get, serve_with, to_end};

/// A server certificate and a CA, as [`Certificates`], and certificates for clients.
struct Pki(Certificates);

impl Pki {
    fn make() -> Option<Self> {
        if tool("openssl").is_none() {
            skipped("openssl");
            return None;
        }
        let pki = Self(Certificates::make()?);
        pki.leaf("client", "DNS:worker.example.com,URI:spiffe://example.com/worker");
        Some(pki)
    }

    /// `NAME.pem` and `NAME.key`, of this CA.
    fn leaf(&self, name: &str, alternatives: &str) {
        std::fs::write(self.0.path("extensions"), format!("subjectAltName={alternatives}\n")).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -out {name}.csr -subj /CN=admin"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let folder = self.0.path("ca.pem");
        let output = Command::new(tool("openssl").unwrap())
            .args(arguments.split(' '))
            .current_dir(folder.parent().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn server(&self, clients: ClientCertificates) -> Tls {
        let tls = Tls::new(self.path("leaf.pem"), self.path("leaf.key"));
        Tls { clients, reload: Duration::from_millis(50), ..tls }
    }

    async fn connect(&self, kit: &Running, client: Option<&str>, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(&self.path("ca.pem"))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![certificate(&self.path(&format!("{name}.pem")))], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(kit.addr).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
    }

    /// The answer's text, or `None` where the connection is refused (with TLS 1.3 a client learns of it only now).
    async fn ask(&self, kit: &Running, client: Option<&str>) -> Option<String> {
        let mut stream = self.connect(kit, client, b"http/1.1").await.ok()?;
        stream.write_all(get("/").as_bytes()).await.ok()?;
        let raw = to_end(&mut stream).await;
        (!raw.is_empty()).then(|| Reply::parse(&raw).text())
    }
}

fn certificate(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn router() -> Router {
    Router::new().route(
        "/",
        on_get(|request: Request| async move {
            assert!(request.extensions().get::<Peer>().is_some_and(|peer| peer.tls));
            request.extensions().get::<PeerIdentity>().map_or("nobody".to_owned(), |identity| {
                format!("{:?} {:?} {}", identity.dns_names(), identity.uris(), identity.sha256()[0])
            })
        }),
    )
}

async fn serve(tls: Tls) -> Running {
    serve_with(
        Limits { header_timeout: Duration::from_secs(1), ..Limits::default() },
        Some(tls),
        Shutdown::default(),
        router(),
    )
    .await
}

#[tokio::test]
async fn an_optional_client_certificate_makes_an_identity_and_a_foreign_one_ends_the_handshake() {
    let Some(pki) = Pki::make() else { return };
    let kit = serve(pki.server(ClientCertificates::Optional(pki.path("ca.pem")))).await;
    assert_eq!(pki.ask(&kit, None).await.as_deref(), Some("nobody"));
    let first = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate(&pki.path("client.pem")));
    let expected = format!("[\"worker.example.com\"] [\"spiffe://example.com/worker\"] {}", first.as_ref()[0]);
    assert_eq!(pki.ask(&kit, Some("client")).await, Some(expected));

    let other = Pki::make().unwrap();
    std::fs::copy(other.path("client.pem"), pki.path("foreign.pem")).unwrap();
    std::fs::copy(other.path("client.key"), pki.path("foreign.key")).unwrap();
    assert_eq!(pki.ask(&kit, Some("foreign")).await, None);
}

#[tokio::test]
async fn a_required_client_certificate_is_required() {
    let Some(pki) = Pki::make() else { return };
    let kit = serve(pki.server(ClientCertificates::Required(pki.path("ca.pem")))).await;
    assert_eq!(pki.ask(&kit, None).await, None);
    assert!(pki.ask(&kit, Some("client")).await.is_some());
}

#[tokio::test]
async fn both_protocols_are_spoken_and_a_silent_handshake_ends() {
    let Some(pki) = Pki::make() else { return };
    let kit = serve(pki.server(ClientCertificates::Ignored)).await;
    let stream = pki.connect(&kit, None, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(pki.ask(&kit, None).await.as_deref(), Some("nobody"));
    assert!(pki.connect(&kit, None, b"ftp").await.is_err());
    // Plain HTTP at a TLS port, and nothing at all.
    let mut plain = kit.connect().await;
    plain.write_all(get("/").as_bytes()).await.unwrap();
    assert!(!String::from_utf8_lossy(&to_end(&mut plain).await).contains("HTTP"));
    let mut silent = kit.connect().await;
    to_end(&mut silent).await;
}

#[tokio::test]
async fn a_changed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let Some(pki) = Pki::make() else { return };
    let kit = serve(pki.server(ClientCertificates::Ignored)).await;
    let shown = async || {
        let stream = pki.connect(&kit, None, b"http/1.1").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_eq!(shown().await, certificate(&pki.path("leaf.pem")));
    // First the certificate alone, as a careless deployment does it: it is not of the key, and the former one stays.
    pki.leaf("next", "IP:127.0.0.1");
    let former = shown().await;
    std::fs::copy(pki.path("next.pem"), pki.path("leaf.pem")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shown().await, former);
    std::fs::copy(pki.path("next.key"), pki.path("leaf.key")).unwrap();
    let next = certificate(&pki.path("next.pem"));
    wait_for("the new certificate", PATIENCE, async || (shown().await == next).then_some(())).await;
    std::fs::write(pki.path("leaf.pem"), "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shown().await, next);
}

#[tokio::test]
async fn a_certificate_that_does_not_do_is_a_reason_not_to_start() {
    let Some(pki) = Pki::make() else { return };
    let bind = async |tls: Tls| {
        let listen = Listen { addr: ([127, 0, 0, 1], 0).into(), tls: Some(tls) };
        token_server::Bound::bind(&listen).await.unwrap_err().to_string()
    };
    let missing = bind(Tls::new(pki.path("none.pem"), pki.path("leaf.key"))).await;
    assert!(missing.contains("none.pem: expected a PEM file that this process may read, found: "), "{missing}");
    let other_key = bind(Tls::new(pki.path("leaf.pem"), pki.path("client.key"))).await;
    assert!(other_key.contains("expected a certificate chain of the key in key_file"), "{other_key}");
    let no_key = bind(Tls::new(pki.path("leaf.pem"), pki.path("leaf.pem"))).await;
    assert!(no_key.contains("expected one private key in PEM"), "{no_key}");
    let no_ca =
        Tls { clients: ClientCertificates::Required(pki.path("leaf.key")), ..pki.server(ClientCertificates::Ignored) };
    let no_ca = bind(no_ca).await;
    assert!(no_ca.contains("expected certificates in PEM, found: none"), "{no_ca}");
    let _: fn(ServeError) -> String = |error| error.to_string();
}
