//! Rotation: AWS Secrets Manager's four steps over a key ring, and withdrawal.
//!
//! Every step is idempotent, may run twice at once, and may stop at any line: what counts is in the stores, and each step
//! reads it anew. The rules of *which* key signs *when* are [`KeyRing`]'s; here is only the order of reads and writes.
//!
//! Invariants:
//! - a ring becomes current only after all its public halves are stored and read back;
//! - a ring becomes current only in the place of the one it was derived from;
//! - no step publishes a withdrawn kid or lowers `min_generation`.

mod health;
mod ports;
mod withdraw;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use token_jose::{Algorithm, KeyRing, KeySet, KeySetError, PrivateLocation, RingError, RingPolicy};
use tracing::{info, warn};

use crate::document::SourceError;
use crate::signers::{self, SignerSource};

pub use health::RotationHealth;
pub use ports::{
    CURRENT, KeyMaker, LocalKeyMaker, Moved, PENDING, PREVIOUS, PublishedStore, Put, Recycled, SecretState,
    SecretVersions, WarmIssuers,
};
pub use withdraw::{IssuersAfter, WithdrawalReport};

/// What every private half signs in `testSecret`.
const PROBE: &[u8] = b"key-rotation: does this private half belong to the published public half?";

/// The four steps of AWS Secrets Manager's rotation protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `createSecret`: make the next ring.
    Create,
    /// `setSecret`: publish it.
    Set,
    /// `testSecret`: check it as a verifier would.
    Test,
    /// `finishSecret`: make it current.
    Finish,
}

impl std::str::FromStr for Step {
    type Err = UnknownStep;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "createSecret" => Ok(Self::Create),
            "setSecret" => Ok(Self::Set),
            "testSecret" => Ok(Self::Test),
            "finishSecret" => Ok(Self::Finish),
            _ => Err(UnknownStep),
        }
    }
}

/// A name that is none of the four steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected createSecret, setSecret, testSecret or finishSecret")]
pub struct UnknownStep;

/// Why a step did not do its work. Running it again is always allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// A key of the ring cannot do what a verifier needs.
    #[error("key {kid}: {found}")]
    BadKey {
        /// The key.
        kid: String,
        /// What is wrong.
        found: String,
    },
    /// The published set is not what was written, or holds private members.
    #[error("the published key set cannot be used: {0}")]
    KeySet(#[source] KeySetError),
    /// The current ring changed since this one was derived.
    #[error(
        "the pending ring was derived from {expected}, but {found} is current; it was given up; hint: rotate again"
    )]
    Lost {
        /// The version the ring was derived from.
        expected: String,
        /// The version that is current.
        found: String,
    },
    /// The pending version is not there any more: a withdrawal or an operator took it away.
    #[error("version {version} is no longer pending; hint: rotate again")]
    NotPending {
        /// The version.
        version: String,
    },
    /// What was written is not what is read.
    #[error("the published key set was written and another one was read back; hint: run the step again")]
    NotReadBack,
    /// The ring cannot be used.
    #[error("version {version}: {error}")]
    Ring {
        /// The version it is in.
        version: String,
        /// Why.
        #[source]
        error: RingError,
    },
    /// The secret is not set up for this.
    #[error("{0}")]
    Setup(String),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] SourceError),
    /// A key of the ring would sign before verifiers have long seen it.
    #[error("key {kid} would sign from {signs_from}, and is published only since {since}; hint: rotate again")]
    TooSoon {
        /// The key.
        kid: String,
        /// From when it would sign.
        signs_from: Timestamp,
        /// Since when it is published.
        since: Timestamp,
    },
    /// The key set would not fit its store.
    #[error(
        "the published key set can grow to {worst} bytes and its store takes {max}; hint: use fewer algorithms, smaller keys or a longer interval"
    )]
    TooLarge {
        /// Bytes at worst.
        worst: usize,
        /// Bytes the store takes.
        max: usize,
    },
}

