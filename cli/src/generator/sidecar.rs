//! Staying: a token that is renewed before it expires, whatever happens to disk, key and clock meanwhile.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::health::Health;
use super::issuer::{IssueError, Issuer, Written};
use super::log::{Level, log};
use super::token::Statement;
use crate::exit::Exit;

/// The earliest renewal, as a part of the lifetime; up to [`SPREAD`] of it is added by chance, so that a thousand pods
/// that started together do not renew together: 70 % in the middle.
const EARLIEST: f64 = 0.65;
const SPREAD: f64 = 0.10;
/// How far a clock may have been set back before the token on disk counts as one from the future.
const LEEWAY_S: i64 = 60;
/// How long SIGTERM waits for a token that is just being written.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// When to renew and how often to look, for tokens of one lifetime.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    lifetime: Duration,
}

impl Pace {
    fn of(issuer: &Issuer) -> Self {
        let seconds = match &issuer.config().statement {
            Statement::Complete { lifetime_s, .. } => *lifetime_s,
            // Not reachable by configuration; a day is as good as any.
            Statement::Legacy { .. } => 86_400,
        };
        Self { lifetime: Duration::from_secs(seconds.into()) }
    }

    /// 65 to 75 % of the lifetime after `issued_at`, as `chance` (0 to 1) decides.
    fn renewal(self, issued_at: Timestamp, chance: f64) -> Timestamp {
        let after = self.lifetime.mul_f64(EARLIEST + SPREAD * chance.clamp(0.0, 1.0));
        let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::ZERO);
        issued_at.checked_add(after).unwrap_or(issued_at)
    }

    /// How often the token on disk, the key and the clock are looked at: a rotated key or a removed file is noticed within
    /// ten seconds.
    fn look(self) -> Duration {
        (self.lifetime / 20).clamp(Duration::from_millis(250), Duration::from_secs(10))
    }

    /// The pause after the `failures`th failure in a row (from 1): half a second, doubled up to a twentieth of the lifetime,
    /// never above half a minute; half of it by chance.
    fn pause(self, failures: u32, chance: f64) -> Duration {
        let most = (self.lifetime / 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        let full = Duration::from_millis(500).saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
        full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

/// The signals of contract 6.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.hangup.recv() => Heard::Renew,
            _ = self.terminate.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
        }
    }
}

/// What a signal asks for.
enum Heard {
    Renew,
    End(&'static str),
}

/// Renews until SIGTERM or SIGINT.
pub(crate) fn renew(issuer: &Arc<Issuer>, health: Option<SocketAddr>) -> Exit {
    let exit = in_runtime(renewing(Arc::clone(issuer), health)).and_then(|outcome| outcome);
    exit.unwrap_or_else(|error| {
        log(issuer.now(), Level::Error, "cannot start", [("error", error.into())]);
        Exit::TryAgain
    })
}

fn in_runtime<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime: Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(future);
    // A write that hangs must not keep the process.
    runtime.shutdown_background();
    Ok(outcome)
}

async fn renewing(issuer: Arc<Issuer>, health: Option<SocketAddr>) -> Result<Exit, String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    if let Some(address) = health {
        let health = Health::bind(address).await.map_err(|error| format!("--health-addr {address}: {error}"))?;
        let bound = health.address().map_err(|error| error.to_string())?;
        log(issuer.now(), Level::Info, "health address bound", [("address", bound.to_string().into())]);
        tokio::spawn(health.serve(Arc::clone(&issuer)));
    }
    let pace = Pace::of(&issuer);
    let mut failures = 0;
    loop {
        let mut writing = tokio::task::spawn_blocking({
            let issuer = Arc::clone(&issuer);
            move || issuer.issue()
        });
        // A key that changes while a token is made from the old one: SIGHUP then asks for another, it is not lost.
        let mut again = false;
        let outcome = loop {
            tokio::select! {
                outcome = &mut writing => break outcome,
                heard = signals.next() => match heard {
                    Heard::Renew => again = true,
                    Heard::End(name) => {
                        let _ = timeout(LAST_WRITE, writing).await;
                        return Ok(ended(&issuer, name));
                    }
                },
            }
        };
        let outcome = outcome.map_err(|_| "expected to issue a token, found an internal error".to_owned())?;
        let written = note(&issuer, &outcome, &mut failures);
        let ended_by = match written {
            _ if again => None,
            Some(written) => keep(&issuer, &mut signals, pace, &written).await,
            None => {
                let pause = pace.pause(failures, issuer.chance());
                tokio::select! {
                    () = sleep(pause) => None,
                    heard = signals.next() => match heard {
                        Heard::Renew => None,
                        Heard::End(name) => Some(name),
                    },
                }
            }
        };
        if let Some(name) = ended_by {
            return Ok(ended(&issuer, name));
        }
    }
}

