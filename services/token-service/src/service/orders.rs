//! What callers ask for, judged against their policies: the one place where foreign text becomes a token's content.

use std::collections::BTreeMap;

use serde_json::Value;
use token_claims::is_reserved;

use super::{ServiceError, TokenService};
use crate::caller::Caller;
use crate::tokens::Subject;

/// The most bytes of any identifier that a caller gives.
const MAX_TEXT: usize = 255;
/// The most scopes or audiences in one order.
const MAX_LIST: usize = 64;
/// The most bytes of all custom claims together.
const MAX_EXTRA: usize = 4096;

/// How a door turns a `user_id` into a subject, so that no two doors can make the same one of different users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectForm {
    /// `user_<user_id>`: the HTTP door.
    Prefixed,
    /// The `user_id` itself: the gRPC door. Never one that begins with `user_`, and never a client's name.
    Verbatim,
}

/// `POST /tokens`.
#[derive(Clone, Debug, Default)]
pub struct TokenOrder {
    /// Whom the token is about.
    pub user_id: String,
    /// `network`; `default` when empty.
    pub network: Option<String>,
    /// `rate_limit`.
    pub rate_limit: Option<u32>,
    /// Lifetime in seconds.
    pub lifetime_s: Option<u64>,
    /// Audiences; the service's default when empty.
    pub audience: Vec<String>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// The proof key that the token is bound to.
    pub jkt: Option<String>,
}

/// `POST /token-pairs`.
#[derive(Clone, Debug, Default)]
pub struct PairOrder {
    /// As for a token; `lifetime_s` is the parent's.
    pub token: TokenOrder,
    /// Lifetime of children in seconds.
    pub child_lifetime_s: Option<u64>,
    /// Whether a first child comes along.
    pub include_child: bool,
}

/// `GenerateTokens` / `IssueTokenPair`: an access token and a refresh token.
#[derive(Clone, Debug, Default)]
pub struct SessionOrder {
    /// Whom the tokens are about.
    pub user_id: String,
    /// `session_id`.
    pub session_id: Option<String>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Custom claims.
    pub extra: BTreeMap<String, Value>,
    /// Lifetime of access tokens in seconds.
    pub access_lifetime_s: Option<u64>,
    /// Absolute lifetime of the family in seconds.
    pub refresh_lifetime_s: Option<u64>,
    /// Audiences.
    pub audience: Vec<String>,
    /// The proof key that the family is bound to.
    pub jkt: Option<String>,
}

/// `client_credentials`: a token about the client itself.
#[derive(Clone, Debug, Default)]
pub struct ClientOrder {
    /// Scopes.
    pub scopes: Vec<String>,
    /// Audiences.
    pub audience: Vec<String>,
    /// The proof key that the token is bound to.
    pub jkt: Option<String>,
    /// Whether a refresh token is wanted, which makes a family.
    pub refresh: bool,
}

impl TokenService {
    /// The subject that `form` makes of `user_id`.
    pub(super) fn subject(&self, form: SubjectForm, user_id: &str) -> Result<String, ServiceError> {
        text("user_id", user_id)?;
        match form {
            SubjectForm::Prefixed => {
                text("user_id", &format!("user_{user_id}"))?;
                Ok(format!("user_{user_id}"))
            }
            SubjectForm::Verbatim if user_id.starts_with("user_") || self.callers.named(user_id).is_some() => {
                Err(ServiceError::Invalid(
                    "user_id: expected one that does not begin with user_ and is no client's name, found such a one"
                        .to_owned(),
                ))
            }
            SubjectForm::Verbatim => Ok(user_id.to_owned()),
        }
    }

    /// The audiences of an order: all admitted by the caller's policy, the service's default when none is asked for.
    pub(super) fn audience(&self, caller: &Caller, asked: &[String]) -> Result<Vec<String>, ServiceError> {
        let default = self.rules.audiences.first();
        let policy = caller.may_issue()?;
        list("audience", asked)?;
        if asked.contains(&self.rules.issuer) {
            return Err(ServiceError::Target("audience: this service's own is for parent tokens only".to_owned()));
        }
        let admitted = |audience: &String| {
            policy.audiences.iter().any(|entry| entry == "*" || entry == audience)
                || (policy.audiences.is_empty() && Some(audience) == default)
        };
        if asked.is_empty() {
            return match default
                .filter(|audience| admitted(audience))
                .or_else(|| policy.audiences.first().filter(|a| *a != "*"))
            {
                Some(audience) => Ok(vec![audience.clone()]),
                None => Err(ServiceError::Target(
                    "audience: expected one, found none; hint: this service has no default".to_owned(),
                )),
            };
        }
        match asked.iter().find(|audience| !admitted(audience)) {
            None => Ok(asked.to_vec()),
            Some(_) => Err(ServiceError::Target("audience: the caller may not ask for this one".to_owned())),
        }
    }

