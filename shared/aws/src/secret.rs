//! Documents in Secrets Manager.

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::create_secret::CreateSecretError;
use aws_sdk_secretsmanager::primitives::Blob;
use token_issuance::{Document, DocumentSource, MAX_DOCUMENT_BYTES, SourceError};
use zeroize::Zeroizing;

use crate::clients::AwsClients;
use crate::fault::{Fault, WriteError, quietly};
use crate::names::secret_id;

/// The only stage ever asked for: what an issuer signs with is what the last finished rotation made current.
const CURRENT: &str = "AWSCURRENT";

/// `secretsmanager:ARN`: the current version of one secret, string or binary. The document's version is the `VersionId`.
///
/// The copy handed out is wiped when dropped. The SDK's own buffer of the answer is not: it is freed unwiped.
#[derive(Clone, Debug)]
pub struct SecretDocument {
    clients: AwsClients,
    id: String,
}

impl SecretDocument {
    pub(crate) fn new(clients: AwsClients, id: String) -> Self {
        Self { clients, id }
    }
}

#[async_trait]
impl DocumentSource for SecretDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        let request = self.clients.secrets_manager().get_secret_value().secret_id(&self.id).version_stage(CURRENT);
        let answer =
            quietly(request.send()).await.map_err(|error| Fault::of(&error).into_source_error(self.describe()))?;
        let malformed =
            |detail: &str| SourceError::Malformed { source_name: self.describe(), detail: detail.to_owned() };

        let bytes = match (answer.secret_string, answer.secret_binary) {
            (Some(text), _) => Zeroizing::new(text.into_bytes()),
            (None, Some(blob)) => Zeroizing::new(blob.into_inner()),
            (None, None) => return Err(malformed("expected a secret value, found none")),
        };
        if bytes.is_empty() {
            return Err(malformed("expected a document, found no bytes"));
        }
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(malformed(&format!("expected at most {MAX_DOCUMENT_BYTES} bytes, found {}", bytes.len())));
        }
        let version = answer.version_id.ok_or_else(|| malformed("expected a version id, found none"))?;
        Ok(Document::new(bytes, version))
    }

    fn describe(&self) -> String {
        format!("secretsmanager:{}", self.id)
    }
}

impl AwsClients {
    /// Makes `content` the current version of the secret `name`, creating the secret if there is none, and returns its
    /// ARN. UTF-8 is stored as a secret string, anything else as a binary.
    ///
    /// For setting up a development stack: rotation writes through Secrets Manager's own protocol instead.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is sent when `content` is empty or over 64 KB, or `name` cannot be a secret's.
    pub async fn put_secret(&self, name: &str, content: &[u8]) -> Result<String, WriteError> {
        let target = || format!("secretsmanager:{name}");
        let refused = |detail: String| WriteError::Refused { target: target(), detail };
        secret_id(name, self.region()).map_err(|error| refused(error.to_string()))?;
        if content.is_empty() || content.len() > MAX_DOCUMENT_BYTES {
            return Err(refused(format!("expected 1 to {MAX_DOCUMENT_BYTES} bytes, found {}", content.len())));
        }
        let text = std::str::from_utf8(content).ok().map(str::to_owned);
        let blob = text.is_none().then(|| Blob::new(content));

        let client = self.secrets_manager();
        let create = client.create_secret().name(name).set_secret_string(text.clone()).set_secret_binary(blob.clone());
        let arn = match quietly(create.send()).await {
            Ok(created) => created.arn,
            Err(error) if matches!(error.as_service_error(), Some(CreateSecretError::ResourceExistsException(_))) => {
                let put = client.put_secret_value().secret_id(name).set_secret_string(text).set_secret_binary(blob);
                let put = put.version_stages(CURRENT);
                quietly(put.send()).await.map_err(|error| Fault::of(&error).into_write_error(target()))?.arn
            }
            Err(error) => return Err(Fault::of(&error).into_write_error(target())),
        };
        arn.ok_or_else(|| WriteError::Unavailable { target: target(), detail: "the answer has no ARN".to_owned() })
    }
}
