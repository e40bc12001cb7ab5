//! The embedded store: for one replica, development and tests.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use token_jose::sha256;
use token_shell::IdSource;

use super::codec;
use super::decide::{Asked, Decision, FamilyState, StoredChild, UserState, user_over};
use super::family::{
    Child, Dead, Family, FamilyKind, Loaded, Opened, Presented, Proposal, REANSWER_WINDOW_S, RefreshOutcome,
    RenewOutcome, SEALED_MARGIN_S, binding, family_kept, kept, millis, seconds,
};
use super::ids::{Epoch, Standing, TokenId, UserKey, first_half};
use super::port::{
    Check, FamilyStore, HINT_LEASE_S, Rate, ReplayCache, RevocationStore, Revoked, StoreError, Target, Verdict,
};

/// How many expired entries one call removes at most. More than a call adds, so the expired ones cannot pile up.
const SWEPT_PER_CALL: usize = 8;

/// Everything in this process's memory, behind one lock that no call holds while it waits. Gone with the process: tokens of
/// an earlier life are refused, because their epoch is.
///
/// It holds a bounded number of entries: what would exceed it is refused as unavailable (revocations have some room of their
/// own). Each call removes a few expired entries; none looks through all.
pub struct MemoryStore {
    ids: Arc<dyn IdSource>,
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<UserKey, UserState>,
    families: HashMap<TokenId, Entry>,
    /// Revoked tokens, and until when that is kept.
    revoked: HashMap<TokenId, i64>,
    /// When the next use of an idle allowance would be due, in microseconds.
    rates: HashMap<(UserKey, Rate), i64>,
    replays: HashMap<[u8; 16], i64>,
    /// Every entry by the end of its time, in milliseconds.
    ends: BTreeSet<(i64, Key)>,
    hints: BTreeSet<(i64, TokenId)>,
    hinted: HashMap<TokenId, i64>,
}

struct Entry {
    state: FamilyState,
    family: Arc<Family>,
    /// The answer of the last rotation, and until when it is kept.
    sealed: Option<(i64, Vec<u8>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    User(UserKey),
    Family(TokenId),
    Sealed(TokenId),
    Token(TokenId),
    Rate(UserKey, u32, u32),
    Replay([u8; 16]),
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// The number of entries that a service holds unless told otherwise: about 1 GB of families.
    pub const DEFAULT_LIMIT: usize = 1_000_000;

    /// An empty store of at most `limit` entries, that draws epochs from `ids`.
    #[must_use]
    pub fn new(ids: Arc<dyn IdSource>, limit: usize) -> Self {
        Self { ids, limit, state: Mutex::new(State::default()) }
    }

    /// How many entries it holds, expired ones that were not removed yet included.
    ///
    /// # Errors
    /// When an earlier call has broken off in the middle.
    pub fn len(&self) -> Result<usize, StoreError> {
        Ok(self.lock()?.ends.len())
    }

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.state.lock().map_err(|_| StoreError::corrupt("a call on the memory store broke off in the middle"))
    }

    /// The state, a little tidier.
    fn swept(&self, now: i64) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock()?;
        for _ in 0..SWEPT_PER_CALL {
            let Some(&(end, key)) = state.ends.first().filter(|(end, _)| *end <= now) else { break };
            state.ends.remove(&(end, key));
            state.forget(&key);
        }
        Ok(state)
    }
}

impl State {
    fn forget(&mut self, key: &Key) {
        match key {
            Key::User(user) => drop(self.users.remove(user)),
            Key::Family(id) => {
                self.unseal(id);
                self.families.remove(id);
                self.unhint(id);
            }
            Key::Sealed(id) => {
                if let Some(entry) = self.families.get_mut(id) {
                    entry.sealed = None;
                }
            }
            Key::Token(id) => drop(self.revoked.remove(id)),
            Key::Rate(user, limit, window_s) => {
                if let (Some(limit), Some(window_s)) = ((*limit).try_into().ok(), (*window_s).try_into().ok()) {
                    self.rates.remove(&(*user, Rate { limit, window_s }));
                }
            }
            Key::Replay(proof) => drop(self.replays.remove(proof)),
        }
    }

    /// Notes that the entry `key`, which ended at `from`, ends at `to`.
    fn ends(&mut self, key: Key, from: Option<i64>, to: i64) {
        if let Some(from) = from {
            self.ends.remove(&(from, key));
        }
        self.ends.insert((to, key));
    }

