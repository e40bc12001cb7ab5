//! Configuration from the environment, read once, with all problems reported together.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Where settings come from: the process environment, or a map in tests.
pub trait Vars {
    /// The value of `name`; `None` where it is unset. An empty value counts as unset.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessVars;

impl Vars for ProcessVars {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Settings in a map.
#[derive(Clone, Debug, Default)]
pub struct MapVars(BTreeMap<String, String>);

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for MapVars {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for MapVars {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl Vars for MapVars {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// Every problem of a configuration, in the order found. `Display` numbers them, one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds `name: expected …, found …; hint: …`. A text of several lines is one problem per line.
    pub fn add(&mut self, problem: impl fmt::Display) {
        self.0.extend(problem.to_string().lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value if nothing is wrong, else all that is.
    ///
    /// # Errors
    /// `self`, when it holds a problem, or when `value` is missing although no problem says why.
    pub fn into_result<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            Some(_) => Err(self),
            None => {
                if self.is_empty() {
                    self.add("configuration: expected every setting to be read, found one that is not");
                }
                Err(self)
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}. {problem}", index + 1)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads settings and notes what is wrong with them.
pub struct Settings<'a> {
    vars: &'a dyn Vars,
    problems: &'a mut Problems,
}

impl<'a> Settings<'a> {
    /// Reads from `vars`, notes in `problems`.
    pub fn new(vars: &'a dyn Vars, problems: &'a mut Problems) -> Self {
        Self { vars, problems }
    }

    /// A setting that may be missing.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<String> {
        self.vars.get(name)
    }

    /// A setting that must be there; `expected` says what it is, for the message.
    pub fn required(&mut self, name: &str, expected: &str) -> Option<String> {
        let value = self.vars.get(name);
        if value.is_none() {
            self.problems.add(format_args!("{name}: expected {expected}, found nothing; hint: set {name}"));
        }
        value
    }

    /// A setting with a default, read with `FromStr`. `None` after a problem.
    pub fn parsed<T: FromStr>(&mut self, name: &str, expected: &str, default: T) -> Option<T> {
        match self.vars.get(name) {
            None => Some(default),
            Some(text) => {
                let value = text.parse().ok();
                if value.is_none() {
                    self.problem(name, expected, &text, None);
                }
                value
            }
        }
    }

    /// Notes `name: expected …, found "…"; hint: …`. `found` is quoted, escaped and cut at 64 characters.
    pub fn problem(&mut self, name: &str, expected: &str, found: &str, hint: Option<&str>) {
        let shown: String = found.chars().take(64).flat_map(char::escape_debug).collect();
        let more = if found.chars().count() > 64 { "…" } else { "" };
        let hint = hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        self.problems.add(format_args!("{name}: expected {expected}, found \"{shown}{more}\"{hint}"));
    }

    /// Notes a problem in its own words.
    pub fn note(&mut self, problem: impl fmt::Display) {
        self.problems.add(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::{MapVars, Problems, Settings, Vars as _};

    #[test]
    fn an_empty_value_is_unset() {
        assert_eq!(MapVars::from([("A", "")]).get("A"), None);
    }

    #[test]
    fn a_value_in_a_message_is_escaped_and_cut() {
        let mut problems = Problems::default();
        Settings::new(&MapVars::default(), &mut problems).problem(
            "A",
            "a word",
            &format!("\n{}", "x".repeat(100)),
            None,
        );
        assert_eq!(problems.to_string(), format!("1. A: expected a word, found \"\\n{}…\"", "x".repeat(63)));
    }

    #[test]
    fn a_missing_value_without_a_problem_is_a_problem() {
        assert!(Problems::default().into_result::<u8>(None).is_err());
        assert_eq!(Problems::default().into_result(Some(1)), Ok(1));
    }
}
