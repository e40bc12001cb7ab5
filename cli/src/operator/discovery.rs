//! What the subcommands that look at an issuer share: a client, key sets from a URL or a file, documents of an issuer.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use token_issuance::{DocumentSource as _, FileDocument};
use token_remote::{ClientOptions, DiscoveryError, HttpsClient, RemoteError, RemoteUrl, discover};

use super::{Failure, Shell};

/// Whom a subcommand trusts when it connects.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ConnectArgs {
    /// Trust the CA certificates in this PEM file too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl ConnectArgs {
    /// A client whose calls end within `total`.
    pub(super) fn client(&self, total: Duration) -> Result<HttpsClient, Failure> {
        let ca_pem = match &self.ca_file {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                let name = crate::file::quoted_path(path);
                Failure::usage(format!("--ca-file: expected CA certificates in {name}, found: {error}"))
            })?),
        };
        HttpsClient::new(&ClientOptions { total, ca_pem, ..ClientOptions::default() }).map_err(Failure::usage)
    }
}

/// How long one call to an issuer may take.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// Where a key set is.
#[derive(Clone, Debug)]
pub(super) enum KeySetPlace {
    Url(RemoteUrl),
    File(PathBuf),
}

impl FromStr for KeySetPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("https:") || text.starts_with("http:") {
            text.parse().map(Self::Url).map_err(|error| format!("{error}"))
        } else if text.is_empty() {
            Err("expected a URL or a file, found nothing".to_owned())
        } else {
            Ok(Self::File(text.into()))
        }
    }
}

/// The bytes of a key set: of `place`, else of where `issuer` says.
pub(super) async fn key_set(
    place: Option<&KeySetPlace>,
    issuer: &str,
    connect: &ConnectArgs,
    _shell: &Shell<'_>,
) -> Result<Vec<u8>, Failure> {
    let url = match place {
        Some(KeySetPlace::File(path)) => {
            let document = FileDocument::new(path).read().await;
            return document
                .map(|document| document.bytes().to_vec())
                .map_err(|error| Failure::data(format!("--jwks: {error}")));
        }
        Some(KeySetPlace::Url(url)) => url.clone(),
        None => {
            let found = discover(&connect.client(CALL)?, issuer).await.map_err(|error| undiscovered(&error))?;
            found.jwks_uri.ok_or_else(|| {
                Failure::data("expected jwks_uri in the issuer's metadata, found none; hint: give --jwks")
            })?
        }
    };
    let reply = connect.client(CALL)?.get(&url, &[("accept", "application/json")]).await;
    let reply = reply.and_then(token_remote::Reply::success).map_err(|error| remote(&error))?;
    Ok(reply.body.to_vec())
}

fn undiscovered(error: &DiscoveryError) -> Failure {
    match error {
        DiscoveryError::Remote(error) => remote(error),
        DiscoveryError::Issuer(_) | DiscoveryError::Query => {
            Failure::usage(format!("{error}; hint: without discovery, give --jwks"))
        }
        _ => Failure::data(error),
    }
}

pub(super) fn remote(error: &RemoteError) -> Failure {
    if error.is_outage() { Failure::try_again(error) } else { Failure::data(error) }
}
