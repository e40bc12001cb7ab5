//! What this project calls over HTTPS and is not AWS: the key sets of other issuers, the token endpoints of others, and
//! Vault's or OpenBao's transit engine.
//!
//! | type | what it is |
//! |---|---|
//! | [`HttpsClient`], [`RemoteUrl`] | the one client: bounded in time and size, to configured addresses only |
//! | [`RemoteKeys`] | the key set of another issuer, kept for a while and through its outages |
//! | [`TrustedIssuers`] | the closed list of issuers whose tokens are believed: a token to a [`ForeignIdentity`] |
//! | [`TransitKeys`], [`TransitKeyMaker`] | signers whose private half never leaves Transit, and new ones |
//! | [`discover`], [`token_exchange`] | an issuer's metadata (RFC 8414, OpenID Connect), and RFC 8693 from a client's side |
//!
//! It is not an HTTP library for everybody, not an OAuth client, and not a Vault client: it does what the issuer, the
//! services and the operator's tool need.
//!
//! # Whom TLS trusts
//! Mozilla's root certificates, compiled in, and the CA certificates in [`ClientOptions::ca_pem`] **beside** them. The
//! machine's store is not read: a container that has none works, and a certificate that somebody put into it decides nothing
//! here. (token-aws takes a bundle *instead* of the embedded roots, as `AWS_CA_BUNDLE` means it elsewhere.) The environment's
//! proxy variables are not read either: a proxy is an option of its own.
//!
//! # Invariants
//! - **Nothing is fetched for a token before its issuer is found on the closed list**, and an address never comes from a token.
//! - A redirect is never followed: a credential goes where it was configured to go, or nowhere.
//! - Every call ends in the time given and reads no more than the size given.
//! - A wrong token and a missing key set are two errors: an outage is never told as a refusal.
//! - The version that a ring names is the version that signs: Transit's own rotations change nothing here.
//! - No credential, token, header or body is in an error, a `Debug` or a log line, whatever the log level.
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use token_jose::{Algorithm, ForeignExpectation};
//! use token_remote::{ClientOptions, ForeignTokenError, HttpsClient, RemoteKeys, RemoteKeysPolicy};
//! use token_remote::{TrustedIssuer, TrustedIssuers};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Arc::new(HttpsClient::new(&ClientOptions::default())?);
//! let keys = RemoteKeys::new("https://idp.example/keys".parse()?, client, RemoteKeysPolicy::default());
//! let expectation = ForeignExpectation::new("https://idp.example", "token-service", &[Algorithm::Es256]);
//! let trusted = TrustedIssuers::new([TrustedIssuer::new(expectation, Arc::new(keys))])?;
//!
//! // {"alg":"ES256","kid":"1"} . {"iss":"https://stranger.example"}: not on the list, so nothing is fetched.
//! let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL3N0cmFuZ2VyLmV4YW1wbGUifQ.AAAA";
//! let now = "2026-11-22T12:00:00Z".parse()?;
//! let refused = trusted.verify(token, now).await;
//! assert!(matches!(refused, Err(ForeignTokenError::Rejected(_))));
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod issuers;
mod keys;
mod oauth;
mod roots;
mod text;
mod transit;
mod url;

pub use client::{Body, ClientOptions, HttpsClient, Reply};
pub use error::RemoteError;
pub use issuers::{
    ForeignIdentity, ForeignRejection, ForeignTokenError, IssuerKind, SERVICE_ACCOUNT_PREFIX, TrustedIssuer,
    TrustedIssuers, TrustedIssuersError,
};
pub use keys::{KeysFault, KeysUnavailable, RemoteKeys, RemoteKeysPolicy};
pub use oauth::{
    DiscoveryError, ExchangeRequest, ExchangedToken, IssuerMetadata, JWT_TOKEN_TYPE, TOKEN_EXCHANGE,
    TokenEndpointError, discover, token_exchange,
};
pub use transit::{TransitKeyMaker, TransitKeys, TransitNameError, TransitOptions, TransitVersion};
pub use url::{RemoteUrl, RemoteUrlError};