    pub(super) fn scopes(caller: &Caller, asked: &[String]) -> Result<Vec<String>, ServiceError> {
        let policy = caller.may_issue()?;
        if asked.len() > MAX_LIST {
            return Err(ServiceError::Scope(format!("expected at most {MAX_LIST} scopes, found {}", asked.len())));
        }
        let mut scopes: Vec<String> = Vec::with_capacity(asked.len());
        for scope in asked {
            if scope.is_empty() || scope.len() > MAX_TEXT || !scope.bytes().all(is_scope_byte) {
                return Err(ServiceError::Scope(
                    "expected scopes of printable ASCII without space, quote and backslash (RFC 6749 section 3.3)"
                        .to_owned(),
                ));
            }
            if policy.scopes.as_ref().is_some_and(|granted| !granted.contains(scope)) {
                return Err(ServiceError::Scope("the caller may not ask for one of these scopes".to_owned()));
            }
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        Ok(scopes)
    }

    /// The lifetime asked for, within what the caller may; never clipped.
    pub(super) fn lifetime(
        &self,
        caller: &Caller,
        name: &str,
        asked: Option<u64>,
        default: u64,
    ) -> Result<u64, ServiceError> {
        let most = caller.may_issue()?.max_ttl_s.min(self.rules.most_ttl_s);
        match asked {
            None => Ok(default.min(most)),
            Some(seconds) if (1..=most).contains(&seconds) => Ok(seconds),
            Some(seconds) => {
                Err(ServiceError::Invalid(format!("{name}: expected 1 to {most} seconds, found {seconds}")))
            }
        }
    }

    pub(super) fn admits(caller: &Caller, user_id: &str) -> Result<(), ServiceError> {
        if caller.may_issue()?.admits_user(user_id) {
            return Ok(());
        }
        Err(ServiceError::Forbidden("the caller may not mint for this user".to_owned()))
    }
}

/// Custom claims: none that decides security, and not too many.
pub(super) fn extra(claims: &BTreeMap<String, Value>) -> Result<(), ServiceError> {
    for name in claims.keys() {
        if name.is_empty() || name.len() > MAX_TEXT || is_reserved(name) || is_own(name) {
            let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(ServiceError::Invalid(format!(
                "custom_claims: \"{shown}\" is reserved; hint: choose another name"
            )));
        }
    }
    let size = serde_json::to_vec(claims).map_or(usize::MAX, |bytes| bytes.len());
    if size > MAX_EXTRA {
        return Err(ServiceError::Invalid(format!("custom_claims: expected at most {MAX_EXTRA} bytes, found {size}")));
    }
    Ok(())
}

/// Members of this service's tokens beyond the reserved names.
fn is_own(name: &str) -> bool {
    matches!(name, "scopes" | "client_id")
}

/// An identifier: 1 to 255 printable ASCII characters.
pub(super) fn text(name: &str, value: &str) -> Result<(), ServiceError> {
    if value.is_empty() {
        return Err(ServiceError::Invalid(format!("{name} is required")));
    }
    if value.len() > MAX_TEXT || !value.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(ServiceError::Invalid(format!(
            "{name}: expected 1 to {MAX_TEXT} printable ASCII characters without spaces, found another text"
        )));
    }
    Ok(())
}

fn list(name: &str, values: &[String]) -> Result<(), ServiceError> {
    if values.len() > MAX_LIST {
        return Err(ServiceError::Invalid(format!("{name}: expected at most {MAX_LIST}, found {}", values.len())));
    }
    values.iter().try_for_each(|value| text(name, value))
}

fn is_scope_byte(byte: u8) -> bool {
    byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte)
}

/// A subject with nothing but who and where.
pub(super) fn plain_subject(subject: String, audience: Vec<String>) -> Subject {
    Subject {
        subject,
        audience,
        user_id: None,
        session_id: None,
        network: None,
        rate_limit: None,
        client_id: None,
        scopes: Vec::new(),
        jkt: None,
        extra: BTreeMap::new(),
    }
}
