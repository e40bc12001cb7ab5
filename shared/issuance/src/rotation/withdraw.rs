//! Withdrawal: a key is in foreign hands, or may be.

use std::time::Duration;

use jiff::Timestamp;
use token_jose::{KeyRing, KeySet, Kid, RING_AGE_S, ROTATION_STEP_S, RingError, Withdrawal, Withdrawn, seconds_after};
use tracing::{info, warn};

use super::{CURRENT, PENDING, PREVIOUS, Put, Recycled, Rotation, RotationError, SecretState, parse_ring};

/// How long the door that serves the key set keeps it in memory, in seconds.
const PUBLISHER_AGE_S: u64 = 60;

/// How often a withdrawal is published again when a racing rotation wrote over it.
const ATTEMPTS: usize = 5;

/// What a withdrawal did, and how long its key still matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalReport {
    /// The keys, with the time each signed and the latest `exp` of a token of it. Empty when an earlier run withdrew.
    pub keys: Vec<Withdrawn>,
    /// The generation below which rings are void.
    pub min_generation: u64,
    /// When the last warm issuer has read the new ring: until then it may sign with what was withdrawn.
    pub issuers_follow_by: Timestamp,
    /// When no step of a rotation is at work any more that began before the withdrawal. One that stops at the wrong moment
    /// can undo the publication; a run from then on puts it right.
    pub run_again_after: Timestamp,
    /// Until when a verifier that cached the key set may still accept forgeries.
    pub forgeries_accepted_until: Timestamp,
    /// Until when a verifier that cached the key set may refuse the tokens of a key that it has not seen; `None` when the
    /// key that signs now was public before.
    pub refusals_until: Option<Timestamp>,
    /// Keys whose private half is elsewhere and could not be made unusable there: for an operator's hand.
    pub still_enabled: Vec<Kid>,
}

/// What became of the warm issuers after a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuersAfter {
    /// Nothing was asked for: they follow by themselves, by [`WithdrawalReport::issuers_follow_by`].
    Follow,
    /// Fresh ones took their place.
    Recycled(Recycled),
    /// Fresh ones were to take their place, and that is not certain: else as [`IssuersAfter::Follow`].
    NotRecycled {
        /// What went wrong, and what to do.
        problem: String,
    },
}

impl Rotation {
    /// Puts fresh issuers in the place of those that hold the ring before: after a withdrawal, whose success this does not
    /// touch. `run` is another text at every run; it takes at most `within`.
    pub async fn recycle(&self, run: &str, within: Duration) -> IssuersAfter {
        let Some(issuers) = &self.issuers else { return IssuersAfter::Follow };
        match issuers.recycle(run, within).await {
            Ok(recycled) => {
                info!(from = recycled.from, to = recycled.to, "warm issuers are replaced");
                IssuersAfter::Recycled(recycled)
            }
            Err(error) => {
                warn!(%error, "warm issuers could not be replaced; they follow by themselves");
                let hint =
                    "the withdrawal is done, and warm issuers follow by themselves; run it again to replace them";
                IssuersAfter::NotRecycled { problem: format!("{error}; hint: {hint}") }
            }
        }
    }