/// One secret, its published set, and how first rings are made.
#[derive(Debug)]
pub struct Rotation {
    secret: Arc<dyn SecretVersions>,
    published: Arc<dyn PublishedStore>,
    maker: Arc<dyn KeyMaker>,
    signers: Option<Arc<dyn SignerSource>>,
    issuers: Option<Arc<dyn WarmIssuers>>,
    algorithms: Vec<Algorithm>,
    policy: RingPolicy,
}

impl Rotation {
    /// A rotation of the ring in `secret`, published in `published`. `algorithms` (the first is the default) and `policy`
    /// are those of the first ring; later rings carry their own.
    #[must_use]
    pub fn new(
        secret: Arc<dyn SecretVersions>,
        published: Arc<dyn PublishedStore>,
        maker: Arc<dyn KeyMaker>,
        algorithms: Vec<Algorithm>,
        policy: RingPolicy,
    ) -> Self {
        Self { secret, published, maker, signers: None, issuers: None, algorithms, policy }
    }

    /// The same, with who reaches private halves that are not in the ring: without one, `testSecret` refuses such a ring.
    #[must_use]
    pub fn with_signers(mut self, signers: Arc<dyn SignerSource>) -> Self {
        self.signers = Some(signers);
        self
    }

    /// The same, with the issuers that a withdrawal replaces; see [`Rotation::recycle`].
    #[must_use]
    pub fn with_issuers(mut self, issuers: Arc<dyn WarmIssuers>) -> Self {
        self.issuers = Some(issuers);
        self
    }

    /// Runs one step for the version `token`.
    ///
    /// # Errors
    /// [`RotationError`]; every step may be run again.
    pub async fn run(&self, step: Step, token: &str, now: Timestamp) -> Result<(), RotationError> {
        let state = match self.admitted(token).await {
            Ok(state) => state,
            // A withdrawal may have taken the version away, and an earlier run of this step that stopped may have undone the
            // withdrawal's publication.
            Err(error) => {
                let state = self.secret.describe().await;
                if let Ok(state) = &state
                    && let Err(problem) = self.mend(state, now).await
                {
                    warn!(%problem, "whether a withdrawal is still published could not be seen");
                }
                return Err(error);
            }
        };
        self.mend(&state, now).await?;
        match step {
            Step::Create => self.create(&state, token, now).await,
            Step::Set => self.set(&state, token, now).await,
            Step::Test => self.test(&state, token, now).await,
            Step::Finish => self.finish(&state, token, now).await,
        }
    }

    /// Publishes what a withdrawal left, if a step that raced with it wrote its own set over that: a withdrawn key is public
    /// again then, and `min_generation` may be what it was before. Such a step mends it itself, unless it stops first.
    async fn mend(&self, state: &SecretState, now: Timestamp) -> Result<(), RotationError> {
        let Some(version) = state.with_stage(CURRENT) else { return Ok(()) };
        let Some(value) = self.secret.read(version).await? else { return Ok(()) };
        // What cannot be read is for the step itself to refuse.
        let Ok(ring) = KeyRing::parse(&value) else { return Ok(()) };
        if ring.withdrawn().len() == 0 {
            return Ok(());
        }
        let stored = self.stored_set().await?;
        if ring.withdrawn().any(|kid| stored.get(kid).is_some()) && ring.permitted_by(&stored).is_ok() {
            warn!(version, "a withdrawn key is published; the set is made anew");
            self.publish(version, &ring, KeyRing::republished, ring.generation(), now).await?;
        }
        Ok(())
    }

    /// The guards of the protocol: the store rotates this secret, and `token` is a version that is being made.
    async fn admitted(&self, token: &str) -> Result<SecretState, RotationError> {
        let state = self.secret.describe().await?;
        if !state.rotation_enabled {
            return Err(RotationError::Setup("expected a secret that is rotated, found rotation disabled".to_owned()));
        }
        if !state.versions.contains_key(token) {
            return Err(RotationError::Setup("expected a version of the secret, found another token".to_owned()));
        }
        if !state.carries(token, PENDING) && !state.carries(token, CURRENT) {
            return Err(RotationError::NotPending { version: token.to_owned() });
        }
        Ok(state)
    }

