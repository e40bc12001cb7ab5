//! From the document to the immutable mapping: what the parts mean together.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::DeTable;
use toml_parser::lexer::TokenKind;

use super::document::{Document, MIN_TTL, RuleDocument, check_audience, is_audience};
use super::duration;
use super::kind::Kind;
use super::problems::{MappingErrors, Problems};
use super::profile::{Profile, ProfileKind, ScopeForm};
use super::proof;
use super::reader::{Located, Reader};
use super::selector::Selector;
use super::template::Template;
use super::{CompileOptions, SubjectMapping};
use crate::text::Quoted;

/// Longest document, in bytes. SSM holds 8 KiB; files may be longer.
const MAX_SOURCE: usize = 64 * 1024;
/// Dots in one dotted key.
const MAX_DOTS: usize = 8;
const BUILT_IN_TTL: u64 = 15 * 60;
const BUILT_IN_MAX_TTL: u64 = 3_600;

/// A compiled rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) selector: Selector,
    pub(super) subject: Template,
    pub(super) scopes: Vec<String>,
    /// Audience and its profile, the order of the document.
    pub(super) audiences: Vec<(String, Profile)>,
    /// Index into `audiences` of what a request without audience gets.
    pub(super) default_audience: Option<usize>,
    pub(super) ttl: u64,
    pub(super) max_ttl: u64,
    pub(super) extra: BTreeMap<String, Value>,
    pub(super) shared_subject: Option<String>,
}

pub(super) fn compile(source: &str, options: &CompileOptions) -> Result<SubjectMapping, MappingErrors> {
    let mut problems = Problems::new(source);
    let rules = if is_bounded(source, &mut problems) { parse(source, options, &mut problems) } else { Vec::new() };
    problems.into_result()?;
    Ok(SubjectMapping { rules })
}

/// Whether the document is small and flat enough to be parsed at all; reports it otherwise.
fn is_bounded(source: &str, problems: &mut Problems) -> bool {
    if source.len() > MAX_SOURCE {
        let message = format!("expected a mapping of at most {MAX_SOURCE} bytes, found {}", source.len());
        problems.push(None, message, "merge rules with lists of accounts or with \"*\"");
        return false;
    }
    if let Some(offset) = long_key(source) {
        let message = format!("expected keys of at most {} parts, found a longer one", MAX_DOTS + 1);
        problems.push(problems.line_at(offset), message, "no key of a mapping has more than three parts");
        return false;
    }
    true
}

fn parse(source: &str, options: &CompileOptions, problems: &mut Problems) -> Vec<Rule> {
    let (table, syntax) = DeTable::parse_recoverable(source);
    if syntax.is_empty() {
        return rules(table.get_ref(), options, problems);
    }
    for error in &syntax {
        let line = error.span().map(|span| problems.line_at(span.start));
        let message = format!("expected TOML, found an error: {}", bounded(error.message()));
        problems.push(line, message, "see https://toml.io/en/v1.0.0");
    }
    Vec::new()
}

fn rules<'d>(table: &'d DeTable<'d>, options: &CompileOptions, problems: &mut Problems) -> Vec<Rule> {
    let mut document = Document::read(table, problems);
    directories_are_disjoint(&document, problems);
    profiles_can_be_signed(&document, options, problems);
    let default_audience = default_audience(&document, options, problems);
    let audience_given = document.audience.is_some() || options.audience.is_some();
    let defaults =
        Defaults { audience: default_audience, audience_given, lifetimes: lifetimes(&document, options, problems) };
    let mut rules = Vec::new();
    for rule in std::mem::take(&mut document.rules) {
        rules.extend(compile_rule(rule, &document, &defaults, options, problems));
    }
    proof::prove(&rules, &document.directories, problems);
    rules
}

struct Defaults {
    audience: Option<String>,
    /// One was given, so a faulty one is no second problem of every rule.
    audience_given: bool,
    /// `ttl`, `max_ttl`.
    lifetimes: (Option<u64>, u64),
}

fn directories_are_disjoint(document: &Document<'_>, problems: &mut Problems) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for directory in &document.directories {
        for account in &directory.accounts {
            if let Err(error) = crate::principal::account_id(&account.value) {
                problems.push(account.line, error.to_string(), "list the accounts of this Identity Center");
            }
            if let Some(owner) = owners.insert(&account.value, &directory.name) {
                let message = format!(
                    "expected each account in one directory, found {} in {} and {}",
                    Quoted(&account.value),
                    Quoted(owner),
                    Quoted(&directory.name)
                );
                problems.push(account.line, message, "an account has at most one Identity Center");
            }
        }
    }
}

