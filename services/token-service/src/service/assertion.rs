//! Client assertions (`private_key_jwt`, RFC 7523): a caller proves itself by a token that it signs for this one request.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use token_jose::{Algorithm, ForeignExpectation, JwsError, TypRule, UnverifiedForeign, base64url, sha256};

use super::{ServiceError, TokenService, add};
use crate::caller::Caller;

/// How long an assertion may be valid from now on: its `jti` is remembered for so long.
const MOST_LIFETIME_S: i64 = 3600;
/// `typ` of an assertion, where it has one (draft-ietf-oauth-rfc7523bis names the second).
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];

impl TokenService {
    /// The caller that a client assertion proves. It is used up.
    ///
    /// Issuer and subject are the client; every audience is this issuer or one of `endpoints`, so that an assertion made for
    /// another server, or for several, proves nothing here; `jti` is new.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`], always with one text: which part was wrong is in nobody's interest but an
    /// attacker's, except for a second use; our outages.
    pub async fn client_assertion(&self, assertion: &str, endpoints: &[String]) -> Result<Arc<Caller>, ServiceError> {
        let now = self.now();
        let unverified = UnverifiedForeign::parse(assertion).map_err(|_| refused())?;
        let caller = self.callers.named(unverified.iss()).cloned().ok_or_else(refused)?;
        let keys = caller.assertion_keys.as_ref().ok_or_else(refused)?;
        let audience = endpoints.iter().chain([&self.rules.issuer]);
        let mut verified = Err(JwsError::Form { found: "no audience to expect" });
        for audience in audience {
            let expect = ForeignExpectation::new(&caller.name, audience, &Algorithm::ALL)
                .with_typ(TypRule::optional(&TYPES))
                .with_leeway_s(self.rules.leeway_s);
            verified = UnverifiedForeign::parse(assertion).and_then(|token| token.verify(keys, &expect, now));
            if !matches!(verified, Err(JwsError::Claim { claim: "aud", .. })) {
                break;
            }
        }
        let claims = verified.map_err(|_| refused())?.into_inner();
        let (jti, expires) = self.once(&claims, &caller.name, endpoints, now).ok_or_else(refused)?;
        let until = add(expires, self.rules.leeway_s + self.rules.skew_s);
        if self.store.first_use(&format!("assertion:{}", caller.name), &jti, until, now).await? {
            return Ok(caller);
        }
        Err(ServiceError::Unauthenticated(
            "the client assertion was used before; hint: sign a new one per request".to_owned(),
        ))
    }

    /// The id by which an assertion is remembered, and its expiry, if its claims are those of one for this service alone.
    fn once(
        &self,
        claims: &Map<String, Value>,
        client: &str,
        endpoints: &[String],
        now: Timestamp,
    ) -> Option<(String, Timestamp)> {
        let ours = |audience: &Value| {
            audience.as_str().is_some_and(|text| text == self.rules.issuer || endpoints.iter().any(|uri| uri == text))
        };
        let for_us_alone = match claims.get("aud")? {
            Value::Array(audiences) => !audiences.is_empty() && audiences.iter().all(ours),
            audience => ours(audience),
        };
        let jti = claims.get("jti")?.as_str().filter(|jti| !jti.is_empty())?;
        let expires = claims.get("exp")?.as_i64()?;
        let bounded = expires.saturating_sub(now.as_second()) <= MOST_LIFETIME_S;
        if !for_us_alone || !bounded || claims.get("sub")?.as_str()? != client {
            return None;
        }
        Some((base64url(&sha256(jti.as_bytes())), Timestamp::from_second(expires).ok()?))
    }
}

fn refused() -> ServiceError {
    ServiceError::Unauthenticated(
        "expected a client assertion (RFC 7523) of a configured client: iss and sub its name, aud this issuer, a new jti, at most an hour of life; found another one"
            .to_owned(),
    )
}
