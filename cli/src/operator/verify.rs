//! `verify`: whether a token may be believed, and if not, why.

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{
    Algorithm, Expectation, ForeignExpectation, ForeignKeys, JwsError, KeySet, TypRule, Verified, verify,
    verify_foreign,
};

use super::discovery::{ConnectArgs, KeySetPlace, key_set};
use super::inspect::relative;
use super::span::Span;
use super::token_input::TokenArgs;
use super::{Failure, Report, Shell};

/// Verify a token: exit 0 when it may be believed, 1 and the reason when not
///
/// The key set is that of --jwks, else the one that the issuer's own metadata names. Verification is strict: one algorithm
/// per key, header members alg, kid and typ only, issuer and audience compared exactly.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwt-operator verify --file token.jwt --issuer https://auth.example.com --audience https://api.example.com"
)]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
    /// The issuer that the token must name
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// The audience that must be among the token's
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// The key set: a URL or a file [default: by discovery at the issuer]
    #[arg(long, value_name = "URL|FILE")]
    jwks: Option<KeySetPlace>,
    /// Types that the token may have
    #[arg(long = "typ", value_name = "TYP", value_delimiter = ',', default_values = ["JWT", "at+jwt"])]
    types: Vec<String>,
    /// How far clocks may differ
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    leeway: Span,
    /// Judge as of this moment (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The issuer is not one of this project: a kid may be any name, typ may be missing. Needs --algorithm
    #[arg(long, requires = "algorithms")]
    foreign: bool,
    /// Algorithms accepted of a foreign issuer
    #[arg(long = "algorithm", value_name = "ALG", value_delimiter = ',', requires = "foreign")]
    algorithms: Vec<Algorithm>,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn run(args: &Args, shell: &mut Shell<'_>) -> Result<Report, Failure> {
    let token = args.token.read(shell)?;
    let bytes = key_set(args.jwks.as_ref(), &args.issuer, &args.connect, shell).await?;
    let now = args.at.unwrap_or_else(|| shell.clock.now());
    let types: Vec<&str> = args.types.iter().map(String::as_str).collect();
    let outcome = if args.foreign {
        let keys = ForeignKeys::parse(&bytes).map_err(|error| Failure::data(format!("key set: {error}")))?;
        let expect = ForeignExpectation::new(&args.issuer, &args.audience, &args.algorithms)
            .with_typ(TypRule::optional(&types))
            .with_leeway_s(args.leeway.0);
        verify_foreign(&token, &keys, &expect, now)
    } else {
        let keys = KeySet::parse(&bytes).map_err(|error| Failure::data(format!("key set: {error}")))?;
        let expect = Expectation::new(&args.issuer, &args.audience, &types).with_leeway_s(args.leeway.0);
        verify(&token, &keys, &expect, now)
    };
    Ok(report(&outcome, now))
}

fn report(outcome: &Result<Verified<serde_json::Map<String, Value>>, JwsError>, now: Timestamp) -> Report {
    match outcome {
        Ok(verified) => {
            let text =
                |name: &str| verified.get(name).and_then(Value::as_str).unwrap_or_default().escape_debug().to_string();
            let expires = verified.get("exp").and_then(Value::as_f64);
            #[expect(clippy::cast_possible_truncation, reason = "a time that verified is far below 2^53")]
            let expires = expires.and_then(|exp| Timestamp::from_second(exp as i64).ok());
            let until = expires.map_or(String::new(), |exp| {
                format!("\nexpires {exp} ({})", relative(exp.duration_since(now).as_secs()))
            });
            let human = format!(
                "verified: subject \"{}\" of issuer \"{}\"\nsigned with {} by {}{until}",
                text("sub"),
                text("iss"),
                verified.algorithm(),
                verified.kid()
            );
            let json = json!({
                "verified": true, "kid": verified.kid().as_str(), "algorithm": verified.algorithm().name(),
                "claims": verified.value(), "at": now.to_string(),
            });
            Report::yes(human, json)
        }
        Err(error) => {
            let json =
                json!({"verified": false, "code": error.code(), "reason": error.to_string(), "at": now.to_string()});
            Report::no(format!("refused ({}): {error}", error.code()), json)
        }
    }
}
