//! The key ring: which keys exist, and from when each one signs.

mod document;
mod plan;
mod policy;
mod rotate;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::key::{KeyError, PublicKey};
use crate::keyset::{KeySet, PublishedKey};
use crate::kid::Kid;
use crate::problem::Problems;
use crate::signer::{LocalSigner, Signer};
use crate::strict_json::StrictJsonError;

pub use plan::{Door, Margin, Moment, RotationPlan, UnknownKid, Verifier};
pub use policy::{LEEWAY_S, RingPolicy};
pub use rotate::{RING_AGE_S, ROTATION_STEP_S, Withdrawal, Withdrawn, seconds_after};

/// Where the private half of a key version is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrivateLocation {
    /// In the ring itself, as PKCS#8. The version comes with a signer.
    Inline,
    /// In AWS KMS. A signer must be attached.
    Kms {
        /// The ARN of the key itself; an alias could be pointed elsewhere.
        arn: String,
    },
    /// In Vault's or OpenBao's transit engine. A signer must be attached.
    Transit {
        /// The name of the transit key.
        key: String,
        /// Its pinned version, from 1.
        version: u64,
    },
    /// Nowhere any more: a retained public half, still published so that its last tokens verify.
    Dropped,
}

/// One key of the ring: its public half, from when it signs, and what signs for it.
#[derive(Clone, Debug)]
pub struct KeyVersion {
    public: PublicKey,
    signs_from: Option<Timestamp>,
    location: PrivateLocation,
    local: Option<Arc<LocalSigner>>,
    signer: Option<Arc<dyn Signer>>,
}

impl KeyVersion {
    fn local(signer: LocalSigner, signs_from: Option<Timestamp>) -> Self {
        let local = Arc::new(signer);
        Self {
            public: local.public_key().clone(),
            signs_from,
            location: PrivateLocation::Inline,
            signer: Some(Arc::<LocalSigner>::clone(&local)),
            local: Some(local),
        }
    }

    /// A standby whose private half is in the ring.
    #[must_use]
    pub fn standby(signer: LocalSigner) -> Self {
        Self::local(signer, None)
    }

    /// A standby whose private half is elsewhere: `location` is where, `signer` reaches it.
    #[must_use]
    pub fn remote_standby(location: PrivateLocation, signer: Arc<dyn Signer>) -> Self {
        Self { public: signer.public_key().clone(), signs_from: None, location, local: None, signer: Some(signer) }
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        self.public.kid()
    }

    /// The key's algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// From when it signs; `None` for a standby, which is published and waits.
    #[must_use]
    pub fn signs_from(&self) -> Option<Timestamp> {
        self.signs_from
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Where the private half is.
    #[must_use]
    pub fn location(&self) -> &PrivateLocation {
        &self.location
    }

    /// What signs for it: there for an inline key, and once [`KeyRing::attach`] has been called for a remote one.
    #[must_use]
    pub fn signer(&self) -> Option<&Arc<dyn Signer>> {
        self.signer.as_ref()
    }
}

/// Why a ring was not accepted or made. Messages never contain key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The document is not strict JSON.
    #[error(transparent)]
    Json(#[from] StrictJsonError),
    /// The document is JSON, but not a sound ring; every problem is listed.
    #[error("{0}")]
    Invalid(Problems),
    /// A key could not be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The ring is older than a withdrawal: one of its keys may be in foreign hands.
    #[error(
        "expected a ring of generation {minimum} or later, found {found}; hint: a withdrawal made older rings void, load the current one"
    )]
    Stale {
        /// The key set's `min_generation`.
        minimum: u64,
        /// The ring's generation.
        found: u64,
    },
    /// A signer was attached to a key version that it does not belong to.
    #[error("signer for {kid}: expected {expected}")]
    Attach {
        /// The key that the signer is for.
        kid: Kid,
        /// What the ring should have had.
        expected: &'static str,
    },
}

/// The key versions of an issuer. Which one signs depends on the clock alone, so every issuer switches by itself.
///
/// A value of this type is sound: every `kid` is its key's thumbprint and there once, halves match, no withdrawn key is
/// in it, no two keys of one algorithm start at the same instant, the newest key of every algorithm still has its private
/// half, and the policy's inequalities hold.
#[derive(Clone)]
pub struct KeyRing {
    generation: u64,
    derived_from: Option<String>,
    default: Algorithm,
    policy: RingPolicy,
    withdrawn: BTreeSet<Kid>,
    keys: Vec<KeyVersion>,
}

impl KeyRing {
    /// The largest ring document: what one Secrets Manager value holds.
    pub const MAX_BYTES: usize = 65_536;

