//! Documents in SSM Parameter Store.

use async_trait::async_trait;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use token_issuance::{Document, DocumentSource, SourceError};
use zeroize::Zeroizing;

use crate::clients::AwsClients;
use crate::fault::{Fault, WriteError, quietly};
use crate::names::parameter_name;

/// The largest value a parameter can have (advanced tier), in bytes. Checked here when reading and when writing:
/// emulators do not.
pub const MAX_PARAMETER_BYTES: usize = 8_192;

/// Whether a parameter's value is encrypted under a KMS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// `String`: for what is public anyway, or not secret (a key set, a mapping).
    Plain,
    /// `SecureString`: for a key ring.
    Secure,
}

/// `ssm:NAME`: the current value of one parameter, decrypted. The document's version is the parameter's version number.
#[derive(Clone, Debug)]
pub struct ParameterDocument {
    clients: AwsClients,
    name: String,
    secure_only: bool,
}

impl ParameterDocument {
    pub(crate) fn new(clients: AwsClients, name: String) -> Self {
        Self { clients, name, secure_only: false }
    }

    /// Refuses a parameter that is not a `SecureString`: for documents with private keys, which must not be readable by
    /// whoever may list parameters.
    #[must_use]
    pub fn secure_only(mut self) -> Self {
        self.secure_only = true;
        self
    }
}

#[async_trait]
impl DocumentSource for ParameterDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        let request = self.clients.ssm().get_parameter().name(&self.name).with_decryption(true);
        let answer =
            quietly(request.send()).await.map_err(|error| Fault::of(&error).into_source_error(self.describe()))?;
        let malformed =
            |detail: &str| SourceError::Malformed { source_name: self.describe(), detail: detail.to_owned() };

        let parameter = answer.parameter.ok_or_else(|| malformed("expected a parameter, found none"))?;
        let bytes = Zeroizing::new(parameter.value.unwrap_or_default().into_bytes());
        match parameter.r#type {
            Some(ParameterType::SecureString) => {}
            Some(ParameterType::String) if !self.secure_only => {}
            Some(ParameterType::String) => {
                return Err(malformed(
                    "expected type SecureString, found String; hint: it holds private keys: delete it, rotate them, and store it as SecureString",
                ));
            }
            _ => return Err(malformed("expected type String or SecureString, found another")),
        }
        if bytes.is_empty() {
            return Err(malformed("expected a document, found no bytes"));
        }
        if bytes.len() > MAX_PARAMETER_BYTES {
            let found = bytes.len();
            return Err(malformed(&format!("expected at most {MAX_PARAMETER_BYTES} bytes, found {found}")));
        }
        Ok(Document::new(bytes, parameter.version.to_string()))
    }

    fn describe(&self) -> String {
        format!("ssm:{}", self.name)
    }
}

impl AwsClients {
    /// Makes `text` the current value of the parameter `name`, creating the parameter if there is none. Values over 4 KB
    /// need the advanced tier, which Parameter Store then chooses by itself.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is sent when `text` is empty or over 8 KB, or `name` cannot be a parameter's.
    pub async fn put_parameter(&self, name: &str, text: &str, kind: ParameterKind) -> Result<(), WriteError> {
        let target = || format!("ssm:{name}");
        let refused = |detail: String| WriteError::Refused { target: target(), detail };
        parameter_name(name, self.region()).map_err(|error| refused(error.to_string()))?;
        if text.is_empty() || text.len() > MAX_PARAMETER_BYTES {
            return Err(refused(format!("expected 1 to {MAX_PARAMETER_BYTES} bytes, found {}", text.len())));
        }
        let put = self
            .ssm()
            .put_parameter()
            .name(name)
            .value(text)
            .overwrite(true)
            .tier(ParameterTier::IntelligentTiering)
            .r#type(match kind {
                ParameterKind::Plain => ParameterType::String,
                ParameterKind::Secure => ParameterType::SecureString,
            });
        quietly(put.send()).await.map_err(|error| Fault::of(&error).into_write_error(target()))?;
        Ok(())
    }
}
