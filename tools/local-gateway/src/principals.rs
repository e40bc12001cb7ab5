//! Who may sign requests here: three built-in sample principals, or those of a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use token_shell::Problems;

/// The organization that the built-in principals belong to, unless told otherwise.
pub const DEFAULT_ORGANIZATION: &str = "o-exampleorg1";
/// The IAM path of roles that IAM Identity Center makes.
pub const SSO_ROLE_PATH: &str = "/aws-reserved/sso.amazonaws.com/";
/// How the name of such a role begins.
pub const SSO_ROLE_PREFIX: &str = "AWSReservedSSO_";

/// One principal with an access key. `arn`, `caller`, `account_id` and `organization_id` are copied into events as they
/// are: judging them is what is under test. `Debug` hides the secrets.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SamplePrincipal {
    name: String,
    arn: String,
    caller: String,
    account_id: String,
    organization_id: String,
    access_key_id: String,
    secret_access_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_path: Option<String>,
}

impl SamplePrincipal {
    /// What the console calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `userArn` of the event.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// `caller` and `user` of the event.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// `accountId` of the event's identity.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// `principalOrgId` of the event.
    #[must_use]
    pub fn organization_id(&self) -> &str {
        &self.organization_id
    }

    /// The access key's public half.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The access key's secret half.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// What `x-amz-security-token` must carry; `None` for a long-lived key.
    #[must_use]
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// The IAM path of the role behind an assumed-role session, which `userArn` does not show.
    #[must_use]
    pub fn role_path(&self, role: &str) -> &str {
        match &self.role_path {
            Some(path) => path,
            None if role.starts_with(SSO_ROLE_PREFIX) => SSO_ROLE_PATH,
            None => "/",
        }
    }
}

impl fmt::Debug for SamplePrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SamplePrincipal")
            .field("name", &self.name)
            .field("arn", &self.arn)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// All principals, found by access key.
#[derive(Clone, Debug)]
pub struct Principals {
    all: Vec<SamplePrincipal>,
    by_access_key: BTreeMap<String, usize>,
}

/// A principals file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrincipalsError {
    /// The file cannot be read.
    #[error("--principals {path}: expected a readable file, found: {source}")]
    Read {
        /// The path as given.
        path: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file's content is wrong; all that is.
    #[error("--principals {path}:\n{problems}")]
    Content {
        /// The path as given.
        path: String,
        /// Every problem.
        problems: Problems,
    },
}

impl Principals {
    /// The built-in three, in `organization`: an SSO user and a workload role that the built-in mapping admits, and a role
    /// that no rule admits.
    #[must_use]
    pub fn built_in(organization: &str) -> Self {
        let sample = |name: &str, role_id: &str, role: &str, session: &str, key: &str, secret: &str| SamplePrincipal {
            name: name.to_owned(),
            arn: format!("arn:aws:sts::111122223333:assumed-role/{role}/{session}"),
            caller: format!("{role_id}:{session}"),
            account_id: "111122223333".to_owned(),
            organization_id: organization.to_owned(),
            access_key_id: key.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
            role_path: None,
        };
        Self::new(vec![
            sample(
                "sso-user",
                "AROA1234567890ALICE01",
                "AWSReservedSSO_Analyst_0123456789abcdef",
                "alice@example.com",
                "AKIAALICE0000EXAMPLE",
                "protects/nothing/alice/0000/EXAMPLESECRET",
            ),
            sample(
                "workload",
                "AROA1234567890ETLNI01",
                "etl-nightly",
                "nightly-batch",
                "AKIANIGHTLY00EXAMPLE",
                "protects/nothing/nightly/00/EXAMPLESECRET",
            ),
            sample(
                "refused",
                "AROA1234567890INTRN01",
                "intern-sandbox",
                "summer-2026",
                "AKIAINTERN000EXAMPLE",
                "protects/nothing/intern/000/EXAMPLESECRET",
            ),
        ])
    }

