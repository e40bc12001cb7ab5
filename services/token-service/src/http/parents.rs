//! What the bearer of a parent token may ask for: a fresh child, and the latest one.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::json;
use token_server::one_header;

use super::caller::{missing, proof};
use super::error::{Face, Problem};
use super::form::Members;
use super::tokens::token_response;
use super::{Door, answer};
use crate::observe::{Decision, Outcome, TokenKind};
use crate::service::{GrantProblem, IssuedToken, LatestChild, ProofContext, ServiceError};
use crate::store::Family;

/// `POST /renew`.
pub(super) async fn renew(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("renew");
    let (parts, body) = request.into_parts();
    match door.renew(&parts, body, &mut decision).await {
        Ok(child) => {
            door.observe().issued(TokenKind::Child, door.algorithm().await);
            door.observe().record(&decision, Outcome::Done("renewed"));
            answer::decided(answer::json(StatusCode::OK, &token_response(&child)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::Parent),
    }
}

/// `GET /tokens/latest`.
pub(super) async fn latest(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("tokens.latest");
    let (parts, _) = request.into_parts();
    match door.latest(&parts, &mut decision).await {
        Ok(latest) => {
            door.observe().record(&decision, Outcome::Done("handed_out"));
            answer::decided(answer::json(StatusCode::OK, &latest_response(&latest)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::Parent),
    }
}

/// `{"child_token","child_jti","expires_at","renewed_at"}`.
pub(super) fn latest_response(latest: &LatestChild) -> serde_json::Value {
    json!({
        "child_token": latest.child.token.as_str(),
        "child_jti": latest.child.id.to_string(),
        "expires_at": latest.child.expires.to_string(),
        "renewed_at": latest.renewed.to_string(),
    })
}

impl Door {
    async fn renew(&self, parts: &Parts, body: Body, decision: &mut Decision) -> Result<IssuedToken, Problem> {
        let mut members = Members::read(parts, body).await?;
        let token = members
            .text("parent_token")?
            .filter(|token| !token.is_empty())
            .ok_or_else(|| missing("parent_token is required"))?;
        members.end()?;
        let context =
            ProofContext { proof: proof(&parts.headers)?, method: parts.method.as_str(), path: parts.uri.path() };
        let family = self.open(&token, context, decision).await?;
        self.may_mint(&format!("parent:{}", family.id))?;
        let child = self.service().fresh_child(&family).await?;
        decision.token(&child);
        Ok(child)
    }

    async fn latest(&self, parts: &Parts, decision: &mut Decision) -> Result<LatestChild, Problem> {
        let family = self.presented_parent(parts, decision).await?;
        self.may_mint(&format!("parent:{}", family.id))?;
        let latest = self.service().latest(&family).await?;
        decision.token(&latest.child);
        Ok(latest)
    }

    /// The family whose parent is in `Authorization`: as `Bearer` when it is bound to no key, as `DPoP` with a proof when it
    /// is. `parent_jti`, which was all that the former service asked for, must be the parent's when it is there.
    pub(super) async fn presented_parent(&self, parts: &Parts, decision: &mut Decision) -> Result<Family, Problem> {
        let asked = parent_jti(parts.uri.query().unwrap_or_default())?;
        let unauthorized = |message: &str| {
            Problem::Parent(StatusCode::UNAUTHORIZED, "Invalid Authorization header format", message.to_owned())
        };
        let authorization = one_header(&parts.headers, "authorization")?.ok_or_else(|| {
            Problem::Parent(
                StatusCode::UNAUTHORIZED,
                "Missing Authorization header",
                "expected Authorization: Bearer or DPoP with the parent token; hint: parent_jti alone opens nothing"
                    .to_owned(),
            )
        })?;
        let (token, bound) = match (
            token_server::credential(authorization, "Bearer"),
            token_server::credential(authorization, "DPoP"),
        ) {
            (Some(token), _) => (token, false),
            (None, Some(token)) => (token, true),
            (None, None) => return Err(unauthorized("Expected 'Bearer <token>' or 'DPoP <token>'")),
        };
        // A bound token as Bearer is refused whatever proof is beside it (RFC 9449 section 7.2).
        let proof = if bound { proof(&parts.headers)? } else { None };
        if bound && proof.is_none() {
            return Err(Problem::Service(ServiceError::Grant(GrantProblem::Unproven)));
        }
        let context = ProofContext { proof, method: parts.method.as_str(), path: parts.uri.path() };
        let family = self.open(token, context, decision).await?;
        if bound != family.jkt.is_some() {
            return Err(unauthorized("the token is bound to no key; hint: use the scheme Bearer"));
        }
        if asked.is_some_and(|asked| !asked.eq_ignore_ascii_case(&family.id.to_string())) {
            let message = "expected the jti of the presented parent token, found another".to_owned();
            return Err(Problem::Parent(StatusCode::FORBIDDEN, "parent_jti is not the presented token's", message));
        }
        Ok(family)
    }

    async fn open(&self, token: &str, context: ProofContext<'_>, decision: &mut Decision) -> Result<Family, Problem> {
        let has_proof = context.proof.is_some();
        match self.service().open_parent(token, context).await {
            Ok(family) => {
                decision.subject(&family.user);
                decision.caller(&family.client);
                decision.token_id(&family.id);
                if has_proof && family.jkt.is_some() {
                    self.observe().proof_accepted();
                }
                Ok(family)
            }
            Err(ServiceError::Grant(GrantProblem::Invalid)) if self.service().is_access_token(token).await => {
                let message = "expected token_type parent, found an access token".to_owned();
                Err(Problem::Parent(StatusCode::BAD_REQUEST, "Token is not a parent token", message))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The query's one `parent_jti`, if it has any.
fn parent_jti(query: &str) -> Result<Option<String>, Problem> {
    let mut values = query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some(("parent_jti", value)) => Some(value),
        _ => None,
    });
    match (values.next(), values.next()) {
        (None, _) | (Some(""), None) => Ok(None),
        // A jti needs no percent-encoding; one that has it anyway is not equal to any.
        (Some(value), None) => Ok(Some(value.to_owned())),
        (Some(_), Some(_)) => Err(missing("parent_jti: expected it once, found it again")),
    }
}
