//! How long what was read may be used: a bounded age, a last good value, and back-off, in one place for the key ring, the
//! mapping and the published key set.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::document::SourceError;

/// The longest pause between two attempts to read again, in seconds. The first is one second and each doubles.
const LONGEST_BACK_OFF_S: i64 = 30;

/// Reads a value and says how long it may outlive a store that is down.
#[async_trait]
pub trait Load: Send + Sync {
    /// What is read.
    type Value: Send + Sync;

    /// Reads and parses the current value.
    ///
    /// # Errors
    /// [`LoadError`], with every problem of a bad document in its text.
    async fn load(&self, now: Timestamp) -> Result<Self::Value, LoadError>;

    /// How old `value` may grow, in seconds, while reading again fails.
    fn usable_s(&self, value: &Self::Value) -> u64;

    /// What is read, for the log: `key ring`, `mapping`.
    fn what(&self) -> &'static str;
}

/// Why a value could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// What is stored is wrong: waiting does not mend it. The text lists every problem, one per line.
    #[error("{0}")]
    Invalid(String),
    /// What is stored must never have been there (a private key in a public document): the last good value must not hide it.
    #[error("{0}")]
    Poisoned(String),
    /// The store did not answer; it may soon.
    #[error("{0}")]
    Unreachable(String),
}

impl From<SourceError> for LoadError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Throttled { .. } | SourceError::Unavailable { .. } => Self::Unreachable(error.to_string()),
            SourceError::Denied { .. } | SourceError::Malformed { .. } | SourceError::NotFound { .. } => {
                Self::Invalid(error.to_string())
            }
        }
    }
}

/// A value that is read again when it is older than its bound.
///
/// - Within the bound, nothing is read.
/// - Beyond it, the next caller reads; meanwhile and after a failure the last good value serves, for at most
///   [`Load::usable_s`] since it was read.
/// - A failure is retried with back-off (1 s doubling to 30 s), never remembered as an answer.
/// - A clock that steps back makes a value stale, not young.
pub struct Refreshing<L: Load> {
    loader: L,
    fresh_s: u64,
    state: Mutex<State<L::Value>>,
}

struct State<V> {
    good: Option<Good<V>>,
    failure: Option<Failure>,
    loading: bool,
}

struct Good<V> {
    value: Arc<V>,
    read_at: Timestamp,
}

#[derive(Clone)]
struct Failure {
    error: LoadError,
    attempts: u32,
    failed_at: Timestamp,
    retry_at: Timestamp,
}

/// A value that may be used, and how fresh it is.
#[derive(Debug)]
pub struct Current<V> {
    /// The value.
    pub value: Arc<V>,
    /// Seconds since it was read.
    pub age_s: u64,
    /// Whether the last attempt to read again failed, so that this is the last good value.
    pub failing: bool,
}

/// There is no value that may still be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable {what}: {error}")]
pub struct NotUsable {
    /// What is missing.
    pub what: &'static str,
    /// Why.
    #[source]
    pub error: LoadError,
    /// Seconds after which it is worth asking again, at least 1.
    pub retry_after_s: u64,
}

impl<L: Load> Refreshing<L> {
    /// A value that is read when first asked for, and again when older than `fresh_s` seconds.
    #[must_use]
    pub fn new(loader: L, fresh_s: u64) -> Self {
        Self { loader, fresh_s, state: Mutex::new(State { good: None, failure: None, loading: false }) }
    }

    /// Reads now, whatever the age: what an init does, so that a wrong configuration shows before the first request.
    ///
    /// # Errors
    /// The reader's error, which is also noted as the first failed attempt.
    pub async fn warm(&self, now: Timestamp) -> Result<(), LoadError> {
        self.attempt(now).await
    }

    /// The value, read again if it is older than its bound.
    ///
    /// # Errors
    /// [`NotUsable`] when nothing was ever read, the last good value is too old, or the stored one is poisoned.
    pub async fn current(&self, now: Timestamp) -> Result<Current<L::Value>, NotUsable> {
        if self.claim_attempt(now) {
            let claim = Claim { state: &self.state };
            // The outcome is in the state; a failure is reported there once.
            let _ = self.attempt(now).await;
            drop(claim);
        }
        self.last_good(now)
    }

