//! The mapping document as written: shapes and forms only. What the parts mean together is the compiler's business.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::extra;
use super::problems::Problems;
use super::profile::{self, Profile};
use super::reader::{Located, Reader, table_of, type_of};
use crate::charset::CharSet;
use crate::text::Quoted;

/// Rules of one document.
const MAX_RULES: usize = 256;
/// Shortest and longest lifetime that a document may speak of, in seconds: a minute (shorter tokens fail on ordinary clock
/// differences) and a day (retired keys stay published for the longest lifetime).
pub(super) const MIN_TTL: u64 = 60;
const MAX_TTL: u64 = 24 * 3_600;

pub(super) struct Document<'d> {
    pub(super) audience: Option<Located<String>>,
    pub(super) ttl: Option<Located<u64>>,
    pub(super) max_ttl: Option<Located<u64>>,
    pub(super) directories: Vec<Directory>,
    pub(super) rules: Vec<RuleDocument<'d>>,
    pub(super) profiles: BTreeMap<String, Located<Profile>>,
}

/// `[directory.NAME]`: one Identity Center.
pub(super) struct Directory {
    pub(super) name: String,
    pub(super) accounts: Vec<Located<String>>,
    pub(super) ignores_case: bool,
}

/// `[[rule]]`. What could not be read is absent, and then `sound` is false.
pub(super) struct RuleDocument<'d> {
    pub(super) name: String,
    /// How messages call the rule.
    pub(super) place: String,
    pub(super) line: usize,
    pub(super) principal: Option<Reader<'d>>,
    pub(super) email_domain: Option<Located<String>>,
    pub(super) subject: Option<Located<String>>,
    pub(super) scopes: Option<Located<Vec<Located<String>>>>,
    pub(super) audiences: Option<Located<Vec<Located<String>>>>,
    pub(super) ttl: Option<Located<u64>>,
    pub(super) max_ttl: Option<Located<u64>>,
    pub(super) claims: BTreeMap<String, Value>,
    pub(super) shared_subject: Option<String>,
    pub(super) sound: bool,
}

impl<'d> Document<'d> {
    pub(super) fn read(table: &'d DeTable<'d>, problems: &mut Problems) -> Self {
        let mut top = Reader::new("the document", 1, table);
        let mut document = Self {
            audience: None,
            ttl: None,
            max_ttl: None,
            directories: Vec::new(),
            rules: Vec::new(),
            profiles: BTreeMap::new(),
        };
        if let Some(mut defaults) = section(&mut top, "defaults", "[defaults]", problems) {
            document.audience = defaults.string("audience", problems);
            document.ttl = lifetime(&mut defaults, "ttl", problems);
            document.max_ttl = lifetime(&mut defaults, "max_ttl", problems);
            if document.max_ttl.is_none() && defaults.get("max_ttl").is_some() {
                // Already reported: what is merely larger than the built-in bound is no second problem.
                document.max_ttl = Some(Located { value: MAX_TTL, line: defaults.line });
            }
            defaults.finish(problems);
        }
        if let Some(directories) = section(&mut top, "directory", "[directory]", problems) {
            for (name, value) in directories.entries(problems) {
                if !is_label(name.value) {
                    let message = format!(
                        "expected a directory's name of 1 to 64 printable characters, found {}",
                        Quoted(name.value)
                    );
                    problems.push(name.line, message, "name it after its Identity Center: [directory.corp]");
                } else if let Some(table) = table_of(&format!("[directory.{}]", name.value), value, problems) {
                    document.directories.extend(directory(name.value, table, problems));
                }
            }
        }
        if let Some(audiences) = section(&mut top, "audience", "[audience]", problems) {
            for (name, value) in audiences.entries(problems) {
                let Some(table) = table_of(&format!("[audience.{}]", Quoted(name.value)), value, problems) else {
                    continue;
                };
                check_audience(&name.clone().map(str::to_owned), problems);
                let line = name.line;
                if let Some(profile) = profile::read(table, problems) {
                    document.profiles.insert(name.value.to_owned(), Located { value: profile, line });
                }
            }
        }
        document.rules = rules(&mut top, problems);
        top.finish(problems);
        document
    }
}

/// Whether a text can be an audience; reports it otherwise.
pub(super) fn check_audience(audience: &Located<String>, problems: &mut Problems) -> bool {
    let good = is_audience(&audience.value);
    if !good {
        let message = format!(
            "expected an audience of 1 to 255 printable characters without spaces, found {}",
            Quoted(&audience.value)
        );
        problems.push(audience.line, message, "an audience is usually the URL of whoever checks the token");
    }
    good
}

pub(super) fn is_audience(text: &str) -> bool {
    (1..=255).contains(&text.len()) && CharSet::GRAPHIC.holds(text)
}

/// Names that the document gives: rules, directories, groups.
fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len()) && CharSet::PRINTABLE.holds(text)
}

fn section<'d>(top: &mut Reader<'d>, key: &'static str, place: &str, problems: &mut Problems) -> Option<Reader<'d>> {
    let value = top.get(key)?;
    table_of(place, value, problems)
}

