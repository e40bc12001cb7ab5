//! Adapters to AWS Secrets Manager, SSM Parameter Store, KMS and Lambda: documents to read, the stores that a rotation
//! changes, keys that sign elsewhere, and the function whose warm processes a withdrawal replaces.
//!
//! What it is: [`AwsClients`], built once per process from the variables that Lambda sets, and two implementations of
//! [`token_issuance::DocumentSource`]: [`SecretDocument`] and [`ParameterDocument`]. Beside them the two writers that
//! create what the readers read, and the ports of a rotation ([`token_issuance::rotation`]): [`SecretsManagerVersions`]
//! and [`SsmPublishedStore`]; and keys whose private half never leaves AWS KMS ([`KmsKeys`], [`KmsKeyMaker`]). What it is not: a cache (the reader above decides how long a document may be used), a
//! credential chain (no instance metadata, no profile files, no SSO: in a Lambda they only cost time and widen what can
//! choose our identity).
//!
//! With the feature `client`, which no Lambda has, it is the other side too: `SignedTokenClient` calls `POST /token` with
//! whatever credential the machine has.
//!
//! Invariants:
//! - a document's secret is always asked for with `VersionStage=AWSCURRENT`; only a rotation reads by version;
//! - no content is in any error, `Debug` or log line of this crate; error texts carry the store's error code and request
//!   id, cut and escaped, never its message; the SDK's own log output is off;
//! - every call ends within [`Bounds::operation`], retries and reading of the answer included;
//! - credentials and documents never travel in clear: a plain `http:` endpoint is accepted on loopback only.
//!
//! ```
//! use token_aws::AwsClients;
//! use token_issuance::DocumentSource as _;
//!
//! let vars = |name: &str| {
//!     Some(match name {
//!         "AWS_REGION" => "eu-west-1",
//!         "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
//!         "AWS_SECRET_ACCESS_KEY" => "example",
//!         _ => return None,
//!     }
//!     .to_owned())
//! };
//! let clients = AwsClients::from_vars(vars)?;
//! let mapping = clients.parameter("/jwt-issuer/mapping")?;
//! assert_eq!(mapping.describe(), "ssm:/jwt-issuer/mapping");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clients;
mod config;
mod fault;
mod issuers;
mod kms;
mod names;
mod parameter;
mod published;
mod roots;
mod secret;
#[cfg(feature = "client")]
mod signed;
mod versions;

pub use clients::{AwsClients, Bounds};
pub use config::AwsConfigError;
pub use fault::WriteError;
pub use issuers::IssuerFunction;
pub use kms::{KmsBudget, KmsKeyMaker, KmsKeys, KmsSigner};
pub use names::NameError;
pub use parameter::{MAX_PARAMETER_BYTES, ParameterDocument, ParameterKind};
pub use published::SsmPublishedStore;
pub use secret::SecretDocument;
#[cfg(feature = "client")]
pub use signed::{SignedReply, SignedTokenClient, SignedTokenError, SignedTokenOptions, chain_variables};
pub use versions::SecretsManagerVersions;