    /// The principals of a file: a JSON array of objects with exactly the members of [`SamplePrincipal`].
    ///
    /// # Errors
    /// [`PrincipalsError`]: unreadable, or every problem of its content (unknown, missing, repeated or mistyped members,
    /// names and access keys that occur twice).
    pub fn from_file(path: &Path) -> Result<Self, PrincipalsError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| PrincipalsError::Read { path: shown(), source })?;
        Self::parse(&text).map_err(|problems| PrincipalsError::Content { path: shown(), problems })
    }

    /// As [`Principals::from_file`], from text.
    ///
    /// # Errors
    /// Every problem of the content.
    pub fn parse(json: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let entries: Vec<Members> = match serde_json::from_str(json) {
            Ok(entries) => entries,
            Err(error) => {
                problems.add(format_args!("principals: expected a JSON array of objects, found: {error}"));
                return problems.into_result(None);
            }
        };
        if entries.is_empty() {
            problems.add("principals: expected at least one, found an empty array");
        }
        let all: Vec<SamplePrincipal> =
            entries.into_iter().enumerate().filter_map(|(index, entry)| entry.read(index, &mut problems)).collect();
        for (what, of) in [
            ("name", SamplePrincipal::name as fn(&SamplePrincipal) -> &str),
            ("access_key_id", SamplePrincipal::access_key_id),
        ] {
            let mut seen = BTreeMap::new();
            for principal in &all {
                *seen.entry(of(principal)).or_insert(0_usize) += 1;
            }
            for (value, _) in seen.into_iter().filter(|(_, count)| *count > 1) {
                problems.add(format_args!("principals: expected each {what} once, found {} twice", quoted(value)));
            }
        }
        problems.into_result(Some(Self::new(all)))
    }

    fn new(all: Vec<SamplePrincipal>) -> Self {
        let by_access_key =
            all.iter().enumerate().map(|(index, principal)| (principal.access_key_id.clone(), index)).collect();
        Self { all, by_access_key }
    }

    /// Who owns an access key.
    #[must_use]
    pub fn by_access_key(&self, access_key_id: &str) -> Option<&SamplePrincipal> {
        self.by_access_key.get(access_key_id).and_then(|index| self.all.get(*index))
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[SamplePrincipal] {
        &self.all
    }
}

/// One object's members as they stand: `serde_json`'s own map would keep the last of two equal names and say nothing.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Members {
    fn read(self, index: usize, problems: &mut Problems) -> Option<SamplePrincipal> {
        const MEMBERS: [&str; 9] = [
            "name",
            "arn",
            "caller",
            "account_id",
            "organization_id",
            "access_key_id",
            "secret_access_key",
            "session_token",
            "role_path",
        ];
        // `None` for a member of the wrong type, so that it is not reported as missing too.
        let mut found: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut sound = true;
        let mut problem = |text: String| {
            problems.add(format_args!("principals[{index}]{text}"));
            sound = false;
        };
        for (member, value) in self.0 {
            let Some(member) = MEMBERS.into_iter().find(|name| *name == member) else {
                problem(format!(": expected only {}, found {}", MEMBERS.join(", "), quoted(&member)));
                continue;
            };
            let Value::String(text) = value else {
                problem(format!(".{member}: expected a string, found {}", kind(&value)));
                found.insert(member, None);
                continue;
            };
            if found.insert(member, Some(text)).is_some() {
                problem(format!(".{member}: expected it once, found it twice"));
            }
        }
        for member in MEMBERS.into_iter().take(7).filter(|member| !found.contains_key(member)) {
            problem(format!(".{member}: expected a string, found nothing"));
        }
        let text = |member: &str| found.get(member).and_then(Option::as_deref);
        if let Some(key) = text("access_key_id")
            && !((16..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            problem(format!(".access_key_id: expected 16 to 128 letters and digits, found {}", quoted(key)));
        }
        for member in ["name", "secret_access_key", "session_token"] {
            // Secrets are described, never shown.
            if text(member)
                .is_some_and(|text| text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
            {
                problem(format!(".{member}: expected printable ASCII, found nothing or something else"));
            }
        }
        if let Some(path) = text("role_path")
            && !(path.starts_with('/') && path.ends_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            problem(format!(".role_path: expected an IAM path, as \"/\" or \"/team/\", found {}", quoted(path)));
        }
        let mut optional = |member: &str| found.remove(member).flatten();
        let (session_token, role_path) = (optional("session_token"), optional("role_path"));
        let mut take = |member: &str| optional(member).unwrap_or_default();
        sound.then(|| SamplePrincipal {
            name: take("name"),
            arn: take("arn"),
            caller: take("caller"),
            account_id: take("account_id"),
            organization_id: take("organization_id"),
            access_key_id: take("access_key_id"),
            secret_access_key: take("secret_access_key"),
            session_token,
            role_path,
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A foreign string for a message: escaped, at most 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    let more = if text.chars().count() > 64 { "…" } else { "" };
    format!("\"{shown}{more}\"")
}