    fn unseal(&mut self, id: &TokenId) {
        if let Some((end, _)) = self.families.get_mut(id).and_then(|entry| entry.sealed.take()) {
            self.ends.remove(&(end, Key::Sealed(*id)));
        }
    }

    fn room(&self, limit: usize) -> Result<(), StoreError> {
        if self.ends.len() < limit {
            return Ok(());
        }
        Err(StoreError::Unavailable { detail: format!("the memory store is full ({limit} entries)"), retry_after_s: 5 })
    }

    fn live_user(&self, user: &UserKey, now: i64) -> Option<UserState> {
        self.users.get(user).copied().filter(|found| found.kept > now)
    }

    fn keep_user(&mut self, user: UserKey, found: UserState, until: i64) {
        let end = found.kept.max(until);
        let before = self.users.insert(user, UserState { kept: end, ..found }).map(|before| before.kept);
        self.ends(Key::User(user), before, end);
    }

    fn hint(&mut self, id: TokenId, at: i64) {
        self.unhint(&id);
        self.hints.insert((at, id));
        self.hinted.insert(id, at);
    }

    fn unhint(&mut self, id: &TokenId) {
        if let Some(at) = self.hinted.remove(id) {
            self.hints.remove(&(at, *id));
        }
    }
}

#[async_trait]
impl FamilyStore for MemoryStore {
    async fn open(&self, family: &Family, current: Option<[u8; 32]>, now: Timestamp) -> Result<Opened, StoreError> {
        let now = millis(now);
        let state = FamilyState::new(family, current)?;
        codec::encode(family, &state)?;
        let family = &codec::to_the_millisecond(family);
        let mut store = self.swept(now)?;
        let user = state.user;
        let record = store.live_user(&user, now);
        let Some(record) = record.filter(|record| record.standing == family.standing) else {
            return Ok(Opened::Stale);
        };
        if let Some(entry) = store.families.get(&family.id).filter(|entry| entry.state.kept > now) {
            return Ok(if entry.state == state && *entry.family == *family { Opened::Open } else { Opened::Stale });
        }
        if state.expires <= now {
            return Ok(Opened::Stale);
        }
        store.room(self.limit)?;
        store.keep_user(user, record, state.kept);
        if family.renews && family.kind == FamilyKind::Parent {
            store.hint(family.id, now);
        }
        let end = state.kept;
        let entry = Entry { state, family: Arc::new(family.clone()), sealed: None };
        let before = store.families.insert(family.id, entry).map(|entry| entry.state.kept);
        store.ends(Key::Family(family.id), before, end);
        Ok(Opened::Open)
    }

    async fn load(&self, id: &TokenId, now: Timestamp) -> Result<Result<Loaded, Dead>, StoreError> {
        let now = millis(now);
        let store = self.swept(now)?;
        let Some(entry) = store.families.get(id) else { return Ok(Err(Dead::Unknown)) };
        if let Some(dead) = entry.state.over(store.users.get(&entry.state.user), now) {
            return Ok(Err(dead));
        }
        let latest = entry.state.latest.as_ref().map(StoredChild::child);
        Ok(Ok(Loaded { family: entry.family.as_ref().clone(), latest }))
    }

    async fn refresh(
        &self,
        presented: &Presented<'_>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let now = millis(now);
        let asked = Asked::of(presented, proposal)?;
        let proposed = proposal.map(|proposal| (&proposal.next, proposal.access));
        let mut guard = self.swept(now)?;
        let store = &mut *guard;
        let Some(entry) = store.families.get_mut(&presented.family) else {
            return Ok(RefreshOutcome::Dead(Dead::Unknown));
        };
        let decision = entry.state.refresh(store.users.get(&entry.state.user), &asked, proposed, now);
        match decision {
            Decision::Dead(dead) => Ok(RefreshOutcome::Dead(dead)),
            Decision::Theft => {
                store.unseal(&presented.family);
                store.unhint(&presented.family);
                Ok(RefreshOutcome::Theft)
            }
            Decision::Current => {
                store.unseal(&presented.family);
                Ok(RefreshOutcome::Current)
            }
            Decision::ReAnswer => match &entry.sealed {
                Some((_, sealed)) => Ok(RefreshOutcome::ReAnswer { sealed: sealed.clone() }),
                None => Err(StoreError::corrupt("the answer of a rotation is missing")),
            },
            Decision::Rotated => {
                store.unseal(&presented.family);
                if let (Some(proposal), Some(entry)) = (proposal, store.families.get_mut(&presented.family)) {
                    let end = now.saturating_add(seconds(REANSWER_WINDOW_S + SEALED_MARGIN_S));
                    entry.sealed = Some((end, proposal.sealed.clone()));
                    store.ends.insert((end, Key::Sealed(presented.family)));
                }
                Ok(RefreshOutcome::Rotated)
            }
            Decision::Repeated => Ok(RefreshOutcome::Rotated),
        }
    }

