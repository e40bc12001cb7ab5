//! The key set of another issuer, kept for a while.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use token_jose::{ForeignKeys, ForeignKeysError};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::client::HttpsClient;
use crate::error::RemoteError;
use crate::transit::TokenFile;
use crate::url::RemoteUrl;

/// The longest pause between two attempts while an issuer fails. The first is one second and each doubles.
const LONGEST_BACK_OFF_S: u64 = 30;

/// How far the clocks of concurrent requests may disagree before a time is taken for a clock that was set back.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// How long a key set may be used, and how often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteKeysPolicy {
    /// A set older than this is fetched again before it is used (5 min): how long a key that its issuer withdrew may still be
    /// accepted here.
    pub max_age: Duration,
    /// While its issuer does not answer, the last good set serves until it is this old (1 h). Below `max_age` it counts as
    /// that.
    pub last_good: Duration,
    /// An unknown `kid` causes a fetch only this long after the last one (30 s), since anybody can make one up.
    pub cool_down: Duration,
}

impl Default for RemoteKeysPolicy {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            last_good: Duration::from_secs(3_600),
            cool_down: Duration::from_secs(30),
        }
    }
}

/// No key set of this issuer may be used now: what it signed can neither be accepted nor refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable key set: {reason}")]
pub struct KeysUnavailable {
    /// Why.
    pub reason: KeysFault,
    /// Seconds after which it is worth asking again, at least 1.
    pub retry_after_s: u64,
}

/// Why a key set was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysFault {
    /// It was not fetched.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The credential to fetch it with is not there. The text does not repeat it.
    #[error("{file}: {detail}")]
    Credential {
        /// The file it should be in.
        file: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// It was fetched and is none.
    #[error("{at}: {error}")]
    Document {
        /// The address.
        at: String,
        /// What is wrong with it.
        error: ForeignKeysError,
    },
}

/// The key set of one issuer, from a configured address (never from a token).
///
/// - Fetched when first asked for, and again when older than [`RemoteKeysPolicy::max_age`] or when a token names a `kid` that
///   is not in it and the cool-down is over.
/// - Any number of concurrent callers cause one request. While a set is fetched anew, the last good one serves those who find
///   their `kid` in it.
/// - A failure is retried with back-off (1 s doubling to 30 s); meanwhile the last good set serves, up to
///   [`RemoteKeysPolicy::last_good`].
/// - A set that contains a private key ends the use of the last good one: everybody can sign as this issuer.
/// - An empty set is an answer: the issuer withdrew its keys.
/// - A clock that is set back makes a set stale, not young.
///
/// A token without `kid` never causes a fetch; a key that replaces another under the same `kid` is seen after `max_age`.
pub struct RemoteKeys {
    url: RemoteUrl,
    client: Arc<HttpsClient>,
    policy: RemoteKeysPolicy,
    bearer: Option<TokenFile>,
    state: Mutex<State>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    good: Option<Good>,
    failure: Option<Failure>,
    /// How many attempts have ended: who waited for another's attempt sees that there was one.
    attempts: u64,
    attempted_at: Option<Timestamp>,
}

#[derive(Clone)]
struct Good {
    keys: Arc<ForeignKeys>,
    read_at: Timestamp,
}

struct Failure {
    fault: KeysFault,
    in_a_row: u32,
    retry_at: Timestamp,
}

impl RemoteKeys {
    /// The key set at `url`. Nothing is fetched yet.
    #[must_use]
    pub fn new(url: RemoteUrl, client: Arc<HttpsClient>, policy: RemoteKeysPolicy) -> Self {
        Self { url, client, policy, bearer: None, state: Mutex::default(), flight: tokio::sync::Mutex::new(()) }
    }

    /// The same, fetched with the bearer token in this file, which is read again when it was replaced: a Kubernetes API
    /// server shows its key set to service accounts only, unless somebody opened it.
    #[must_use]
    pub fn with_bearer_file(self, path: impl Into<PathBuf>) -> Self {
        Self { bearer: Some(TokenFile::new(path.into())), ..self }
    }

