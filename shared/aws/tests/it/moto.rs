//! The adapters on moto: conformance, writers, and what a real server's codes become.

use std::time::Duration;

use async_trait::async_trait;
use token_aws::{AwsClients, MAX_PARAMETER_BYTES, ParameterDocument, ParameterKind, SecretDocument, WriteError};
use token_issuance::{DocumentSource, MAX_DOCUMENT_BYTES, SourceError};
use token_testkit::Moto;
use token_testkit::conformance::{self, DocumentFixture};

use crate::{PATIENT, clients};

struct InSecretsManager {
    moto: Moto,
    clients: AwsClients,
    document: SecretDocument,
}

#[async_trait]
impl DocumentFixture for InSecretsManager {
    fn source(&self) -> &dyn DocumentSource {
        &self.document
    }

    async fn put(&mut self, content: &[u8]) -> bool {
        self.clients.put_secret("jwt-issuer/ring", content).await.is_ok()
    }

    fn limit(&self) -> usize {
        MAX_DOCUMENT_BYTES
    }

    async fn stall(&mut self) -> Option<Duration> {
        self.moto.pause();
        Some(PATIENT.operation)
    }
}

struct InParameterStore {
    moto: Moto,
    clients: AwsClients,
    document: ParameterDocument,
}

#[async_trait]
impl DocumentFixture for InParameterStore {
    fn source(&self) -> &dyn DocumentSource {
        &self.document
    }

    async fn put(&mut self, content: &[u8]) -> bool {
        let text = std::str::from_utf8(content).unwrap();
        self.clients.put_parameter("/jwt-issuer/mapping", text, ParameterKind::Plain).await.is_ok()
    }

    fn limit(&self) -> usize {
        MAX_PARAMETER_BYTES
    }

    async fn stall(&mut self) -> Option<Duration> {
        self.moto.pause();
        Some(PATIENT.operation)
    }
}

#[tokio::test]
async fn a_secret_document_conforms() {
    let Some(moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);
    let document = clients.secret("jwt-issuer/ring").unwrap();
    conformance::document_source(&mut InSecretsManager { moto, clients, document }).await;
}

#[tokio::test]
async fn a_parameter_document_conforms() {
    let Some(moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);
    let document = clients.parameter("/jwt-issuer/mapping").unwrap();
    conformance::document_source(&mut InParameterStore { moto, clients, document }).await;
}

#[tokio::test]
async fn writers_create_then_replace_and_readers_follow() {
    let Some(moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);

    let arn = clients.put_secret("ring", b"one").await.unwrap();
    assert_eq!(clients.put_secret("ring", b"two").await.unwrap(), arn, "a new version of the same secret");
    let by_arn = clients.secret(&arn).unwrap();
    assert_eq!(by_arn.describe(), format!("secretsmanager:{arn}"));
    assert_eq!(by_arn.read().await.unwrap().bytes(), b"two");

    let binary = [0, 159, 146, 150];
    clients.put_secret("binary", &binary).await.unwrap();
    assert_eq!(clients.secret("binary").unwrap().read().await.unwrap().bytes(), binary);

    clients.put_parameter("/jwks", "{}", ParameterKind::Plain).await.unwrap();
    clients.put_parameter("/ring", "secret", ParameterKind::Secure).await.unwrap();
    let ring = clients.parameter("/ring").unwrap().secure_only();
    assert_eq!(ring.read().await.unwrap().bytes(), b"secret", "decrypted");
    assert_eq!(ring.read().await.unwrap().version(), "1");
    clients.put_parameter("/ring", "secret 2", ParameterKind::Secure).await.unwrap();
    assert_eq!(ring.read().await.unwrap().version(), "2");

    let plain = clients.parameter("/jwks").unwrap().secure_only().read().await.unwrap_err();
    assert!(
        matches!(&plain, SourceError::Malformed { detail, .. } if detail.contains("expected type SecureString, found String")),
        "{plain}"
    );
}

#[tokio::test]
async fn a_writer_refuses_before_it_sends() {
    let Some(moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);
    let too_large = "x".repeat(MAX_PARAMETER_BYTES + 1);
    for (name, text) in [("/mapping", too_large.as_str()), ("/mapping", ""), ("/mapping:1", "x"), ("", "x")] {
        let error = clients.put_parameter(name, text, ParameterKind::Plain).await.unwrap_err();
        assert!(matches!(error, WriteError::Refused { .. }), "{name}: {error}");
    }
    let too_large = vec![b'x'; MAX_DOCUMENT_BYTES + 1];
    for (name, content) in [("ring", too_large.as_slice()), ("ring", b""), ("a b", b"x")] {
        let error = clients.put_secret(name, content).await.unwrap_err();
        assert!(matches!(error, WriteError::Refused { .. }), "{name}: {error}");
    }
    let absent = clients.parameter("/mapping").unwrap().read().await.unwrap_err();
    assert!(matches!(absent, SourceError::NotFound { .. }), "{absent}");
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable_and_says_why() {
    let Some(mut moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);
    clients.put_secret("ring", b"one").await.unwrap();
    moto.kill();
    let error = clients.secret("ring").unwrap().read().await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Unavailable { detail, .. } if detail.to_lowercase().contains("connection refused")),
        "{error}"
    );
    let error = clients.put_secret("ring", b"two").await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { .. }), "{error}");
}
