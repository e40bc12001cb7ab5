//! Minting and revoking, as the former service's clients do it.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::json;

use super::Door;
use super::answer;
use super::caller::{mint_key, missing};
use super::error::{Face, Problem};
use super::form::{Members, split};
use crate::observe::{Decision, Outcome, TokenKind};
use crate::service::{IssuedToken, PairOrder, ParentAndChild, TokenOrder};

const DAY_S: u64 = 86_400;
const HOUR_S: u64 = 3_600;
/// The longest `parent_expiry_hours`: 30 days.
const MOST_HOURS: i64 = 720;

/// `POST /tokens`.
pub(super) async fn create(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("tokens.create");
    let (parts, body) = request.into_parts();
    match door.create(&parts, body, &mut decision).await {
        Ok(token) => {
            door.observe().issued(TokenKind::Access, door.algorithm().await);
            door.observe().record(&decision, Outcome::Done("issued"));
            answer::decided(answer::json(StatusCode::CREATED, &token_response(&token)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::Mint),
    }
}

/// `POST /token-pairs`.
pub(super) async fn create_pair(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("token_pairs.create");
    let (parts, body) = request.into_parts();
    match door.create_pair(&parts, body, &mut decision).await {
        Ok(pair) => {
            let algorithm = door.algorithm().await;
            door.observe().issued(TokenKind::Parent, algorithm);
            door.observe().opened_parent(pair.parent.expires, door.service().now());
            if pair.child.is_some() {
                door.observe().issued(TokenKind::Child, algorithm);
            }
            door.observe().record(&decision, Outcome::Done("issued"));
            answer::decided(answer::json(StatusCode::CREATED, &pair_response(&pair)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::Mint),
    }
}

/// `DELETE /tokens/{id}`.
pub(super) async fn revoke(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let mut decision = door.decision("tokens.revoke");
    let (parts, _) = request.into_parts();
    match door.revoke_one(&parts, id, &mut decision).await {
        Ok(()) => door.gone(&decision),
        Err(problem) => door.refuse(&decision, &problem, Face::Mint),
    }
}

/// `DELETE /users/{id}/tokens`.
pub(super) async fn revoke_user(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let mut decision = door.decision("users.revoke");
    let (parts, _) = request.into_parts();
    match door.revoke_all(&parts, id, &mut decision).await {
        Ok(()) => door.gone(&decision),
        Err(problem) => door.refuse(&decision, &problem, Face::Mint),
    }
}

impl Door {
    async fn create(&self, parts: &Parts, body: Body, decision: &mut Decision) -> Result<IssuedToken, Problem> {
        let caller = self.caller(parts, decision).await?;
        let mut members = Members::read(parts, body).await?;
        let mut order = common(&mut members)?;
        let days = members.number("expiry_days")?;
        let seconds = members.number("expires_in")?;
        order.lifetime_s = one_of(("expires_in", seconds), ("expiry_days", days, DAY_S))?;
        members.end()?;
        decision.subject(&format!("user_{}", order.user_id));
        self.may_mint(mint_key(&caller))?;
        order.jkt = self.binding(parts, decision).await?;
        let token = self.service().issue_token(&caller, &order).await?;
        decision.token(&token);
        Ok(token)
    }

    async fn create_pair(&self, parts: &Parts, body: Body, decision: &mut Decision) -> Result<ParentAndChild, Problem> {
        let caller = self.caller(parts, decision).await?;
        let mut members = Members::read(parts, body).await?;
        let mut token = common(&mut members)?;
        let hours = members.signed("parent_expiry_hours")?.unwrap_or(0);
        if !(0..=MOST_HOURS).contains(&hours) {
            return Err(missing("parent_expiry_hours must be between 0 and 720"));
        }
        let hours = u64::try_from(hours).ok().filter(|hours| *hours > 0);
        let seconds = members.number("parent_expires_in")?;
        token.lifetime_s = one_of(("parent_expires_in", seconds), ("parent_expiry_hours", hours, HOUR_S))?;
        let child_lifetime_s = members.number("child_expires_in")?;
        let include_child = members.flag("include_child")?;
        members.end()?;
        decision.subject(&format!("user_{}", token.user_id));
        self.may_mint(mint_key(&caller))?;
        token.jkt = self.binding(parts, decision).await?;
        let order = PairOrder { token, child_lifetime_s, include_child };
        let pair = self.service().issue_parent(&caller, &order).await?;
        decision.token(&pair.parent);
        Ok(pair)
    }

    async fn revoke_one(
        &self,
        parts: &Parts,
        id: Result<Path<String>, PathRejection>,
        decision: &mut Decision,
    ) -> Result<(), Problem> {
        let caller = self.caller(parts, decision).await?;
        let Ok(Path(id)) = id else {
            return Err(missing("token id: expected a token's jti (a UUID), found another text"));
        };
        let revoked = self.service().revoke_id(&caller, &id).await?;
        if let Ok(id) = id.parse() {
            decision.token_id(&id);
        }
        self.observe().revoked(revoked);
        Ok(())
    }

    async fn revoke_all(
        &self,
        parts: &Parts,
        id: Result<Path<String>, PathRejection>,
        decision: &mut Decision,
    ) -> Result<(), Problem> {
        let caller = self.caller(parts, decision).await?;
        let Ok(Path(id)) = id else {
            return Err(missing("user_id: expected a user's id in percent-encoded UTF-8, found other bytes"));
        };
        decision.subject(&format!("user_{id}"));
        self.service().revoke_user(&caller, &id).await?;
        self.observe().revoked(crate::store::Revoked::User);
        Ok(())
    }

    fn gone(&self, decision: &Decision) -> Response {
        self.observe().record(decision, Outcome::Done("revoked"));
        answer::decided(answer::empty(StatusCode::NO_CONTENT), decision)
    }
}

/// What both requests have.
fn common(members: &mut Members) -> Result<TokenOrder, Problem> {
    let user_id =
        members.text("user_id")?.filter(|user| !user.is_empty()).ok_or_else(|| missing("user_id is required"))?;
    let rate_limit = match members.number("rate_limit")?.map(u32::try_from) {
        None => None,
        Some(Ok(limit)) => Some(limit),
        Some(Err(_)) => return Err(missing(&format!("rate_limit: expected at most {}, found more", u32::MAX))),
    };
    Ok(TokenOrder {
        user_id,
        network: members.text("network")?,
        rate_limit,
        audience: members.texts("audience")?,
        scopes: members.text("scope")?.as_deref().map(split).unwrap_or_default(),
        ..TokenOrder::default()
    })
}

/// The README's seconds, or the former code's larger unit; both only if they agree.
fn one_of(
    (name, seconds): (&str, Option<u64>),
    (other, units, unit_s): (&str, Option<u64>, u64),
) -> Result<Option<u64>, Problem> {
    let converted = units.map(|units| units.saturating_mul(unit_s));
    match (seconds, converted) {
        (Some(seconds), Some(converted)) if seconds != converted => {
            Err(missing(&format!("{name}, {other}: expected one of them, found two different lifetimes")))
        }
        (seconds, converted) => Ok(seconds.or(converted)),
    }
}

/// `{"token","token_id","expires_at"}`.
pub(super) fn token_response(token: &IssuedToken) -> serde_json::Value {
    json!({
        "token": token.token.as_str(),
        "token_id": token.id.to_string(),
        "expires_at": token.expires.to_string(),
    })
}

fn pair_response(pair: &ParentAndChild) -> serde_json::Value {
    let mut body = json!({
        "parent_token": pair.parent.token.as_str(),
        "parent_jti": pair.parent.id.to_string(),
        "parent_expiry": pair.parent.expires_in_s,
    });
    if let (Some(child), Some(members)) = (&pair.child, body.as_object_mut()) {
        members.insert("child_token".to_owned(), json!(child.token.as_str()));
        members.insert("child_jti".to_owned(), json!(child.id.to_string()));
        members.insert("child_expiry".to_owned(), json!(child.expires_in_s));
    }
    body
}
