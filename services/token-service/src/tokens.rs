//! What the service's tokens say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Family, FamilyKind, Standing, TokenId};

/// `typ` of what an API may accept.
pub const ACCESS_TYP: &str = "JWT";
/// `typ` of access tokens from the OAuth face (RFC 9068 section 2.1).
pub const OAUTH_ACCESS_TYP: &str = "at+jwt";
/// `typ` of parent tokens, so that no verifier of access tokens takes one.
pub const PARENT_TYP: &str = "parent+jwt";

/// The claims of every token of this service. Absent members are left out.
///
/// `extra` can never hold a name that decides security: [`crate::service`] refuses reserved names before it builds claims,
/// so no member occurs twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// The issuer: `JWT_ISSUER`.
    pub iss: String,
    /// The subject.
    pub sub: String,
    /// The audiences, always as a list.
    pub aud: Vec<String>,
    /// Issued at, in seconds.
    pub iat: i64,
    /// Not before: `iat`.
    pub nbf: i64,
    /// Expiry, in seconds.
    pub exp: i64,
    /// The token's id.
    pub jti: String,
    /// `parent` or `child`; absent on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// The parent that a child dies with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_jti: Option<String>,
    /// The refresh family that an access token dies with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The user's id as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The session's id as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Requests per window that `/authorize` lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<u32>,
    /// The client that asked (RFC 9068 section 2.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Scopes, space-separated (RFC 8693 section 4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Scopes as a list, as the gRPC service's clients read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The key that must prove possession (RFC 9449 section 6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The user's generation: a smaller one than the store's is revoked.
    pub ugen: u64,
    /// The store's epoch: another one is unknown.
    pub ep: String,
    /// What the caller added.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// `cnf` (RFC 7800) with the thumbprint of RFC 9449.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// RFC 7638 SHA-256 thumbprint of the proof key.
    pub jkt: String,
}

/// Which token is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A token on its own.
    Plain,
    /// A parent: never an access token.
    Parent,
    /// A parent's child.
    Child,
    /// An access token of a refresh family or of the OAuth face.
    Access,
}

/// What a token is made of besides times and ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: Vec<String>,
    /// `user_id`.
    pub user_id: Option<String>,
    /// `session_id`.
    pub session_id: Option<String>,
    /// `network`.
    pub network: Option<String>,
    /// `rate_limit`.
    pub rate_limit: Option<u32>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Proof key.
    pub jkt: Option<String>,
    /// Custom claims.
    pub extra: BTreeMap<String, Value>,
}

impl TokenClaims {
    /// The claims of a token made at `now` for `lifetime_s` seconds, or until `not_after` if that is earlier.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one registered claim; a struct would only repeat their names"
    )]
    pub fn new(
        issuer: &str,
        of: &Subject,
        purpose: Use,
        id: &TokenId,
        family: Option<&Family>,
        standing: &Standing,
        lifetime_s: u64,
        now: Timestamp,
    ) -> Self {
        let iat = now.as_second();
        let wanted = iat.saturating_add(i64::try_from(lifetime_s).unwrap_or(i64::MAX));
        let exp = family.map_or(wanted, |family| wanted.min(family.expires.as_second()));
        let linked = family.map(|family| family.id.to_string());
        let scope = (!of.scopes.is_empty()).then(|| of.scopes.join(" "));
        Self {
            iss: issuer.to_owned(),
            sub: of.subject.clone(),
            aud: if purpose == Use::Parent { vec![issuer.to_owned()] } else { of.audience.clone() },
            iat,
            nbf: iat,
            exp,
            jti: id.to_string(),
            token_type: match purpose {
                Use::Parent => Some("parent".to_owned()),
                Use::Child => Some("child".to_owned()),
                Use::Plain | Use::Access => None,
            },
            parent_jti: if purpose == Use::Child { linked.clone() } else { None },
            sid: match family {
                Some(family) if family.kind == FamilyKind::Refresh => linked,
                _ => None,
            },
            user_id: of.user_id.clone(),
            session_id: of.session_id.clone(),
            network: of.network.clone(),
            rate_limit: of.rate_limit,
            client_id: of.client_id.clone(),
            scope,
            scopes: (!of.scopes.is_empty()).then(|| of.scopes.clone()),
            cnf: of.jkt.clone().map(|jkt| Confirmation { jkt }),
            ugen: standing.generation,
            ep: standing.epoch.to_string(),
            extra: of.extra.clone(),
        }
    }

    /// The family that this token dies with.
    #[must_use]
    pub fn family(&self) -> Option<TokenId> {
        self.parent_jti.as_deref().or(self.sid.as_deref()).and_then(|id| id.parse().ok())
    }

    /// The scopes.
    #[must_use]
    pub fn granted(&self) -> Vec<String> {
        self.scope.as_deref().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
    }
}
