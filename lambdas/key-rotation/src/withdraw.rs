//! The withdrawal of a key: the operator's emergency.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use token_issuance::rotation::{IssuersAfter, Rotation, RotationError, WithdrawalReport};
use token_jose::Withdrawal;
use token_shell::{Clock, IdSource, Problems};
use tracing::{error, warn};

use crate::config::Config;
use crate::{Failure, audit, quoted};

/// How often a withdrawal that lost to a rotation is done again from the start.
const ATTEMPTS: usize = 3;

/// What is left of the function's time for the answer, once warm issuers are replaced.
const ANSWERING: Duration = Duration::from_secs(3);

/// The longest time that replacing warm issuers may take.
const REPLACING: Duration = Duration::from_secs(30);

/// The name of this function in metrics.
const STEP: &str = "withdraw";

/// `{"withdraw": KID | "all"}`, and nothing else: a typing error must not withdraw something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    withdraw: String,
}

/// What became of one key.
#[derive(Serialize)]
struct KeyReport {
    kid: String,
    foreign: bool,
    signed_from: Option<String>,
    signed_until: Option<String>,
    latest_exp: Option<String>,
}

/// The `withdraw` Lambda, ready to work.
pub struct WithdrawApp {
    rotation: Rotation,
    clock: Box<dyn Clock>,
    ids: Box<dyn IdSource>,
    metrics: Mutex<Box<dyn Write + Send>>,
}

impl WithdrawApp {
    /// The Lambda as `config` says; metrics go to `metrics`.
    ///
    /// # Errors
    /// All `problems`.
    pub fn new(
        config: Config,
        problems: Problems,
        clock: Box<dyn Clock>,
        ids: Box<dyn IdSource>,
        metrics: Box<dyn Write + Send>,
    ) -> Result<Self, Problems> {
        let rotation = problems.into_result(config.rotation)?;
        Ok(Self { rotation, clock, ids, metrics: Mutex::new(metrics) })
    }

    /// Withdraws what the event names and answers with what that means:
    ///
    /// ```json
    /// {"keys":[{"kid":"…","foreign":false,"signed_from":"2026-11-22T00:00:00Z","signed_until":"…","latest_exp":"…"}],
    ///  "min_generation":9,"issuers":{"outcome":"recycled","from":"7","to":"8"},"issuers_follow_by":"…",
    ///  "run_again_after":"…","forgeries_accepted_until":"…","refusals_until":null,"still_enabled":[]}
    /// ```
    /// `foreign` is true of a key that was published and in no ring of ours: then no key that signs was touched. `issuers`
    /// is what became of warm ones: `recycled`; `follow`, they do by `issuers_follow_by`; or `not_recycled` with `problem`,
    /// which leaves them to follow as well. `deadline_ms` is when this invocation ends, in milliseconds since 1970: what is
    /// left until then is the time for that.
    /// Times are RFC 3339 in UTC; those of a key that never signed are null. `keys` is empty when the key was withdrawn
    /// before. `refusals_until` is null when every verifier can know the keys that sign now.
    /// `still_enabled` has the kids that could not be disabled in their KMS: an operator must.
    ///
    /// # Errors
    /// [`Failure`]; a withdrawal may be run again, and must be until it succeeds.
    pub async fn handle(&self, event: &[u8], deadline_ms: u64) -> Result<Value, Failure> {
        let now = self.clock.now();
        let outcome = self.withdraw(event).await;
        match &outcome {
            Ok(report) => warn!(
                kids = %report.keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>().join(" "),
                min_generation = report.min_generation,
                forgeries_accepted_until = %report.forgeries_accepted_until,
                "withdrawn"
            ),
            Err(failure) => {
                error!(code = failure.code(), %failure, "nothing is withdrawn for certain; hint: run it again");
            }
        }
        // Only now, when the withdrawal is done and in the log: it may take long, and its failure is none of the withdrawal's.
        let issuers = match &outcome {
            Ok(_) => self.rotation.recycle(&self.ids.next_id(), self.left(deadline_ms)).await,
            Err(_) => IssuersAfter::Follow,
        };
        let health = if outcome.is_ok() { Some(self.rotation.health(now).await) } else { None };
        let mut out = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        audit::emit_step(STEP, outcome.is_err(), now, &mut **out);
        if let Some(health) = health {
            audit::emit_health(health, now, &mut **out);
        }
        outcome.map(|report| answer(&report, &issuers))
    }

    /// How long replacing warm issuers may take, so that the answer still gets out.
    fn left(&self, deadline_ms: u64) -> Duration {
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(u64::MAX);
        Duration::from_millis(deadline_ms.saturating_sub(now)).saturating_sub(ANSWERING).min(REPLACING)
    }

    async fn withdraw(&self, event: &[u8]) -> Result<WithdrawalReport, Failure> {
        let withdrawal = parse(event)?;
        let mut attempt = 1;
        loop {
            let outcome = self.rotation.withdraw(&withdrawal, &self.ids.next_id(), self.clock.now()).await;
            match outcome {
                Err(RotationError::Lost { .. }) if attempt < ATTEMPTS => attempt += 1,
                outcome => return Ok(outcome?),
            }
        }
    }
}

fn parse(event: &[u8]) -> Result<Withdrawal, Failure> {
    let refused = |found: String| {
        Failure::Event(format!("expected {{\"withdraw\": KID}} or {{\"withdraw\": \"all\"}}, found {found}"))
    };
    let event: Event = serde_json::from_slice(event).map_err(|_| refused("another event".to_owned()))?;
    match event.withdraw.as_str() {
        "all" => Ok(Withdrawal::All),
        kid => kid.parse().map(Withdrawal::Key).map_err(|_| refused(quoted(kid))),
    }
}

fn answer(report: &WithdrawalReport, issuers: &IssuersAfter) -> Value {
    let issuers = match issuers {
        IssuersAfter::Follow => json!({ "outcome": "follow" }),
        IssuersAfter::Recycled(done) => json!({ "outcome": "recycled", "from": done.from, "to": done.to }),
        IssuersAfter::NotRecycled { problem } => json!({ "outcome": "not_recycled", "problem": problem }),
    };
    let keys = report.keys.iter().map(|key| KeyReport {
        kid: key.kid.to_string(),
        foreign: key.foreign,
        signed_from: key.signed_from.map(|time| time.to_string()),
        signed_until: key.signed_until.map(|time| time.to_string()),
        latest_exp: key.latest_exp.map(|time| time.to_string()),
    });
    json!({
        "keys": keys.collect::<Vec<_>>(),
        "min_generation": report.min_generation,
        "issuers": issuers,
        "run_again_after": report.run_again_after.to_string(),
        "issuers_follow_by": report.issuers_follow_by.to_string(),
        "forgeries_accepted_until": report.forgeries_accepted_until.to_string(),
        "still_enabled": report.still_enabled.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refusals_until": report.refusals_until.map(|time| time.to_string()),
    })
}
