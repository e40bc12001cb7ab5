//! TLS for listeners: rustls with aws-lc, certificates from files that may change, and who the peer proved to be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::listen::ServeError;

/// A listener's certificate, and whose certificates it takes from its clients. All files are PEM and are read again every
/// `reload` seconds: what has changed and loads is used for new connections, what does not load is logged and the former
/// stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// The leaf's private key (PKCS#8, PKCS#1 or SEC 1).
    pub key_file: PathBuf,
    /// Where client certificates count, and from whom.
    pub clients: ClientCertificates,
    /// How often the files are looked at.
    pub reload: Duration,
}

/// Client certificates (mTLS).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    #[default]
    Ignored,
    /// Asked for; a client without one is served without a [`PeerIdentity`]. One that no CA of this file vouches for ends
    /// the handshake.
    Optional(PathBuf),
    /// A client without a certificate of a CA of this file is not served.
    Required(PathBuf),
}

impl Tls {
    /// Without client certificates, looking for changed files every ten seconds.
    #[must_use]
    pub fn new(cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        let (cert_file, key_file) = (cert_file.into(), key_file.into());
        Self { cert_file, key_file, clients: ClientCertificates::Ignored, reload: Duration::from_secs(10) }
    }

    fn read(&self) -> Result<Files, ServeError> {
        let client_ca = match &self.clients {
            ClientCertificates::Ignored => None,
            ClientCertificates::Optional(file) | ClientCertificates::Required(file) => Some(read(file)?),
        };
        Ok(Files { cert: read(&self.cert_file)?, key: read(&self.key_file)?.into(), client_ca })
    }

    fn load(&self, files: &Files) -> Result<ServerConfig, ServeError> {
        let wrong = |file: &Path, expected: &'static str, found: &dyn std::fmt::Display| ServeError::Certificate {
            file: file.to_owned(),
            expected,
            found: found.to_string(),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&self.cert_file, "TLS 1.2 and 1.3", &error))?;
        let builder = match (&self.clients, &files.client_ca) {
            (ClientCertificates::Optional(file) | ClientCertificates::Required(file), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file, pem)? {
                    roots.add(certificate).map_err(|error| wrong(file, "CA certificates", &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match self.clients {
                    ClientCertificates::Required(_) => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| wrong(file, "CA certificates", &error))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.cert_file, &files.cert)?;
        // A parser's message may hold what it has read: of a private key, only its kind of failure is told.
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| {
            wrong(&self.key_file, "one private key in PEM (PKCS#8, PKCS#1 or SEC 1)", &"none that can be read")
        })?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.cert_file, "a certificate chain of the key in key_file", &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[derive(PartialEq, Eq)]
struct Files {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

fn read(file: &Path) -> Result<Vec<u8>, ServeError> {
    std::fs::read(file).map_err(|error| ServeError::Certificate {
        file: file.to_owned(),
        expected: "a PEM file that this process may read",
        found: error.to_string(),
    })
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let wrong =
        |found: String| ServeError::Certificate { file: file.to_owned(), expected: "certificates in PEM", found };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("none".to_owned())) } else { Ok(found) }
}

/// The TLS configuration that new connections get.
pub(crate) struct Reloading {
    tls: Tls,
    current: RwLock<(Files, Arc<ServerConfig>)>,
}

impl std::fmt::Debug for Reloading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key that `current` holds.
        f.debug_struct("Reloading").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Reloading {
    pub(crate) fn start(tls: Tls) -> Result<Self, ServeError> {
        let files = tls.read()?;
        let config = tls.load(&files)?;
        Ok(Self { tls, current: RwLock::new((files, Arc::new(config))) })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Looks at the files for ever. A changed set that does not load is tried again at the next look: certificate and key
    /// are two files, and one may be new while the other is not yet.
    pub(crate) async fn watch(self: &Arc<Self>) {
        let mut complained = false;
        loop {
            tokio::time::sleep(self.tls.reload.max(Duration::from_millis(10))).await;
            // Files may lie on a network: reading them is no work for a thread that serves requests.
            let this = Arc::clone(self);
            let Ok(renewed) = tokio::task::spawn_blocking(move || this.renewed()).await else { continue };
            match renewed {
                Ok(true) => {
                    complained = false;
                    tracing::info!(file = %self.tls.cert_file.display(), "a new certificate is used from now on");
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(%error, "the changed certificate files do not load; the former certificate stays");
                }
                Ok(false) | Err(_) => {}
            }
        }
    }

    fn renewed(&self) -> Result<bool, ServeError> {
        let files = self.tls.read()?;
        if files == self.current.read().unwrap_or_else(PoisonError::into_inner).0 {
            return Ok(false);
        }
        let config = Arc::new(self.tls.load(&files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (files, config);
        Ok(true)
    }
}

/// Who the client proved to be with its certificate, which a CA of the listener vouches for. In the extensions of each
/// request of that connection; absent without a client certificate. Nothing a request says can make one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity(Arc<Identity>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    sha256: [u8; 32],
    dns_names: Vec<String>,
    uris: Vec<String>,
}

impl PeerIdentity {
    /// SHA-256 of the certificate (DER): `x5t#S256` of RFC 8705 before encoding. A renewed certificate has another.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.0.sha256
    }

    /// The DNS names of the subject alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// The URIs of the subject alternative names (a SPIFFE id is one).
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// What a verified certificate says. `None` when it cannot be read, which the handshake has excluded.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        Some(Self(Arc::new(Identity {
            sha256: digest.as_ref().try_into().ok()?,
            dns_names: parsed.valid_dns_names().map(str::to_owned).collect(),
            uris: parsed.valid_uri_names().map(str::to_owned).collect(),
        })))
    }
}
