//! How many signatures this process may ask KMS for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A token bucket: so many signatures a second, and as many at once after a rest.
///
/// KMS's quota is the account's, shared with everybody else in it: an issuer that runs into it takes others down with it.
/// The rate times the number of processes (a Lambda's reserved concurrency) should stay below the quota.
pub struct KmsBudget {
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl KmsBudget {
    /// A full bucket. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, state: Mutex::new((per_second, Instant::now())) }
    }

    /// Whether there is one more now; it is then taken.
    pub(crate) fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let gained = now.saturating_duration_since(since).as_secs_f64() * self.per_second;
        let left = (left + gained).min(self.per_second);
        let enough = left >= 1.0;
        *state = (if enough { left - 1.0 } else { left }, now.max(since));
        enough
    }
}

impl fmt::Debug for KmsBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsBudget").field("per_second", &self.per_second).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_spent_budget_refills_at_its_rate_and_no_further() {
        let budget = KmsBudget::new(5);
        let start = Instant::now() + Duration::from_secs(1);
        let taken = |at: Instant| std::iter::repeat_with(|| budget.take_at(at)).take(20).filter(|taken| *taken).count();
        assert_eq!(taken(start), 5);
        assert_eq!(taken(start + Duration::from_millis(100)), 0);
        assert_eq!(taken(start + Duration::from_millis(450)), 2);
        assert_eq!(taken(start + Duration::from_secs(60)), 5);
        assert_eq!(taken(start), 0, "a clock that steps back gains nothing");
    }
}
