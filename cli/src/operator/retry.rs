//! Trying again: back-off with jitter, as long as the server asks, within a deadline.

use std::future::Future;
use std::time::Duration;

use token_shell::IdSource;
use tokio::time::Instant;

/// The first pause; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// The longest wait that is reckoned with, whatever a server says.
const A_DAY: Duration = Duration::from_secs(86_400);

/// What came of one attempt.
pub(super) enum Attempt<T, E> {
    /// An answer, good or bad, that trying again would not change.
    Final(Result<T, E>),
    /// An outage or a throttle: `after` is how long the server asks to wait.
    Again { error: E, after: Option<Duration> },
}

/// Tries until an answer is final or the next pause would pass `deadline`. A `Retry-After` is a lower bound of the pause:
/// coming back sooner would only be refused again.
pub(super) async fn until<T, E, F>(
    deadline: Duration,
    ids: &dyn IdSource,
    mut attempt: impl FnMut() -> F,
) -> Result<T, (E, u32)>
where
    F: Future<Output = Attempt<T, E>>,
{
    let end = Instant::now() + deadline;
    let mut pause = FIRST;
    let mut attempts = 0_u32;
    loop {
        attempts += 1;
        let (error, after) = match attempt().await {
            Attempt::Final(Ok(answer)) => return Ok(answer),
            Attempt::Final(Err(error)) => return Err((error, attempts)),
            Attempt::Again { error, after } => (error, after),
        };
        // Full jitter: a fleet that was refused together does not come back together.
        let jittered = pause.mul_f64(fraction(ids));
        let wait = after.map_or(jittered, |after| after.min(A_DAY) + jittered.min(Duration::from_secs(1)));
        if Instant::now() + wait >= end {
            return Err((error, attempts));
        }
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// A number from 0 to 1, drawn from an identifier.
pub(super) fn fraction(ids: &dyn IdSource) -> f64 {
    let id = ids.next_id();
    let drawn = id.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(u32::MAX / 2);
    f64::from(drawn) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_shell::OsIds;

    #[tokio::test(start_paused = true)]
    async fn the_server_says_how_long_to_wait_and_the_deadline_ends_it() {
        let start = Instant::now();
        let mut calls = 0;
        let outcome: Result<u32, ((), u32)> = until(Duration::from_secs(60), &OsIds, || {
            calls += 1;
            let call = calls;
            async move {
                match call {
                    1 => Attempt::Again { error: (), after: Some(Duration::from_secs(7)) },
                    2 => Attempt::Again { error: (), after: None },
                    _ => Attempt::Final(Ok(call)),
                }
            }
        })
        .await;
        assert_eq!(outcome, Ok(3));
        let took = start.elapsed();
        assert!(took >= Duration::from_secs(7) && took < Duration::from_secs(9), "{took:?}");

        let start = Instant::now();
        let asked = Some(Duration::MAX);
        let outcome: Result<(), ((), u32)> =
            until(Duration::from_secs(60), &OsIds, || async { Attempt::Again { error: (), after: asked } }).await;
        assert_eq!(outcome, Err(((), 1)), "a pause that would pass the deadline is not begun");
        assert_eq!(start.elapsed(), Duration::ZERO);

        let start = Instant::now();
        let outcome: Result<(), ((), u32)> =
            until(Duration::from_secs(30), &OsIds, || async { Attempt::Again { error: (), after: None } }).await;
        let (_, attempts) = outcome.unwrap_err();
        assert!(attempts > 5 && start.elapsed() < Duration::from_secs(30), "{attempts} {:?}", start.elapsed());
    }

    #[test]
    fn jitter_is_a_fraction() {
        for _ in 0..1000 {
            let drawn = fraction(&OsIds);
            assert!((0.0..=1.0).contains(&drawn), "{drawn}");
        }
    }
}