fn ended(issuer: &Issuer, name: &str) -> Exit {
    log(issuer.now(), Level::Info, "ended", [("signal", name.into())]);
    Exit::Ok
}

/// Logs an attempt; the token if there is one.
fn note(issuer: &Issuer, outcome: &Result<Written, IssueError>, failures: &mut u32) -> Option<Written> {
    let now = issuer.now();
    match outcome {
        Ok(written) => {
            *failures = 0;
            log(
                now,
                Level::Info,
                "token written",
                [
                    ("path", issuer.config().file.path().to_string_lossy().into()),
                    ("token_id", written.token_id.as_str().into()),
                    ("algorithm", written.algorithm.into()),
                    ("kid", written.kid.as_deref().into()),
                    ("expires_at", written.expires_at.to_string().into()),
                ],
            );
            Some(written.clone())
        }
        Err(error) => {
            *failures = failures.saturating_add(1);
            let (level, still) = match issuer.valid_until() {
                Ok(until) => (Level::Warn, format!("valid until {until}")),
                Err(found) => (Level::Error, found.to_owned()),
            };
            log(
                now,
                level,
                "token not renewed",
                [
                    ("error", error.to_string().into()),
                    ("code", error.exit().code().into()),
                    ("failures", (*failures).into()),
                    ("token_on_disk", still.into()),
                ],
            );
            None
        }
    }
}

/// Waits until the token has to be renewed: its time has come, SIGHUP, it is gone or replaced, the key is another, the clock
/// was set back. Returns the name of a signal that ends the process.
async fn keep(issuer: &Arc<Issuer>, signals: &mut Signals, pace: Pace, written: &Written) -> Option<&'static str> {
    let due = pace.renewal(written.issued_at, issuer.chance());
    loop {
        let left = Duration::try_from(due.duration_since(issuer.now())).unwrap_or_default();
        tokio::select! {
            // Short sleeps: a sleep does not notice that the machine was suspended or its clock set.
            () = sleep(left.min(pace.look())) => {}
            heard = signals.next() => match heard {
                Heard::Renew => {
                    log(issuer.now(), Level::Info, "renewing", [("reason", "SIGHUP".into())]);
                    return None;
                }
                Heard::End(name) => return Some(name),
            },
        }
        let now = issuer.now();
        if now >= due {
            return None;
        }
        let looking = Arc::clone(issuer);
        let found = tokio::task::spawn_blocking(move || looking.valid_until()).await;
        let reason = match found {
            Ok(Ok(_)) if now.as_second() + LEEWAY_S < written.issued_at.as_second() => "the clock was set back",
            Ok(Err(found)) => found,
            Ok(Ok(_)) | Err(_) => continue,
        };
        log(now, Level::Warn, "renewing", [("reason", reason.into())]);
        return None;
    }
}

/// What [`once_valid_for`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ensured {
    /// The token on disk was good.
    AlreadyThere,
    /// A new one was written.
    Issued,
}

