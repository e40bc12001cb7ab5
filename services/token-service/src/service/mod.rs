//! The use cases of the service. Both doors, HTTP and gRPC, call these and nothing below.
//!
//! Invariants:
//! - every use case that mints, reads or revokes starts with an authenticated [`Caller`](crate::caller::Caller) or with a
//!   token that is itself the authority (a parent, a refresh token);
//! - a token whose subject two callers' inputs could both produce does not exist: subjects of `user_id`s from the HTTP door
//!   begin with `user_`, those of the gRPC door do not and are no client's name;
//! - reserved claims never come from a caller;
//! - nothing is answered before the store has confirmed it, and an unknown state refuses.

mod assertion;
mod authorize;
mod error;
mod issue;
mod orders;
mod proof;
mod refresh;
mod revoke;
mod streams;
mod told;

use std::sync::Arc;

use jiff::Timestamp;
use token_jose::{Algorithm, Nonces};
use token_shell::{Clock, IdSource};

use crate::caller::Callers;
use crate::keys::SigningKeys;
use crate::refresh_token::Vault;
use crate::store::{Standing, Store, StoreError, TokenId, UserKey};

pub use authorize::{Allowed, AuthorizeRequest, Denial, DenialReason, Introspection};
pub use error::{GrantProblem, ServiceError};
pub use issue::{IssuedPair, IssuedToken, ParentAndChild};
pub use orders::{ClientOrder, PairOrder, SessionOrder, SubjectForm, TokenOrder};
pub use proof::{ProofContext, ValidatedProof};
pub use refresh::RefreshRequest;
pub use streams::LatestChild;
pub use told::IDENTITY_HEADERS;

/// The settings that the use cases work with.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss`.
    pub issuer: String,
    /// Audiences that `/authorize` accepts; the first is what tokens get when none is asked for.
    pub audiences: Vec<String>,
    /// Lifetime of a plain token (`POST /tokens`) when none is asked for, in seconds.
    pub plain_ttl_s: u64,
    /// Lifetime of an access token when none is asked for, in seconds.
    pub access_ttl_s: u64,
    /// Lifetime of a child, in seconds.
    pub child_ttl_s: u64,
    /// Lifetime of a parent when none is asked for, in seconds.
    pub parent_ttl_s: u64,
    /// Absolute lifetime of a refresh family when none is asked for, in seconds.
    pub refresh_ttl_s: u64,
    /// The longest lifetime of anything, in seconds; revocations of unknown tokens live this long.
    pub most_ttl_s: u64,
    /// How far clocks may differ, in seconds.
    pub skew_s: u64,
    /// Tolerance when a token's times are judged, in seconds.
    pub leeway_s: u64,
    /// A child that has this many seconds left is renewed.
    pub renew_threshold_s: u64,
    /// The window of `rate_limit`, in seconds.
    pub rate_window_s: u32,
    /// `rate_limit` of tokens that were minted without one.
    pub default_rate_limit: u32,
    /// Public origins (`https://api.example`) of what `/authorize` protects and of this service, for proofs.
    pub origins: Vec<String>,
    /// Whether a proof needs a nonce.
    pub nonce_required: bool,
    /// Algorithms of proofs.
    pub proof_algorithms: Vec<Algorithm>,
}

/// The service: keys, store, callers and rules behind its use cases.
pub struct TokenService {
    rules: Rules,
    keys: SigningKeys,
    store: Arc<dyn Store>,
    callers: Callers,
    vault: Vault,
    nonces: Nonces,
    clock: Arc<dyn Clock + Send + Sync>,
    ids: Arc<dyn IdSource + Send + Sync>,
}

impl std::fmt::Debug for TokenService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenService").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What a [`TokenService`] is made of.
pub struct Parts {
    /// Settings.
    pub rules: Rules,
    /// Keys.
    pub keys: SigningKeys,
    /// Store.
    pub store: Arc<dyn Store>,
    /// Callers.
    pub callers: Callers,
    /// Keys of refresh tokens.
    pub vault: Vault,
    /// Nonces of proofs.
    pub nonces: Nonces,
    /// The clock.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Random ids.
    pub ids: Arc<dyn IdSource + Send + Sync>,
}

impl TokenService {
    /// The service of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { rules, keys, store, callers, vault, nonces, clock, ids } = parts;
        Self { rules, keys, store, callers, vault, nonces, clock, ids }
    }

    /// The settings.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The callers.
    #[must_use]
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// The instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh nonce for `DPoP-Nonce`.
    #[must_use]
    pub fn nonce(&self) -> String {
        self.nonces.issue(self.now())
    }

    /// A decision id.
    #[must_use]
    pub fn decision_id(&self) -> String {
        self.ids.next_id()
    }

    /// Whether store and keys answer, for readiness.
    ///
    /// # Errors
    /// What does not.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        let now = self.now();
        self.keys.current(now).await?;
        self.store.standing(&UserKey::of("readiness"), add(now, 60), now).await?;
        Ok(())
    }

    fn random16(&self) -> [u8; 16] {
        let id = self.ids.next_id();
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(id.as_bytes().chunks(2)) {
            *byte =
                std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or_default();
        }
        bytes
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0_u8; N];
        for part in out.chunks_mut(16) {
            let drawn = self.random16();
            part.copy_from_slice(drawn.get(..part.len()).unwrap_or_default());
        }
        out
    }

    fn token_id(&self, user: &UserKey) -> TokenId {
        TokenId::new(user, self.random16())
    }

    /// The user's standing, whose record lives at least until `until` and the skews after it.
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError> {
        self.store.standing(user, add(until, self.rules.leeway_s + 2 * self.rules.skew_s), now).await
    }
}

/// `seconds` after `time`; the end of time rather than an overflow.
pub(crate) fn add(time: Timestamp, seconds: u64) -> Timestamp {
    let seconds = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    time.checked_add(seconds).unwrap_or(Timestamp::MAX)
}
