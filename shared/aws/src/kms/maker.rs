//! New keys in KMS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, Tag};
use aws_smithy_async::rt::sleep::{AsyncSleep as _, TokioSleep};
use token_issuance::SourceError;
use token_issuance::rotation::KeyMaker;
use token_jose::{Algorithm, KeyVersion, PrivateLocation};

use super::{KmsBudget, KmsSigner};
use crate::clients::AwsClients;
use crate::fault::{Fault, quietly};

/// The tag that each key gets: what permissions and a clean-up of keys that no ring names go by.
const TAG: &str = "jwt-issuer:ring";

/// Pauses before a key that was just made is asked for its public half again. KMS is eventually consistent: for a moment a
/// new key may not be found, or its tag, by which permissions go, not count. Together they leave a step most of its time.
const SETTLING: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Makes signing keys in KMS. A run that stops between making a key and storing the ring leaves a key that no ring names:
/// it never signs, and its tag finds it.
#[derive(Debug)]
pub struct KmsKeyMaker {
    clients: AwsClients,
    budget: Arc<KmsBudget>,
    ring: String,
}

impl KmsKeyMaker {
    /// Makes keys for the ring in the secret `ring`, whose ARN is each key's tag.
    #[must_use]
    pub fn new(clients: AwsClients, budget: Arc<KmsBudget>, ring: &str) -> Self {
        Self { clients, budget, ring: ring.to_owned() }
    }

    /// The signer of a key that was just made.
    async fn opened(&self, arn: &str, algorithm: Algorithm) -> Result<KmsSigner, SourceError> {
        for pause in SETTLING {
            match KmsSigner::open(&self.clients, arn, algorithm, None, &self.budget).await {
                Err(SourceError::Denied { .. } | SourceError::NotFound { .. }) => TokioSleep::new().sleep(pause).await,
                outcome => return outcome,
            }
        }
        KmsSigner::open(&self.clients, arn, algorithm, None, &self.budget).await
    }

    /// Whether KMS keys of this algorithm can be made.
    #[must_use]
    pub fn makes(algorithm: Algorithm) -> bool {
        key_spec(algorithm).is_some()
    }
}

fn key_spec(algorithm: Algorithm) -> Option<KeySpec> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => Some(KeySpec::Rsa2048),
        Algorithm::Es256 => Some(KeySpec::EccNistP256),
        Algorithm::Es384 => Some(KeySpec::EccNistP384),
        Algorithm::EdDsa => None,
    }
}

#[async_trait]
impl KeyMaker for KmsKeyMaker {
    async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError> {
        let malformed = |detail: String| SourceError::Malformed { source_name: "kms:CreateKey".to_owned(), detail };
        let spec = key_spec(algorithm)
            .ok_or_else(|| malformed(format!("expected RS256, PS256, ES256 or ES384, found {algorithm}")))?;
        let tag = Tag::builder().tag_key(TAG).tag_value(&self.ring).build();
        let tag = tag.map_err(|_| malformed("the tag could not be built".to_owned()))?;
        let request = self
            .clients
            .kms()
            .create_key()
            .key_usage(KeyUsageType::SignVerify)
            .key_spec(spec)
            .description(format!("jwt-issuer {algorithm} signing key"))
            .tags(tag);
        let answer = quietly(request.send()).await;
        let answer = answer.map_err(|error| Fault::of(&error).into_source_error("kms:CreateKey".to_owned()))?;
        let arn = answer.key_metadata.and_then(|key| key.arn);
        let arn = arn.ok_or_else(|| malformed("expected the new key's ARN, found none".to_owned()))?;
        let signer = self.opened(&arn, algorithm).await?;
        Ok(KeyVersion::remote_standby(PrivateLocation::Kms { arn }, Arc::new(signer)))
    }

    async fn disable(&self, key: &KeyVersion) -> Result<(), SourceError> {
        let PrivateLocation::Kms { arn } = key.location() else { return Ok(()) };
        // By its id: the call is for keys of our own account and region only, and emulators know no ARN here.
        let id = arn.rsplit('/').next().unwrap_or(arn);
        let request = self.clients.kms().disable_key().key_id(id);
        let answer = quietly(request.send()).await;
        answer.map(|_| ()).map_err(|error| Fault::of(&error).into_source_error(format!("kms:{arn}")))
    }
}
