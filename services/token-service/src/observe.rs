//! What operators see of decisions: one log line each, and numbers. Both doors use it.
//!
//! Invariants: no label and no line carries a token, a key or a proof, and no label carries what a caller chose: user ids,
//! token ids and networks are in no metric. A line has ids of tokens (`jti`), which open nothing.

mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use token_server::{Counters, Gauge, Gauges, Histograms, Metrics};
use tracing::{info, warn};

use crate::service::{DenialReason, GrantProblem, IssuedPair, IssuedToken, ServiceError};
use crate::store::{Revoked, TokenId};

pub use store::ObservedStore;

/// Seconds, as the gRPC histogram of the former system had them.
const GRPC_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Parents are counted in buckets of their expiry, so that their number costs no memory.
const BUCKET_S: i64 = 60;
/// The most characters of a caller's text in a line.
const MAX_SHOWN: usize = 128;
/// The most characters of a reason in a line.
const MAX_REASON: usize = 512;

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorName {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
    /// Envoy's gRPC authorization check.
    Envoy,
}

impl DoorName {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Envoy => "envoy-grpc",
        }
    }
}

/// What kind of token was made: the label `token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An access token, or a token on its own.
    Access,
    /// A parent.
    Parent,
    /// A child.
    Child,
    /// A refresh token.
    Refresh,
}

impl TokenKind {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Parent => "parent",
            Self::Child => "child",
            Self::Refresh => "refresh",
        }
    }
}

/// What is known of a request when it is decided; becomes one line.
#[derive(Clone, Debug)]
pub struct Decision {
    id: String,
    door: DoorName,
    operation: &'static str,
    caller: Option<String>,
    subject: Option<String>,
    token_id: Option<String>,
    jkt: Option<String>,
    kid: Option<String>,
}

