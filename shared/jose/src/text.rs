//! Encodings (base64url, SHA-256, RFC 3339) and the rules for quoting foreign text in messages.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::Value;

/// The longest string that an error message repeats. No private key in any encoding is as short (a bare Ed25519 seed
/// takes 43 characters of base64), so key material put into the wrong member is described, never echoed.
const QUOTABLE: usize = 32;

/// Whether two secrets are equal, in a time that depends on their lengths alone.
///
/// ```
/// assert!(token_jose::same_secret(b"abc", b"abc"));
/// assert!(!token_jose::same_secret(b"abc", b"abd") && !token_jose::same_secret(b"abc", b"ab"));
/// ```
#[must_use]
pub fn same_secret(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The SHA-256 digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// The SHA-384 digest of `bytes`.
#[must_use]
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA384, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// The SHA-256 digest of `bytes` as 64 lower-case hexadecimal digits: what logs and records say instead of a token.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    sha256(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Base64url without padding (RFC 7515 section 2).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding, and only its canonical form: padding, white space, the standard alphabet and
/// non-zero trailing bits are all refused, so that one value has one spelling.
pub(crate) fn base64url_decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads an RFC 3339 time in UTC as documents write it: `2026-11-22T00:00:00Z`, optionally with a fraction.
pub(crate) fn parse_utc(text: &str) -> Option<Timestamp> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(shape.len())?;
    let head_fits = head.iter().zip(shape).all(|(byte, form)| match form {
        b'd' => byte.is_ascii_digit(),
        _ => byte == form,
    });
    let tail_fits = match tail {
        [b'Z'] => true,
        [b'.', fraction @ .., b'Z'] => (1..=9).contains(&fraction.len()) && fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if head_fits && tail_fits { text.parse().ok() } else { None }
}

/// Describes a JSON value for a message: what it is, and its text only where that cannot be key material.
pub(crate) fn found(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => {
            let digits = number.to_string();
            if digits.len() <= QUOTABLE { digits } else { "a long number".to_owned() }
        }
        Some(Value::String(text)) => found_str(text),
        Some(Value::Array(items)) => format!("an array of {}", items.len()),
        Some(Value::Object(members)) => format!("an object of {} members", members.len()),
    }
}

/// Quotes `text` escaped when it is short, else says how long it is.
pub(crate) fn found_str(text: &str) -> String {
    let length = text.chars().count();
    if length <= QUOTABLE {
        format!("\"{}\"", text.escape_default())
    } else {
        format!("a string of {length} characters")
    }
}

/// Quotes text that is not secret (an issuer, an audience) escaped, and cut after 96 characters.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 96;
    let cut = if text.chars().count() > LONGEST { "…" } else { "" };
    let head: String = text.chars().take(LONGEST).collect();
    format!("\"{}{cut}\"", head.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha_256() {
        // FIPS 180-2 appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(sha256(b"abc")[..2], [0xba, 0x78]);
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(base64url_decode("-_8"), Some(vec![0xfb, 0xff]));
        for other in ["-_8=", "-_9", "+/8", "-_8\n", " -_8", "-_8A=", "-"] {
            assert_eq!(base64url_decode(other), None, "{other:?}");
        }
    }

    #[test]
    fn times_are_utc_with_a_capital_z() {
        assert_eq!(parse_utc("2026-11-22T00:00:00Z").map(Timestamp::as_second), Some(1_795_305_600));
        assert!(parse_utc("2026-11-22T00:00:00.250Z").is_some());
        for other in [
            "2026-11-22",
            "2026-11-22T00:00:00",
            "2026-11-22T00:00:00+00:00",
            "2026-11-22t00:00:00z",
            "2026-11-22 00:00:00Z",
            "2026-11-22T00:00:00.Z",
            "2026-13-22T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T00:00:00Z[UTC]",
            "+002026-11-22T00:00:00Z",
        ] {
            assert_eq!(parse_utc(other), None, "{other}");
        }
    }

    #[test]
    fn messages_are_bounded_and_escaped() {
        assert_eq!(found_str("a\nb"), "\"a\\nb\"");
        assert_eq!(found_str(&"k".repeat(33)), "a string of 33 characters");
        assert!(quote(&"\u{202e}".repeat(5000)).len() < 1000);
        assert!(quote("\u{202e}\r\n").is_ascii());
    }
}