fn profiles_can_be_signed(document: &Document<'_>, options: &CompileOptions, problems: &mut Problems) {
    for (audience, profile) in &document.profiles {
        if let Some(alg) = profile.value.algorithm()
            && !options.algorithms.is_empty()
            && !options.algorithms.iter().any(|has| has == alg)
        {
            let has = options.algorithms.join(", ");
            let message = format!(
                "expected an algorithm that the key ring has ({has}) for audience {}, found {alg}",
                Quoted(audience)
            );
            problems.push(profile.line, message, "give the ring a key of this algorithm, or choose another profile");
        }
    }
}

fn default_audience(document: &Document<'_>, options: &CompileOptions, problems: &mut Problems) -> Option<String> {
    let written = document.audience.as_ref().filter(|audience| check_audience(audience, problems));
    let given = options.audience.as_ref();
    if let Some(given) = given.filter(|given| !is_audience(given)) {
        let message =
            format!("expected AUDIENCE to be 1 to 255 printable characters without spaces, found {}", Quoted(given));
        problems.push(None, message, "unset it, or give the URL of whoever checks the token");
        return None;
    }
    if let (Some(written), Some(given)) = (written, given)
        && written.value != *given
    {
        let message =
            format!("expected defaults.audience to equal AUDIENCE {}, found {}", Quoted(given), Quoted(&written.value));
        problems.push(written.line, message, "set one of the two");
    }
    written.map(|written| written.value.clone()).or_else(|| given.cloned())
}

fn lifetimes(document: &Document<'_>, options: &CompileOptions, problems: &mut Problems) -> (Option<u64>, u64) {
    let covered = options.max_token_ttl_s.unwrap_or(u64::MAX);
    if let Some(max) = document.max_ttl.as_ref().filter(|max| max.value > covered) {
        let (covered, found) = (duration::print(covered), duration::print(max.value));
        let message = format!(
            "expected max_ttl in [defaults] to be at most the key ring's max_token_ttl {covered}, found {found}"
        );
        problems.push(max.line, message, "lower it, or give the ring a policy whose retention covers longer tokens");
    }
    let max = document.max_ttl.as_ref().map_or(BUILT_IN_MAX_TTL.min(covered), |max| max.value);
    if let Some(ttl) = document.ttl.as_ref().filter(|ttl| ttl.value > max) {
        at_most("ttl in [defaults]", ttl, max, problems);
    }
    (document.ttl.as_ref().map(|ttl| ttl.value), max)
}

fn at_most(what: &str, found: &Located<u64>, max: u64, problems: &mut Problems) {
    let (max, value) = (duration::print(max), duration::print(found.value));
    let message = format!("expected {what} to be at most {max}, found {value}");
    problems.push(found.line, message, "raise max_ttl in [defaults] (built in 1h), or lower this one");
}

