//! Token buckets: how often somebody may ask.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// How long to wait before asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryAfter(Duration);

impl RetryAfter {
    /// After this long.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self(wait)
    }

    /// The exact wait.
    #[must_use]
    pub fn wait(self) -> Duration {
        self.0
    }

    /// Whole seconds for a `Retry-After` header: rounded up, at least 1.
    #[must_use]
    pub fn seconds(self) -> u64 {
        let up = u64::from(self.0.subsec_nanos() > 0);
        self.0.as_secs().saturating_add(up).max(1)
    }
}

/// `burst` requests at once, refilled evenly at `burst` per `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The most at once, and the number refilled in `per`. Zero admits nothing.
    pub burst: u32,
    /// The time in which an empty bucket becomes full.
    pub per: Duration,
}

impl Rate {
    /// `burst` per minute.
    #[must_use]
    pub fn per_minute(burst: u32) -> Self {
        Self { burst, per: Duration::from_secs(60) }
    }
}

/// Token buckets per key, with a bounded number of keys and time as a parameter.
///
/// A bucket that has filled up says nothing and is forgotten. When `max_keys` buckets are in use, further keys share one
/// bucket: memory stays bounded, known keys keep their own rate, and a flood of new keys gets one key's share in all.
#[derive(Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    max_keys: usize,
    buckets: Mutex<Buckets<K>>,
}

/// A bucket is the moment (nanoseconds) at which it will be full: GCRA's theoretical arrival time.
#[derive(Debug)]
struct Buckets<K> {
    full_at: HashMap<K, i128>,
    shared: i128,
    next_sweep: i128,
}

/// Sweeping looks at every key: at most this often, whoever asks.
const SWEEP_EVERY_NS: i128 = 1_000_000_000;

impl<K: Hash + Eq + Clone> RateLimiter<K> {
    /// A limiter that gives each key `rate`, for at most `max_keys` keys at once.
    #[must_use]
    pub fn new(rate: Rate, max_keys: usize) -> Self {
        let buckets = Buckets { full_at: HashMap::new(), shared: i128::MIN, next_sweep: i128::MIN };
        Self { rate, max_keys, buckets: Mutex::new(buckets) }
    }

    /// Takes one token of `key`'s bucket.
    ///
    /// # Errors
    /// [`RetryAfter`] when the bucket is empty; nothing is taken then, so a refused caller does not lengthen his wait.
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), RetryAfter> {
        self.check_at(key, self.rate, now)
    }

    /// [`check`](Self::check) with a rate of the key's own (such as a `rate_limit` claim). Use the same one per key.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_at(&self, key: &K, rate: Rate, now: Timestamp) -> Result<(), RetryAfter> {
        let now = now.as_nanosecond();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= self.max_keys && now >= buckets.next_sweep && !buckets.full_at.contains_key(key) {
            buckets.full_at.retain(|_, full_at| *full_at > now);
            buckets.next_sweep = now.saturating_add(SWEEP_EVERY_NS);
        }
        let Buckets { full_at, shared, .. } = &mut *buckets;
        let known = full_at.len();
        match full_at.entry(key.clone()) {
            Entry::Occupied(mut bucket) => take(bucket.get_mut(), rate, now),
            Entry::Vacant(bucket) if known < self.max_keys => take(bucket.insert(now), rate, now),
            Entry::Vacant(_) => take(shared, self.rate, now),
        }
    }

    /// How many keys have a bucket now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }
}

fn take(full_at: &mut i128, rate: Rate, now: i128) -> Result<(), RetryAfter> {
    let per = i128::try_from(rate.per.as_nanos()).unwrap_or(i128::MAX / 4);
    if rate.burst == 0 {
        return Err(RetryAfter(rate.per));
    }
    let one = (per / i128::from(rate.burst)).max(1);
    // A clock that was set back must not lock a key out for longer than an empty bucket would.
    *full_at = (*full_at).min(now.saturating_add(per));
    let start = (*full_at).max(now);
    let next = start.saturating_add(one);
    // Whole tokens of `one` nanoseconds: what the division lost would otherwise be a token more than `burst`.
    let room = one.saturating_mul(i128::from(rate.burst));
    let wait = next - now - room;
    if wait > 0 {
        let nanos = u64::try_from(wait).unwrap_or(u64::MAX);
        return Err(RetryAfter(Duration::from_nanos(nanos)));
    }
    *full_at = next;
    Ok(())
}