    async fn renew(
        &self,
        id: &TokenId,
        next: &Child,
        threshold_s: u64,
        now: Timestamp,
    ) -> Result<RenewOutcome, StoreError> {
        let now = millis(now);
        let threshold = seconds(threshold_s);
        let mut guard = self.swept(now)?;
        let store = &mut *guard;
        let Some(entry) = store.families.get_mut(id) else {
            store.unhint(id);
            return Ok(RenewOutcome::Dead(Dead::Unknown));
        };
        let next = StoredChild { id: next.id, issued: millis(next.issued), expires: millis(next.expires), seq: 0 };
        let outcome = entry.state.renew(store.users.get(&entry.state.user), &next, threshold, now);
        let renews = entry.family.renews;
        let ends = entry.state.expires;
        match &outcome {
            RenewOutcome::Renewed(child) | RenewOutcome::NotDue(child) if renews && millis(child.expires) < ends => {
                store.hint(*id, millis(child.expires).saturating_sub(threshold));
            }
            _ => store.unhint(id),
        }
        Ok(outcome)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenId>, StoreError> {
        let now = millis(now);
        let mut store = self.swept(now)?;
        let due: Vec<TokenId> =
            store.hints.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect();
        for id in &due {
            store.hint(*id, now.saturating_add(seconds(HINT_LEASE_S)));
        }
        Ok(due)
    }
}

#[async_trait]
impl RevocationStore for MemoryStore {
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError> {
        let now = millis(now);
        let mut store = self.swept(now)?;
        let record = match store.live_user(user, now) {
            Some(record) => record,
            None => {
                store.room(self.limit)?;
                let epoch = Epoch::from_random(&self.ids.next_id());
                UserState { standing: Standing { epoch, generation: 0 }, kept: kept(until) }
            }
        };
        store.keep_user(*user, record, kept(until));
        Ok(record.standing)
    }

    async fn check(&self, check: &Check<'_>, now: Timestamp) -> Result<Verdict, StoreError> {
        let now_us = now.as_microsecond().max(0);
        let now = millis(now);
        let mut guard = self.swept(now)?;
        let store = &mut *guard;
        let origin = check.family.unwrap_or(check.jti);
        if check.jti.tag() != check.user.tag() || origin.tag() != check.user.tag() {
            return Ok(Verdict::Unknown);
        }
        match user_over(store.users.get(check.user), check.standing, now) {
            Some(Dead::UserRevoked) => return Ok(Verdict::RevokedUser),
            Some(_) => return Ok(Verdict::Unknown),
            None => {}
        }
        if store.revoked.get(&check.jti).is_some_and(|kept| *kept > now) {
            return Ok(Verdict::RevokedToken);
        }
        match store.families.get_mut(&origin).filter(|entry| entry.state.kept > now) {
            Some(entry) if entry.state.user != *check.user => return Ok(Verdict::Unknown),
            Some(entry) if entry.state.revoked => {
                return Ok(if check.jti == origin { Verdict::RevokedToken } else { Verdict::RevokedParent });
            }
            Some(entry) => {
                let answered = entry.state.witness(&check.jti);
                if answered {
                    store.unseal(&origin);
                }
            }
            None if check.family.is_some() => return Ok(Verdict::Unknown),
            None => {}
        }
        let Some(rate) = check.rate else { return Ok(Verdict::Live) };
        let key = (*check.user, rate);
        let before = store.rates.get(&key).copied();
        if before.is_none() {
            store.room(self.limit)?;
        }
        let after = before.unwrap_or(0).max(now_us).saturating_add(rate.interval_us());
        let excess = after.saturating_sub(now_us).saturating_sub(rate.window_us());
        if excess > 0 {
            let retry_after_s = u64::try_from(excess).unwrap_or(0).div_ceil(1_000_000);
            return Ok(Verdict::Limited { retry_after_s });
        }
        store.rates.insert(key, after);
        let key = Key::Rate(*check.user, rate.limit.get(), rate.window_s.get());
        store.ends(key, before.map(|before| before / 1000 + 1), after / 1000 + 1);
        Ok(Verdict::Live)
    }

