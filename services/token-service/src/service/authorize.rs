//! Whether a token opens the door: `/authorize`, Envoy's `Check`, introspection.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use token_jose::Htu;

use super::{ServiceError, TokenService};
use crate::caller::Caller;
use crate::keys::TokenProblem;
use crate::refresh_token;
use crate::store::{Check, Dead, Loaded, Rate, Standing, TokenId, UserKey, Verdict};
use crate::tokens::{ACCESS_TYP, OAUTH_ACCESS_TYP, PARENT_TYP, TokenClaims};

/// A request that somebody asks to let through.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthorizeRequest<'a> {
    /// The value of `Authorization`, whole.
    pub authorization: Option<&'a str>,
    /// The value of `Autonity-Token`: when present, even empty, it alone counts.
    pub autonity_token: Option<&'a str>,
    /// The value of the one `DPoP` field.
    pub proof: Option<&'a str>,
    /// The original request's method.
    pub method: &'a str,
    /// The original request's path, without query.
    pub path: &'a str,
}

/// Who was let through: what the upstream may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// `sub`.
    pub subject: String,
    /// `user_id`, where the token has one.
    pub user_id: Option<String>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `scope`.
    pub scope: Option<String>,
    /// `network`.
    pub network: Option<String>,
    /// `rate_limit`.
    pub rate_limit: Option<u32>,
    /// `session_id`.
    pub session_id: Option<String>,
    /// Thumbprint of the proof key.
    pub jkt: Option<String>,
    /// `exp`.
    pub expires: Timestamp,
}

/// Why a request is not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What kind of no.
    pub reason: DenialReason,
    /// The text for the caller.
    pub message: String,
    /// Seconds to wait, for 429 and 503.
    pub retry_after_s: Option<u64>,
}

/// The kinds of no. Each door maps them to its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// No token: 401.
    Missing,
    /// Not a token in a form that is understood: 401.
    Malformed,
    /// Not a valid access token: 401 `invalid_token`.
    InvalidToken,
    /// A bound token without its proof, or as bearer: 401.
    InvalidProof,
    /// The proof needs a nonce: 401 `use_dpop_nonce`.
    UseNonce,
    /// A parent or refresh token: 403.
    NotAnAccessToken,
    /// Revoked, by itself, with its family or with its user: 403.
    Revoked,
    /// The token's rate limit is used up: 429.
    RateLimited,
    /// We cannot tell: 503, never 401.
    Unavailable,
}

impl DenialReason {
    /// A stable label for metrics, logs and dynamic metadata.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_token",
            Self::Malformed => "malformed_authorization",
            Self::InvalidToken => "invalid_token",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::UseNonce => "use_dpop_nonce",
            Self::NotAnAccessToken => "not_an_access_token",
            Self::Revoked => "revoked",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Missing | Self::Malformed | Self::InvalidToken | Self::InvalidProof | Self::UseNonce => 401,
            Self::NotAnAccessToken | Self::Revoked => 403,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
        }
    }
}

impl Denial {
    fn new(reason: DenialReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after_s: None }
    }
}

impl From<ServiceError> for Denial {
    /// What a failing use case means at this door.
    fn from(error: ServiceError) -> Self {
        match &error {
            ServiceError::Proof(proof) if proof.code() == "use_dpop_nonce" => {
                Self::new(DenialReason::UseNonce, proof.to_string())
            }
            ServiceError::Proof(_) | ServiceError::ProofReplayed => {
                Self::new(DenialReason::InvalidProof, error.to_string())
            }
            ServiceError::Unavailable { retry_after_s, .. } => {
                Self { retry_after_s: Some(*retry_after_s), ..Self::new(DenialReason::Unavailable, error.to_string()) }
            }
            ServiceError::Throttled { retry_after_s } => {
                Self { retry_after_s: Some(*retry_after_s), ..Self::new(DenialReason::RateLimited, error.to_string()) }
            }
            ServiceError::Invalid(_)
            | ServiceError::Scope(_)
            | ServiceError::Target(_)
            | ServiceError::Unauthenticated(_)
            | ServiceError::Forbidden(_)
            | ServiceError::Grant(_)
            | ServiceError::NotFound(_) => Self::new(DenialReason::InvalidToken, error.to_string()),
        }
    }
}

