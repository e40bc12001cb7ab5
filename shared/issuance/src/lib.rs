//! The use case of this project: a [`Principal`](token_claims::Principal) and a
//! [`TokenRequest`](token_claims::TokenRequest) in, a signed and self-verified token out.
//!
//! What it is: [`TokenIssuer`], the documents it needs ([`DocumentSource`], the port), and how long what was read may be
//! used ([`Refreshing`]). What it is not: a transport, a store, a clock. Time and ids are parameters.
//!
//! Invariants:
//! - a key signs only if its kid and exact public half are in the published key set;
//! - a token is verified with the published key before it is returned;
//! - a document is used no longer than its bounds say, and a failed read is never remembered as an answer.

mod document;
mod issuer;
mod keys;
mod location;
mod mapping;
mod refreshing;
pub mod rotation;
mod signers;

pub use document::{Document, DocumentSource, FileDocument, InlineDocument, MAX_DOCUMENT_BYTES, SourceError};
pub use issuer::{Gauges, IssuanceRecord, IssueError, IssuedToken, Stamp, TokenIssuer};
pub use keys::{KeyLoader, Keys, NoSigningKey, PublishedLoader};
pub use location::{Location, LocationError};
pub use mapping::{Mapping, MappingLoader};
pub use refreshing::{Current, Load, LoadError, NotUsable, Refreshing};
pub use signers::SignerSource;