    /// Makes the next ring and stores it as pending. The first to store wins: whoever comes second uses what is stored.
    async fn create(&self, state: &SecretState, token: &str, now: Timestamp) -> Result<(), RotationError> {
        if let Some(value) = self.secret.read(token).await? {
            parse_ring(token, &value)?;
            info!(version = token, "the pending ring is already made");
            return Ok(());
        }
        let stored = self.stored_set().await?;
        let next = match self.current(state, token).await? {
            None => self.first(now).await?,
            Some((version, ring)) => {
                check_permitted(&version, &ring, &stored)?;
                let mut fresh = Vec::new();
                for algorithm in ring.standbys_due(now) {
                    fresh.push(self.maker.standby(algorithm).await?);
                }
                ring.rotated(&stored, &version, fresh, now).map_err(|error| RotationError::Ring { version, error })?
            }
        };
        // A withdrawal may have asked for more than a first ring can be: then the secret was lost, and an operator decides.
        check_permitted(token, &next, &stored)?;
        self.check_size(&next)?;
        let invalid = |error| RotationError::Ring { version: token.to_owned(), error };
        match self.secret.put_pending(token, &next.to_json().map_err(invalid)?).await? {
            Put::Stored => info!(version = token, generation = next.generation(), "the next ring is pending"),
            Put::AlreadyThere => info!(version = token, "another run made the pending ring first; that one is used"),
        }
        Ok(())
    }

    /// A first ring. Its keys sign at once: no verifier knows another key that they could wait for.
    async fn first(&self, now: Timestamp) -> Result<KeyRing, RotationError> {
        let invalid = |error| RotationError::Ring { version: "the first ring".to_owned(), error };
        let mut keys = Vec::new();
        for algorithm in &self.algorithms {
            keys.push(self.maker.standby(*algorithm).await?);
            keys.push(self.maker.standby(*algorithm).await?);
        }
        KeyRing::first_of(&self.algorithms, keys, self.policy, now).map_err(invalid)
    }

    /// Publishes the pending ring, and reads it back.
    async fn set(&self, state: &SecretState, token: &str, now: Timestamp) -> Result<(), RotationError> {
        let ring = self.pending(token).await?;
        self.check_place(state, token, &ring).await?;
        self.publish_guarded(token, &ring, KeyRing::announced, now).await
    }

    /// Publishes as [`Rotation::publish`]; and if a withdrawal came between that one's read and its write, which then has
    /// undone the withdrawal's publication, publishes what the withdrawal left.
    async fn publish_guarded(
        &self,
        token: &str,
        ring: &KeyRing,
        view: fn(&KeyRing, &KeySet, Timestamp) -> KeySet,
        now: Timestamp,
    ) -> Result<(), RotationError> {
        self.publish(token, ring, view, 0, now).await?;
        let state = self.secret.describe().await?;
        if let Some((version, current)) = self.current(&state, token).await? {
            let behind = current.withdrawn().any(|kid| !ring.withdrawn().any(|known| known == kid));
            if behind {
                warn!(version = token, "a withdrawal overtook this rotation; its result is published again");
                self.publish(&version, &current, KeyRing::republished, current.generation(), now).await?;
                return Err(RotationError::NotPending { version: token.to_owned() });
            }
        }
        Ok(())
    }

    /// Checks the pending ring as a verifier would. A version without a value is the store's own test of the set-up
    /// (`RotateImmediately = false`): nothing is written, permissions and sizes are checked.
    async fn test(&self, state: &SecretState, token: &str, now: Timestamp) -> Result<(), RotationError> {
        let stored = self.stored_set().await?;
        let Some(value) = self.secret.read(token).await? else {
            if let Some((_, ring)) = self.current(state, token).await? {
                self.check_size(&ring)?;
            }
            info!(version = token, "no ring is pending; access and sizes are as they must be");
            return Ok(());
        };
        let mut ring = parse_ring(token, &value)?;
        check_permitted(token, &ring, &stored)?;
        self.check_size(&ring)?;
        if let Some(signers) = &self.signers {
            signers::attach(&mut ring, signers.as_ref()).await?;
        }
        check_published(&ring, &stored, now)?;
        for key in ring.key_versions() {
            let bad = |found: String| RotationError::BadKey { kid: key.kid().to_string(), found };
            if *key.location() == PrivateLocation::Dropped {
                continue;
            }
            let signer = key.signer().ok_or_else(|| bad("this process has no signer for its location".to_owned()))?;
            let signature = signer.sign(PROBE).await.map_err(|error| bad(format!("signing failed: {error}")))?;
            let public = stored.get(key.kid()).ok_or_else(|| bad("it is not published".to_owned()))?;
            public
                .verify_signature(PROBE, &signature)
                .map_err(|_| bad("its signature does not verify with the published key".to_owned()))?;
        }
        Ok(())
    }

