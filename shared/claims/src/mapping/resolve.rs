//! What a principal gets, and why not.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write as _};

use serde_json::Value;

use super::compile::Rule;
use super::document::MIN_TTL;
use super::profile::Profile;
use super::selector::CUT_SESSION;
use crate::principal::{AwsKind, Principal};
use crate::text::{Quoted, quoted};

/// What a caller asks for. Whatever is not asked for comes from the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// One audience; `None` is the default one.
    pub audience: Option<String>,
    /// Scope tokens; `None` is all that the rule grants. An empty list is refused.
    pub scopes: Option<Vec<String>>,
    /// Lifetime in seconds; `None` is the rule's default.
    pub expires_in_s: Option<u64>,
}

/// What a token may say. Only [`SubjectMapping::resolve`](super::SubjectMapping::resolve) makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    subject: String,
    audience: String,
    scopes: Vec<String>,
    lifetime_s: u64,
    extra: BTreeMap<String, Value>,
    rule: String,
    profile: Profile,
    client_id: String,
}

impl Grant {
    /// 1-255 printable ASCII bytes.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The one audience.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Scope tokens without duplicates, in the order of the rule; may be empty.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Lifetime in seconds, at least 60.
    #[must_use]
    pub const fn lifetime_s(&self) -> u64 {
        self.lifetime_s
    }

    /// Claims of the document, never reserved names.
    #[must_use]
    pub const fn extra(&self) -> &BTreeMap<String, Value> {
        &self.extra
    }

    /// The name of the rule that granted.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The form of the token.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The caller's unique id (`AROA…`, `AIDA…`, a uid), else the subject (RFC 9068 section 2.2).
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }
}

#[cfg(test)]
impl Grant {
    /// With a claim that no document could have brought in.
    pub(crate) fn with_extra(mut self, name: &str) -> Self {
        self.extra.insert(name.to_owned(), Value::Bool(true));
        self
    }
}

/// What one rule says about a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVerdict {
    /// The rule's name.
    pub rule: String,
    /// The line of the rule in the document, from 1.
    pub line: usize,
    /// What it says.
    pub outcome: RuleOutcome,
}

/// The outcome of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleOutcome {
    /// The rule means this principal.
    Matches {
        /// The subject that it gives.
        subject: String,
    },
    /// The rule does not mean this principal, for this reason.
    NoMatch(String),
    /// The rule means this principal, but its template yields no valid subject, for this reason: refused, and no later
    /// rule is tried.
    NoSubject(String),
}

impl Display for RuleVerdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} (line {}): ", Quoted(&self.rule), self.line)?;
        match &self.outcome {
            RuleOutcome::Matches { subject } => write!(f, "matches, subject {}", Quoted(subject)),
            RuleOutcome::NoMatch(reason) => write!(f, "no match: {reason}"),
            RuleOutcome::NoSubject(reason) => write!(f, "matches, but has no subject: {reason}"),
        }
    }
}

/// Why there is no grant. The list is complete: who turns it into a status does so in a match that a new reason breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.public_reason())]
pub enum Refusal {
    /// No rule means this principal.
    NoRule {
        /// What every rule said, in order.
        verdicts: Vec<RuleVerdict>,
    },
    /// The user name of an Identity Center session is exactly 64 characters, so it may have been cut and names nobody.
    Session,
    /// The rule that matched yields no valid subject for this principal.
    Subject {
        /// The rule.
        rule: String,
        /// Why.
        reason: String,
    },
    /// The audience asked for is not granted, or none was asked for and the rule has several.
    Audience {
        /// The rule.
        rule: String,
        /// What was asked for, quoted.
        asked: Option<String>,
    },
    /// A scope asked for is not granted.
    Scope {
        /// The rule.
        rule: String,
        /// The first such scope, quoted; none when the list was empty.
        asked: Option<String>,
    },
    /// The lifetime asked for is out of bounds. Never clipped.
    Lifetime {
        /// The rule.
        rule: String,
        /// Asked, in seconds.
        asked: u64,
        /// Least, in seconds.
        min: u64,
        /// Most, in seconds.
        max: u64,
    },
}

impl Refusal {
    /// A short reason that may be shown to the caller: nothing in it but what the caller sent, and bounds.
    #[must_use]
    pub fn public_reason(&self) -> String {
        match self {
            Self::NoRule { .. } => "no rule admits this caller".to_owned(),
            Self::Session => {
                format!(
                    "the session name is exactly {CUT_SESSION} characters, so it may have been cut; hint: use a shorter one"
                )
            }
            Self::Subject { .. } => "no subject can be made for this caller".to_owned(),
            Self::Audience { asked: Some(asked), .. } => {
                format!("expected an audience that is granted to this caller, found {asked}")
            }
            Self::Audience { asked: None, .. } => {
                "expected an audience, found none; hint: several are granted to this caller, name one".to_owned()
            }
            Self::Scope { asked: Some(asked), .. } => {
                format!("expected scopes that are granted to this caller, found {asked}")
            }
            Self::Scope { asked: None, .. } => {
                "expected at least one scope, found an empty list; hint: ask for none to get all that are granted"
                    .to_owned()
            }
            Self::Lifetime { asked, min, max, .. } => {
                format!("expected a lifetime of {min} to {max} seconds, found {asked}")
            }
        }
    }

