//! Which variables of the environment decide how AWS is called, read and judged together.

use std::fmt;

use aws_credential_types::Credentials;

use crate::names::quoted;
use crate::roots::TrustRoots;

/// What was asked for, parsed: nothing here is judged again later. `Debug` is derived because [`Credentials`] hides its
/// own secret parts.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
    pub(crate) kms: Option<Endpoint>,
    pub(crate) lambda: Option<Endpoint>,
    pub(crate) secrets_manager: Option<Endpoint>,
    pub(crate) ssm: Option<Endpoint>,
    pub(crate) use_fips: bool,
    pub(crate) use_dual_stack: bool,
    pub(crate) roots: TrustRoots,
}

/// A checked endpoint URL: `https:`, or `http:` on loopback.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// Plain `http:`, hence loopback.
    pub(crate) in_clear: bool,
}

/// Every problem of the AWS variables, one per line. Never contains a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfigError {
    problems: Vec<String>,
}

impl AwsConfigError {
    pub(crate) fn new(problem: String) -> Self {
        Self { problems: vec![problem] }
    }

    /// The problems, each `NAME: expected …, found …; hint: …`.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for AwsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for AwsConfigError {}

impl Config {
    /// Reads every variable, then reports all problems together. An empty value counts as unset.
    pub(crate) fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Result<Self, AwsConfigError> {
        let get = |name: &str| vars(name).filter(|value| !value.is_empty());
        let mut problems = Vec::new();
        let mut noted = |result: Result<_, String>| result.map_err(|problem| problems.push(problem)).ok();

        let region = noted(region(get("AWS_REGION")));
        let access_key = noted(required(get, "AWS_ACCESS_KEY_ID"));
        let secret_key = noted(required(get, "AWS_SECRET_ACCESS_KEY"));
        let mut endpoint = |service: &str| {
            let specific = format!("AWS_ENDPOINT_URL_{service}");
            let (name, value) = match get(&specific) {
                Some(value) => (specific.as_str(), Some(value)),
                None => ("AWS_ENDPOINT_URL", get("AWS_ENDPOINT_URL")),
            };
            value.and_then(|value| match endpoint(name, value) {
                Ok(endpoint) => Some(endpoint),
                // All services share the general variable: say it once.
                Err(problem) => {
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                    None
                }
            })
        };
        let kms = endpoint("KMS");
        let lambda = endpoint("LAMBDA");
        let secrets_manager = endpoint("SECRETS_MANAGER");
        let ssm = endpoint("SSM");
        let mut noted = |result: Result<_, String>| result.map_err(|problem| problems.push(problem)).ok();
        let use_fips = noted(flag(get, "AWS_USE_FIPS_ENDPOINT"));
        let use_dual_stack = noted(flag(get, "AWS_USE_DUALSTACK_ENDPOINT"));
        let roots = match get("AWS_CA_BUNDLE") {
            None => Some(TrustRoots::Embedded),
            Some(path) => TrustRoots::from_bundle(&path).map_err(|problem| problems.push(problem)).ok(),
        };

        match (region, access_key, secret_key, use_fips, use_dual_stack, roots) {
            (Some(region), Some(key), Some(secret), Some(use_fips), Some(use_dual_stack), Some(roots))
                if problems.is_empty() =>
            {
                let credentials = Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "environment");
                Ok(Self { region, credentials, kms, lambda, secrets_manager, ssm, use_fips, use_dual_stack, roots })
            }
            _ => Err(AwsConfigError { problems }),
        }
    }
}

/// The region becomes part of a host name, so it is judged before it gets there.
fn region(value: Option<String>) -> Result<String, String> {
    let hint = "hint: Lambda sets it; elsewhere set it to the region of the secret and the parameters";
    let value =
        value.ok_or_else(|| format!("AWS_REGION: expected a region such as eu-west-1, found nothing; {hint}"))?;
    let plain = value.len() <= 32
        && value.starts_with(|c: char| c.is_ascii_lowercase())
        && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if plain {
        Ok(value)
    } else {
        Err(format!("AWS_REGION: expected a region such as eu-west-1, found {}; {hint}", quoted(&value)))
    }
}

fn required(get: impl Fn(&str) -> Option<String>, name: &str) -> Result<String, String> {
    get(name).ok_or_else(|| {
        format!(
            "{name}: expected a credential, found nothing; hint: Lambda sets it; instance metadata and profile files are not read"
        )
    })
}

