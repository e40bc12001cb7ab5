//! The mapping document: compiling any text ends, within libFuzzer's time limit and without panic; and whatever compiles
//! gives two different identities never the same subject.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use token_claims::{CallerIdentity, CompileOptions, Principal, SsoPath, SubjectMapping, TokenRequest};

/// Callers of pairwise different identity, whatever a document says about directories and case: they differ in more than
/// case, and no Identity Center user stands twice.
const CALLERS: [(&str, &str, &str); 10] = [
    ("arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1", "111122223333", "AROAETLNIGHTLY:i-0ab1"),
    ("arn:aws:sts::444455556666:assumed-role/etl-nightly/i-0ab1", "444455556666", "AROAETLOTHER:i-0ab1"),
    ("arn:aws:sts::111122223333:assumed-role/etl-hourly/alice", "111122223333", "AROAETLHOURLY:alice"),
    (
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@example.com",
        "111122223333",
        "AROAANALYST:alice@example.com",
    ),
    (
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/bob@example.com",
        "111122223333",
        "AROAANALYST:bob@example.com",
    ),
    (
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@evil.example",
        "111122223333",
        "AROAANALYST:alice@evil.example",
    ),
    ("arn:aws:iam::111122223333:user/ops/alice", "111122223333", "AIDAALICE"),
    ("arn:aws:iam::444455556666:user/alice", "444455556666", "AIDAOTHERALICE"),
    ("arn:aws:iam::111122223333:root", "111122223333", "111122223333"),
    ("arn:aws:sts::111122223333:federated-user/alice", "111122223333", "111122223333:alice"),
];

static PRINCIPALS: LazyLock<Vec<Principal>> = LazyLock::new(|| {
    let parse = |(user_arn, account, caller): (&str, &str, &str)| {
        let identity = CallerIdentity {
            user_arn,
            account_id: Some(account),
            caller: Some(caller),
            user: None,
            sso_path: SsoPath::Enforced,
        };
        Principal::from_caller(&identity).unwrap_or_else(|error| panic!("{user_arn}: {error}"))
    };
    CALLERS.into_iter().map(parse).collect()
});

fuzz_target!(|source: &str| {
    let audience = Some("https://api.example.com".to_owned());
    let algorithms = vec!["RS256".to_owned(), "ES256".to_owned()];
    let options = |sso_path| CompileOptions {
        sso_path,
        audience: audience.clone(),
        algorithms: algorithms.clone(),
        ..CompileOptions::default()
    };
    let [enforced, unproven] =
        [SsoPath::Enforced, SsoPath::Unproven].map(|sso_path| SubjectMapping::compile(source, &options(sso_path)));
    assert!(unproven.is_err() || enforced.is_ok(), "more evidence never makes a document worse");
    for mapping in [enforced, unproven] {
        match mapping {
            Ok(mapping) => check(&mapping, source),
            Err(errors) => {
                assert!(!errors.problems().is_empty(), "a refusal has a reason");
                assert!(!errors.to_string().is_empty());
            }
        }
    }
});

fn check(mapping: &SubjectMapping, source: &str) {
    let mut subjects: Vec<(String, &Principal)> = Vec::new();
    for principal in PRINCIPALS.iter() {
        let verdicts = mapping.explain(principal);
        assert_eq!(verdicts.len(), mapping.rules().count(), "every rule has a verdict");
        verdicts.iter().for_each(|verdict| assert!(!verdict.to_string().is_empty()));
        match mapping.resolve(principal, &TokenRequest::default()) {
            Ok(grant) => {
                let subject = grant.subject();
                assert!((1..=255).contains(&subject.len()), "{subject:?}");
                assert!(subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{subject:?}");
                assert!(grant.lifetime_s() >= 60);
                narrowing(mapping, principal, grant.lifetime_s(), grant.scopes());
                subjects.push((subject.to_owned(), principal));
            }
            Err(refusal) => assert!(!refusal.public_reason().is_empty() && !refusal.details().is_empty()),
        }
    }
    if source.contains("shared_subject") {
        return;
    }
    for (index, (subject, one)) in subjects.iter().enumerate() {
        for (other_subject, other) in subjects.iter().skip(index + 1) {
            assert_ne!(subject, other_subject, "one subject for {one} and {other}\n{source}");
        }
    }
}

/// Asking for more than was granted by default never gives a scope that the rule does not name.
fn narrowing(mapping: &SubjectMapping, principal: &Principal, lifetime_s: u64, scopes: &[String]) {
    let asked = TokenRequest {
        scopes: Some(vec!["session:role:ACCOUNTADMIN-not-granted".to_owned()]),
        expires_in_s: Some(lifetime_s),
        ..TokenRequest::default()
    };
    if let Ok(grant) = mapping.resolve(principal, &asked) {
        assert!(grant.scopes().iter().all(|scope| scopes.contains(scope)));
    }
}
