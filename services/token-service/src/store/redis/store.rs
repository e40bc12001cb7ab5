//! The ports on Redis: keys, arguments and answers of the scripts.

use std::fmt::Display;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Pipeline, Value};
use token_jose::{base64url, sha256};

use super::super::codec;
use super::super::decide::{Asked, FamilyState, StoredChild};
use super::super::family::{
    CLOCK_SKEW_S, Child, Dead, Family, FamilyKind, Loaded, MAX_FAMILY_BYTES, Opened, Presented, Proposal,
    REANSWER_LIMIT, REANSWER_WINDOW_S, RefreshOutcome, RenewOutcome, SEALED_MARGIN_S, kept, millis, seconds,
};
use super::super::ids::{Epoch, Standing, TokenId, UserKey, first_half};
use super::super::memory::proof_key;
use super::super::port::{
    Check, FamilyStore, HINT_LEASE_S, ReplayCache, RevocationStore, Revoked, StoreError, Target, Verdict,
};
use super::node::server_failure;
use super::topology::slot;
use super::{Call, RedisStore, told};

/// Over how many keys the hints are spread, so that no one server of a cluster has them all.
const SHARDS: u8 = 8;

fn text(value: impl Display) -> Vec<u8> {
    format!("{value}").into_bytes()
}

fn flag(value: bool) -> Vec<u8> {
    text(u8::from(value))
}

/// When a family may be due for renewal.
#[derive(Clone, Copy)]
enum Hint {
    /// At once, unless something is known already.
    New,
    /// At this time, in milliseconds.
    At(i64),
    Never,
}

/// The hash tag of a user's keys.
fn hex(tag: [u8; 4]) -> String {
    let [a, b, c, d] = tag;
    format!("{a:02x}{b:02x}{c:02x}{d:02x}")
}

/// What the keys of one user start with, and their hash tag.
struct Keys {
    tag: String,
    base: String,
}

impl Keys {
    fn user(&self, user: &UserKey) -> String {
        format!("{}u:{user}", self.base)
    }

    fn family(&self, id: &TokenId) -> String {
        format!("{}f:{}", self.base, base64url(id.as_bytes()))
    }

    fn answer(&self, id: &TokenId) -> String {
        format!("{}a:{}", self.base, base64url(id.as_bytes()))
    }

    fn token(&self, id: &TokenId) -> String {
        format!("{}x:{}", self.base, base64url(id.as_bytes()))
    }
}

impl RedisStore {
    fn keys(&self, tag: [u8; 4]) -> Keys {
        let tag = hex(tag);
        Keys { base: format!("{}:{{{tag}}}:", self.prefix), tag }
    }

    /// Nothing for the server's own clock; microseconds for tests.
    fn clock(&self, now: Timestamp) -> Vec<u8> {
        if self.callers_clock { text(now.as_microsecond().max(0)) } else { Vec::new() }
    }

    fn hints(&self, id: &TokenId) -> (String, String) {
        let shard = id.as_bytes().last().copied().unwrap_or(0) % SHARDS;
        self.shard(shard)
    }

    fn shard(&self, shard: u8) -> (String, String) {
        let tag = format!("d{shard}");
        (format!("{}:{{{tag}}}", self.prefix), tag)
    }

    /// Notes when a family may be due. A hint that is lost is made again by the next renewal.
    async fn hint(&self, id: &TokenId, hint: Hint) {
        let (key, tag) = self.hints(id);
        let mut pipeline = Pipeline::new();
        match hint {
            Hint::New => pipeline.cmd("ZADD").arg(key).arg("NX").arg(0).arg(id.as_bytes().as_slice()),
            Hint::At(at) => pipeline.cmd("ZADD").arg(key).arg(at).arg(id.as_bytes().as_slice()),
            Hint::Never => pipeline.cmd("ZREM").arg(key).arg(id.as_bytes().as_slice()),
        };
        let sent = async {
            let (node, _) = self.topology.master(slot(tag.as_bytes())).await?;
            match node.send(false, &pipeline, 1).await?.first() {
                Some(Value::ServerError(error)) => Err(server_failure(node.address(), error)),
                _ => Ok(()),
            }
        };
        let why = match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => told(failure).to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        tracing::warn!(family = %id, why, "a hint for renewal could not be stored");
    }
}

