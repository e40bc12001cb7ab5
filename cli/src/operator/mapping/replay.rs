//! What a new document would have decided: the decision log of an issuer, read again.
//!
//! A decision record says who asked and what came of it, not what was asked for. So a refusal is judged only when no rule
//! meant the caller; a scope that a token lacked is a gain only if the caller could not have had it before, which
//! `--against` the document of that time tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use token_claims::{KubernetesPrincipal, Principal, Refusal, SsoPath, SubjectMapping, TokenPrincipal, TokenRequest};

use super::{CheckArgs, Failure, Report, compile, scopes, who};
use crate::file::quoted_path;

/// The longest line that is read: one log event of CloudWatch.
const MAX_LINE: u64 = 1024 * 1024;

/// How much a lifetime read from a log line may differ from the token's, in seconds: the line is written after the token.
const SLACK_S: i64 = 5;

/// How many unreadable lines are named one by one.
const MOST_NAMED: usize = 5;

/// What a replay needs.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// JSON lines of an issuer's decision log: show what FILE would change
    #[arg(long, value_name = "LOG")]
    replay: Option<PathBuf>,
    /// The document that was in force: tells a scope that is new from one that was not asked for
    #[arg(long, value_name = "FILE", requires = "replay")]
    against: Option<PathBuf>,
    /// End with 1 when anything would change
    #[arg(long, requires = "replay")]
    exit_code: bool,
}

impl ReplayArgs {
    pub(super) fn log(&self) -> Option<&Path> {
        self.replay.as_deref()
    }
}

/// The fields of a decision that a replay needs; docs/LOGGING.md has all.
#[derive(Deserialize)]
struct Decision {
    #[serde(default)]
    target: String,
    timestamp: Option<String>,
    decision_id: Option<String>,
    outcome: Option<String>,
    code: Option<String>,
    principal: Option<String>,
    principal_kind: Option<String>,
    unique_id: Option<String>,
    subject: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    expires_at: Option<String>,
}

/// What would be other than it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    GrantedToRefused { subject: String, code: &'static str, reason: String },
    RefusedToGranted { rule: String, subject: String },
    Subject { before: String, after: String, rule: String },
    Scopes { lost: Vec<String>, gained: Vec<String> },
    Lifetime { before_s: u64, most_s: u64 },
}

impl Change {
    fn name(&self) -> &'static str {
        match self {
            Self::GrantedToRefused { .. } => "granted_to_refused",
            Self::RefusedToGranted { .. } => "refused_to_granted",
            Self::Subject { .. } => "subject_changed",
            Self::Scopes { .. } => "scopes_changed",
            Self::Lifetime { .. } => "lifetime_shortened",
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::GrantedToRefused { subject, code, reason } => {
                json!({"subject": subject, "code": code, "reason": reason})
            }
            Self::RefusedToGranted { rule, subject } => json!({"rule": rule, "subject": subject}),
            Self::Subject { before, after, rule } => json!({"before": before, "after": after, "rule": rule}),
            Self::Scopes { lost, gained } => json!({"lost": lost, "gained": gained}),
            Self::Lifetime { before_s, most_s } => json!({"before_s": before_s, "most_s": most_s}),
        }
    }

    fn human(&self) -> String {
        match self {
            Self::GrantedToRefused { subject, code, reason } => {
                format!("was granted (subject {subject:?}), would be refused: {code}: {reason}")
            }
            Self::RefusedToGranted { rule, subject } => {
                format!("was refused, would be granted by rule {rule:?} as {subject:?}")
            }
            Self::Subject { before, after, rule } => format!("subject {before:?} would be {after:?} (rule {rule:?})"),
            Self::Scopes { lost, gained } => {
                let part = |what: &str, scopes: &[String]| {
                    (!scopes.is_empty()).then(|| format!("{what} {}", scopes.join(" ")))
                };
                let parts: Vec<String> = [part("loses", lost), part("gains", gained)].into_iter().flatten().collect();
                parts.join("; ")
            }
            Self::Lifetime { before_s, most_s } => format!("a token of {before_s} s would be of {most_s} s at most"),
        }
    }
}

