//! How foreign text appears in messages and logs: quoted, escaped, bounded.

use std::fmt::{self, Display, Formatter, Write as _};

/// Longest echo of foreign text, in characters of output.
const ECHO: usize = 64;

/// Quotes foreign text: printable ASCII as it is, the rest escaped, at most 64 characters, then its length in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut written = 0;
        for c in self.0.chars() {
            let escaped = if c == '\'' { None } else { Some(c.escape_default()) };
            let width = escaped.as_ref().map_or(1, ExactSizeIterator::len);
            if written + width > ECHO {
                return write!(f, "...\" ({} bytes)", self.0.len());
            }
            match escaped {
                Some(escaped) => write!(f, "{escaped}")?,
                None => f.write_char(c)?,
            }
            written += width;
        }
        f.write_char('"')
    }
}

/// Foreign text kept in an error value: already quoted, so that no later formatting can echo it raw.
pub(crate) fn quoted(text: &str) -> String {
    Quoted(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn foreign_text_is_bounded_and_escaped() {
        assert_eq!(quoted("a'b"), "\"a'b\"");
        assert_eq!(quoted("a\"\n\u{430}"), r#""a\"\n\u{430}""#);
        assert_eq!(quoted(&"x".repeat(64)), format!("\"{}\"", "x".repeat(64)));
        assert_eq!(quoted(&"x".repeat(2000)), format!("\"{}...\" (2000 bytes)", "x".repeat(64)));
        assert!(quoted(&"\u{1f600}".repeat(2000)).len() < 100);
    }
}
