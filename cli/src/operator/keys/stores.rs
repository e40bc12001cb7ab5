//! Which stores the ring and the key set are in, as the command line says.

use std::sync::Arc;

use async_trait::async_trait;
use token_aws::{AwsClients, KmsBudget, KmsKeyMaker, KmsKeys, SecretsManagerVersions};
use token_issuance::rotation::{
    CURRENT, KeyMaker, LocalKeyMaker, Moved, PENDING, PublishedStore, Put, Rotation, SecretState, SecretVersions,
};
use token_issuance::{Location, SourceError};
use token_jose::{Algorithm, KeyRing, KeySet, PrivateLocation, RingPolicy};
use token_shell::OsIds;
use zeroize::Zeroizing;

use super::files::{FilePublished, FileSecret};
use super::{Failure, Shell, parsed_key_set, parsed_ring, store_failed};

/// Signatures per second that a check of KMS keys may spend.
const KMS_SIGNS_PER_SECOND: u32 = 20;

/// Where the ring and the key set are.
#[derive(Debug, clap::Args)]
pub(in crate::operator) struct StoreArgs {
    /// The key ring: a file, or secretsmanager:ARN
    #[arg(long, value_name = "PLACE", value_parser = place)]
    ring: Location,
    /// The published key set: a file, or ssm:NAME
    #[arg(long, value_name = "PLACE", value_parser = place)]
    jwks: Location,
    /// Profile of the shared AWS files, when a place is in AWS
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// `file:PATH` or a bare path; `secretsmanager:…`; `ssm:…`.
fn place(text: &str) -> Result<Location, String> {
    match text.parse() {
        Ok(Location::Inline(_)) => Err("expected a place that can be written, found inline:".to_owned()),
        Ok(location) => Ok(location),
        Err(_) if text.is_empty() => Err("expected a file, secretsmanager:ARN or ssm:NAME, found nothing".to_owned()),
        // A misspelt scheme must not become a file of that name.
        Err(_) if text.split('/').next().is_some_and(|first| first.contains(':')) => Err(format!(
            "expected a file, secretsmanager:ARN or ssm:NAME, found {}; hint: file:PATH for a path with a colon",
            crate::file::quoted(text)
        )),
        Err(_) => Ok(Location::File(text.into())),
    }
}

/// The ring's store.
enum Secret {
    File(FileSecret),
    Aws(Box<SecretsManagerVersions>, String),
}

/// Both stores, opened.
pub(super) struct RingStores {
    secret: Secret,
    published: Arc<dyn PublishedStore>,
    aws: Option<AwsClients>,
    ring: Location,
    jwks: Location,
}

impl StoreArgs {
    /// Opens both. AWS clients are made only when a place is there.
    pub(super) async fn open(&self, shell: &Shell<'_>) -> Result<RingStores, Failure> {
        let ids = Arc::new(OsIds);
        let remote = |location: &Location| matches!(location, Location::SecretsManager(_) | Location::Ssm(_));
        let aws = if remote(&self.ring) || remote(&self.jwks) {
            let vars = token_aws::chain_variables(self.profile.as_deref(), |name| shell.vars.get(name)).await;
            let vars = vars.map_err(|error| match error.is_outage() {
                true => Failure::try_again(error),
                false => Failure::usage(error),
            })?;
            Some(AwsClients::from_vars(vars).map_err(Failure::usage)?)
        } else {
            None
        };
        let clients = || aws.as_ref().ok_or_else(|| Failure::usage("expected AWS clients, found none"));
        let secret = match &self.ring {
            Location::File(path) => Secret::File(FileSecret::new(path, ids.clone())),
            Location::SecretsManager(id) => {
                Secret::Aws(Box::new(clients()?.secret_versions(id).map_err(Failure::usage)?), id.clone())
            }
            other => {
                return Err(Failure::usage(format!(
                    "--ring: expected a file or secretsmanager:ARN, found {}:; hint: a ring in SSM is read by issuers, but not rotated",
                    other.scheme()
                )));
            }
        };
        let published: Arc<dyn PublishedStore> = match &self.jwks {
            Location::File(path) => Arc::new(FilePublished::new(path, ids)),
            Location::Ssm(name) => Arc::new(clients()?.published_store(name).map_err(Failure::usage)?),
            other => {
                let found = other.scheme();
                return Err(Failure::usage(format!("--jwks: expected a file or ssm:NAME, found {found}:")));
            }
        };
        Ok(RingStores { secret, published, aws, ring: self.ring.clone(), jwks: self.jwks.clone() })
    }
}

impl RingStores {
    pub(super) fn ring_name(&self) -> String {
        self.ring.to_string()
    }