impl Decision {
    /// A decision about `operation`, a word of this program. `id` is what the caller is told too.
    #[must_use]
    pub fn new(id: String, door: DoorName, operation: &'static str) -> Self {
        Self { id, door, operation, caller: None, subject: None, token_id: None, jkt: None, kid: None }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Notes who asks: the configured name.
    pub fn caller(&mut self, name: &str) {
        self.caller = Some(shown(name));
    }

    /// Notes whom it is about.
    pub fn subject(&mut self, subject: &str) {
        self.subject = Some(shown(subject));
    }

    /// Notes which token it is about: its `jti`, or a family's id. Never a token.
    pub fn token_id(&mut self, id: &TokenId) {
        self.token_id = Some(id.to_string());
    }

    /// Notes the proof key.
    pub fn jkt(&mut self, jkt: &str) {
        self.jkt = Some(shown(jkt));
    }

    /// Notes what was made.
    pub fn token(&mut self, token: &IssuedToken) {
        self.token_id(&token.id);
        self.kid = Some(token.kid.clone());
        if let Some(jkt) = &token.jkt {
            self.jkt(jkt);
        }
    }
}

/// How a decision went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// As asked; a word for what was done: `issued`, `renewed`, `revoked`, `allowed`, …
    Done(&'static str),
    /// Refused, by the caller's side.
    Refused {
        /// A stable code.
        code: &'static str,
        /// The HTTP status, or the one that the gRPC code stands for.
        status: u16,
        /// Why, for the log.
        reason: &'a str,
    },
    /// Our own trouble.
    Failed {
        /// A stable code.
        code: &'static str,
        /// The HTTP status, or the one that the gRPC code stands for.
        status: u16,
        /// Why, for the log.
        reason: &'a str,
    },
}

/// Metrics and the decision log. Clones are handles of the same.
#[derive(Clone, Debug)]
pub struct Observe(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    issued: Counters<2>,
    refreshed: Counters<1>,
    revoked: Counters<1>,
    authorized: Counters<1>,
    proofs: Counters<2>,
    security: Counters<1>,
    grpc: Histograms<1>,
    cache: Counters<2>,
    cache_seconds: Histograms<1>,
    kms: Counters<2>,
    crypto: Counters<2>,
    crypto_seconds: Histograms<1>,
    parents: Arc<Mutex<Parents>>,
    revoked_total: Gauge,
}

/// Live parents that this process has opened, by the minute of their expiry.
#[derive(Debug, Default)]
struct Parents {
    by_minute: BTreeMap<i64, u64>,
    last_issued: Option<Timestamp>,
    revoked: u64,
    now: Option<Timestamp>,
}

impl Observe {
    /// Registers everything at `metrics`; once per process.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let denials = [
            DenialReason::Missing,
            DenialReason::Malformed,
            DenialReason::InvalidToken,
            DenialReason::InvalidProof,
            DenialReason::UseNonce,
            DenialReason::NotAnAccessToken,
            DenialReason::Revoked,
            DenialReason::RateLimited,
            DenialReason::Unavailable,
        ];
        let parents = Arc::new(Mutex::new(Parents::default()));
        let revoked_total =
            metrics.gauge("jwt_revoked_tokens_total", "Tokens, families and users revoked by this process");
        Self::legacy_gauges(metrics, &parents);
        Self(Arc::new(Numbers {
            issued: metrics.counters(
                "token_service_tokens_issued_total",
                "Tokens minted, by type and algorithm",
                ["token_type", "algorithm"],
            ),
            refreshed: metrics
                .counters("token_service_tokens_refreshed_total", "Uses of refresh tokens, by outcome", ["status"])
                .starting_with([["success"], ["reused"]]),
            revoked: metrics
                .counters("token_service_tokens_revoked_total", "Revocations, by what was revoked", ["reason"])
                .starting_with([["token"], ["family"], ["user"]]),
            authorized: metrics
                .counters(
                    "token_service_authorizations_total",
                    "Answers of /authorize and Check, by decision",
                    ["decision"],
                )
                .starting_with([["allowed"]])
                .starting_with(denials.map(|reason| [reason.code()])),
            proofs: metrics.counters(
                "token_service_dpop_validations_total",
                "DPoP proofs, by outcome",
                ["status", "error_type"],
            ),
            security: metrics
                .counters(
                    "token_service_security_events_total",
                    "Events that an attacker may be behind",
                    ["event_type"],
                )
                .starting_with(SECURITY_EVENTS.map(|event| [event])),
            grpc: metrics.histograms(
                "token_service_grpc_latency_seconds",
                "From a gRPC request to its answer",
                ["method"],
                &GRPC_BUCKETS,
            ),
            cache: metrics.counters(
                "token_service_cache_operations_total",
                "Calls of the store, by outcome",
                ["operation", "status"],
            ),
            cache_seconds: metrics.histograms(
                "token_service_cache_latency_seconds",
                "Duration of the store's calls",
                ["operation"],
                &GRPC_BUCKETS,
            ),
            kms: metrics.counters(
                "token_service_kms_operations_total",
                "Calls of a remote signer (KMS, Transit), by outcome",
                ["operation", "status"],
            ),
            crypto: metrics.counters(
                "token_service_crypto_operations_total",
                "Signatures, by outcome",
                ["operation", "status"],
            ),
            crypto_seconds: metrics.histograms(
                "token_service_crypto_latency_seconds",
                "Duration of signatures",
                ["operation"],
                &GRPC_BUCKETS,
            ),
            parents,
            revoked_total,
        }))
    }

    /// Gauges of the former system, over all of this process's parents instead of one per user and parent.
    fn legacy_gauges(metrics: &Metrics, parents: &Arc<Mutex<Parents>>) {
        let active = metrics.gauge("jwt_parent_tokens_active_total", "Live parents that this process has opened");
        let expiry: Gauges<0> = metrics.gauges(
            "jwt_parent_token_expiry_timestamp_seconds",
            "When the first of the live parents that this process has opened expires (to the minute)",
            [],
        );
        let issued: Gauges<0> = metrics.gauges(
            "jwt_parent_token_issued_timestamp_seconds",
            "When this process has opened the last parent",
            [],
        );
        let parents = Arc::clone(parents);
        #[expect(clippy::cast_precision_loss, reason = "counts and seconds are far below 2^52")]
        metrics.before_scrape(move || {
            let parents = parents.lock().unwrap_or_else(PoisonError::into_inner);
            let first = parents.by_minute.keys().next().map_or(0, |minute| minute * BUCKET_S);
            active.set(parents.active() as f64);
            expiry.set([], first as f64);
            issued.set([], parents.last_issued.map_or(0, Timestamp::as_second) as f64);
        });
    }

    /// One line about a decision, at `info`; at `warn` when the trouble is ours.
    pub fn record(&self, decision: &Decision, outcome: Outcome<'_>) {
        let Decision { id, door, operation, caller, subject, token_id, jkt, kid } = decision;
        let door = door.name();
        match outcome {
            Outcome::Done(what) => info!(
                target: "decision", decision_id = %id, door, operation, outcome = what, caller, subject, token_id, jkt, kid,
                "decided"
            ),
            Outcome::Refused { code, status, reason } => info!(
                target: "decision", decision_id = %id, door, operation, outcome = "refused", code, status, caller, subject,
                token_id, jkt, reason = cut(reason, MAX_REASON), "refused"
            ),
            Outcome::Failed { code, status, reason } => warn!(
                target: "decision", decision_id = %id, door, operation, outcome = "failed", code, status, caller, subject,
                token_id, jkt, reason = cut(reason, MAX_REASON), "our own trouble"
            ),
        }
    }

    /// One line about a use case that did not do what was asked, and its numbers. `status` is the door's.
    pub fn failed(&self, decision: &Decision, error: &ServiceError, status: u16) {
        self.count_error(error);
        let code = error.code();
        match error {
            ServiceError::Unavailable { detail, .. } => {
                self.record(decision, Outcome::Failed { code, status, reason: detail });
            }
            other => self.record(decision, Outcome::Refused { code, status, reason: &other.to_string() }),
        }
    }

    /// A proof was not accepted, and that is the answer (`ValidateDPoP`).
    pub fn proof_refused(&self, error: &ServiceError) {
        self.count_error(error);
    }

    fn count_error(&self, error: &ServiceError) {
        match error {
            ServiceError::Proof(problem) => self.0.proofs.inc(["failure", problem.name()]),
            ServiceError::ProofReplayed => {
                self.0.proofs.inc(["failure", "replayed"]);
                self.0.security.inc(["proof_replayed"]);
            }
            ServiceError::Grant(GrantProblem::Reused) => self.0.security.inc(["refresh_token_reused"]),
            ServiceError::Grant(GrantProblem::Unproven) => self.0.security.inc(["bound_token_without_proof"]),
            ServiceError::Unauthenticated(_) => self.0.security.inc(["unauthenticated_caller"]),
            ServiceError::Forbidden(_) => self.0.security.inc(["forbidden"]),
            ServiceError::Unavailable { reason: "self_check", .. } => self.0.security.inc(["self_check_failed"]),
            _ => {}
        }
    }

    /// A token was made. `algorithm` is a JOSE name.
    pub fn issued(&self, kind: TokenKind, algorithm: &'static str) {
        self.0.issued.inc([kind.name(), algorithm]);
    }

    /// A pair was made.
    pub fn issued_pair(&self, pair: &IssuedPair, algorithm: &'static str) {
        self.issued(TokenKind::Access, algorithm);
        if pair.refresh.is_some() {
            self.issued(TokenKind::Refresh, "opaque");
        }
    }

    /// A parent was opened at `now`.
    pub fn opened_parent(&self, expires: Timestamp, now: Timestamp) {
        let mut parents = self.0.parents.lock().unwrap_or_else(PoisonError::into_inner);
        *parents.by_minute.entry(expires.as_second().div_euclid(BUCKET_S)).or_default() += 1;
        parents.last_issued = Some(now);
        parents.forget(now);
    }

    /// Lets the gauges know the time; a worker calls it now and then.
    pub fn tick(&self, now: Timestamp) {
        self.0.parents.lock().unwrap_or_else(PoisonError::into_inner).forget(now);
    }

    /// A refresh token was used: `Ok`, or why it did not work.
    pub fn refreshed(&self, outcome: Result<(), &ServiceError>) {
        self.0.refreshed.inc([match outcome {
            Ok(()) => "success",
            Err(ServiceError::Grant(problem)) => problem.code(),
            Err(ServiceError::Unavailable { .. }) => "unavailable",
            Err(_) => "refused",
        }]);
    }

    /// Something was revoked.
    pub fn revoked(&self, what: Revoked) {
        self.0.revoked.inc([match what {
            Revoked::Token => "token",
            Revoked::Family => "family",
            Revoked::User => "user",
            Revoked::Already => "already",
            Revoked::Nothing => "nothing",
        }]);
        if !matches!(what, Revoked::Already | Revoked::Nothing) {
            self.0.revoked_total.add(1.0);
        }
        if what == Revoked::Family {
            self.0.parents.lock().unwrap_or_else(PoisonError::into_inner).revoked += 1;
        }
    }

    /// `/authorize` or `Check` has answered.
    pub fn authorized(&self, denial: Option<DenialReason>) {
        self.0.authorized.inc([denial.map_or("allowed", DenialReason::code)]);
        match denial {
            Some(DenialReason::NotAnAccessToken) => self.0.security.inc(["not_an_access_token"]),
            Some(DenialReason::Revoked) => self.0.security.inc(["revoked_token"]),
            Some(DenialReason::InvalidProof) => self.0.security.inc(["bound_token_without_proof"]),
            _ => {}
        }
    }

    /// A proof was accepted.
    pub fn proof_accepted(&self) {
        self.0.proofs.inc(["success", "none"]);
    }

    /// A gRPC method was answered after `seconds`.
    pub fn grpc(&self, method: &'static str, seconds: f64) {
        self.0.grpc.observe([method], seconds);
    }

    /// A call of the store has ended after `seconds`.
    pub fn store_call(&self, operation: &'static str, status: &'static str, seconds: f64) {
        self.0.cache.inc([operation, status]);
        self.0.cache_seconds.observe([operation], seconds);
    }

    /// A signature was made or not, by a key in this process or elsewhere.
    pub fn signed(&self, remote: bool, good: bool, seconds: f64) {
        let status = if good { "success" } else { "failure" };
        self.0.crypto.inc(["sign", status]);
        self.0.crypto_seconds.observe(["sign"], seconds);
        if remote {
            self.0.kms.inc(["sign", status]);
        }
    }
}

