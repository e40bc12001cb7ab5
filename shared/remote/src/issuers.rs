//! Whose tokens are believed, for what, and from where their keys come.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use token_jose::{ForeignExpectation, JwsError, UnverifiedForeign};

use crate::keys::{KeysUnavailable, RemoteKeys};
use crate::text::quoted;

/// How the subjects of Kubernetes service accounts begin.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The longest subject that is accepted, in bytes.
const MAX_SUBJECT_BYTES: usize = 255;

/// What kind of issuer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerKind {
    /// A Kubernetes cluster: every subject is a service account.
    Kubernetes,
    /// Any other: no subject is a service account, whatever it is called.
    Other,
}

/// One issuer whose tokens are believed, and what they must say.
#[derive(Debug)]
pub struct TrustedIssuer {
    expectation: ForeignExpectation,
    kind: IssuerKind,
    subject_prefix: String,
    keys: Arc<RemoteKeys>,
}

impl TrustedIssuer {
    /// The issuer that `expectation` names, with its audience, algorithms and types, whose keys are `keys`.
    #[must_use]
    pub fn new(expectation: ForeignExpectation, keys: Arc<RemoteKeys>) -> Self {
        Self { expectation, kind: IssuerKind::Other, subject_prefix: String::new(), keys }
    }

    /// The same, declared a Kubernetes cluster.
    #[must_use]
    pub fn kubernetes(self) -> Self {
        Self { kind: IssuerKind::Kubernetes, ..self }
    }

    /// The same, believed only of subjects that begin with `prefix`.
    #[must_use]
    pub fn with_subject_prefix(self, prefix: impl Into<String>) -> Self {
        Self { subject_prefix: prefix.into(), ..self }
    }

    fn problems(&self) -> Vec<String> {
        let name = quoted(&self.expectation.issuer);
        let mut problems = Vec::new();
        let mut problem = |text: &str| problems.push(format!("issuer {name}: {text}"));
        if self.expectation.issuer.is_empty() {
            problem("expected the issuer as its tokens write it, found nothing; hint: copy iss of one of them");
        }
        if self.expectation.audience.is_empty() {
            problem("expected an audience, found none; hint: the name by which this service is meant in its tokens");
        }
        if self.expectation.algorithms.is_empty() {
            problem("expected algorithms, found none; hint: list those that its key set uses");
        }
        let service_accounts = self.subject_prefix.starts_with(SERVICE_ACCOUNT_PREFIX);
        match self.kind {
            IssuerKind::Kubernetes if !self.subject_prefix.is_empty() && !service_accounts => {
                problem(
                    "expected a subject prefix below system:serviceaccount:, found another; hint: its subjects are",
                );
            }
            IssuerKind::Other if service_accounts => {
                problem("expected no subject prefix of service accounts, found one; hint: declare it kubernetes");
            }
            _ => {}
        }
        problems
    }

    /// Whether this issuer may speak for `subject`.
    fn admits(&self, subject: &str) -> Result<(), &'static str> {
        let service_account = subject.starts_with(SERVICE_ACCOUNT_PREFIX);
        let plain = (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.chars().any(char::is_control);
        match self.kind {
            _ if !plain => Err("1 to 255 bytes without control characters"),
            IssuerKind::Kubernetes if !service_account => Err("a service account of this cluster"),
            IssuerKind::Other if service_account => Err("no service account, since this issuer is no cluster"),
            _ if !subject.starts_with(&self.subject_prefix) => Err("the configured prefix"),
            _ => Ok(()),
        }
    }
}

/// Every problem of a list of issuers, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuersError {
    problems: Vec<String>,
}

impl TrustedIssuersError {
    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for TrustedIssuersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for TrustedIssuersError {}

/// The closed list of issuers whose tokens are believed, keyed by the exact text of `iss`.
///
/// - **Nothing is fetched before the issuer is found on the list**, and keys come from the configured address, never from
///   something in a token.
/// - Each issuer has its own audience, algorithms and types: a token that one of them made for somebody else, or of another
///   kind, is refused.
/// - A subject that begins with `system:serviceaccount:` is believed only of an issuer declared [`IssuerKind::Kubernetes`],
///   and such an issuer of no other subject. Who an identity is, is always the pair of issuer and subject.
/// - A token that is wrong ([`ForeignTokenError::Rejected`]) and keys that are not there ([`ForeignTokenError::Outage`]) are
///   kept apart: the second is never an answer to the caller about the token.
#[derive(Debug, Default)]
pub struct TrustedIssuers {
    issuers: BTreeMap<String, TrustedIssuer>,
}

/// Who a verified token of a trusted issuer speaks for. Only [`TrustedIssuers::verify`] makes one.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ForeignIdentity {
    /// The issuer, exactly as configured.
    pub issuer: String,
    /// What kind of issuer it is.
    pub kind: IssuerKind,
    /// The subject, within what its issuer may speak for.
    pub subject: String,
    /// All claims.
    pub claims: Map<String, Value>,
}