/// What became of each line.
#[derive(Default)]
struct Counts {
    lines: u64,
    other_lines: u64,
    unreadable: Vec<u64>,
    decisions: u64,
    not_judged: u64,
    unchanged: u64,
}

struct Seen {
    count: u64,
    first_decision_id: String,
}

pub(super) fn run(log: &Path, args: &ReplayArgs, document: &CheckArgs) -> Result<Report, Failure> {
    let new = document.compile()?;
    let old = args.against.as_deref().map(|path| compile(path, &document.options())).transpose()?;
    let judge = Judge { new, old, sso_path: document.sso_path() };
    let mut counts = Counts::default();
    let mut changes: BTreeMap<(String, Change), Seen> = BTreeMap::new();
    for_each_line(log, |line| {
        counts.lines += 1;
        let Some(decision) = read(line, &mut counts) else { return };
        counts.decisions += 1;
        match judge.judge(&decision) {
            None => counts.not_judged += 1,
            Some(found) if found.is_empty() => counts.unchanged += 1,
            Some(found) => {
                for change in found {
                    let key = (decision.principal.clone().unwrap_or_default(), change);
                    let id = decision.decision_id.clone().unwrap_or_default();
                    changes.entry(key).or_insert(Seen { count: 0, first_decision_id: id }).count += 1;
                }
            }
        }
    })?;
    Ok(report(&counts, &changes, args.exit_code))
}

fn for_each_line(log: &Path, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::data(format!("expected a decision log in {}, found: {error}", quoted_path(log)))
    };
    let mut reader = BufReader::new(std::fs::File::open(log).map_err(failed)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            each(&line);
        }
    }
}

/// A decision, also as CloudWatch exports it: `{"message": "…the line…"}`, or with a time before the line.
fn read(line: &[u8], counts: &mut Counts) -> Option<Decision> {
    let text = String::from_utf8_lossy(line);
    let start = text.find('{');
    let value: Option<Value> =
        start.and_then(|start| text.get(start..)).and_then(|json| serde_json::from_str(json.trim()).ok());
    let Some(value) = value else {
        // A Lambda's own START, END and REPORT lines are no JSON.
        if text.contains("\"decision\"") {
            counts.unreadable.push(counts.lines);
        } else {
            counts.other_lines += 1;
        }
        return None;
    };
    let inner = value.get("message").and_then(Value::as_str).filter(|text| text.trim_start().starts_with('{'));
    let value = match inner.map(serde_json::from_str) {
        Some(Ok(inner)) => inner,
        _ => value,
    };
    match serde_json::from_value::<Decision>(value) {
        Ok(decision) if decision.target == "decision" => Some(decision),
        Ok(_) => {
            counts.other_lines += 1;
            None
        }
        Err(_) => {
            counts.unreadable.push(counts.lines);
            None
        }
    }
}

struct Judge {
    new: SubjectMapping,
    old: Option<SubjectMapping>,
    sso_path: SsoPath,
}

impl Judge {
    /// What would be other; `None` when the record does not tell.
    fn judge(&self, decision: &Decision) -> Option<Vec<Change>> {
        let principal = self.principal(decision)?;
        match (decision.outcome.as_deref(), decision.code.as_deref()) {
            (Some("issued"), _) => Some(self.issued(decision, &principal)),
            (Some("refused"), Some("no_rule")) => Some(self.refused(&principal)),
            _ => None,
        }
    }

