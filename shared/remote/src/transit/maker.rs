//! New keys in Transit.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use token_issuance::SourceError;
use token_issuance::rotation::KeyMaker;
use token_jose::{Algorithm, KeyVersion, PrivateLocation};

use super::api::{Fault, FaultKind};
use super::versions::Metadata;
use super::{TransitKeys, TransitNameError, is_name, source_name};
use crate::text::quoted;

/// Makes signing keys in Transit: one key per algorithm, `PREFIX-es256`, whose every new version is a new key of the ring.
///
/// A run that stops between making a version and storing the ring leaves a version that no ring names: it never signs here.
#[derive(Debug)]
pub struct TransitKeyMaker {
    keys: Arc<TransitKeys>,
    prefix: String,
    rsa_bits: u16,
}

impl TransitKeyMaker {
    /// Makes keys whose names begin with `prefix`, RSA with 2048 bits.
    ///
    /// # Errors
    /// [`TransitNameError`] for a prefix that no name can have.
    pub fn new(keys: Arc<TransitKeys>, prefix: &str) -> Result<Self, TransitNameError> {
        if !is_name(prefix) || prefix.len() > 120 {
            return Err(TransitNameError { what: "prefix", slashes: "", found: quoted(prefix) });
        }
        Ok(Self { keys, prefix: prefix.to_owned(), rsa_bits: 2048 })
    }

    /// The same with larger RSA keys: 3072 or 4096 bits; another number counts as the next of these.
    #[must_use]
    pub fn with_rsa_bits(self, bits: u16) -> Self {
        let rsa_bits = match bits {
            ..=2048 => 2048,
            2049..=3072 => 3072,
            _ => 4096,
        };
        Self { rsa_bits, ..self }
    }

    /// The name of the Transit key of `algorithm`.
    #[must_use]
    pub fn key_name(&self, algorithm: Algorithm) -> String {
        format!("{}-{}", self.prefix, algorithm.name().to_ascii_lowercase())
    }

    async fn make(&self, name: &str, algorithm: Algorithm) -> Result<KeyVersion, Fault> {
        let transit = &self.keys.transit;
        let path = transit.path("keys", name)?;
        let version = match transit.metadata(name).await {
            Ok(_) => {
                let answer = transit.api.write(&format!("{path}/rotate"), &json!({})).await?;
                // Older servers answer with nothing, and then the newest version is it.
                match answer.get("latest_version").and_then(Value::as_u64) {
                    Some(version) => version,
                    None => transit.metadata(name).await?.latest(),
                }
            }
            Err(fault) if fault.kind == FaultKind::NotFound => {
                let key_type = match algorithm {
                    Algorithm::Rs256 | Algorithm::Ps256 => format!("rsa-{}", self.rsa_bits),
                    Algorithm::Es256 => "ecdsa-p256".to_owned(),
                    Algorithm::Es384 => "ecdsa-p384".to_owned(),
                    Algorithm::EdDsa => "ed25519".to_owned(),
                };
                let body = json!({"type": key_type, "exportable": false, "allow_plaintext_backup": false});
                transit.api.write(&path, &body).await?;
                Metadata::latest(&transit.metadata(name).await?)
            }
            Err(fault) => return Err(fault),
        };
        let signer = self.keys.open(name, version, algorithm, None).await?;
        let location = PrivateLocation::Transit { key: name.to_owned(), version };
        Ok(KeyVersion::remote_standby(location, Arc::new(signer)))
    }
}

#[async_trait]
impl KeyMaker for TransitKeyMaker {
    /// A new version of the algorithm's key, which is made first where there is none.
    async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError> {
        let name = self.key_name(algorithm);
        self.make(&name, algorithm).await.map_err(|fault| fault.into_source_error(source_name(&name)))
    }

    /// Always an error for a key in Transit: it retires versions from the oldest on, so that disabling one would also disable
    /// an older one that may have to sign. The text says what to run once it no longer does.
    async fn disable(&self, key: &KeyVersion) -> Result<(), SourceError> {
        let PrivateLocation::Transit { key: name, version } = key.location() else { return Ok(()) };
        Err(SourceError::Malformed {
            source_name: source_name(name),
            detail: format!(
                "expected a version that can be disabled alone, found version {version} of a transit key; hint: when no version up to {version} signs any more, set min_encryption_version to {} at {}/keys/{name}/config",
                version.saturating_add(1),
                self.keys.transit.mount
            ),
        })
    }
}