    async fn revoke(&self, target: &Target, until: Timestamp, now: Timestamp) -> Result<Revoked, StoreError> {
        let now = millis(now);
        let until = kept(until);
        let mut guard = self.swept(now)?;
        let store = &mut *guard;
        let (id, family_only) = match target {
            Target::User(user) => {
                let Some(mut record) = store.live_user(user, now) else { return Ok(Revoked::Nothing) };
                record.standing.generation = record.standing.generation.saturating_add(1);
                store.keep_user(*user, record, until);
                return Ok(Revoked::User);
            }
            Target::Token(id) => (*id, false),
            Target::Family(id) => (*id, true),
        };
        if let Some(entry) = store.families.get_mut(&id).filter(|entry| entry.state.kept > now) {
            let already = entry.state.revoked;
            let before = entry.state.kept;
            entry.state.revoke();
            entry.state.kept = before.max(until);
            let end = entry.state.kept;
            store.unseal(&id);
            store.ends(Key::Family(id), Some(before), end);
            store.unhint(&id);
            return Ok(if already { Revoked::Already } else { Revoked::Family });
        }
        if family_only || until <= now {
            return Ok(Revoked::Nothing);
        }
        let before = store.revoked.get(&id).copied();
        if before.is_none() {
            // Revocations find room when minting does not any more.
            store.room(self.limit.saturating_add(self.limit / 8))?;
        }
        let already = before.is_some_and(|before| before > now);
        let end = before.map_or(until, |before| before.max(until));
        store.revoked.insert(id, end);
        store.ends(Key::Token(id), before, end);
        Ok(if already { Revoked::Already } else { Revoked::Token })
    }
}

#[async_trait]
impl ReplayCache for MemoryStore {
    async fn first_use(&self, jkt: &str, jti: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let now = millis(now);
        let until = kept(until);
        let mut store = self.swept(now)?;
        let proof = proof_key(jkt, jti);
        let before = store.replays.get(&proof).copied();
        if until <= now || before.is_some_and(|before| before > now) {
            return Ok(false);
        }
        if before.is_none() {
            store.room(self.limit)?;
        }
        store.replays.insert(proof, until);
        store.ends(Key::Replay(proof), before, until);
        Ok(true)
    }
}

impl FamilyState {
    /// The state of a family that is opened.
    pub(crate) fn new(family: &Family, current: Option<[u8; 32]>) -> Result<Self, StoreError> {
        let user = UserKey::of(&family.user);
        if family.id.tag() != user.tag() {
            return Err(StoreError::corrupt("a family whose id is not one of its user's"));
        }
        if current.is_some() != (family.kind == FamilyKind::Refresh) {
            return Err(StoreError::corrupt("a refresh family without a token, or a parent with one"));
        }
        Ok(Self {
            user,
            standing: family.standing,
            kind: family.kind,
            binding: binding(&family.client, family.jkt.as_deref()),
            expires: millis(family.expires),
            kept: family_kept(family.expires),
            revoked: false,
            current,
            former: None,
            latest: None,
        })
    }
}

impl Asked {
    /// What the decision needs of a presented token.
    pub(crate) fn of(presented: &Presented<'_>, proposal: Option<&Proposal>) -> Result<Self, StoreError> {
        if proposal.is_some_and(|proposal| proposal.next == presented.hash) {
            return Err(StoreError::corrupt("a proposal that is the presented token itself"));
        }
        Ok(Self {
            hash: presented.hash,
            binding: binding(presented.client, presented.jkt),
            scope: presented.scope,
            may_reanswer: presented.may_reanswer,
        })
    }
}

/// The name of a proof: of key and id together, since ids are the client's to choose.
pub(crate) fn proof_key(jkt: &str, jti: &str) -> [u8; 16] {
    first_half(&sha256(format!("{}:{jkt}:{jti}", jkt.len()).as_bytes()))
}
