//! The little of OAuth that a client of ours needs: find an issuer's endpoints, and exchange a token.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::client::{Body, HttpsClient, Reply};
use crate::error::RemoteError;
use crate::text::quoted;
use crate::url::{RemoteUrl, RemoteUrlError};

/// The grant type of a token exchange (RFC 8693 section 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The token type of a JWT (RFC 8693 section 3).
pub const JWT_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What an issuer says about itself (RFC 8414 section 2, OpenID Connect Discovery section 3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuerMetadata {
    /// The issuer, exactly as asked for.
    pub issuer: String,
    /// Where its key set is.
    pub jwks_uri: Option<RemoteUrl>,
    /// Where it issues tokens.
    pub token_endpoint: Option<RemoteUrl>,
    /// The whole document.
    pub document: Map<String, Value>,
    /// Where the document was found.
    pub found_at: RemoteUrl,
}

/// Why an issuer's metadata was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The issuer is no address that is called.
    #[error("issuer: {0}")]
    Issuer(#[from] RemoteUrlError),
    /// The issuer has a query, which RFC 8414 section 2 forbids.
    #[error("issuer: expected a URL without a query, found one; hint: remove it")]
    Query,
    /// It did not answer at one of its addresses.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is nothing at either address.
    #[error("expected the issuer's metadata, found neither: {rfc8414}; {openid}")]
    NotFound {
        /// What was at the address of RFC 8414.
        rfc8414: Box<RemoteError>,
        /// What was at the address of OpenID Connect.
        openid: Box<RemoteError>,
    },
    /// The document is somebody else's: what it points to must not be believed of this issuer (RFC 8414 section 3.3).
    #[error("{at}: expected issuer {expected}, found {found}; hint: write the issuer exactly as it names itself")]
    OtherIssuer {
        /// The address.
        at: String,
        /// The issuer asked for.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// A member of the document is no address that is called.
    #[error("{at}: {member}: expected a URL that may be called, found another value{detail}")]
    Member {
        /// The address.
        at: String,
        /// The member.
        member: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// Finds an issuer's metadata: at the address of RFC 8414 (`/.well-known/oauth-authorization-server` before the issuer's
/// path), else at OpenID Connect's (`/.well-known/openid-configuration` after it). The document must name exactly `issuer`.
///
/// # Errors
/// [`DiscoveryError`].
pub async fn discover(client: &HttpsClient, issuer: &str) -> Result<IssuerMetadata, DiscoveryError> {
    let [first, second] = addresses(issuer)?;
    let missing = match document(client, &first).await {
        Ok(found) => return metadata(issuer, first, found),
        // An outage says nothing about where the document is.
        Err(error) if error.is_outage() => return Err(error.into()),
        Err(error) => error,
    };
    match document(client, &second).await {
        Ok(found) => metadata(issuer, second, found),
        Err(error) if error.is_outage() => Err(error.into()),
        Err(error) => Err(DiscoveryError::NotFound { rfc8414: Box::new(missing), openid: Box::new(error) }),
    }
}

fn addresses(issuer: &str) -> Result<[RemoteUrl; 2], DiscoveryError> {
    let url: RemoteUrl = issuer.parse()?;
    if url.has_query() {
        return Err(DiscoveryError::Query);
    }
    let path = url.path().trim_end_matches('/');
    Ok([
        url.with_path(&format!("/.well-known/oauth-authorization-server{path}"))?,
        url.with_path(&format!("{path}/.well-known/openid-configuration"))?,
    ])
}

async fn document(client: &HttpsClient, url: &RemoteUrl) -> Result<Map<String, Value>, RemoteError> {
    let reply = client.get(url, &[("accept", "application/json")]).await?.success()?;
    object(&reply)
}

fn object(reply: &Reply) -> Result<Map<String, Value>, RemoteError> {
    match reply.json()? {
        Value::Object(members) => Ok(members),
        _ => {
            let detail = "expected a JSON object, found another value".to_owned();
            Err(RemoteError::Malformed { at: reply.at().to_owned(), detail })
        }
    }
}

fn metadata(issuer: &str, at: RemoteUrl, document: Map<String, Value>) -> Result<IssuerMetadata, DiscoveryError> {
    match document.get("issuer").and_then(Value::as_str) {
        Some(named) if named == issuer => {}
        named => {
            return Err(DiscoveryError::OtherIssuer {
                at: at.shown(),
                expected: quoted(issuer),
                found: named.map_or_else(|| "none".to_owned(), quoted),
            });
        }
    }
    let address = |member: &'static str| {
        let refused = |detail: String| DiscoveryError::Member { at: at.shown(), member, detail };
        match document.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => {
                text.parse().map(Some).map_err(|error: RemoteUrlError| refused(format!(": {error}")))
            }
            Some(_) => Err(refused(String::new())),
        }
    };
    let (jwks_uri, token_endpoint) = (address("jwks_uri")?, address("token_endpoint")?);
    Ok(IssuerMetadata { issuer: issuer.to_owned(), jwks_uri, token_endpoint, document, found_at: at })
}

/// A token exchange (RFC 8693 section 2.1). Absent members are not sent. `Debug` shows no token.
#[derive(Clone, Copy, Default)]
pub struct ExchangeRequest<'a> {
    /// The token to exchange.
    pub subject_token: &'a str,
    /// Its type; [`JWT_TOKEN_TYPE`] when absent.
    pub subject_token_type: Option<&'a str>,
    /// The token of who acts for the subject, and its type.
    pub actor_token: Option<(&'a str, &'a str)>,
    /// For whom the new token is.
    pub audience: Option<&'a str>,
    /// The URI of the service that it is used at.
    pub resource: Option<&'a str>,
    /// Scopes, space-separated.
    pub scope: Option<&'a str>,
    /// The type of token wanted.
    pub requested_token_type: Option<&'a str>,
}

impl fmt::Debug for ExchangeRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("audience", &self.audience)
            .field("resource", &self.resource)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// An issued token (RFC 8693 section 2.2.1). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangedToken {
    /// The token.
    pub access_token: Zeroizing<String>,
    /// How to use it: `Bearer`, `DPoP`, `N_A`.
    pub token_type: String,
    /// Its type, when the server says it.
    pub issued_token_type: Option<String>,
    /// Its lifetime in seconds, when the server says it.
    pub expires_in: Option<u64>,
    /// Its scopes, when they are not those asked for.
    pub scope: Option<String>,
}

