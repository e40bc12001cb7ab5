//! The ports: what the service asks of its store. Each check-then-act is one method, so that an adapter can make it one step.

use std::fmt::Debug;
use std::num::NonZeroU32;

use async_trait::async_trait;
use jiff::Timestamp;

use super::family::{Child, Dead, Family, Loaded, Opened, Presented, Proposal, RefreshOutcome, RenewOutcome};
use super::ids::{Standing, TokenId, UserKey};

/// Families of tokens: opened once, refreshed or renewed often, and dead for good when they die.
///
/// In all methods `now` is the caller's clock. A store with a clock of its own (Redis) judges windows and expiries by that.
#[async_trait]
pub trait FamilyStore: Send + Sync + Debug {
    /// Stores a new family, with the SHA-256 of its first refresh token (`None` for parents). Repeating the call is harmless.
    ///
    /// # Errors
    /// When it is not known to be stored, or its id is not one of its user's.
    async fn open(&self, family: &Family, current: Option<[u8; 32]>, now: Timestamp) -> Result<Opened, StoreError>;

    /// Reads a family: it is live, or why it is not.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn load(&self, id: &TokenId, now: Timestamp) -> Result<Result<Loaded, Dead>, StoreError>;

    /// The one decision about a presented refresh token. Without a `proposal` it looks (and still finds theft, or gives the
    /// former answer again); with one it commits. A decision to revoke is carried out before it is told.
    ///
    /// # Errors
    /// When the outcome is unknown: nothing may be handed out then. The client asks again, and is answered by what was
    /// committed.
    async fn refresh(
        &self,
        presented: &Presented<'_>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError>;

    /// Makes `next` the family's latest child when the present one has `threshold_s` seconds or less to live. Of any number of
    /// concurrent callers one renews.
    ///
    /// # Errors
    /// When the outcome is unknown.
    async fn renew(
        &self,
        id: &TokenId,
        next: &Child,
        threshold_s: u64,
        now: Timestamp,
    ) -> Result<RenewOutcome, StoreError>;

    /// Up to `limit` families that may be due for renewal. Hints only: [`renew`](Self::renew) decides. A hint that was given is
    /// not given again for [`HINT_LEASE_S`] seconds, to anyone.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenId>, StoreError>;
}

/// For how long a hint is left to the one who was given it, in seconds.
pub const HINT_LEASE_S: u64 = 15;

/// What was revoked, and what is still good.
#[async_trait]
pub trait RevocationStore: Send + Sync + Debug {
    /// The user's standing, which every token of the user carries; made when there is none. It lives until `until` at least,
    /// and never shorter than it was told before. `until` is the latest expiry that will carry it, with leeway and skew.
    ///
    /// # Errors
    /// When it is not known to be stored.
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError>;

    /// Whether a token whose signature has been verified is still good. It also is evidence: when it is the access token of a
    /// family's last rotation, the answer of that rotation is not given again.
    ///
    /// # Errors
    /// When the store cannot tell: the token must be refused as "not now".
    async fn check(&self, check: &Check<'_>, now: Timestamp) -> Result<Verdict, StoreError>;

    /// Revokes. The entry lives until `until` at least (expiry with leeway and skew), and never shorter than before. A token
    /// id that is a family's revokes the family. Repeating the call is harmless.
    ///
    /// # Errors
    /// When it is not known to be stored.
    async fn revoke(&self, target: &Target, until: Timestamp, now: Timestamp) -> Result<Revoked, StoreError>;
}

/// Which proofs have been used.
#[async_trait]
pub trait ReplayCache: Send + Sync + Debug {
    /// Whether this is the first use of the proof `jti` of key `jkt`; remembered until `until` at least. Exactly one of any
    /// number of callers is told `true`; nobody is when `until` has passed.
    ///
    /// # Errors
    /// When it is not known to be remembered.
    async fn first_use(&self, jkt: &str, jti: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError>;
}

/// All three ports: what the service holds.
pub trait Store: FamilyStore + RevocationStore + ReplayCache {}

impl<T: FamilyStore + RevocationStore + ReplayCache> Store for T {}

/// A verified token that is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Whose it says it is.
    pub user: &'a UserKey,
    /// The standing it carries.
    pub standing: Standing,
    /// Its id.
    pub jti: TokenId,
    /// The family it came from.
    pub family: Option<TokenId>,
    /// How often it may be used.
    pub rate: Option<Rate>,
}

/// A rate: `limit` uses at once, and then as many per window, evenly (GCRA). Counted per user and rate, over all of the
/// user's tokens: minting more tokens does not give more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Uses per window.
    pub limit: NonZeroU32,
    /// The window, in seconds.
    pub window_s: NonZeroU32,
}

impl Rate {
    /// So many per minute; 0 is no limit.
    #[must_use]
    pub fn per_minute(limit: u32) -> Option<Self> {
        Some(Self { limit: NonZeroU32::new(limit)?, window_s: NonZeroU32::new(60)? })
    }

