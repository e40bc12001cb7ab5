//! What operators read when a mapping document is wrong.

use token_claims::{CompileOptions, Refusal, SsoPath, SubjectMapping, TokenRequest};

use crate::support::{CONTRACT, compile, options, role};

#[test]
fn everything_wrong_is_reported_at_once() {
    let source = r#"
[defaults]
audience = "https://a b"
ttl = "2h"
max_ttl = "1 hour"
colour = "red"

[directory.corp]
accounts = ["1111", "111122223333", "111122223333"]
user_names = "insensitive"

[[rule]]
name = "analysts"
principal = { kind = "sso-user", directory = "crop", permission_set = "Ana lyst", user_names = 3 }
subject = "{user|local_part|upper}-{user}-{role}"
scope = ["session:role:ANALYST"]

[[rule]]
name = "analysts"
principal = { kind = "assumed-role", accounts = "111122223333", role = "etl-*-*", role_id = "AIDAX" }
subject = "{account/{role|uper}"
scopes = ["session role", "a,b"]
max_ttl = "2h"
audiences = []

[[rule]]
principal = { kind = "role" }
subject = ""
claims = { sub = "x", when = 2026-11-22, empty = "" }

[audience."https://acme.snowflakecomputing.com"]
profile = "snowflake"
alg = "ES512"
"#;
    let expected = r#"line 3: expected an audience of 1 to 255 printable characters without spaces, found "https://a b"; hint: an audience is usually the URL of whoever checks the token
line 5: expected max_ttl in [defaults] to be a duration of 60s to 24h, found "1 hour"; hint: write "90s", "15m", "1h" or "1h30m"
line 6: expected only known keys in [defaults], found "colour"; hint: known here: audience, ttl, max_ttl
line 9: expected different entries for accounts of [directory.corp], found "111122223333" twice; hint: remove one of them
line 10: expected user_names to be case-insensitive or case-sensitive, found "insensitive"; hint: it says whether "Bob" and "bob" are one user of this directory
line 14: expected a directory of the document, found "crop"; hint: declare it: [directory.NAME] with accounts and user_names
line 14: expected a permission set of the characters that its authority allows, found " " in "Ana lyst"; hint: matching is exact or with one "*"; there are no other patterns
line 14: expected only known keys in principal of rule "analysts", found "user_names"; hint: known here: kind, partitions, directory, accounts, permission_set, user, role_ids
line 15: expected each variable once, found {user} twice; hint: a subject that repeats itself only gets longer
line 16: expected only known keys in rule "analysts", found "scope"; hint: did you mean scopes?
line 18: expected different rule names, found "analysts" in line 12 too; hint: decisions are logged by rule name
line 20: expected accounts of principal of rule "analysts" to be a list of strings, found a string; hint: write accounts = ["…"]
line 20: expected at most one "*" in role, found "etl-*-*"; hint: write one rule per pattern
line 20: expected a unique id (AROA and 1-124 letters and digits), found "AIDAX"; hint: copy it from `aws iam get-role`, `get-user` or `kubectl get -o yaml`
line 21: expected a variable that assumed-role offers, found "account/{role"; hint: it offers {account}, {role}
line 22: expected a scope token of RFC 6749 section 3.3, found "session role"; hint: 1 to 255 printable characters without space, quote and backslash
line 24: expected 1 to 256 entries for audiences of rule "analysts", found 0; hint: leave the key out to get its default, or split the rule
line 26: expected name of rule 3, found none; hint: add name = "what the rule is for"
line 27: expected a kind of principal in principal of rule 3, found "role"; hint: kinds are assumed-role, sso-user, iam-user, root, federated-user, kubernetes-service-account, token
line 29: expected claim "empty" to be not empty, found an empty value; hint: leave the claim out
line 29: expected a claim of your own, found the reserved name "sub"; hint: registered and security-deciding claims come from the issuer alone
line 29: expected claim "when" to be of a type that JSON has, found a date-time; hint: write it as a string or an integer
line 32: expected a profile in [audience."https://acme.snowflakecomputing.com"], found "snowflake"; hint: profiles are generic, snowflake-external-oauth and rfc9068
line 33: expected alg in [audience."https://acme.snowflakecomputing.com"] to be one of RS256, PS256, ES256, ES384, EdDSA, found "ES512"; hint: names of RFC 7518 section 3.1 and RFC 8037, in their case"#;
    assert_eq!(compile(source).unwrap_err().to_string(), expected);
}

