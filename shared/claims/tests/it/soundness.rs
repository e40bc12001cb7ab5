//! The collision proof against brute force: over all principals on a small alphabet, a document that compiles never
//! gives two identities one subject, and a document that is refused names two real ones.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use token_claims::{
    AwsKind, CompileOptions, KubernetesPrincipal, Principal, RuleOutcome, SsoPath, SubjectMapping, TokenPrincipal,
};

use crate::support::caller;

/// `1…` belongs to a directory that ignores case, `2…` to one that does not, `3…` and `4…` to none.
const ACCOUNTS: [&str; 4] = ["111111111111", "222222222222", "333333333333", "444444444444"];

static PRINCIPALS: LazyLock<Vec<Principal>> = LazyLock::new(|| {
    let mut arns = Vec::new();
    let names = words(&['a', 'A', '-'], 3);
    for account in ACCOUNTS {
        for partition in ["aws", "aws-cn"] {
            arns.extend(names.iter().map(|role| format!("arn:{partition}:sts::{account}:assumed-role/{role}/session")));
            arns.push(format!("arn:{partition}:iam::{account}:root"));
        }
        let longer = words(&['a', 'A', '@', 'b'], 4);
        let users = longer.iter().filter(|user| user.len() > 1).cloned();
        let users = users.chain(names.iter().flat_map(|name| [format!("{name}@b.c"), format!("{name}@a.c")]));
        arns.extend(
            users.map(|user| format!("arn:aws:sts::{account}:assumed-role/AWSReservedSSO_P_0123456789abcdef/{user}")),
        );
        let federated = names.iter().filter(|name| name.len() > 1);
        arns.extend(federated.map(|name| format!("arn:aws:sts::{account}:federated-user/{name}")));
        for path in ["/", "/a/", "/A/", "/a/a/", "/-/"] {
            arns.extend(names.iter().map(|user| format!("arn:aws:iam::{account}:user{path}{user}")));
        }
    }
    let mut principals: Vec<Principal> = arns.iter().map(|arn| caller(arn).unwrap()).collect();
    for issuer in ["https://a", "https://A"] {
        for namespace in words(&['a', '-', 'b'], 3) {
            for name in words(&['a', '-', '.'], 3) {
                let account = KubernetesPrincipal::new(issuer, &namespace, &name, "u");
                principals.extend(account.ok().map(Principal::Kubernetes));
            }
        }
        for subject in words(&['a', 'A', '/', '-'], 3) {
            principals.push(Principal::Token(TokenPrincipal::new(issuer, &subject).unwrap()));
        }
    }
    principals
});

fn words(alphabet: &[char], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|word| alphabet.iter().map(move |c| format!("{word}{c}"))).collect();
        all.extend(last.iter().cloned());
    }
    all.remove(0);
    all
}

/// The identity of a principal as the contract defines it, written independently of the crate.
fn identity(principal: &Principal) -> String {
    match principal {
        Principal::Kubernetes(k) => format!("k8s {} {} {}", k.issuer(), k.namespace(), k.name()),
        Principal::Token(t) => format!("token {} {}", t.issuer(), t.subject()),
        Principal::Aws(aws) => {
            let place = format!("{} {}", aws.partition(), aws.account());
            match aws.kind() {
                AwsKind::AssumedRole { role, .. } => format!("role {place} {}", role.to_lowercase()),
                AwsKind::SsoUser { user, .. } => match aws.account() {
                    "111111111111" => format!("sso one {}", user.to_lowercase()),
                    "222222222222" => format!("sso two {user}"),
                    account => format!("sso {account} {user}"),
                },
                AwsKind::IamUser { user, .. } => format!("user {place} {}", user.to_lowercase()),
                AwsKind::Root => format!("root {place}"),
                AwsKind::FederatedUser { name } => format!("federated {place} {name}"),
            }
        }
    }
}

#[derive(Clone, Debug)]
struct RuleSource {
    text: String,
    folds: bool,
    group: Option<&'static str>,
}

fn one_of(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(list)
}

fn accounts() -> impl Strategy<Value = String> {
    proptest::sample::subsequence(ACCOUNTS.as_slice(), 1..=2).prop_map(|list| format!("accounts = {list:?}"))
}

