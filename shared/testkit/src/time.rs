//! Time as a value.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

/// The moment that `text` (RFC 3339) names.
///
/// # Panics
/// When `text` names none.
#[must_use]
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text:?} is no timestamp: {error}"))
}

/// A clock that stands still until it is told otherwise. Clones share one time.
#[derive(Clone, Debug)]
pub struct TestClock {
    now: Arc<Mutex<Timestamp>>,
}

impl TestClock {
    /// A clock that shows `text` (RFC 3339).
    #[must_use]
    pub fn at(text: &str) -> Self {
        Self { now: Arc::new(Mutex::new(at(text))) }
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// Moves it by `seconds`, back when negative.
    pub fn advance(&self, seconds: i64) {
        *self.now.lock().unwrap() += SignedDuration::from_secs(seconds);
    }

    /// Sets it.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap() = now;
    }
}
