//! Headers that decide something.

use http::HeaderMap;
use http::header::HeaderName;

/// A header that decides security, and is not there exactly once as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Two fields of one name: the next hop may read another one than we do.
    #[error("{name}: expected one header field, found {found}; hint: send it once")]
    Repeated {
        /// The header's name.
        name: &'static str,
        /// How many there are.
        found: usize,
    },
    /// Bytes beyond printable ASCII.
    #[error("{name}: expected printable ASCII, found other bytes")]
    NotText {
        /// The header's name.
        name: &'static str,
    },
}

/// The value of the header `name`, which may be there once at most.
///
/// # Errors
/// [`HeaderError`] when there are two, or the one is not printable ASCII.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// assert_eq!(token_server::one_header(&headers, "dpop"), Ok(None));
/// headers.append("DPoP", "a".parse()?);
/// assert_eq!(token_server::one_header(&headers, "dpop"), Ok(Some("a")));
/// headers.append("dpop", "b".parse()?);
/// assert!(token_server::one_header(&headers, "dpop").is_err());
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn one_header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let more = values.count();
    if more > 0 {
        return Err(HeaderError::Repeated { name, found: more + 1 });
    }
    value.to_str().map(Some).map_err(|_| HeaderError::NotText { name })
}

/// Sets `name` to `value` once, whatever was there; a value that no header can hold sets it empty.
///
/// For identity headers towards an upstream: a value must never be missing, or the client's own would pass.
pub fn set_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = http::HeaderValue::from_str(value).unwrap_or_else(|_| http::HeaderValue::from_static(""));
    headers.insert(name, value);
}

/// The credential of an `Authorization` value of this scheme (compared without case, RFC 9110 section 11.1): what follows
/// one or more spaces, and is not empty and holds no space.
#[must_use]
pub fn credential<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = authorization.split_once(' ')?;
    let credential = rest.trim_matches(' ');
    (found.eq_ignore_ascii_case(scheme) && !credential.is_empty() && !credential.contains([' ', '\t', ',']))
        .then_some(credential)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn a_repeated_or_binary_header_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert_eq!(one_header(&headers, "authorization"), Err(HeaderError::NotText { name: "authorization" }));
        headers.append("authorization", HeaderValue::from_static("Bearer a"));
        let error = one_header(&headers, "authorization").unwrap_err();
        assert_eq!(error.to_string(), "authorization: expected one header field, found 2; hint: send it once");
    }

    #[test]
    fn a_credential_is_one_word_after_its_scheme() {
        assert_eq!(credential("Bearer abc", "Bearer"), Some("abc"));
        assert_eq!(credential("bearer  abc ", "Bearer"), Some("abc"));
        for wrong in ["", "Bearer", "Bearer ", "Bearerabc", "DPoP abc", "Bearer a b", "Bearer a,b", " Bearer a"] {
            assert_eq!(credential(wrong, "Bearer"), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_set_becomes_empty_and_never_the_callers() {
        let mut headers = HeaderMap::new();
        headers.append("x-user-id", HeaderValue::from_static("forged"));
        headers.append("x-user-id", HeaderValue::from_static("forged too"));
        set_header(&mut headers, HeaderName::from_static("x-user-id"), "a\nb");
        assert_eq!(headers.get_all("x-user-id").iter().collect::<Vec<_>>(), [""]);
    }
}