    /// Withdraws a key, or all: it never signs and is never published again. `token` is the id of the version to make.
    ///
    /// A key that is published and not in the ring is withdrawn as well: one that was planted, is of a rotation that was
    /// given up, or is past its retention. Then the key that signs stays, since it is not the one in foreign hands.
    ///
    /// From a ring that is void (see [`KeyRing::permitted_by`]) what an earlier withdrawal withdrew is withdrawn again.
    ///
    /// A pending rotation is given up first: its ring holds the key. Then the new ring is stored, the public set replaced
    /// and its `min_generation` raised, and the ring made current. May be run again after any failure.
    ///
    /// # Errors
    /// [`RotationError`], also when neither the current ring nor the published set has such a key, and it was never
    /// withdrawn: then nothing is changed. Beside a void ring no kid is refused: a run that stopped can be run again.
    pub async fn withdraw(
        &self,
        withdrawal: &Withdrawal,
        token: &str,
        now: Timestamp,
    ) -> Result<WithdrawalReport, RotationError> {
        let state = self.secret.describe().await?;
        let Some((version, ring)) = self.current(&state, token).await? else {
            return Err(RotationError::Setup("expected a current ring to withdraw from, found none".to_owned()));
        };
        let invalid = |error: RingError| RotationError::Ring { version: version.clone(), error };
        let before = self.stored_set().await?;
        let done = matches!(withdrawal, Withdrawal::Key(kid) if ring.withdrawn().any(|known| known == kid))
            && ring.permitted_by(&before).is_ok();
        let needed = if done { Vec::new() } else { ring.needed_after(withdrawal, &before, now).map_err(invalid)? };
        if let Some(pending) = state.with_stage(PENDING).filter(|pending| *pending != version) {
            self.secret.drop_stage(PENDING, pending).await?;
            warn!(version = pending, "the pending rotation is given up");
        }
        if done {
            self.publish_withdrawal(&version, &ring, now).await?;
            self.tidy(&version).await?;
            return Ok(report(&ring, &before, Vec::new(), now));
        }
        let mut fresh = Vec::new();
        for algorithm in needed {
            fresh.push(self.maker.standby(algorithm).await?);
        }
        let (next, keys) = ring.without(withdrawal, &before, &version, fresh, now).map_err(invalid)?;
        if self.secret.put_pending(token, &next.to_json().map_err(invalid)?).await? == Put::AlreadyThere {
            return Err(RotationError::Setup(
                "expected an unused version id for the withdrawal, found one in use".to_owned(),
            ));
        }
        self.publish_withdrawal(token, &next, now).await?;
        // Before the switch: a run that stops here is run again from the start.
        let mut still_enabled = Vec::new();
        for key in keys.iter().filter_map(|gone| ring.get(&gone.kid)) {
            if let Err(error) = self.maker.disable(key).await {
                warn!(kid = %key.kid(), %error, "a withdrawn key could not be disabled where it is");
                still_enabled.push(key.kid().clone());
            }
        }
        self.make_current(Some(&version), token).await?;
        self.tidy(token).await?;
        // A rotation that was at its write may have undone the publication since.
        self.publish_withdrawal(token, &next, now).await?;
        for key in &keys {
            warn!(kid = %key.kid, generation = next.generation(), "key withdrawn");
        }
        let mut report = report(&next, &before, keys, now);
        report.still_enabled = still_enabled;
        Ok(report)
    }

    /// Publishes `ring` with `min_generation` raised to its generation, until that is what is read.
    async fn publish_withdrawal(&self, version: &str, ring: &KeyRing, now: Timestamp) -> Result<(), RotationError> {
        let mut last = RotationError::NotReadBack;
        for _ in 0..ATTEMPTS {
            match self.publish(version, ring, KeyRing::republished, ring.generation(), now).await {
                Ok(_) => return Ok(()),
                Err(RotationError::NotReadBack) => last = RotationError::NotReadBack,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Takes the stages off that would keep the old ring alive.
    async fn tidy(&self, token: &str) -> Result<(), RotationError> {
        let state: SecretState = self.secret.describe().await?;
        for stage in [PENDING, PREVIOUS] {
            if let Some(version) = state.with_stage(stage).filter(|version| stage == PENDING || *version != token) {
                self.secret.drop_stage(stage, version).await?;
            }
        }
        match state.with_stage(CURRENT) {
            Some(current) => match self.secret.read(current).await? {
                Some(value) => parse_ring(current, &value).map(|_| ()),
                None => {
                    Err(RotationError::Setup("expected the current version to hold a ring, found no value".to_owned()))
                }
            },
            None => Err(RotationError::Setup("expected a current version after the switch, found none".to_owned())),
        }
    }
}

fn report(ring: &KeyRing, before: &KeySet, keys: Vec<Withdrawn>, now: Timestamp) -> WithdrawalReport {
    let policy = ring.policy();
    let caches_s = [PUBLISHER_AGE_S, policy.jwks_max_age_s, policy.verifier_cache_s, policy.skew_s]
        .into_iter()
        .fold(0, u64::saturating_add);
    // A verifier may lack a key that signs now until every cache that is older than its publication is gone.
    let seen_by = |algorithm| {
        let key = ring.active(algorithm, now)?;
        let known = before.entry(key.kid()).filter(|entry| entry.key == *key.public_key() && entry.is_live(now));
        let since = known.and_then(|entry| entry.published_at).filter(|since| *since <= now).unwrap_or(now);
        Some(seconds_after(since, caches_s)).filter(|seen| *seen > now)
    };
    WithdrawalReport {
        keys,
        min_generation: ring.generation(),
        issuers_follow_by: seconds_after(now, RING_AGE_S),
        run_again_after: seconds_after(now, ROTATION_STEP_S),
        forgeries_accepted_until: seconds_after(now, caches_s),
        still_enabled: Vec::new(),
        refusals_until: ring.algorithms().into_iter().filter_map(seen_by).max(),
    }
}