#[async_trait]
impl FamilyStore for RedisStore {
    async fn open(&self, family: &Family, current: Option<[u8; 32]>, now: Timestamp) -> Result<Opened, StoreError> {
        let state = FamilyState::new(family, current)?;
        let value = codec::encode(family, &state)?;
        let keys = self.keys(family.id.tag());
        let renews = family.renews && family.kind == FamilyKind::Parent;
        if renews {
            // First the hint: a hint without a family is removed by the first who follows it.
            self.hint(&family.id, Hint::New).await;
        }
        let call = Call {
            script: &self.scripts.open,
            tag: &keys.tag,
            keys: vec![keys.family(&family.id), keys.user(&state.user)],
            args: vec![
                self.clock(now),
                state.standing.epoch.as_bytes().to_vec(),
                text(state.standing.generation),
                value,
                text(state.kept),
                text(state.expires),
            ],
            durable: true,
        };
        match self.run(&call).await? {
            Value::Int(1) => Ok(Opened::Open),
            Value::Int(0) => {
                if renews {
                    self.hint(&family.id, Hint::Never).await;
                }
                Ok(Opened::Stale)
            }
            _ => Err(strange("open")),
        }
    }

    async fn load(&self, id: &TokenId, now: Timestamp) -> Result<Result<Loaded, Dead>, StoreError> {
        let keys = self.keys(id.tag());
        let call = Call {
            script: &self.scripts.load,
            tag: &keys.tag,
            keys: vec![keys.family(id)],
            args: vec![self.clock(now), text(&keys.base), text(MAX_FAMILY_BYTES)],
            durable: false,
        };
        match self.run(&call).await? {
            Value::Int(dead) => Ok(Err(dead_of(dead)?)),
            Value::BulkString(value) => codec::decode(*id, &value).map(Ok),
            _ => Err(strange("load")),
        }
    }

    async fn refresh(
        &self,
        presented: &Presented<'_>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        let keys = self.keys(presented.family.tag());
        let asked = Asked::of(presented, proposal)?;
        let (next, access, sealed) = match proposal {
            Some(proposal) => (proposal.next.to_vec(), proposal.access.as_bytes().to_vec(), proposal.sealed.clone()),
            None => (Vec::new(), Vec::new(), Vec::new()),
        };
        let call = Call {
            script: &self.scripts.refresh,
            tag: &keys.tag,
            keys: vec![keys.family(&presented.family), keys.answer(&presented.family)],
            args: vec![
                self.clock(now),
                text(&keys.base),
                asked.hash.to_vec(),
                asked.binding.to_vec(),
                asked.scope.to_vec(),
                flag(asked.may_reanswer),
                flag(proposal.is_some()),
                next,
                access,
                sealed,
                text(seconds(REANSWER_WINDOW_S)),
                text(seconds(CLOCK_SKEW_S)),
                text(REANSWER_LIMIT),
                text(seconds(REANSWER_WINDOW_S + SEALED_MARGIN_S)),
            ],
            durable: true,
        };
        let Value::Array(answer) = self.run(&call).await? else { return Err(strange("refresh")) };
        match answer.as_slice() {
            [Value::Int(0), Value::Int(dead)] => Ok(RefreshOutcome::Dead(dead_of(*dead)?)),
            [Value::Int(1)] => Ok(RefreshOutcome::Current),
            [Value::Int(2)] => Ok(RefreshOutcome::Rotated),
            [Value::Int(3), Value::BulkString(sealed)] => Ok(RefreshOutcome::ReAnswer { sealed: sealed.clone() }),
            [Value::Int(4)] => Ok(RefreshOutcome::Theft),
            _ => Err(strange("refresh")),
        }
    }