/// Returns once the token on disk is valid for at least `valid_for_s`, or after `wait_s` with the last problem.
pub(crate) fn once_valid_for(issuer: &Arc<Issuer>, valid_for_s: u32, wait_s: u32) -> Result<Ensured, (Exit, String)> {
    // The first attempt needs no runtime.
    match ensure(issuer, valid_for_s) {
        Ok(ensured) => Ok(ensured),
        Err(problem) => {
            let deadline = Duration::from_secs(wait_s.into());
            let trying = trying(Arc::clone(issuer), valid_for_s, deadline, problem);
            in_runtime(trying).unwrap_or_else(|error| Err((Exit::TryAgain, error)))
        }
    }
}

async fn trying(
    issuer: Arc<Issuer>,
    valid_for_s: u32,
    wait: Duration,
    mut problem: (Exit, String),
) -> Result<Ensured, (Exit, String)> {
    let mut signals = Signals::new().map_err(|error| (Exit::TryAgain, error.to_string()))?;
    let deadline = Instant::now() + wait;
    let pace = Pace::of(&issuer);
    for failures in 1.. {
        let fields = [("error", problem.1.as_str().into()), ("failures", failures.into())];
        log(issuer.now(), Level::Warn, "no valid token yet", fields);
        let pause = pace.pause(failures, issuer.chance());
        if Instant::now() + pause > deadline {
            break;
        }
        tokio::select! {
            () = sleep(pause) => {}
            heard = signals.next() => if let Heard::End(name) = heard {
                return Err((Exit::TryAgain, format!("expected a valid token on disk, found {name} before there was one")));
            },
        }
        let trying = Arc::clone(&issuer);
        match tokio::task::spawn_blocking(move || ensure(&trying, valid_for_s)).await {
            Ok(Ok(ensured)) => return Ok(ensured),
            Ok(Err(found)) => problem = found,
            Err(_) => return Err((Exit::TryAgain, "expected to issue a token, found an internal error".to_owned())),
        }
    }
    Err(problem)
}

fn ensure(issuer: &Issuer, valid_for_s: u32) -> Result<Ensured, (Exit, String)> {
    let long_enough = || match issuer.valid_until() {
        Ok(until) if until.as_second() - issuer.now().as_second() >= i64::from(valid_for_s) => Ok(()),
        Ok(until) => Err(format!("a token that expires at {until}")),
        Err(found) => Err(found.to_owned()),
    };
    if long_enough().is_ok() {
        return Ok(Ensured::AlreadyThere);
    }
    issuer.issue().map_err(|error| (error.exit(), error.to_string()))?;
    // What counts is what a reader finds now.
    long_enough().map(|()| Ensured::Issued).map_err(|found| {
        (Exit::TryAgain, format!("expected a token on disk that is valid for {valid_for_s} s, found {found}"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::Pace;

    #[test]
    fn renewal_is_at_seventy_percent_of_the_lifetime_give_or_take_five() {
        let pace = Pace { lifetime: Duration::from_secs(3600) };
        let at = |chance| pace.renewal(Timestamp::UNIX_EPOCH, chance).as_second();
        assert_eq!([at(0.0), at(0.5), at(1.0)], [2340, 2520, 2700]);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pace = Pace { lifetime: Duration::from_secs(3600) };
        let pauses = [1, 2, 3, 10, u32::MAX].map(|failures| pace.pause(failures, 1.0).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 30_000, 30_000]);
        assert_eq!(pace.pause(10, 0.0).as_millis(), 15_000);
    }

    proptest! {
        #[test]
        fn renewal_is_always_within_the_lifetime(lifetime in 1_u64..=366 * 86_400, chance in 0.0..=1.0_f64) {
            let pace = Pace { lifetime: Duration::from_secs(lifetime) };
            let renewal = pace.renewal(Timestamp::UNIX_EPOCH, chance);
            prop_assert!(renewal > Timestamp::UNIX_EPOCH);
            prop_assert!(renewal.as_second() < i64::try_from(lifetime).unwrap());
            prop_assert!(pace.pause(1, chance) <= Duration::from_secs(1));
        }
    }
}
