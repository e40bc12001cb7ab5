//! The published key set in SSM Parameter Store, as a rotation writes it.

use async_trait::async_trait;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use token_issuance::rotation::PublishedStore;
use token_issuance::{DocumentSource as _, SourceError};

use crate::clients::AwsClients;
use crate::fault::{Fault, quietly};
use crate::parameter::{MAX_PARAMETER_BYTES, ParameterDocument};

/// One `String` parameter that holds the published key set.
///
/// A set over 4 KB needs the advanced tier, which costs money and from which there is no way back: Parameter Store takes
/// it by itself when a value needs it.
#[derive(Clone, Debug)]
pub struct SsmPublishedStore {
    clients: AwsClients,
    name: String,
    document: ParameterDocument,
}

impl SsmPublishedStore {
    pub(crate) fn new(clients: AwsClients, name: String) -> Self {
        Self { document: ParameterDocument::new(clients.clone(), name.clone()), clients, name }
    }
}

#[async_trait]
impl PublishedStore for SsmPublishedStore {
    async fn read(&self) -> Result<Option<String>, SourceError> {
        match self.document.read().await {
            Ok(document) => match std::str::from_utf8(document.bytes()) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(SourceError::Malformed {
                    source_name: self.document.describe(),
                    detail: "expected UTF-8, found other bytes".to_owned(),
                }),
            },
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, text: &str) -> Result<(), SourceError> {
        if text.is_empty() || text.len() > MAX_PARAMETER_BYTES {
            return Err(SourceError::Malformed {
                source_name: self.document.describe(),
                detail: format!("expected 1 to {MAX_PARAMETER_BYTES} bytes, found {}", text.len()),
            });
        }
        let request = self
            .clients
            .ssm()
            .put_parameter()
            .name(&self.name)
            .value(text)
            .r#type(ParameterType::String)
            .tier(ParameterTier::IntelligentTiering)
            .overwrite(true);
        let answer = quietly(request.send()).await;
        answer.map_err(|error| Fault::of(&error).into_source_error(self.document.describe()))?;
        Ok(())
    }

    fn max_bytes(&self) -> usize {
        MAX_PARAMETER_BYTES
    }
}