#[test]
fn syntax_and_shape() {
    for (source, expected) in [
        ("a = \n[b\n", &["line 1: expected TOML, found an error: ", "\nline 2: expected TOML, found an error: "][..]),
        ("a = 1\na = 2", &["line 2: expected TOML, found an error: duplicate key"]),
        ("", &["expected at least one [[rule]], found none; hint: without rules every caller is refused"]),
        (
            "rule = 3",
            &["line 1: expected rule to be a list of tables, found an integer; hint: begin each rule with [[rule]]"],
        ),
        ("rule = [3]", &["line 1: expected rule 1 to be a table, found an integer"]),
        ("[rule]\nname = \"x\"", &["line 1: expected rule to be a list of tables, found a table"]),
        ("defaults = 1", &["line 1: expected [defaults] to be a table, found an integer"]),
        ("directory.\"\" = {}", &["line 1: expected a directory's name of 1 to 64 printable characters, found \"\""]),
        (
            "[[rule]]\nname = \"x\"\nprincipal = \"root\"",
            &[
                "line 3: expected principal of rule \"x\" to be a table, found a string",
                "line 1: expected subject of rule \"x\", found none; hint: add subject = \"{account}/{role}\"",
                "line 1: expected an audience for rule \"x\"",
            ],
        ),
    ] {
        let message = compile(source).map(|_| ()).unwrap_err().to_string();
        for text in expected {
            assert!(message.contains(text), "no {text:?} in {message:?}");
        }
    }
}

