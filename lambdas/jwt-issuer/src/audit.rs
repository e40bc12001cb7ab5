//! The decision log and the metrics: what an auditor and an alarm need, and nothing that opens a door.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use token_claims::Principal;
use token_http::OAuthError;
use token_issuance::{Gauges, IssueError, IssuedToken};
use token_shell::{MetricRecord, Unit};
use tracing::{info, warn};

use crate::app::Refused;

/// CloudWatch's namespace for this Lambda.
const NAMESPACE: &str = "JwtIssuer";

/// What is known of a request when it is decided.
pub(crate) struct Trail<'a> {
    /// The decision's id, which the caller also gets.
    pub(crate) decision_id: &'a str,
    /// X-Ray's trace.
    pub(crate) trace_id: Option<&'a str>,
    /// API Gateway's own id of the request.
    pub(crate) request_id: String,
    /// Who asked, once that is known.
    pub(crate) principal: Option<Principal>,
}

/// One line per decision. The caller learns the id and a short reason; the rest stands here.
pub(crate) fn log(trail: &Trail<'_>, outcome: &Result<IssuedToken, Refused>) {
    let Trail { decision_id, trace_id, request_id, principal } = trail;
    match outcome {
        Ok(issued) => {
            let record = &issued.record;
            info!(
                target: "decision",
                decision_id,
                trace_id,
                request_id,
                outcome = "issued",
                principal = %record.principal,
                principal_kind = record.principal_kind,
                unique_id = record.unique_id,
                rule = %record.rule,
                mapping_sha256 = %record.mapping_sha256,
                subject = %record.subject,
                audience = %record.audience,
                scope = %record.scopes.join(" "),
                token_id = %record.token_id,
                token_sha256 = %record.token_sha256,
                jkt = record.jkt,
                kid = %record.kid,
                algorithm = record.algorithm,
                ring_generation = record.ring_generation,
                expires_at = %record.expires_at,
                "token issued"
            );
        }
        Err(refused) => {
            let status = OAuthError::from(refused).status().as_u16();
            let reason = reason(refused);
            let mapping_sha256 = match refused {
                Refused::Issue(IssueError::Refused { mapping_sha256, .. }) => Some(mapping_sha256.as_str()),
                _ => None,
            };
            let principal = principal.as_ref().map(ToString::to_string);
            let principal_kind = trail.principal.as_ref().map(Principal::kind);
            let unique_id = trail.principal.as_ref().and_then(Principal::unique_id);
            if status >= 500 {
                warn!(
                    target: "decision", decision_id, trace_id, request_id, outcome = "failed", code = refused.code(), status,
                    principal, principal_kind, unique_id, mapping_sha256, reason, "no token: our own trouble"
                );
            } else {
                info!(
                    target: "decision", decision_id, trace_id, request_id, outcome = "refused", code = refused.code(), status,
                    principal, principal_kind, unique_id, mapping_sha256, reason, "no token: refused"
                );
            }
        }
    }
}

/// Everything known about why, for the log: each rule's verdict, each cause.
fn reason(refused: &Refused) -> String {
    if let Refused::Issue(IssueError::Refused { refusal, .. }) = refused {
        return refusal.details();
    }
    let mut text = refused.to_string();
    let mut cause = std::error::Error::source(refused);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// The metrics of one request: what alarms watch, and what a graph of refusals by reason needs.
pub(crate) fn emit(
    outcome: &Result<IssuedToken, Refused>,
    gauges: &Gauges,
    took: Duration,
    now: Timestamp,
    out: &mut dyn Write,
) {
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    let mut record = MetricRecord::new(NAMESPACE)
        .metric("Issued", Unit::Count, flag(outcome.is_ok()))
        .metric("Latency", Unit::Milliseconds, took.as_secs_f64() * 1000.0)
        .metric("RingLastGood", Unit::Count, flag(gauges.ring_failing))
        .metric("MappingLastGood", Unit::Count, flag(gauges.mapping_failing));
    if let Ok(issued) = outcome {
        record = record.metric("SignLatency", Unit::Milliseconds, issued.sign_took.as_secs_f64() * 1000.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "an age in seconds is far below 2^52")]
    for (name, age) in [("RingAge", gauges.ring_age_s), ("MappingAge", gauges.mapping_age_s)] {
        if let Some(age) = age {
            record = record.metric(name, Unit::Seconds, age as f64);
        }
    }
    if let Some(days) = gauges.key_days_left {
        record = record.metric("KeyDaysLeft", Unit::None, days);
    }
    record.emit(now, out);
    if let Err(refused) = outcome {
        let class = if OAuthError::from(refused).status().is_server_error() { "Failed" } else { "Refused" };
        MetricRecord::new(NAMESPACE).dimension("reason", refused.code()).metric(class, Unit::Count, 1.0).emit(now, out);
    }
}
