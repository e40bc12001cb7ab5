//! `fetch`: a token of our own issuer, for whoever this machine is in AWS.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use token_aws::{SignedReply, SignedTokenClient, SignedTokenError, SignedTokenOptions};

use super::issued::{Obtained, WriteArgs, deliver, ending, may_pass, refusal};
use super::retry::{Attempt, until};
use super::span::Span;
use super::{Failure, Report, Shell};

/// Get a token from an issuer behind AWS_IAM, with the AWS credential of this machine, and write it to a file
///
/// Credentials come from the environment, the shared profile (also IAM Identity Center and credential_process), a web
/// identity, the container's endpoint or the instance, in this order, as for every AWS tool.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwt-operator fetch https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod --output-path /var/run/token/token.jwt --renew"
)]
pub(super) struct Args {
    /// The issuer's URL; /token is appended unless it is there
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    write: WriteArgs,
    /// Ask for this audience [default: the mapping's]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Ask for these scopes, separated by spaces [default: all that are granted]
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Ask for this lifetime [default: the mapping's]
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    /// Region to sign for [default: the URL's, else AWS_REGION or the profile's]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Profile of the shared AWS files [default: AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(super) async fn run(args: &Args, shell: &mut Shell<'_>) -> Result<Report, Failure> {
    let trimmed = args.url.trim_end_matches('/');
    let url = if trimmed.ends_with("/token") { trimmed.to_owned() } else { format!("{trimmed}/token") };
    let options = SignedTokenOptions {
        region: args.region.clone(),
        profile: args.profile.clone(),
        ..SignedTokenOptions::default()
    };
    let vars = shell.vars;
    let client = SignedTokenClient::open(&url, &options, |name| vars.get(name)).await.map_err(failed)?;
    let request = request(args);
    let deadline = Duration::from_secs(args.write.deadline.0);
    let (clock, ids) = (shell.clock, shell.ids);
    deliver(&args.write, shell, |_| {
        let (client, request) = (&client, &request);
        async move {
            let outcome = until(deadline, ids, || attempt(client, request, clock.now())).await;
            outcome.map_err(|(failure, attempts)| match attempts {
                1 => failure,
                _ => Failure { message: format!("{} ({attempts} attempts)", failure.message), ..failure },
            })
        }
    })
    .await
}

fn request(args: &Args) -> Vec<u8> {
    let mut members = Map::new();
    let optional = [
        ("audience", args.audience.clone().map(Value::from)),
        ("scope", args.scope.clone().map(Value::from)),
        ("expires_in", args.expires_in.map(|span| span.0.into())),
    ];
    members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(members).to_string().into_bytes()
}

async fn attempt(client: &SignedTokenClient, request: &[u8], now: Timestamp) -> Attempt<Obtained, Failure> {
    let reply = match client.post(request, SystemTime::from(now)).await {
        Ok(reply) => reply,
        Err(error) if error.is_outage() => return Attempt::Again { error: failed(error), after: None },
        Err(error) => return Attempt::Final(Err(failed(error))),
    };
    match reply.status {
        200 => Attempt::Final(obtained(&reply)),
        status => {
            let (message, more) = refusal(status, &reply.body);
            let failure = Failure::new(ending(status), message).with(more);
            if may_pass(status) {
                Attempt::Again { error: failure, after: reply.retry_after_s.map(Duration::from_secs) }
            } else {
                Attempt::Final(Err(failure))
            }
        }
    }
}

/// The token of an answer, and the members beside it that are worth showing.
fn obtained(reply: &SignedReply) -> Result<Obtained, Failure> {
    let malformed =
        || Failure::try_again("expected access_token in the answer, found none; hint: is this the token endpoint?");
    let mut members: Map<String, Value> = serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
    let token = members.remove("access_token").or_else(|| members.get("token").cloned());
    let Some(Value::String(token)) = token else { return Err(malformed()) };
    let token = zeroize::Zeroizing::new(token);
    let shown = ["scope", "token_type", "decision_id"];
    let more =
        shown.into_iter().filter_map(|name| Some((name.to_owned(), json!(members.get(name)?.as_str()?)))).collect();
    Obtained::new(&token, members.get("expires_in").and_then(Value::as_u64), more)
}

fn failed(error: SignedTokenError) -> Failure {
    if error.is_outage() { Failure::try_again(error) } else { Failure::usage(error) }
}
