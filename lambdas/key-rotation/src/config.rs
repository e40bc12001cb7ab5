//! The settings of both Lambdas.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use lambda_common::{Opener, kms_budget, log_level, one_of};
use token_aws::{AwsClients, KmsKeyMaker, KmsKeys};
use token_issuance::rotation::{KeyMaker, LocalKeyMaker, Rotation, WarmIssuers};
use token_issuance::{Location, SourceError};
use token_jose::{Algorithm, KeyVersion, RingPolicy};
use token_shell::{LogLevel, Problems, Settings, Vars};

/// What the environment says.
pub struct Config {
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    pub(crate) secret: Option<String>,
    pub(crate) rotation: Option<Rotation>,
}

impl Config {
    /// Reads `KEY_RING` or `SIGNING_KEY_SECRET_ARN`, `JWKS` or `JWKS_SSM_PARAM`, `ALGORITHMS` (default `RS256`; comma
    /// separated, the first is the default), the policy (`ROTATION_INTERVAL_SECONDS`, `ROTATION_LEAD_SECONDS`,
    /// `MAX_TOKEN_TTL_SECONDS`, `RETENTION_SECONDS`, `JWKS_MAX_AGE_SECONDS`, `VERIFIER_CACHE_SECONDS`, `SKEW_SECONDS`,
    /// [`RingPolicy`]'s defaults), `KEY_STORE` (`ring`, or `kms` for new keys in AWS KMS), `KMS_SIGNS_PER_SECOND` and
    /// `LOG_LEVEL`; for a withdrawal also `ISSUER_FUNCTION_NAME` with `ISSUER_FUNCTION_ALIAS`. Everything wrong is added to `problems`; nothing is read from a store.
    ///
    /// Algorithms and policy are those of the first ring: every later ring carries its own.
    pub fn read(vars: &dyn Vars, problems: &mut Problems) -> Self {
        let mut opener = Opener::new(vars);
        let mut settings = Settings::new(vars, problems);
        let settings = &mut settings;

        let secret = one_of(settings, "KEY_RING", "SIGNING_KEY_SECRET_ARN", "secretsmanager", "where the key ring is")
            .and_then(|text| match text.parse() {
                Ok(Location::SecretsManager(id)) => Some(id),
                _ => located(settings, "KEY_RING", "secretsmanager:ARN", &text),
            });
        let published =
            one_of(settings, "JWKS", "JWKS_SSM_PARAM", "ssm", "where the published key set is").and_then(|text| {
                match text.parse() {
                    Ok(Location::Ssm(name)) => Some(name),
                    _ => located(settings, "JWKS", "ssm:NAME", &text),
                }
            });
        let algorithms = algorithms(settings);
        let policy = policy(settings);
        let clients = opener.clients(settings);

        let mut opened = None;
        if let (Some(clients), Some(secret), Some(published)) = (&clients, &secret, &published) {
            let versions =
                clients.secret_versions(secret).map_err(|problem| settings.note(format_args!("KEY_RING: {problem}")));
            let store =
                clients.published_store(published).map_err(|problem| settings.note(format_args!("JWKS: {problem}")));
            opened = versions.ok().zip(store.ok());
        }
        let budget = kms_budget(settings);
        let store = key_store(settings, algorithms.as_deref().unwrap_or_default());
        let issuers = clients.as_ref().map(|clients| issuers(settings, clients));
        let maker = clients.as_ref().zip(secret.as_ref()).zip(budget.as_ref()).zip(store);
        let maker = maker.map(|(((clients, secret), budget), store)| {
            let kms = KmsKeyMaker::new(clients.clone(), Arc::clone(budget), secret);
            match store {
                KeyStore::Kms => Arc::new(kms) as Arc<dyn KeyMaker>,
                KeyStore::Ring => Arc::new(RingKeyMaker { kms }),
            }
        });
        let rotation = match (opened, clients.zip(issuers), algorithms, policy, budget, maker) {
            (
                Some((versions, published)),
                Some((clients, Ok(issuers))),
                Some(algorithms),
                Some(policy),
                Some(budget),
                Some(maker),
            ) => {
                let rotation = Rotation::new(Arc::new(versions), Arc::new(published), maker, algorithms, policy);
                let rotation = rotation.with_signers(Arc::new(KmsKeys::new(clients, budget)));
                Some(match issuers {
                    Some(issuers) => rotation.with_issuers(issuers),
                    None => rotation,
                })
            }
            _ => None,
        };
        Self { log_level: log_level(settings), secret, rotation }
    }
}