impl fmt::Debug for ForeignIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignIdentity")
            .field("issuer", &self.issuer)
            .field("kind", &self.kind)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Why a token of another issuer was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignTokenError {
    /// The token is wrong. Asking again changes nothing.
    #[error(transparent)]
    Rejected(#[from] ForeignRejection),
    /// Its issuer's keys are not there. Nothing is known about the token.
    #[error("issuer {issuer}: {error}")]
    Outage {
        /// The issuer, from the list.
        issuer: String,
        /// Why there are no keys.
        error: KeysUnavailable,
    },
}

/// What is wrong with a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignRejection {
    /// Nobody on the list issued it. Nothing was fetched.
    #[error("expected a token of a trusted issuer, found iss {found}")]
    UnknownIssuer {
        /// The token's `iss`, cut and escaped.
        found: String,
    },
    /// Its form, its signature or a claim.
    #[error(transparent)]
    Token(#[from] JwsError),
    /// Its issuer may not speak for this subject.
    #[error("claim sub: expected {expected}, found {found}")]
    Subject {
        /// What it should have been.
        expected: &'static str,
        /// The token's `sub`, cut and escaped.
        found: String,
    },
}

impl ForeignTokenError {
    /// A short stable name for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(ForeignRejection::UnknownIssuer { .. }) => "unknown_issuer",
            Self::Rejected(ForeignRejection::Token(error)) => error.code(),
            Self::Rejected(ForeignRejection::Subject { .. }) => "subject",
            Self::Outage { .. } => "outage",
        }
    }

    /// Whether nothing is known about the token.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Outage { .. })
    }
}

impl TrustedIssuers {
    /// The list of these issuers. An empty list believes nobody.
    ///
    /// # Errors
    /// [`TrustedIssuersError`] with every problem: an issuer listed twice, or without audience or algorithms, or with a subject
    /// prefix that is not its to give.
    pub fn new(issuers: impl IntoIterator<Item = TrustedIssuer>) -> Result<Self, TrustedIssuersError> {
        let mut list = BTreeMap::new();
        let mut problems = Vec::new();
        for issuer in issuers {
            problems.append(&mut issuer.problems());
            let name = issuer.expectation.issuer.clone();
            if list.contains_key(&name) {
                let name = quoted(&name);
                problems.push(format!("issuer {name}: expected it once, found it again; hint: one entry per issuer"));
            }
            list.insert(name, issuer);
        }
        if problems.is_empty() { Ok(Self { issuers: list }) } else { Err(TrustedIssuersError { problems }) }
    }

    /// Whether this exact issuer is on the list.
    #[must_use]
    pub fn contains(&self, issuer: &str) -> bool {
        self.issuers.contains_key(issuer)
    }

    /// The issuers and where their keys come from, for readiness and gauges.
    pub fn key_sets(&self) -> impl Iterator<Item = (&str, &RemoteKeys)> {
        self.issuers.iter().map(|(name, issuer)| (name.as_str(), issuer.keys.as_ref()))
    }

    /// Verifies a token of whichever listed issuer it names.
    ///
    /// # Errors
    /// [`ForeignTokenError::Rejected`] when the token is wrong, [`ForeignTokenError::Outage`] when its issuer's keys are not
    /// there.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<ForeignIdentity, ForeignTokenError> {
        let rejected = |rejection: ForeignRejection| ForeignTokenError::Rejected(rejection);
        let unverified = UnverifiedForeign::parse(token).map_err(|error| rejected(error.into()))?;
        let Some(issuer) = self.issuers.get(unverified.iss()) else {
            return Err(rejected(ForeignRejection::UnknownIssuer { found: quoted(unverified.iss()) }));
        };
        let keys = match unverified.kid() {
            Some(kid) => issuer.keys.for_kid(kid, now).await,
            None => issuer.keys.keys(now).await,
        };
        let name = || issuer.expectation.issuer.clone();
        let keys = keys.map_err(|error| ForeignTokenError::Outage { issuer: name(), error })?;
        let verified = unverified.verify(&keys, &issuer.expectation, now).map_err(|error| rejected(error.into()))?;
        let claims = verified.into_inner();
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) => subject.clone(),
            _ => String::new(),
        };
        issuer
            .admits(&subject)
            .map_err(|expected| rejected(ForeignRejection::Subject { expected, found: quoted(&subject) }))?;
        Ok(ForeignIdentity { issuer: name(), kind: issuer.kind, subject, claims })
    }
}
