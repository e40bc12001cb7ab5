//! Who may ask this service for what: the callers of the configuration, and how each proves to be one.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use token_jose::{ForeignKeys, sha256};
use token_remote::{ForeignTokenError, TrustedIssuers};

use crate::service::ServiceError;

mod document;

pub use document::CallerDocumentErrors;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Mint tokens (`tokens:issue`), within the caller's [`IssuePolicy`].
    Issue,
    /// Revoke tokens (`tokens:revoke`).
    Revoke,
    /// Read what is known of tokens, never a token (`tokens:read`).
    Read,
    /// Rotate signing keys (`keys:rotate`).
    Rotate,
}

impl Role {
    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Issue => "tokens:issue",
            Self::Revoke => "tokens:revoke",
            Self::Read => "tokens:read",
            Self::Rotate => "keys:rotate",
        }
    }
}

/// For whom, for where and for how long a caller may mint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuePolicy {
    /// User patterns: at most one `*` each.
    pub users: Vec<String>,
    /// Audiences; empty means the service's own default only.
    pub audiences: Vec<String>,
    /// Scopes; `None` means any.
    pub scopes: Option<Vec<String>>,
    /// The longest lifetime, in seconds, of anything minted.
    pub max_ttl_s: u64,
}

impl IssuePolicy {
    /// Whether tokens for `user` may be minted.
    #[must_use]
    pub fn admits_user(&self, user: &str) -> bool {
        self.users.iter().any(|pattern| matches(pattern, user))
    }
}

/// One configured caller. Its name is its OAuth `client_id`.
#[derive(Debug)]
pub struct Caller {
    /// The name: in logs, in tokens as `client_id`, in families as their owner.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// How it may mint; `None` without [`Role::Issue`].
    pub issue: Option<IssuePolicy>,
    /// Keys of its client assertions (`private_key_jwt`).
    pub assertion_keys: Option<ForeignKeys>,
}

impl Caller {
    /// Refuses a caller that lacks `role`.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], naming the role.
    pub fn require(&self, role: Role) -> Result<(), ServiceError> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        Err(ServiceError::Forbidden(format!("expected a caller with the role {}, found one without", role.name())))
    }

    /// The caller's minting policy.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] when it may not mint.
    pub fn may_issue(&self) -> Result<&IssuePolicy, ServiceError> {
        self.require(Role::Issue)?;
        self.issue.as_ref().ok_or_else(|| ServiceError::Forbidden("this caller may mint for no user".to_owned()))
    }
}

/// What a request brings to prove who calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credential<'a> {
    /// The value of `Authorization`, whole.
    pub authorization: Option<&'a str>,
    /// The client certificate of the connection, verified by the listener.
    pub certificate: Option<&'a Certificate>,
}

/// A verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
    /// Its subject alternative names: URIs and DNS names.
    pub names: Vec<String>,
}

/// All configured callers. Immutable.
#[derive(Debug, Default)]
pub struct Callers {
    by_name: BTreeMap<String, Arc<Caller>>,
    by_key: BTreeMap<[u8; 32], Arc<Caller>>,
    by_identity: BTreeMap<(String, String), Arc<Caller>>,
    by_certificate: BTreeMap<CertificateName, Arc<Caller>>,
    issuers: Option<Arc<TrustedIssuers>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CertificateName {
    Sha256([u8; 32]),
    San(String),
}

impl Callers {
    /// One caller with every role, any user and `api_key`: what `--dev` has.
    #[must_use]
    pub fn dev(api_key: &str) -> Self {
        let caller = Arc::new(Caller {
            name: "dev".to_owned(),
            roles: vec![Role::Issue, Role::Revoke, Role::Read, Role::Rotate],
            issue: Some(IssuePolicy {
                users: vec!["*".to_owned()],
                audiences: vec!["*".to_owned()],
                scopes: None,
                max_ttl_s: 30 * 24 * 3600,
            }),
            assertion_keys: None,
        });
        let mut callers = Self::default();
        callers.by_name.insert(caller.name.clone(), caller.clone());
        callers.by_key.insert(sha256(api_key.as_bytes()), caller);
        callers
    }

    /// The same, with the issuers whose tokens callers may bring.
    #[must_use]
    pub fn with_issuers(mut self, issuers: Arc<TrustedIssuers>) -> Self {
        self.issuers = Some(issuers);
        self
    }

