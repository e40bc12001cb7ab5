//! The stores of a rotation: conformance on moto, and what only a scripted store does.

use std::time::Duration;

use async_trait::async_trait;
use token_aws::{AwsClients, MAX_PARAMETER_BYTES, SecretsManagerVersions, SsmPublishedStore};
use token_issuance::rotation::{CURRENT, PENDING, PublishedStore, SecretVersions};
use token_issuance::{MAX_DOCUMENT_BYTES, SourceError};
use token_testkit::conformance::{self, PublishedFixture, SecretFixture};
use token_testkit::{Behaviour, Moto, MotoSecret, ScriptedAws, Target};

use crate::{IMPATIENT, PATIENT, clients};

struct InSecretsManager {
    secret: MotoSecret,
    versions: SecretsManagerVersions,
}

#[async_trait]
impl SecretFixture for InSecretsManager {
    fn secret(&self) -> &dyn SecretVersions {
        &self.versions
    }

    async fn start_rotation(&mut self, version: &str) {
        self.secret.start_rotation(version);
    }
}

struct InParameterStore {
    moto: Moto,
    store: SsmPublishedStore,
}

#[async_trait]
impl PublishedFixture for InParameterStore {
    fn store(&self) -> &dyn PublishedStore {
        &self.store
    }

    async fn stall(&mut self) -> Option<Duration> {
        self.moto.pause();
        Some(PATIENT.operation)
    }
}

fn version(number: u8) -> String {
    format!("11111111-0000-4000-8000-{number:012}")
}

fn moto() -> Option<(Moto, AwsClients)> {
    let moto = Moto::start()?;
    let clients = clients(&moto.environment(), PATIENT);
    Some((moto, clients))
}

#[tokio::test]
async fn the_versions_of_a_secret_conform() {
    let Some((moto, clients)) = moto() else { return };
    let secret = MotoSecret::create(&moto, "jwt-issuer/ring");
    let versions = clients.secret_versions(&secret.arn).unwrap();
    conformance::secret_versions(&mut InSecretsManager { secret, versions }).await;
}

#[tokio::test]
async fn the_published_set_in_a_parameter_conforms() {
    let Some((moto, clients)) = moto() else { return };
    let store = clients.published_store("/jwt-issuer/jwks").unwrap();
    assert_eq!(store.max_bytes(), MAX_PARAMETER_BYTES);
    conformance::published_store(&mut InParameterStore { moto, store }).await;
}

#[tokio::test]
async fn an_absent_secret_and_refused_values_are_told_apart() {
    let Some((moto, clients)) = moto() else { return };
    let absent = clients.secret_versions("absent").unwrap();
    assert!(matches!(absent.describe().await, Err(SourceError::NotFound { .. })));
    assert_eq!(absent.read(&version(1)).await, Ok(None));
    assert!(matches!(absent.put_pending(&version(1), b"x").await, Err(SourceError::NotFound { .. })));
    assert!(matches!(absent.move_current(None, &version(1)).await, Err(SourceError::NotFound { .. })));
    assert!(matches!(absent.drop_stage(PENDING, &version(1)).await, Err(SourceError::NotFound { .. })));

    let secret = MotoSecret::create(&moto, "ring");
    let versions = clients.secret_versions(&secret.arn).unwrap();
    let too_large = vec![b'x'; MAX_DOCUMENT_BYTES + 1];
    for (id, value) in [(version(1), too_large.as_slice()), (version(1), b""), ("short".to_owned(), b"x")] {
        let refused = versions.put_pending(&id, value).await;
        assert!(matches!(refused, Err(SourceError::Malformed { .. })), "{refused:?}");
    }
    assert!(secret.stages().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_store_that_refuses_or_throttles_says_so_and_shows_nothing() {
    let aws = ScriptedAws::start();
    aws.put_secret("ring", "value-that-no-error-may-show");
    let clients = clients(&aws.environment(), IMPATIENT);
    let versions = clients.secret_versions("ring").unwrap();
    let other = versions.read(&version(9)).await.unwrap_err();
    assert!(matches!(&other, SourceError::Malformed { detail, .. } if detail.contains("another")), "{other}");
    for (behaviour, expected) in [
        (Behaviour::Error("AccessDeniedException"), "Denied"),
        (Behaviour::Error("InvalidRequestException"), "Malformed"),
        (Behaviour::Throttled, "Throttled"),
        (Behaviour::Stall, "Unavailable"),
    ] {
        aws.always(Target::GetSecretValue, behaviour);
        let error = format!("{:?}", versions.read(&version(1)).await.unwrap_err());
        assert!(error.starts_with(expected) && !error.contains("no-error-may-show"), "{error}");
    }
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_not_made_twice() {
    let Some((moto, clients)) = moto() else { return };
    let secret = MotoSecret::create(&moto, "ring");
    let versions = clients.secret_versions(&secret.arn).unwrap();
    versions.put_pending(&version(1), b"one").await.unwrap();
    secret.start_rotation(&version(2));
    versions.put_pending(&version(2), b"two").await.unwrap();
    versions.move_current(Some(&version(1)), &version(2)).await.unwrap();
    // The same call again, as a retry sends it: refused, and the stages are as they were.
    let again = versions.move_current(Some(&version(1)), &version(2)).await;
    assert_eq!(format!("{again:?}"), "Ok(Lost)");
    assert_eq!(secret.version_with(CURRENT), Some(version(2)));
}