    async fn renew(
        &self,
        id: &TokenId,
        next: &Child,
        threshold_s: u64,
        now: Timestamp,
    ) -> Result<RenewOutcome, StoreError> {
        let keys = self.keys(id.tag());
        let threshold = seconds(threshold_s);
        let call = Call {
            script: &self.scripts.renew,
            tag: &keys.tag,
            keys: vec![keys.family(id)],
            args: vec![
                self.clock(now),
                text(&keys.base),
                next.id.as_bytes().to_vec(),
                text(millis(next.issued)),
                text(millis(next.expires)),
                text(threshold),
            ],
            durable: true,
        };
        let Value::Array(answer) = self.run(&call).await? else { return Err(strange("renew")) };
        let (what, child, ends, renews) = match answer.as_slice() {
            [Value::Int(0), Value::Int(dead)] => {
                self.hint(id, Hint::Never).await;
                return Ok(RenewOutcome::Dead(dead_of(*dead)?));
            }
            [Value::Int(what), Value::BulkString(id), issued, expires, seq, ends, Value::Int(renews)] => {
                let id = id.as_slice().try_into().ok().and_then(TokenId::from_bytes).ok_or_else(|| strange("renew"))?;
                let seq = u64::try_from(integer(seq)?).map_err(|_| strange("renew"))?;
                let child = StoredChild { id, issued: integer(issued)?, expires: integer(expires)?, seq };
                (*what, child, integer(ends)?, *renews == 1)
            }
            _ => return Err(strange("renew")),
        };
        let last = !renews || child.expires >= ends;
        self.hint(id, if last { Hint::Never } else { Hint::At(child.expires.saturating_sub(threshold)) }).await;
        match what {
            1 => Ok(RenewOutcome::Renewed(child.child())),
            2 => Ok(RenewOutcome::NotDue(child.child())),
            _ => Err(strange("renew")),
        }
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenId>, StoreError> {
        let mut due = Vec::new();
        // Each replica starts elsewhere, so that they do not follow one another.
        let start = first_half(&sha256(self.ids.next_id().as_bytes())).first().copied().unwrap_or(0);
        for turn in 0..SHARDS {
            if due.len() >= limit {
                break;
            }
            let (key, tag) = self.shard(start.wrapping_add(turn) % SHARDS);
            let left = limit - due.len();
            let call = Call {
                script: &self.scripts.due,
                tag: &tag,
                keys: vec![key],
                args: vec![self.clock(now), text(left), text(seconds(HINT_LEASE_S))],
                durable: false,
            };
            let Value::Array(ids) = self.run(&call).await? else { return Err(strange("due")) };
            due.extend(ids.iter().filter_map(|id| match id {
                Value::BulkString(bytes) => TokenId::from_bytes(bytes.as_slice().try_into().ok()?),
                _ => None,
            }));
        }
        Ok(due)
    }
}

#[async_trait]
impl RevocationStore for RedisStore {
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError> {
        let keys = self.keys(user.tag());
        let epoch = Epoch::from_random(&self.ids.next_id());
        let call = Call {
            script: &self.scripts.standing,
            tag: &keys.tag,
            keys: vec![keys.user(user)],
            args: vec![self.clock(now), text(kept(until)), epoch.as_bytes().to_vec()],
            durable: true,
        };
        let Value::Array(answer) = self.run(&call).await? else { return Err(strange("standing")) };
        let [Value::BulkString(epoch), generation] = answer.as_slice() else { return Err(strange("standing")) };
        let epoch = Epoch::from_bytes(epoch.as_slice().try_into().map_err(|_| strange("standing"))?);
        let generation = u64::try_from(integer(generation)?).map_err(|_| strange("standing"))?;
        Ok(Standing { epoch, generation })
    }

