//! Private halves that are elsewhere: AWS KMS or Transit, as the ring says.

use std::sync::Arc;

use async_trait::async_trait;
use token_aws::KmsKeys;
use token_issuance::{SignerSource, SourceError};
use token_jose::{KeyVersion, PrivateLocation, Signer};
use token_remote::TransitKeys;

/// Both places at once: a ring may hold keys of either.
#[derive(Debug)]
pub struct Remote {
    kms: Option<KmsKeys>,
    transit: Option<TransitKeys>,
}

impl Remote {
    /// Reaches what is configured; a key anywhere else is refused by name.
    #[must_use]
    pub fn new(kms: Option<KmsKeys>, transit: Option<TransitKeys>) -> Self {
        Self { kms, transit }
    }
}

#[async_trait]
impl SignerSource for Remote {
    async fn signer(&self, key: &KeyVersion) -> Result<Arc<dyn Signer>, SourceError> {
        let refused = |setting: &str| SourceError::Denied {
            source_name: format!("key {}", key.kid()),
            detail: format!("{setting} is not configured"),
        };
        match key.location() {
            PrivateLocation::Kms { .. } => match &self.kms {
                Some(kms) => kms.signer(key).await,
                None => Err(refused("AWS_REGION")),
            },
            PrivateLocation::Transit { .. } => match &self.transit {
                Some(transit) => transit.signer(key).await,
                None => Err(refused("TRANSIT_ADDRESS")),
            },
            // In the ring itself, dropped, or a place that this build does not know.
            _ => Err(refused("a remote key store for this key")),
        }
    }
}
