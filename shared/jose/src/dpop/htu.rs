//! Request URIs, compared as RFC 9449 section 4.3 asks: without query and fragment, after the normalisation of RFC 3986
//! sections 6.2.2 and 6.2.3.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::text::quote;

/// The longest URI that is read, in bytes.
const MAX_BYTES: usize = 2048;

/// An `http` or `https` URI in normal form, without query and fragment: what a proof's `htu` is compared with.
///
/// Scheme and host are lower case, a default port is left out, percent-encoded unreserved characters are decoded and other
/// triplets are in upper case, dot segments are resolved, an empty path is `/`. Nothing else is changed: the path keeps its
/// case, its empty segments, its trailing slash and its encoded slashes, so that no two resources become one.
///
/// ```
/// use token_jose::Htu;
/// let ours = Htu::parse("https://Auth.Example:443/a/../%74oken?x=1#y")?;
/// assert_eq!(ours.as_str(), "https://auth.example/token");
/// assert_ne!(ours, Htu::parse("https://auth.example/Token")?);
/// # Ok::<(), token_jose::HtuError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Htu(String);

/// The text is no absolute `http` or `https` URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an http or https URI with {expected}, found {found}")]
pub struct HtuError {
    expected: &'static str,
    found: String,
}

impl Htu {
    /// Reads an absolute URI (RFC 3986 section 4.3) of scheme `http` or `https`.
    ///
    /// # Errors
    /// When it is over 2048 bytes, has another scheme, user information, no host, a port beyond 65535, or a character or
    /// percent-encoding that a URI does not have.
    pub fn parse(uri: &str) -> Result<Self, HtuError> {
        normal_form(uri).map(Self).map_err(|expected| HtuError { expected, found: quote(uri) })
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Htu {
    type Err = HtuError;

    fn from_str(uri: &str) -> Result<Self, HtuError> {
        Self::parse(uri)
    }
}

impl fmt::Display for Htu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The normal form, or what was expected.
fn normal_form(uri: &str) -> Result<String, &'static str> {
    if uri.len() > MAX_BYTES {
        return Err("at most 2048 bytes");
    }
    let (scheme, rest) = uri.split_once("://").ok_or("its scheme and host")?;
    let (scheme, default_port) = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => ("https", 443),
        _ if scheme.eq_ignore_ascii_case("http") => ("http", 80),
        _ => return Err("one of these schemes"),
    };
    // Query and fragment are not compared, but are part of a URI only if they have a URI's characters.
    let (rest, ignored) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    if !ignored.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a URI's characters only");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("no user information");
    }
    let (host, port) = split_port(authority)?;
    let host = normal_host(host)?;
    let path = without_dot_segments(&decode_unreserved(path, is_path_byte)?);
    Ok(match port {
        Some(port) if port != default_port => format!("{scheme}://{host}:{port}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    })
}

/// Host and port; a port that is empty is none (RFC 3986 section 6.2.3).
fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.rfind(':') {
        // A colon inside an IPv6 literal's brackets is no port's.
        Some(colon) if !authority.get(colon..).is_some_and(|rest| rest.contains(']')) => {
            authority.split_at_checked(colon).ok_or("a host")?
        }
        _ => (authority, ""),
    };
    match port.strip_prefix(':') {
        None | Some("") => Ok((host, None)),
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(|port| (host, Some(port))).map_err(|_| "a port of at most 65535")
        }
        Some(_) => Err("a port of at most 65535"),
    }
}

fn normal_host(host: &str) -> Result<String, &'static str> {
    if let Some(literal) = host.strip_prefix('[') {
        let address: Option<Ipv6Addr> = literal.strip_suffix(']').and_then(|text| text.parse().ok());
        return address.map(|address| format!("[{address}]")).ok_or("an IPv6 address in brackets");
    }
    // Lower case after decoding: an encoded capital is a capital. The triplets that remain get their capitals back.
    let decoded = decode_unreserved(host, is_host_byte)?.to_ascii_lowercase();
    match decoded.as_str() {
        "" => Err("a host"),
        _ => decode_unreserved(&decoded, is_host_byte),
    }
}

/// Decodes percent-encoded unreserved characters and writes the other triplets in upper case (RFC 3986 sections 6.2.2.1 and
/// 6.2.2.2). Every other byte must be one that `allowed` admits.
fn decode_unreserved(text: &str, allowed: fn(u8) -> bool) -> Result<String, &'static str> {
    const WRONG: &str = "a URI's characters only, percent-encoded as %XX";
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !allowed(byte) {
                return Err(WRONG);
            }
            out.push(char::from(byte));
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else { return Err(WRONG) };
        let value = u8::try_from(high * 16 + low).map_err(|_| WRONG)?;
        if is_unreserved(value) {
            out.push(char::from(value));
        } else {
            out.push_str(&format!("%{value:02X}"));
        }
    }
    Ok(out)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// RFC 3986 section 2.2, `sub-delims`.
fn is_sub_delimiter(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

fn is_host_byte(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte)
}

fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte) || b":@/".contains(&byte)
}

/// RFC 3986 section 5.2.4, for a path that is empty or begins with `/`.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or_default().split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // "/a/." and "/a/b/.." name the folder: they end with a slash.
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
