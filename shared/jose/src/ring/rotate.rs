//! Rotation and withdrawal: from one ring to the next, as values.
//!
//! A rotation never makes a key sign that verifiers have not long seen: it *promotes the standby*, which has been public
//! since the rotation before, and adds a new standby. Every issuer then switches at the promoted key's `signs_from` by its
//! own clock, so nothing has to happen at the same moment anywhere, and a late or repeated rotation is harmless.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::algorithm::Algorithm;
use crate::key::PublicKey;
use crate::keyset::{KeySet, PublishedKey};
use crate::kid::Kid;
use crate::problem::Problems;
use crate::ring::{KeyRing, KeyVersion, PrivateLocation, RingError};

/// The longest time, in seconds, that an issuer works with a ring before it reads it again: the `signs_from` of a promoted
/// key lies twice as far ahead, so that every issuer knows of it when it comes.
pub const RING_AGE_S: u64 = 300;

/// The longest time, in seconds, that one step of a rotation may take from its start to its last effect: the time limit of
/// the function that runs it. What a step stores as `now` may be this old when verifiers see it, so the lead covers it.
pub const ROTATION_STEP_S: u64 = 60;

/// Which key to withdraw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Every key of the ring, and every published one: the ring itself may have leaked, and a pending one with it.
    All,
    /// One key of the ring or of the published set.
    Key(Kid),
}

/// What a withdrawal of one key means for tokens that are already out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The key.
    pub kid: Kid,
    /// It was published, and the ring did not have it: planted, of a rotation that was given up, or past its retention. No
    /// key that signs is touched, and nothing is known of when it signed.
    pub foreign: bool,
    /// Since when it signed; `None` for a standby.
    pub signed_from: Option<Timestamp>,
    /// Until when an issuer may have signed with it: its successor's start, else the withdrawal.
    pub signed_until: Option<Timestamp>,
    /// The latest `exp` of a token that an issuer may have signed with it.
    pub latest_exp: Option<Timestamp>,
}

impl KeyRing {
    /// The algorithms for which [`KeyRing::rotated`] needs a new standby at `now`: those whose standby is due to be
    /// promoted, or is missing. Empty while a promoted key still waits for its time.
    #[must_use]
    pub fn standbys_due(&self, now: Timestamp) -> Vec<Algorithm> {
        self.held().into_iter().filter(|algorithm| self.is_due(*algorithm, now)).collect()
    }

    /// The next ring: for each algorithm that is due, the standby gets the time from which it signs, and the fresh standby
    /// takes its place. Private halves that no clock can still need are dropped, and keys past their retention with them.
    ///
    /// `published` is the stored key set, which knows since when the standby has been public; `source` is the version id of
    /// this ring; `fresh` holds one standby for each of [`KeyRing::standbys_due`].
    ///
    /// **Invariant:** a promoted key signs from `published_at + lead` at the earliest, and from `now` + twice
    /// [`RING_AGE_S`] at the earliest. A standby that is not known to be published counts as published at `now`.
    ///
    /// # Errors
    /// [`RingError::Invalid`] when `fresh` is not what is due.
    pub fn rotated(
        &self,
        published: &KeySet,
        source: &str,
        fresh: Vec<KeyVersion>,
        now: Timestamp,
    ) -> Result<Self, RingError> {
        let due = self.standbys_due(now);
        self.check_fresh(&due, &fresh)?;
        let mut next = self.derived(source);
        for algorithm in due {
            if let Some(standby) = next.standby(algorithm, published, now) {
                let signs_from = self.promotion_time(next.keys.get(standby), published, now);
                if let Some(key) = next.keys.get_mut(standby) {
                    key.signs_from = Some(signs_from);
                }
            }
        }
        next.keys.extend(fresh);
        next.retire(now);
        Ok(next)
    }

