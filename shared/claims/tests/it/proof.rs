//! Which documents the collision proof lets through.

use crate::support::{SNOWFLAKE, compile, rules};

fn role_rule(role: &str, subject: &str) -> String {
    format!("principal = {{ kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"{role}\" }}\nsubject = \"{subject}\"")
}

fn sso_rule(whose: &str, more: &str, subject: &str) -> String {
    format!("principal = {{ kind = \"sso-user\", {whose}, permission_set = \"Analyst\"{more} }}\nsubject = \"{subject}\"")
}

fn k8s_rule(subject: &str) -> String {
    format!(
        "principal = {{ kind = \"kubernetes-service-account\", issuers = [\"https://k\"], namespace = \"*\", name = \"*\" }}\nsubject = \"{subject}\""
    )
}

fn accepted(list: &[&str]) {
    let source = rules(list);
    if let Err(errors) = compile(&source) {
        panic!("{source}\n{errors}");
    }
}

/// Refused, and every given text is in the message.
fn refused(list: &[&str], texts: &[&str]) {
    let source = rules(list);
    let Err(errors) = compile(&source) else { panic!("loaded: {source}") };
    let message = errors.to_string();
    for text in texts {
        assert!(message.contains(text), "no {text:?} in: {message}\n{source}");
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
    accepted(&[&k8s_rule("{namespace|upper}-{name}")]);
    refused(
        &[&k8s_rule("{namespace}-{name}")],
        &["found \"a-a-a\" for both", "system:serviceaccount:a:a-a of https://k", "system:serviceaccount:a-a:a of https://k", "hint: separate the variables"],
    );
    refused(&[&k8s_rule("{namespace}{name}")], &["\"aaa\""]);
    refused(&[&snowflake(&k8s_rule("{namespace|upper}-{name}"))], &["\"A-A-a\""]);
    let iam = |subject: &str| {
        format!("principal = {{ kind = \"iam-user\", accounts = [\"111122223333\"], user = \"*\" }}\nsubject = \"{subject}\"")
    };
    accepted(&[&iam("{path}{user}")]);
    accepted(&[&iam("{user}{path}")]);
    accepted(&[&iam("{user}@{account}")]);
}

#[test]
fn every_identity_field_is_pinned_or_shown() {
    let two = |subject: &str| {
        format!("principal = {{ kind = \"assumed-role\", accounts = [\"111122223333\", \"444455556666\"], role = \"app\" }}\nsubject = \"{subject}\"")
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
    refused(&[&sso_rule("accounts = [\"111122223333\", \"999999999999\"]", "", "{user}")], &["111122223333", "999999999999"]);
    accepted(&[&sso_rule("accounts = [\"111122223333\", \"999999999999\"]", "", "{account}/{user}")]);
    refused(
        &[&sso_rule("accounts = [\"999999999999\"]", "", "{user|upper}")],
        &["user_names = \"case-insensitive\"", "/aa and", "/AA;"],
    );
    // The same person through two permission sets keeps one subject.
    let admin = sso_rule(corp, "", "{user|upper}").replace("Analyst", "Admin");
    accepted(&[&sso_rule(corp, "", "{user|upper}"), &admin]);
    accepted(&[&sso_rule(corp, "", "{user|upper}"), &admin.replace("upper", "lower"), &snowflake(&admin)]);
    refused(&[&sso_rule(corp, "", "{user}"), &sso_rule("accounts = [\"999999999999\"]", "", "{user}")], &["444455556666", "999999999999"]);
}

#[test]
fn local_parts_need_their_domain() {
    let rule = |domain: &str, subject: &str| format!("{}\nemail_domain = \"{domain}\"", sso_rule("directory = \"corp\"", "", subject));
    accepted(&[&rule("example.com", "{user|local_part|upper}")]);
    refused(&[&rule("example.com", "{user|local_part}").replace("email_domain", "#")], &["expected email_domain", "local_part"]);
    refused(
        &[&rule("a.example", "{user|local_part}"), &rule("b.example", "{user|local_part}")],
        &["/a@a.example by the first", "/a@b.example by the second", "\"a\""],
    );
    accepted(&[&rule("a.example", "{user}"), &rule("b.example", "{user}")]);
    accepted(&[&rule("a.example", "a/{user|local_part}"), &rule("b.example", "b/{user|local_part}")]);
    // A person who takes the name of a role, and the other way round.
    refused(&[&rule("example.com", "{user|local_part|upper}"), &role_rule("*", "{role|upper}")], &["\"A\"", "/a@example.com", "assumed-role/a/*"]);
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
        &["\"r1\" (line 3)", "\"r2\" (line 7)", "assumed-role/app/* by the first", "assumed-role/web/* by the second"],
    );
    refused(&[&role_rule("a*", "{role}"), &role_rule("*a", "x{role}")], &[]);
    accepted(&[&role_rule("a*", "{role}"), &role_rule("*b", "x{role}")]);
    accepted(&[&role_rule("*b", "{role}"), &role_rule("*c", "{role|lower}")]);
    refused(&[&role_rule("*", "{role}"), &role_rule("*", "x{role}")], &["\"xa\""]);
    // One caller, two templates: refused with a hint of its own.
    refused(&[&role_rule("app", "app"), &role_rule("app", "a{role}").replace("app\", \"", "")], &[]);
    // Audiences do not keep rules apart.
    let other = format!("{}\naudiences = [\"https://other.example.com\"]", role_rule("web", "APP"));
    refused(&[&role_rule("app", "APP"), &other], &["APP"]);
}

#[test]
fn case_counts_only_where_both_sides_keep_it() {
    refused(&[&snowflake(&role_rule("app", "APP")), &role_rule("web", "app")], &["\"APP\" and \"app\", which a relying party that ignores case takes for one"]);
    accepted(&[&role_rule("app", "APP"), &role_rule("web", "app")]);
    let federated = "principal = { kind = \"federated-user\", accounts = [\"111122223333\"], user = \"*\" }\nsubject = \"{name}\"";
    accepted(&[federated]);
    refused(&[&snowflake(federated)], &["federated-user/aa", "federated-user/AA", "tells names apart by case"]);
    refused(&[&federated.replace("{name}", "{name|lower}")], &["federated-user/aa"]);
    accepted(&[&snowflake(&federated.replace("\"*\"", "\"bob\""))]);
    accepted(&[&snowflake(&role_rule("*", "{role}"))]);
    let token = "principal = { kind = \"token\", issuers = [\"https://ci\"], subject = \"*\" }\nsubject = \"ci/{subject}\"";
    accepted(&[token]);
    refused(&[&snowflake(token)], &["of https://ci"]);
    // The host name counts even when the profile was forgotten.
    accepted(&[&token.replace("{subject}", "{subject}/x")]);
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
    let accounts: Vec<String> = (0..256).map(|n| format!("\"{n:012}\"")).collect();
    let list = accounts.join(", ");
    let rule = format!("principal = {{ kind = \"assumed-role\", accounts = [{list}], role = \"*\" }}\nsubject = \"{{account}}/{{role}}\"");
    accepted(&[&rule, &rule]);
    let issuers: Vec<String> = (0..200).map(|n| format!("\"{}{n}\"", "i".repeat(200))).collect();
    let issuers: Vec<String> = issuers.iter().rev().map(|issuer| issuer.chars().rev().collect::<String>()).collect();
    let rule = format!("principal = {{ kind = \"token\", issuers = [{}], subject = \"*\" }}\nsubject = \"{{issuer}} {{subject}}\"", issuers.join(", "));
    refused(&[&rule], &["expected subjects that can be compared within a bounded search", "hint: shorten the lists"]);
}

#[test]
fn many_ordinary_rules_are_proven() {
    let mut list: Vec<String> = (0..200).map(|n| role_rule(&format!("team-{n}-*"), "{account}/{role|upper}")).collect();
    list.push(sso_rule("directory = \"corp\"", "", "{user|upper}"));
    list.extend((0..50).map(|n| role_rule(&format!("svc{n}"), &format!("svc/{n}"))));
    accepted(&list.iter().map(String::as_str).collect::<Vec<_>>());
}
