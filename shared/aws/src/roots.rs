//! Whom TLS trusts: one embedded set of roots, or the operator's bundle instead.

use std::fmt;

use aws_smithy_http_client::tls::TrustStore;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::names::quoted;

/// Trust anchors for AWS endpoints.
#[derive(Clone)]
pub(crate) enum TrustRoots {
    /// Mozilla's set, compiled in: a cold start opens no file under the system's certificate folder.
    Embedded,
    /// The certificates of `AWS_CA_BUNDLE`, and no others.
    Bundle(Vec<CertificateDer<'static>>),
}

impl TrustRoots {
    /// Reads a PEM bundle. Each certificate is parsed here, because the HTTP client panics on one that it cannot use.
    pub(crate) fn from_bundle(path: &str) -> Result<Self, String> {
        let refuse = |found: String| {
            format!(
                "AWS_CA_BUNDLE: expected a PEM file of CA certificates at {}, found {found}; hint: unset it to use the embedded roots",
                quoted(path)
            )
        };
        let pem = std::fs::read(path).map_err(|error| refuse(error.kind().to_string()))?;
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| refuse("broken PEM".to_owned()))?;
        if certificates.is_empty() {
            return Err(refuse("no certificate".to_owned()));
        }
        for (index, certificate) in certificates.iter().enumerate() {
            webpki::anchor_from_trusted_cert(certificate)
                .map_err(|error| refuse(format!("certificate {} unusable ({error})", index + 1)))?;
        }
        Ok(Self::Bundle(certificates))
    }

    /// As the HTTP client takes it.
    pub(crate) fn trust_store(&self) -> TrustStore {
        let certificates = match self {
            Self::Embedded => webpki_root_certs::TLS_SERVER_ROOT_CERTS,
            Self::Bundle(certificates) => certificates.as_slice(),
        };
        let mut pem = String::with_capacity(certificates.iter().map(|der| der.len() * 4 / 3 + 64).sum());
        for certificate in certificates {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            STANDARD.encode_string(certificate, &mut pem);
            pem.push_str("\n-----END CERTIFICATE-----\n");
        }
        TrustStore::empty().with_pem_certificate(pem)
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::Bundle(certificates) => write!(f, "Bundle({})", certificates.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn bundle(content: &[u8]) -> Result<TrustRoots, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        TrustRoots::from_bundle(file.path().to_str().unwrap())
    }

    /// The HTTP client panics on a certificate that it cannot use: every embedded one must be usable, in the very form
    /// in which it is handed over.
    #[test]
    fn every_embedded_root_is_usable() {
        let mut usable = 0;
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            webpki::anchor_from_trusted_cert(root).unwrap();
            usable += 1;
        }
        assert!(usable > 50, "{usable}");
    }

    #[test]
    fn a_bundle_replaces_the_embedded_roots() {
        let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(root));
        let roots = bundle(pem.as_bytes()).unwrap();
        assert_eq!(format!("{roots:?}"), "Bundle(1)");
    }

    #[test]
    fn a_bundle_that_would_panic_later_is_refused_now() {
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, found) in [
            ("", "no certificate"),
            ("plain text", "no certificate"),
            (no_certificate, "certificate 1 unusable"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "broken PEM"),
        ] {
            let problem = bundle(content.as_bytes()).unwrap_err();
            assert!(problem.contains(found), "{content}: {problem}");
        }
    }
}
