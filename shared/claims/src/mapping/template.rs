//! Subject templates: `{account}/{role|upper}`.

use super::kind::{Field, Kind, fact};
use crate::charset::CharSet;
use crate::principal::Principal;
use crate::text::{Quoted, quoted};

/// Longest subject, in bytes. Never cut: a longer one refuses (Snowflake and OpenID Connect stop at 255).
pub(super) const MAX_SUBJECT: usize = 255;

/// A change of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Keep,
    Upper,
    Lower,
}

impl Case {
    pub(super) fn apply_to(self, text: &str) -> String {
        match self {
            Self::Keep => text.to_owned(),
            Self::Upper => text.to_ascii_uppercase(),
            Self::Lower => text.to_ascii_lowercase(),
        }
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Variable { field: Field, case: Case, local_part: bool },
}

/// A parsed template: no two literals touch, no variable occurs twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

/// What is wrong with a template: message and hint.
type Fault = (String, String);

impl Template {
    pub(super) fn parse(kind: Kind, text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            let hint = format!(
                "name who the caller is, for instance \"{{{}}}\"",
                kind.variables().last().map_or("account", |v| v.word())
            );
            return Err(("expected a subject, found an empty one".to_owned(), hint));
        }
        if !CharSet::PRINTABLE.holds(text) || text.len() > 4 * MAX_SUBJECT {
            let message = format!("expected a subject of printable ASCII, found {}", Quoted(text));
            return Err((message, "other bytes never reach a subject".to_owned()));
        }
        let braces = || {
            let message = format!("expected braces only around variables, found {}", Quoted(text));
            (message, "write \"{variable}\" or \"{variable|filter}\"".to_owned())
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            let (literal, tail) = rest.split_at_checked(open).ok_or_else(braces)?;
            if literal.contains('}') {
                return Err(braces());
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some(tail) = tail.strip_prefix('{') else { break };
            let (inside, after) = tail.split_once('}').ok_or_else(braces)?;
            let part = variable(kind, inside)?;
            if let Part::Variable { field, .. } = part
                && parts.iter().any(|other| matches!(other, Part::Variable { field: same, .. } if *same == field))
            {
                let message = format!("expected each variable once, found {{{}}} twice", field.word());
                return Err((message, "a subject that repeats itself only gets longer".to_owned()));
            }
            parts.push(part);
            rest = after;
        }
        let literal: usize = parts.iter().map(|part| if let Part::Literal(text) = part { text.len() } else { 1 }).sum();
        if literal > MAX_SUBJECT {
            let message = format!("expected a subject of at most {MAX_SUBJECT} bytes, found at least {literal}");
            return Err((message, "subjects are never cut, so no caller could get this one".to_owned()));
        }
        Ok(Self { parts })
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn uses_local_part(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable { local_part: true, .. }))
    }

    /// The subject of a principal, or why it has none.
    pub(super) fn render(&self, principal: &Principal) -> Result<String, String> {
        let mut subject = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => subject.push_str(text),
                Part::Variable { field, case, local_part } => {
                    let value = fact(principal, *field).ok_or_else(|| format!("the caller has no {}", field.word()))?;
                    let value = if *local_part { local(value)? } else { value };
                    subject.push_str(&case.apply_to(value));
                }
            }
        }
        if subject.is_empty() || subject.len() > MAX_SUBJECT || !CharSet::PRINTABLE.holds(&subject) {
            return Err(format!(
                "the subject would be {} bytes, 1 to {MAX_SUBJECT} printable ones are allowed",
                subject.len()
            ));
        }
        Ok(subject)
    }
}

/// The part of an e-mail address before its only `@`.
pub(super) fn local(value: &str) -> Result<&str, String> {
    match value.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => Ok(local),
        _ => Err(format!("{} does not have exactly one \"@\" between two parts", quoted(value))),
    }
}

fn variable(kind: Kind, inside: &str) -> Result<Part, Fault> {
    let mut words = inside.split('|');
    let name = words.next().unwrap_or_default();
    let Some(field) = kind.variables().iter().copied().find(|field| field.word() == name) else {
        let offered: Vec<String> = kind.variables().iter().map(|field| format!("{{{}}}", field.word())).collect();
        let message = format!("expected a variable that {} offers, found {}", kind.name(), Quoted(name));
        return Err((message, format!("it offers {}", offered.join(", "))));
    };
    let (mut case, mut local_part) = (Case::Keep, false);
    for filter in words {
        match filter {
            "upper" if case == Case::Keep => case = Case::Upper,
            "lower" if case == Case::Keep => case = Case::Lower,
            "local_part" if !local_part && field == Field::User => local_part = true,
            "upper" | "lower" | "local_part" => {
                let message = format!("expected filters that go together, found {}", Quoted(inside));
                return Err((message, "one of upper and lower; local_part once and only for {user}".to_owned()));
            }
            _ => {
                let message = format!("expected one of the filters upper, lower, local_part, found {}", Quoted(filter));
                return Err((message, "filters follow the variable: {user|local_part|upper}".to_owned()));
            }
        }
    }
    Ok(Part::Variable { field, case, local_part })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Template, local};

    #[test]
    fn an_address_has_exactly_one_at_sign() {
        assert_eq!(local("bob@example.com"), Ok("bob"));
        for text in ["", "bob", "@example.com", "bob@", "@", "ceo@evil@example.com", "bob@@example.com"] {
            assert!(local(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn templates_are_strict() {
        for good in
            ["x", "{user}", "{user|upper}", "{user|local_part|lower}", "a {account}/{user} b", "{account}{user}"]
        {
            assert!(Template::parse(Kind::SsoUser, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "{",
            "}",
            "{}",
            "{user",
            "user}",
            "{{user}}",
            "{user}}",
            "{ user}",
            "{User}",
            "{role}",
            "{user|}",
            "{user|Upper}",
            "{user|upper|lower}",
            "{user|upper|upper}",
            "{account|local_part}",
            "{user}{user|upper}",
            "\u{e9}",
            "a\nb",
        ] {
            assert!(Template::parse(Kind::SsoUser, bad).is_err(), "{bad:?}");
        }
        assert!(Template::parse(Kind::SsoUser, &"x".repeat(255)).is_ok());
        assert!(Template::parse(Kind::SsoUser, &"x".repeat(256)).is_err());
    }
}
