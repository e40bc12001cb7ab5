//! The claim set of a token: complete, in a fixed order, without duplicate or empty members.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::charset::CharSet;
use crate::mapping::{Grant, ProfileKind, ScopeForm};
use crate::text::quoted;

/// Claim names that decide security. They come from the issuer alone: never from a caller, a scope mapping or a custom
/// claim. Checked when a document is compiled and again when a token is minted.
pub const RESERVED: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "cnf",
    "act",
    "may_act",
    "scope",
    "scp",
    "client_id",
    "azp",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "sid",
    "session_id",
    "token_type",
    "parent_jti",
    "user_id",
    "network",
    "rate_limit",
    "ugen",
    "ep",
    "roles",
    "groups",
    "entitlements",
    "events",
    "txn",
];

/// Beginnings of claim names that are reserved as [`RESERVED`] is.
pub const RESERVED_PREFIXES: &[&str] = &["kubernetes.io", "https://sts.amazonaws.com/"];

/// Whether a claim name is reserved. Compared without ASCII case: several JSON libraries match member names so, and to
/// them `Sub` is `sub`.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let begins = |prefix: &&str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) || RESERVED_PREFIXES.iter().any(begins)
}

/// Why no claim set could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// Issuer or token id is unusable.
    #[error("expected {what} of 1 to 255 printable ASCII characters without spaces, found {found}")]
    Name {
        /// Which of the two.
        what: &'static str,
        /// The value, quoted.
        found: String,
    },
    /// An extra claim carries a reserved name.
    #[error("expected only claims of the document's own, found the reserved name {found}")]
    Reserved {
        /// The name, quoted.
        found: String,
    },
    /// What a token is to be bound to is no thumbprint.
    #[error("expected an RFC 7638 SHA-256 thumbprint (43 characters of base64url), found {found}")]
    Thumbprint {
        /// The value, quoted.
        found: String,
    },
    /// The times do not fit: before 1970, or past the range of timestamps.
    #[error("expected a time at which a token of {lifetime_s} seconds can be issued, found {now}")]
    Time {
        /// The clock's time.
        now: Timestamp,
        /// The lifetime in seconds.
        lifetime_s: u64,
    },
}

/// The key that a token is bound to (RFC 7800 section 3.1, RFC 9449 section 6.1): whoever presents the token must prove
/// that he holds it.
///
/// ```
/// use token_claims::Confirmation;
/// assert!(Confirmation::jkt("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").is_ok());
/// assert!(Confirmation::jkt("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs=").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    jkt: String,
}

impl Confirmation {
    /// The key with this SHA-256 thumbprint (RFC 7638) in base64url: `cnf.jkt`.
    ///
    /// # Errors
    /// When it is not 43 characters of base64url, the last of which has no bits to spare: 256 bits have one spelling.
    pub fn jkt(thumbprint: &str) -> Result<Self, ClaimsError> {
        // 43 characters hold 258 bits; in the last one the two lowest are zero.
        const LAST: &str = "AEIMQUYcgkosw048";
        let canonical = thumbprint.len() == 43
            && CharSet::BASE64URL.holds(thumbprint)
            && thumbprint.ends_with(|last| LAST.contains(last));
        if canonical {
            Ok(Self { jkt: thumbprint.to_owned() })
        } else {
            Err(ClaimsError::Thumbprint { found: quoted(thumbprint) })
        }
    }

    /// The thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.jkt
    }
}

/// A complete claim set: `iss sub aud iat nbf exp jti` always, `cnf` when bound, then what the profile and the grant add.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    issuer: String,
    subject: String,
    audience: String,
    issued_at: i64,
    expires_at: i64,
    token_id: String,
    confirmation: Option<Confirmation>,
    client_id: Option<String>,
    scope: Option<Scope>,
    extra: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
enum Scope {
    Joined(String),
    List(Vec<String>),
}