#[test]
fn each_mistake_has_its_message() {
    let table: &[(&str, &str, &str)] = &[
        (
            "permission_set = \"Analyst\"",
            "permission_set = \"Analyst\", accounts = [\"111122223333\"]",
            r#"line 13: expected either directory or accounts in principal of rule "analysts", found both; hint: directory = "corp" stands for the accounts of [directory.corp]"#,
        ),
        (
            "directory = \"corp\", ",
            "",
            r#"line 13: expected either directory or accounts in principal of rule "analysts", found neither; hint: directory = "corp" stands for the accounts of [directory.corp]"#,
        ),
        (
            "email_domain = \"example.com\"\n",
            "",
            r#"line 14: expected email_domain in rule "analysts" beside the filter local_part, found none; hint: without one domain, bob@a.example and bob@b.example would be the same subject"#,
        ),
        (
            "email_domain = \"example.com\"",
            "email_domain = \"@example\"",
            r#"line 14: expected email_domain to be a domain name of at most 61 characters, found "@example"; hint: write it as it appears in user names, without "@": "example.com""#,
        ),
        (
            "permission_set = \"Analyst\"",
            "permission_set = \"Analyst\", user = \"*@evil.com\"",
            r#"line 13: expected user in principal of rule "analysts" to fit email_domain "example.com", found "*@evil.com"; hint: no user name can satisfy both, so the rule would never apply"#,
        ),
        (
            "role = \"etl-*\"",
            "role = \"etl-*\", role_id = \"AROAX\"",
            r#"line 20: expected an exact role beside role_id, found a pattern; hint: an id belongs to one name: write the whole name, or leave the id out"#,
        ),
        (
            "role = \"etl-*\"",
            "role = \"AWSReservedSSO_*\"",
            r#"line 20: expected a role outside AWSReservedSSO_, found "AWSReservedSSO_*"; hint: use kind = "sso-user" with permission_set for Identity Center roles"#,
        ),
        (
            "scopes = [\"session:role:ETL\"]\n",
            "",
            r#"line 18: expected scopes in rule "etl workers" for the Snowflake audience "https://acme.snowflakecomputing.com", found none; hint: Snowflake refuses tokens without a role: scopes = ["session:role:ANALYST"]"#,
        ),
        (
            "scopes = [\"session:role:ETL\"]\nmax_ttl = \"30m\"\n\n[audience.\"https://acme.snowflakecomputing.com\"]",
            "scopes = [\"a,b\"]\nmax_ttl = \"30m\"\n\n[audience.\"https://acme.snowflakecomputing.com\"]\nscope_claim = \"scope\"",
            r#"line 22: expected scopes without commas in rule "etl workers" for audience "https://acme.snowflakecomputing.com", found "a,b"; hint: this audience separates scopes by commas; use scope_claim = "scp""#,
        ),
        (
            "profile = \"snowflake-external-oauth\"",
            "profile = \"snowflake-external-oauth\"\nalg = \"ES256\"",
            r#"line 27: expected alg in [audience."https://acme.snowflakecomputing.com"] to be RS256, found "ES256"; hint: Snowflake's External OAuth is documented for RS256; leave alg out"#,
        ),
        (
            "profile = \"snowflake-external-oauth\"",
            "profile = \"generic\"\nalg = \"EdDSA\"",
            r#"line 25: expected an algorithm that the key ring has (RS256, ES256) for audience "https://acme.snowflakecomputing.com", found EdDSA; hint: give the ring a key of this algorithm, or choose another profile"#,
        ),
        (
            "profile = \"snowflake-external-oauth\"",
            "profile = \"rfc9068\"\nscope_claim = \"scp\"",
            r#"line 27: expected scope_claim only with profile snowflake-external-oauth, found it in [audience."https://acme.snowflakecomputing.com"]; hint: the other profiles use scope, space-separated"#,
        ),
        (
            "max_ttl = \"30m\"",
            "max_ttl = \"61m\"",
            r#"line 23: expected max_ttl in rule "etl workers" to be at most 1h, found 61m; hint: raise max_ttl in [defaults] (built in 1h), or lower this one"#,
        ),
        (
            "ttl = \"15m\"",
            "ttl = \"61m\"",
            r#"line 4: expected ttl in [defaults] to be at most 1h, found 61m; hint: raise max_ttl in [defaults] (built in 1h), or lower this one"#,
        ),
        (
            "audience = \"https://acme.snowflakecomputing.com\"\n",
            "",
            r#"line 10: expected an audience for rule "analysts", found neither audiences, nor defaults.audience, nor AUDIENCE; hint: add audience = "https://…" to [defaults], or audiences = ["…"] to the rule
line 17: expected an audience for rule "etl workers", found neither audiences, nor defaults.audience, nor AUDIENCE; hint: add audience = "https://…" to [defaults], or audiences = ["…"] to the rule"#,
        ),
        (
            "{account}/{role|upper}",
            "{role|upper}",
            r#"line 18: expected rules "analysts" (line 11) and "etl workers" to give different callers different subjects, found "ETL-A" for arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_*/etl-a@example.com by the first and for arn:aws:sts::111122223333:assumed-role/etl-a/* by the second; hint: begin each subject with a literal of its own, or use one template with every identity field in both rules; if they are meant to be one, say shared_subject = "GROUP" in each rule"#,
        ),
        (
            "[directory.corp]",
            "[directory.other]\naccounts = [\"111122223333\"]\n[directory.corp]",
            r#"line 8: expected each account in one directory, found "111122223333" in "corp" and "other"; hint: an account has at most one Identity Center"#,
        ),
        (
            "scopes = [\"session:role:ETL\"]",
            "scopes = [\"session:role:ETL\"]\nclaims = { x = 1.0e999, Y = {}, y = 1, \"kubernetes.io/x\" = 1 }",
            r#"line 23: expected claim "Y" to be not empty, found an empty value; hint: leave the claim out
line 23: expected a claim of your own, found the reserved name "kubernetes.io/x"; hint: registered and security-deciding claims come from the issuer alone
line 23: expected claim "x" to be a number that JSON has, found nan or infinity; hint: write it as a string"#,
        ),
    ];
    for (good, bad, expected) in table {
        assert!(CONTRACT.contains(good), "{good}");
        assert_eq!(compile(&CONTRACT.replacen(good, bad, 1)).unwrap_err().to_string(), *expected, "{bad}");
    }
}

