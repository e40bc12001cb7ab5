//! `mapping`: whether a document compiles, what it says of a caller, and what it would change.

mod replay;
mod who;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use token_claims::{CompileOptions, RuleOutcome, RuleVerdict, SsoPath, SubjectMapping, TokenRequest};
use token_jose::Algorithm;

use super::span::Span;
use super::{Failure, Report, Shell};
use crate::file::quoted_path;
use who::WhoArgs;

/// Check a mapping document, explain what it says of a caller, show what it would change
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compile a document as an issuer would; print every problem
    #[command(after_help = "Example:\n  jwt-operator mapping check mapping.toml --max-token-ttl 1h")]
    Check(CheckArgs),
    /// Print, for every rule in order, why it means a caller or not, and what the caller would get
    ///
    /// With --replay: which decisions of an issuer's log would be other ones under this document.
    #[command(
        after_help = "Examples:\n  jwt-operator mapping explain mapping.toml --principal arn:aws:sts::111122223333:assumed-role/etl-nightly/run-1\n  jwt-operator mapping explain new.toml --against mapping.toml --replay decisions.jsonl --exit-code"
    )]
    Explain(Box<ExplainArgs>),
}

/// A document, and what an issuer knows that reads it.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The mapping document
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The issuer's AUDIENCE
    #[arg(long = "default-audience", value_name = "AUDIENCE")]
    default_audience: Option<String>,
    /// What the issuer's ring can sign with, the default first; not checked when absent
    #[arg(long = "algorithm", value_name = "ALG", value_delimiter = ',')]
    algorithms: Vec<Algorithm>,
    /// The longest lifetime that the issuer's ring covers; not checked when absent
    #[arg(long, value_name = "SPAN")]
    max_token_ttl: Option<Span>,
    /// The issuer runs with SSO_PATH_ENFORCED=true
    #[arg(long)]
    sso_path_enforced: bool,
}

/// Arguments of `mapping explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    document: CheckArgs,
    #[command(flatten)]
    who: WhoArgs,
    /// Ask for this audience
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Ask for these scopes, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Ask for this lifetime
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    #[command(flatten)]
    replay: replay::ReplayArgs,
}

impl CheckArgs {
    fn options(&self) -> CompileOptions {
        CompileOptions {
            sso_path: self.sso_path(),
            audience: self.default_audience.clone(),
            algorithms: self.algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect(),
            max_token_ttl_s: self.max_token_ttl.map(|span| span.0),
        }
    }

    fn sso_path(&self) -> SsoPath {
        if self.sso_path_enforced { SsoPath::Enforced } else { SsoPath::Unproven }
    }

    fn compile(&self) -> Result<SubjectMapping, Failure> {
        compile(&self.file, &self.options())
    }
}

/// The compiled document in the file at `path`; all its problems otherwise.
fn compile(path: &Path, options: &CompileOptions) -> Result<SubjectMapping, Failure> {
    let name = quoted_path(path);
    let source = std::fs::read_to_string(path)
        .map_err(|error| Failure::data(format!("expected a mapping document in {name}, found: {error}")))?;
    SubjectMapping::compile(&source, options).map_err(|errors| {
        let problems: Vec<Value> = errors
            .problems()
            .iter()
            .map(|problem| json!({"line": problem.line, "message": problem.message, "hint": problem.hint}))
            .collect();
        let file = path.display();
        let lines: Vec<String> = errors.problems().iter().map(|problem| format!("{file}: {problem}")).collect();
        Failure::data(lines.join("\n")).with(json!({ "problems": problems }))
    })
}

pub(super) fn run(command: &Command, _shell: &Shell<'_>) -> Result<Report, Failure> {
    match command {
        Command::Check(args) => {
            let mapping = args.compile()?;
            let rules: Vec<&str> = mapping.rules().collect();
            let human = format!("{}: good, {} rules: {}", args.file.display(), rules.len(), rules.join(", "));
            Ok(Report::yes(human, json!({"ok": true, "rules": rules})))
        }
        Command::Explain(args) => match args.replay.log() {
            Some(log) => {
                if args.who.is_given() || args.audience.is_some() || args.scope.is_some() || args.expires_in.is_some() {
                    return Err(Failure::usage(
                        "expected --replay without a caller and a request: both are in the log",
                    ));
                }
                replay::run(log, &args.replay, &args.document)
            }
            None => explain(args),
        },
    }
}

fn explain(args: &ExplainArgs) -> Result<Report, Failure> {
    let mapping = args.document.compile()?;
    let who = args.who.principal(args.document.sso_path())?;
    let request = TokenRequest {
        audience: args.audience.clone(),
        scopes: args.scope.as_deref().map(scopes),
        expires_in_s: args.expires_in.map(|span| span.0),
    };
    let verdicts = mapping.explain(&who.principal);
    let decision = mapping.resolve(&who.principal, &request);
    let mut human = format!("{} ({})\n", who.principal, who.principal.kind());
    for note in &who.notes {
        human.push_str(&format!("note: {note}\n"));
    }
    for verdict in &verdicts {
        human.push_str(&format!("  {verdict}\n"));
    }
    let json_decision = match &decision {
        Ok(grant) => {
            human.push_str(&format!(
                "granted by rule \"{}\": subject \"{}\", audience \"{}\", scope \"{}\", lifetime {} s",
                grant.rule(),
                grant.subject(),
                grant.audience(),
                grant.scopes().join(" "),
                grant.lifetime_s()
            ));
            json!({
                "granted": true, "rule": grant.rule(), "subject": grant.subject(), "audience": grant.audience(),
                "scopes": grant.scopes(), "lifetime_s": grant.lifetime_s(), "claims": grant.extra(),
                "typ": grant.profile().typ(), "algorithm": grant.profile().algorithm(),
            })
        }
        Err(refusal) => {
            human.push_str(&format!("refused ({}): {refusal}", refusal.code()));
            json!({"granted": false, "code": refusal.code(), "reason": refusal.public_reason()})
        }
    };
    let json = json!({
        "principal": who.principal.to_string(),
        "kind": who.principal.kind(),
        "notes": who.notes,
        "rules": verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        "decision": json_decision,
    });
    Ok(if decision.is_ok() { Report::yes(human, json) } else { Report::no(human, json) })
}

fn verdict_json(verdict: &RuleVerdict) -> Value {
    let (outcome, detail) = match &verdict.outcome {
        RuleOutcome::Matches { subject } => ("matches", json!({"subject": subject})),
        RuleOutcome::NoMatch(reason) => ("no_match", json!({"reason": reason})),
        RuleOutcome::NoSubject(reason) => ("no_subject", json!({"reason": reason})),
        _ => ("unknown", json!({})),
    };
    let mut value = json!({"rule": verdict.rule, "line": verdict.line, "outcome": outcome});
    if let (Some(members), Value::Object(more)) = (value.as_object_mut(), detail) {
        members.extend(more);
    }
    value
}

/// As the issuer reads `scope`: tokens between single spaces.
fn scopes(text: &str) -> Vec<String> {
    text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}
