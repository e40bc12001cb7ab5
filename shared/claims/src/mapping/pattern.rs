//! Exact values and values with one `*`.

use std::fmt::{self, Display, Formatter};

use super::kind::{Field, Kind};
use crate::charset::CharSet;
use crate::principal::{iam_path, is_reserved_role};
use crate::text::{Quoted, quoted};

/// What a field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(String),
    /// `prefix*suffix`: the star stands for one or more characters of `star`.
    Glob {
        prefix: String,
        suffix: String,
        star: CharSet,
    },
}

/// Why a text is no pattern: message and hint.
type Fault = (String, String);

impl Pattern {
    pub(super) fn parse(kind: Kind, field: Field, text: &str) -> Result<Self, Fault> {
        let (class, min, max) = kind.alphabet(field);
        let word = field.word();
        let mut halves = text.split('*');
        let (prefix, suffix, rest) = (halves.next().unwrap_or_default(), halves.next(), halves.next());
        if rest.is_some() {
            let message = format!("expected at most one \"*\" in {word}, found {}", Quoted(text));
            return Err((message, "write one rule per pattern".to_owned()));
        }
        let literal = prefix.len() + suffix.map_or(0, str::len);
        if literal > max || (suffix.is_none() && literal < min) {
            let message = format!("expected a {word} of {min} to {max} characters, found {}", Quoted(text));
            return Err((message, format!("a {} with such a {word} cannot exist", kind.name())));
        }
        if let Some(odd) = class.first_outside(prefix).or_else(|| class.first_outside(suffix.unwrap_or_default())) {
            let message = format!(
                "expected a {word} of the characters that its authority allows, found {} in {}",
                quoted(odd.encode_utf8(&mut [0; 4])),
                Quoted(text)
            );
            return Err((message, "matching is exact or with one \"*\"; there are no other patterns".to_owned()));
        }
        if field == Field::Role && is_reserved_role(text) {
            let message = format!("expected a role outside AWSReservedSSO_, found {}", Quoted(text));
            return Err((message, "use kind = \"sso-user\" with permission_set for Identity Center roles".to_owned()));
        }
        let slashes = prefix.starts_with('/') && suffix.is_none_or(|suffix| suffix.ends_with('/'));
        if field == Field::Path && !(slashes && (suffix.is_some() || iam_path(prefix).is_ok())) {
            let message = format!("expected a path that begins and ends with \"/\", found {}", Quoted(text));
            return Err((
                message,
                "IAM paths look like \"/\" or \"/team/data/\"; \"*\" stays in one segment".to_owned(),
            ));
        }
        let Some(suffix) = suffix else { return Ok(Self::Exact(prefix.to_owned())) };
        // A pattern that itself writes an "@" speaks of e-mail addresses, so its star must not swallow another one.
        let at = if text.contains('@') { CharSet::single(b'@') } else { CharSet::EMPTY };
        let star = class.minus(CharSet::SEPARATORS).minus(at);
        Ok(Self::Glob { prefix: prefix.to_owned(), suffix: suffix.to_owned(), star })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Glob { prefix, suffix, star } => text
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|middle| !middle.is_empty() && star.holds(middle)),
        }
    }

    pub(super) const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Glob { prefix, suffix, .. } => write!(f, "{prefix}*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Kind, Pattern};

    fn role(text: &str) -> Pattern {
        Pattern::parse(Kind::AssumedRole, Field::Role, text).unwrap()
    }

    #[test]
    fn a_star_is_one_or_more_characters_of_one_segment() {
        assert!(role("etl-*").matches("etl-x") && !role("etl-*").matches("etl-") && !role("etl-*").matches("ETL-x"));
        assert!(!role("ab*ba").matches("aba") && role("ab*ba").matches("abxba"), "halves never overlap");
        assert!(role("*").matches("x") && !role("*").matches(""));
        let path = Pattern::parse(Kind::IamUser, Field::Path, "/team/*/").unwrap();
        assert!(path.matches("/team/a/") && !path.matches("/team/a/b/") && !path.matches("/team/"));
        let subject = Pattern::parse(Kind::Token, Field::Subject, "repo:acme/*").unwrap();
        assert!(subject.matches("repo:acme/app") && !subject.matches("repo:acme/app:ref"));
        let user = Pattern::parse(Kind::SsoUser, Field::User, "*@example.com").unwrap();
        assert!(user.matches("bob@example.com") && !user.matches("ceo@evil@example.com"));
    }

    #[test]
    fn impossible_patterns_are_refused() {
        for text in ["", "a*b*", "a/b", "a b", "\u{430}", "AWSReservedSSO_*", "awsreservedsso_x", &"x".repeat(65)] {
            assert!(Pattern::parse(Kind::AssumedRole, Field::Role, text).is_err(), "{text:?}");
        }
        for text in ["team/", "/team", "/team/*", "*/", "//"] {
            assert!(Pattern::parse(Kind::IamUser, Field::Path, text).is_err(), "{text:?}");
        }
        assert!(Pattern::parse(Kind::SsoUser, Field::User, &"x".repeat(64)).is_err());
    }
}