    /// Reads a ring document, version 1, or the source system's secret `{"private_key": PEM, …}`, which becomes a ring of
    /// one RS256 key that signs since 1970, of generation 0.
    ///
    /// ```json
    /// {"version":1,"generation":7,"derived_from":"<version id>","default_alg":"RS256",
    ///  "policy":{"interval":2592000,"lead":86400,"max_token_ttl":3600,"retention":172800,
    ///            "jwks_max_age":300,"verifier_cache":3600,"skew":60},
    ///  "withdrawn":["<kid>"],
    ///  "keys":[{"kid":"<kid>","alg":"RS256","signs_from":"2026-11-22T00:00:00Z",
    ///           "public":{"kty":"RSA","n":"…","e":"AQAB"},"private":{"pkcs8":"<base64 DER>"}}]}
    /// ```
    /// `signs_from` is null or absent for a standby. `private` is `{"pkcs8"}`, `{"kms": ARN}`,
    /// `{"transit": {"key", "version"}}` or absent. `derived_from` and `withdrawn` may be absent; a policy time that is
    /// absent is the default's.
    ///
    /// # Errors
    /// When the document is not strict JSON of at most [`KeyRing::MAX_BYTES`], or not a sound ring: every problem is
    /// listed, none with key material.
    pub fn parse(json: &[u8]) -> Result<Self, RingError> {
        document::parse(json)
    }

    /// Makes a ring: for each algorithm one key that signs from `now` (cut to the second) and one standby. The first
    /// algorithm is the default. Generation 1.
    ///
    /// # Errors
    /// When `algorithms` is empty or repeats one, the policy is unsafe, or a key cannot be made.
    pub fn first(algorithms: &[Algorithm], policy: RingPolicy, now: Timestamp) -> Result<Self, RingError> {
        let mut keys = Vec::with_capacity(2 * algorithms.len());
        for algorithm in algorithms.iter().flat_map(|algorithm| [*algorithm; 2]) {
            keys.push(KeyVersion::standby(LocalSigner::generate(algorithm)?));
        }
        Self::first_of(algorithms, keys, policy, now)
    }

    /// As [`KeyRing::first`], of keys made elsewhere: two standbys of each algorithm, in any order.
    ///
    /// # Errors
    /// When `algorithms` is empty or repeats one, `keys` is not two new standbys of each, or the policy is unsafe.
    pub fn first_of(
        algorithms: &[Algorithm],
        keys: Vec<KeyVersion>,
        policy: RingPolicy,
        now: Timestamp,
    ) -> Result<Self, RingError> {
        let mut problems = Problems::default();
        problems.extend(policy.problems());
        let distinct: BTreeSet<Algorithm> = algorithms.iter().copied().collect();
        if distinct.len() != algorithms.len() {
            problems.add("algorithms", "expected every algorithm once, found one again");
        }
        let Some(default) = algorithms.first().copied() else {
            problems.add("algorithms", "expected at least one algorithm, found none");
            return Err(RingError::Invalid(problems));
        };
        let mut keys = keys;
        let start = Timestamp::from_second(now.as_second()).unwrap_or(now);
        for algorithm in &distinct {
            let mut own = keys.iter_mut().filter(|key| key.algorithm() == *algorithm && key.signs_from.is_none());
            match (own.next(), own.next(), own.next()) {
                (Some(active), Some(_), None) => active.signs_from = Some(start),
                _ => problems.add("keys", format!("expected two new {algorithm} keys, found another number")),
            }
        }
        let kids: BTreeSet<&Kid> = keys.iter().map(KeyVersion::kid).collect();
        if kids.len() != keys.len() || keys.len() != 2 * distinct.len() {
            problems.add("keys", "expected two different keys of each algorithm, found others");
        }
        if !problems.is_empty() {
            return Err(RingError::Invalid(problems));
        }
        Ok(Self { generation: 1, derived_from: None, default, policy, withdrawn: BTreeSet::new(), keys })
    }

    /// The ring as a document that [`KeyRing::parse`] reads back. It holds private keys; the buffer is wiped when dropped.
    ///
    /// # Errors
    /// When the document would exceed [`KeyRing::MAX_BYTES`].
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, RingError> {
        document::write(self)
    }

    /// The key version that signs at `now`: of this algorithm, the one with the newest `signs_from` that has come.
    ///
    /// `None` when no key has started, or when the one that should sign has lost its private half; an older key never
    /// steps in.
    #[must_use]
    pub fn active(&self, algorithm: Algorithm, now: Timestamp) -> Option<&KeyVersion> {
        let started = self
            .keys
            .iter()
            .filter(|key| key.algorithm() == algorithm && key.signs_from.is_some_and(|signs_from| signs_from <= now));
        started.max_by_key(|key| key.signs_from).filter(|key| key.location != PrivateLocation::Dropped)
    }