    /// The next ring without what is withdrawn: the promoted or standby key signs at once where the signing key went, and
    /// fresh standbys fill up. It is the one step after which a key may sign that has not been public for the whole lead.
    ///
    /// `published` is the stored key set: a key that only it has is withdrawn too, and then nothing is promoted. `fresh`
    /// holds what [`KeyRing::needed_after`] asks for.
    ///
    /// Of a ring that is void beside `published` (see [`KeyRing::permitted_by`]) every key that is not published goes too.
    ///
    /// **Invariant:** its generation is above that of every ring that was ever announced: whichever of them somebody makes
    /// current again is void once the set's `min_generation` is this one's generation.
    ///
    /// # Errors
    /// [`RingError::Invalid`] when neither the ring nor the set has such a key, or `fresh` is not what is needed.
    pub fn without(
        &self,
        withdrawal: &Withdrawal,
        published: &KeySet,
        source: &str,
        fresh: Vec<KeyVersion>,
        now: Timestamp,
    ) -> Result<(Self, Vec<Withdrawn>), RingError> {
        let goes = self.going(withdrawal, published)?;
        self.check_fresh(&self.needed_after(withdrawal, published, now)?, &fresh)?;
        let reports = goes.iter().map(|kid| self.report(kid, now)).collect();
        let mut next = self.derived(source);
        // Two generations on: a rotation that is pending beside this one has the next, and becomes void with the old ring.
        next.generation = self.generation.max(published.generation()).saturating_add(2);
        next.keys.retain(|key| !goes.contains(key.kid()));
        next.withdrawn.extend(goes);
        let start = whole_second(now);
        let mut fresh = fresh;
        for algorithm in self.held() {
            if self.keeps_signing(algorithm, &next, now) {
                continue;
            }
            let waiting = next.next_to_sign(algorithm, now);
            let key = match waiting {
                Some(index) => next.keys.get_mut(index),
                None => fresh.iter_mut().find(|key| key.algorithm() == algorithm),
            };
            if let Some(key) = key {
                key.signs_from = Some(start);
            }
        }
        next.keys.extend(fresh);
        next.retire(now);
        Ok((next, reports))
    }

    /// The algorithms, once per key, of the fresh keys that [`KeyRing::without`] needs.
    ///
    /// # Errors
    /// [`RingError::Invalid`] when neither the ring nor the set has such a key.
    pub fn needed_after(
        &self,
        withdrawal: &Withdrawal,
        published: &KeySet,
        now: Timestamp,
    ) -> Result<Vec<Algorithm>, RingError> {
        let goes = self.going(withdrawal, published)?;
        let mut needed = Vec::new();
        for algorithm in self.held() {
            let left = |key: &&KeyVersion| key.algorithm() == algorithm && !goes.contains(key.kid());
            let remain: Vec<&KeyVersion> = self.keys.iter().filter(left).collect();
            let usable = |key: &&&KeyVersion| key.location != PrivateLocation::Dropped;
            let mut waiting =
                remain.iter().filter(usable).filter(|key| key.signs_from.is_none_or(|start| start > now)).count();
            let active_stays = match self.active(algorithm, now) {
                Some(active) => !goes.contains(active.kid()),
                None => !self.signs(algorithm, now),
            };
            if !active_stays {
                match waiting {
                    0 => needed.push(algorithm),
                    _ => waiting -= 1,
                }
            }
            if waiting == 0 {
                needed.push(algorithm);
            }
        }
        Ok(needed)
    }

    /// The key set to store before this ring becomes current, given the stored one: only more than what is there.
    ///
    /// - every key of the ring is in it, new ones with `published_at` = `now`;
    /// - no `not_after` is set or comes sooner: the ring may never become current, and then the key that signs now goes on;
    /// - withdrawn keys and keys past their time are gone; `min_generation` stays.
    #[must_use]
    pub fn announced(&self, stored: &KeySet, now: Timestamp) -> KeySet {
        let foreign = self.foreign(stored).cloned();
        let own = self.keys.iter().map(|key| {
            let known = Self::known(key, stored, now);
            let retired = self.not_after(key);
            let not_after = match known {
                Some(entry) => entry.not_after.zip(retired).map(|(stored, end)| stored.max(end)),
                // It was never published, or is past its time: then it stays away.
                None => retired.filter(|end| *end <= now),
            };
            Self::entry(key, known, not_after, now)
        });
        self.noted(KeySet::new(own.chain(foreign).filter(|entry| entry.is_live(now)), stored.min_generation()), stored)
    }

    /// The key set to store once this ring is current, given the stored one: what was published stays as long as it must.
    ///
    /// - every key of the ring, with the `published_at` it already has, else `now`;
    /// - `not_after` as the ring says. It is never earlier than what is already stored for a key that has a successor, and
    ///   when it is set for the first time, one retention and [`RING_AGE_S`] away at least: a ring that became current
    ///   after its keys' times leaves issuers with the ring before until then;
    /// - a stored key that the ring does not know stays for one retention: a racing rotation may have made it, and a token
    ///   of it may be out. It is foreign; see [`KeyRing::foreign`];
    /// - withdrawn keys and keys past their time are gone;
    /// - `min_generation` never goes down.
    #[must_use]
    pub fn republished(&self, stored: &KeySet, now: Timestamp) -> KeySet {
        let limit = seconds_after(whole_second(now), self.policy.retention_s);
        let soonest = seconds_after(limit, RING_AGE_S);
        let own = self.keys.iter().map(|key| {
            let known = Self::known(key, stored, now);
            let earliest = known.map(|entry| entry.not_after.unwrap_or(soonest));
            let not_after = self.not_after(key).map(|end| earliest.map_or(end, |earliest| end.max(earliest)));
            Self::entry(key, known, not_after, now)
        });
        let foreign = self.foreign(stored).map(|entry| PublishedKey {
            not_after: Some(entry.not_after.map_or(limit, |end| end.min(limit))),
            ..entry.clone()
        });
        self.noted(KeySet::new(own.chain(foreign).filter(|entry| entry.is_live(now)), stored.min_generation()), stored)
    }