    /// Everything, for the log: which rule, and the reason of each rule when none matched.
    #[must_use]
    pub fn details(&self) -> String {
        /// A log line is not the place for 256 reasons.
        const MOST: usize = 32;
        match self {
            Self::NoRule { verdicts } => {
                let mut text = self.public_reason();
                for verdict in verdicts.iter().take(MOST) {
                    let _ = write!(text, "; {verdict}");
                }
                if let Some(more) = verdicts.len().checked_sub(MOST).filter(|more| *more > 0) {
                    let _ = write!(text, "; and {more} more rules");
                }
                text
            }
            Self::Session => self.public_reason(),
            Self::Subject { rule, reason } => format!("{reason} (rule {})", Quoted(rule)),
            Self::Audience { rule, .. } | Self::Scope { rule, .. } | Self::Lifetime { rule, .. } => {
                format!("{} (rule {})", self.public_reason(), Quoted(rule))
            }
        }
    }

    /// A stable label for metrics: `no_rule`, `session`, `subject`, `audience`, `scope`, `lifetime`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRule { .. } => "no_rule",
            Self::Session => "session",
            Self::Subject { .. } => "subject",
            Self::Audience { .. } => "audience",
            Self::Scope { .. } => "scope",
            Self::Lifetime { .. } => "lifetime",
        }
    }
}

pub(super) fn explain(rules: &[Rule], principal: &Principal) -> Vec<RuleVerdict> {
    rules
        .iter()
        .map(|rule| {
            let outcome = match rule.selector.admits(principal).map(|()| rule.subject.render(principal)) {
                Ok(Ok(subject)) => RuleOutcome::Matches { subject },
                Ok(Err(reason)) => RuleOutcome::NoSubject(reason),
                Err(reason) => RuleOutcome::NoMatch(reason),
            };
            RuleVerdict { rule: rule.name.clone(), line: rule.line, outcome }
        })
        .collect()
}

pub(super) fn resolve(rules: &[Rule], principal: &Principal, request: &TokenRequest) -> Result<Grant, Refusal> {
    if let Principal::Aws(aws) = principal
        && let AwsKind::SsoUser { user, .. } = aws.kind()
        && user.len() == CUT_SESSION
    {
        return Err(Refusal::Session);
    }
    let Some(rule) = rules.iter().find(|rule| rule.selector.admits(principal).is_ok()) else {
        return Err(Refusal::NoRule { verdicts: explain(rules, principal) });
    };
    let name = || rule.name.clone();
    let subject = rule.subject.render(principal).map_err(|reason| Refusal::Subject { rule: name(), reason })?;
    let chosen = match &request.audience {
        Some(asked) => rule.audiences.iter().find(|(audience, _)| audience == asked),
        None => rule.default_audience.and_then(|default| rule.audiences.get(default)),
    };
    let (audience, profile) =
        chosen.ok_or_else(|| Refusal::Audience { rule: name(), asked: request.audience.as_deref().map(quoted) })?;
    let client_id = principal.unique_id().unwrap_or(&subject).to_owned();
    Ok(Grant {
        audience: audience.clone(),
        scopes: scopes(rule, request.scopes.as_deref())?,
        lifetime_s: lifetime(rule, request.expires_in_s)?,
        extra: rule.extra.clone(),
        rule: name(),
        profile: profile.clone(),
        client_id,
        subject,
    })
}

fn scopes(rule: &Rule, asked: Option<&[String]>) -> Result<Vec<String>, Refusal> {
    let Some(asked) = asked else { return Ok(rule.scopes.clone()) };
    let refusal = |asked: Option<String>| Refusal::Scope { rule: rule.name.clone(), asked };
    if asked.is_empty() {
        return Err(refusal(None));
    }
    if let Some(foreign) = asked.iter().find(|scope| !rule.scopes.contains(scope)) {
        return Err(refusal(Some(quoted(foreign))));
    }
    Ok(rule.scopes.iter().filter(|scope| asked.contains(scope)).cloned().collect())
}

fn lifetime(rule: &Rule, asked: Option<u64>) -> Result<u64, Refusal> {
    let (min, max) = (MIN_TTL, rule.max_ttl);
    match asked {
        None => Ok(rule.ttl),
        Some(asked) if (min..=max).contains(&asked) => Ok(asked),
        Some(asked) => Err(Refusal::Lifetime { rule: rule.name.clone(), asked, min, max }),
    }
}
