//! Minting: tokens, parents with children, sessions, clients.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::orders::{extra, plain_subject, text};
use super::{ClientOrder, PairOrder, ServiceError, SessionOrder, SubjectForm, TokenOrder, TokenService, add};
use crate::caller::Caller;
use crate::refresh_token::RefreshToken;
use crate::store::{Child, Family, FamilyKind, Opened, Standing, TokenId, UserKey};
use crate::tokens::{ACCESS_TYP, OAUTH_ACCESS_TYP, PARENT_TYP, Subject, TokenClaims, Use};

/// Attempts to open a family while the user is being revoked at the same moment.
const OPEN_ATTEMPTS: usize = 3;

/// A signed token and what its bearer is told about it.
#[derive(Clone)]
pub struct IssuedToken {
    /// The token.
    pub token: Zeroizing<String>,
    /// Its `jti`.
    pub id: TokenId,
    /// Its `exp`.
    pub expires: Timestamp,
    /// Seconds it lives.
    pub expires_in_s: u64,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Its proof key's thumbprint.
    pub jkt: Option<String>,
    /// The key that signed.
    pub kid: String,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("id", &self.id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A parent, and its first child where asked.
#[derive(Debug)]
pub struct ParentAndChild {
    /// The parent: opens `/renew`, `/tokens/latest` and `/tokens/stream`, and no API.
    pub parent: IssuedToken,
    /// The child.
    pub child: Option<IssuedToken>,
}

/// An access token and the refresh token that gets the next one.
#[derive(Debug)]
pub struct IssuedPair {
    /// The access token.
    pub access: IssuedToken,
    /// The refresh token; `None` when none was wanted.
    pub refresh: Option<RefreshToken>,
    /// When the family ends.
    pub refresh_expires: Option<Timestamp>,
}

impl TokenService {
    /// `POST /tokens`: one access token for a user.
    ///
    /// # Errors
    /// [`ServiceError`] for an order beyond the caller's policy, and while store or keys cannot be had.
    pub async fn issue_token(&self, caller: &Caller, order: &TokenOrder) -> Result<IssuedToken, ServiceError> {
        let now = self.now();
        let subject = self.user_subject(caller, order)?;
        let lifetime_s = self.lifetime(caller, "expires_in", order.lifetime_s, self.rules.plain_ttl_s)?;
        let user = UserKey::of(&subject.subject);
        let standing = self.standing(&user, add(now, lifetime_s), now).await?;
        self.mint(&subject, Use::Plain, ACCESS_TYP, self.token_id(&user), None, &standing, lifetime_s, now).await
    }

    /// `POST /token-pairs`: a parent, and a first child where asked.
    ///
    /// # Errors
    /// As [`TokenService::issue_token`].
    pub async fn issue_parent(&self, caller: &Caller, order: &PairOrder) -> Result<ParentAndChild, ServiceError> {
        let now = self.now();
        let subject = self.user_subject(caller, &order.token)?;
        let lifetime_s = self.lifetime(caller, "parent_expires_in", order.token.lifetime_s, self.rules.parent_ttl_s)?;
        let child_s =
            self.lifetime(caller, "child_expires_in", order.child_lifetime_s, self.rules.child_ttl_s)?.min(lifetime_s);
        let user = UserKey::of(&subject.subject);
        for _ in 0..OPEN_ATTEMPTS {
            let standing = self.standing(&user, add(now, lifetime_s), now).await?;
            let family = self.family(
                FamilyKind::Parent,
                self.token_id(&user),
                caller,
                &subject,
                &standing,
                lifetime_s,
                child_s,
                now,
            );
            let parent =
                self.mint(&subject, Use::Parent, PARENT_TYP, family.id, None, &standing, lifetime_s, now).await?;
            let child = if order.include_child { Some(self.child(&family, now).await?) } else { None };
            if self.store.open(&family, None, now).await? == Opened::Stale {
                continue;
            }
            if let Some(child) = &child {
                // The child is the latest from the start, so that the first poll finds it and no second one is minted.
                let first = Child { id: child.id, issued: now, expires: child.expires, seq: 1 };
                self.store.renew(&family.id, &first, 0, now).await?;
            }
            return Ok(ParentAndChild { parent, child });
        }
        Err(ServiceError::unavailable("store_unavailable", "the user is being revoked again and again", 1))
    }

    /// `GenerateTokens`: an access token with a refresh token.
    ///
    /// # Errors
    /// As [`TokenService::issue_token`].
    pub async fn issue_session(&self, caller: &Caller, order: &SessionOrder) -> Result<IssuedPair, ServiceError> {
        let subject_text = self.subject(SubjectForm::Verbatim, &order.user_id)?;
        Self::admits(caller, &order.user_id)?;
        extra(&order.extra)?;
        if let Some(session) = &order.session_id {
            text("session_id", session)?;
        }
        let subject = Subject {
            session_id: order.session_id.clone(),
            scopes: Self::scopes(caller, &order.scopes)?,
            jkt: order.jkt.clone(),
            extra: order.extra.clone(),
            client_id: Some(caller.name.clone()),
            ..plain_subject(subject_text, self.audience(caller, &order.audience)?)
        };
        let access_s =
            self.lifetime(caller, "access_token_ttl_seconds", order.access_lifetime_s, self.rules.access_ttl_s)?;
        let refresh_s =
            self.lifetime(caller, "refresh_token_ttl_seconds", order.refresh_lifetime_s, self.rules.refresh_ttl_s)?;
        self.open_session(caller, &subject, ACCESS_TYP, access_s, refresh_s).await
    }

    /// `grant_type=client_credentials`: a token about the client itself.
    ///
    /// # Errors
    /// As [`TokenService::issue_token`].
    pub async fn issue_client(&self, caller: &Caller, order: &ClientOrder) -> Result<IssuedPair, ServiceError> {
        let now = self.now();
        let subject = Subject {
            client_id: Some(caller.name.clone()),
            scopes: Self::scopes(caller, &order.scopes)?,
            jkt: order.jkt.clone(),
            ..plain_subject(caller.name.clone(), self.audience(caller, &order.audience)?)
        };
        let lifetime_s = self.lifetime(caller, "expires_in", None, self.rules.access_ttl_s)?;
        if order.refresh {
            let refresh_s = self.lifetime(caller, "expires_in", None, self.rules.refresh_ttl_s)?;
            return self.open_session(caller, &subject, OAUTH_ACCESS_TYP, lifetime_s, refresh_s).await;
        }
        let user = UserKey::of(&subject.subject);
        let standing = self.standing(&user, add(now, lifetime_s), now).await?;
        let id = self.token_id(&user);
        let access = self.mint(&subject, Use::Access, OAUTH_ACCESS_TYP, id, None, &standing, lifetime_s, now).await?;
        Ok(IssuedPair { access, refresh: None, refresh_expires: None })
    }

    async fn open_session(
        &self,
        caller: &Caller,
        subject: &Subject,
        typ: &str,
        access_s: u64,
        refresh_s: u64,
    ) -> Result<IssuedPair, ServiceError> {
        let now = self.now();
        let user = UserKey::of(&subject.subject);
        for _ in 0..OPEN_ATTEMPTS {
            let standing = self.standing(&user, add(now, refresh_s), now).await?;
            let id = self.token_id(&user);
            let family = self.family(FamilyKind::Refresh, id, caller, subject, &standing, refresh_s, access_s, now);
            let access = self
                .mint(subject, Use::Access, typ, self.token_id(&user), Some(&family), &standing, access_s, now)
                .await?;
            let refresh = self.vault.mint(family.id, &self.random());
            if self.store.open(&family, Some(refresh.hash()), now).await? == Opened::Open {
                return Ok(IssuedPair { access, refresh: Some(refresh), refresh_expires: Some(family.expires) });
            }
        }
        Err(ServiceError::unavailable("store_unavailable", "the user is being revoked again and again", 1))
    }

    fn user_subject(&self, caller: &Caller, order: &TokenOrder) -> Result<Subject, ServiceError> {
        let subject = self.subject(SubjectForm::Prefixed, &order.user_id)?;
        Self::admits(caller, &order.user_id)?;
        let network =
            order.network.clone().filter(|network| !network.is_empty()).unwrap_or_else(|| "default".to_owned());
        text("network", &network)?;
        Ok(Subject {
            user_id: Some(order.user_id.clone()),
            network: Some(network),
            rate_limit: Some(order.rate_limit.filter(|limit| *limit > 0).unwrap_or(self.rules.default_rate_limit)),
            scopes: Self::scopes(caller, &order.scopes)?,
            jkt: order.jkt.clone(),
            ..plain_subject(subject, self.audience(caller, &order.audience)?)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "a family is all of these at one moment")]
    fn family(
        &self,
        kind: FamilyKind,
        id: TokenId,
        caller: &Caller,
        subject: &Subject,
        standing: &Standing,
        lifetime_s: u64,
        access_ttl_s: u64,
        now: Timestamp,
    ) -> Family {
        Family {
            id,
            user: subject.subject.clone(),
            kind,
            client: caller.name.clone(),
            scopes: subject.scopes.clone(),
            audience: subject.audience.clone(),
            session_id: subject.session_id.clone(),
            network: subject.network.clone(),
            rate_limit: subject.rate_limit,
            extra: subject.extra.clone(),
            access_ttl_s,
            jkt: subject.jkt.clone(),
            renews: kind == FamilyKind::Parent,
            created: now,
            expires: add(now, lifetime_s),
            standing: *standing,
        }
    }

    /// A child of `family`, signed now.
    pub(super) async fn child(&self, family: &Family, now: Timestamp) -> Result<IssuedToken, ServiceError> {
        let id = self.token_id(&UserKey::of(&family.user));
        self.child_as(family, id, now).await
    }

    /// The child of `family` that has `id` and was issued at `issued`.
    pub(super) async fn child_as(
        &self,
        family: &Family,
        id: TokenId,
        issued: Timestamp,
    ) -> Result<IssuedToken, ServiceError> {
        let subject = of_family(family, family.scopes.clone());
        self.mint(&subject, Use::Child, ACCESS_TYP, id, Some(family), &family.standing, family.access_ttl_s, issued)
            .await
    }

    #[expect(clippy::too_many_arguments, reason = "each is one registered claim")]
    pub(super) async fn mint(
        &self,
        subject: &Subject,
        purpose: Use,
        typ: &str,
        id: TokenId,
        family: Option<&Family>,
        standing: &Standing,
        lifetime_s: u64,
        now: Timestamp,
    ) -> Result<IssuedToken, ServiceError> {
        let claims = TokenClaims::new(&self.rules.issuer, subject, purpose, &id, family, standing, lifetime_s, now);
        let json = serde_json::to_vec(&claims).map_err(|error| ServiceError::unavailable("claims", error, 1))?;
        let expires_in_s = u64::try_from(claims.exp.saturating_sub(claims.iat)).unwrap_or_default();
        let signed = self.keys.sign(typ, &json, expires_in_s, self.now()).await?;
        Ok(IssuedToken {
            token: Zeroizing::new(signed.token.into_string()),
            id,
            expires: Timestamp::from_second(claims.exp).unwrap_or(now),
            expires_in_s,
            scopes: subject.scopes.clone(),
            jkt: subject.jkt.clone(),
            kid: signed.kid,
        })
    }
}

/// The subject of a family's tokens, with these scopes of it.
pub(super) fn of_family(family: &Family, scopes: Vec<String>) -> Subject {
    Subject {
        subject: family.user.clone(),
        audience: family.audience.clone(),
        // Parents are opened by the HTTP door, whose subjects are `user_<user_id>`; sessions carry their client.
        user_id: match family.kind {
            FamilyKind::Parent => family.user.strip_prefix("user_").map(str::to_owned),
            FamilyKind::Refresh => None,
        },
        session_id: family.session_id.clone(),
        network: family.network.clone(),
        rate_limit: family.rate_limit,
        client_id: (family.kind == FamilyKind::Refresh).then(|| family.client.clone()),
        scopes,
        jkt: family.jkt.clone(),
        extra: family.extra.clone(),
    }
}