fn flag(get: impl Fn(&str) -> Option<String>, name: &str) -> Result<bool, String> {
    match get(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{name}: expected true or false, found {}; hint: leave it unset", quoted(other))),
    }
}

/// `https:` anywhere; `http:` on loopback only, since the answer carries private keys.
pub(crate) fn endpoint(name: &str, value: String) -> Result<Endpoint, String> {
    let expected = "expected an https: URL, or an http: URL on loopback";
    let refuse = |why: &str| Err(format!("{name}: {expected}, found {}; hint: {why}", quoted(&value)));
    let Ok(uri) = value.parse::<http::Uri>() else { return refuse("write https://HOST[:PORT]") };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse("write https://HOST[:PORT]");
    };
    if authority.as_str().contains('@') {
        // Not echoed: what stands before the "@" is a credential.
        return Err(format!("{name}: {expected}, found one with a user name; hint: remove the part before the @"));
    }
    if uri.query().is_some() {
        return refuse("remove the query");
    }
    match scheme {
        "https" => Ok(Endpoint { url: value, in_clear: false }),
        "http" if is_loopback(authority.host()) => Ok(Endpoint { url: value, in_clear: true }),
        "http" => refuse("documents and credentials must not travel in clear"),
        _ => refuse("write https://HOST[:PORT]"),
    }
}

/// Whether a URL's host is this machine by its spelling alone (names other than `localhost` are not resolved).
fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extra: &[(&str, &str)]) -> Result<Config, AwsConfigError> {
        let base =
            [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "top-secret")];
        let all: Vec<_> = base.iter().chain(extra).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from_vars(|name| all.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn what_lambda_sets_is_enough() {
        let config = with(&[("AWS_SESSION_TOKEN", "session-secret")]).unwrap();
        assert_eq!(config.region, "eu-west-1");
        assert!(config.secrets_manager.is_none() && config.ssm.is_none());
        let shown = format!("{config:?}");
        assert!(!shown.contains("top-secret") && !shown.contains("session-secret"), "{shown}");
    }

    #[test]
    fn all_problems_are_reported_together() {
        let error = Config::from_vars(|name| match name {
            "AWS_REGION" => Some("evil.example/#".to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://10.0.0.1:4566".to_owned()),
            "AWS_USE_FIPS_ENDPOINT" => Some("yes".to_owned()),
            "AWS_CA_BUNDLE" => Some("/nonexistent/bundle.pem".to_owned()),
            _ => None,
        })
        .unwrap_err();
        let names: Vec<_> = error.problems().iter().filter_map(|problem| problem.split(':').next()).collect();
        let expected = [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_CA_BUNDLE",
        ];
        assert_eq!(names, expected, "{error}");
        assert_eq!(error.to_string().lines().count(), expected.len());
        assert!(error.problems().iter().all(|problem| problem.contains("; hint: ")), "{error}");
    }

    #[test]
    fn an_endpoint_in_clear_is_for_loopback_only() {
        for good in [
            "https://vpce-1.ssm.eu-west-1.vpce.amazonaws.com",
            "http://127.0.0.1:5000",
            "http://localhost:5000",
            "http://[::1]:1",
        ] {
            assert!(with(&[("AWS_ENDPOINT_URL", good)]).is_ok(), "{good}");
        }
        for bad in [
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "http://169.254.169.254",
            "ftp://127.0.0.1",
            "127.0.0.1:5000",
            "https://",
            "https://host/?x=1",
        ] {
            assert!(with(&[("AWS_ENDPOINT_URL", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_credential_in_an_endpoint_is_not_echoed() {
        let error = with(&[("AWS_ENDPOINT_URL", "https://user:hunter2@host")]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_service_endpoint_wins_over_the_general_one() {
        let config = with(&[("AWS_ENDPOINT_URL", "https://general"), ("AWS_ENDPOINT_URL_SSM", "https://ssm")]).unwrap();
        assert_eq!(config.ssm.unwrap().url, "https://ssm");
        assert_eq!(config.secrets_manager.unwrap().url, "https://general");
        let config = with(&[("AWS_ENDPOINT_URL", "https://general"), ("AWS_ENDPOINT_URL_LAMBDA", "https://lambda")]);
        assert_eq!(config.unwrap().lambda.unwrap().url, "https://lambda");
    }
}
