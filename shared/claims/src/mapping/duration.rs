//! Durations as documents write them: `90s`, `15m`, `1h30m`, `1d`.

/// Whole seconds. Units in descending order, each at most once, nothing else.
pub(super) fn parse(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // Six digits cannot overflow and are already eleven days of seconds.
        let (number, tail) = rest.split_at_checked(digits).filter(|_| (1..=6).contains(&digits))?;
        let unit = tail.chars().next()?;
        let (_, seconds) = units.find(|(name, _)| *name == unit)?;
        total += number.parse::<u64>().ok()? * seconds;
        rest = tail.get(unit.len_utf8()..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// The shortest exact form, for messages.
pub(super) fn print(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, print};

    #[test]
    fn durations() {
        for (text, seconds) in [("15m", 900), ("1h", 3_600), ("90s", 90), ("1h30m", 5_400), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in ["", "15", "m", "15 m", "1m1h", "1h1h", "-1s", "+1s", "1.5h", "9999999s", "1\u{ff48}", "15min"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!([print(3_600), print(5_400), print(61)], ["1h", "90m", "61s"]);
    }
}
