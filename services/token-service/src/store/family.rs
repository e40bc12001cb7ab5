//! What can mint later: families, their children, and the words of the refresh decision.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use token_jose::sha256;

use super::ids::{Standing, TokenId};

/// For how long the answer to a refresh may be given again, in seconds from the rotation.
pub const REANSWER_WINDOW_S: u64 = 30;

/// How often the answer to one refresh may be given again.
pub const REANSWER_LIMIT: u8 = 3;

/// How much longer than its window a sealed answer is kept, in seconds, so that the window alone decides.
pub(crate) const SEALED_MARGIN_S: u64 = 5;

/// How far the clocks of replicas and store may be apart, in seconds. The store keeps every entry this much longer than it is
/// told to, because its own clock may be the fast one.
pub const CLOCK_SKEW_S: u64 = 60;

/// How long a family's record outlives the family, in seconds: its last children are accepted for a leeway of 60 s by clocks
/// that differ by [`CLOCK_SKEW_S`].
pub const FAMILY_MARGIN_S: u64 = 120;

/// The most bytes that a family may have as stored.
pub const MAX_FAMILY_BYTES: usize = 16 * 1024;

/// What a family's handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyKind {
    /// A parent token (a JWT): children are renewed in its name.
    Parent,
    /// A refresh token (opaque): each use gives the next one.
    Refresh,
}

/// One grant that mints later. It never changes; what changes beside it is the store's.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its id: the `jti` of a parent token, part of every refresh token.
    pub id: TokenId,
    /// The user id, as the caller gave it.
    pub user: String,
    /// Parent or refresh.
    pub kind: FamilyKind,
    /// Which authenticated caller opened it: only this one refreshes it.
    pub client: String,
    /// What it may grant at most.
    pub scopes: Vec<String>,
    /// Whom its tokens are for.
    pub audience: Vec<String>,
    /// The session that the caller named.
    pub session_id: Option<String>,
    /// The network that the caller named.
    pub network: Option<String>,
    /// Requests per minute that its tokens allow.
    pub rate_limit: Option<u32>,
    /// Further claims of its tokens.
    pub extra: BTreeMap<String, serde_json::Value>,
    /// Lifetime of its access tokens, in seconds.
    pub access_ttl_s: u64,
    /// Thumbprint of the key that it is bound to (RFC 9449): a bound family stays bound.
    pub jkt: Option<String>,
    /// Whether its children are renewed without being asked for.
    pub renews: bool,
    /// When it was opened, to the millisecond.
    pub created: Timestamp,
    /// When it ends, whatever happens, to the millisecond.
    pub expires: Timestamp,
    /// The user's standing when it was opened.
    pub standing: Standing,
}

/// An access token that was minted in a family's name without being asked for. Only this is stored; the token is signed again
/// when it is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its `jti`.
    pub id: TokenId,
    /// Its `iat`, to the millisecond.
    pub issued: Timestamp,
    /// Its `exp`, to the millisecond. Never later than the family's.
    pub expires: Timestamp,
    /// 1 for the first child of a family. The store counts; what a caller proposes here does not matter.
    pub seq: u64,
}

/// What became of [`open`](super::FamilyStore::open).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is stored. So it is when the same call is repeated.
    Open,
    /// The user's standing has changed, or the family is already over: nothing is stored.
    Stale,
}

/// A live family.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What was opened.
    pub family: Family,
    /// The child that was minted last, be it expired or not.
    pub latest: Option<Child>,
}

/// Why a family mints no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// There is none, or the store has been emptied since.
    Unknown,
    /// Its time is over.
    Expired,
    /// It was revoked, by request or as stolen.
    Revoked,
    /// All of the user's were revoked.
    UserRevoked,
}

/// A refresh token that was presented. Its authentication code has been checked: it is one of ours.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The family that it names.
    pub family: TokenId,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The authenticated caller.
    pub client: &'a str,
    /// Thumbprint of the key whose proof came with it.
    pub jkt: Option<&'a str>,
    /// SHA-256 of the scope that was asked for.
    pub scope: [u8; 32],
    /// Whether an answer may be given again: the client is authenticated or the family bound.
    pub may_reanswer: bool,
}

/// What is to take the place of the presented token, made and signed before the store is asked to commit it.
#[derive(Clone)]
pub struct Proposal {
    /// SHA-256 of the next refresh token. It is random: no two proposals are the same.
    pub next: [u8; 32],
    /// `jti` of the access token that comes with it.
    pub access: TokenId,
    /// The answer, sealed under a key that only the presented token gives.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal").field("access", &self.access).field("sealed_bytes", &self.sealed.len()).finish()
    }
}

/// What became of a presented refresh token.
#[derive(Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It is the live one; nothing was proposed, so nothing has changed.
    Current,
    /// The proposal has taken its place.
    Rotated,
    /// It was replaced a moment ago, and the same client asks again: this is the answer of that time.
    ReAnswer {
        /// As it was proposed.
        sealed: Vec<u8>,
    },
    /// It has been used by somebody else, or too late: the family is revoked by this very call.
    Theft,
    /// The family mints no more.
    Dead(Dead),
}

impl fmt::Debug for RefreshOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("Current"),
            Self::Rotated => f.write_str("Rotated"),
            Self::ReAnswer { sealed } => f.debug_struct("ReAnswer").field("sealed_bytes", &sealed.len()).finish(),
            Self::Theft => f.write_str("Theft"),
            Self::Dead(dead) => f.debug_tuple("Dead").field(dead).finish(),
        }
    }
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewOutcome {
    /// The proposed child is the latest one now, with its number and its end as stored.
    Renewed(Child),
    /// The latest child lives long enough, or none could live longer.
    NotDue(Child),
    /// The family mints no more.
    Dead(Dead),
}

/// Client and key in one value: a refresh token is only good for both. Unambiguous, because the length of the client is in it.
pub(crate) fn binding(client: &str, jkt: Option<&str>) -> [u8; 32] {
    let mut text = format!("{}:{client}:", client.len());
    match jkt {
        Some(jkt) => {
            text.push('+');
            text.push_str(jkt);
        }
        None => text.push('-'),
    }
    sha256(text.as_bytes())
}

/// Milliseconds since 1970: within the 13 digits that stored times have (to the year 2286).
pub(crate) fn millis(time: Timestamp) -> i64 {
    time.as_millisecond().clamp(0, 9_999_999_999_999)
}

/// The moment that [`millis`] tells.
pub(crate) fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

/// Until when an entry is kept that is needed until `until`.
pub(crate) fn kept(until: Timestamp) -> i64 {
    millis(until).saturating_add(seconds(CLOCK_SKEW_S)).min(9_999_999_999_999)
}

/// Until when a family's record is kept.
pub(crate) fn family_kept(expires: Timestamp) -> i64 {
    millis(expires).saturating_add(seconds(FAMILY_MARGIN_S + CLOCK_SKEW_S)).min(9_999_999_999_999)
}

/// Seconds in milliseconds.
pub(crate) fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)
}