    async fn check(&self, check: &Check<'_>, now: Timestamp) -> Result<Verdict, StoreError> {
        let origin = check.family.unwrap_or(check.jti);
        if check.jti.tag() != check.user.tag() || origin.tag() != check.user.tag() {
            return Ok(Verdict::Unknown);
        }
        let keys = self.keys(check.user.tag());
        let (interval, window, rate) = match check.rate {
            None => (Vec::new(), Vec::new(), String::new()),
            Some(rate) => (
                text(rate.interval_us()),
                text(rate.window_us()),
                format!("{}:{}:{}", check.user, rate.limit, rate.window_s),
            ),
        };
        let call = Call {
            script: &self.scripts.check,
            tag: &keys.tag,
            keys: vec![
                keys.user(check.user),
                keys.token(&check.jti),
                keys.family(&origin),
                keys.answer(&origin),
                format!("{}q:{rate}", keys.base),
            ],
            args: vec![
                self.clock(now),
                check.standing.epoch.as_bytes().to_vec(),
                text(check.standing.generation),
                text(check.user),
                check.jti.as_bytes().to_vec(),
                flag(check.family.is_some()),
                flag(check.jti == origin),
                interval,
                window,
            ],
            durable: false,
        };
        let Value::Array(answer) = self.run(&call).await? else { return Err(strange("check")) };
        match answer.as_slice() {
            [Value::Int(1)] => Ok(Verdict::Live),
            [Value::Int(2)] => Ok(Verdict::RevokedToken),
            [Value::Int(3)] => Ok(Verdict::RevokedParent),
            [Value::Int(4)] => Ok(Verdict::RevokedUser),
            [Value::Int(5)] => Ok(Verdict::Unknown),
            [Value::Int(6), Value::Int(retry)] => {
                Ok(Verdict::Limited { retry_after_s: u64::try_from(*retry).unwrap_or(1).max(1) })
            }
            _ => Err(strange("check")),
        }
    }

    async fn revoke(&self, target: &Target, until: Timestamp, now: Timestamp) -> Result<Revoked, StoreError> {
        let until = text(kept(until));
        let (id, family_only) = match target {
            Target::User(user) => {
                let keys = self.keys(user.tag());
                let call = Call {
                    script: &self.scripts.revoke_user,
                    tag: &keys.tag,
                    keys: vec![keys.user(user)],
                    args: vec![self.clock(now), until],
                    durable: true,
                };
                return revoked(&self.run(&call).await?);
            }
            Target::Token(id) => (id, false),
            Target::Family(id) => (id, true),
        };
        let keys = self.keys(id.tag());
        let call = Call {
            script: &self.scripts.revoke,
            tag: &keys.tag,
            keys: vec![keys.family(id), keys.token(id), keys.answer(id)],
            args: vec![self.clock(now), until, flag(family_only)],
            durable: true,
        };
        let outcome = revoked(&self.run(&call).await?)?;
        if outcome == Revoked::Family {
            self.hint(id, Hint::Never).await;
        }
        Ok(outcome)
    }
}

#[async_trait]
impl ReplayCache for RedisStore {
    async fn first_use(&self, jkt: &str, jti: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let tag = base64url(&proof_key(jkt, jti));
        let this_call = first_half(&sha256(self.ids.next_id().as_bytes()));
        let call = Call {
            script: &self.scripts.first_use,
            tag: &tag,
            keys: vec![format!("{}:r:{{{tag}}}", self.prefix)],
            args: vec![self.clock(now), text(kept(until)), this_call.to_vec()],
            durable: true,
        };
        match self.run(&call).await? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            _ => Err(strange("first_use")),
        }
    }
}

fn dead_of(code: i64) -> Result<Dead, StoreError> {
    match code {
        1 => Ok(Dead::Unknown),
        2 => Ok(Dead::Expired),
        3 => Ok(Dead::Revoked),
        4 => Ok(Dead::UserRevoked),
        _ => Err(strange("a dead family")),
    }
}

fn revoked(answer: &Value) -> Result<Revoked, StoreError> {
    match answer {
        Value::Int(1) => Ok(Revoked::Token),
        Value::Int(2) => Ok(Revoked::Family),
        Value::Int(3) => Ok(Revoked::User),
        Value::Int(4) => Ok(Revoked::Already),
        Value::Int(5) => Ok(Revoked::Nothing),
        _ => Err(strange("revoke")),
    }
}

fn integer(value: &Value) -> Result<i64, StoreError> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
        _ => None,
    }
    .ok_or_else(|| strange("a number"))
}

fn strange(what: &str) -> StoreError {
    StoreError::corrupt(format!("the answer of the script for {what}"))
}