fn compile_rule(
    rule: RuleDocument<'_>,
    document: &Document<'_>,
    defaults: &Defaults,
    options: &CompileOptions,
    problems: &mut Problems,
) -> Option<Rule> {
    let before = problems.count();
    let place = rule.place;
    let kind = rule.principal.as_ref().and_then(peek_kind);
    let subject = rule.subject.zip(kind).and_then(|(subject, kind)| template(kind, &subject, problems));
    if let (Some((line, subject)), None) = (&subject, &rule.email_domain)
        && subject.uses_local_part()
    {
        let message = format!("expected email_domain in {place} beside the filter local_part, found none");
        problems.push(*line, message, "without one domain, bob@a.example and bob@b.example would be the same subject");
    }
    let directories = &document.directories;
    let selector = rule
        .principal
        .and_then(|table| Selector::read(table, rule.email_domain, directories, options.sso_path, problems));
    let (ttl, max_ttl) = rule_lifetimes(&place, rule.ttl.as_ref(), rule.max_ttl.as_ref(), defaults.lifetimes, problems);
    let audiences: Vec<(String, Profile)> = match (rule.audiences, &defaults.audience) {
        (Some(list), _) => list.value.into_iter().map(|audience| audience.value).collect(),
        (None, Some(default)) => vec![default.clone()],
        (None, None) if defaults.audience_given => Vec::new(),
        (None, None) => {
            let message = format!(
                "expected an audience for {place}, found neither audiences, nor defaults.audience, nor AUDIENCE"
            );
            problems.push(
                rule.line,
                message,
                "add audience = \"https://…\" to [defaults], or audiences = [\"…\"] to the rule",
            );
            Vec::new()
        }
    }
    .into_iter()
    .map(|audience| {
        let profile = document.profiles.get(&audience).map_or(Profile::GENERIC, |profile| profile.value.clone());
        (audience, profile)
    })
    .collect();
    let default_audience = audiences
        .iter()
        .position(|(audience, _)| Some(audience) == defaults.audience.as_ref())
        .or((audiences.len() == 1).then_some(0));
    let scope_line = rule.scopes.as_ref().map_or(rule.line, |scopes| scopes.line);
    let scopes: Vec<String> =
        rule.scopes.map(|list| list.value.into_iter().map(|scope| scope.value).collect()).unwrap_or_default();
    for (audience, profile) in &audiences {
        if profile.kind() == ProfileKind::SnowflakeExternalOauth && scopes.is_empty() {
            let message =
                format!("expected scopes in {place} for the Snowflake audience {}, found none", Quoted(audience));
            problems.push(
                scope_line,
                message,
                "Snowflake refuses tokens without a role: scopes = [\"session:role:ANALYST\"]",
            );
        }
        if profile.scope_form() == ScopeForm::Comma
            && let Some(scope) = scopes.iter().find(|scope| scope.contains(','))
        {
            let message = format!(
                "expected scopes without commas in {place} for audience {}, found {}",
                Quoted(audience),
                Quoted(scope)
            );
            problems.push(scope_line, message, "this audience separates scopes by commas; use scope_claim = \"scp\"");
        }
    }
    if problems.count() > before || !rule.sound {
        return None;
    }
    Some(Rule {
        name: rule.name,
        line: rule.line,
        selector: selector?,
        subject: subject?.1,
        scopes,
        audiences,
        default_audience,
        ttl,
        max_ttl,
        extra: rule.claims,
        shared_subject: rule.shared_subject,
    })
}

/// The kind before the selector is read, so that problems of the subject are found even when the selector has some.
fn peek_kind(table: &Reader<'_>) -> Option<Kind> {
    table.peek_string("kind").and_then(Kind::parse)
}

fn template(kind: Kind, subject: &Located<String>, problems: &mut Problems) -> Option<(usize, Template)> {
    match Template::parse(kind, &subject.value) {
        Ok(template) => Some((subject.line, template)),
        Err((message, hint)) => {
            problems.push(subject.line, message, hint);
            None
        }
    }
}

fn rule_lifetimes(
    place: &str,
    ttl: Option<&Located<u64>>,
    max_ttl: Option<&Located<u64>>,
    (default_ttl, document_max): (Option<u64>, u64),
    problems: &mut Problems,
) -> (u64, u64) {
    if let Some(max) = max_ttl.filter(|max| max.value > document_max) {
        at_most(&format!("max_ttl in {place}"), max, document_max, problems);
    }
    let max = max_ttl.map_or(document_max, |max| max.value.min(document_max));
    if let Some(ttl) = ttl.filter(|ttl| ttl.value > max) {
        at_most(&format!("ttl in {place}"), ttl, max, problems);
    }
    let ttl = ttl.map(|ttl| ttl.value).or(default_ttl).unwrap_or(BUILT_IN_TTL);
    (ttl.clamp(MIN_TTL, max.max(MIN_TTL)), max)
}

/// The offset of the first dotted key that is too long.
///
/// The parser limits how deep values nest, but each key may in turn be as long as the line, and the tables that it makes are
/// dropped recursively: 77 inline tables with keys of 77 parts, 12 KB, overflow a stack of 2 MiB. The parser's own
/// lexer is asked, so that both agree on what is a key and what is text.
fn long_key(source: &str) -> Option<usize> {
    let mut dots = 0;
    for token in toml_parser::Source::new(source).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::BasicString | TokenKind::LiteralString | TokenKind::Whitespace => {}
            _ => dots = 0,
        }
        if dots > MAX_DOTS {
            return Some(token.span().start());
        }
    }
    None
}

fn bounded(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