/// The values of `token_service_security_events_total{event_type}`.
const SECURITY_EVENTS: [&str; 8] = [
    "bound_token_without_proof",
    "forbidden",
    "not_an_access_token",
    "proof_replayed",
    "refresh_token_reused",
    "revoked_token",
    "self_check_failed",
    "unauthenticated_caller",
];

impl Parents {
    fn forget(&mut self, now: Timestamp) {
        self.now = Some(now);
        self.by_minute = self.by_minute.split_off(&now.as_second().div_euclid(BUCKET_S));
        if self.by_minute.is_empty() {
            self.revoked = 0;
        }
    }

    fn active(&self) -> u64 {
        self.by_minute.values().sum::<u64>().saturating_sub(self.revoked)
    }
}

/// A caller's text as a line may have it.
fn shown(text: &str) -> String {
    cut(text, MAX_SHOWN)
}

/// A text as a line may have it: bounded, without control characters.
fn cut(text: &str, most: usize) -> String {
    let mut out: String = text
        .chars()
        .take(most)
        .flat_map(|character| match character {
            ' '..='~' => character.to_string().chars().collect::<Vec<_>>(),
            other => other.escape_unicode().collect(),
        })
        .collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn parents_are_counted_until_they_expire_or_are_revoked() {
        let metrics = Metrics::new(at(0));
        let observe = Observe::new(&metrics);
        let shows =
            |line: &str| assert!(metrics.text().lines().any(|found| found == line), "{line}\n{}", metrics.text());
        shows("jwt_parent_tokens_active_total 0.0");
        observe.opened_parent(at(7200), at(60));
        observe.opened_parent(at(3600), at(120));
        shows("jwt_parent_tokens_active_total 2.0");
        shows("jwt_parent_token_expiry_timestamp_seconds 3600.0");
        shows("jwt_parent_token_issued_timestamp_seconds 120.0");
        observe.tick(at(3700));
        shows("jwt_parent_tokens_active_total 1.0");
        observe.revoked(Revoked::Family);
        shows("jwt_parent_tokens_active_total 0.0");
        shows("jwt_revoked_tokens_total 1.0");
    }

    #[test]
    fn a_line_holds_no_control_characters_and_ends() {
        assert_eq!(shown("a\nb\u{202e}"), "a\\u{a}b\\u{202e}");
        assert!(shown(&"x".repeat(10_000)).len() < 200);
    }
}