    fn issued(&self, decision: &Decision, principal: &Principal) -> Vec<Change> {
        let subject = decision.subject.clone().unwrap_or_default();
        let mut request = TokenRequest { audience: decision.audience.clone(), ..TokenRequest::default() };
        let grant = match self.new.resolve(principal, &request) {
            Ok(grant) => grant,
            Err(refusal) => {
                let (code, reason) = (refusal.code(), refusal.public_reason());
                return vec![Change::GrantedToRefused { subject, code, reason }];
            }
        };
        let mut changes = Vec::new();
        if grant.subject() != subject {
            let (after, rule) = (grant.subject().to_owned(), grant.rule().to_owned());
            changes.push(Change::Subject { before: subject, after, rule });
        }
        let had: BTreeSet<String> = scopes(decision.scope.as_deref().unwrap_or_default()).into_iter().collect();
        let gets: BTreeSet<String> = grant.scopes().iter().cloned().collect();
        let could = self.old.as_ref().and_then(|old| old.resolve(principal, &request).ok());
        let could = could.map_or_else(|| had.clone(), |grant| grant.scopes().iter().cloned().collect());
        let lost: Vec<String> = had.difference(&gets).cloned().collect();
        let gained: Vec<String> = gets.difference(&had.union(&could).cloned().collect()).cloned().collect();
        if !lost.is_empty() || !gained.is_empty() {
            changes.push(Change::Scopes { lost, gained });
        }
        if let Some(before_s) = lifetime(decision) {
            request.expires_in_s = Some(before_s.max(60));
            if let Err(Refusal::Lifetime { max, .. }) = self.new.resolve(principal, &request)
                && before_s > max + SLACK_S.unsigned_abs()
            {
                changes.push(Change::Lifetime { before_s, most_s: max });
            }
        }
        changes
    }

    /// A caller whom no rule meant. Which audience he asked for is not recorded, so a rule that means him is enough.
    fn refused(&self, principal: &Principal) -> Vec<Change> {
        use token_claims::RuleOutcome;
        let verdicts = self.new.explain(principal);
        let first = verdicts.into_iter().find(|verdict| !matches!(verdict.outcome, RuleOutcome::NoMatch(_)));
        match first.map(|verdict| (verdict.rule, verdict.outcome)) {
            Some((rule, RuleOutcome::Matches { subject })) => vec![Change::RefusedToGranted { rule, subject }],
            _ => Vec::new(),
        }
    }

    fn principal(&self, decision: &Decision) -> Option<Principal> {
        let text = decision.principal.as_deref()?;
        match decision.principal_kind.as_deref()? {
            "kubernetes-service-account" => {
                // "system:serviceaccount:NAMESPACE:NAME (ISSUER)", as a principal shows itself.
                let (user, issuer) = text.strip_suffix(')')?.split_once(" (")?;
                let uid = decision.unique_id.as_deref()?;
                KubernetesPrincipal::from_username(issuer, user, uid).ok().map(Principal::Kubernetes)
            }
            "token" => {
                let (subject, issuer) = text.strip_suffix(')')?.rsplit_once(" (")?;
                TokenPrincipal::new(issuer, subject).ok().map(Principal::Token)
            }
            _ => who::aws(text, decision.unique_id.as_deref(), self.sso_path).ok().map(|who| who.principal),
        }
    }
}

/// The token's lifetime in seconds: its end less the time of the line.
fn lifetime(decision: &Decision) -> Option<u64> {
    let at = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    let (written, expires) = (at(&decision.timestamp)?, at(&decision.expires_at)?);
    u64::try_from(expires.duration_since(written).as_secs()).ok().filter(|seconds| *seconds > 0)
}

fn report(counts: &Counts, changes: &BTreeMap<(String, Change), Seen>, exit_code: bool) -> Report {
    let Counts { lines, other_lines, unreadable, decisions, not_judged, unchanged } = counts;
    let mut human = format!("{decisions} decisions replayed: {unchanged} unchanged, {not_judged} not judged\n");
    if !unreadable.is_empty() {
        let named: Vec<String> = unreadable.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        human.push_str(&format!("{} lines could not be read: {}\n", unreadable.len(), named.join(", ")));
    }
    let mut listed = Vec::new();
    for ((principal, change), seen) in changes {
        let times = if seen.count == 1 { "once".to_owned() } else { format!("{} times", seen.count) };
        human.push_str(&format!("{principal} ({times}, first {}): {}\n", seen.first_decision_id, change.human()));
        listed.push(json!({
            "change": change.name(), "principal": principal, "count": seen.count,
            "first_decision_id": seen.first_decision_id, "detail": change.json(),
        }));
    }
    human.push_str(if changes.is_empty() { "nothing would change" } else { "changes: see above" });
    let json = json!({
        "lines": lines, "other_lines": other_lines, "unreadable_lines": unreadable.len(), "decisions": decisions,
        "unchanged": unchanged, "not_judged": not_judged, "changes": listed,
    });
    if exit_code && !changes.is_empty() { Report::no(human, json) } else { Report::yes(human, json) }
}
