//! The issuer's keys: the ring it signs with and the set that verifiers see, read together.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use token_jose::{Algorithm, KeyRing, KeySet, KeySetError, KeyVersion, RING_AGE_S, seconds_after};

use crate::document::DocumentSource;
use crate::refreshing::{Load, LoadError};
use crate::signers::{self, SignerSource};

/// A key ring and the published key set as they were at one moment.
#[derive(Debug)]
pub struct Keys {
    ring: KeyRing,
    published: KeySet,
    ring_version: String,
}

/// Why no key may sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSigningKey {
    /// The key goes from the published set before a token of it would be dead: the ring is older than the published set, as
    /// after a rollback.
    #[error(
        "key {kid} leaves the published key set at {not_after}, before its next token is dead; hint: the ring is older than the key set; rotate"
    )]
    Leaving {
        /// The key.
        kid: String,
        /// When it goes.
        not_after: Timestamp,
    },
    /// The ring's retention does not cover the lifetime: the token could outlive its key.
    #[error(
        "the ring covers tokens of at most {covered_s} s, and the mapping grants {granted_s} s; hint: lower max_ttl, or raise the ring's max_token_ttl and retention"
    )]
    NotCovered {
        /// The ring's `max_token_ttl`.
        covered_s: u64,
        /// The granted lifetime.
        granted_s: u64,
    },
    /// No key of this algorithm signs yet.
    #[error("no {algorithm} key of the ring signs at this time")]
    NoneActive {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// The key that should sign cannot do it from here.
    #[error("key {kid} has no private half that this process can use")]
    NoPrivateHalf {
        /// The key.
        kid: String,
    },
    /// The key was gone from the published set and is back, as after a rollback: verifiers that cached the set between do
    /// not know it.
    #[error("key {kid} is published again since {published_at}, and verifiers may not have seen it; hint: rotate")]
    Republished {
        /// The key.
        kid: String,
        /// Since when.
        published_at: Timestamp,
    },
    /// Verifiers do not see the key: signing with it would make tokens that nobody accepts.
    #[error("key {kid} should sign, but is not in the published key set; hint: publish the ring's public halves first")]
    Unpublished {
        /// The key.
        kid: String,
    },
}

impl Keys {
    /// The ring.
    #[must_use]
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The published set.
    #[must_use]
    pub fn published(&self) -> &KeySet {
        &self.published
    }

    /// The store's name for the ring's version.
    #[must_use]
    pub fn ring_version(&self) -> &str {
        &self.ring_version
    }

    /// The key that signs at `now`, with the set to verify against.
    ///
    /// **Invariant:** a key signs only if its kid and its exact public half are in the published set and not past their
    /// `not_after`; and only while the set keeps it until its longest token is dead, and has had it for the lead if it was
    /// ever gone.
    ///
    /// # Errors
    /// [`NoSigningKey`] when no key of the algorithm is active, or the active one is not published or not usable here.
    pub fn signing_key(&self, algorithm: Algorithm, now: Timestamp) -> Result<(&KeyVersion, KeySet), NoSigningKey> {
        let key = self.ring.active(algorithm, now).ok_or(NoSigningKey::NoneActive { algorithm })?;
        let live = self.published.live(now);
        if !live.contains(key.public_key()) {
            return Err(NoSigningKey::Unpublished { kid: key.kid().to_string() });
        }
        self.check_publication(key, &live, now)?;
        if key.signer().is_none() {
            return Err(NoSigningKey::NoPrivateHalf { kid: key.kid().to_string() });
        }
        Ok((key, live))
    }

    /// What a ring that is older than the published set, as after a rollback, must not do: sign tokens that outlive their
    /// key's publication, or with a key that verifiers may meanwhile have seen go.
    fn check_publication(&self, key: &KeyVersion, live: &KeySet, now: Timestamp) -> Result<(), NoSigningKey> {
        let Some(entry) = live.entry(key.kid()) else { return Ok(()) };
        let kid = key.kid().to_string();
        let policy = self.ring.policy();
        if let Some(not_after) = entry.not_after.filter(|end| seconds_after(now, policy.after_signing_s()) > *end) {
            return Err(NoSigningKey::Leaving { kid, not_after });
        }
        // The first keys sign as soon as they are published, and so does an emergency's; a set that was lost is published
        // again as a whole. Only a key that is younger in the set than it signs, and than others, was gone.
        if let (Some(published_at), Some(signs_from)) = (entry.published_at, key.signs_from())
            && seconds_after(signs_from, 2 * RING_AGE_S) < published_at
            && live.entries().any(|other| other.published_at.is_none_or(|since| since < published_at))
            && now < seconds_after(published_at, policy.lead_s)
        {
            return Err(NoSigningKey::Republished { kid, published_at });
        }
        Ok(())
    }
}

