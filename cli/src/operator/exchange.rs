//! `exchange`: another token for the one this workload has (RFC 8693).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, json};
use token_remote::{ExchangeRequest, HttpsClient, RemoteError, RemoteUrl, TokenEndpointError, token_exchange};

use super::discovery::{CALL, ConnectArgs};
use super::issued::{Obtained, WriteArgs, deliver};
use super::retry::{Attempt, until};
use super::{Failure, Report, Shell, token_input};

/// Exchange the pod's service-account token for another one (RFC 8693) and write that to a file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  jwt-operator exchange https://exchange.example.com/token --token-file /var/run/secrets/tokens/exchange --audience https://api.example.com --output-path /var/run/token/token.jwt --renew"
)]
pub(super) struct Args {
    /// The token endpoint
    #[arg(value_name = "URL")]
    url: RemoteUrl,
    #[command(flatten)]
    write: WriteArgs,
    /// The token to exchange; read again each time, since the kubelet replaces it
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token")]
    token_file: PathBuf,
    /// Type of that token [default: urn:ietf:params:oauth:token-type:jwt]
    #[arg(long, value_name = "URN")]
    subject_token_type: Option<String>,
    /// For whom the new token is
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// URI of the service that it is used at
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// Scopes, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Type of token wanted
    #[arg(long, value_name = "URN")]
    requested_token_type: Option<String>,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn run(args: &Args, shell: &mut Shell<'_>) -> Result<Report, Failure> {
    let client = args.connect.client(CALL)?;
    let deadline = Duration::from_secs(args.write.deadline.0);
    let ids = shell.ids;
    deliver(&args.write, shell, |_| {
        let client = &client;
        async move {
            let outcome = until(deadline, ids, || attempt(client, args)).await;
            outcome.map_err(|(failure, _)| failure)
        }
    })
    .await
}

async fn attempt(client: &HttpsClient, args: &Args) -> Attempt<Obtained, Failure> {
    // The problem with this file is ours, and says so: the server never saw it.
    let subject_token = match token_input::from_file(&args.token_file) {
        Ok(token) => token,
        Err(failure) => return Attempt::Final(Err(failure)),
    };
    let request = ExchangeRequest {
        subject_token: &subject_token,
        subject_token_type: args.subject_token_type.as_deref(),
        audience: args.audience.as_deref(),
        resource: args.resource.as_deref(),
        scope: args.scope.as_deref(),
        requested_token_type: args.requested_token_type.as_deref(),
        ..ExchangeRequest::default()
    };
    match token_exchange(client, &args.url, &request, &[]).await {
        Ok(issued) => {
            let mut more = Map::new();
            more.insert("token_type".to_owned(), json!(issued.token_type));
            more.insert("scope".to_owned(), json!(issued.scope));
            Attempt::Final(Obtained::new(&issued.access_token, issued.expires_in, more))
        }
        Err(error) if error.is_outage() => {
            let after = match &error {
                TokenEndpointError::Remote(RemoteError::Status { retry_after_s, .. }) => *retry_after_s,
                _ => None,
            };
            Attempt::Again { error: Failure::try_again(error), after: after.map(Duration::from_secs) }
        }
        Err(TokenEndpointError::Refused { status, error, description }) => {
            let more = json!({"status": status, "error": error, "error_description": description});
            let refused = TokenEndpointError::Refused { status, error, description };
            Attempt::Final(Err(Failure::refused(refused).with(more)))
        }
        Err(error) => Attempt::Final(Err(Failure::refused(error))),
    }
}
