//! A PEM file with one private key, read as a ring of one and as its published set.
//!
//! It is for installations that have nothing but a key file. Such a key cannot rotate without an outage: whoever replaces the
//! file replaces the published key at the same moment. A ring (`KEY_RING`) has none of that.

use std::path::PathBuf;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use token_issuance::{Document, DocumentSource, SourceError};
use token_jose::{Algorithm, LocalSigner};
use zeroize::Zeroizing;

/// What of the key a document shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// A key ring with the private half.
    Ring,
    /// The published set.
    Published,
}

/// One half of a PEM file.
#[derive(Debug)]
pub struct PemDocument {
    path: PathBuf,
    algorithm: Algorithm,
    half: Half,
    max_token_ttl_s: u64,
}

impl PemDocument {
    /// The `half` of the key in `path`, which signs with `algorithm` tokens of at most `max_token_ttl_s` seconds.
    #[must_use]
    pub fn new(path: PathBuf, algorithm: Algorithm, half: Half, max_token_ttl_s: u64) -> Self {
        Self { path, algorithm, half, max_token_ttl_s }
    }

    fn malformed(&self, detail: &dyn std::fmt::Display) -> SourceError {
        SourceError::Malformed { source_name: self.describe(), detail: detail.to_string() }
    }
}

#[async_trait]
impl DocumentSource for PemDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SourceError::NotFound { source_name: self.describe(), detail: error.to_string() });
            }
            Err(error) => return Err(self.malformed(&error)),
        };
        let signer = LocalSigner::from_pem(self.algorithm, &text).map_err(|error| self.malformed(&error))?;
        let public = signer.public_key().to_jwk();
        let kid = signer.public_key().kid().to_string();
        let content = match self.half {
            Half::Published => Zeroizing::new(json!({ "keys": [public] }).to_string()),
            Half::Ring => {
                let pkcs8 = Zeroizing::new(STANDARD.encode(&*signer.to_pkcs8()));
                let ring = json!({
                    "version": 1,
                    "generation": 1,
                    "default_alg": self.algorithm.name(),
                    "policy": {
                        "interval": 2 * 86_400 + self.max_token_ttl_s, "lead": 86_400, "max_token_ttl": self.max_token_ttl_s,
                        "retention": 2 * 86_400 + self.max_token_ttl_s, "jwks_max_age": 300, "verifier_cache": 3600, "skew": 60
                    },
                    "withdrawn": [],
                    "keys": [{
                        "kid": kid, "alg": self.algorithm.name(), "signs_from": "1970-01-01T00:00:00Z",
                        "public": public, "private": { "pkcs8": pkcs8.as_str() }
                    }]
                });
                Zeroizing::new(ring.to_string())
            }
        };
        Ok(Document::new(content.as_bytes().to_vec(), kid))
    }

    fn describe(&self) -> String {
        format!("file:{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keys::{FRESH_S, SigningKeys};
    use token_issuance::KeyLoader;

    #[tokio::test]
    async fn a_key_file_of_every_algorithm_signs_what_its_published_half_verifies() {
        for algorithm in Algorithm::ALL {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("key.pem");
            let der = STANDARD.encode(&*token_testkit::keys::pkcs8(algorithm));
            let lines: Vec<&str> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            std::fs::write(
                &path,
                format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")),
            )
            .unwrap();
            let half = |half| Arc::new(PemDocument::new(path.clone(), algorithm, half, 30 * 86_400));
            let keys = SigningKeys::new(KeyLoader::new(half(Half::Ring), half(Half::Published)), FRESH_S, None);
            let now = "2026-11-22T12:00:00Z".parse().unwrap();
            let claims = format!(r#"{{"iss":"https://i.example","aud":["a"],"exp":{}}}"#, 1_900_000_000);
            let signed = keys.sign("JWT", claims.as_bytes(), 60, now).await.unwrap();
            let audiences = ["a".to_owned()];
            assert!(
                keys.verify(signed.token.as_str(), "https://i.example", &audiences, &["JWT"], 60, now).await.is_ok()
            );
        }
    }
}
