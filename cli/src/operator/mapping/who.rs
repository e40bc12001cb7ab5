//! A caller on the command line.

use token_claims::{AwsArn, CallerIdentity, KubernetesPrincipal, Principal, SsoPath, TokenPrincipal};

use super::Failure;
use crate::file::quoted;

/// The caller to explain: one of --principal, --kubernetes and --token.
#[derive(Debug, clap::Args)]
pub(super) struct WhoArgs {
    /// An AWS caller by its ARN, as API Gateway's userArn has it
    #[arg(long, value_name = "ARN", conflicts_with_all = ["kubernetes", "token"])]
    principal: Option<String>,
    /// API Gateway's caller: AROA…:SESSION or AIDA…. Needed for rules with role_id, role_ids or user_id
    #[arg(long, value_name = "CALLER", requires = "principal")]
    caller: Option<String>,
    /// A Kubernetes service account: ISSUER,NAMESPACE,NAME or ISSUER,NAMESPACE,NAME,UID
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "token")]
    kubernetes: Option<String>,
    /// The subject of another issuer's token: ISSUER,SUBJECT
    #[arg(long, value_name = "SUBJECT")]
    token: Option<String>,
}

/// A caller, and what was made up about it.
pub(super) struct Who {
    pub(super) principal: Principal,
    pub(super) notes: Vec<String>,
}

/// A unique id that no authority has given out: rules that pin one never match it.
const NO_ROLE_ID: &str = "AROAXXXXXXXXXXXXXXXXX";
const NO_USER_ID: &str = "AIDAXXXXXXXXXXXXXXXXX";
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

impl WhoArgs {
    pub(super) fn is_given(&self) -> bool {
        self.principal.is_some() || self.kubernetes.is_some() || self.token.is_some()
    }

    pub(super) fn principal(&self, sso_path: SsoPath) -> Result<Who, Failure> {
        if let Some(arn) = &self.principal {
            return aws(arn, self.caller.as_deref(), sso_path);
        }
        if let Some(text) = &self.kubernetes {
            let parts: Vec<&str> = text.split(',').collect();
            let (principal, made_up) = match parts.as_slice() {
                [issuer, namespace, name] => (KubernetesPrincipal::new(issuer, namespace, name, NO_UID), true),
                [issuer, namespace, name, uid] => (KubernetesPrincipal::new(issuer, namespace, name, uid), false),
                _ => {
                    return Err(Failure::usage(format!(
                        "expected ISSUER,NAMESPACE,NAME[,UID], found {}",
                        quoted(text)
                    )));
                }
            };
            let principal = Principal::Kubernetes(principal.map_err(Failure::usage)?);
            let notes = made_up.then(|| "no uid was given: a rule with uid does not match".to_owned());
            return Ok(Who { principal, notes: notes.into_iter().collect() });
        }
        if let Some(text) = &self.token {
            let (issuer, subject) = text
                .split_once(',')
                .ok_or_else(|| Failure::usage(format!("expected ISSUER,SUBJECT, found {}", quoted(text))))?;
            let principal = Principal::Token(TokenPrincipal::new(issuer, subject).map_err(Failure::usage)?);
            return Ok(Who { principal, notes: Vec::new() });
        }
        Err(Failure::usage(
            "expected a caller, found none; hint: give --principal, --kubernetes or --token, or --replay",
        ))
    }
}

/// An AWS caller from its ARN; `caller` is API Gateway's, or only the unique id before its colon, or unknown.
pub(super) fn aws(arn: &str, caller: Option<&str>, sso_path: SsoPath) -> Result<Who, Failure> {
    let parsed: AwsArn = arn.parse().map_err(Failure::usage)?;
    let account = parsed.account().to_owned();
    // It parsed, so it has six parts, and the last one is of one of the four kinds.
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let last = resource.rsplit('/').next().unwrap_or_default();
    let mut notes = Vec::new();
    let mut unknown = |id: &'static str| {
        notes.push("no --caller was given: a rule that pins a unique id does not match".to_owned());
        id
    };
    let is_role = resource.starts_with("assumed-role/");
    let caller = match caller {
        Some(id) if is_role && !id.contains(':') => format!("{id}:{last}"),
        Some(caller) => caller.to_owned(),
        None if is_role => format!("{}:{last}", unknown(NO_ROLE_ID)),
        None if resource.starts_with("user/") => unknown(NO_USER_ID).to_owned(),
        None if resource == "root" => account.clone(),
        None => format!("{account}:{last}"),
    };
    let identity = CallerIdentity {
        user_arn: arn,
        account_id: Some(&account),
        caller: Some(&caller),
        user: Some(&caller),
        sso_path,
    };
    Principal::from_caller(&identity).map(|principal| Who { principal, notes }).map_err(Failure::usage)
}
