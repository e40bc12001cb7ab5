//! What both token services do, in neither's messages.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Door;
use super::call::Call;
use super::status::Problem;
use crate::caller::Role;
use crate::keys::RotationProblem;
use crate::service::{IssuedPair, RefreshRequest, ServiceError, SessionOrder};
use crate::tokens::ACCESS_TYP;

/// `TokenPairResponse`, under each name that it has.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) expires_at: i64,
    pub(super) token_type: String,
}

/// The fields of an order that both services have.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) user_id: String,
    pub(super) session_id: String,
    pub(super) scopes: Vec<String>,
    pub(super) custom_claims: HashMap<String, String>,
    pub(super) access_token_ttl_seconds: i32,
    pub(super) refresh_token_ttl_seconds: i32,
    pub(super) audience: Vec<String>,
    pub(super) dpop_proof: String,
}

/// A proof and the request that it came with; empty means absent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) proof: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) access_token: String,
    pub(super) nonce: String,
}

impl Door {
    pub(super) async fn generate(&self, call: &mut Call, order: Order) -> Result<Pair, Problem> {
        let caller = call.caller(self).await?;
        call.decision.subject(&order.user_id);
        let mut session = SessionOrder {
            access_lifetime_s: lifetime("access_token_ttl_seconds", order.access_token_ttl_seconds)?,
            refresh_lifetime_s: lifetime("refresh_token_ttl_seconds", order.refresh_token_ttl_seconds)?,
            user_id: order.user_id,
            session_id: Some(order.session_id).filter(|session| !session.is_empty()),
            scopes: order.scopes,
            extra: order
                .custom_claims
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect::<BTreeMap<_, _>>(),
            audience: order.audience,
            jkt: None,
        };
        call.may_mint(self, &caller)?;
        session.jkt = call.binding(self, &order.dpop_proof).await?;
        let pair = self.service().issue_session(&caller, &session).await?;
        self.minted(call, pair).await
    }

    pub(super) async fn refreshed(
        &self,
        call: &mut Call,
        token: &str,
        scopes: &[String],
        proof: &str,
    ) -> Result<Pair, Problem> {
        let caller = call.caller(self).await?;
        if token.is_empty() {
            return Err(ServiceError::Invalid("refresh_token is required".to_owned()).into());
        }
        call.may_mint(self, &caller)?;
        let jkt = call.binding(self, proof).await?;
        let request = RefreshRequest { token, caller: &caller, scopes, jkt: jkt.as_deref(), typ: ACCESS_TYP };
        let outcome = self.service().refresh(request).await;
        self.observe().refreshed(outcome.as_ref().map(|_| ()));
        self.minted(call, outcome?).await
    }

    async fn minted(&self, call: &mut Call, pair: IssuedPair) -> Result<Pair, Problem> {
        call.decision.token(&pair.access);
        self.observe().issued_pair(&pair, self.service().keys().algorithm(self.service().now()).await);
        let token_type = if pair.access.jkt.is_some() { "DPoP" } else { "Bearer" };
        Ok(Pair {
            access_token: pair.access.token.to_string(),
            refresh_token: pair.refresh.map(|refresh| refresh.as_str().to_owned()).unwrap_or_default(),
            expires_at: pair.access.expires.as_second(),
            token_type: token_type.to_owned(),
        })
    }

    pub(super) async fn revoke(&self, call: &mut Call, token: &str) -> Result<(), Problem> {
        let caller = call.caller(self).await?;
        if token.is_empty() {
            return Err(ServiceError::Invalid("token is required".to_owned()).into());
        }
        self.service().revoke_token(&caller, token).await?;
        Ok(())
    }

    pub(super) async fn revoke_all(&self, call: &mut Call, user_id: &str) -> Result<(), Problem> {
        let caller = call.caller(self).await?;
        call.decision.subject(user_id);
        self.service().revoke_user(&caller, user_id).await?;
        self.observe().revoked(crate::store::Revoked::User);
        Ok(())
    }

    pub(super) async fn jwks(&self) -> Result<String, Problem> {
        let published = self.service().keys().published(self.service().now()).await?;
        Ok(published.to_public_json())
    }

    pub(super) async fn rotate(&self, call: &mut Call, key_id: &str) -> Result<String, Problem> {
        let caller = call.caller(self).await?;
        caller.require(Role::Rotate)?;
        let signing = Some(key_id).filter(|key_id| !key_id.is_empty());
        let rotated = self.service().keys().rotate(signing, self.service().now()).await;
        rotated.map_err(|problem| match problem {
            RotationProblem::Elsewhere => Problem::Precondition(
                "this process does not own its keys; hint: the key-rotation function or jwt-operator rotates the KEY_RING that it reads",
            ),
            RotationProblem::NotSigning => {
                Problem::Precondition("key_id: expected none, or the id of the key that signs now, found another")
            }
            RotationProblem::Failed(error) => Problem::Service(error),
        })
    }

    /// The thumbprint, or the name of what is wrong with the proof.
    pub(super) async fn validate(
        &self,
        call: &mut Call,
        asked: &Asked,
    ) -> Result<Result<String, &'static str>, Problem> {
        call.caller(self).await?;
        for (name, value) in [("proof", &asked.proof), ("method", &asked.method), ("uri", &asked.uri)] {
            if value.is_empty() {
                return Err(ServiceError::Invalid(format!("{name} is required")).into());
            }
        }
        let present = |text: &'_ String| Some(text.clone()).filter(|text| !text.is_empty());
        let (token, nonce) = (present(&asked.access_token), present(&asked.nonce));
        let validated = self
            .service()
            .validate_proof(&asked.proof, &asked.method, &asked.uri, token.as_deref(), nonce.as_deref())
            .await;
        match validated {
            Ok(proof) => {
                self.observe().proof_accepted();
                call.decision.jkt(&proof.thumbprint);
                Ok(Ok(proof.thumbprint))
            }
            Err(error @ (ServiceError::Proof(_) | ServiceError::ProofReplayed)) => {
                self.observe().proof_refused(&error);
                let name = match &error {
                    ServiceError::Proof(proof) => proof.name(),
                    _ => "replayed",
                };
                if name == "use_nonce" {
                    call.with_nonce(self);
                }
                Ok(Err(name))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A lifetime in seconds; 0 is the service's default. A negative one is a mistake, and no wish for the default.
fn lifetime(name: &str, seconds: i32) -> Result<Option<u64>, ServiceError> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(seconds)),
        Err(_) => Err(ServiceError::Invalid(format!("{name}: expected 0 (the default) or seconds, found {seconds}"))),
    }
}
