//! Principals that must get no grant, or at least nobody else's subject.

use token_claims::{Refusal, SsoPath, SubjectMapping, TokenRequest};

use crate::support::{CONTRACT, caller, caller_by, compile};

/// Admits the analysts and workers of the contract, and knows a CEO by name.
fn mapping() -> SubjectMapping {
    compile(CONTRACT).unwrap()
}

#[test]
fn the_intended_callers_are_served() {
    let analyst = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com";
    let grant = mapping().resolve(&caller(analyst).unwrap(), &TokenRequest::default()).unwrap();
    assert_eq!((grant.subject(), grant.rule(), grant.lifetime_s()), ("CEO", "analysts", 900));
    let worker = "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1";
    let grant = mapping().resolve(&caller(worker).unwrap(), &TokenRequest::default()).unwrap();
    assert_eq!((grant.subject(), grant.rule()), ("111122223333/ETL-NIGHTLY", "etl workers"));
}

#[test]
fn hostile_principals_get_nothing() {
    let session_64 = format!(
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/{}@example.com",
        "c".repeat(52)
    );
    assert_eq!(session_64.rsplit('/').next().unwrap().len(), 64);
    let long = "x".repeat(2000);
    let table: Vec<(&str, String)> = [
        ("a session that borrows the prefix", "arn:aws:sts::111122223333:assumed-role/app/ceo@AWSReservedSSO_"),
        ("the same with a domain", "arn:aws:sts::111122223333:assumed-role/app/ceo@example.com"),
        ("a role that contains the prefix", "arn:aws:sts::111122223333:assumed-role/xAWSReservedSSO_y/ceo@example.com"),
        (
            "the whole form behind another letter",
            "arn:aws:sts::111122223333:assumed-role/xAWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com",
        ),
        ("no suffix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst/ceo@example.com"),
        ("an empty suffix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_/ceo@example.com"),
        ("a short suffix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcde/ceo@example.com"),
        ("a long suffix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef0/ceo@example.com"),
        ("an upper-case suffix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789ABCDEF/ceo@example.com"),
        ("a suffix that is not hex", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdeg/ceo@example.com"),
        ("no permission set", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO__0123456789abcdef/ceo@example.com"),
        ("the prefix in another case", "arn:aws:sts::111122223333:assumed-role/awsreservedsso_Analyst_0123456789abcdef/ceo@example.com"),
        ("the bare prefix", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_/ceo@example.com"),
        (
            "a path in the role",
            "arn:aws:sts::111122223333:assumed-role/aws-reserved/AWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com",
        ),
        ("another permission set", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst2_0123456789abcdef/ceo@example.com"),
        ("a permission set in another case", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_analyst_0123456789abcdef/ceo@example.com"),
        ("two at signs", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@evil@example.com"),
        ("another domain", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@evil.com"),
        ("a longer domain", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com.evil"),
        ("a sub-domain", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@evil.example.com"),
        ("no domain", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo"),
        ("no user", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/@example.com"),
        ("an account that no rule names", "arn:aws:sts::999999999999:assumed-role/etl-nightly/i-0ab1"),
        ("an SSO account that no rule names", "arn:aws:sts::999999999999:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com"),
        ("the same role in another account", "arn:aws:sts::444455556666:assumed-role/etl-nightly/i-0ab1"),
        ("another partition", "arn:aws-cn:sts::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a role in another case", "arn:aws:sts::111122223333:assumed-role/ETL-nightly/i-0ab1"),
        ("the bare prefix of a pattern", "arn:aws:sts::111122223333:assumed-role/etl-/i-0ab1"),
        ("a role that ends with the pattern", "arn:aws:sts::111122223333:assumed-role/not-etl-x/i-0ab1"),
        ("an IAM user", "arn:aws:iam::111122223333:user/ceo"),
        ("an IAM user on a borrowed path", "arn:aws:iam::111122223333:user/assumed-role/etl-nightly/ceo@example.com"),
        ("root", "arn:aws:iam::111122223333:root"),
        ("a federated user", "arn:aws:sts::111122223333:federated-user/ceo@example.com"),
        ("nothing", ""),
        ("a truncated ARN", "arn:aws:sts::111122223333:assumed-role/etl-nightly"),
        ("a truncated ARN with a slash", "arn:aws:sts::111122223333:assumed-role/etl-nightly/"),
        ("half an ARN", "arn:aws:sts::1111"),
        ("no role", "arn:aws:sts::111122223333:assumed-role//i-0ab1"),
        ("a session of one character", "arn:aws:sts::111122223333:assumed-role/etl-nightly/i"),
        ("a role ARN", "arn:aws:iam::111122223333:role/etl-nightly"),
        ("the wrong service", "arn:aws:iam::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a region", "arn:aws:sts:eu-west-1:111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("an extra colon", "arn:aws:sts::111122223333:assumed-role/etl-nightly:x/i-0ab1"),
        ("an extra field", "arn:aws:sts:::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a second ARN", "arn:aws:sts::999999999999:assumed-role/x/arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("an extra slash", "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1/x"),
        ("a leading slash", "arn:aws:sts::111122223333:/assumed-role/etl-nightly/i-0ab1"),
        ("a Cyrillic look-alike", "arn:aws:sts::111122223333:assumed-role/\u{435}tl-nightly/i-0ab1"),
        ("full-width digits", "arn:aws:sts::\u{ff11}11122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a zero-width space", "arn:aws:sts::111122223333:assumed-role/etl-\u{200b}nightly/i-0ab1"),
        ("a Kelvin sign", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/\u{212a}@example.com"),
        ("a line feed", "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1\n"),
        ("a leading space", " arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a wildcard", "arn:aws:sts::111122223333:assumed-role/etl-*/i-0ab1"),
        ("percent signs", "arn:aws:sts::111122223333:assumed-role/etl%2dnightly/i-0ab1"),
        ("an upper-case scheme", "ARN:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1"),
        ("a foreign partition", "arn:awsx:sts::111122223333:assumed-role/etl-nightly/i-0ab1"),
    ]
    .into_iter()
    .map(|(what, arn)| (what, arn.to_owned()))
    .chain([
        ("a session of 64 characters", session_64),
        ("a role of 2,000 characters", format!("arn:aws:sts::111122223333:assumed-role/etl-{long}/i-0ab1")),
        ("a session of 2,000 characters", format!("arn:aws:sts::111122223333:assumed-role/etl-nightly/{long}")),
        ("an ARN of 4,000 characters", format!("arn:aws:sts::111122223333:assumed-role/etl-{long}/{long}")),
        ("a user of 2,000 characters", format!("arn:aws:iam::111122223333:user/{long}")),
    ])
    .collect();
    let mapping = mapping();
    for (what, arn) in table {
        match caller(&arn) {
            Err(error) => assert!(error.to_string().len() < 512, "{what}: the refusal echoes too much"),
            Ok(principal) => {
                let refusal = mapping.resolve(&principal, &TokenRequest::default()).expect_err(what);
                assert!(matches!(refusal, Refusal::NoRule { .. } | Refusal::Session), "{what}: {refusal}");
            }
        }
    }
}

#[test]
fn a_name_alone_never_proves_an_identity_center_role() {
    let arn = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com";
    let unproven = caller_by(arn, SsoPath::Unproven).unwrap();
    let refusal = mapping().resolve(&unproven, &TokenRequest::default()).unwrap_err();
    assert!(refusal.details().contains("the role's path is unproven"), "{}", refusal.details());

    // With the role's unique id the path does not matter; another role of the same name is another role.
    let rule = |ids| {
        CONTRACT
            .replace("permission_set = \"Analyst\" }", &format!("permission_set = \"Analyst\", role_ids = [{ids}] }}"))
    };
    let pinned = compile(&rule("\"AROAEXAMPLE\"")).unwrap();
    assert_eq!(pinned.resolve(&unproven, &TokenRequest::default()).unwrap().subject(), "CEO");
    let other = compile(&rule("\"AROAOTHER\"")).unwrap();
    assert!(other.resolve(&unproven, &TokenRequest::default()).is_err());
    assert!(other.resolve(&caller(arn).unwrap(), &TokenRequest::default()).is_err(), "ids count even with proof");
}

#[test]
fn a_cut_session_is_told_so() {
    let user = format!("{}@example.com", "c".repeat(52));
    let arn = format!("arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/{user}");
    let principal = caller(&arn).unwrap();
    assert_eq!(mapping().resolve(&principal, &TokenRequest::default()), Err(Refusal::Session));
    assert!(mapping().explain(&principal)[0].to_string().contains("may have been cut"));
    // The session of a workload is no part of its subject, so its length does not matter.
    let arn = format!("arn:aws:sts::111122223333:assumed-role/etl-x/{}", "s".repeat(64));
    assert!(mapping().resolve(&caller(&arn).unwrap(), &TokenRequest::default()).is_ok());
}
