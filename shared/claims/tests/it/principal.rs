use proptest::prelude::*;
use token_claims::{
    AwsArn, AwsKind, AwsResource, CallerIdentity, KubernetesPrincipal, Principal, PrincipalError, SsoPath,
    TokenPrincipal,
};

use crate::support::caller;

fn identity<'a>(arn: &'a str, account: &'a str, caller: &'a str) -> CallerIdentity<'a> {
    CallerIdentity {
        user_arn: arn,
        account_id: Some(account),
        caller: Some(caller),
        user: Some(caller),
        sso_path: SsoPath::Unproven,
    }
}

fn kind_of(arn: &str) -> AwsKind {
    match caller(arn).unwrap() {
        Principal::Aws(aws) => aws.kind().clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_documented_form_is_read() {
    let long = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Data_Admin_20e0242991ced029/someone@example.com";
    for (arn, kind, unique_id) in [
        (long, "sso-user", Some("AROAEXAMPLE")),
        ("arn:aws:sts::111122223333:assumed-role/my-ecs-task-role/TaskSession", "assumed-role", Some("AROAEXAMPLE")),
        ("arn:aws-us-gov:sts::111122223333:assumed-role/r/i-0ab1af6b52934bea1", "assumed-role", Some("AROAEXAMPLE")),
        ("arn:aws-iso-b:iam::111122223333:user/bob", "iam-user", Some("AIDAEXAMPLE")),
        ("arn:aws:iam::111122223333:user/team/data/bob", "iam-user", Some("AIDAEXAMPLE")),
        ("arn:aws-cn:iam::111122223333:root", "root", None),
        ("arn:aws:sts::111122223333:federated-user/Bob", "federated-user", None),
    ] {
        let principal = caller(arn).unwrap();
        assert_eq!((principal.kind(), principal.unique_id()), (kind, unique_id), "{arn}");
        assert_eq!(principal.to_string(), arn, "the canonical form is the ARN");
    }
    let AwsKind::SsoUser { permission_set, suffix, user, path } = kind_of(long) else { panic!("no SSO user") };
    assert_eq!(
        [permission_set.as_str(), suffix.as_str(), user.as_str()],
        ["Data_Admin", "20e0242991ced029", "someone@example.com"]
    );
    assert_eq!(path, SsoPath::Enforced);
    let expected = AwsKind::IamUser { path: "/team/data/".into(), user: "bob".into() };
    assert_eq!(kind_of("arn:aws:iam::111122223333:user/team/data/bob"), expected);
    assert_eq!(
        kind_of("arn:aws:iam::111122223333:user/bob"),
        AwsKind::IamUser { path: "/".into(), user: "bob".into() }
    );
}

#[test]
fn the_parts_of_a_request_context_must_agree() {
    let role = "arn:aws:sts::111122223333:assumed-role/etl/session-1";
    let user = "arn:aws:iam::111122223333:user/bob";
    let root = "arn:aws:iam::111122223333:root";
    let federated = "arn:aws:sts::111122223333:federated-user/bob";
    for (arn, account, caller) in [
        (role, "111122223333", "AROAEXAMPLE:session-1"),
        (user, "111122223333", "AIDAEXAMPLE"),
        (root, "111122223333", "111122223333"),
        (federated, "111122223333", "111122223333:bob"),
    ] {
        assert!(Principal::from_caller(&identity(arn, account, caller)).is_ok(), "{arn}");
        assert!(Principal::from_caller(&identity(arn, "444455556666", caller)).is_err(), "another account: {arn}");
        let absent = CallerIdentity { user: None, ..identity(arn, account, caller) };
        assert!(Principal::from_caller(&absent).is_ok(), "user may be absent: {arn}");
        let other = CallerIdentity { user: Some("AIDAOTHER"), ..identity(arn, account, caller) };
        let error = Principal::from_caller(&other).unwrap_err();
        assert!(matches!(error, PrincipalError::Disagreement { what: "user", .. }), "{error}");
    }
    for (arn, callers) in [
        (
            role,
            &[
                "AROAEXAMPLE",
                "AROAEXAMPLE:session-2",
                "AROAEXAMPLE:session-1:x",
                "AROAEXAMPLE:session-",
                "AIDAEXAMPLE:session-1",
                "AROA:session-1",
                "aroaexample:session-1",
                ":session-1",
                "AROAEX/MPLE:session-1",
                "111122223333:session-1",
            ][..],
        ),
        (user, &["AROAEXAMPLE", "AIDA", "AIDAEXAMPLE:bob", "bob", "111122223333", "AIDA\u{415}XAMPLE"]),
        (root, &["444455556666", "AIDAEXAMPLE", "111122223333:root", "root"]),
        (federated, &["111122223333", "bob", "444455556666:bob", "111122223333:bobby", "111122223333:bob:bob"]),
    ] {
        for caller in callers {
            let result = Principal::from_caller(&identity(arn, "111122223333", caller));
            assert!(result.is_err(), "{arn} {caller}");
        }
    }
}

#[test]
fn no_identity_is_told_apart_from_a_bad_one() {
    let whole = identity("arn:aws:iam::111122223333:root", "111122223333", "111122223333");
    for missing in [
        CallerIdentity { user_arn: "", ..whole },
        CallerIdentity { account_id: None, ..whole },
        CallerIdentity { account_id: Some(""), ..whole },
        CallerIdentity { caller: None, ..whole },
        CallerIdentity { caller: Some(""), ..whole },
    ] {
        assert!(Principal::from_caller(&missing).unwrap_err().is_missing(), "{missing:?}");
    }
    assert!(!Principal::from_caller(&CallerIdentity { user_arn: "arn", ..whole }).unwrap_err().is_missing());
}

#[test]
fn kubernetes_and_foreign_tokens_are_strict() {
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let uid = "0b6e2f0e-3c1c-4a53-8f5e-9d5f1d4c2b1a";
    let account = KubernetesPrincipal::from_username(issuer, "system:serviceaccount:team-a:app.web", uid).unwrap();
    assert_eq!([account.namespace(), account.name(), account.uid()], ["team-a", "app.web", uid]);
    let principal = Principal::Kubernetes(account);
    assert_eq!((principal.kind(), principal.unique_id()), ("kubernetes-service-account", Some(uid)));
    for username in [
        "",
        "system:serviceaccount:team-a",
        "system:serviceaccount:team-a:",
        "system:serviceaccount::app",
        "system:serviceaccount:team-a:app:x",
        "system:serviceaccount:Team:app",
        "system:serviceaccount:team.a:app",
        "system:serviceaccount:-a:app",
        "system:serviceaccount:a-:app",
        "system:serviceaccount:a:app..x",
        "xsystem:serviceaccount:a:app",
        "system:node:a",
    ] {
        assert!(KubernetesPrincipal::from_username(issuer, username, uid).is_err(), "{username}");
    }
    assert!(KubernetesPrincipal::new(issuer, "a", "b", "").is_err());
    assert!(KubernetesPrincipal::new("", "a", "b", uid).is_err());
    assert!(KubernetesPrincipal::new(issuer, &"a".repeat(64), "b", uid).is_err());
    let token = Principal::Token(TokenPrincipal::new(issuer, "repo:acme/app").unwrap());
    assert_eq!((token.kind(), token.unique_id()), ("token", None));
    for (issuer, subject) in
        [("", "s"), ("i", ""), ("i", "a b"), ("i i", "s"), ("i", "\u{430}"), ("i", "a\0"), ("i\n", "s")]
    {
        assert!(TokenPrincipal::new(issuer, subject).is_err(), "{issuer:?} {subject:?}");
    }
    assert!(TokenPrincipal::new("i", &"s".repeat(256)).is_err());
}

fn name(max: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[A-Za-z0-9_+=,.@-]{{2,{max}}}")).unwrap()
}

proptest! {
    #[test]
    fn arns_print_as_they_were_read(
        partition in "aws(-[a-z]{1,4}){0,2}",
        account in "[0-9]{12}",
        role in name(64),
        session in name(64),
        path in "/|/[!-~]{1,40}/",
        federated in name(32),
    ) {
        for text in [
            format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}"),
            format!("arn:{partition}:iam::{account}:user{path}{role}"),
            format!("arn:{partition}:iam::{account}:root"),
            format!("arn:{partition}:sts::{account}:federated-user/{federated}"),
        ] {
            let arn: AwsArn = text.parse().unwrap();
            prop_assert_eq!(arn.to_string(), text.as_str());
            prop_assert_eq!((arn.partition(), arn.account()), (partition.as_str(), account.as_str()));
            if let AwsResource::IamUser { path: read, user } = arn.resource() {
                prop_assert_eq!((read, user), (&path, &role));
            }
        }
    }

    #[test]
    fn any_text_is_refused_or_printed_back(text in "(arn:aws:(sts|iam)::111122223333:(assumed-role|user|root|federated-user)?)?.{0,80}") {
        if let Ok(arn) = text.parse::<AwsArn>() {
            prop_assert_eq!(arn.to_string(), text);
        } else if let Err(error) = text.parse::<AwsArn>() {
            prop_assert!(error.to_string().is_ascii() || error.to_string().contains('…'));
            prop_assert!(error.to_string().len() < 512);
        }
    }
}