/// An RFC 7662 answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspection(Map<String, Value>);

impl Introspection {
    /// The one answer for every token that is not active, whatever the reason.
    #[must_use]
    pub fn inactive() -> Self {
        Self(Map::from_iter([("active".to_owned(), json!(false))]))
    }

    /// The members.
    #[must_use]
    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

/// How a token was presented.
struct Presented<'a> {
    token: &'a str,
    dpop: bool,
}

impl TokenService {
    /// Decides about one request.
    ///
    /// **Invariants:** a parent or refresh token never passes; a token with `cnf.jkt` passes only under the scheme `DPoP` with
    /// a proof of that key for this method and URI and this token; an unknown state refuses; the proof is used up after every
    /// other check and before the request counts.
    ///
    /// # Errors
    /// [`Denial`].
    pub async fn authorize(&self, request: AuthorizeRequest<'_>) -> Result<Allowed, Denial> {
        let now = self.now();
        let presented = presented(&request)?;
        if refresh_token::looks_like_one(presented.token) {
            return Err(Denial::new(DenialReason::NotAnAccessToken, "expected an access token, found a refresh token"));
        }
        let claims = self.verified(presented.token, now).await?;
        let proof = match (&claims.cnf, presented.dpop, request.proof) {
            (None, false, _) => None,
            (None, true, _) => {
                return Err(Denial::new(
                    DenialReason::InvalidToken,
                    "the token is bound to no key; hint: use the scheme Bearer",
                ));
            }
            (Some(_), false, _) => {
                return Err(Denial::new(
                    DenialReason::InvalidToken,
                    "the token is bound to a key; hint: use the scheme DPoP with a proof",
                ));
            }
            (Some(_), true, None) => {
                return Err(Denial::new(
                    DenialReason::InvalidProof,
                    "expected a DPoP proof beside the bound token, found none",
                ));
            }
            (Some(cnf), true, Some(text)) => {
                let uris: Vec<Htu> = self.uris(request.path);
                let proof = self.check_proof(text, request.method, &uris, Some(presented.token), now)?;
                if proof.jkt().as_str() != cnf.jkt {
                    return Err(Denial::new(
                        DenialReason::InvalidProof,
                        "the DPoP proof is by another key than the token's",
                    ));
                }
                Some(proof)
            }
        };
        let rate = claims.rate_limit.and_then(|limit| self.rate(limit));
        match proof {
            None => self.live(&claims, rate, now).await?,
            Some(proof) => {
                self.live(&claims, None, now).await?;
                self.use_up(&proof, now).await?;
                if rate.is_some() {
                    self.live(&claims, rate, now).await?;
                }
            }
        }
        Ok(Allowed {
            expires: Timestamp::from_second(claims.exp).unwrap_or(now),
            subject: claims.sub,
            user_id: claims.user_id,
            client_id: claims.client_id,
            scope: claims.scope,
            network: claims.network,
            rate_limit: claims.rate_limit,
            session_id: claims.session_id,
            jkt: claims.cnf.map(|cnf| cnf.jkt),
        })
    }

