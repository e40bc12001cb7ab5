//! Whom the clients trust.

use token_aws::ParameterKind;
use token_issuance::{DocumentSource as _, SourceError};
use token_testkit::Moto;

use crate::{PATIENT, clients};

#[tokio::test]
async fn the_certificates_of_the_bundle_are_trusted() {
    let Some(moto) = Moto::start_tls() else { return };
    assert!(moto.url().starts_with("https:"));
    let clients = clients(&moto.environment(), PATIENT);
    clients.put_parameter("/mapping", "text", ParameterKind::Plain).await.unwrap();
    assert_eq!(clients.parameter("/mapping").unwrap().read().await.unwrap().bytes(), b"text");
    clients.put_secret("ring", b"secret").await.unwrap();
    assert_eq!(clients.secret("ring").unwrap().read().await.unwrap().bytes(), b"secret");
}

#[tokio::test]
async fn a_server_that_the_embedded_roots_do_not_know_is_refused_by_name_of_the_cause() {
    let Some(moto) = Moto::start_tls() else { return };
    let mut environment = moto.environment();
    environment.retain(|(name, _)| name != "AWS_CA_BUNDLE");
    let clients = clients(&environment, PATIENT);
    for error in [
        clients.secret("ring").unwrap().read().await.unwrap_err(),
        clients.parameter("/mapping").unwrap().read().await.unwrap_err(),
    ] {
        assert!(matches!(&error, SourceError::Unavailable { detail, .. } if detail.contains("certificate")), "{error}");
    }
}