    /// Makes the pending ring current, in the place of the one it was derived from and of no other.
    async fn finish(&self, state: &SecretState, token: &str, now: Timestamp) -> Result<(), RotationError> {
        let ring = self.pending(token).await?;
        let stored = self.stored_set().await?;
        check_permitted(token, &ring, &stored)?;
        check_published(&ring, &stored, now)?;
        self.check_place(state, token, &ring).await?;
        let current = state.with_stage(CURRENT);
        if current != Some(token) {
            self.check_lead(state, token, &ring, &stored).await?;
            self.make_current(current, token).await?;
            info!(version = token, generation = ring.generation(), "the ring is current");
        }
        // Only now is it certain that the key before has a successor, and so when it may go.
        self.publish_guarded(token, &ring, KeyRing::republished, now).await?;
        // The version before holds private keys that nobody needs: without a stage the store forgets it.
        let state = self.secret.describe().await?;
        if let Some(previous) = state.with_stage(PREVIOUS).filter(|previous| *previous != token) {
            self.secret.drop_stage(PREVIOUS, previous).await?;
        }
        Ok(())
    }

    /// The ring of `token` takes the place of the one it was derived from, and of no other: else it is given up.
    async fn check_place(&self, state: &SecretState, token: &str, ring: &KeyRing) -> Result<(), RotationError> {
        let current = state.with_stage(CURRENT);
        if current == Some(token) {
            return Ok(());
        }
        let replaced = self.current(state, token).await?.map(|(version, _)| version);
        if ring.derived_from() == replaced.as_deref() {
            return Ok(());
        }
        self.secret.drop_stage(PENDING, token).await?;
        Err(lost(ring.derived_from(), current))
    }

    /// No key that this ring promotes signs before it was public for the lead, which only now is known: a standby that was
    /// not published when it was promoted (after a rollback, say) may have been published late. Then the ring is given up.
    async fn check_lead(
        &self,
        state: &SecretState,
        token: &str,
        ring: &KeyRing,
        stored: &KeySet,
    ) -> Result<(), RotationError> {
        let Some((_, replaced)) = self.current(state, token).await? else { return Ok(()) };
        let lead = SignedDuration::from_secs(i64::try_from(ring.policy().lead_s).unwrap_or(i64::MAX));
        for key in ring.key_versions() {
            let promoted = replaced.get(key.kid()).is_none_or(|before| before.signs_from() != key.signs_from());
            let since = stored.entry(key.kid()).and_then(|entry| entry.published_at);
            if let (true, Some(signs_from), Some(since)) = (promoted, key.signs_from(), since)
                && since.checked_add(lead).is_ok_and(|soonest| signs_from < soonest)
            {
                self.secret.drop_stage(PENDING, token).await?;
                return Err(RotationError::TooSoon { kid: key.kid().to_string(), signs_from, since });
            }
        }
        Ok(())
    }

    /// Compares and swaps: `to` becomes current in the place of `from`, or is given up.
    async fn make_current(&self, from: Option<&str>, to: &str) -> Result<(), RotationError> {
        if self.secret.move_current(from, to).await? == Moved::Moved {
            return Ok(());
        }
        let state = self.secret.describe().await?;
        let current = state.with_stage(CURRENT);
        if current == Some(to) {
            // A twin of this run was first, or the answer of our own first attempt was lost.
            return Ok(());
        }
        self.secret.drop_stage(PENDING, to).await?;
        Err(lost(from, current))
    }