    /// RFC 7662: what is known of a token. A caller without `tokens:read` may ask about its own clients' tokens only; to it, a
    /// foreign token is as inactive as any other.
    ///
    /// # Errors
    /// Our own outages; every other reason is `{"active": false}`.
    pub async fn introspect(&self, caller: &Caller, token: &str) -> Result<Introspection, ServiceError> {
        let now = self.now();
        let reads_all = caller.roles.contains(&crate::caller::Role::Read);
        if refresh_token::looks_like_one(token) {
            return self.introspect_refresh(caller, reads_all, token, now).await;
        }
        let claims = match self.own_claims(token, now).await {
            Ok(claims) => claims,
            Err(TokenProblem::Failed(error)) => return Err(error),
            Err(TokenProblem::Rejected(_)) => return Ok(Introspection::inactive()),
        };
        if !reads_all && claims.client_id.as_deref() != Some(caller.name.as_str()) {
            return Ok(Introspection::inactive());
        }
        match self.live(&claims, None, now).await {
            Ok(()) => {}
            Err(Denial { reason: DenialReason::Unavailable, message, retry_after_s }) => {
                return Err(ServiceError::unavailable("store_unavailable", message, retry_after_s.unwrap_or(1)));
            }
            Err(_) => return Ok(Introspection::inactive()),
        }
        let bound = claims.cnf.is_some();
        let mut members = match serde_json::to_value(&claims) {
            Ok(Value::Object(members)) => members,
            _ => return Ok(Introspection::inactive()),
        };
        for internal in ["ugen", "ep", "sid"] {
            members.remove(internal);
        }
        members.insert("active".to_owned(), json!(true));
        members.insert("token_type".to_owned(), json!(if bound { "DPoP" } else { "Bearer" }));
        Ok(Introspection(members))
    }

    async fn introspect_refresh(
        &self,
        caller: &Caller,
        reads_all: bool,
        token: &str,
        now: Timestamp,
    ) -> Result<Introspection, ServiceError> {
        let Some(presented) = self.vault.open(token) else { return Ok(Introspection::inactive()) };
        let family = match self.store.load(&presented.family(), now).await? {
            Ok(Loaded { family, .. }) => family,
            Err(Dead::Unknown | Dead::Expired | Dead::Revoked | Dead::UserRevoked) => {
                return Ok(Introspection::inactive());
            }
        };
        if !reads_all && family.client != caller.name {
            return Ok(Introspection::inactive());
        }
        // Whether it is the live one of its family is the refresh decision's to say; asking must not decide it.
        let mut members = Map::from_iter([
            ("active".to_owned(), json!(true)),
            ("iss".to_owned(), json!(self.rules.issuer)),
            ("sub".to_owned(), json!(family.user)),
            ("client_id".to_owned(), json!(family.client)),
            ("iat".to_owned(), json!(family.created.as_second())),
            ("exp".to_owned(), json!(family.expires.as_second())),
            ("token_type".to_owned(), json!("refresh_token")),
        ]);
        if !family.scopes.is_empty() {
            members.insert("scope".to_owned(), json!(family.scopes.join(" ")));
        }
        if let Some(jkt) = &family.jkt {
            members.insert("cnf".to_owned(), json!({ "jkt": jkt }));
        }
        Ok(Introspection(members))
    }

    /// The claims of an access token, or why it is none.
    async fn verified(&self, token: &str, now: Timestamp) -> Result<TokenClaims, Denial> {
        match self.claims(token, now).await {
            Ok(claims) => Ok(claims),
            Err(TokenProblem::Failed(error)) => Err(error.into()),
            Err(TokenProblem::Rejected(problem)) => match self.parent_claims(token, now).await {
                Ok(_) => {
                    Err(Denial::new(DenialReason::NotAnAccessToken, "expected an access token, found a parent token"))
                }
                Err(TokenProblem::Failed(error)) => Err(error.into()),
                Err(TokenProblem::Rejected(_)) => Err(Denial::new(DenialReason::InvalidToken, problem)),
            },
        }
    }

    async fn claims(&self, token: &str, now: Timestamp) -> Result<TokenClaims, TokenProblem> {
        let rules = &self.rules;
        let verified =
            self.keys.verify(token, &rules.issuer, &rules.audiences, &ACCESS_TYPES, rules.leeway_s, now).await?;
        access(read(verified.into_inner())?)
    }

    /// The claims of an access token of this service, whoever it is for.
    pub(super) async fn own_claims(&self, token: &str, now: Timestamp) -> Result<TokenClaims, TokenProblem> {
        let rules = &self.rules;
        let verified = self.keys.verify_own(token, &rules.issuer, &ACCESS_TYPES, rules.leeway_s, now).await?;
        access(read(verified.into_inner())?)
    }

