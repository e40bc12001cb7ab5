//! Who a caller is and what a token may say: values and pure rules.
//!
//! Every door turns its caller into a [`Principal`]; a [`SubjectMapping`], compiled from a strict document, turns a
//! [`Principal`] into a [`Grant`]; [`Claims`] are what a grant says at one moment.
//!
//! This crate signs nothing, reads no clock, no environment and no file, and does no I/O.
//!
//! # Invariants
//!
//! * `accountId`, `caller`, `user` and `userArn` of a request agree, or there is no principal; whole segments are
//!   compared, never substrings.
//! * A role that borrows the prefix `AWSReservedSSO_` is no principal. An Identity Center user matches only with proof
//!   of the role's path or with the role's unique id. A session name of exactly 64 characters never becomes a subject.
//! * A document compiles only if no two different identities can get the same subject (or a `shared_subject` says so).
//! * A request narrows a grant and never widens it; nothing is clipped in silence.
//! * Reserved claim names ([`RESERVED`]) come from the issuer alone.
//!
//! # Example
//!
//! ```
//! use token_claims::{Claims, CompileOptions, Principal, SubjectMapping, TokenPrincipal, TokenRequest};
//!
//! let mapping = SubjectMapping::compile(
//!     r#"
//!     [[rule]]
//!     name = "pipelines"
//!     principal = { kind = "token", issuers = ["https://ci.example.com"], subject = "repo:acme/*" }
//!     subject = "ci:{subject}"
//!     audiences = ["https://api.example.com"]
//!     scopes = ["deploy"]
//!     "#,
//!     &CompileOptions::default(),
//! )?;
//! let caller = Principal::Token(TokenPrincipal::new("https://ci.example.com", "repo:acme/app")?);
//! let grant = mapping.resolve(&caller, &TokenRequest::default())?;
//! let claims = Claims::new(&grant, "https://issuer.example.com", "id-1", jiff::Timestamp::UNIX_EPOCH)?;
//! assert_eq!(
//!     String::from_utf8(claims.to_json())?,
//!     r#"{"iss":"https://issuer.example.com","sub":"ci:repo:acme/app","aud":"https://api.example.com","iat":0,"nbf":0,"exp":900,"jti":"id-1","scope":"deploy"}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod charset;
mod claims;
mod mapping;
mod principal;
mod text;

pub use self::claims::{Claims, ClaimsError, Confirmation, RESERVED, RESERVED_PREFIXES, is_reserved};
pub use self::mapping::{
    CompileOptions, Grant, MappingErrors, Problem, Profile, ProfileKind, Refusal, RuleOutcome, RuleVerdict, ScopeForm,
    SubjectMapping, TokenRequest,
};
pub use self::principal::{
    AwsArn, AwsKind, AwsPrincipal, AwsResource, CallerIdentity, KubernetesPrincipal, Principal, PrincipalError,
    SsoPath, TokenPrincipal,
};