    pub(super) fn jwks_name(&self) -> String {
        self.jwks.to_string()
    }

    fn versions(&self) -> &dyn SecretVersions {
        match &self.secret {
            Secret::File(secret) => secret,
            Secret::Aws(secret, _) => secret.as_ref(),
        }
    }

    /// The ring that issuers read, with its version.
    pub(super) async fn current(&self) -> Result<Option<(String, KeyRing)>, Failure> {
        let state = self.versions().describe().await.map_err(|error| store_failed(&error))?;
        let Some(version) = state.with_stage(CURRENT) else { return Ok(None) };
        match self.versions().read(version).await.map_err(|error| store_failed(&error))? {
            None => Ok(None),
            Some(value) => Ok(Some((version.to_owned(), parsed_ring(version, &value)?))),
        }
    }

    /// Whether a rotation was begun and is not finished.
    pub(super) async fn is_rotating(&self) -> Result<bool, Failure> {
        let state = self.versions().describe().await.map_err(|error| store_failed(&error))?;
        Ok(state.with_stage(PENDING).is_some_and(|pending| !state.carries(pending, CURRENT)))
    }

    pub(super) async fn key_set(&self) -> Result<KeySet, Failure> {
        parsed_key_set(self.published.read().await.map_err(|error| store_failed(&error))?)
    }

    pub(super) async fn write_key_set(&self, set: &KeySet) -> Result<(), Failure> {
        self.published.write(&set.to_stored_json()).await.map_err(|error| store_failed(&error))
    }

    /// The rotation of the version `current` (none for a first ring), and the version that it makes: the one under way, else
    /// `version`. `None` when another version is current by now.
    pub(super) async fn rotation(
        &self,
        current: Option<&str>,
        algorithms: &[Algorithm],
        policy: RingPolicy,
        version: &str,
    ) -> Result<Option<(Rotation, String)>, Failure> {
        let (secret, token): (Arc<dyn SecretVersions>, String) = match &self.secret {
            Secret::File(secret) => {
                let token = secret.start_rotation(version, current).await.map_err(|error| store_failed(&error))?;
                let Some(token) = token else { return Ok(None) };
                (Arc::new(secret.clone()), token)
            }
            Secret::Aws(secret, id) => {
                let state = secret.describe().await.map_err(|error| store_failed(&error))?;
                if state.rotation_enabled {
                    return Err(Failure::usage(format!(
                        "expected a secret that this tool rotates, found {id}, which Secrets Manager rotates; hint: aws secretsmanager rotate-secret --secret-id {id}"
                    )));
                }
                if state.with_stage(CURRENT) != current {
                    return Ok(None);
                }
                let under_way = state.with_stage(PENDING).filter(|pending| !state.carries(pending, CURRENT));
                let token = under_way.unwrap_or(version).to_owned();
                (Arc::new(ByHand { secret: secret.as_ref().clone(), token: token.clone() }), token)
            }
        };
        Ok(Some((self.over(secret, algorithms, policy).await?, token)))
    }

    /// A rotation that only withdraws.
    pub(super) async fn withdrawal(&self, algorithms: &[Algorithm], policy: RingPolicy) -> Result<Rotation, Failure> {
        let secret: Arc<dyn SecretVersions> = match &self.secret {
            Secret::File(secret) => Arc::new(secret.clone()),
            Secret::Aws(secret, _) => Arc::new(secret.as_ref().clone()),
        };
        self.over(secret, algorithms, policy).await
    }

