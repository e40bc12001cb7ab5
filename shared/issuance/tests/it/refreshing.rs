//! How long a value serves: bounded age, last good, back-off.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use token_issuance::{Load, LoadError, Refreshing};
use token_testkit::{TestClock, at};

/// Answers what it is told to, and counts.
#[derive(Default)]
struct Scripted {
    answer: Mutex<Option<LoadError>>,
    loads: AtomicUsize,
}

#[async_trait]
impl Load for &'static Scripted {
    type Value = usize;

    async fn load(&self, _now: Timestamp) -> Result<usize, LoadError> {
        let count = self.loads.fetch_add(1, Ordering::SeqCst) + 1;
        self.answer.lock().unwrap().clone().map_or(Ok(count), Err)
    }

    fn usable_s(&self, _value: &usize) -> u64 {
        100
    }

    fn what(&self) -> &'static str {
        "number"
    }
}

impl Scripted {
    fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    fn fails(&self, error: Option<LoadError>) {
        *self.answer.lock().unwrap() = error;
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

fn down() -> Option<LoadError> {
    Some(LoadError::Unreachable("down".to_owned()))
}

#[tokio::test]
async fn within_its_age_a_value_is_not_read_again_and_beyond_it_is() {
    let (script, clock) = (Scripted::new(), TestClock::at("2026-11-22T12:00:00Z"));
    let value = Refreshing::new(script, 10);
    assert_eq!(*value.current(clock.now()).await.unwrap().value, 1);
    clock.advance(9);
    assert_eq!(*value.current(clock.now()).await.unwrap().value, 1);
    clock.advance(1);
    let current = value.current(clock.now()).await.unwrap();
    assert_eq!((*current.value, current.age_s, current.failing), (2, 0, false));
}

#[tokio::test]
async fn while_reading_fails_the_last_good_value_serves_for_its_time_and_no_longer() {
    let (script, clock) = (Scripted::new(), TestClock::at("2026-11-22T12:00:00Z"));
    let value = Refreshing::new(script, 10);
    value.warm(clock.now()).await.unwrap();
    script.fails(down());
    clock.advance(100);
    let current = value.current(clock.now()).await.unwrap();
    assert_eq!((*current.value, current.age_s, current.failing), (1, 100, true));
    clock.advance(1);
    let error = value.current(clock.now()).await.unwrap_err();
    assert_eq!((error.what, error.retry_after_s), ("number", 2));
    script.fails(None);
    clock.advance(2);
    assert!(!value.current(clock.now()).await.unwrap().failing, "it heals by itself");
}

#[tokio::test]
async fn failures_back_off_and_are_never_remembered() {
    let (script, clock) = (Scripted::new(), TestClock::at("2026-11-22T12:00:00Z"));
    let value = Refreshing::new(script, 10);
    script.fails(down());
    let mut tried_at = Vec::new();
    for second in 0..100_i64 {
        let before = script.loads();
        let answer = value.current(clock.now()).await;
        assert!(answer.is_err_and(|error| (1..=30).contains(&error.retry_after_s)));
        if script.loads() > before {
            tried_at.push(second);
        }
        clock.advance(1);
    }
    assert_eq!(tried_at, [0, 1, 3, 7, 15, 31, 61, 91], "1 s doubling to 30 s");
    script.fails(None);
    clock.advance(30);
    assert!(value.current(clock.now()).await.is_ok());
}

#[tokio::test]
async fn a_poisoned_document_is_not_hidden_by_the_last_good_one() {
    let (script, clock) = (Scripted::new(), TestClock::at("2026-11-22T12:00:00Z"));
    let value = Refreshing::new(script, 10);
    value.warm(clock.now()).await.unwrap();
    script.fails(Some(LoadError::Poisoned("a private key".to_owned())));
    clock.advance(10);
    assert!(matches!(value.current(clock.now()).await.unwrap_err().error, LoadError::Poisoned(_)));
    clock.advance(1);
    script.fails(down());
    clock.advance(5);
    assert_eq!(*value.current(clock.now()).await.unwrap().value, 1, "an outage after it is an outage");
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_a_value_stale() {
    let (script, clock) = (Scripted::new(), TestClock::at("2026-11-22T12:00:00Z"));
    let value = Refreshing::new(script, 10);
    value.warm(clock.now()).await.unwrap();
    clock.set(at("2026-11-22T11:00:00Z"));
    assert_eq!(*value.current(clock.now()).await.unwrap().value, 2);
    script.fails(down());
    clock.set(at("2026-11-22T10:00:00Z"));
    assert!(value.current(clock.now()).await.is_err(), "an age that is not known is no age within the bound");
}

/// A reader that never comes back, as one whose caller hangs up.
struct Hanging;

#[async_trait]
impl Load for Hanging {
    type Value = ();

    async fn load(&self, _now: Timestamp) -> Result<(), LoadError> {
        std::future::pending().await
    }

    fn usable_s(&self, (): &()) -> u64 {
        0
    }

    fn what(&self) -> &'static str {
        "nothing"
    }
}

#[tokio::test]
async fn a_reader_whose_caller_went_away_does_not_hold_the_place() {
    let now = at("2026-11-22T12:00:00Z");
    let value = Refreshing::new(Hanging, 10);
    {
        let mut first = std::pin::pin!(value.current(now));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(value.current(now).await.is_err(), "while one reads, others do not wait for it");
    }
    let mut next = std::pin::pin!(value.current(now));
    assert!(poll_once(next.as_mut()).is_pending(), "the next caller reads");
}

/// Polls once, as a runtime does that is then dropped.
fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