    /// The algorithms that the ring can sign with, now or from a set time: the default first.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = vec![self.default];
        algorithms.extend(Algorithm::ALL.into_iter().filter(|algorithm| {
            *algorithm != self.default
                && self.keys.iter().any(|key| {
                    key.algorithm() == *algorithm
                        && key.signs_from.is_some()
                        && key.location != PrivateLocation::Dropped
                })
        }));
        algorithms
    }

    /// The algorithm of tokens for which nothing else is said.
    #[must_use]
    pub fn default_algorithm(&self) -> Algorithm {
        self.default
    }

    /// How many times the ring has been derived; a withdrawal makes all below a number void.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The version id of the ring that this one was made from.
    #[must_use]
    pub fn derived_from(&self) -> Option<&str> {
        self.derived_from.as_deref()
    }

    /// The times of rotation and publication.
    #[must_use]
    pub fn policy(&self) -> &RingPolicy {
        &self.policy
    }

    /// The keys that must never sign or be published again.
    pub fn withdrawn(&self) -> impl ExactSizeIterator<Item = &Kid> {
        self.withdrawn.iter()
    }

    /// Every key version, in document order.
    #[must_use]
    pub fn key_versions(&self) -> &[KeyVersion] {
        &self.keys
    }

    /// The key version named `kid`.
    #[must_use]
    pub fn get(&self, kid: &Kid) -> Option<&KeyVersion> {
        self.keys.iter().find(|key| key.kid() == kid)
    }

    /// The key versions whose private half is elsewhere and that have no signer yet.
    pub fn unattached(&self) -> impl Iterator<Item = &KeyVersion> {
        self.keys.iter().filter(|key| key.signer.is_none() && key.location != PrivateLocation::Dropped)
    }

    /// Gives a remote key version its signer.
    ///
    /// # Errors
    /// [`RingError::Attach`] when the ring has no such key, its public half or algorithm differs, or its private half is
    /// not remote.
    pub fn attach(&mut self, signer: Arc<dyn Signer>) -> Result<(), RingError> {
        let public = signer.public_key().clone();
        let refuse = |expected| Err(RingError::Attach { kid: public.kid().clone(), expected });
        let Some(version) = self.keys.iter_mut().find(|key| key.kid() == public.kid()) else {
            return refuse("a key version of this ring");
        };
        match version.location {
            _ if version.public != public => refuse("the ring's public half and algorithm"),
            PrivateLocation::Kms { .. } | PrivateLocation::Transit { .. } => {
                version.signer = Some(signer);
                Ok(())
            }
            PrivateLocation::Inline | PrivateLocation::Dropped => refuse("a key version whose private half is remote"),
        }
    }

    /// The key set to publish at `now`: every key of the ring, standbys included, with `published_at` = `now`, and for a
    /// key with a successor `not_after` = the successor's `signs_from` + retention.
    ///
    /// Who publishes again keeps the earlier `published_at` of the stored set, and its `min_generation`; this one is 0.
    #[must_use]
    pub fn published(&self, now: Timestamp) -> KeySet {
        let entries = self.keys.iter().map(|key| PublishedKey {
            key: key.public.clone(),
            published_at: Some(Timestamp::from_second(now.as_second()).unwrap_or(now)),
            not_after: self.not_after(key),
        });
        KeySet::new(entries, 0)
    }

    /// How many bytes the stored key set has at most when there are `each` keys of every algorithm: what to hold against the
    /// limit of its store before anything is written.
    #[must_use]
    pub fn largest_published(&self, each: u64) -> usize {
        let each = usize::try_from(each).unwrap_or(usize::MAX);
        let entry = |algorithm: Algorithm| {
            let own = self.keys.iter().filter(|key| key.algorithm() == algorithm);
            let sizes = own.map(|key| {
                let entry = PublishedKey {
                    key: key.public.clone(),
                    published_at: Some(Timestamp::UNIX_EPOCH),
                    not_after: Some(Timestamp::UNIX_EPOCH),
                };
                KeySet::new([entry], u64::MAX).to_stored_json().len()
            });
            sizes.max().unwrap_or(0)
        };
        Algorithm::ALL.into_iter().map(|algorithm| entry(algorithm).saturating_mul(each)).fold(0, usize::saturating_add)
    }

    /// When the last token that any issuer may have signed with `key` is dead everywhere; `None` while it has no
    /// successor.
    fn not_after(&self, key: &KeyVersion) -> Option<Timestamp> {
        let successor = self.successor_start(key)?;
        let retention = SignedDuration::from_secs(i64::try_from(self.policy.retention_s).ok()?);
        successor.checked_add(retention).ok()
    }

    /// From when the next key of the same algorithm signs.
    fn successor_start(&self, key: &KeyVersion) -> Option<Timestamp> {
        let own = key.signs_from?;
        let others = self.keys.iter().filter(|other| other.algorithm() == key.algorithm());
        others.filter_map(KeyVersion::signs_from).filter(|start| *start > own).min()
    }

    /// Whether this ring may be used beside the stored key set: no withdrawal has made it void.
    ///
    /// # Errors
    /// [`RingError::Stale`] when its generation is below the set's `min_generation`.
    pub fn permitted_by(&self, published: &KeySet) -> Result<(), RingError> {
        if self.generation < published.min_generation() {
            return Err(RingError::Stale { minimum: published.min_generation(), found: self.generation });
        }
        Ok(())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("generation", &self.generation)
            .field("default", &self.default)
            .field("keys", &self.keys.iter().map(|key| (key.kid(), key.signs_from)).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
