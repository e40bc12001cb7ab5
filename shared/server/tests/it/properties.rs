//! Limiter and breaker under arbitrary histories, with time as a parameter.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use token_server::{Breaker, BreakerPolicy, BreakerState, Permit, Rate, RateLimiter};
use token_testkit::at;

fn start() -> Timestamp {
    at("2026-11-22T00:00:00Z")
}

fn later(now: Timestamp, milliseconds: i64) -> Timestamp {
    now + SignedDuration::from_millis(milliseconds)
}

proptest! {
    #[test]
    fn no_window_holds_more_than_a_full_bucket_and_its_refill(
        burst in 1_u32..20,
        per_ms in 1_u64..10_000,
        pauses in vec(0_i64..500, 1..200),
    ) {
        let rate = Rate { burst, per: Duration::from_millis(per_ms) };
        let limiter = RateLimiter::new(rate, 10);
        let mut now = start();
        let mut admitted: Vec<Timestamp> = Vec::new();
        for pause in pauses {
            now = later(now, pause);
            match limiter.check(&(), now) {
                Ok(()) => admitted.push(now),
                Err(retry) => {
                    // The promise holds: after exactly that wait, and not a nanosecond less, the next one passes.
                    prop_assert!(retry.wait() > Duration::ZERO && retry.wait() <= rate.per);
                    prop_assert!(retry.seconds() >= 1);
                }
            }
        }
        for (index, from) in admitted.iter().enumerate() {
            for (more, to) in admitted[index..].iter().enumerate() {
                let window = to.duration_since(*from).as_nanos() as f64 / 1e9;
                let refilled = window * f64::from(burst) / rate.per.as_secs_f64();
                prop_assert!((more + 1) as f64 <= f64::from(burst) + refilled + 1e-6 * (more + 1) as f64 + 1.0 / 1e3);
            }
        }
    }

    #[test]
    fn the_wait_that_is_told_is_the_wait_that_is_needed(burst in 1_u32..20, per_ms in 20_u64..10_000) {
        let rate = Rate { burst, per: Duration::from_millis(per_ms) };
        let limiter = RateLimiter::new(rate, 10);
        for _ in 0..burst {
            prop_assert!(limiter.check(&(), start()).is_ok());
        }
        let wait = limiter.check(&(), start()).unwrap_err().wait();
        let wait = i64::try_from(wait.as_nanos()).unwrap();
        prop_assert!(limiter.check(&(), start() + SignedDuration::from_nanos(wait - 1)).is_err());
        prop_assert!(limiter.check(&(), start() + SignedDuration::from_nanos(wait)).is_ok());
    }

    #[test]
    fn a_flood_of_keys_costs_bounded_memory_and_no_known_key_its_rate(keys in vec(0_u32..1000, 1..400)) {
        let limiter = RateLimiter::new(Rate::per_minute(2), 10);
        prop_assert!(limiter.check(&u32::MAX, start()).is_ok());
        let mut admitted: HashMap<u32, u32> = HashMap::new();
        for key in keys {
            if limiter.check(&key, start()).is_ok() {
                *admitted.entry(key).or_default() += 1;
            }
            prop_assert!(limiter.keys() <= 10);
        }
        prop_assert!(admitted.values().all(|count| *count <= 2 + 2));
        prop_assert!(admitted.values().sum::<u32>() <= 9 * 2 + 2);
        prop_assert!(limiter.check(&u32::MAX, start()).is_ok(), "the known key still has its second token");
        // A minute later all buckets are full again and forgotten.
        let later = later(start(), 61_000);
        prop_assert!(limiter.check(&5000, later).is_ok());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_longer_than_an_empty_bucket(back_s in 0_i64..1_000_000) {
        let limiter = RateLimiter::new(Rate::per_minute(3), 10);
        for _ in 0..3 {
            limiter.check(&(), start()).unwrap();
        }
        let now = later(start(), -back_s * 1000);
        if let Err(retry) = limiter.check(&(), now) {
            prop_assert!(retry.wait() <= Duration::from_secs(60));
        }
        prop_assert!(limiter.check(&(), later(now, 60_000)).is_ok());
    }

    #[test]
    fn an_open_breaker_lets_nobody_through_and_a_half_open_one_a_single_probe(
        failures in 1_u32..5,
        open_ms in 1_i64..10_000,
        steps in vec((0_i64..3000, 0_u8..4), 1..200),
    ) {
        let policy = BreakerPolicy { failures, open_for: Duration::from_millis(u64::try_from(open_ms).unwrap()) };
        let breaker = Breaker::new(policy);
        // The model: failures in a row, when it opened, permits that have not been told.
        let (mut in_a_row, mut opened): (u32, Option<Timestamp>) = (0, None);
        let mut held = Vec::new();
        let mut now = start();
        for (pause, step) in steps {
            now = later(now, pause);
            let open = opened.is_some_and(|at| now < later(at, open_ms));
            let permit = breaker.permit(now);
            prop_assert_eq!(permit.is_ok(), !open);
            let expected = match opened {
                None => BreakerState::Closed,
                Some(_) if open => BreakerState::Open,
                Some(_) => BreakerState::HalfOpen,
            };
            prop_assert_eq!(breaker.state(now), expected);
            let Ok(permit) = permit else { continue };
            match step {
                0 => {
                    permit.success();
                    (in_a_row, opened) = (0, None);
                }
                1 | 2 => {
                    if step == 1 { permit.failure(now) } else { drop(permit) }
                    in_a_row += 1;
                    if opened.is_some() || in_a_row >= failures {
                        (in_a_row, opened) = (0, Some(now));
                    }
                }
                _ if opened.is_none() => held.push(permit),
                _ => {
                    // A probe under way: told in a moment, and until then nobody else passes.
                    prop_assert!(breaker.permit(now).is_err());
                    permit.success();
                    (in_a_row, opened) = (0, None);
                }
            }
            // Verdicts on permits of before the breaker opened change nothing.
            if opened.is_some() {
                for late in held.drain(..) {
                    late.success();
                }
                prop_assert!(breaker.state(now) != BreakerState::Closed);
            }
        }
        held.into_iter().for_each(Permit::success);
    }
}

#[test]
fn nothing_passes_a_rate_of_zero_and_seconds_round_up() {
    let limiter = RateLimiter::new(Rate { burst: 0, per: Duration::from_millis(1500) }, 10);
    assert_eq!(limiter.check(&(), start()).unwrap_err().seconds(), 2);
    let limiter = RateLimiter::new(Rate::per_minute(60), 10);
    assert!(limiter.check_at(&(), Rate::per_minute(1), start()).is_ok());
    assert_eq!(limiter.check_at(&(), Rate::per_minute(1), start()).unwrap_err().seconds(), 60);
}

#[test]
fn a_breaker_is_not_held_open_by_a_clock_that_was_set_back() {
    let breaker = Breaker::new(BreakerPolicy { failures: 1, open_for: Duration::from_secs(30) });
    breaker.permit(start()).unwrap().failure(start());
    let back = later(start(), -3_600_000);
    assert!(breaker.permit(back).unwrap_err().wait() <= Duration::from_secs(30));
    assert!(breaker.permit(later(back, 30_000)).is_ok());
}
