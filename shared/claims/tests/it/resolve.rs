use proptest::prelude::*;
use serde_json::json;
use token_claims::{
    CompileOptions, KubernetesPrincipal, Principal, ProfileKind, Refusal, RuleOutcome, ScopeForm, SubjectMapping,
    TokenPrincipal, TokenRequest,
};

use crate::support::{A, B, CONTRACT, caller, compile, options, role, rules, sso};

fn ask(audience: Option<&str>, scopes: Option<&[&str]>, expires_in_s: Option<u64>) -> TokenRequest {
    TokenRequest {
        audience: audience.map(str::to_owned),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        expires_in_s,
    }
}

fn wide() -> SubjectMapping {
    compile(&rules(&[r#"
        principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
        subject = "{account}/{role}"
        scopes = ["read", "write", "admin"]
        audiences = ["https://api.example.com", "https://other.example.com"]
        max_ttl = "30m"
        claims = { team = "data", level = 3, ratio = 0.5, on = true, tags = ["a", "b"], "https://x.example/y" = { z = "1" } }
    "#]))
    .unwrap()
}

#[test]
fn nothing_asked_gets_the_defaults() {
    let grant = wide().resolve(&role(A, "etl-x"), &TokenRequest::default()).unwrap();
    assert_eq!(grant.subject(), "111122223333/etl-x");
    assert_eq!(grant.audience(), "https://api.example.com");
    assert_eq!(grant.scopes(), ["read", "write", "admin"]);
    assert_eq!(grant.lifetime_s(), 900);
    assert_eq!((grant.rule(), grant.client_id()), ("r1", "AROAEXAMPLE"));
    assert_eq!((grant.profile().kind(), grant.profile().typ()), (ProfileKind::Generic, "JWT"));
    assert_eq!(grant.profile().algorithm(), None);
    assert_eq!(
        serde_json::to_value(grant.extra()).unwrap(),
        json!({"team": "data", "level": 3, "ratio": 0.5, "on": true, "tags": ["a", "b"], "https://x.example/y": {"z": "1"}})
    );
}

#[test]
fn a_request_narrows() {
    let request = ask(Some("https://other.example.com"), Some(&["write", "read", "write"]), Some(60));
    let grant = wide().resolve(&role(A, "etl-x"), &request).unwrap();
    assert_eq!(grant.audience(), "https://other.example.com");
    assert_eq!(grant.scopes(), ["read", "write"], "the rule's order, without duplicates");
    assert_eq!(grant.lifetime_s(), 60);
}

#[test]
fn more_than_is_granted_is_refused_and_never_clipped() {
    let refuse = |request: TokenRequest| wide().resolve(&role(A, "etl-x"), &request).unwrap_err();
    for (seconds, shown) in [(0, "0"), (59, "59"), (1801, "1801"), (u64::MAX, "18446744073709551615")] {
        let refusal = refuse(ask(None, None, Some(seconds)));
        assert_eq!(refusal.code(), "lifetime");
        assert_eq!(refusal.public_reason(), format!("expected a lifetime of 60 to 1800 seconds, found {shown}"));
    }
    let refusal = refuse(ask(None, Some(&["read", "root"]), None));
    assert_eq!(
        (refusal.code(), refusal.public_reason().as_str()),
        ("scope", "expected scopes that are granted to this caller, found \"root\"")
    );
    for scope in ["READ", "", "read write", " read"] {
        assert_eq!(refuse(ask(None, Some(&[scope]), None)).code(), "scope", "{scope:?}");
    }
    assert_eq!(refuse(ask(None, Some(&[]), None)).code(), "scope", "an empty list is no way to say everything");
    for audience in ["https://evil.example.com", "https://api.example.com/", "HTTPS://api.example.com", ""] {
        assert_eq!(refuse(ask(Some(audience), None, None)).code(), "audience", "{audience:?}");
    }
    let long = refuse(ask(Some(&"x".repeat(5000)), None, None));
    assert!(long.details().len() < 256, "{}", long.details());
}

#[test]
fn without_default_the_only_audience_counts_and_several_must_be_named() {
    let rule = |audiences: &str| {
        let source = format!(
            "[[rule]]\nname = \"r\"\nprincipal = {{ kind = \"root\", accounts = [\"{A}\"] }}\nsubject = \"root\"\naudiences = {audiences}"
        );
        compile(&source).unwrap()
    };
    let root = caller(&format!("arn:aws:iam::{A}:root")).unwrap();
    assert_eq!(rule("[\"a\"]").resolve(&root, &TokenRequest::default()).unwrap().audience(), "a");
    let refusal = rule("[\"a\", \"b\"]").resolve(&root, &TokenRequest::default()).unwrap_err();
    assert_eq!(
        refusal.public_reason(),
        "expected an audience, found none; hint: several are granted to this caller, name one"
    );
    assert_eq!(rule("[\"a\", \"b\"]").resolve(&root, &ask(Some("b"), None, None)).unwrap().audience(), "b");
}

#[test]
fn lifetimes_come_from_the_narrowest() {
    let lifetime = |defaults: &str, rule: &str| {
        let source = format!(
            "[defaults]\naudience = \"a\"\n{defaults}\n[[rule]]\nname = \"r\"\nprincipal = {{ kind = \"root\", accounts = [\"{A}\"] }}\nsubject = \"root\"\n{rule}"
        );
        let root = caller(&format!("arn:aws:iam::{A}:root")).unwrap();
        let mapping = compile(&source).unwrap();
        let Err(Refusal::Lifetime { max, .. }) = mapping.resolve(&root, &ask(None, None, Some(u64::MAX))) else {
            panic!("clipped")
        };
        (mapping.resolve(&root, &TokenRequest::default()).unwrap().lifetime_s(), max)
    };
    assert_eq!(lifetime("", ""), (900, 3600));
    assert_eq!(lifetime("", "max_ttl = \"5m\""), (300, 300));
    assert_eq!(lifetime("ttl = \"30m\"", "max_ttl = \"20m\""), (1200, 1200));
    assert_eq!(lifetime("ttl = \"30m\"\nmax_ttl = \"2h\"", "ttl = \"45m\""), (2700, 7200));
    assert_eq!(lifetime("max_ttl = \"90s\"", ""), (90, 90));
}

#[test]
fn profiles_decide_the_form() {
    let source = format!(
        "{}\n[audience.\"https://api.example.com\"]\nprofile = \"rfc9068\"\nalg = \"ES256\"",
        rules(&[
            "principal = { kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"x\" }\nsubject = \"x\""
        ])
    );
    let grant = compile(&source).unwrap().resolve(&role(A, "x"), &TokenRequest::default()).unwrap();
    let profile = grant.profile();
    assert_eq!((profile.kind(), profile.typ(), profile.algorithm()), (ProfileKind::Rfc9068, "at+jwt", Some("ES256")));
    let grant = compile(CONTRACT).unwrap().resolve(&role(A, "etl-x"), &TokenRequest::default()).unwrap();
    let profile = grant.profile();
    assert_eq!((profile.typ(), profile.algorithm(), profile.scope_form()), ("JWT", Some("RS256"), ScopeForm::Array));
    let comma = CONTRACT.replace("oauth\"\n", "oauth\"\nscope_claim = \"scope\"\n");
    let grant = compile(&comma).unwrap().resolve(&role(A, "etl-x"), &TokenRequest::default()).unwrap();
    assert_eq!(grant.profile().scope_form(), ScopeForm::Comma);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mapping = compile(&rules(&[
        "principal = { kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"etl-x\" }\nsubject = \"{account}/{role}\"\nscopes = [\"one\"]",
        "principal = { kind = \"assumed-role\", accounts = [\"111122223333\", \"444455556666\"], role = \"etl-*\" }\nsubject = \"{account}/{role}\"\nscopes = [\"two\"]",
    ]))
    .unwrap();
    let scopes =
        |account, name| mapping.resolve(&role(account, name), &TokenRequest::default()).unwrap().scopes().to_vec();
    assert_eq!(
        (scopes(A, "etl-x"), scopes(B, "etl-x"), scopes(A, "etl-y")),
        (vec!["one".to_owned()], vec!["two".to_owned()], vec!["two".to_owned()])
    );
    assert_eq!(mapping.rules().collect::<Vec<_>>(), ["r1", "r2"]);
}

#[test]
fn unique_ids_pin_roles_users_and_service_accounts() {
    let mapping = compile(&rules(&[
        "principal = { kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"a\", role_id = \"AROAEXAMPLE\" }\nsubject = \"a\"",
        "principal = { kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"b\", role_id = \"AROAOTHER\" }\nsubject = \"b\"",
        "principal = { kind = \"iam-user\", accounts = [\"111122223333\"], user = \"c\", user_id = \"AIDAOTHER\" }\nsubject = \"c\"",
        "principal = { kind = \"kubernetes-service-account\", issuers = [\"i\"], namespace = \"n\", name = \"d\", uid = \"1-2\" }\nsubject = \"d\"",
    ]))
    .unwrap();
    let resolve = |principal: &Principal| {
        mapping.resolve(principal, &TokenRequest::default()).map(|grant| grant.subject().to_owned())
    };
    assert_eq!(resolve(&role(A, "a")), Ok("a".to_owned()));
    assert!(resolve(&role(A, "b")).is_err());
    assert!(resolve(&caller("arn:aws:iam::111122223333:user/c").unwrap()).is_err());
    let account = |uid| Principal::Kubernetes(KubernetesPrincipal::new("i", "n", "d", uid).unwrap());
    assert_eq!(resolve(&account("1-2")), Ok("d".to_owned()));
    assert!(resolve(&account("1-3")).is_err());
}

#[test]
fn other_doors_have_their_own_kinds() {
    let mapping = compile(&rules(&[
        "principal = { kind = \"kubernetes-service-account\", issuers = [\"https://k\"], namespace = \"team-*\", name = \"app\" }\nsubject = \"k8s/{namespace}/{name}\"",
        "principal = { kind = \"token\", issuers = [\"https://ci\"], subject = \"repo:acme/*\" }\nsubject = \"ci:{subject}\"",
        "principal = { kind = \"federated-user\", accounts = [\"111122223333\"], user = \"*\" }\nsubject = \"fed/{name}\"",
        "principal = { kind = \"iam-user\", accounts = [\"111122223333\"], path = \"/team/*/\", user = \"*\" }\nsubject = \"user{path}{user}\"",
    ]))
    .unwrap();
    let subject = |principal: &Principal| {
        mapping.resolve(principal, &TokenRequest::default()).map(|grant| grant.subject().to_owned()).ok()
    };
    let account =
        |issuer, namespace| Principal::Kubernetes(KubernetesPrincipal::new(issuer, namespace, "app", "u").unwrap());
    assert_eq!(subject(&account("https://k", "team-a")).as_deref(), Some("k8s/team-a/app"));
    assert_eq!(subject(&account("https://other", "team-a")), None);
    let token = |issuer, subject| Principal::Token(TokenPrincipal::new(issuer, subject).unwrap());
    assert_eq!(subject(&token("https://ci", "repo:acme/app")).as_deref(), Some("ci:repo:acme/app"));
    assert_eq!(subject(&token("https://evil", "repo:acme/app")), None);
    assert_eq!(subject(&token("https://ci", "repo:acme/app:pr")), None, "a star never crosses a separator");
    assert_eq!(subject(&caller("arn:aws:sts::111122223333:federated-user/bob").unwrap()).as_deref(), Some("fed/bob"));
    assert_eq!(
        subject(&caller("arn:aws:iam::111122223333:user/team/x/bob").unwrap()).as_deref(),
        Some("user/team/x/bob")
    );
    assert_eq!(subject(&caller("arn:aws:iam::111122223333:user/team/x/y/bob").unwrap()), None);
}

#[test]
fn a_subject_is_never_cut() {
    let mapping = compile(&rules(&[
        "principal = { kind = \"iam-user\", accounts = [\"111122223333\"], user = \"bob\" }\nsubject = \"{path}bob\"",
        "principal = { kind = \"iam-user\", accounts = [\"111122223333\"], user = \"*\" }\nsubject = \"late {user}\"",
    ]))
    .unwrap();
    let bob = |path: String| caller(&format!("arn:aws:iam::{A}:user{path}bob")).unwrap();
    assert!(mapping.resolve(&bob(format!("/{}/", "p".repeat(250))), &TokenRequest::default()).is_ok());
    let principal = bob(format!("/{}/", "p".repeat(251)));
    let refusal = mapping.resolve(&principal, &TokenRequest::default()).unwrap_err();
    assert_eq!(refusal.details(), "the subject would be 256 bytes, 1 to 255 printable ones are allowed (rule \"r1\")");
    assert_eq!(refusal.code(), "subject", "no later rule is tried: a caller must not choose the rule by a long name");
    assert!(matches!(mapping.explain(&principal)[0].outcome, RuleOutcome::NoSubject(_)));
}

#[test]
fn explain_gives_the_reason_of_every_rule() {
    let mapping = compile(CONTRACT).unwrap();
    let lines = |principal| mapping.explain(&principal).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        lines(role(A, "etl-x")),
        [
            "rule \"analysts\" (line 11): no match: the caller is assumed-role, the rule is for sso-user",
            "rule \"etl workers\" (line 18): matches, subject \"111122223333/ETL-X\"",
        ]
    );
    assert_eq!(
        lines(sso("999999999999", "Analyst", "bob@example.com"))[0],
        "rule \"analysts\" (line 11): no match: account \"999999999999\" is none of the 2 listed"
    );
    assert_eq!(
        lines(sso(A, "Admin", "bob@example.com"))[0],
        "rule \"analysts\" (line 11): no match: permission set \"Admin\" is not Analyst"
    );
    assert_eq!(
        lines(sso(A, "Analyst", "bob@evil.com"))[0],
        "rule \"analysts\" (line 11): no match: the domain of \"bob@evil.com\" is not example.com"
    );
    assert_eq!(
        lines(role(B, "x"))[1],
        "rule \"etl workers\" (line 18): no match: account \"444455556666\" is not 111122223333"
    );
    assert_eq!(lines(role(A, "x"))[1], "rule \"etl workers\" (line 18): no match: role \"x\" does not match etl-*");
    let refusal = mapping.resolve(&role(A, "x"), &TokenRequest::default()).unwrap_err();
    assert_eq!((refusal.code(), refusal.public_reason().as_str()), ("no_rule", "no rule admits this caller"));
    assert!(refusal.details().contains("; rule \"etl workers\" (line 18): no match: role \"x\" does not match etl-*"));
}

#[test]
fn the_environment_gives_an_audience_but_never_another() {
    let source = CONTRACT.replace("audience = \"https://acme.snowflakecomputing.com\"\n", "");
    let with = |audience: &str| CompileOptions { audience: Some(audience.to_owned()), ..options() };
    let mapping = SubjectMapping::compile(&source, &with("https://acme.snowflakecomputing.com")).unwrap();
    let grant = mapping.resolve(&role(A, "etl-x"), &TokenRequest::default()).unwrap();
    assert_eq!(grant.audience(), "https://acme.snowflakecomputing.com");
    assert!(SubjectMapping::compile(CONTRACT, &with("https://acme.snowflakecomputing.com")).is_ok());
    let errors = SubjectMapping::compile(CONTRACT, &with("https://other.example.com")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "line 3: expected defaults.audience to equal AUDIENCE \"https://other.example.com\", found \"https://acme.snowflakecomputing.com\"; hint: set one of the two"
    );
}

proptest! {
    #[test]
    fn a_request_never_widens_a_grant(
        audience in proptest::option::of(prop::sample::select(vec!["https://api.example.com", "https://other.example.com", "https://evil.example.com", ""])),
        scopes in proptest::option::of(proptest::collection::vec(prop::sample::select(vec!["read", "write", "admin", "root", ""]), 0..4)),
        seconds in proptest::option::of(prop_oneof![0_u64..4000, Just(u64::MAX)]),
    ) {
        let whole = wide().resolve(&role(A, "etl-x"), &TokenRequest::default()).unwrap();
        let request = ask(audience, scopes.as_deref(), seconds);
        if let Ok(grant) = wide().resolve(&role(A, "etl-x"), &request) {
            prop_assert!(["https://api.example.com", "https://other.example.com"].contains(&grant.audience()));
            prop_assert!(audience.is_none_or(|asked| asked == grant.audience()));
            prop_assert!(grant.scopes().iter().all(|scope| whole.scopes().contains(scope)));
            if let Some(asked) = scopes {
                prop_assert!(grant.scopes().iter().all(|scope| asked.contains(&scope.as_str())));
                prop_assert!(!grant.scopes().is_empty());
            }
            prop_assert!((60..=1800).contains(&grant.lifetime_s()));
            prop_assert!(seconds.is_none_or(|asked| asked == grant.lifetime_s()));
            prop_assert_eq!((grant.subject(), grant.extra()), (whole.subject(), whole.extra()));
        }
    }
}
