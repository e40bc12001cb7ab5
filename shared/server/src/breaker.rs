//! A circuit breaker: a dependency that is down is asked rarely, and nobody waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::limiter::RetryAfter;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it (at least 1).
    pub failures: u32,
    /// So long nobody passes; then one probe at a time does, and its success closes the breaker.
    pub open_for: Duration,
}

impl Default for BreakerPolicy {
    /// Three failures, 30 s.
    fn default() -> Self {
        Self { failures: 3, open_for: Duration::from_secs(30) }
    }
}

/// What a breaker lets through now, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everybody passes.
    Closed,
    /// Nobody passes.
    Open,
    /// One probe at a time passes.
    HalfOpen,
}

/// A circuit breaker with time as a parameter. Clones are handles of the same breaker.
///
/// Ask [`permit`](Self::permit) before the call and tell the permit how it went. A permit that is dropped without a word
/// (the request was cancelled, or ran into its deadline) counts as a failure: a dependency that hangs opens the breaker
/// too. A verdict that comes after the breaker has changed its state counts nothing.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts the changes of state, so that late verdicts are told from current ones.
    era: u64,
    failures: u32,
    /// `Some` when not closed.
    open_until: Option<Timestamp>,
    probing: bool,
}

/// Leave to call the dependency once.
#[derive(Debug)]
#[must_use = "a permit that is dropped counts as a failure"]
pub struct Permit {
    breaker: Breaker,
    era: u64,
    granted: Timestamp,
    told: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, inner: Arc::default() }
    }

    /// Leave to call the dependency.
    ///
    /// # Errors
    /// [`RetryAfter`] while the breaker is open, or half open with a probe under way.
    pub fn permit(&self, now: Timestamp) -> Result<Permit, RetryAfter> {
        let mut inner = self.lock();
        if let Some(until) = inner.open_until {
            // A clock that was set back must not keep it open for longer than its policy says.
            let until = until.min(self.after(now));
            inner.open_until = Some(until);
            if now < until {
                return Err(RetryAfter::new(Duration::try_from(until.duration_since(now)).unwrap_or_default()));
            }
            if inner.probing {
                return Err(RetryAfter::new(Duration::from_secs(1)));
            }
            inner.probing = true;
        }
        Ok(Permit { breaker: self.clone(), era: inner.era, granted: now, told: false })
    }

    /// What it lets through at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> BreakerState {
        match self.lock().open_until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    fn told(&self, era: u64, failed_at: Option<Timestamp>) {
        let mut inner = self.lock();
        if inner.era != era {
            return;
        }
        match failed_at {
            None if inner.open_until.is_some() => *inner = Inner { era: era.wrapping_add(1), ..Inner::default() },
            None => inner.failures = 0,
            Some(at) => {
                inner.failures = inner.failures.saturating_add(1);
                if inner.open_until.is_some() || inner.failures >= self.policy.failures.max(1) {
                    *inner = Inner { era: era.wrapping_add(1), open_until: Some(self.after(at)), ..Inner::default() };
                }
            }
        }
    }

    fn after(&self, now: Timestamp) -> Timestamp {
        let open_for = SignedDuration::try_from(self.policy.open_for).unwrap_or(SignedDuration::MAX);
        now.checked_add(open_for).unwrap_or(Timestamp::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The dependency answered (a refusal is an answer too).
    pub fn success(mut self) {
        self.told = true;
        self.breaker.told(self.era, None);
    }

    /// The dependency failed, at `now`.
    pub fn failure(mut self, now: Timestamp) {
        self.told = true;
        self.breaker.told(self.era, Some(now));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.told(self.era, Some(self.granted));
        }
    }
}
