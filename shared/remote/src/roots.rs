//! Whom TLS trusts, and who this process says it is.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::ClientOptions;
use crate::error::RemoteError;

/// TLS 1.2 and 1.3 by aws-lc. Trusted are Mozilla's roots, compiled in, and the configured CA certificates beside them; the
/// machine's own store is not read, so that a container without one and a laptop with a company's proxy in it behave alike.
pub(crate) fn tls(options: &ClientOptions) -> Result<ClientConfig, RemoteError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    for certificate in options.ca_pem.as_deref().map(ca_certificates).transpose()?.into_iter().flatten() {
        roots
            .add(certificate)
            .map_err(|error| refused("ca_pem", &format!("a certificate that is unusable ({error})")))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| RemoteError::Options { option: "tls", detail: error.to_string() })?
        .with_root_certificates(roots);
    let mut config = match options.identity_pem.as_deref() {
        None => config.with_no_client_auth(),
        Some(pem) => {
            let (chain, key) = identity(pem)?;
            // Its error names what does not fit, never the key.
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| refused("identity_pem", &format!("what does not fit together ({error})")))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn ca_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RemoteError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| refused("ca_pem", "broken PEM"))?;
    if certificates.is_empty() {
        return Err(refused("ca_pem", "no certificate"));
    }
    Ok(certificates)
}

fn identity(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), RemoteError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| refused("identity_pem", "broken PEM"))?;
    if chain.is_empty() {
        return Err(refused("identity_pem", "no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| refused("identity_pem", "no private key"))?;
    Ok((chain, key))
}

fn refused(option: &'static str, found: &str) -> RemoteError {
    let expected = match option {
        "ca_pem" => "PEM with CA certificates",
        _ => "PEM with a certificate chain and its unencrypted private key",
    };
    RemoteError::Options { option, detail: format!("expected {expected}, found {found}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    /// A root that cannot be parsed is skipped silently when the store is filled: none of them may be.
    #[test]
    fn every_embedded_root_is_usable() {
        let mut roots = RootCertStore::empty();
        let (usable, ignored) =
            roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        assert!(usable > 50 && ignored == 0, "{usable} usable, {ignored} ignored");
    }

    #[test]
    fn what_is_no_certificate_is_refused_now_and_not_echoed() {
        for (content, found) in [
            ("", "no certificate"),
            ("plain text: hunter2", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "unusable"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "broken PEM"),
        ] {
            let options = ClientOptions { ca_pem: Some(content.into()), ..ClientOptions::default() };
            let error = tls(&options).unwrap_err().to_string();
            assert!(error.contains(found) && !error.contains("hunter2"), "{content}: {error}");
            let options =
                ClientOptions { identity_pem: Some(Zeroizing::new(content.into())), ..ClientOptions::default() };
            let error = tls(&options).unwrap_err().to_string();
            assert!(error.starts_with("identity_pem: expected") && !error.contains("hunter2"), "{content}: {error}");
        }
    }
}
