//! Callers and documents in few words.

use token_claims::{
    AwsArn, AwsResource, CallerIdentity, CompileOptions, MappingErrors, Principal, PrincipalError, SsoPath,
    SubjectMapping,
};

pub(crate) const A: &str = "111122223333";
pub(crate) const B: &str = "444455556666";
pub(crate) const SNOWFLAKE: &str = "https://acme.snowflakecomputing.com";

/// What API Gateway would say about this ARN, from a door that enforces the path of Identity Center roles.
pub(crate) fn caller(arn: &str) -> Result<Principal, PrincipalError> {
    caller_by(arn, SsoPath::Enforced)
}

pub(crate) fn caller_by(arn: &str, sso_path: SsoPath) -> Result<Principal, PrincipalError> {
    let parsed: Option<AwsArn> = arn.parse().ok();
    let (account, id) = match parsed.as_ref().map(|arn| (arn.account(), arn.resource())) {
        Some((account, AwsResource::AssumedRole { session, .. })) => (account, format!("AROAEXAMPLE:{session}")),
        Some((account, AwsResource::IamUser { .. })) => (account, "AIDAEXAMPLE".to_owned()),
        Some((account, AwsResource::Root)) => (account, account.to_owned()),
        Some((account, AwsResource::FederatedUser { name })) => (account, format!("{account}:{name}")),
        None => (A, "AROAEXAMPLE:session".to_owned()),
    };
    Principal::from_caller(&CallerIdentity {
        user_arn: arn,
        account_id: Some(account),
        caller: Some(&id),
        user: Some(&id),
        sso_path,
    })
}

pub(crate) fn role(account: &str, role: &str) -> Principal {
    caller(&format!("arn:aws:sts::{account}:assumed-role/{role}/session")).unwrap()
}

pub(crate) fn sso(account: &str, permission_set: &str, user: &str) -> Principal {
    caller(&format!("arn:aws:sts::{account}:assumed-role/AWSReservedSSO_{permission_set}_0123456789abcdef/{user}"))
        .unwrap()
}

pub(crate) fn options() -> CompileOptions {
    CompileOptions {
        sso_path: SsoPath::Enforced,
        audience: None,
        algorithms: ["RS256", "ES256"].map(str::to_owned).to_vec(),
        max_token_ttl_s: None,
    }
}

pub(crate) fn compile(source: &str) -> Result<SubjectMapping, MappingErrors> {
    SubjectMapping::compile(source, &options())
}

/// A document of these rules with one generic audience and the directory `corp` of both accounts.
pub(crate) fn rules(rules: &[&str]) -> String {
    let mut source = String::from(
        "defaults = { audience = \"https://api.example.com\" }\n\
         directory.corp = { accounts = [\"111122223333\", \"444455556666\"], user_names = \"case-insensitive\" }\n",
    );
    for (n, rule) in rules.iter().enumerate() {
        source.push_str(&format!("[[rule]]\nname = \"r{}\"\n{rule}\n", n + 1));
    }
    source
}

/// The document of the contract, which issues for Snowflake.
pub(crate) const CONTRACT: &str = r#"
[defaults]
audience = "https://acme.snowflakecomputing.com"
ttl = "15m"
max_ttl = "1h"

[directory.corp]
accounts = ["111122223333", "444455556666"]
user_names = "case-insensitive"

[[rule]]
name = "analysts"
principal = { kind = "sso-user", directory = "corp", permission_set = "Analyst" }
email_domain = "example.com"
subject = "{user|local_part|upper}"
scopes = ["session:role:ANALYST"]

[[rule]]
name = "etl workers"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role|upper}"
scopes = ["session:role:ETL"]
max_ttl = "30m"

[audience."https://acme.snowflakecomputing.com"]
profile = "snowflake-external-oauth"
"#;