impl Claims {
    /// The claims of a grant, issued at `now` (cut to whole seconds) for its whole lifetime.
    ///
    /// # Errors
    /// When issuer or token id is not 1-255 printable ASCII characters, an extra claim is reserved, or the times are
    /// out of range.
    pub fn new(grant: &Grant, issuer: &str, token_id: &str, now: Timestamp) -> Result<Self, ClaimsError> {
        for (what, text) in [("an issuer", issuer), ("a token id", token_id)] {
            if !(1..=255).contains(&text.len()) || !CharSet::GRAPHIC.holds(text) {
                return Err(ClaimsError::Name { what, found: quoted(text) });
            }
        }
        if let Some(name) = grant.extra().keys().find(|name| is_reserved(name)) {
            return Err(ClaimsError::Reserved { found: quoted(name) });
        }
        let issued_at = now.as_second();
        let lifetime_s = grant.lifetime_s();
        let expires_at = i64::try_from(lifetime_s)
            .ok()
            .and_then(|lifetime| issued_at.checked_add(lifetime))
            .filter(|expires_at| issued_at >= 0 && *expires_at > issued_at)
            .filter(|expires_at| Timestamp::from_second(*expires_at).is_ok())
            .ok_or(ClaimsError::Time { now, lifetime_s })?;
        let scopes = grant.scopes();
        let scope = (!scopes.is_empty()).then(|| match grant.profile().scope_form() {
            ScopeForm::Space => Scope::Joined(scopes.join(" ")),
            ScopeForm::Comma => Scope::Joined(scopes.join(",")),
            ScopeForm::Array => Scope::List(scopes.to_vec()),
        });
        let client_id = match grant.profile().kind() {
            ProfileKind::Rfc9068 => Some(grant.client_id().to_owned()),
            ProfileKind::Generic | ProfileKind::SnowflakeExternalOauth => None,
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: grant.subject().to_owned(),
            audience: grant.audience().to_owned(),
            issued_at,
            expires_at,
            token_id: token_id.to_owned(),
            confirmation: None,
            client_id,
            scope,
            extra: grant.extra().clone(),
        })
    }

    /// The same claims, bound to a key: `cnf` is `{"jkt": thumbprint}`, and the token is no bearer token.
    #[must_use]
    pub fn bound_to(self, confirmation: Confirmation) -> Self {
        Self { confirmation: Some(confirmation), ..self }
    }

    /// The JSON that is signed. The same claims give the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "strings, integers and JSON values with string keys always serialise into memory"
        )]
        serde_json::to_vec(self).expect("claims serialise")
    }

    /// `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        // In range: checked when the claims were made.
        Timestamp::from_second(self.expires_at).unwrap_or(Timestamp::MAX)
    }

    /// `iat` and `nbf`.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_second(self.issued_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `jti`.
    #[must_use]
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// `cnf`.
    #[must_use]
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_ref()
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", &self.issuer)?;
        map.serialize_entry("sub", &self.subject)?;
        map.serialize_entry("aud", &self.audience)?;
        map.serialize_entry("iat", &self.issued_at)?;
        map.serialize_entry("nbf", &self.issued_at)?;
        map.serialize_entry("exp", &self.expires_at)?;
        map.serialize_entry("jti", &self.token_id)?;
        if let Some(confirmation) = &self.confirmation {
            map.serialize_entry("cnf", &BTreeMap::from([("jkt", &confirmation.jkt)]))?;
        }
        if let Some(client_id) = &self.client_id {
            map.serialize_entry("client_id", client_id)?;
        }
        match &self.scope {
            Some(Scope::Joined(scope)) => map.serialize_entry("scope", scope)?,
            Some(Scope::List(scopes)) => map.serialize_entry("scp", scopes)?,
            None => {}
        }
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, ClaimsError, RESERVED, Timestamp};
    use crate::mapping::{CompileOptions, SubjectMapping, TokenRequest};
    use crate::principal::{Principal, TokenPrincipal};

    #[test]
    fn reserved_names_are_checked_again_when_a_token_is_minted() {
        let source = "[[rule]]\nname = \"r\"\nprincipal = { kind = \"token\", issuers = [\"i\"], subject = \"s\" }\n\
                      subject = \"s\"\naudiences = [\"a\"]";
        let mapping = SubjectMapping::compile(source, &CompileOptions::default()).unwrap();
        let principal = Principal::Token(TokenPrincipal::new("i", "s").unwrap());
        let grant = mapping.resolve(&principal, &TokenRequest::default()).unwrap();
        let mint = |grant| Claims::new(&grant, "i", "id", Timestamp::UNIX_EPOCH);
        assert!(mint(grant.clone().with_extra("team")).is_ok());
        for name in RESERVED.iter().chain(&["Sub", "kubernetes.io/pod"]) {
            let error = mint(grant.clone().with_extra(name)).unwrap_err();
            assert!(matches!(error, ClaimsError::Reserved { .. }), "{name}: {error}");
        }
    }
}