    /// The set with the newest generation that was ever announced.
    fn noted(&self, set: KeySet, stored: &KeySet) -> KeySet {
        set.with_generation(self.generation.max(stored.generation()))
    }

    /// What is stored of this very key, if verifiers get it at `now`: a key past its time was gone, and comes back as new.
    fn known<'a>(key: &KeyVersion, stored: &'a KeySet, now: Timestamp) -> Option<&'a PublishedKey> {
        stored.entry(key.kid()).filter(|entry| entry.key == key.public && entry.is_live(now))
    }

    fn entry(
        key: &KeyVersion,
        known: Option<&PublishedKey>,
        not_after: Option<Timestamp>,
        now: Timestamp,
    ) -> PublishedKey {
        let published_at = known.and_then(|entry| entry.published_at).or(Some(whole_second(now)));
        PublishedKey { key: key.public.clone(), published_at, not_after }
    }

    /// The stored keys that this ring does not know and has not withdrawn: worth an alarm, since nothing but a racing
    /// rotation should make one.
    pub fn foreign<'a>(&'a self, stored: &'a KeySet) -> impl Iterator<Item = &'a PublishedKey> {
        stored
            .entries()
            .filter(|entry| self.get(entry.key.kid()).is_none() && !self.withdrawn.contains(entry.key.kid()))
    }

    /// The same ring, one generation on.
    fn derived(&self, source: &str) -> Self {
        Self { generation: self.generation.saturating_add(1), derived_from: Some(source.to_owned()), ..self.clone() }
    }

    /// The algorithms of which the ring holds a key that can sign, now or ever.
    fn held(&self) -> Vec<Algorithm> {
        let holds = |algorithm: &Algorithm| {
            self.keys.iter().any(|key| key.algorithm() == *algorithm && key.location != PrivateLocation::Dropped)
        };
        Algorithm::ALL.into_iter().filter(holds).collect()
    }

    fn is_due(&self, algorithm: Algorithm, now: Timestamp) -> bool {
        let own = self.keys.iter().filter(|key| key.algorithm() == algorithm);
        !own.filter_map(|key| key.signs_from).any(|start| start > now)
    }

    /// Whether some key of `algorithm` has started by `now`: a ring that never signed with it need not start.
    fn signs(&self, algorithm: Algorithm, now: Timestamp) -> bool {
        self.keys.iter().any(|key| key.algorithm() == algorithm && key.signs_from.is_some_and(|start| start <= now))
    }

    /// Whether the key of `algorithm` that signs at `now` is in `next` too, or none ever signed. An older key never steps
    /// in for one that went: its private half may be gone from other processes, and its time is over.
    fn keeps_signing(&self, algorithm: Algorithm, next: &Self, now: Timestamp) -> bool {
        match self.active(algorithm, now) {
            Some(active) => next.get(active.kid()).is_some(),
            None => !self.signs(algorithm, now),
        }
    }

    /// Where the standby of `algorithm` is that has been public the longest.
    fn standby(&self, algorithm: Algorithm, published: &KeySet, now: Timestamp) -> Option<usize> {
        let waiting = self.keys.iter().enumerate().filter(|(_, key)| {
            key.algorithm() == algorithm && key.signs_from.is_none() && key.location != PrivateLocation::Dropped
        });
        let since = |key: &KeyVersion| {
            let entry = Self::known(key, published, now);
            entry.and_then(|entry| entry.published_at).unwrap_or(Timestamp::MAX)
        };
        waiting.min_by_key(|(_, key)| (since(key), key.kid().clone())).map(|(index, _)| index)
    }

    /// The key that signs next: the promoted one that waits for its time, else a standby.
    fn next_to_sign(&self, algorithm: Algorithm, now: Timestamp) -> Option<usize> {
        let promoted = |key: &KeyVersion| key.signs_from.filter(|start| *start > now);
        let waiting = self.keys.iter().enumerate().filter(|(_, key)| {
            key.algorithm() == algorithm
                && key.location != PrivateLocation::Dropped
                && (key.signs_from.is_none() || promoted(key).is_some())
        });
        waiting
            .min_by_key(|(_, key)| (promoted(key).unwrap_or(Timestamp::MAX), key.kid().clone()))
            .map(|(index, _)| index)
    }

    fn promotion_time(&self, standby: Option<&KeyVersion>, published: &KeySet, now: Timestamp) -> Timestamp {
        let known = standby.and_then(|key| Self::known(key, published, now));
        // A time in the future cannot be believed: whoever wrote it may not shorten or stretch the lead.
        let public_since = known.and_then(|entry| entry.published_at).filter(|since| *since <= now).unwrap_or(now);
        let soonest = seconds_after(whole_second(now), 2 * RING_AGE_S);
        soonest.max(seconds_after(public_since, self.policy.lead_s))
    }

    /// Drops private halves once every clock has passed the successor's start, and keys past their retention.
    fn retire(&mut self, now: Timestamp) {
        let ends: Vec<(Option<Timestamp>, Option<Timestamp>)> =
            self.keys.iter().map(|key| (self.successor_start(key), self.not_after(key))).collect();
        let clocks = 2_u64.saturating_mul(self.policy.skew_s);
        let mut at = 0;
        self.keys.retain_mut(|key| {
            let (successor, not_after) = ends.get(at).copied().unwrap_or_default();
            at += 1;
            if successor.is_some_and(|start| seconds_after(start, clocks) <= now) {
                key.location = PrivateLocation::Dropped;
                key.local = None;
                key.signer = None;
            }
            not_after.is_none_or(|end| now < end)
        });
    }

    /// The keys to withdraw. A kid that is nowhere is refused: a typing error must not look like a withdrawal.
    ///
    /// A ring that is void was overtaken by a withdrawal: made current again, or left so by a run that stopped. It does not
    /// know what that one withdrew, and the published set does: what it lacks goes too, and no kid is refused, since a
    /// withdrawal that stopped half-way must be able to run again.
    fn going(&self, withdrawal: &Withdrawal, published: &KeySet) -> Result<BTreeSet<Kid>, RingError> {
        let void = self.permitted_by(published).is_err();
        let overtaken = self.keys.iter().filter(|key| void && !published.contains(&key.public));
        let mut goes: BTreeSet<Kid> = overtaken.map(|key| key.kid().clone()).collect();
        match withdrawal {
            Withdrawal::All => {
                let own = self.keys.iter().map(KeyVersion::kid);
                goes.extend(own.chain(published.keys().map(PublicKey::kid)).cloned());
            }
            Withdrawal::Key(kid) => {
                if !void && self.get(kid).is_none() && published.get(kid).is_none() {
                    let mut problems = Problems::default();
                    let expected = "expected a kid of the ring or of the published set";
                    problems.add("withdraw", format!("{expected}, found {kid}; hint: compare it with the key set's"));
                    return Err(RingError::Invalid(problems));
                }
                goes.insert(kid.clone());
            }
        }
        Ok(goes)
    }

    fn report(&self, kid: &Kid, now: Timestamp) -> Withdrawn {
        let Some(key) = self.get(kid) else {
            let kid = kid.clone();
            return Withdrawn { kid, foreign: true, signed_from: None, signed_until: None, latest_exp: None };
        };
        let signed_from = key.signs_from.filter(|start| *start <= now);
        let until = self.successor_start(key).filter(|start| *start <= now).unwrap_or(now);
        let signed_until = signed_from.map(|_| until);
        // A stale issuer may hold the ring for half the lead more, and its clock may be behind.
        let stale_s = (self.policy.lead_s / 2).saturating_add(self.policy.skew_s);
        let latest_exp =
            signed_until.map(|end| seconds_after(end, stale_s.saturating_add(self.policy.max_token_ttl_s)));
        Withdrawn { kid: kid.clone(), foreign: false, signed_from, signed_until, latest_exp }
    }

    fn check_fresh(&self, due: &[Algorithm], fresh: &[KeyVersion]) -> Result<(), RingError> {
        let mut expected = due.to_vec();
        let mut found: Vec<Algorithm> = fresh.iter().map(KeyVersion::algorithm).collect();
        expected.sort_unstable();
        found.sort_unstable();
        let mut problems = Problems::default();
        if expected != found {
            let names = |all: &[Algorithm]| all.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(" ");
            problems.add("fresh keys", format!("expected [{}], found [{}]", names(&expected), names(&found)));
        }
        for key in fresh {
            let known = self.get(key.kid()).is_some() || self.withdrawn.contains(key.kid());
            if known || key.signs_from.is_some() || key.location == PrivateLocation::Dropped {
                problems.add("fresh keys", format!("expected a new standby, found {} that is none", key.kid()));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(RingError::Invalid(problems)) }
    }
}

/// The moment `seconds` after `time`; the end of time rather than an overflow.
#[must_use]
pub fn seconds_after(time: Timestamp, seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| time.checked_add(SignedDuration::from_secs(seconds)).ok())
        .unwrap_or(Timestamp::MAX)
}

/// The instant cut to whole seconds, as documents hold it.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
#[path = "rotate_tests.rs"]
mod tests;
