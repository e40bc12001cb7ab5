//! Which principals a rule means.

use std::fmt::Write as _;

use super::document::Directory;
use super::kind::{Field, Form, Key, Kind, fact};
use super::pattern::Pattern;
use super::problems::Problems;
use super::reader::{Located, Reader};
use super::template::local;
use crate::principal::{
    AwsKind, Principal, PrincipalError, SsoPath, account_id, issuer_name, partition_name, service_account_uid,
    unique_id,
};
use crate::text::{Quoted, quoted};

/// A session name of exactly this length may have been cut by whoever made it, so it names nobody.
pub(super) const CUT_SESSION: usize = 64;

/// A compiled `principal = { … }` with its `email_domain`.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) kind: Kind,
    pub(super) tests: Vec<(Field, Test)>,
    pub(super) email_domain: Option<String>,
}

/// What one field must be.
#[derive(Clone, Debug)]
pub(super) enum Test {
    OneOf(Vec<String>),
    Like(Pattern),
}

impl Test {
    fn admits(&self, value: &str) -> bool {
        match self {
            Self::OneOf(list) => list.iter().any(|one| one == value),
            Self::Like(pattern) => pattern.matches(value),
        }
    }
}

impl Selector {
    /// Reads and checks; `None` when something was wrong (and reported).
    pub(super) fn read(
        mut table: Reader<'_>,
        email_domain: Option<Located<String>>,
        directories: &[Directory],
        sso_path: SsoPath,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.count();
        let word = table.required_string("kind", "\"assumed-role\"", problems)?;
        let Some(kind) = Kind::parse(&word.value) else {
            let message = format!("expected a kind of principal in {}, found {}", table.place, Quoted(&word.value));
            let hint = format!("kinds are {}", Kind::ALL.map(Kind::name).join(", "));
            problems.push(word.line, message, hint);
            return None;
        };
        let mut tests = Vec::new();
        let mut id_line = None;
        for key in kind.keys() {
            if matches!(key.form, Form::Id(_) | Form::Uid) {
                id_line = table.get(key.name).map(|value| (key.name, problems.line_at(value.span().start)));
            }
            if let Some(test) = test(&mut table, kind, *key, directories, problems) {
                tests.push(test);
            }
        }
        let line = table.line;
        let place = table.place.clone();
        table.finish(problems);
        if kind.is_aws() && !tests.iter().any(|(field, _)| *field == Field::Partition) {
            tests.insert(0, (Field::Partition, Test::OneOf(vec!["aws".to_owned()])));
        }
        if kind == Kind::SsoUser {
            let accounts = tests.iter().filter(|(field, _)| *field == Field::Account).count();
            if accounts != 1 && problems.count() == before {
                let found = if accounts == 0 { "neither" } else { "both" };
                let message = format!("expected either directory or accounts in {place}, found {found}");
                problems.push(line, message, "directory = \"corp\" stands for the accounts of [directory.corp]");
            }
            if sso_path != SsoPath::Enforced && !tests.iter().any(|(field, _)| *field == Field::UniqueId) {
                let message =
                    format!("expected role_ids in {place}, because nothing proves the path of the role, found none");
                let hint = "userArn drops the path, so the name alone is forgeable: list the roles' AROA ids, or set \
                            SSO_PATH_ENFORCED=true behind a REST API with the resource-policy Deny (never an HTTP API)";
                problems.push(line, message, hint);
            }
        }
        let loose = tests.iter().find(|(field, test)| {
            matches!(field, Field::Role | Field::User | Field::Name | Field::Namespace)
                && matches!(test, Test::Like(pattern) if !pattern.is_exact())
        });
        if let (Some((key, line)), Some((field, _))) = (id_line, loose) {
            let message = format!("expected an exact {} beside {key}, found a pattern", field.word());
            problems.push(line, message, "an id belongs to one name: write the whole name, or leave the id out");
        }
        let selector = Self { kind, tests, email_domain: domain(kind, email_domain, problems) };
        selector.check_email(line, &place, problems);
        (problems.count() == before).then_some(selector)
    }

    pub(super) fn test(&self, field: Field) -> Option<&Test> {
        self.tests.iter().find(|(of, _)| *of == field).map(|(_, test)| test)
    }

    /// Why the rule does not mean this principal.
    ///
    /// # Errors
    /// The reason, with the caller's own values quoted.
    pub(super) fn admits(&self, principal: &Principal) -> Result<(), String> {
        let kind = Kind::of(principal);
        if kind != self.kind {
            return Err(format!("the caller is {}, the rule is for {}", kind.name(), self.kind.name()));
        }
        for (field, test) in &self.tests {
            let word = field.word();
            let value = fact(principal, *field).ok_or_else(|| format!("the caller has no {word}"))?;
            if !test.admits(value) {
                let mut reason = format!("{word} {} ", Quoted(value));
                let _ = match test {
                    Test::OneOf(list) if list.len() > 1 => write!(reason, "is none of the {} listed", list.len()),
                    Test::OneOf(list) => write!(reason, "is not {}", list.first().map_or("listed", String::as_str)),
                    Test::Like(pattern) if pattern.is_exact() => write!(reason, "is not {pattern}"),
                    Test::Like(pattern) => write!(reason, "does not match {pattern}"),
                };
                return Err(reason);
            }
        }
        if let Principal::Aws(aws) = principal
            && let AwsKind::SsoUser { user, path, .. } = aws.kind()
        {
            if user.len() == CUT_SESSION {
                return Err(format!("the user name is exactly {CUT_SESSION} characters, so it may have been cut"));
            }
            if *path != SsoPath::Enforced && self.test(Field::UniqueId).is_none() {
                return Err("the role's path is unproven and the rule lists no role_ids".to_owned());
            }
        }
        match (&self.email_domain, fact(principal, Field::User)) {
            (Some(domain), Some(user)) => {
                let local = local(user)?;
                let found = user.get(local.len() + 1..).unwrap_or_default();
                if found == domain { Ok(()) } else { Err(format!("the domain of {} is not {domain}", Quoted(user))) }
            }
            _ => Ok(()),
        }
    }