    /// The set, fetched first if it is too old.
    ///
    /// # Errors
    /// [`KeysUnavailable`] when it cannot be fetched and the last good one is too old.
    pub async fn keys(&self, now: Timestamp) -> Result<Arc<ForeignKeys>, KeysUnavailable> {
        let (seen, usable) = {
            let state = self.lock();
            if self.is_fresh(&state, now) || backing_off(&state, now) {
                return self.last_good(&state, now);
            }
            (state.attempts, self.last_good(&state, now).ok())
        };
        let _flight = match usable {
            None => self.flight.lock().await,
            Some(keys) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_) => return Ok(keys),
            },
        };
        if self.lock().attempts == seen {
            self.attempt(now).await;
        }
        self.last_good(&self.lock(), now)
    }

    /// The set in which to look for `kid`: fetched again if it is not there and the cool-down is over.
    ///
    /// A set without `kid` means that its issuer has no such key.
    ///
    /// # Errors
    /// As [`keys`](Self::keys), and when `kid` is not in the last good set while the issuer does not answer, so that nobody
    /// can say whose it is.
    pub async fn for_kid(&self, kid: &str, now: Timestamp) -> Result<Arc<ForeignKeys>, KeysUnavailable> {
        let keys = self.keys(now).await?;
        if keys.contains(kid) {
            return Ok(keys);
        }
        let seen = {
            let state = self.lock();
            let rested = state.attempted_at.is_none_or(|at| elapsed(at, now).is_none_or(|d| d >= self.cool_down()));
            if !rested || backing_off(&state, now) {
                return self.answer(&state, kid, now);
            }
            state.attempts
        };
        let _flight = self.flight.lock().await;
        if self.lock().attempts == seen {
            self.attempt(now).await;
        }
        self.answer(&self.lock(), kid, now)
    }

    /// Where the set comes from.
    #[must_use]
    pub fn url(&self) -> &RemoteUrl {
        &self.url
    }

    /// Seconds since the set was fetched, and whether the last attempt failed. Fetches nothing: for gauges.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> (Option<u64>, bool) {
        let state = self.lock();
        let age = state.good.as_ref().and_then(|good| elapsed(good.read_at, now));
        (age.and_then(|age| u64::try_from(age.as_secs()).ok()), state.failure.is_some())
    }

    /// Fetches and notes the outcome. Called by the holder of the flight.
    async fn attempt(&self, now: Timestamp) {
        let outcome = self.fetch().await;
        let mut state = self.lock();
        state.attempts += 1;
        state.attempted_at = Some(now);
        match outcome {
            Ok(keys) => {
                if let Some(failure) = state.failure.take() {
                    info!(url = %self.url.shown(), attempts = failure.in_a_row, "the key set is there again");
                }
                state.good = Some(Good { keys: Arc::new(keys), read_at: now });
            }
            Err(fault) => {
                let in_a_row = state.failure.as_ref().map_or(0, |failure| failure.in_a_row).saturating_add(1);
                let doubled = 1_u64.checked_shl(in_a_row - 1).unwrap_or(LONGEST_BACK_OFF_S);
                let asked = match &fault {
                    KeysFault::Remote(RemoteError::Status { retry_after_s, .. }) => retry_after_s.unwrap_or(0),
                    _ => 0,
                };
                let pause_s = doubled.max(asked).min(LONGEST_BACK_OFF_S);
                warn!(url = %self.url.shown(), in_a_row, retry_in_s = pause_s, error = %fault, "no key set");
                if matches!(&fault, KeysFault::Document { error: ForeignKeysError::PrivateMember { .. }, .. }) {
                    state.good = None;
                }
                let retry_at = now.checked_add(Duration::from_secs(pause_s)).unwrap_or(now);
                state.failure = Some(Failure { fault, in_a_row, retry_at });
            }
        }
    }

    async fn fetch(&self) -> Result<ForeignKeys, KeysFault> {
        let mut headers = vec![("accept", "application/jwk-set+json, application/json")];
        let mut authorization = Zeroizing::new(String::new());
        if let Some(file) = &self.bearer {
            let token = file.current().map_err(|problem| KeysFault::Credential {
                file: file.path().display().to_string(),
                detail: problem.to_string(),
            })?;
            authorization.push_str("Bearer ");
            authorization.push_str(token.as_str());
            headers.push(("authorization", authorization.as_str()));
        }
        let reply = self.client.get(&self.url, &headers).await?.success()?;
        ForeignKeys::parse(&reply.body).map_err(|error| KeysFault::Document { at: self.url.shown(), error })
    }

    fn is_fresh(&self, state: &State, now: Timestamp) -> bool {
        let age = state.good.as_ref().and_then(|good| elapsed(good.read_at, now));
        state.failure.is_none() && age.is_some_and(|age| age < signed(self.policy.max_age))
    }

    /// The set that may be used now, whatever its age within the bounds.
    fn last_good(&self, state: &State, now: Timestamp) -> Result<Arc<ForeignKeys>, KeysUnavailable> {
        let longest = signed(self.policy.last_good.max(self.policy.max_age));
        match &state.good {
            Some(good) if elapsed(good.read_at, now).is_some_and(|age| age <= longest) => Ok(Arc::clone(&good.keys)),
            _ => Err(self.unavailable(state, now)),
        }
    }

    /// What can be said of `kid` now.
    fn answer(&self, state: &State, kid: &str, now: Timestamp) -> Result<Arc<ForeignKeys>, KeysUnavailable> {
        let keys = self.last_good(state, now)?;
        if state.failure.is_some() && !keys.contains(kid) {
            return Err(self.unavailable(state, now));
        }
        Ok(keys)
    }

    fn unavailable(&self, state: &State, now: Timestamp) -> KeysUnavailable {
        let reason = state.failure.as_ref().map_or_else(
            || KeysFault::Remote(RemoteError::Interrupted { at: self.url.shown(), detail: "too old".to_owned() }),
            |failure| failure.fault.clone(),
        );
        let wait = state.failure.as_ref().and_then(|failure| elapsed(now, failure.retry_at));
        let retry_after_s = wait.and_then(|wait| u64::try_from(wait.as_secs()).ok()).unwrap_or(0).max(1);
        KeysUnavailable { reason, retry_after_s }
    }

    fn cool_down(&self) -> SignedDuration {
        signed(self.policy.cool_down)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done by a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("url", &self.url).field("policy", &self.policy).finish_non_exhaustive()
    }
}

fn backing_off(state: &State, now: Timestamp) -> bool {
    let (Some(failure), Some(at)) = (&state.failure, state.attempted_at) else { return false };
    elapsed(at, now).is_some() && now < failure.retry_at
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// The time from `earlier` to `later`; nothing when the clock was set back between.
fn elapsed(earlier: Timestamp, later: Timestamp) -> Option<SignedDuration> {
    let passed = later.duration_since(earlier);
    if passed >= SignedDuration::ZERO {
        Some(passed)
    } else {
        (passed >= -CLOCK_TOLERANCE).then_some(SignedDuration::ZERO)
    }
}