    /// Stores what verifiers must see with `ring`, before it is current ([`KeyRing::announced`]) or once it is
    /// ([`KeyRing::republished`]), and reads it back.
    async fn publish(
        &self,
        version: &str,
        ring: &KeyRing,
        view: fn(&KeyRing, &KeySet, Timestamp) -> KeySet,
        min_generation: u64,
        now: Timestamp,
    ) -> Result<KeySet, RotationError> {
        let stored = self.stored_set().await?;
        check_permitted(version, ring, &stored)?;
        for foreign in ring.foreign(&stored) {
            warn!(kid = %foreign.key.kid(), "the published set has a key that no ring of ours knows");
        }
        let wanted = view(ring, &stored, now).with_min_generation(min_generation);
        let text = wanted.to_stored_json();
        if text.len() > self.published.max_bytes() {
            return Err(RotationError::TooLarge { worst: text.len(), max: self.published.max_bytes() });
        }
        if wanted != stored {
            self.published.write(&text).await?;
            if self.stored_set().await? != wanted {
                return Err(RotationError::NotReadBack);
            }
            info!(version, keys = wanted.len(), "the public halves are published");
        }
        Ok(wanted)
    }

    /// The published set as stored; empty when there is none yet.
    async fn stored_set(&self) -> Result<KeySet, RotationError> {
        match self.published.read().await? {
            None => Ok(KeySet::default()),
            Some(text) => KeySet::parse(text.as_bytes()).map_err(RotationError::KeySet),
        }
    }

    /// The ring that is current beside `token`, with its version; `None` while there is none.
    async fn current(&self, state: &SecretState, token: &str) -> Result<Option<(String, KeyRing)>, RotationError> {
        let Some(version) = state.with_stage(CURRENT).filter(|version| *version != token) else { return Ok(None) };
        match self.secret.read(version).await? {
            None => Ok(None),
            Some(value) => Ok(Some((version.to_owned(), parse_ring(version, &value)?))),
        }
    }

    async fn pending(&self, token: &str) -> Result<KeyRing, RotationError> {
        match self.secret.read(token).await? {
            Some(value) => parse_ring(token, &value),
            None => Err(RotationError::Setup(format!(
                "expected a ring in version {token}, found none; hint: createSecret runs first"
            ))),
        }
    }

    /// The published set at its largest: for each algorithm a standby, two keys around a switch, and every key that is
    /// retained at the same time.
    fn check_size(&self, ring: &KeyRing) -> Result<(), RotationError> {
        let policy = ring.policy();
        let retained = policy.retention_s.div_ceil(policy.interval_s.max(1));
        let worst = ring.largest_published(3_u64.saturating_add(retained));
        let max = self.published.max_bytes();
        if worst > max { Err(RotationError::TooLarge { worst, max }) } else { Ok(()) }
    }
}

fn parse_ring(version: &str, value: &[u8]) -> Result<KeyRing, RotationError> {
    KeyRing::parse(value).map_err(|error| RotationError::Ring { version: version.to_owned(), error })
}

fn check_permitted(version: &str, ring: &KeyRing, stored: &KeySet) -> Result<(), RotationError> {
    ring.permitted_by(stored).map_err(|error| RotationError::Ring { version: version.to_owned(), error })
}

/// Every public half of the ring is stored exactly, and none that signs is about to go.
fn check_published(ring: &KeyRing, stored: &KeySet, now: Timestamp) -> Result<(), RotationError> {
    let live = stored.live(now);
    for key in ring.key_versions() {
        if *key.location() != PrivateLocation::Dropped && !live.contains(key.public_key()) {
            let found = "it is not in the published set; hint: setSecret runs first".to_owned();
            return Err(RotationError::BadKey { kid: key.kid().to_string(), found });
        }
    }
    for kid in ring.withdrawn() {
        if stored.get(kid).is_some() {
            let found = "it is withdrawn and still published; hint: setSecret runs first".to_owned();
            return Err(RotationError::BadKey { kid: kid.to_string(), found });
        }
    }
    Ok(())
}

fn lost(expected: Option<&str>, found: Option<&str>) -> RotationError {
    let name = |version: Option<&str>| version.unwrap_or("no version").to_owned();
    RotationError::Lost { expected: name(expected), found: name(found) }
}
