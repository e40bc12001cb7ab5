//! Which documents the collision proof lets through.

use crate::support::{SNOWFLAKE, compile, rules};

fn role_rule(role: &str, subject: &str) -> String {
    format!(
        "principal = {{ kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"{role}\" }}\nsubject = \"{subject}\""
    )
}

fn sso_rule(whose: &str, more: &str, subject: &str) -> String {
    format!(
        "principal = {{ kind = \"sso-user\", {whose}, permission_set = \"Analyst\"{more} }}\nsubject = \"{subject}\""
    )
}

fn k8s_rule(subject: &str) -> String {
    format!(
        "principal = {{ kind = \"kubernetes-service-account\", issuers = [\"https://k\"], namespace = \"*\", name = \"*\" }}\nsubject = \"{subject}\""
    )
}

fn accepted(list: &[&str]) {
    let source = rules(list);
    if let Err(errors) = compile(&source) {
        panic!("{errors}\n{source:.2000}");
    }
}

/// Refused, and every given text is in the message.
fn refused(list: &[&str], texts: &[&str]) {
    let source = rules(list);
    let Err(errors) = compile(&source) else { panic!("loaded: {source:.2000}") };
    let message = errors.to_string();
    for text in texts {
        assert!(message.contains(text), "no {text:?} in: {message}\n{source:.2000}");
    }
}

/// The same rule for an audience that ignores case.
fn snowflake(rule: &str) -> String {
    format!("{rule}\naudiences = [\"{SNOWFLAKE}\"]\nscopes = [\"session:role:X\"]")
}

#[test]
fn variables_are_told_apart() {
    accepted(&[&role_rule("*", "{account}/{role}")]);
    accepted(&[&role_rule("*", "{role}{account}")]);
    accepted(&[&k8s_rule("{namespace}/{name}")]);
    accepted(&[&k8s_rule("{namespace}.{name}")]);
    // Digits have no case, so upper case does not tell where the namespace ends.
    refused(&[&k8s_rule("{namespace|upper}-{name}")], &["\"A-0-a\""]);
    refused(
        &[&k8s_rule("{namespace}-{name}")],
        &[
            "found \"a-a-a\" for both",
            "system:serviceaccount:a:a-a of https://k",
            "system:serviceaccount:a-a:a of https://k",
            "hint: separate the variables",
        ],
    );
    refused(&[&k8s_rule("{namespace}{name}")], &["\"aaa\""]);
    refused(&[&snowflake(&k8s_rule("{namespace|upper}-{name}"))], &["\"A-A-a\""]);
    let iam = |subject: &str| {
        format!(
            "principal = {{ kind = \"iam-user\", accounts = [\"111122223333\"], user = \"*\" }}\nsubject = \"{subject}\""
        )
    };
    accepted(&[&iam("{path}{user}")]);
    accepted(&[&iam("{user}{path}")]);
    accepted(&[&iam("{user}@{account}")]);
}

#[test]
fn every_identity_field_is_pinned_or_shown() {
    let two = |subject: &str| {
        format!(
            "principal = {{ kind = \"assumed-role\", accounts = [\"111122223333\", \"444455556666\"], role = \"app\" }}\nsubject = \"{subject}\""
        )
    };
    accepted(&[&role_rule("app", "APP")]);
    accepted(&[&two("app/{account}")]);
    refused(
        &[&two("APP")],
        &[
            "line 3: expected rule \"r1\" to give different callers different subjects, found \"APP\" for both",
            "arn:aws:sts::111122223333:assumed-role/app/*",
            "arn:aws:sts::444455556666:assumed-role/app/*",
            "hint: add {account} to the subject",
        ],
    );
    refused(&[&role_rule("etl-*", "ETL")], &["assumed-role/etl-a/*", "assumed-role/etl-b/*", "add {role}"]);
    let partitions = role_rule("app", "APP").replace("accounts", "partitions = [\"aws\", \"aws-cn\"], accounts");
    refused(&[&partitions], &["arn:aws:sts", "arn:aws-cn:sts", "one rule per partition"]);
    let issuers = k8s_rule("{namespace}/{name}").replace("[\"https://k\"]", "[\"https://k\", \"https://l\"]");
    refused(&[&issuers], &["of https://k", "of https://l", "add {issuer}"]);
    accepted(&[&issuers.replace("{namespace}/", "{issuer}#{namespace}/")]);
}

