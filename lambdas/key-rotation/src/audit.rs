//! The log line and the metrics of one event.

use std::io::Write;

use jiff::Timestamp;
use token_issuance::rotation::{RotationError, RotationHealth};
use token_shell::{MetricRecord, Unit};
use tracing::warn;

/// CloudWatch's namespace for these Lambdas: the issuer's.
const NAMESPACE: &str = "JwtIssuer";

/// Counts whether `step` failed, so that an alarm on missing data is possible too.
pub(crate) fn emit_step(step: &'static str, failed: bool, now: Timestamp, out: &mut dyn Write) {
    MetricRecord::new(NAMESPACE)
        .dimension("step", step)
        .metric("StepFailed", Unit::Count, if failed { 1.0 } else { 0.0 })
        .emit(now, out);
}

/// How the secret stands after an event. That it cannot be told is no failure of the event.
pub(crate) fn emit_health(health: Result<RotationHealth, RotationError>, now: Timestamp, out: &mut dyn Write) {
    match health {
        Ok(health) => {
            #[expect(clippy::cast_precision_loss, reason = "a number of keys is far below 2^52")]
            let foreign = health.foreign_keys as f64;
            let mut record = MetricRecord::new(NAMESPACE).metric("ForeignKeys", Unit::Count, foreign);
            if let Some(days) = health.key_days_left {
                record = record.metric("KeyDaysLeft", Unit::None, days);
            }
            record.emit(now, out);
        }
        Err(error) => warn!(%error, "the state after the event could not be read"),
    }
}
