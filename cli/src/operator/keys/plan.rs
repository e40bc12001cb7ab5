//! `keys plan`: the life of a key under a policy, before anything is deployed.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};
use token_issuance::{DocumentSource as _, FileDocument};
use token_jose::{Door, RingPolicy, RotationPlan, UnknownKid, Verifier};

use super::policy::PolicyArgs;
use super::{Failure, Report, Shell, parsed_ring, store_failed};
use crate::operator::span::Span;

/// Arguments of `keys plan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwt-operator keys plan --lead 24h --verifier snowflake --verifier envoy --verifier gateway=10m"
)]
pub(in crate::operator) struct Args {
    /// Take the policy from this ring; the flags below change it
    #[arg(long, value_name = "FILE")]
    ring: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// A verifier that is out there: snowflake (60m), envoy (10m), istio (20m), eks (7d), or NAME=SPAN for how long it
    /// keeps a key set; NAME=SPAN,REFETCH when it fetches again for an unknown kid, at most every REFETCH. May be repeated
    #[arg(long = "verifier", value_name = "VERIFIER")]
    verifiers: Vec<Declared>,
    /// How old the key set in the memory of the door that serves it may be
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    door_memory: Span,
    /// stale-if-error of that door
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    stale_if_error: Span,
}

/// A verifier on the command line.
#[derive(Clone, Debug)]
pub(super) struct Declared(Verifier);

impl FromStr for Declared {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((name, rest)) = text.split_once('=') else {
            let preset = if text == "eks" { Some(Verifier::eks_style()) } else { Verifier::preset(text) };
            return preset.map(Self).ok_or_else(|| {
                format!("expected snowflake, envoy, istio, eks or NAME=SPAN, found {}", crate::file::quoted(text))
            });
        };
        if name.is_empty() || name.len() > 64 {
            return Err("expected a name of 1 to 64 bytes before =".to_owned());
        }
        let (cache, unknown_kid) = match rest.split_once(',') {
            None => (rest, UnknownKid::Refuses),
            Some((cache, refetch)) => (cache, UnknownKid::Refetches { cool_down_s: refetch.parse::<Span>()?.0 }),
        };
        Ok(Self(Verifier::new(name, cache.parse::<Span>()?.0, unknown_kid)))
    }
}

pub(super) async fn run(args: &Args, _shell: &Shell<'_>) -> Result<Report, Failure> {
    let base = match &args.ring {
        None => RingPolicy::default(),
        Some(path) => {
            let document = FileDocument::new(path).read().await.map_err(|error| store_failed(&error))?;
            *parsed_ring(&path.display().to_string(), document.bytes())?.policy()
        }
    };
    let verifiers: Vec<Verifier> = args.verifiers.iter().map(|declared| declared.0.clone()).collect();
    let door = Door { memory_age_s: args.door_memory.0, stale_if_error_s: args.stale_if_error.0 };
    match RotationPlan::of(&args.policy.over(base), &verifiers, door) {
        Ok(plan) => Ok(Report::yes(plan.to_string(), json!({"safe": true, "plan": plan.to_json()}))),
        Err(problems) => {
            let lines: Vec<Value> =
                problems.iter().map(|problem| json!({"at": problem.at(), "message": problem.message()})).collect();
            Err(Failure::data(&problems).with(json!({"safe": false, "problems": lines})))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Declared;

    #[test]
    fn verifiers_read() {
        for (text, name, cache, blind) in [
            ("snowflake", "snowflake", 3_600, 3_600),
            ("eks", "eks-style", 604_800, 604_800),
            ("gateway=10m", "gateway", 600, 600),
            ("app=90", "app", 90, 90),
            ("node=10h,30s", "node", 36_000, 30),
        ] {
            let Declared(verifier) = text.parse().unwrap();
            assert_eq!((verifier.name.as_str(), verifier.cache_s, verifier.blind_s()), (name, cache, blind), "{text}");
        }
        for text in ["", "nginx", "=5", "x=", "x=5,", "x=-1", "x=1y"] {
            assert!(text.parse::<Declared>().is_err(), "{text}");
        }
    }
}
