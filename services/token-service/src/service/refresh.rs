//! Refreshing: one use of a refresh token, and what comes of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use token_jose::sha256;
use tracing::warn;
use zeroize::Zeroizing;

use super::issue::of_family;
use super::{GrantProblem, IssuedPair, IssuedToken, ServiceError, TokenService};
use crate::caller::Caller;
use crate::refresh_token::RefreshToken;
use crate::store::{Dead, Family, FamilyKind, Loaded, Presented, Proposal, RefreshOutcome, TokenId, UserKey};
use crate::tokens::Use;

/// One use of a refresh token.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRequest<'a> {
    /// The token as presented.
    pub token: &'a str,
    /// The authenticated client.
    pub caller: &'a Caller,
    /// Scopes asked for; the family's when empty. Never more than those.
    pub scopes: &'a [String],
    /// Thumbprint of the key whose proof came along.
    pub jkt: Option<&'a str>,
    /// `typ` of the access token.
    pub typ: &'static str,
}

/// The answer as it is kept for a retry.
#[derive(Serialize, Deserialize)]
struct Answer {
    access: String,
    id: String,
    expires: i64,
    refresh: String,
    kid: String,
    scopes: Vec<String>,
}

impl TokenService {
    /// `RefreshTokens`, `grant_type=refresh_token`: the next pair.
    ///
    /// The family is looked up, the next pair is made and signed, and then one step of the store decides: it commits the new
    /// pair, gives the former answer again, or revokes. A failed signature changes nothing.
    ///
    /// # Errors
    /// [`ServiceError::Grant`] when the token does not work, [`ServiceError::Scope`] when more is asked for than the family
    /// has, and our own outages.
    pub async fn refresh(&self, request: RefreshRequest<'_>) -> Result<IssuedPair, ServiceError> {
        let now = self.now();
        let presented = self.vault.open(request.token).ok_or(ServiceError::Grant(GrantProblem::Invalid))?;
        let loaded = self.store.load(&presented.family(), now).await?;
        let Loaded { family, .. } = loaded.map_err(|dead| ServiceError::Grant(problem(dead)))?;
        if family.kind != FamilyKind::Refresh {
            return Err(ServiceError::Grant(GrantProblem::Invalid));
        }
        if family.jkt.is_some() && request.jkt.is_none() {
            // Nobody has shown to be the holder: refused, and no evidence of a theft.
            return Err(ServiceError::Grant(GrantProblem::Unproven));
        }
        let scopes = narrowed(&family, request.scopes)?;
        let asked = Presented {
            family: presented.family(),
            hash: presented.hash(),
            client: &request.caller.name,
            jkt: request.jkt.filter(|_| family.jkt.is_some()),
            scope: sha256(scopes.join(" ").as_bytes()),
            may_reanswer: true,
        };
        // A token that is not the live one needs no signature: the store answers or revokes at once.
        match self.store.refresh(&asked, None, now).await? {
            RefreshOutcome::Current => {}
            settled => return self.settled(settled, &presented, &family, None),
        }
        let access = self.next_access(&family, scopes.clone(), request.typ, now).await?;
        let refresh = self.vault.mint(family.id, &self.random());
        let answer = Answer {
            access: access.token.to_string(),
            id: access.id.to_string(),
            expires: access.expires.as_second(),
            refresh: refresh.as_str().to_owned(),
            kid: access.kid.clone(),
            scopes,
        };
        let plain =
            Zeroizing::new(serde_json::to_vec(&answer).map_err(|error| ServiceError::unavailable("claims", error, 1))?);
        let sealed = self
            .vault
            .seal(&presented, &plain, self.random())
            .ok_or_else(|| ServiceError::unavailable("seal", "the answer could not be sealed", 1))?;
        let proposal = Proposal { next: refresh.hash(), access: access.id, sealed };
        let outcome = self.store.refresh(&asked, Some(&proposal), now).await?;
        let pair = IssuedPair { access, refresh: Some(refresh), refresh_expires: Some(family.expires) };
        self.settled(outcome, &presented, &family, Some(pair))
    }

    fn settled(
        &self,
        outcome: RefreshOutcome,
        presented: &RefreshToken,
        family: &Family,
        made: Option<IssuedPair>,
    ) -> Result<IssuedPair, ServiceError> {
        match outcome {
            RefreshOutcome::Rotated => {
                made.ok_or_else(|| ServiceError::unavailable("store_unavailable", "a rotation without a proposal", 1))
            }
            RefreshOutcome::ReAnswer { sealed } => self.reopen(&sealed, presented, family),
            RefreshOutcome::Theft => {
                warn!(
                    event = "REPLAY_ATTACK_DETECTED",
                    family = %family.id,
                    client = %family.client,
                    "a refresh token was used twice; its family is revoked"
                );
                Err(ServiceError::Grant(GrantProblem::Reused))
            }
            RefreshOutcome::Dead(dead) => Err(ServiceError::Grant(problem(dead))),
            RefreshOutcome::Current => {
                Err(ServiceError::unavailable("store_unavailable", "a proposal that was not committed", 1))
            }
        }
    }

    fn reopen(&self, sealed: &[u8], presented: &RefreshToken, family: &Family) -> Result<IssuedPair, ServiceError> {
        let failed = || ServiceError::unavailable("seal", "the former answer could not be opened", 1);
        let plain = self.vault.unseal(presented, sealed).ok_or_else(failed)?;
        let answer: Answer = serde_json::from_slice(&plain).map_err(|_| failed())?;
        let expires = Timestamp::from_second(answer.expires).map_err(|_| failed())?;
        let left = expires.as_second().saturating_sub(self.now().as_second());
        let access = IssuedToken {
            token: Zeroizing::new(answer.access),
            id: answer.id.parse().map_err(|_| failed())?,
            expires,
            expires_in_s: u64::try_from(left).unwrap_or_default(),
            scopes: answer.scopes,
            jkt: family.jkt.clone(),
            kid: answer.kid,
        };
        let refresh = self.vault.open(&answer.refresh).ok_or_else(failed)?;
        Ok(IssuedPair { access, refresh: Some(refresh), refresh_expires: Some(family.expires) })
    }

    async fn next_access(
        &self,
        family: &Family,
        scopes: Vec<String>,
        typ: &str,
        now: Timestamp,
    ) -> Result<IssuedToken, ServiceError> {
        let id: TokenId = self.token_id(&UserKey::of(&family.user));
        let subject = of_family(family, scopes);
        self.mint(&subject, Use::Access, typ, id, Some(family), &family.standing, family.access_ttl_s, now).await
    }
}

/// The scopes asked for, all of them the family's; the family's when none is asked for.
fn narrowed(family: &Family, asked: &[String]) -> Result<Vec<String>, ServiceError> {
    if asked.iter().any(|scope| !family.scopes.contains(scope)) {
        return Err(ServiceError::Scope("expected scopes that were granted at first, found another".to_owned()));
    }
    let kept = family.scopes.iter().filter(|scope| asked.is_empty() || asked.contains(scope));
    Ok(kept.cloned().collect())
}

pub(super) fn problem(dead: Dead) -> GrantProblem {
    match dead {
        Dead::Unknown => GrantProblem::Invalid,
        Dead::Expired => GrantProblem::Expired,
        Dead::Revoked | Dead::UserRevoked => GrantProblem::Revoked,
    }
}
