//! A secret's versions and stages in Secrets Manager: what a rotation changes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::operation::put_secret_value::PutSecretValueError;
use aws_sdk_secretsmanager::primitives::Blob;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use token_issuance::rotation::{CURRENT, Moved, PENDING, Put, SecretState, SecretVersions};
use token_issuance::{MAX_DOCUMENT_BYTES, SourceError};
use zeroize::Zeroizing;

use crate::clients::AwsClients;
use crate::fault::{Fault, quietly};

/// Secrets Manager's lengths of a `ClientRequestToken`, which becomes the version's id. Checked here: emulators do not
/// always.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 32..=64;

/// The versions of one secret, as a rotation reads and changes them.
///
/// Each call is one call of Secrets Manager's, except that a refused change of stages is explained by a look at the
/// stages: the service has one error code for "another version carries it" and for "no such version". The copy of a value
/// that is handed out is wiped when dropped; the SDK's own buffers are freed unwiped.
#[derive(Clone, Debug)]
pub struct SecretsManagerVersions {
    clients: AwsClients,
    id: String,
}

impl SecretsManagerVersions {
    pub(crate) fn new(clients: AwsClients, id: String) -> Self {
        Self { clients, id }
    }

    fn name(&self) -> String {
        format!("secretsmanager:{}", self.id)
    }

    fn failed<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> SourceError {
        Fault::of(error).into_source_error(self.name())
    }

    fn malformed(&self, detail: String) -> SourceError {
        SourceError::Malformed { source_name: self.name(), detail }
    }
}

/// Whether the service refused the parameters: for a change of stages also its word for "that version does not carry it".
fn is_refused<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(code, Some("InvalidParameterException" | "InvalidRequestException" | "ResourceNotFoundException"))
}

#[async_trait]
impl SecretVersions for SecretsManagerVersions {
    async fn describe(&self) -> Result<SecretState, SourceError> {
        let request = self.clients.secrets_manager().describe_secret().secret_id(&self.id);
        let answer = quietly(request.send()).await.map_err(|error| self.failed(&error))?;
        if answer.deleted_date.is_some() {
            return Err(self.malformed("expected a secret in use, found one that is to be deleted".to_owned()));
        }
        let versions = answer.version_ids_to_stages.unwrap_or_default().into_iter();
        // Where a version has lost its last stage, some answers still list it.
        let staged = versions.map(|(id, stages)| (id, stages.into_iter().collect::<BTreeSet<_>>()));
        Ok(SecretState {
            rotation_enabled: answer.rotation_enabled.unwrap_or(false),
            versions: staged.filter(|(_, stages)| !stages.is_empty()).collect(),
        })
    }

    async fn read(&self, version: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError> {
        let request = self.clients.secrets_manager().get_secret_value().secret_id(&self.id).version_id(version);
        let answer = match quietly(request.send()).await {
            Ok(answer) => answer,
            Err(error) => match self.failed(&error) {
                SourceError::NotFound { .. } => return Ok(None),
                error => return Err(error),
            },
        };
        if answer.version_id.as_deref() != Some(version) {
            return Err(self.malformed("expected the version asked for, found another".to_owned()));
        }
        let bytes = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => Zeroizing::new(text.into_bytes()),
            (None, Some(blob)) => Zeroizing::new(blob.into_inner()),
            (None, None) => return Ok(None),
        };
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(self.malformed(format!("expected at most {MAX_DOCUMENT_BYTES} bytes, found {}", bytes.len())));
        }
        Ok(Some(bytes))
    }

    async fn put_pending(&self, version: &str, value: &[u8]) -> Result<Put, SourceError> {
        if value.is_empty() || value.len() > MAX_DOCUMENT_BYTES {
            return Err(self.malformed(format!("expected 1 to {MAX_DOCUMENT_BYTES} bytes, found {}", value.len())));
        }
        if !TOKEN_LENGTHS.contains(&version.len()) {
            return Err(self.malformed(format!("expected a version id of 32 to 64 bytes, found {}", version.len())));
        }
        let text = std::str::from_utf8(value).ok().map(str::to_owned);
        let blob = text.is_none().then(|| Blob::new(value));
        let request = self
            .clients
            .secrets_manager()
            .put_secret_value()
            .secret_id(&self.id)
            .client_request_token(version)
            .version_stages(PENDING)
            .set_secret_string(text)
            .set_secret_binary(blob);
        match quietly(request.send()).await {
            Ok(_) => Ok(Put::Stored),
            Err(error) if matches!(error.as_service_error(), Some(PutSecretValueError::ResourceExistsException(_))) => {
                Ok(Put::AlreadyThere)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn move_current(&self, from: Option<&str>, to: &str) -> Result<Moved, SourceError> {
        let request = self
            .clients
            .secrets_manager()
            .update_secret_version_stage()
            .secret_id(&self.id)
            .version_stage(CURRENT)
            .set_remove_from_version_id(from.map(str::to_owned))
            .move_to_version_id(to);
        match quietly(request.send()).await {
            Ok(_) => Ok(Moved::Moved),
            Err(error) if is_refused(&error) => {
                let state = self.describe().await?;
                if state.with_stage(CURRENT) == from { Err(self.failed(&error)) } else { Ok(Moved::Lost) }
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn drop_stage(&self, stage: &str, version: &str) -> Result<(), SourceError> {
        let request = self
            .clients
            .secrets_manager()
            .update_secret_version_stage()
            .secret_id(&self.id)
            .version_stage(stage)
            .remove_from_version_id(version);
        if stage == CURRENT {
            return Err(self.malformed("expected AWSCURRENT to be moved, found that it is to be dropped".to_owned()));
        }
        match quietly(request.send()).await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(&error) => {
                let state = self.describe().await?;
                if state.carries(version, stage) { Err(self.failed(&error)) } else { Ok(()) }
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}