    /// New keys are made where the ring's keys already are.
    async fn over(
        &self,
        secret: Arc<dyn SecretVersions>,
        algorithms: &[Algorithm],
        policy: RingPolicy,
    ) -> Result<Rotation, Failure> {
        let ring = self.current().await?.map(|(_, ring)| ring);
        let places = ring.iter().flat_map(KeyRing::key_versions).map(|key| key.location().clone());
        let places: Vec<PrivateLocation> = places.collect();
        if places.iter().any(|place| matches!(place, PrivateLocation::Transit { .. })) {
            return Err(Failure::data(
                "expected keys in the ring or in AWS KMS, found a transit key; hint: rotate it in its own engine",
            ));
        }
        let in_kms = places.iter().any(|place| matches!(place, PrivateLocation::Kms { .. }));
        let local = || {
            Rotation::new(
                Arc::clone(&secret),
                Arc::clone(&self.published),
                Arc::new(LocalKeyMaker),
                algorithms.to_vec(),
                policy,
            )
        };
        let Some(clients) = self.aws.as_ref() else {
            return if in_kms {
                Err(Failure::data(
                    "expected keys in the ring, found keys in AWS KMS; hint: the ring belongs in Secrets Manager then",
                ))
            } else {
                Ok(local())
            };
        };
        let budget = Arc::new(KmsBudget::new(KMS_SIGNS_PER_SECOND));
        let signers = Arc::new(KmsKeys::new(clients.clone(), Arc::clone(&budget)));
        if !in_kms {
            return Ok(local().with_signers(signers));
        }
        let maker: Arc<dyn KeyMaker> = Arc::new(KmsKeyMaker::new(clients.clone(), budget, &self.ring_id()));
        let rotation = Rotation::new(secret, Arc::clone(&self.published), maker, algorithms.to_vec(), policy);
        Ok(rotation.with_signers(signers))
    }

    fn ring_id(&self) -> String {
        match &self.secret {
            Secret::File(_) => self.ring_name(),
            Secret::Aws(_, id) => id.clone(),
        }
    }
}

/// A secret that Secrets Manager does not rotate, for the one version that this tool is making: the steps ask for a
/// version that was begun, and here the first value begins it.
#[derive(Debug)]
struct ByHand {
    secret: SecretsManagerVersions,
    token: String,
}

#[async_trait]
impl SecretVersions for ByHand {
    async fn describe(&self) -> Result<SecretState, SourceError> {
        let mut state = self.secret.describe().await?;
        if state.rotation_enabled {
            // Somebody switched it on meanwhile: two drivers would take each other's versions away.
            state.rotation_enabled = false;
            return Ok(state);
        }
        state.rotation_enabled = true;
        // A finished rotation leaves the stage on the version that is current; only another one under way keeps us out.
        let pending = state.with_stage(PENDING).map(str::to_owned);
        let free = pending.as_ref().is_none_or(|pending| state.carries(pending, CURRENT));
        if free && !state.carries(&self.token, CURRENT) {
            if let Some(stages) = pending.and_then(|pending| state.versions.get_mut(&pending)) {
                stages.remove(PENDING);
            }
            state.versions.entry(self.token.clone()).or_default().insert(PENDING.to_owned());
        }
        Ok(state)
    }

    async fn read(&self, version: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError> {
        self.secret.read(version).await
    }

    async fn put_pending(&self, version: &str, value: &[u8]) -> Result<Put, SourceError> {
        self.secret.put_pending(version, value).await
    }

    async fn move_current(&self, from: Option<&str>, to: &str) -> Result<Moved, SourceError> {
        self.secret.move_current(from, to).await
    }

    async fn drop_stage(&self, stage: &str, version: &str) -> Result<(), SourceError> {
        self.secret.drop_stage(stage, version).await
    }
}