    /// The window in microseconds.
    pub(crate) fn window_us(&self) -> i64 {
        i64::from(self.window_s.get()) * 1_000_000
    }

    /// The time that one use takes, in microseconds.
    pub(crate) fn interval_us(&self) -> i64 {
        (self.window_us() / i64::from(self.limit.get())).max(1)
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Live,
    /// This token was revoked.
    RevokedToken,
    /// The family that it came from was revoked.
    RevokedParent,
    /// All of the user's tokens of that time were revoked.
    RevokedUser,
    /// The store knows nothing of the user, of that life of the user's record, or of the family: it has been emptied, or it is
    /// another one, or the token's id is not one of its user's. The token is refused.
    Unknown,
    /// It is good, and used too often.
    Limited {
        /// When the next use is possible, in whole seconds, at least 1.
        retry_after_s: u64,
    },
}

/// What to revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One token; when the id is a family's, the family.
    Token(TokenId),
    /// A family and all that came from it.
    Family(TokenId),
    /// All that a user has now.
    User(UserKey),
}

/// What a revocation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One token is revoked now.
    Token,
    /// A family is revoked now, with its children.
    Family,
    /// The user's tokens are revoked now.
    User,
    /// It had been revoked before.
    Already,
    /// There is nothing that could be revoked: no such family, or nothing of the user is alive.
    Nothing,
}

/// The store could not do what it was asked. All of these are an outage of ours (503), never a refusal of the caller's token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, does not answer in time, or has no room.
    #[error("expected an answer of the token store, found none: {detail}; hint: ask again in {retry_after_s} s")]
    Unavailable {
        /// What happened.
        detail: String,
        /// When to ask again, in seconds.
        retry_after_s: u64,
    },
    /// The write is done, and not confirmed by as many replicas as wanted: a fail-over now could lose it.
    #[error("expected the write on {wanted} replicas, found it on {found}; hint: ask again in {retry_after_s} s")]
    NotReplicated {
        /// How many replicas were to confirm.
        wanted: u32,
        /// How many did.
        found: u32,
        /// When to ask again, in seconds.
        retry_after_s: u64,
    },
    /// What is stored cannot have been written by this service.
    #[error(
        "expected an entry of this service in the token store, found another: {detail}; hint: another program writes to the same store, or it is damaged; revoke the user, or use another prefix"
    )]
    Corrupt {
        /// What was found where; never the value.
        detail: String,
    },
}

impl StoreError {
    /// A stable name for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::NotReplicated { .. } => "not_replicated",
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// For `Retry-After`.
    #[must_use]
    pub const fn retry_after_s(&self) -> u64 {
        match self {
            Self::Unavailable { retry_after_s, .. } | Self::NotReplicated { retry_after_s, .. } => *retry_after_s,
            Self::Corrupt { .. } => 60,
        }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after_s: 1 }
    }

    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::Corrupt { detail: detail.into() }
    }
}
