//! Key identifiers: never chosen, always computed.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::text;

/// A key identifier: the SHA-256 thumbprint of the public key (RFC 7638 section 3) in base64url, 43 characters.
///
/// Computed from the key, so the same key has the same `kid` in every document and a document cannot give a key another
/// one's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid(String);

/// The text is not a SHA-256 thumbprint in canonical base64url.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 7638 SHA-256 thumbprint (43 characters of base64url), found {found}")]
pub struct KidError {
    found: String,
}

impl Kid {
    /// The thumbprint of a key, given its required members as canonical JSON (RFC 7638 section 3.2 and 3.3).
    pub(crate) fn of_canonical_jwk(json: &str) -> Self {
        Self(text::base64url(&text::sha256(json.as_bytes())))
    }

    /// The 43 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Kid {
    type Err = KidError;

    fn from_str(text: &str) -> Result<Self, KidError> {
        match text::base64url_decode(text) {
            Some(digest) if digest.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(KidError { found: text::found_str(text) }),
        }
    }
}

impl AsRef<str> for Kid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Kid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_of_the_keys_in_the_replaced_service_s_tests() {
        // The first is RFC 7638 section 3.1.
        let rsa = r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;
        let ec = r#"{"crv":"P-256","kty":"EC","x":"WbbXwVQpNcx4JpLfTo0qjQLwpHA4cb9YNQKM7VjPMns","y":"6Pbt6dwxAeS7yHp7YV4GHKaGMPaY2dSzfb0V4L5Vooo"}"#;
        assert_eq!(Kid::of_canonical_jwk(rsa).as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(Kid::of_canonical_jwk(ec).as_str(), "wQIqo1NKkAaZZ9pvoibaHVdXAhzMj8XOZLqQ8x5A7-E");
    }

    #[test]
    fn only_canonical_thumbprints_are_kids() {
        let kid = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(kid.parse::<Kid>().unwrap().to_string(), kid);
        for other in ["", "key-1", &kid[1..], &format!("{kid}="), &kid.replace("Xs", "Xt"), &kid.replace('-', "+")] {
            assert!(other.parse::<Kid>().is_err(), "{other}");
        }
    }
}