/// `principal = …` and the variables of its kind.
fn selector() -> impl Strategy<Value = (String, &'static [&'static str])> {
    let name = || one_of(&["a", "aa", "A", "a*", "*a", "*", "a-*", "*-a", "a*a"]);
    let roles =
        (accounts(), name(), one_of(&["", "", ", partitions = [\"aws-cn\"]", ", partitions = [\"aws\", \"aws-cn\"]"]))
            .prop_map(|(accounts, role, more)| {
                (
                    format!("{{ kind = \"assumed-role\", {accounts}, role = \"{role}\"{more} }}"),
                    &["account", "role"][..],
                )
            });
    let whose =
        prop_oneof![accounts(), one_of(&["directory = \"one\"", "directory = \"two\""]).prop_map(str::to_owned)];
    let users = one_of(&[
        "",
        "",
        "",
        ", user = \"aa\"",
        ", user = \"a*\"",
        ", user = \"*a\"",
        ", user = \"*@b.c\"",
        ", user = \"a@*\"",
        ", user = \"*c\"",
    ]);
    let sso = (whose, users, one_of(&["", "", "\nemail_domain = \"b.c\""])).prop_map(|(whose, user, email)| {
        (
            format!("{{ kind = \"sso-user\", {whose}, permission_set = \"P\"{user} }}{email}"),
            if email.is_empty() { &["account", "user"][..] } else { &["account", "user", "user|local_part"] },
        )
    });
    let iam = (accounts(), name(), one_of(&["", ", path = \"/\"", ", path = \"/a/\"", ", path = \"/*/\""])).prop_map(
        |(accounts, user, path)| {
            (
                format!("{{ kind = \"iam-user\", {accounts}, user = \"{user}\"{path} }}"),
                &["account", "path", "user"][..],
            )
        },
    );
    let root = accounts().prop_map(|accounts| (format!("{{ kind = \"root\", {accounts} }}"), &["account"][..]));
    let federated = (accounts(), one_of(&["aa", "AA", "a*", "*"])).prop_map(|(accounts, user)| {
        (format!("{{ kind = \"federated-user\", {accounts}, user = \"{user}\" }}"), &["account", "name"][..])
    });
    let issuers = || one_of(&["[\"https://a\"]", "[\"https://A\"]", "[\"https://a\", \"https://A\"]"]);
    let lower = || one_of(&["a", "a-a", "*", "a*", "*a", "a-*"]);
    let k8s = (issuers(), lower(), lower()).prop_map(|(issuers, namespace, name)| {
        (
            format!("{{ kind = \"kubernetes-service-account\", issuers = {issuers}, namespace = \"{namespace}\", name = \"{name}\" }}"),
            &["issuer", "namespace", "name"][..],
        )
    });
    let token = (issuers(), one_of(&["a", "*", "a/*", "*-a", "a*"])).prop_map(|(issuers, subject)| {
        (format!("{{ kind = \"token\", issuers = {issuers}, subject = \"{subject}\" }}"), &["issuer", "subject"][..])
    });
    prop_oneof![roles, sso, iam, root, federated, k8s, token]
}

fn rule() -> impl Strategy<Value = RuleSource> {
    let part =
        (any::<bool>(), 0..3_usize, one_of(&["", "", "|upper", "|lower"]), one_of(&["a", "A", "-", "/", "a-", "@"]));
    let template = proptest::collection::vec(part, 1..5);
    let group = prop_oneof![8 => Just(None), 1 => Just(Some("g")), 1 => Just(Some("h"))];
    (selector(), template, any::<bool>(), group).prop_map(|((selector, variables), template, folds, group)| {
        let mut subject = String::new();
        for (is_variable, n, case, literal) in template {
            let variable = variables[n % variables.len()];
            let name = variable.split('|').next().unwrap();
            if is_variable && !subject.contains(&format!("{{{name}")) {
                subject.push_str(&format!("{{{variable}{case}}}"));
            } else {
                subject.push_str(literal);
            }
        }
        let mut text = format!("principal = {selector}\nsubject = \"{subject}\"\n");
        text.push_str(if folds {
            "audiences = [\"https://x.snowflakecomputing.com\"]\n"
        } else {
            "audiences = [\"x\"]\n"
        });
        if let Some(group) = group {
            text.push_str(&format!("shared_subject = \"{group}\"\n"));
        }
        RuleSource { text, folds, group }
    })
}

fn document(rules: &[RuleSource]) -> String {
    let mut source = "directory.one = { accounts = [\"111111111111\"], user_names = \"case-insensitive\" }\n\
                      directory.two = { accounts = [\"222222222222\"] }\n"
        .to_owned();
    for (n, rule) in rules.iter().enumerate() {
        source.push_str(&format!("[[rule]]\nname = \"r{n}\"\n{}", rule.text));
    }
    source
}

