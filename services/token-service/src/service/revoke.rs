//! Revocation: of a token, of a family, of all that a user has.

use super::{ServiceError, SubjectForm, TokenService, add};
use crate::caller::{Caller, Role};
use crate::refresh_token;
use crate::store::{Loaded, Revoked, Target, TokenId, UserKey};

impl TokenService {
    /// `DELETE /tokens/{id}`: revokes one token; a parent with all that came from it.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] without the role, [`ServiceError::Invalid`] for a text that is no token id, and our
    /// outages. An id that nobody knows is no error.
    pub async fn revoke_id(&self, caller: &Caller, id: &str) -> Result<Revoked, ServiceError> {
        caller.require(Role::Revoke)?;
        let id: TokenId = id.parse().map_err(|_| {
            ServiceError::Invalid("token id: expected a token's jti (a UUID), found another text".to_owned())
        })?;
        self.revoke_token_id(id).await
    }

    /// `DELETE /users/{id}/tokens`, `RevokeAllUserTokens`: all tokens and families that the user has now, of either door.
    ///
    /// # Errors
    /// As [`TokenService::revoke_id`].
    pub async fn revoke_user(&self, caller: &Caller, user_id: &str) -> Result<(), ServiceError> {
        caller.require(Role::Revoke)?;
        let now = self.now();
        let until = self.longest(now);
        let prefixed = self.subject(SubjectForm::Prefixed, user_id)?;
        for subject in [prefixed.as_str(), user_id] {
            self.store.revoke(&Target::User(UserKey::of(subject)), until, now).await?;
        }
        Ok(())
    }

    /// RFC 7009, `RevokeToken`: revokes a presented token. A refresh token takes its family along, whatever the hint says; a
    /// text that is no token of this service is no error, as the RFC wants. A caller without `tokens:revoke` may revoke what
    /// was minted for it.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`] for another client's token, and our outages.
    pub async fn revoke_token(&self, caller: &Caller, token: &str) -> Result<(), ServiceError> {
        let now = self.now();
        let revokes_all = caller.roles.contains(&Role::Revoke);
        if refresh_token::looks_like_one(token) {
            let Some(presented) = self.vault.open(token) else { return Ok(()) };
            if !revokes_all {
                let Ok(Loaded { family, .. }) = self.store.load(&presented.family(), now).await? else { return Ok(()) };
                owned(caller, Some(&family.client))?;
            }
            self.store.revoke(&Target::Family(presented.family()), self.longest(now), now).await?;
            return Ok(());
        }
        let Some((id, client)) = self.any_token(token, now).await? else { return Ok(()) };
        if !revokes_all {
            owned(caller, client.as_deref())?;
        }
        self.revoke_token_id(id).await?;
        Ok(())
    }

    /// The id and client of a token of this service that has not expired, be it an access or a parent token.
    async fn any_token(
        &self,
        token: &str,
        now: jiff::Timestamp,
    ) -> Result<Option<(TokenId, Option<String>)>, ServiceError> {
        use crate::keys::TokenProblem;
        let claims = match self.own_claims(token, now).await {
            Ok(claims) => Some(claims),
            Err(TokenProblem::Failed(error)) => return Err(error),
            Err(TokenProblem::Rejected(_)) => match self.parent_claims(token, now).await {
                Ok(claims) => Some(claims),
                Err(TokenProblem::Failed(error)) => return Err(error),
                Err(TokenProblem::Rejected(_)) => None,
            },
        };
        Ok(claims.and_then(|claims| Some((claims.jti.parse().ok()?, claims.client_id))))
    }

    async fn revoke_token_id(&self, id: TokenId) -> Result<Revoked, ServiceError> {
        let now = self.now();
        Ok(self.store.revoke(&Target::Token(id), self.longest(now), now).await?)
    }

    /// When everything that was minted before `now` has expired by every clock.
    fn longest(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        add(now, self.rules.most_ttl_s + self.rules.leeway_s + 2 * self.rules.skew_s)
    }
}

fn owned(caller: &Caller, client: Option<&str>) -> Result<(), ServiceError> {
    if client == Some(caller.name.as_str()) {
        return Ok(());
    }
    Err(ServiceError::Forbidden("the caller may only revoke tokens that were minted for it".to_owned()))
}