    /// The claims of a parent token.
    pub(super) async fn parent_claims(&self, token: &str, now: Timestamp) -> Result<TokenClaims, TokenProblem> {
        let rules = &self.rules;
        let own = std::slice::from_ref(&rules.issuer);
        let verified = self.keys.verify(token, &rules.issuer, own, &[PARENT_TYP], rules.leeway_s, now).await?;
        let claims = read(verified.into_inner())?;
        if claims.token_type.as_deref() == Some("parent") {
            Ok(claims)
        } else {
            Err(TokenProblem::Rejected("the token's token_type is not parent".to_owned()))
        }
    }

    /// Refuses a token that the store does not hold for live.
    async fn live(&self, claims: &TokenClaims, rate: Option<Rate>, now: Timestamp) -> Result<(), Denial> {
        let unknown = || Denial::new(DenialReason::InvalidToken, "the token is not known here; hint: get a new one");
        let jti: TokenId = claims.jti.parse().map_err(|_| unknown())?;
        let epoch = claims.ep.parse().map_err(|_| unknown())?;
        let user = UserKey::of(&claims.sub);
        let standing = Standing { epoch, generation: claims.ugen };
        let check = Check { user: &user, standing, jti, family: claims.family(), rate };
        let verdict = self.store.check(&check, now).await.map_err(|error| Denial::from(ServiceError::from(error)))?;
        let revoked = |what| Err(Denial::new(DenialReason::Revoked, what));
        match verdict {
            Verdict::Live => Ok(()),
            Verdict::RevokedToken => revoked("Token has been revoked"),
            Verdict::RevokedParent => revoked("Parent token has been revoked"),
            Verdict::RevokedUser => revoked("The user's tokens have been revoked"),
            Verdict::Unknown => Err(unknown()),
            Verdict::Limited { retry_after_s } => Err(Denial {
                retry_after_s: Some(retry_after_s),
                ..Denial::new(
                    DenialReason::RateLimited,
                    "the token's rate limit is used up; hint: ask again after the pause",
                )
            }),
        }
    }

    fn rate(&self, limit: u32) -> Option<Rate> {
        Some(Rate { limit: NonZeroU32::new(limit)?, window_s: NonZeroU32::new(self.rules.rate_window_s)? })
    }
}

/// `typ` of access tokens.
const ACCESS_TYPES: [&str; 2] = [ACCESS_TYP, OAUTH_ACCESS_TYP];

fn access(claims: TokenClaims) -> Result<TokenClaims, TokenProblem> {
    if claims.token_type.as_deref() == Some("parent") {
        return Err(TokenProblem::Rejected("a parent token is no access token".to_owned()));
    }
    Ok(claims)
}

fn read(members: Map<String, Value>) -> Result<TokenClaims, TokenProblem> {
    serde_json::from_value(Value::Object(members))
        .map_err(|_| TokenProblem::Rejected("its claims are not those of this service's tokens".to_owned()))
}

fn presented<'a>(request: &AuthorizeRequest<'a>) -> Result<Presented<'a>, Denial> {
    if let Some(token) = request.autonity_token {
        let token = token.trim_matches(' ');
        if token.is_empty() {
            return Err(Denial::new(DenialReason::Malformed, "Empty Autonity-Token header"));
        }
        return Ok(Presented { token, dpop: false });
    }
    let Some(authorization) = request.authorization else {
        return Err(Denial::new(DenialReason::Missing, "Missing Authorization header"));
    };
    let malformed = || Denial::new(DenialReason::Malformed, "Expected 'Bearer <token>' or 'DPoP <token>'");
    let (scheme, token) = authorization.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim_matches(' ');
    if token.is_empty() || token.contains([' ', ',']) {
        return Err(malformed());
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Presented { token, dpop: false })
    } else if scheme.eq_ignore_ascii_case("dpop") {
        Ok(Presented { token, dpop: true })
    } else {
        Err(malformed())
    }
}