impl fmt::Debug for ExchangedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangedToken")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenEndpointError {
    /// The server refused, in the form of RFC 6749 section 5.2.
    #[error("the token endpoint refused (HTTP {status}): {error}{}", .description.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The status.
        status: u16,
        /// `error`, cut and escaped.
        error: String,
        /// `error_description`, cut and escaped, without words as long as tokens are.
        description: Option<String>,
    },
    /// There was no usable answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl TokenEndpointError {
    /// Whether it may pass by itself.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Remote(error) => error.is_outage(),
            Self::Refused { .. } => false,
        }
    }
}

/// Exchanges a token at `endpoint`. `headers` are for a client's own credential or a `DPoP` proof.
///
/// # Errors
/// [`TokenEndpointError`].
pub async fn token_exchange(
    client: &HttpsClient,
    endpoint: &RemoteUrl,
    request: &ExchangeRequest<'_>,
    headers: &[(&str, &str)],
) -> Result<ExchangedToken, TokenEndpointError> {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", request.subject_token),
        ("subject_token_type", request.subject_token_type.unwrap_or(JWT_TOKEN_TYPE)),
    ];
    if let Some((token, token_type)) = request.actor_token {
        form.extend([("actor_token", token), ("actor_token_type", token_type)]);
    }
    let optional = [
        ("audience", request.audience),
        ("resource", request.resource),
        ("scope", request.scope),
        ("requested_token_type", request.requested_token_type),
    ];
    form.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let headers: Vec<_> = [("accept", "application/json")].into_iter().chain(headers.iter().copied()).collect();
    let reply = client.post(endpoint, &headers, Body::Form(&form)).await?;
    if (400..500).contains(&reply.status)
        && reply.status != 429
        && let Some(refusal) = refusal(&reply)
    {
        return Err(refusal);
    }
    issued(&reply.success()?).map_err(TokenEndpointError::Remote)
}

fn refusal(reply: &Reply) -> Option<TokenEndpointError> {
    let members = object(reply).ok()?;
    let text = |member: &str| members.get(member).and_then(Value::as_str);
    let error = shown(text("error")?, 64);
    let description = text("error_description").map(|text| shown(text, 256));
    Some(TokenEndpointError::Refused { status: reply.status, error, description })
}

/// Text of the server: escaped, cut, and without words as long as tokens are, in case it repeats what it was sent.
fn shown(text: &str, longest: usize) -> String {
    let words: Vec<&str> = text.split(' ').map(|word| if word.len() > 64 { "…" } else { word }).collect();
    words
        .join(" ")
        .chars()
        .take(longest)
        .flat_map(|c| if c == '…' { vec![c] } else { c.escape_default().collect() })
        .collect()
}

fn issued(reply: &Reply) -> Result<ExchangedToken, RemoteError> {
    let mut members = object(reply)?;
    let malformed = |expected: &str| RemoteError::Malformed {
        at: reply.at().to_owned(),
        detail: format!("expected {expected}, found none"),
    };
    let mut text = |member: &str| match members.remove(member) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let access_token = Zeroizing::new(text("access_token").ok_or_else(|| malformed("access_token"))?);
    let token_type = text("token_type").ok_or_else(|| malformed("token_type"))?;
    let (issued_token_type, scope) = (text("issued_token_type"), text("scope"));
    let expires_in = members.get("expires_in").and_then(Value::as_u64);
    Ok(ExchangedToken { access_token, token_type, issued_token_type, expires_in, scope })
}