fn directory(name: &str, mut table: Reader<'_>, problems: &mut Problems) -> Option<Directory> {
    let accounts = table.required_strings("accounts", "[\"111122223333\"]", problems);
    let ignores_case = match table.string("user_names", problems) {
        None => false,
        Some(word) => match word.value.as_str() {
            "case-insensitive" => true,
            "case-sensitive" => false,
            other => {
                let message =
                    format!("expected user_names to be case-insensitive or case-sensitive, found {}", Quoted(other));
                problems.push(word.line, message, "it says whether \"Bob\" and \"bob\" are one user of this directory");
                false
            }
        },
    };
    table.finish(problems);
    Some(Directory { name: name.to_owned(), accounts: accounts?.value, ignores_case })
}

fn rules<'d>(top: &mut Reader<'d>, problems: &mut Problems) -> Vec<RuleDocument<'d>> {
    let items = match top.get("rule").map(|value| (value, value.get_ref())) {
        Some((_, DeValue::Array(items))) if !items.is_empty() => items,
        Some((value, other)) => {
            let message = format!("expected rule to be a list of tables, found {}", type_of(other));
            problems.push(problems.line_at(value.span().start), message, "begin each rule with [[rule]]");
            return Vec::new();
        }
        None => {
            problems.push(None, "expected at least one [[rule]], found none", "without rules every caller is refused");
            return Vec::new();
        }
    };
    if items.len() > MAX_RULES {
        let message = format!("expected at most {MAX_RULES} rules, found {}", items.len());
        problems.push(None, message, "merge rules with lists of accounts or with \"*\"");
        return Vec::new();
    }
    let mut rules: Vec<RuleDocument<'d>> = Vec::with_capacity(items.len());
    for (n, item) in items.iter().enumerate() {
        let Some(table) = table_of(&format!("rule {}", n + 1), item, problems) else { continue };
        let rule = rule(table, problems);
        let named = !rule.name.is_empty();
        if let Some(earlier) = rules.iter().find(|earlier| named && earlier.name == rule.name) {
            let message =
                format!("expected different rule names, found {} in line {} too", Quoted(&rule.name), earlier.line);
            problems.push(rule.line, message, "decisions are logged by rule name");
        }
        rules.push(rule);
    }
    rules
}

fn rule<'d>(mut table: Reader<'d>, problems: &mut Problems) -> RuleDocument<'d> {
    let before = problems.count();
    let name = table.required_string("name", "\"what the rule is for\"", problems);
    if let Some(name) = &name {
        if is_label(&name.value) {
            table.place = format!("rule {}", Quoted(&name.value));
        } else {
            let message =
                format!("expected a rule name of 1 to 64 printable characters, found {}", Quoted(&name.value));
            problems.push(name.line, message, "decisions are logged by rule name");
        }
    }
    let principal = table.required_table("principal", "{ kind = \"assumed-role\", … }", problems);
    let email_domain = table.string("email_domain", problems);
    let subject = table.required_string("subject", "\"{account}/{role}\"", problems);
    let scopes = table.strings("scopes", problems);
    for scope in scopes.iter().flat_map(|list| &list.value) {
        if scope.value.is_empty() || scope.value.len() > 255 || !CharSet::SCOPE_TOKEN.holds(&scope.value) {
            let message = format!("expected a scope token of RFC 6749 section 3.3, found {}", Quoted(&scope.value));
            problems.push(scope.line, message, "1 to 255 printable characters without space, quote and backslash");
        }
    }
    let audiences = table.strings("audiences", problems);
    for audience in audiences.iter().flat_map(|list| &list.value) {
        check_audience(audience, problems);
    }
    let ttl = lifetime(&mut table, "ttl", problems);
    let max_ttl = lifetime(&mut table, "max_ttl", problems);
    let claims = table.table("claims", problems).map(|claims| extra::read(&claims, problems)).unwrap_or_default();
    let shared_subject = table.string("shared_subject", problems);
    if let Some(group) = &shared_subject
        && !is_label(&group.value)
    {
        let message = format!("expected a group name of 1 to 64 printable characters, found {}", Quoted(&group.value));
        problems.push(
            group.line,
            message,
            "rules with the same shared_subject may give one subject to several identities",
        );
    }
    let (line, place) = (table.line, table.place.clone());
    let shared_subject = shared_subject.map(|group| group.value);
    table.finish(problems);
    RuleDocument {
        name: name.map(|name| name.value).unwrap_or_default(),
        place,
        line,
        principal,
        email_domain,
        subject,
        scopes,
        audiences,
        ttl,
        max_ttl,
        claims,
        shared_subject,
        sound: problems.count() == before,
    }
}

fn lifetime(table: &mut Reader<'_>, key: &'static str, problems: &mut Problems) -> Option<Located<u64>> {
    let text = table.string(key, problems)?;
    match duration::parse(&text.value) {
        Some(seconds) if (MIN_TTL..=MAX_TTL).contains(&seconds) => Some(text.map(|_| seconds)),
        _ => {
            let message = format!(
                "expected {key} in {} to be a duration of 60s to 24h, found {}",
                table.place,
                Quoted(&text.value)
            );
            problems.push(text.line, message, "write \"90s\", \"15m\", \"1h\" or \"1h30m\"");
            None
        }
    }
}