    /// The caller named `client_id`.
    #[must_use]
    pub fn named(&self, client_id: &str) -> Option<&Arc<Caller>> {
        self.by_name.get(client_id)
    }

    /// Whether no caller is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The caller that `secret` belongs to, if it is `client_id`'s (HTTP Basic and `client_secret` of the OAuth face: a
    /// client's secret is its API key).
    #[must_use]
    pub fn by_secret(&self, client_id: &str, secret: &str) -> Option<Arc<Caller>> {
        self.by_key.get(&sha256(secret.as_bytes())).filter(|caller| caller.name == client_id).cloned()
    }

    /// The caller that a request's credential proves.
    ///
    /// API keys are looked up by their SHA-256, so neither time nor memory tells a wrong key from another; a token must come
    /// from a configured issuer, with our audience, and name a configured (issuer, subject). Our own tokens prove nothing.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for no or no good credential, [`ServiceError::Unavailable`] when the issuer's keys
    /// cannot be had.
    pub async fn authenticate(&self, credential: Credential<'_>, now: Timestamp) -> Result<Arc<Caller>, ServiceError> {
        let Some(authorization) = credential.authorization else {
            return credential.certificate.and_then(|certificate| self.by_certificate(certificate)).ok_or_else(|| {
                ServiceError::Unauthenticated(
                    "expected Authorization: Bearer with an API key or a token of a configured issuer, found none"
                        .to_owned(),
                )
            });
        };
        let refused = || ServiceError::Unauthenticated("the credential is not one of a configured caller".to_owned());
        let (scheme, value) = authorization.split_once(' ').ok_or_else(refused)?;
        let value = value.trim_matches(' ');
        if !scheme.eq_ignore_ascii_case("bearer") || value.is_empty() {
            return Err(ServiceError::Unauthenticated(
                "expected the scheme Bearer with an API key or a token, found another form".to_owned(),
            ));
        }
        if let Some(caller) = self.by_key.get(&sha256(value.as_bytes())) {
            return Ok(caller.clone());
        }
        let Some(issuers) = self.issuers.as_ref().filter(|_| value.bytes().filter(|byte| *byte == b'.').count() == 2)
        else {
            return Err(refused());
        };
        match issuers.verify(value, now).await {
            Ok(identity) => self.by_identity.get(&(identity.issuer, identity.subject)).cloned().ok_or_else(refused),
            Err(ForeignTokenError::Rejected { .. }) => Err(refused()),
            // Outages and whatever is not known yet: not the caller's fault, so never 401.
            Err(error) => Err(ServiceError::unavailable("caller_issuer_unavailable", error, 5)),
        }
    }

    fn by_certificate(&self, certificate: &Certificate) -> Option<Arc<Caller>> {
        let by_sum = self.by_certificate.get(&CertificateName::Sha256(certificate.sha256));
        by_sum
            .or_else(|| {
                certificate.names.iter().find_map(|name| self.by_certificate.get(&CertificateName::San(name.clone())))
            })
            .cloned()
    }
}

/// At most one `*`, which stands for one or more characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() > before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_at_least_one_character() {
        assert!(matches("*", "a") && !matches("*", ""));
        assert!(matches("app-*", "app-1") && !matches("app-*", "app-") && !matches("app-*", "xapp-1"));
        assert!(matches("a*a", "aba") && !matches("a*a", "aa"));
        assert!(matches("alice", "alice") && !matches("alice", "alice2"));
    }

    #[tokio::test]
    async fn only_the_key_itself_proves_the_caller() {
        let callers = Callers::dev("k-123456789012345678901234567890");
        let now = Timestamp::UNIX_EPOCH;
        let by = |text: &'static str| Credential { authorization: Some(text), certificate: None };
        let caller = callers.authenticate(by("Bearer k-123456789012345678901234567890"), now).await.unwrap();
        assert_eq!(caller.name, "dev");
        assert!(callers.authenticate(by("bearer k-123456789012345678901234567890"), now).await.is_ok());
        for bad in [
            "Bearer ",
            "Bearer",
            "Basic k-123456789012345678901234567890",
            "Bearer k-1",
            "k-123456789012345678901234567890",
        ] {
            let refused = callers.authenticate(by(bad), now).await.unwrap_err();
            assert!(matches!(refused, ServiceError::Unauthenticated(_)), "{bad}");
        }
        assert!(callers.authenticate(Credential::default(), now).await.is_err());
        assert!(callers.by_secret("other", "k-123456789012345678901234567890").is_none());
    }
}
