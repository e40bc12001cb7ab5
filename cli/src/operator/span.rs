//! Spans of time as operators write and read them: `90`, `15m`, `1d6h`.

use std::str::FromStr;

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// A span in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused =
            || format!("expected seconds or a span such as 15m, 24h or 1d6h, found {}", crate::file::quoted(text));
        let number = |digits: &str| -> Result<u64, String> {
            if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(refused());
            }
            digits.parse().map_err(|_| refused())
        };
        if text.ends_with(|last: char| last.is_ascii_digit()) {
            return number(text).map(Self);
        }
        let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
        while !rest.is_empty() {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(refused)?;
            let (digits, tail) = rest.split_at(end);
            // Each unit once, from the largest down.
            let (name, size) = units.by_ref().find(|(name, _)| tail.starts_with(name)).ok_or_else(refused)?;
            let part = number(digits)?.checked_mul(*size).ok_or_else(refused)?;
            total = total.checked_add(part).ok_or_else(refused)?;
            rest = tail.strip_prefix(name).ok_or_else(refused)?;
        }
        if text.is_empty() { Err(refused()) } else { Ok(Self(total)) }
    }
}

/// Seconds for reading: `30d`, `1d6h`, `10m`.
pub(super) fn shown(seconds: u64) -> String {
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Span, shown};

    #[test]
    fn spans_read_and_everything_else_is_refused() {
        for (text, seconds) in
            [("90", 90), ("15m", 900), ("1d6h", 108_000), ("24h", 86_400), ("0", 0), ("1h30s", 3_630)]
        {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for text in ["", "h", "1w", "1h2d", "1h1h", "-1", "+5", "1.5h", "1 h", "99999999999", "1h5", "٣"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 0_u64..100_000_000) {
            prop_assert_eq!(shown(seconds).parse(), Ok(Span(seconds)));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = text.parse::<Span>();
        }
    }
}
