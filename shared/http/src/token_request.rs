//! The body of `POST /token`.

use http::header::CONTENT_TYPE;
use serde_json::Value;
use token_claims::TokenRequest;
use token_jose::strict_json;

use crate::error::OAuthError;
use crate::event::GatewayEvent;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 8 * 1024;

/// The members a body may have.
const MEMBERS: &str = "audience, scope, expires_in";

/// What the caller asks for: an empty body, a JSON object or a form with `audience`, `scope` (space-separated, RFC 6749
/// section 3.3) and `expires_in` (whole seconds), each optional and at most once.
///
/// # Errors
/// 413 above [`MAX_BODY_BYTES`], 415 for another content type, 400 `invalid_request` or `invalid_scope` for what cannot be
/// read, with what was expected and what was found.
pub fn token_request(event: &GatewayEvent) -> Result<TokenRequest, OAuthError> {
    if event.body.len() > MAX_BODY_BYTES {
        return Err(OAuthError::body_too_large(MAX_BODY_BYTES));
    }
    let content_type = event.header(&CONTENT_TYPE).map_err(|()| {
        OAuthError::invalid_request("expected one content-type header, found several or one that is no text")
    })?;
    if event.body.is_empty() {
        return Ok(TokenRequest::default());
    }
    let media_type = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match media_type.as_deref() {
        Some("application/json") => from_json(&event.body),
        Some("application/x-www-form-urlencoded") => from_form(&event.body),
        other => {
            let found = other.map_or_else(|| "none".to_owned(), |name| format!("{:?}", bounded(name)));
            Err(OAuthError::unsupported_media_type(format!(
                "expected content-type application/json or application/x-www-form-urlencoded, or no body, found {found}"
            )))
        }
    }
}

fn from_json(body: &[u8]) -> Result<TokenRequest, OAuthError> {
    let limits = strict_json::Limits { max_bytes: MAX_BODY_BYTES, max_depth: 4 };
    let value = strict_json::parse(body, limits).map_err(|error| {
        OAuthError::invalid_request(format!("expected a JSON object, found something else: {error}"))
    })?;
    let Value::Object(members) = value else {
        return Err(OAuthError::invalid_request("expected a JSON object, found another JSON value"));
    };
    let mut request = TokenRequest::default();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("audience", Value::String(audience)) => request.audience = Some(parse_audience(audience)?),
            ("scope", Value::String(scope)) => request.scopes = Some(parse_scope(&scope)?),
            ("expires_in", Value::Number(number)) => {
                request.expires_in_s = Some(number.as_u64().ok_or_else(bad_expires_in)?);
            }
            ("audience" | "scope", _) => {
                return Err(OAuthError::invalid_request(format!(
                    "expected {name} to be a string, found another JSON value"
                )));
            }
            ("expires_in", _) => return Err(bad_expires_in()),
            _ => return Err(unknown_member(&name)),
        }
    }
    Ok(request)
}

fn from_form(body: &[u8]) -> Result<TokenRequest, OAuthError> {
    if matches!(body.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'[')) {
        return Err(OAuthError::invalid_request(
            "expected a form, found JSON; hint: send the header content-type: application/json (curl: -H 'content-type: application/json')",
        ));
    }
    let not_text = || OAuthError::invalid_request("expected a form of UTF-8 text, found other bytes");
    let text = std::str::from_utf8(body).map_err(|_| not_text())?;
    let mut request = TokenRequest::default();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        // form_urlencoded replaces what is not UTF-8 after decoding; a replaced character would name another audience.
        if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
            return Err(not_text());
        }
        let repeated = match &*name {
            "audience" => request.audience.replace(parse_audience(value.into_owned())?).is_some(),
            "scope" => request.scopes.replace(parse_scope(&value)?).is_some(),
            "expires_in" => {
                let seconds = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
                request.expires_in_s.replace(seconds.ok_or_else(bad_expires_in)?).is_some()
            }
            _ => return Err(unknown_member(&name)),
        };
        if repeated {
            return Err(OAuthError::invalid_request(format!("expected {name} at most once, found it again")));
        }
    }
    Ok(request)
}

fn parse_audience(audience: String) -> Result<String, OAuthError> {
    if audience.is_empty() || audience.len() > 2_048 || !audience.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(OAuthError::invalid_target(
            "expected audience to be 1 to 2048 printable ASCII characters without spaces, found something else",
        ));
    }
    Ok(audience)
}

/// `scope = scope-token *( SP scope-token )`, RFC 6749 section 3.3. A scope that stands twice is asked for once.
fn parse_scope(scope: &str) -> Result<Vec<String>, OAuthError> {
    let is_scope_char = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let mut scopes: Vec<String> = Vec::new();
    for token in scope.split(' ') {
        if token.is_empty() || !token.bytes().all(is_scope_char) {
            return Err(OAuthError::invalid_scope(
                "expected scope to be names separated by single spaces (RFC 6749 section 3.3), found something else",
            ));
        }
        if !scopes.iter().any(|known| known == token) {
            scopes.push(token.to_owned());
        }
    }
    Ok(scopes)
}

fn bad_expires_in() -> OAuthError {
    OAuthError::invalid_request("expected expires_in to be a whole number of seconds, found something else")
}

fn unknown_member(name: &str) -> OAuthError {
    OAuthError::invalid_request(format!("expected only the members {MEMBERS}, found {:?}", bounded(name)))
}

/// As much of a foreign string as is shown.
fn bounded(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests;