fn compile(source: &str) -> Result<SubjectMapping, String> {
    let options = CompileOptions { sso_path: SsoPath::Enforced, ..CompileOptions::default() };
    SubjectMapping::compile(source, &options).map_err(|errors| errors.to_string())
}

/// Two identities with one subject, among all principals.
fn brute_force(mapping: &SubjectMapping, rules: &[RuleSource]) -> Option<String> {
    // Subject without case -> everyone who gets it: rule, subject, identity.
    let mut owners: HashMap<String, Vec<(usize, String, String, &Principal)>> = HashMap::new();
    for principal in PRINCIPALS.iter() {
        for (n, verdict) in mapping.explain(principal).into_iter().enumerate() {
            let RuleOutcome::Matches { subject } = verdict.outcome else { continue };
            let same = owners.entry(subject.to_lowercase()).or_default();
            let me = identity(principal);
            for (other, other_subject, identity, other_principal) in same.iter() {
                let folded = rules[n].folds || rules[*other].folds;
                let grouped = rules[n].group.is_some() && rules[n].group == rules[*other].group;
                if *identity != me && !grouped && (folded || *other_subject == subject) {
                    return Some(format!("{principal} and {other_principal} share {subject}"));
                }
            }
            same.push((n, subject, me, principal));
        }
    }
    None
}

/// The two principals that a refusal names, as the crate reads them.
fn named(message: &str) -> Vec<Principal> {
    let words = message.split([' ', ';', ',']).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let issuer = || words.get(n + 2).copied().unwrap_or_default();
        let principal = if word.starts_with("arn:") {
            caller(&word.replace("/*", "/session").replace("_*/", "_0123456789abcdef/")).ok()
        } else if word.starts_with("system:serviceaccount:") {
            KubernetesPrincipal::from_username(issuer(), word, "u").ok().map(Principal::Kubernetes)
        } else if words.get(n + 1) == Some(&"of") && issuer().starts_with("https://") {
            TokenPrincipal::new(issuer(), word).ok().map(Principal::Token)
        } else {
            None
        };
        found.extend(principal);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn colliding_documents_never_compile(rules in proptest::collection::vec(rule(), 1..4)) {
        let source = document(&rules);
        if let Ok(mapping) = compile(&source) {
            prop_assert_eq!(brute_force(&mapping, &rules), None, "{}", source);
        }
    }

    #[test]
    fn a_refusal_names_real_principals(mut rules in proptest::collection::vec(rule(), 1..3)) {
        for rule in &mut rules {
            rule.group = None;
            rule.text = rule.text.lines().filter(|line| !line.starts_with("shared_")).map(|line| format!("{line}\n")).collect();
        }
        let Err(message) = compile(&document(&rules)) else { return Ok(()) };
        prop_assume!(message.lines().all(|line| line.contains("different callers different subjects")));
        // The same rules load when they say that their subjects are shared; then they can be asked.
        let shared: Vec<RuleSource> = rules
            .iter()
            .map(|rule| RuleSource { text: format!("{}shared_subject = \"g\"\n", rule.text), ..rule.clone() })
            .collect();
        let mapping = compile(&document(&shared)).unwrap();
        for line in message.lines() {
            // A rule over directories of both sorts is refused rightly, but the account of the example may be of the other.
            if line.contains("user_names = \"case-insensitive\"") {
                continue;
            }
            let principals = named(line);
            let one_caller = line.contains("by two templates");
            prop_assert_eq!(principals.len(), if one_caller { 1 } else { 2 }, "{}", line);
            let (first, last) = (&principals[0], &principals[principals.len() - 1]);
            prop_assert_eq!(one_caller, identity(first) == identity(last), "{}", line);
            let last_rule = if line.contains("rule \"r0\"") || rules.len() == 1 { 0 } else { 1 };
            let first_rule = if line.contains("rules \"r0\"") { 0 } else { last_rule };
            let subjects: Vec<String> = [(first, first_rule), (last, last_rule)]
                .into_iter()
                .filter_map(|(principal, n)| match mapping.explain(principal).swap_remove(n).outcome {
                    RuleOutcome::Matches { subject } => Some(subject.to_lowercase()),
                    _ => None,
                })
                .collect();
            prop_assert!(subjects.len() == 2 && subjects[0] == subjects[1], "{:?}\n{}\n{}", subjects, line, document(&rules));
        }
    }
}

#[test]
fn enough_of_the_generated_documents_compile() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(rule(), 1..4);
    let compiled =
        (0..400).filter(|_| compile(&document(&strategy.new_tree(&mut runner).unwrap().current())).is_ok()).count();
    assert!((40..360).contains(&compiled), "{compiled} of 400: the properties above would say little");
}