    /// A user pattern that no address of the domain can match is a rule that never applies.
    fn check_email(&self, line: usize, place: &str, problems: &mut Problems) {
        let (Some(domain), Some(Test::Like(pattern))) = (&self.email_domain, self.test(Field::User)) else { return };
        let possible = match pattern {
            Pattern::Exact(user) => local(user).is_ok_and(|local| user.get(local.len() + 1..) == Some(domain.as_str())),
            Pattern::Glob { prefix, suffix, .. } => match (prefix.matches('@').count(), suffix.split_once('@')) {
                (0, None) => domain.ends_with(suffix.as_str()),
                (0, Some((_, rest))) => rest == domain,
                (1, None) => prefix.split_once('@').is_some_and(|(local, head)| {
                    !local.is_empty() && domain.starts_with(head) && domain.ends_with(suffix.as_str())
                }),
                _ => false,
            },
        };
        if !possible {
            let message = format!(
                "expected user in {place} to fit email_domain {}, found {}",
                Quoted(domain),
                quoted(&pattern.to_string())
            );
            problems.push(line, message, "no user name can satisfy both, so the rule would never apply");
        }
    }
}

/// The test that one key makes.
fn test(
    table: &mut Reader<'_>,
    kind: Kind,
    key: Key,
    directories: &[Directory],
    problems: &mut Problems,
) -> Option<(Field, Test)> {
    let list = |table: &mut Reader<'_>, example: &str, problems: &mut Problems| {
        if key.required {
            table.required_strings(key.name, example, problems)
        } else {
            table.strings(key.name, problems)
        }
    };
    let each = |list: Located<Vec<Located<String>>>,
                check: &dyn Fn(&str) -> Result<(), PrincipalError>,
                problems: &mut Problems| {
        let hint = "a list of exact values; patterns belong to names, not to ids and accounts";
        for entry in &list.value {
            if let Err(error) = check(&entry.value) {
                problems.push(entry.line, error.to_string(), hint);
            }
        }
        (key.field, Test::OneOf(list.value.into_iter().map(|entry| entry.value).collect()))
    };
    match key.form {
        Form::Accounts => Some(each(list(table, "[\"111122223333\"]", problems)?, &account_id, problems)),
        Form::Partitions => Some(each(list(table, "[\"aws\"]", problems)?, &partition_name, problems)),
        Form::Issuers => Some(each(list(table, "[\"https://issuer.example\"]", problems)?, &issuer_name, problems)),
        Form::Ids(prefix) => {
            let check = |id: &str| unique_id("a role's unique id", prefix, id);
            Some(each(list(table, "[\"AROA…\"]", problems)?, &check, problems))
        }
        Form::Id(_) | Form::Uid => {
            let id = table.string(key.name, problems)?;
            let checked = match key.form {
                Form::Id(prefix) => unique_id("a unique id", prefix, &id.value),
                _ => service_account_uid(&id.value),
            };
            if let Err(error) = checked {
                problems.push(
                    id.line,
                    error.to_string(),
                    "copy it from `aws iam get-role`, `get-user` or `kubectl get -o yaml`",
                );
            }
            Some((key.field, Test::OneOf(vec![id.value])))
        }
        Form::Directory => {
            let name = table.string(key.name, problems)?;
            let Some(directory) = directories.iter().find(|directory| directory.name == name.value) else {
                let message = format!("expected a directory of the document, found {}", Quoted(&name.value));
                problems.push(name.line, message, "declare it: [directory.NAME] with accounts and user_names");
                return None;
            };
            let accounts = directory.accounts.iter().map(|account| account.value.clone()).collect();
            Some((Field::Account, Test::OneOf(accounts)))
        }
        Form::Pattern => {
            let text = if key.required {
                table.required_string(key.name, "\"exact\" or with one \"*\"", problems)?
            } else {
                table.string(key.name, problems)?
            };
            match Pattern::parse(kind, key.field, &text.value) {
                Ok(pattern) => Some((key.field, Test::Like(pattern))),
                Err((message, hint)) => {
                    problems.push(text.line, message, hint);
                    None
                }
            }
        }
    }
}

fn domain(kind: Kind, domain: Option<Located<String>>, problems: &mut Problems) -> Option<String> {
    let domain = domain?;
    if !kind.variables().contains(&Field::User) {
        let message = format!("expected email_domain only where there is a {{user}}, found it with {}", kind.name());
        problems.push(domain.line, message, "sso-user and iam-user have one");
    }
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if domain.value.len() > 61 || !domain.value.split('.').all(label) {
        let message = format!(
            "expected email_domain to be a domain name of at most 61 characters, found {}",
            Quoted(&domain.value)
        );
        problems.push(domain.line, message, "write it as it appears in user names, without \"@\": \"example.com\"");
    }
    Some(domain.value)
}