#[test]
fn an_identity_center_is_one_authority() {
    let corp = "directory = \"corp\"";
    accepted(&[&sso_rule(corp, "", "{user}")]);
    accepted(&[&sso_rule(corp, "", "{user|upper}")]);
    accepted(&[&sso_rule("accounts = [\"111122223333\"]", "", "{user}")]);
    accepted(&[&sso_rule("accounts = [\"111122223333\", \"444455556666\"]", "", "{user}")]);
    // Without a directory, users of two accounts are two people.
    refused(
        &[&sso_rule("accounts = [\"888888888888\", \"999999999999\"]", "", "{user}")],
        &["888888888888", "999999999999", "add {account}"],
    );
    refused(
        &[&sso_rule("accounts = [\"111122223333\", \"999999999999\"]", "", "{user}")],
        &["111122223333", "999999999999"],
    );
    accepted(&[&sso_rule("accounts = [\"111122223333\", \"999999999999\"]", "", "{account}/{user}")]);
    refused(
        &[&sso_rule("accounts = [\"999999999999\"]", "", "{user|upper}")],
        &["user_names = \"case-insensitive\"", "/aa and", "/aA;"],
    );
    // The same person through two permission sets keeps one subject.
    let admin = sso_rule(corp, "", "{user|upper}").replace("Analyst", "Admin");
    accepted(&[&sso_rule(corp, "", "{user|upper}"), &admin]);
    accepted(&[&sso_rule(corp, "", "{user|upper}"), &admin.replace("upper", "lower"), &snowflake(&admin)]);
    refused(
        &[&sso_rule(corp, "", "{user}"), &sso_rule("accounts = [\"999999999999\"]", "", "{user}")],
        &["111122223333", "999999999999", "list the accounts of one Identity Center in one [directory]"],
    );
}

#[test]
fn local_parts_need_their_domain() {
    let rule = |domain: &str, subject: &str| {
        format!("{}\nemail_domain = \"{domain}\"", sso_rule("directory = \"corp\"", "", subject))
    };
    accepted(&[&rule("example.com", "{user|local_part|upper}")]);
    refused(
        &[&rule("example.com", "{user|local_part}").replace("email_domain", "#")],
        &["expected email_domain", "local_part"],
    );
    refused(
        &[&rule("a.example", "{user|local_part}"), &rule("b.example", "{user|local_part}")],
        &["/a@a.example by the first", "/a@b.example by the second", "\"a\""],
    );
    accepted(&[&rule("a.example", "{user}"), &rule("b.example", "{user}")]);
    accepted(&[&rule("a.example", "a/{user|local_part}"), &rule("b.example", "b/{user|local_part}")]);
    // A person who takes the name of a role, and the other way round.
    refused(
        &[&rule("example.com", "{user|local_part|upper}"), &role_rule("*", "{role|upper}")],
        &["\"A\"", "/a@example.com", "assumed-role/a/*"],
    );
    accepted(&[&rule("example.com", "{user|local_part|upper}"), &role_rule("*", "{account}/{role|upper}")]);
}