/// Reads [`Keys`] from the ring's and the published set's documents.
#[derive(Debug)]
pub struct KeyLoader {
    ring: Arc<dyn DocumentSource>,
    published: Arc<dyn DocumentSource>,
    signers: Option<Arc<dyn SignerSource>>,
}

impl KeyLoader {
    /// A reader of these two documents.
    #[must_use]
    pub fn new(ring: Arc<dyn DocumentSource>, published: Arc<dyn DocumentSource>) -> Self {
        Self { ring, published, signers: None }
    }

    /// The same, with who reaches private halves that are not in the ring. Without one, such a key cannot sign.
    #[must_use]
    pub fn with_signers(mut self, signers: Arc<dyn SignerSource>) -> Self {
        self.signers = Some(signers);
        self
    }
}

#[async_trait]
impl Load for KeyLoader {
    type Value = Keys;

    /// Reads both documents at once (two stores, one round trip's time) and reports what is wrong with either.
    async fn load(&self, _now: Timestamp) -> Result<Keys, LoadError> {
        let (ring, published) = futures_util::future::join(self.ring.read(), self.published.read()).await;
        let ring = ring.map_err(LoadError::from).and_then(|document| {
            let parsed = KeyRing::parse(document.bytes()).map_err(|problems| invalid(&*self.ring, &problems))?;
            Ok((parsed, document.version().to_owned()))
        });
        let published = published.map_err(LoadError::from).and_then(|document| {
            KeySet::parse(document.bytes()).map_err(|problems| invalid(&*self.published, &problems))
        });
        let ((mut ring, ring_version), published) = match (ring, published) {
            (Ok(ring), Ok(published)) => (ring, published),
            (Err(ring), Err(published)) => return Err(both(ring, published)),
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        // A withdrawal made this ring void: a ring read before it is no better.
        ring.permitted_by(&published)
            .map_err(|problem| LoadError::Poisoned(format!("{}: {problem}", self.ring.describe())))?;
        if let Some(signers) = &self.signers {
            signers::attach(&mut ring, signers.as_ref()).await?;
        }
        Ok(Keys { ring, published, ring_version })
    }

    /// Half the ring's lead: a rotation gives the next key at least the whole lead in public before it signs, so an issuer
    /// this stale still signs with a key that verifiers know.
    fn usable_s(&self, keys: &Keys) -> u64 {
        keys.ring.policy().lead_s / 2
    }

    fn what(&self) -> &'static str {
        "key ring"
    }
}

/// Reads the published key set alone: what a publisher needs.
#[derive(Debug)]
pub struct PublishedLoader {
    published: Arc<dyn DocumentSource>,
    stale_if_error_s: u64,
}

impl PublishedLoader {
    /// A reader of this document, whose last good value serves for `stale_if_error_s` seconds.
    #[must_use]
    pub fn new(published: Arc<dyn DocumentSource>, stale_if_error_s: u64) -> Self {
        Self { published, stale_if_error_s }
    }
}

#[async_trait]
impl Load for PublishedLoader {
    type Value = KeySet;

    /// A set with a private member is [`LoadError::Poisoned`]: no last good value may hide it.
    async fn load(&self, _now: Timestamp) -> Result<KeySet, LoadError> {
        let document = self.published.read().await?;
        KeySet::parse(document.bytes()).map_err(|problems| match (&problems, invalid(&*self.published, &problems)) {
            (KeySetError::PrivateMember { .. }, LoadError::Invalid(text)) => LoadError::Poisoned(text),
            (_, error) => error,
        })
    }

    fn usable_s(&self, _keys: &KeySet) -> u64 {
        self.stale_if_error_s
    }

    fn what(&self) -> &'static str {
        "key set"
    }
}

/// Each line of a parser's problems, with the document it is about.
fn invalid(source: &dyn DocumentSource, problems: &dyn std::fmt::Display) -> LoadError {
    let name = source.describe();
    let lines: Vec<String> = problems.to_string().lines().map(|line| format!("{name}: {line}")).collect();
    LoadError::Invalid(lines.join("\n"))
}

/// Two failures as one: wrong wins over unreachable, since only somebody's hand mends it.
fn both(ring: LoadError, published: LoadError) -> LoadError {
    let text = format!("{ring}\n{published}");
    match (ring, published) {
        (LoadError::Unreachable(_), LoadError::Unreachable(_)) => LoadError::Unreachable(text),
        _ => LoadError::Invalid(text),
    }
}
