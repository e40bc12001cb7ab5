//! Secrets Manager's events.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use token_issuance::rotation::{Rotation, Step};
use token_shell::{Clock, Problems};
use tracing::{error, info};

use crate::config::Config;
use crate::{Failure, audit, quoted};

/// `{SecretId, ClientRequestToken, Step}`. What else Secrets Manager sends (`RotationToken`) is not for us.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "SecretId")]
    secret: String,
    #[serde(rename = "ClientRequestToken")]
    token: String,
    #[serde(rename = "Step")]
    step: String,
}

/// The `key-rotation` Lambda, ready to work.
pub struct RotationApp {
    secret: String,
    rotation: Rotation,
    clock: Box<dyn Clock>,
    metrics: Mutex<Box<dyn Write + Send>>,
}

impl RotationApp {
    /// The Lambda as `config` says; metrics go to `metrics`.
    ///
    /// # Errors
    /// All `problems`.
    pub fn new(
        config: Config,
        problems: Problems,
        clock: Box<dyn Clock>,
        metrics: Box<dyn Write + Send>,
    ) -> Result<Self, Problems> {
        let (secret, rotation) = problems.into_result(config.secret.zip(config.rotation))?;
        Ok(Self { secret, rotation, clock, metrics: Mutex::new(metrics) })
    }

    /// Does one step. Logs it once and emits its metrics.
    ///
    /// # Errors
    /// [`Failure`]; every step may be run again.
    pub async fn handle(&self, event: &[u8]) -> Result<(), Failure> {
        let now = self.clock.now();
        let (name, outcome) = match self.admitted(event) {
            Err(failure) => ("none", Err(failure)),
            Ok((step, name, token)) => {
                let done = self.rotation.run(step, &token, now).await.map_err(Failure::from);
                match &done {
                    Ok(()) => info!(step = name, version = token, "step done"),
                    Err(failure) => {
                        error!(step = name, version = token, code = failure.code(), %failure, "step failed");
                    }
                }
                (name, done)
            }
        };
        if name == "none"
            && let Err(failure) = &outcome
        {
            error!(code = failure.code(), %failure, "event refused");
        }
        let health = if outcome.is_ok() { Some(self.rotation.health(now).await) } else { None };
        let mut out = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        audit::emit_step(name, outcome.is_err(), now, &mut **out);
        if let Some(health) = health {
            audit::emit_health(health, now, &mut **out);
        }
        outcome
    }

    /// The step of an event that is meant for us, its name, and the version it works on.
    fn admitted(&self, event: &[u8]) -> Result<(Step, &'static str, String), Failure> {
        let expected = "expected {SecretId, ClientRequestToken, Step}";
        let event: Event = serde_json::from_slice(event).map_err(|_| {
            Failure::Event(format!("{expected}, found another event; hint: Secrets Manager calls this function"))
        })?;
        if event.secret != self.secret {
            return Err(Failure::OtherSecret { expected: self.secret.clone() });
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(32..=64).contains(&event.token.len()) || !event.token.chars().all(plain) {
            let found = quoted(&event.token);
            return Err(Failure::Event(format!(
                "expected a ClientRequestToken of 32 to 64 letters, digits and -, found {found}"
            )));
        }
        let step: Step = event
            .step
            .parse()
            .map_err(|error| Failure::Event(format!("Step: {error}, found {}", quoted(&event.step))))?;
        Ok((step, name(step), event.token))
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Create => "createSecret",
        Step::Set => "setSecret",
        Step::Test => "testSecret",
        Step::Finish => "finishSecret",
    }
}