    /// The value as it was last read, without reading: for gauges and for what depends on it.
    #[must_use]
    pub fn peek(&self) -> Option<Arc<L::Value>> {
        self.lock().good.as_ref().map(|good| Arc::clone(&good.value))
    }

    /// Seconds since the value was read, and whether the last attempt to read it again failed. Reads nothing.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> (Option<u64>, bool) {
        let state = self.lock();
        (state.good.as_ref().and_then(|good| age_s(good.read_at, now)), state.failure.is_some())
    }

    /// Whether this caller is the one that reads: the value is stale, no back-off is running, nobody else reads.
    fn claim_attempt(&self, now: Timestamp) -> bool {
        let mut state = self.lock();
        let fresh = state.failure.is_none()
            && state.good.as_ref().and_then(|good| age_s(good.read_at, now)).is_some_and(|age| age < self.fresh_s);
        let backing_off =
            state.failure.as_ref().is_some_and(|failure| failure.failed_at <= now && now < failure.retry_at);
        if fresh || backing_off || state.loading {
            return false;
        }
        state.loading = true;
        true
    }

    /// What reads the value.
    pub(crate) fn loader(&self) -> &L {
        &self.loader
    }

    async fn attempt(&self, now: Timestamp) -> Result<(), LoadError> {
        self.settle(self.loader.load(now).await, now)
    }

    /// Notes what an attempt came to that began at `now`.
    pub(crate) fn settle(&self, outcome: Result<L::Value, LoadError>, now: Timestamp) -> Result<(), LoadError> {
        let mut state = self.lock();
        match outcome {
            Ok(value) => {
                if let Some(failure) = state.failure.take() {
                    info!(what = self.loader.what(), attempts = failure.attempts, "reading works again");
                }
                state.good = Some(Good { value: Arc::new(value), read_at: now });
                Ok(())
            }
            Err(error) => {
                let attempts = state.failure.as_ref().map_or(0, |failure| failure.attempts).saturating_add(1);
                let pause = 1_i64.checked_shl(attempts - 1).unwrap_or(LONGEST_BACK_OFF_S).clamp(1, LONGEST_BACK_OFF_S);
                let retry_at = now.checked_add(jiff::SignedDuration::from_secs(pause)).unwrap_or(now);
                warn!(what = self.loader.what(), attempts, retry_in_s = pause, error = %error, "reading failed");
                state.failure = Some(Failure { error: error.clone(), attempts, failed_at: now, retry_at });
                Err(error)
            }
        }
    }

    fn last_good(&self, now: Timestamp) -> Result<Current<L::Value>, NotUsable> {
        let state = self.lock();
        let failing = state.failure.as_ref();
        let poisoned = failing.is_some_and(|failure| matches!(failure.error, LoadError::Poisoned(_)));
        if let (Some(good), false) = (&state.good, poisoned)
            && let Some(age_s) = age_s(good.read_at, now)
            && (age_s < self.fresh_s || age_s <= self.loader.usable_s(&good.value))
        {
            return Ok(Current { value: Arc::clone(&good.value), age_s, failing: failing.is_some() });
        }
        let error = failing
            .map_or_else(|| LoadError::Unreachable("it is being read".to_owned()), |failure| failure.error.clone());
        let wait_s = failing.and_then(|failure| age_s(now, failure.retry_at)).unwrap_or(0).max(1);
        Err(NotUsable { what: self.loader.what(), error, retry_after_s: wait_s })
    }

    fn lock(&self) -> MutexGuard<'_, State<L::Value>> {
        // The state is only ever replaced whole, so a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Load> fmt::Debug for Refreshing<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshing")
            .field("what", &self.loader.what())
            .field("fresh_s", &self.fresh_s)
            .finish_non_exhaustive()
    }
}

/// Gives the claim back when the reader is done, or when its request was dropped half-way.
struct Claim<'a, V> {
    state: &'a Mutex<State<V>>,
}

impl<V> Drop for Claim<'_, V> {
    fn drop(&mut self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).loading = false;
    }
}

/// Whole seconds from `earlier` to `later`, rounded up; `None` when `later` is before.
fn age_s(earlier: Timestamp, later: Timestamp) -> Option<u64> {
    let millis = later.as_millisecond().checked_sub(earlier.as_millisecond())?;
    Some(u64::try_from(millis).ok()?.div_ceil(1000))
}