#[test]
fn lifetimes_stay_between_a_minute_and_a_day() {
    for (text, good) in
        [("60s", true), ("59s", false), ("24h", true), ("1d", true), ("24h1s", false), ("0s", false), ("1w", false)]
    {
        let source =
            CONTRACT.replace("max_ttl = \"1h\"", &format!("max_ttl = \"{text}\"")).replace("ttl = \"15m\"\n", "");
        let source = source.replace("max_ttl = \"30m\"", "");
        assert_eq!(compile(&source).is_ok(), good, "{text}");
    }
}

#[test]
fn what_the_shell_knows_counts() {
    let blind = CompileOptions { sso_path: SsoPath::Unproven, algorithms: vec!["ES256".into()], ..options() };
    let expected = r#"line 13: expected role_ids in principal of rule "analysts", because nothing proves the path of the role, found none; hint: userArn drops the path, so the name alone is forgeable: list the roles' AROA ids, or set SSO_PATH_ENFORCED=true behind a REST API with the resource-policy Deny (never an HTTP API)
line 25: expected an algorithm that the key ring has (ES256) for audience "https://acme.snowflakecomputing.com", found RS256; hint: give the ring a key of this algorithm, or choose another profile"#;
    assert_eq!(SubjectMapping::compile(CONTRACT, &blind).unwrap_err().to_string(), expected);
    let unknown = CompileOptions { algorithms: Vec::new(), ..options() };
    assert!(SubjectMapping::compile(CONTRACT, &unknown).is_ok(), "an unknown ring is not judged");
    let odd = CompileOptions { audience: Some("a b".into()), ..options() };
    let message = SubjectMapping::compile(CONTRACT, &odd).unwrap_err().to_string();
    assert!(message.starts_with("expected AUDIENCE to be 1 to 255 printable characters"), "{message}");
}

/// A token never outlives its key: what the ring's retention covers bounds the document.
#[test]
fn lifetimes_stay_within_what_the_ring_covers() {
    let covering = |seconds| CompileOptions { max_token_ttl_s: Some(seconds), ..options() };
    let message = SubjectMapping::compile(CONTRACT, &covering(1_800)).unwrap_err().to_string();
    assert_eq!(
        message,
        "line 5: expected max_ttl in [defaults] to be at most the key ring's max_token_ttl 30m, found 1h; hint: lower it, or give the ring a policy whose retention covers longer tokens"
    );
    let silent = CONTRACT.replace("max_ttl = \"1h\"", "").replace("max_ttl = \"30m\"", "");
    let mapping = SubjectMapping::compile(&silent, &covering(1_800)).unwrap();
    let asked = |seconds| {
        let request = TokenRequest { expires_in_s: Some(seconds), ..TokenRequest::default() };
        mapping.resolve(&role("111122223333", "etl-nightly"), &request).map(|grant| grant.lifetime_s())
    };
    assert_eq!(asked(1_800), Ok(1_800));
    assert!(matches!(asked(1_801), Err(Refusal::Lifetime { max: 1_800, .. })), "the built-in hour gives way");
}

#[test]
fn a_rule_with_a_problem_hides_no_other_and_starts_no_false_alarm() {
    // The second rule collides with the first, the third is broken: both are told, and the broken one is not compared.
    let rule = |name: &str, role: &str, more: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nprincipal = {{ kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"{role}\" }}\nsubject = \"X\"\naudiences = [\"a\"]\n{more}"
        )
    };
    let source = [rule("a", "a", ""), rule("b", "b", ""), rule("c", "c", "ttl = 3\n")].concat();
    let errors = compile(&source).unwrap_err();
    let lines: Vec<_> = errors.problems().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(6), Some(16)], "{errors}");
}