#[test]
fn rules_are_compared_in_pairs() {
    accepted(&[&role_rule("a-*", "{role}"), &role_rule("b-*", "{role}")]);
    accepted(&[&role_rule("a-*", "x/{role}"), &role_rule("*", "y/{role}")]);
    accepted(&[&role_rule("app", "APP"), &role_rule("app", "APP")]);
    accepted(&[&role_rule("app", "{role}"), &role_rule("app", "app")]);
    accepted(&[&role_rule("etl-x", "{account}/{role}"), &role_rule("etl-*", "{account}/{role}")]);
    refused(
        &[&role_rule("app", "APP"), &role_rule("web", "APP")],
        &[
            "\"r1\" (line 3)",
            "and \"r2\" to give",
            "assumed-role/app/* by the first",
            "assumed-role/web/* by the second",
        ],
    );
    refused(
        &[&role_rule("a*", "{role}"), &role_rule("*a", "a{role}")],
        &["\"aaa\"", "assumed-role/aaa/* by the first", "assumed-role/aa/* by the second"],
    );
    accepted(&[&role_rule("a*", "{role}"), &role_rule("*b", "x{role}")]);
    accepted(&[&role_rule("*b", "{role}"), &role_rule("*c", "{role|lower}")]);
    refused(&[&role_rule("*", "{role}"), &role_rule("*", "x{role}")], &["\"xa\""]);
    // One caller, two templates: the proof cannot tell, and says so.
    refused(
        &[&role_rule("*", "{role}"), &role_rule("app", "app")],
        &[
            "found \"app\" by two templates for arn:aws:sts::111122223333:assumed-role/app/*",
            "hint: write the same subject template",
        ],
    );
    // Audiences do not keep rules apart.
    let other = format!("{}\naudiences = [\"https://other.example.com\"]", role_rule("web", "APP"));
    refused(&[&role_rule("app", "APP"), &other], &["APP"]);
}

#[test]
fn case_counts_only_where_both_sides_keep_it() {
    refused(
        &[&snowflake(&role_rule("app", "APP")), &role_rule("web", "app")],
        &["\"APP\" and \"app\", which a relying party that ignores case takes for one"],
    );
    accepted(&[&role_rule("app", "APP"), &role_rule("web", "app")]);
    let federated =
        "principal = { kind = \"federated-user\", accounts = [\"111122223333\"], user = \"*\" }\nsubject = \"{name}\"";
    accepted(&[federated]);
    refused(&[&snowflake(federated)], &["federated-user/aa", "federated-user/aA", "tells names apart by case"]);
    refused(&[&federated.replace("{name}", "{name|lower}")], &["federated-user/aa"]);
    accepted(&[&snowflake(&federated.replace("\"*\"", "\"bob\""))]);
    accepted(&[&snowflake(&role_rule("*", "{role}"))]);
    let token =
        "principal = { kind = \"token\", issuers = [\"https://ci\"], subject = \"*\" }\nsubject = \"ci/{subject}\"";
    accepted(&[token]);
    refused(&[&snowflake(token)], &["of https://ci"]);
    // The host name counts even when the profile was forgotten.
    accepted(&[&token.replace("{subject}", "{subject}/x")]);
}

#[test]
fn filters_are_compared_as_they_print() {
    let here = |role: &str, subject: &str| role_rule(role, subject);
    let there = |role: &str, subject: &str| role_rule(role, subject).replace("111122223333", "444455556666");
    for (role, subject, other_role, other_subject, word) in [
        ("*", "{role}", "*", "{role}", "\"a\""),
        ("A*", "{role}", "a*", "{role|upper}", "\"AA\""),
        ("a*", "{role|upper}", "A*", "{role}", "\"AA\""),
        ("a*", "{role}", "A*", "{role|lower}", "\"aa\""),
        ("A*", "{role|lower}", "a*", "{role}", "\"aa\""),
        ("a*", "{role|upper}", "A*", "{role|upper}", "\"AA\""),
        ("a*", "{role|lower}", "A*", "{role|lower}", "\"aa\""),
        ("1*", "{role|lower}", "1*", "{role|upper}", "\"10\""),
    ] {
        refused(&[&here(role, subject), &there(other_role, other_subject)], &[word]);
    }
    accepted(&[&here("a*", "{role}"), &there("*", "{role|upper}")]);
    accepted(&[&here("*", "{role|upper}"), &there("a*", "{role}")]);
    accepted(&[&here("A*", "{role}"), &there("*", "{role|lower}")]);
    accepted(&[&here("*", "{role|lower}"), &there("A*", "{role}")]);
    accepted(&[&here("a*", "{role|lower}"), &there("a*", "{role|upper}")]);
    refused(&[&here("a*", "{role|lower}"), &snowflake(&there("a*", "{role|upper}"))], &["ignores case"]);
}

