//! Whom the client trusts, and what it says who it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use token_remote::{ClientOptions, RemoteError};
use token_testkit::Certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::{client, impatient, patient, url};

/// A TLS server with the leaf certificate, on a free port of `host`; `mutual` asks clients for one of the same CA.
async fn serve(certificates: &Certificates, host: &str, mutual: bool) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_slice_iter(&certificates.read("leaf.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&certificates.read("leaf.key")).unwrap();
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&certificates.read("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 1_024];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

fn trusting(certificates: &Certificates) -> ClientOptions {
    ClientOptions { ca_pem: Some(certificates.read("ca.pem")), ..patient() }
}

#[tokio::test]
async fn a_configured_ca_is_trusted_beside_the_embedded_roots_and_no_other() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(others) = Certificates::make() else { return };
    let address = serve(&certificates, "127.0.0.1", false).await;
    let target = url(&format!("https://{address}/"));
    assert_eq!(&client(&trusting(&certificates)).get(&target, &[]).await.unwrap().body[..], b"ok");
    for options in [patient(), trusting(&others)] {
        let error = client(&options).get(&target, &[]).await.unwrap_err();
        assert!(matches!(&error, RemoteError::Connect { detail, .. } if detail.contains("certificate")), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let Some(certificates) = Certificates::make() else { return };
    let address = serve(&certificates, "127.0.0.2", false).await;
    let error = client(&trusting(&certificates)).get(&url(&format!("https://{address}/")), &[]).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Connect { detail, .. } if detail.contains("not valid for name")), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_who_calls_is_answered_with_the_identity() {
    let Some(certificates) = Certificates::make() else { return };
    let address = serve(&certificates, "127.0.0.1", true).await;
    let target = url(&format!("https://{address}/"));
    let pem = [certificates.read("leaf.pem"), certificates.read("leaf.key")].concat();
    let known = ClientOptions { identity_pem: Some(Zeroizing::new(pem)), ..trusting(&certificates) };
    assert_eq!(&client(&known).get(&target, &[]).await.unwrap().body[..], b"ok");
    let error = client(&trusting(&certificates)).get(&target, &[]).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert!(!format!("{known:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn a_server_without_tls_or_without_a_handshake_is_no_connection() {
    let plain = token_testkit::RemoteStub::start(|_| token_testkit::StubAnswer::status(200));
    let target = url(&plain.url().replace("http:", "https:"));
    let error = client(&patient()).get(&target, &[]).await.unwrap_err();
    assert!(matches!(error, RemoteError::Connect { .. } | RemoteError::Interrupted { .. }), "{error}");

    // It takes the connection and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = url(&format!("https://{}/", silent.local_addr().unwrap()));
    let start = Instant::now();
    let error = client(&ClientOptions { total: Duration::from_secs(20), ..impatient() }).get(&target, &[]).await;
    let error = error.unwrap_err();
    assert!(matches!(&error, RemoteError::Connect { detail, .. } if detail == "timed out"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "bounded by the connect time, not by the total");
}
