//! `doctor`: an issuer seen from outside, and a verifier that must say no.
//!
//! # Invariants
//! - A probe that could not be made is `skipped` with its reason, never `ok`.
//! - A negative probe counts only if the same token, untouched, is accepted: a verifier that refuses everything proves
//!   nothing.

mod forge;
mod issuer;
mod key_set;
mod verifier;

use std::path::PathBuf;

use serde_json::json;
use token_remote::RemoteUrl;

use super::discovery::{CALL, ConnectArgs};
use super::span::Span;
use super::{Failure, Report, Shell, token_input};

/// Look at an issuer from outside: metadata, key set, cache headers, clock; and at a verifier that must refuse forgeries
///
/// Exit 1 when any probe failed. With --verify-url the real token must be accepted there, and forgeries made of it must be
/// refused with 401 or 403.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwt-operator doctor https://auth.example.com --token-file token.jwt --audience https://api.example.com --verify-url https://api.example.com/health"
)]
pub(super) struct Args {
    /// The issuer, exactly as tokens name it
    #[arg(value_name = "URL")]
    url: String,
    /// A token of this issuer that is valid now
    #[arg(long, value_name = "FILE", requires = "audience")]
    token_file: Option<PathBuf>,
    /// The audience of that token
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// An address that answers GET with 2xx when the bearer token is good
    #[arg(long, value_name = "URL", requires = "token_file")]
    verify_url: Option<RemoteUrl>,
    /// A token of this issuer that has expired
    #[arg(long, value_name = "FILE", requires = "verify_url")]
    expired_token_file: Option<PathBuf>,
    /// A token of this issuer for another audience
    #[arg(long, value_name = "FILE", requires = "verify_url")]
    other_audience_token_file: Option<PathBuf>,
    /// The issuer's own ring (a laptop's or a test stack's): expired and misdirected tokens are signed with it
    #[arg(long, value_name = "FILE", requires = "verify_url")]
    ring: Option<PathBuf>,
    /// How far the issuer's clock may be from this machine's
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    max_clock_offset: Span,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What came of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Ok(String),
    Failed(String),
    Skipped(String),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    name: &'static str,
    outcome: Outcome,
}

/// All probes, in order.
#[derive(Debug, Default)]
struct Probes(Vec<Probe>);

impl Probes {
    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.0.push(Probe { name, outcome: Outcome::Ok(detail.into()) });
    }

    fn failed(&mut self, name: &'static str, detail: impl Into<String>) {
        self.0.push(Probe { name, outcome: Outcome::Failed(detail.into()) });
    }

    fn skipped(&mut self, name: &'static str, reason: impl Into<String>) {
        self.0.push(Probe { name, outcome: Outcome::Skipped(reason.into()) });
    }

    /// The empty list of problems is good.
    fn judge(&mut self, name: &'static str, good: impl Into<String>, problems: &[String]) {
        if problems.is_empty() { self.ok(name, good) } else { self.failed(name, problems.join("; ")) }
    }

    fn report(&self, url: &str) -> Report {
        let word = |outcome: &Outcome| match outcome {
            Outcome::Ok(_) => "ok",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped(_) => "skipped",
        };
        let mut human = String::new();
        let mut probes = Vec::new();
        for Probe { name, outcome } in &self.0 {
            let (Outcome::Ok(detail) | Outcome::Failed(detail) | Outcome::Skipped(detail)) = outcome;
            human.push_str(&format!("{:<8} {name:<22} {detail}\n", word(outcome)));
            probes.push(json!({"name": name, "outcome": word(outcome), "detail": detail}));
        }
        let count = |what: &str| self.0.iter().filter(|probe| word(&probe.outcome) == what).count();
        let (good, bad, not) = (count("ok"), count("failed"), count("skipped"));
        human.push_str(&format!("{good} ok, {bad} failed, {not} skipped"));
        let json =
            json!({"url": url, "healthy": bad == 0, "ok": good, "failed": bad, "skipped": not, "probes": probes});
        if bad == 0 { Report::yes(human, json) } else { Report::no(human, json) }
    }
}

pub(super) async fn run(args: &Args, shell: &Shell<'_>) -> Result<Report, Failure> {
    let client = args.connect.client(CALL)?;
    let issuer: RemoteUrl = args.url.parse().map_err(Failure::usage)?;
    let token = args.token_file.as_deref().map(token_input::from_file).transpose()?;
    let mut probes = Probes::default();
    let seen = issuer::look(&client, &args.url, &issuer, args.max_clock_offset.0, shell, &mut probes).await;
    let keys = seen.and_then(|body| key_set::judge(&body, &mut probes));
    let audience = args.audience.as_deref();
    verifier::look(
        &client,
        args,
        keys.as_ref(),
        token.as_ref().map(|token| token.as_str()).zip(audience),
        shell,
        &mut probes,
    )
    .await?;
    Ok(probes.report(&args.url))
}
