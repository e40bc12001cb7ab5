//! Whether this process should be sent requests.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::shutdown::Shutdown;

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// How long a check's answer stands.
const STANDS: Duration = Duration::from_secs(1);

/// Named checks of what this process needs.
///
/// A *hard* check that fails makes the process not ready; a *soft* one (what only some requests need, or what has a last
/// good value) is reported and nothing more: one shared dependency that is slow must not take every replica out of
/// service at once. Answers stand for a second, each check runs once at a time whoever asks, and each has a bound: a soft
/// check is never waited for, a hard one at most for its bound.
///
/// What a failing check says goes to the log, once per change; the answer has names and states only.
#[derive(Clone)]
pub struct Readiness {
    shutdown: Shutdown,
    checks: Arc<Vec<Check>>,
}

struct Check {
    name: &'static str,
    hard: bool,
    bound: Duration,
    probe: Probe,
    run: Mutex<Option<Run>>,
}

/// The last run of a check; the state is `None` while it has not ended.
struct Run {
    started: Instant,
    former: Option<bool>,
    state: watch::Receiver<Option<bool>>,
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// Good.
    Ok,
    /// It failed, or had no answer within its bound.
    Failing,
    /// It has not answered yet.
    Pending,
}

impl CheckState {
    /// `ok`, `failing` or `pending`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing => "failing",
            Self::Pending => "pending",
        }
    }
}

/// All checks at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessReport {
    /// Whether requests should be sent here: every hard check is good, and the process does not end.
    pub ready: bool,
    /// Whether the process ends.
    pub ending: bool,
    /// Name, whether it is hard, and state of each check.
    pub checks: Vec<(&'static str, bool, CheckState)>,
}

impl Readiness {
    /// No checks: ready until `shutdown` begins.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, checks: Arc::default() }
    }

    /// Adds a check without which the process is not ready. `probe` says what is wrong, for the log.
    #[must_use]
    pub fn hard<F, A>(self, name: &'static str, bound: Duration, probe: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.with(name, true, bound, probe)
    }

    /// Adds a check that is reported only.
    #[must_use]
    pub fn soft<F, A>(self, name: &'static str, bound: Duration, probe: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.with(name, false, bound, probe)
    }

    fn with<F, A>(self, name: &'static str, hard: bool, bound: Duration, probe: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        let probe: Probe = Arc::new(move || Box::pin(probe()));
        let check = Check { name, hard, bound, probe, run: Mutex::new(None) };
        // Checks are added before the first clone; after it, they would belong to one handle only.
        let mut checks = Arc::try_unwrap(self.checks).unwrap_or_else(|shared| {
            shared
                .iter()
                .map(|check| Check { probe: Arc::clone(&check.probe), run: Mutex::new(None), ..*check })
                .collect()
        });
        checks.push(check);
        Self { shutdown: self.shutdown, checks: Arc::new(checks) }
    }

    /// Runs the checks whose answer no longer stands, and says how things are. Takes at most the longest bound of a hard
    /// check.
    pub async fn report(&self) -> ReadinessReport {
        let runs: Vec<_> = self.checks.iter().map(|check| (check, check.current())).collect();
        let mut checks = Vec::with_capacity(runs.len());
        for (check, (former, mut state)) in runs {
            let known = if check.hard {
                // The run itself ends at the bound; this wait is for a runtime too busy to say so.
                let wait = tokio::time::timeout(check.bound * 2, state.wait_for(Option::is_some)).await;
                wait.ok().and_then(Result::ok).and_then(|state| *state).or(Some(false))
            } else {
                state.borrow().or(former)
            };
            let state = match known {
                Some(true) => CheckState::Ok,
                Some(false) => CheckState::Failing,
                None => CheckState::Pending,
            };
            checks.push((check.name, check.hard, state));
        }
        let ending = self.shutdown.has_begun();
        let ready = !ending && checks.iter().all(|(_, hard, state)| !hard || *state == CheckState::Ok);
        ReadinessReport { ready, ending, checks }
    }
}

impl Check {
    /// The run whose answer stands, or a new one; and what the one before it said.
    fn current(&self) -> (Option<bool>, watch::Receiver<Option<bool>>) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = &*run {
            let ended = run.state.borrow().is_some();
            if !ended || run.started.elapsed() < STANDS {
                return (run.former, run.state.clone());
            }
        }
        let former = run.as_ref().and_then(|run| *run.state.borrow());
        let (answer, state) = watch::channel(None);
        let (name, bound, probe) = (self.name, self.bound, (self.probe)());
        tokio::spawn(async move {
            // A probe that outlives its bound is dropped, so that a dependency that hangs costs one task at most.
            let said = match tokio::time::timeout(bound, AssertUnwindSafe(probe).catch_unwind()).await {
                Ok(Ok(said)) => said,
                Ok(Err(_)) => Err("the check panicked".to_owned()),
                Err(_) => Err(format!("no answer within {bound:?}")),
            };
            match &said {
                Err(problem) if former != Some(false) => tracing::warn!(check = name, problem, "a check fails"),
                Ok(()) if former == Some(false) => tracing::info!(check = name, "a check is good again"),
                _ => {}
            }
            let _ = answer.send(Some(said.is_ok()));
        });
        *run = Some(Run { started: Instant::now(), former, state: state.clone() });
        (former, state)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| check.name)).finish()
    }
}
