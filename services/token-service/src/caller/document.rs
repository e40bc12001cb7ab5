//! The document that configures the callers: strict TOML, all problems at once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use token_jose::{ForeignExpectation, ForeignKeys};
use token_remote::{HttpsClient, RemoteKeys, RemoteKeysPolicy, TrustedIssuer, TrustedIssuers};

use super::{Caller, Callers, CertificateName, IssuePolicy, Role};

/// The longest lifetime that a policy without `max_ttl` admits, and that any may name: 30 days.
const MOST_TTL_S: u64 = 30 * 24 * 3600;

/// Every problem of a document of callers; `Display` gives one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerDocumentErrors(Vec<String>);

impl fmt::Display for CallerDocumentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for CallerDocumentErrors {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    caller: Vec<Entry>,
    #[serde(default)]
    issuer: Vec<Trusted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trusted {
    issuer: String,
    jwks_uri: String,
    audience: String,
    algorithms: Vec<String>,
    #[serde(default)]
    kubernetes: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    api_key_sha256: Vec<String>,
    #[serde(default)]
    jwt: Vec<Identity>,
    #[serde(default)]
    certificate: Vec<CertificateEntry>,
    assertion_keys: Option<toml::Value>,
    roles: Vec<String>,
    issue: Option<Issue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    issuer: String,
    subject: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateEntry {
    sha256: Option<String>,
    san: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    users: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    scopes: Option<Vec<String>>,
    max_ttl_seconds: Option<u64>,
}

impl Callers {
    /// Reads a document of callers. `own` is this service's issuer, whose tokens prove nothing here; `client` fetches the key
    /// sets of the issuers that the document names.
    ///
    /// # Errors
    /// [`CallerDocumentErrors`] with every problem.
    pub fn parse(text: &str, own: &str, client: &Arc<HttpsClient>) -> Result<Self, CallerDocumentErrors> {
        let document: Document = toml::from_str(text).map_err(|error| {
            // The parser quotes the line, which may hold a secret that stands in the wrong place.
            let at = error.span().map(|span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
            let line = at.map_or_else(String::new, |line| format!("line {line}: "));
            CallerDocumentErrors(vec![format!("{line}{}", error.message())])
        })?;
        let mut problems = Vec::new();
        let mut callers = Self::default();
        for entry in &document.caller {
            callers.add(entry, &mut problems);
        }
        callers.trust(&document.issuer, own, client, &mut problems);
        if callers.is_empty() {
            problems.push("expected at least one [[caller]], found none".to_owned());
        }
        if problems.is_empty() { Ok(callers) } else { Err(CallerDocumentErrors(problems)) }
    }

    fn trust(&mut self, trusted: &[Trusted], own: &str, client: &Arc<HttpsClient>, problems: &mut Vec<String>) {
        let mut issuers = Vec::new();
        for entry in trusted {
            let name = &entry.issuer;
            if name == own {
                problems.push(format!("issuer {name}: this service's own tokens prove no caller; hint: remove it"));
                continue;
            }
            let mut algorithms = Vec::new();
            for text in &entry.algorithms {
                match text.parse() {
                    Ok(algorithm) => algorithms.push(algorithm),
                    Err(problem) => problems.push(format!("issuer {name}: algorithms: {problem}")),
                }
            }
            let url = match entry.jwks_uri.parse() {
                Ok(url) => url,
                Err(problem) => {
                    problems.push(format!("issuer {name}: jwks_uri: {problem}"));
                    continue;
                }
            };
            let keys = RemoteKeys::new(url, client.clone(), RemoteKeysPolicy::default());
            let expectation = ForeignExpectation::new(name, &entry.audience, &algorithms);
            let issuer = TrustedIssuer::new(expectation, Arc::new(keys));
            issuers.push(if entry.kubernetes { issuer.kubernetes() } else { issuer });
        }
        for named in self.by_identity.keys().map(|(issuer, _)| issuer).collect::<BTreeSet<_>>() {
            if !trusted.iter().any(|entry| entry.issuer == *named) {
                problems.push(format!("expected an [[issuer]] table for {named}, which a caller names, found none"));
            }
        }
        if !issuers.is_empty() {
            match TrustedIssuers::new(issuers) {
                Ok(list) => self.issuers = Some(Arc::new(list)),
                Err(error) => problems.extend(error.problems().iter().cloned()),
            }
        }
    }

    fn add(&mut self, entry: &Entry, problems: &mut Vec<String>) {
        let name = &entry.name;
        if !is_name(name) {
            problems.push(format!(
                "caller {name:?}: expected a name of 1 to 64 letters, digits, '.', '_' and '-' that does not begin with user_"
            ));
        }
        let roles = roles(entry, problems);
        let issue = policy(entry, &roles, problems);
        let assertion_keys = entry.assertion_keys.as_ref().and_then(|keys| {
            let text = serde_json::to_vec(keys).unwrap_or_default();
            ForeignKeys::parse(&text)
                .map_err(|problem| problems.push(format!("caller {name}: assertion_keys: {problem}")))
                .ok()
        });
        let caller = Arc::new(Caller { name: name.clone(), roles, issue, assertion_keys });
        let mut clash = Vec::new();
        if self.by_name.insert(name.clone(), caller.clone()).is_some() {
            clash.push("its name");
        }
        for text in &entry.api_key_sha256 {
            match digest(text) {
                Some(sum) => {
                    if self.by_key.insert(sum, caller.clone()).is_some() {
                        clash.push("an API key");
                    }
                }
                None => problems.push(format!(
                    "caller {name}: api_key_sha256: expected 64 hexadecimal digits, found something else; hint: printf %s KEY | sha256sum"
                )),
            }
        }
        for identity in &entry.jwt {
            if identity.subject.is_empty() || identity.issuer.is_empty() {
                problems.push(format!("caller {name}: jwt: expected an issuer and a subject, found an empty one"));
            }
            let key = (identity.issuer.clone(), identity.subject.clone());
            if self.by_identity.insert(key, caller.clone()).is_some() {
                clash.push("a token identity");
            }
        }
        for certificate in &entry.certificate {
            let key = match (&certificate.sha256, &certificate.san) {
                (Some(sum), None) => digest(sum).map(CertificateName::Sha256),
                (None, Some(san)) if !san.is_empty() => Some(CertificateName::San(san.clone())),
                _ => None,
            };
            match key {
                Some(key) => {
                    if self.by_certificate.insert(key, caller.clone()).is_some() {
                        clash.push("a certificate");
                    }
                }
                None => {
                    problems
                        .push(format!("caller {name}: certificate: expected sha256 (64 hexadecimal digits) or san"));
                }
            }
        }
        problems.extend(clash.iter().map(|what| format!("caller {name}: {what} is also another caller's")));
        if entry.api_key_sha256.is_empty()
            && entry.jwt.is_empty()
            && entry.certificate.is_empty()
            && entry.assertion_keys.is_none()
        {
            problems.push(format!(
                "caller {name}: expected api_key_sha256, jwt, certificate or assertion_keys, found none"
            ));
        }
    }
}

fn roles(entry: &Entry, problems: &mut Vec<String>) -> Vec<Role> {
    let all = [Role::Issue, Role::Revoke, Role::Read, Role::Rotate];
    let mut roles = Vec::new();
    for text in &entry.roles {
        match all.iter().find(|role| role.name() == text) {
            Some(role) => roles.push(*role),
            None => problems.push(format!(
                "caller {}: expected a role of tokens:issue, tokens:revoke, tokens:read, keys:rotate, found {text:?}",
                entry.name
            )),
        }
    }
    roles
}

fn policy(entry: &Entry, roles: &[Role], problems: &mut Vec<String>) -> Option<IssuePolicy> {
    let name = &entry.name;
    match (&entry.issue, roles.contains(&Role::Issue)) {
        (None, false) => None,
        (None, true) => {
            problems.push(format!(
                "caller {name}: expected a table issue with users beside the role tokens:issue, found none"
            ));
            None
        }
        (Some(_), false) => {
            problems.push(format!("caller {name}: the table issue needs the role tokens:issue"));
            None
        }
        (Some(issue), true) => {
            if issue.users.is_empty() || issue.users.iter().any(|user| user.is_empty() || user.matches('*').count() > 1)
            {
                problems.push(format!("caller {name}: issue.users: expected patterns with at most one '*' each"));
            }
            let max_ttl_s = issue.max_ttl_seconds.unwrap_or(MOST_TTL_S);
            if !(60..=MOST_TTL_S).contains(&max_ttl_s) {
                problems.push(format!(
                    "caller {name}: issue.max_ttl_seconds: expected 60 to {MOST_TTL_S}, found {max_ttl_s}"
                ));
            }
            Some(IssuePolicy {
                users: issue.users.clone(),
                audiences: issue.audiences.clone(),
                scopes: issue.scopes.clone(),
                max_ttl_s,
            })
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with("user_")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut sum = [0_u8; 32];
    for (byte, pair) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Callers, CallerDocumentErrors> {
        let client = HttpsClient::new(&token_remote::ClientOptions::default()).unwrap();
        Callers::parse(text, "https://tokens.example", &Arc::new(client))
    }

    const GOOD: &str = r#"
        [[caller]]
        name = "orders"
        api_key_sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
        jwt = [{ issuer = "https://id.example", subject = "orders" }]
        certificate = [{ san = "spiffe://example/orders" }]
        roles = ["tokens:issue", "tokens:revoke"]
        issue = { users = ["app-*"], audiences = ["https://api.example"], max_ttl_seconds = 3600 }
    "#;
    const ISSUER: &str = r#"
        [[issuer]]
        issuer = "https://id.example"
        jwks_uri = "https://id.example/keys"
        audience = "token-service"
        algorithms = ["RS256"]
    "#;

    #[test]
    fn a_good_document_reads() {
        let callers = parse(&format!("{GOOD}{ISSUER}")).unwrap();
        let caller = callers.by_secret("orders", "test").unwrap();
        assert!(caller.may_issue().unwrap().admits_user("app-1"));
        assert!(caller.require(Role::Rotate).is_err());
        assert!(parse(GOOD).unwrap_err().to_string().contains("[[issuer]] table for https://id.example"));
        let own = ISSUER.replace("https://id.example\"\n        jwks", "https://tokens.example\"\n        jwks");
        assert!(parse(&format!("{GOOD}{ISSUER}{own}")).unwrap_err().to_string().contains("own tokens prove no caller"));
    }

    #[test]
    fn every_problem_is_reported_and_no_secret_is_quoted() {
        let bad = r#"
            [[caller]]
            name = "user_x"
            api_key_sha256 = ["topsecret"]
            roles = ["tokens:issue", "root"]
            [[caller]]
            name = "b"
            roles = ["tokens:read"]
            issue = { users = ["a*b*c"] }
        "#;
        let problems = parse(bad).unwrap_err().to_string();
        for expected in
            ["user_x", "64 hexadecimal", "\"root\"", "table issue with users", "needs the role", "found none"]
        {
            assert!(problems.contains(expected), "{expected} in {problems}");
        }
        assert!(!problems.contains("topsecret"));
        let syntax = parse("[[caller]]\nname = \"a\"\napi_key = \"topsecret\"\nroles = []").unwrap_err().to_string();
        assert!(!syntax.contains("topsecret") && syntax.contains("line "), "{syntax}");
    }

    #[test]
    fn one_credential_is_never_two_callers() {
        let twice = format!("{GOOD}{}", GOOD.replace("\"orders\"\n        api", "\"other\"\n        api"));
        let problems = parse(&twice).unwrap_err().to_string();
        assert!(problems.contains("an API key is also") && problems.contains("a token identity is also"), "{problems}");
    }
}
