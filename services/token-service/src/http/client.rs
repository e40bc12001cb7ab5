//! Who speaks at the OAuth face: exactly one method of client authentication (RFC 6749 section 2.3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use token_server::one_header;

use super::Door;
use super::caller::{certificate, missing};
use super::error::Problem;
use super::form::Parameters;
use crate::caller::{Caller, Credential};
use crate::observe::Decision;
use crate::service::ServiceError;

/// `client_assertion_type` of `private_key_jwt` (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Endpoints that an assertion may name as its audience.
pub(super) const ENDPOINTS: [&str; 3] = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];

impl Door {
    /// The client of a request: by `Authorization` (Basic, or Bearer with an API key or a token of a configured issuer), by
    /// `client_secret`, by `client_assertion`, or by the connection's certificate. `client_id`, where it is there, is the
    /// client's.
    pub(super) async fn client(
        &self,
        parts: &Parts,
        form: &Parameters,
        decision: &mut Decision,
    ) -> Result<Arc<Caller>, Problem> {
        let authorization = one_header(&parts.headers, "authorization")?;
        let secret = form.get("client_secret");
        let assertion = form.get("client_assertion");
        let methods = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if methods.into_iter().filter(|method| *method).count() > 1 {
            return Err(missing("expected one method of client authentication, found several (RFC 6749 section 2.3)"));
        }
        let named = form.get("client_id");
        let callers = self.service().callers();
        let caller = if let Some(authorization) = authorization {
            match authorization.split_once(' ') {
                Some((scheme, value)) if scheme.eq_ignore_ascii_case("basic") => {
                    let (id, secret) = basic(value).ok_or_else(refused)?;
                    callers.by_secret(&id, &secret).ok_or_else(refused)?
                }
                _ => {
                    let credential = Credential { authorization: Some(authorization), certificate: None };
                    callers.authenticate(credential, self.service().now()).await?
                }
            }
        } else if let Some(secret) = secret {
            let id = named.ok_or_else(|| missing("client_id: expected it beside client_secret, found none"))?;
            callers.by_secret(id, secret).ok_or_else(refused)?
        } else if let Some(assertion) = assertion {
            if form.get("client_assertion_type") != Some(JWT_BEARER) {
                return Err(missing(
                    "client_assertion_type: expected urn:ietf:params:oauth:client-assertion-type:jwt-bearer, found another or none",
                ));
            }
            let issuer = &self.service().rules().issuer;
            let endpoints = ENDPOINTS.map(|path| format!("{issuer}{path}"));
            self.service().client_assertion(assertion, &endpoints).await?
        } else {
            let certificate = certificate(parts);
            let credential = Credential { authorization: None, certificate: certificate.as_ref() };
            callers.authenticate(credential, self.service().now()).await?
        };
        decision.caller(&caller.name);
        if named.is_some_and(|named| named != caller.name) {
            return Err(refused().into());
        }
        Ok(caller)
    }
}

fn refused() -> ServiceError {
    ServiceError::Unauthenticated("the client is not a configured one, or has not proven to be it".to_owned())
}

/// `client_id` and `client_secret` of HTTP Basic, each form-encoded first (RFC 6749 section 2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(value.trim_matches(' ')).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded_before_they_are_joined() {
        let of = |text: &str| basic(&STANDARD.encode(text));
        assert_eq!(of("a:b"), Some(("a".to_owned(), "b".to_owned())));
        assert_eq!(of("a%3Ab:c%2Bd+e"), Some(("a:b".to_owned(), "c+d e".to_owned())));
        assert_eq!(of("a:b:c"), Some(("a".to_owned(), "b:c".to_owned())));
        for bad in ["", "a", "a%:b", "a%4:b", "a%zz:b", "%ff:b"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(basic("***"), None);
    }
}