/// Where new private halves live. A ring may hold both kinds: changing the setting changes the keys to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyStore {
    Ring,
    Kms,
}

/// Makes keys that live in the ring. Older ones of the same ring may be in KMS, and are disabled there all the same.
#[derive(Debug)]
struct RingKeyMaker {
    kms: KmsKeyMaker,
}

#[async_trait]
impl KeyMaker for RingKeyMaker {
    async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError> {
        LocalKeyMaker.standby(algorithm).await
    }

    async fn disable(&self, key: &KeyVersion) -> Result<(), SourceError> {
        self.kms.disable(key).await
    }
}

/// The issuer whose warm processes a withdrawal replaces, if it shall; an error after noting why not.
fn issuers(settings: &mut Settings<'_>, clients: &AwsClients) -> Result<Option<Arc<dyn WarmIssuers>>, ()> {
    match (settings.optional("ISSUER_FUNCTION_NAME"), settings.optional("ISSUER_FUNCTION_ALIAS")) {
        (None, None) => Ok(None),
        (Some(function), Some(alias)) => match clients.issuer_function(&function, &alias) {
            Ok(issuers) => Ok(Some(Arc::new(issuers))),
            Err(problem) => {
                settings.note(format_args!("ISSUER_FUNCTION_NAME, ISSUER_FUNCTION_ALIAS: {problem}"));
                Err(())
            }
        },
        _ => {
            settings.note(
                "ISSUER_FUNCTION_NAME, ISSUER_FUNCTION_ALIAS: expected both or none, found one; hint: set both, and a withdrawal replaces warm issuers",
            );
            Err(())
        }
    }
}

fn key_store(settings: &mut Settings<'_>, algorithms: &[Algorithm]) -> Option<KeyStore> {
    match settings.optional("KEY_STORE").as_deref() {
        None | Some("ring") => Some(KeyStore::Ring),
        Some("kms") => match algorithms.iter().find(|algorithm| !KmsKeyMaker::makes(**algorithm)) {
            None => Some(KeyStore::Kms),
            Some(other) => {
                let expected = "RS256, PS256, ES256 and ES384 only, since KEY_STORE is kms";
                settings.problem("ALGORITHMS", expected, other.name(), None);
                None
            }
        },
        Some(other) => {
            settings.problem("KEY_STORE", "ring or kms", other, None);
            None
        }
    }
}

/// Notes a location of another kind. The value itself may be a key that somebody pasted: only its scheme is shown.
fn located(settings: &mut Settings<'_>, name: &str, expected: &str, text: &str) -> Option<String> {
    let scheme = text.split(':').next().filter(|scheme| scheme.len() < 20 && *scheme != text);
    settings.problem(name, expected, scheme.unwrap_or("a text without scheme"), None);
    None
}

fn algorithms(settings: &mut Settings<'_>) -> Option<Vec<Algorithm>> {
    let expected = "RS256, PS256, ES256, ES384 or EdDSA, each once, separated by commas";
    let Some(text) = settings.optional("ALGORITHMS") else { return Some(vec![Algorithm::Rs256]) };
    let read: Result<Vec<Algorithm>, _> = text.split(',').map(|name| name.trim().parse()).collect();
    let distinct = |all: &Vec<Algorithm>| all.iter().collect::<BTreeSet<_>>().len() == all.len();
    let found = read.ok().filter(distinct);
    if found.is_none() {
        settings.problem("ALGORITHMS", expected, &text, None);
    }
    found
}

/// The policy; every number that is none and every inequality that fails is noted.
fn policy(settings: &mut Settings<'_>) -> Option<RingPolicy> {
    let mut policy = RingPolicy::default();
    let mut complete = true;
    for (name, field) in [
        ("ROTATION_INTERVAL_SECONDS", &mut policy.interval_s),
        ("ROTATION_LEAD_SECONDS", &mut policy.lead_s),
        ("MAX_TOKEN_TTL_SECONDS", &mut policy.max_token_ttl_s),
        ("RETENTION_SECONDS", &mut policy.retention_s),
        ("JWKS_MAX_AGE_SECONDS", &mut policy.jwks_max_age_s),
        ("VERIFIER_CACHE_SECONDS", &mut policy.verifier_cache_s),
        ("SKEW_SECONDS", &mut policy.skew_s),
    ] {
        match settings.parsed(name, "a whole number of seconds", *field) {
            Some(value) => *field = value,
            None => complete = false,
        }
    }
    let problems = policy.problems();
    for problem in &problems {
        settings.note(problem);
    }
    (complete && problems.is_empty()).then_some(policy)
}
