//! What the token says, and whether the one on disk still says it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use token_jose::strict_json::{self, Limits};
use token_jose::{MAX_TOKEN_BYTES, base64url};
use zeroize::Zeroizing;

use super::key::{KeyFailure, SigningKey};

/// What every token of this process says, but for times and id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    /// Exactly `sub` and `role`, as the program that this one replaces wrote it: it never expires.
    Legacy {
        /// `sub`.
        subject: String,
    },
    /// `iss sub aud iat nbf exp jti` and custom claims.
    Complete {
        /// `iss`.
        issuer: String,
        /// `sub`.
        subject: String,
        /// `aud`.
        audience: Option<String>,
        /// From `iat` to `exp`, in seconds; at least 1.
        lifetime_s: u32,
        /// Custom claims; no name is reserved.
        custom: Map<String, Value>,
    },
}

/// A token that was just made. It is a bearer credential: `Debug` hides it.
pub(crate) struct Issued {
    /// The compact JWS.
    pub(crate) token: Zeroizing<String>,
    /// `iat`.
    pub(crate) issued_at: Timestamp,
    /// `exp`; none for the legacy form.
    pub(crate) expires_at: Option<Timestamp>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued(hidden, expires at {:?})", self.expires_at)
    }
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// The key.
    #[error("{0}")]
    Key(#[from] KeyFailure),
    /// The clock shows a time no token can carry.
    #[error("expected a clock between 1970 and 9999, found {0}; hint: set the clock")]
    Clock(Timestamp),
    /// Too many claims.
    #[error("expected a token of at most {MAX_TOKEN_BYTES} bytes, found {found}; hint: fewer or shorter claims")]
    TooLarge {
        /// Its length in bytes.
        found: usize,
    },
}

/// Claims and the times in them.
struct Dated {
    claims: Map<String, Value>,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl Statement {
    /// Makes a token that is valid from `now`, named `id`.
    pub(crate) fn issue(&self, key: &SigningKey, id: &str, now: Timestamp) -> Result<Issued, TokenError> {
        let Dated { claims, issued_at, expires_at } = self.claims(id, now)?;
        let claims = serde_json::to_vec(&claims).map_err(|_| TokenError::Clock(now))?;
        let mut token = Zeroizing::new(String::with_capacity(MAX_TOKEN_BYTES.min(2 * claims.len() + 2048)));
        token.push_str(&base64url(&key.header()?));
        token.push('.');
        token.push_str(&base64url(&claims));
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url(&signature));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge { found: token.len() });
        }
        Ok(Issued { token, issued_at, expires_at })
    }

    fn claims(&self, id: &str, now: Timestamp) -> Result<Dated, TokenError> {
        let mut claims = Map::new();
        let mut say = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        let issued_at = Timestamp::from_second(now.as_second()).map_err(|_| TokenError::Clock(now))?;
        let expires_at = match self {
            Self::Legacy { subject } => {
                say("sub", subject.as_str().into());
                say("role", "service".into());
                None
            }
            Self::Complete { issuer, subject, audience, lifetime_s, custom } => {
                let iat = issued_at.as_second();
                let exp = iat.saturating_add(i64::from(*lifetime_s));
                let expires_at = Timestamp::from_second(exp).ok().filter(|_| iat >= 0).ok_or(TokenError::Clock(now))?;
                say("iss", issuer.as_str().into());
                say("sub", subject.as_str().into());
                if let Some(audience) = audience {
                    say("aud", audience.as_str().into());
                }
                say("iat", iat.into());
                say("nbf", iat.into());
                say("exp", exp.into());
                say("jti", id.into());
                for (name, value) in custom {
                    say(name, value.clone());
                }
                Some(expires_at)
            }
        };
        Ok(Dated { claims, issued_at, expires_at })
    }

    /// Until when `content`, the file as a reader sees it, is a token that this process could have made: this key, this
    /// header, the same claims but for times and id, and not before its time.
    ///
    /// # Errors
    /// What it is instead; never its content.
    pub(crate) fn valid_until(
        &self,
        content: &[u8],
        key: &SigningKey,
        now: Timestamp,
    ) -> Result<Timestamp, &'static str> {
        const OTHER_FORM: &str = "something that is no compact token";
        if content.len() > MAX_TOKEN_BYTES {
            return Err(OTHER_FORM);
        }
        let text = std::str::from_utf8(content).map_err(|_| OTHER_FORM)?;
        let (signing_input, signature) = text.rsplit_once('.').ok_or(OTHER_FORM)?;
        let (header, claims) = signing_input.split_once('.').ok_or(OTHER_FORM)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| OTHER_FORM);
        let own = key.header().map_err(|_| "a key that cannot sign")?;
        if decode(header)? != own || !key.verifies(signing_input.as_bytes(), &decode(signature)?) {
            return Err("a token of another key");
        }
        let claims = decode(claims)?;
        let limits = Limits::new(claims.len(), 32);
        let mut claims = strict_json::parse_object(&claims, limits).map_err(|_| OTHER_FORM)?;
        let mut time = |name: &str| claims.remove(name).as_ref().and_then(Value::as_i64);
        let (Some(_), Some(nbf), Some(exp)) = (time("iat"), time("nbf"), time("exp")) else {
            return Err("a token without times");
        };
        claims.remove("jti");
        let Dated { claims: mut expected, .. } =
            self.claims("", now).map_err(|_| "a clock that shows an impossible time")?;
        for name in ["iat", "nbf", "exp", "jti"] {
            expected.remove(name);
        }
        if claims != expected {
            return Err("a token that says something else");
        }
        if nbf > now.as_second() {
            return Err("a token that is not valid yet");
        }
        let until = Timestamp::from_second(exp).map_err(|_| "a token that expires at an impossible time")?;
        if until <= now { Err("a token that has expired") } else { Ok(until) }
    }
}
