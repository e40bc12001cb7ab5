//! Children: on request (`/renew`), the latest one (`/tokens/latest`, `/tokens/stream`), and the worker that renews.

use jiff::Timestamp;
use tracing::{debug, warn};

use super::refresh::problem;
use super::{GrantProblem, IssuedToken, ProofContext, ServiceError, TokenService};
use crate::keys::TokenProblem;
use crate::store::{Child, Dead, Family, Loaded, RenewOutcome, TokenId, UserKey};

/// How many families one round of the worker takes.
const ROUND: usize = 256;

/// The newest child of a family, signed for the one who asked.
#[derive(Debug)]
pub struct LatestChild {
    /// The token.
    pub child: IssuedToken,
    /// When it was minted.
    pub renewed: Timestamp,
    /// Its number within the family, from 1: the event's id.
    pub seq: u64,
}

impl TokenService {
    /// The family that a presented parent opens: verified, live, and proven where it is bound.
    ///
    /// # Errors
    /// [`ServiceError::Grant`] for a token that is no live parent, [`ServiceError::Proof`] for a bad proof, our outages.
    pub async fn open_parent(&self, token: &str, context: ProofContext<'_>) -> Result<Family, ServiceError> {
        let now = self.now();
        let claims = match self.parent_claims(token, now).await {
            Ok(claims) => claims,
            Err(TokenProblem::Failed(error)) => return Err(error),
            Err(TokenProblem::Rejected(_)) => return Err(ServiceError::Grant(GrantProblem::Invalid)),
        };
        let proof = match (&claims.cnf, context.proof) {
            (None, _) => None,
            (Some(_), None) => return Err(ServiceError::Grant(GrantProblem::Unproven)),
            (Some(cnf), Some(text)) => {
                let uris = self.uris(context.path);
                let proof = self.check_proof(text, context.method, &uris, Some(token), now)?;
                if proof.jkt().as_str() != cnf.jkt {
                    return Err(ServiceError::Grant(GrantProblem::Unproven));
                }
                Some(proof)
            }
        };
        let id: TokenId = claims.jti.parse().map_err(|_| ServiceError::Grant(GrantProblem::Invalid))?;
        let Loaded { family, .. } =
            self.store.load(&id, now).await?.map_err(|dead| ServiceError::Grant(problem(dead)))?;
        if family.standing.generation != claims.ugen || family.standing.epoch.to_string() != claims.ep {
            return Err(ServiceError::Grant(GrantProblem::Invalid));
        }
        if let Some(proof) = proof {
            self.use_up(&proof, now).await?;
        }
        Ok(family)
    }

    /// `POST /renew`: a fresh child of a presented parent.
    ///
    /// # Errors
    /// As [`TokenService::open_parent`].
    pub async fn renew(&self, token: &str, context: ProofContext<'_>) -> Result<IssuedToken, ServiceError> {
        let family = self.open_parent(token, context).await?;
        self.child(&family, self.now()).await
    }

    /// Whether a text that is no live parent is one of this service's other tokens: told to its bearer only.
    pub async fn is_access_token(&self, token: &str) -> bool {
        self.own_claims(token, self.now()).await.is_ok()
    }

    /// A fresh child of a family that [`TokenService::open_parent`] has opened.
    ///
    /// # Errors
    /// Our outages.
    pub async fn fresh_child(&self, family: &Family) -> Result<IssuedToken, ServiceError> {
        self.child(family, self.now()).await
    }

    /// The newest child of a family that [`TokenService::open_parent`] has opened; renewed first when it is due.
    ///
    /// # Errors
    /// [`ServiceError::Grant`] once the family is dead, our outages.
    pub async fn latest(&self, family: &Family) -> Result<LatestChild, ServiceError> {
        let child = self.newest(family).await?;
        self.signed(family, child).await
    }

    /// Which child is the newest, unsigned: what a stream asks again and again. Renewed first when it is due.
    ///
    /// # Errors
    /// As [`TokenService::latest`].
    pub async fn newest(&self, family: &Family) -> Result<Child, ServiceError> {
        let now = self.now();
        self.renew_if_due(family, now).await?.map_err(|dead| ServiceError::Grant(problem(dead)))
    }

    /// The token of a child that [`TokenService::newest`] has found.
    ///
    /// # Errors
    /// Our outages.
    pub async fn signed(&self, family: &Family, child: Child) -> Result<LatestChild, ServiceError> {
        let signed = self.child_as(family, child.id, child.issued).await?;
        Ok(LatestChild { child: signed, renewed: child.issued, seq: child.seq })
    }

    /// One round of the renewal worker, which any replica may run: mints what is due and returns how many it minted.
    ///
    /// # Errors
    /// When the store cannot be asked what is due; a single family's failure is logged and the round goes on.
    pub async fn renew_due(&self) -> Result<usize, ServiceError> {
        let now = self.now();
        let mut renewed = 0;
        for id in self.store.due(now, ROUND).await? {
            let family = match self.store.load(&id, now).await {
                Ok(Ok(Loaded { family, .. })) => family,
                Ok(Err(dead)) => {
                    debug!(family = %id, ?dead, "a family is no longer renewed");
                    continue;
                }
                Err(error) => {
                    warn!(family = %id, %error, "a family could not be renewed in this round");
                    continue;
                }
            };
            match self.renew_if_due(&family, now).await {
                Ok(_) => renewed += 1,
                Err(error) => warn!(family = %id, %error, "a family could not be renewed in this round"),
            }
        }
        Ok(renewed)
    }

    async fn renew_if_due(&self, family: &Family, now: Timestamp) -> Result<Result<Child, Dead>, ServiceError> {
        let expires = super::add(now, family.access_ttl_s).min(family.expires);
        let next = Child { id: self.token_id(&UserKey::of(&family.user)), issued: now, expires, seq: 0 };
        // A family whose children live no longer than the threshold would renew at every look.
        let threshold_s = self.rules.renew_threshold_s.min(family.access_ttl_s / 2);
        match self.store.renew(&family.id, &next, threshold_s, now).await? {
            RenewOutcome::Renewed(child) | RenewOutcome::NotDue(child) => Ok(Ok(child)),
            RenewOutcome::Dead(dead) => Ok(Err(dead)),
        }
    }
}