#[test]
fn languages_are_never_too_small() {
    // Inner hyphens may follow each other: only the ends of a Kubernetes name are letters or digits.
    let namespace = |namespace: &str, subject: &str| {
        k8s_rule(subject)
            .replace("namespace = \"*\"", &format!("namespace = \"{namespace}\""))
            .replace("name = \"*\"", "name = \"x\"")
    };
    refused(&[&namespace("a-*", "{namespace}"), &namespace("a--b", "a--b")], &["\"a--b\""]);
    refused(&[&namespace("*-b", "{namespace}"), &namespace("a--b", "a--b")], &["\"a--b\""]);
    accepted(&[&namespace("*", "{namespace}"), &role_rule("*", "-{role}")]);
    // The local part may be the whole prefix of a pattern, and no more than it when the pattern writes the "@".
    let user = |user: &str| {
        format!(
            "{}\nemail_domain = \"example.com\"",
            sso_rule("directory = \"corp\"", &format!(", user = \"{user}\""), "{user|local_part}")
        )
    };
    refused(&[&user("bob*"), &role_rule("bob", "bob")], &["\"bob\"", "/bob@example.com"]);
    refused(&[&user("bob@ex*"), &role_rule("bob", "bob")], &["\"bob\""]);
    accepted(&[&user("bob@ex*"), &role_rule("*", "bob{role}")]);
    refused(&[&user("*t@example.com"), &role_rule("at", "at")], &["\"at\""]);
    accepted(&[&user("*t@example.com"), &role_rule("t", "t")]);
    let path = "principal = { kind = \"iam-user\", accounts = [\"111122223333\"], user = \"x\" }\nsubject = \"{path}\"";
    refused(&[path, &role_rule("r", "/")], &["user/x by the first"]);
    refused(&[path, &role_rule("r", "/a/b/")], &["user/a/b/x by the first"]);
    accepted(&[path, &role_rule("r", "/a")]);
}

#[test]
fn a_shared_subject_is_said_so() {
    let shared = |rule: String, group: &str| format!("{rule}\nshared_subject = \"{group}\"");
    let (app, web) = (role_rule("app-*", "TEAM"), role_rule("web", "TEAM"));
    accepted(&[&shared(app.clone(), "team"), &shared(web.clone(), "team")]);
    refused(&[&shared(app.clone(), "team"), &shared(web.clone(), "other")], &["TEAM"]);
    refused(&[&shared(app, "team"), &web], &["TEAM"]);
}

#[test]
fn a_proof_that_is_too_large_refuses() {
    let accounts: Vec<String> = (0..256_u64).map(|n| format!("\"{:012}\"", n * 3_906_250_001)).collect();
    let list = accounts.join(", ");
    let rule = format!(
        "principal = {{ kind = \"assumed-role\", accounts = [{list}], role = \"*\" }}\nsubject = \"{{account}}/{{role}}\""
    );
    accepted(&[&rule, &rule]);
    // One list behind many rules: small as a document, large as automata.
    let directory = format!("directory.big = {{ accounts = [{list}] }}\n");
    let list: Vec<String> = (0..200)
        .map(|n| {
            format!("[[rule]]\nname = \"{n}\"\nprincipal = {{ kind = \"sso-user\", directory = \"big\", permission_set = \"P\" }}\nsubject = \"{n}/{{account}}/{{user}}\"\naudiences = [\"a\"]\n")
        })
        .collect();
    let message = compile(&format!("{directory}{}", list.concat())).unwrap_err().to_string();
    assert!(message.contains("expected subjects that can be compared within a bounded search"), "{message}");
    assert!(message.contains("hint: shorten the lists"), "{message}");
    assert!(compile(&format!("{directory}{}", list[..100].concat())).is_ok(), "a hundred such rules are fine");
}

#[test]
fn many_ordinary_rules_are_proven() {
    let mut list: Vec<String> = (0..200).map(|n| role_rule(&format!("team-{n}-*"), "{account}/{role|upper}")).collect();
    list.push(sso_rule("directory = \"corp\"", "", "{user|upper}"));
    list.extend((0..50).map(|n| role_rule(&format!("svc{n}"), &format!("svc/{n}"))));
    accepted(&list.iter().map(String::as_str).collect::<Vec<_>>());
}
