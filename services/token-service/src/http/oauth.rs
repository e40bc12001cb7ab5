//! The OAuth face: token endpoint (RFC 6749, 9449), introspection (7662), revocation (7009).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::caller::{mint_key, missing};
use super::error::{Face, Problem};
use super::form::Parameters;
use super::{Door, answer};
use crate::observe::{Decision, Outcome};
use crate::service::{ClientOrder, IssuedPair, RefreshRequest, ServiceError};
use crate::tokens::OAUTH_ACCESS_TYP;

/// The scope that asks for a refresh token (OpenID Connect Core section 11).
const OFFLINE: &str = "offline_access";

/// `POST /oauth2/token`.
pub(super) async fn token(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("oauth2.token");
    let (parts, body) = request.into_parts();
    let response = match door.grant(&parts, body, &mut decision).await {
        Ok(pair) => {
            door.observe().issued_pair(&pair, door.algorithm().await);
            door.observe().record(&decision, Outcome::Done("issued"));
            answer::decided(answer::json(StatusCode::OK, &token_response(&pair, &door)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::OAuth),
    };
    // Whoever sends proofs gets a nonce for the next one (RFC 9449 section 8.2).
    if parts.headers.contains_key("dpop") { door.with_nonce(response) } else { response }
}

/// `POST /oauth2/introspect`.
pub(super) async fn introspect(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("oauth2.introspect");
    let (parts, body) = request.into_parts();
    match door.introspect(&parts, body, &mut decision).await {
        Ok(members) => {
            let active = members.get("active") == Some(&Value::Bool(true));
            door.observe().record(&decision, Outcome::Done(if active { "active" } else { "inactive" }));
            answer::decided(answer::json(StatusCode::OK, &Value::Object(members)), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::OAuth),
    }
}

/// `POST /oauth2/revoke`.
pub(super) async fn revoke(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("oauth2.revoke");
    let (parts, body) = request.into_parts();
    match door.revoke_presented(&parts, body, &mut decision).await {
        Ok(()) => {
            door.observe().record(&decision, Outcome::Done("revoked"));
            answer::decided(answer::empty(StatusCode::OK), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::OAuth),
    }
}

impl Door {
    async fn grant(&self, parts: &Parts, body: Body, decision: &mut Decision) -> Result<IssuedPair, Problem> {
        let form = Parameters::read(parts, body).await?;
        let caller = self.client(parts, &form, decision).await?;
        let grant = form.get("grant_type").ok_or_else(|| missing("grant_type: expected it, found none"))?;
        let scopes = form.scopes();
        let pair = match grant {
            "client_credentials" => {
                self.may_mint(mint_key(&caller))?;
                decision.subject(&caller.name);
                let order = ClientOrder {
                    refresh: scopes.iter().any(|scope| scope == OFFLINE),
                    scopes,
                    audience: form.all("resource").chain(form.all("audience")).map(str::to_owned).collect(),
                    jkt: self.binding(parts, decision).await?,
                };
                self.service().issue_client(&caller, &order).await?
            }
            "refresh_token" => {
                let token =
                    form.get("refresh_token").ok_or_else(|| missing("refresh_token: expected it, found none"))?;
                if form.all("resource").chain(form.all("audience")).next().is_some() {
                    let text = "a refresh keeps the audiences that were granted at first; hint: leave resource and audience out";
                    return Err(ServiceError::Target(text.to_owned()).into());
                }
                self.may_mint(mint_key(&caller))?;
                let jkt = self.binding(parts, decision).await?;
                let request = RefreshRequest {
                    token,
                    caller: &caller,
                    scopes: &scopes,
                    jkt: jkt.as_deref(),
                    typ: OAUTH_ACCESS_TYP,
                };
                let refreshed = self.service().refresh(request).await;
                self.observe().refreshed(refreshed.as_ref().map(|_| ()));
                refreshed?
            }
            _ => return Err(Problem::GrantType),
        };
        decision.token(&pair.access);
        Ok(pair)
    }

    async fn introspect(
        &self,
        parts: &Parts,
        body: Body,
        decision: &mut Decision,
    ) -> Result<Map<String, Value>, Problem> {
        let form = Parameters::read(parts, body).await?;
        let caller = self.client(parts, &form, decision).await?;
        let token = form.get("token").ok_or_else(|| missing("token: expected it, found none"))?;
        let members = self.service().introspect(&caller, token).await?.into_members();
        if let Some(id) = members.get("jti").and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            decision.token_id(&id);
        }
        Ok(members)
    }

    async fn revoke_presented(&self, parts: &Parts, body: Body, decision: &mut Decision) -> Result<(), Problem> {
        let form = Parameters::read(parts, body).await?;
        let caller = self.client(parts, &form, decision).await?;
        let token = form.get("token").ok_or_else(|| missing("token: expected it, found none"))?;
        Ok(self.service().revoke_token(&caller, token).await?)
    }
}

/// RFC 6749 section 5.1, RFC 9449 section 5.
fn token_response(pair: &IssuedPair, door: &Door) -> Value {
    let access = &pair.access;
    let mut body = json!({
        "access_token": access.token.as_str(),
        "token_type": if access.jkt.is_some() { "DPoP" } else { "Bearer" },
        "expires_in": access.expires_in_s,
        "scope": access.scopes.join(" "),
    });
    let Some(members) = body.as_object_mut() else { return body };
    if access.scopes.is_empty() {
        members.remove("scope");
    }
    if let Some(refresh) = &pair.refresh {
        members.insert("refresh_token".to_owned(), json!(refresh.as_str()));
        if let Some(ends) = pair.refresh_expires {
            let left = ends.as_second().saturating_sub(door.service().now().as_second()).max(0);
            members.insert("refresh_expires_in".to_owned(), json!(left));
        }
    }
    body
}
