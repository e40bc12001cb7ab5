use std::fmt::{self, Display, Formatter};

use super::PrincipalError;
use crate::charset::CharSet;
use crate::text::quoted;

/// A Kubernetes service account, known by its issuer (one cluster), namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KubernetesPrincipal {
    issuer: String,
    namespace: String,
    name: String,
    uid: String,
}

impl KubernetesPrincipal {
    /// From what a `TokenReview` or a verified projected token says.
    ///
    /// `username` is `system:serviceaccount:NAMESPACE:NAME`, `issuer` the cluster's issuer as configured, `uid` the
    /// service account's unique id (which never repeats, unlike its name).
    ///
    /// # Errors
    /// When a part is absent, over its limit or not of the form that Kubernetes gives it.
    pub fn from_username(issuer: &str, username: &str, uid: &str) -> Result<Self, PrincipalError> {
        let malformed = || PrincipalError::Malformed {
            what: "the user name of a service account",
            expected: "system:serviceaccount:NAMESPACE:NAME",
            found: quoted(username),
        };
        let rest = username.strip_prefix("system:serviceaccount:").ok_or_else(malformed)?;
        let (namespace, name) = rest.split_once(':').ok_or_else(malformed)?;
        Self::new(issuer, namespace, name, uid)
    }

    /// From parts already taken apart.
    ///
    /// # Errors
    /// As [`from_username`](Self::from_username).
    pub fn new(issuer: &str, namespace: &str, name: &str, uid: &str) -> Result<Self, PrincipalError> {
        issuer_name(issuer)?;
        dns_name("a namespace", namespace, 63, CharSet::DNS_LABEL)?;
        dns_name("a service account's name", name, 253, CharSet::DNS_NAME)?;
        service_account_uid(uid)?;
        Ok(Self { issuer: issuer.into(), namespace: namespace.into(), name: name.into(), uid: uid.into() })
    }

    /// The cluster's issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The namespace, an RFC 1123 label.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The service account's name, an RFC 1123 subdomain.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service account's unique id.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl Display for KubernetesPrincipal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{} ({})", self.namespace, self.name, self.issuer)
    }
}

/// The subject of a verified token of a foreign issuer. Always the pair: a subject alone names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenPrincipal {
    issuer: String,
    subject: String,
}

impl TokenPrincipal {
    /// From the verified `iss` and `sub`.
    ///
    /// # Errors
    /// When either is empty, over 255 bytes or has a character outside `0x21`-`0x7e`.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, PrincipalError> {
        issuer_name(issuer)?;
        graphic("a subject", subject)?;
        Ok(Self { issuer: issuer.into(), subject: subject.into() })
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject within that issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl Display for TokenPrincipal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.subject, self.issuer)
    }
}

/// 1-255 of `0x21`-`0x7e`.
pub(crate) fn issuer_name(text: &str) -> Result<(), PrincipalError> {
    graphic("an issuer", text)
}

/// 1-64 alphanumerics and hyphens: a UUID in practice, but Kubernetes promises only uniqueness.
pub(crate) fn service_account_uid(uid: &str) -> Result<(), PrincipalError> {
    if (1..=64).contains(&uid.len()) && CharSet::ALPHANUMERIC.union(CharSet::single(b'-')).holds(uid) {
        return Ok(());
    }
    let expected = "1-64 letters, digits and hyphens";
    Err(PrincipalError::Malformed { what: "a service account's uid", expected, found: quoted(uid) })
}

fn graphic(what: &'static str, text: &str) -> Result<(), PrincipalError> {
    const MAX: usize = 255;
    if text.len() > MAX {
        return Err(PrincipalError::TooLong { what, max: MAX, found: text.len() });
    }
    if text.is_empty() || !CharSet::GRAPHIC.holds(text) {
        let expected = "printable ASCII without spaces";
        return Err(PrincipalError::Malformed { what, expected, found: quoted(text) });
    }
    Ok(())
}

/// RFC 1123: dot-separated labels, each beginning and ending with a letter or digit.
fn dns_name(what: &'static str, text: &str, max: usize, class: CharSet) -> Result<(), PrincipalError> {
    if text.len() > max {
        return Err(PrincipalError::TooLong { what, max, found: text.len() });
    }
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if class.holds(text) && text.split('.').all(label) {
        return Ok(());
    }
    let expected = "lower-case letters, digits and inner hyphens";
    Err(PrincipalError::Malformed { what, expected, found: quoted(text) })
}
