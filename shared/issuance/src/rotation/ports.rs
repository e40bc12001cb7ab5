//! What a rotation needs of the stores: a secret with staged versions, a parameter, and a maker of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use token_jose::{Algorithm, KeyVersion, LocalSigner};
use zeroize::Zeroizing;

use crate::document::SourceError;

/// The stage of the version that readers get.
pub const CURRENT: &str = "AWSCURRENT";
/// The stage of the version that a rotation is making.
pub const PENDING: &str = "AWSPENDING";
/// The stage that the store gives to the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The versions of a secret and the stages each carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretState {
    /// Whether the store rotates the secret.
    pub rotation_enabled: bool,
    /// Stages by version id.
    pub versions: BTreeMap<String, BTreeSet<String>>,
}

impl SecretState {
    /// The version that carries `stage`. The store gives a stage to one version at most.
    #[must_use]
    pub fn with_stage(&self, stage: &str) -> Option<&str> {
        self.versions.iter().find(|(_, stages)| stages.contains(stage)).map(|(version, _)| version.as_str())
    }

    /// Whether `version` carries `stage`.
    #[must_use]
    pub fn carries(&self, version: &str, stage: &str) -> bool {
        self.versions.get(version).is_some_and(|stages| stages.contains(stage))
    }
}

/// What became of a value that was put under a version id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// The version already has a value, which stays: another run was first.
    AlreadyThere,
}

/// What became of a stage that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is on the version asked for.
    Moved,
    /// It was on another version than expected; nothing changed.
    Lost,
}

/// A secret whose versions are staged, as AWS Secrets Manager has it.
///
/// An implementation MUST bound its own time, keep content out of errors and `Debug`, and make each method one atomic
/// change of the store.
#[async_trait]
pub trait SecretVersions: Send + Sync + fmt::Debug {
    /// The versions and their stages.
    ///
    /// # Errors
    /// [`SourceError`]; a secret that does not exist is `NotFound`.
    async fn describe(&self) -> Result<SecretState, SourceError>;

    /// The value of `version`; `None` where the version has none, or is none.
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn read(&self, version: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError>;

    /// Stores `value` as `version` with the stage [`PENDING`]. A version's value is written once: a second put changes
    /// nothing. The first version of a secret also becomes [`CURRENT`].
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn put_pending(&self, version: &str, value: &[u8]) -> Result<Put, SourceError>;

    /// Moves [`CURRENT`] to the version `to`, only if it is on `from` now (on none, for `None`); the store then gives
    /// [`PREVIOUS`] to `from`.
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn move_current(&self, from: Option<&str>, to: &str) -> Result<Moved, SourceError>;

    /// Takes `stage` off `version`. Nothing to take off is no error.
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn drop_stage(&self, stage: &str, version: &str) -> Result<(), SourceError>;
}

/// Where the published key set is written.
///
/// An implementation MUST bound its own time; a write that returned is seen by every later read.
#[async_trait]
pub trait PublishedStore: Send + Sync + fmt::Debug {
    /// The stored text; `None` when there is no document yet.
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn read(&self) -> Result<Option<String>, SourceError>;

    /// Replaces the document.
    ///
    /// # Errors
    /// [`SourceError`] when the store does not answer or refuses.
    async fn write(&self, text: &str) -> Result<(), SourceError>;

    /// The most bytes the store takes.
    fn max_bytes(&self) -> usize;
}

/// Where an alias pointed before and points now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recycled {
    /// The version that served until now, with its warm processes.
    pub from: String,
    /// The version that serves from now on: the same code and settings, in processes that are yet to start.
    pub to: String,
}

/// The processes that issue tokens and hold the ring that they read last.
#[async_trait]
pub trait WarmIssuers: Send + Sync + fmt::Debug {
    /// Puts fresh processes in the place of the warm ones, with the code and the settings that those have and no others.
    /// `run` is another text at every run; letters, digits and `-`. MUST end within `within`.
    ///
    /// # Errors
    /// [`SourceError`] when that is not certain: warm processes may go on.
    async fn recycle(&self, run: &str, within: Duration) -> Result<Recycled, SourceError>;
}

/// Makes new keys.
#[async_trait]
pub trait KeyMaker: Send + Sync + fmt::Debug {
    /// A new standby of `algorithm`.
    ///
    /// # Errors
    /// [`SourceError`] when the key cannot be made.
    async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError>;

    /// Makes a withdrawn key unusable where its private half is. Nothing to do for one that was in the ring.
    ///
    /// # Errors
    /// [`SourceError`] when that is not certain.
    async fn disable(&self, key: &KeyVersion) -> Result<(), SourceError> {
        let _ = key;
        Ok(())
    }
}

/// Makes keys in this process; their private halves live in the ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalKeyMaker;

#[async_trait]
impl KeyMaker for LocalKeyMaker {
    async fn standby(&self, algorithm: Algorithm) -> Result<KeyVersion, SourceError> {
        LocalSigner::generate(algorithm).map(KeyVersion::standby).map_err(|error| SourceError::Unavailable {
            source_name: "key generation".to_owned(),
            detail: error.to_string(),
        })
    }
}
