//! Mapping documents: checked, explained, and replayed against recorded decisions.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{json, run, text};

const OLD: &str = r#"
[defaults]
audience = "https://api.example.com"

[[rule]]
name = "etl"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role}"
scopes = ["load", "read"]
max_ttl = "1h"

[[rule]]
name = "builder"
principal = { kind = "kubernetes-service-account", issuers = ["https://oidc.example"], namespace = "ci", name = "builder" }
subject = "ci-builder"
scopes = ["push"]
"#;

struct Documents {
    folder: TempDir,
}

impl Documents {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn every_problem_of_a_document_is_listed() {
    let documents = Documents::new();
    let good = documents.write("good.toml", OLD);
    assert_eq!(json(&["mapping", "check", text(&good)], 0), json!({"ok": true, "rules": ["etl", "builder"]}));
    let bad = documents.write("bad.toml", &OLD.replace("{account}/{role}", "{role}").replace("max_ttl", "most_ttl"));
    let answer = json(&["mapping", "check", text(&bad)], 65);
    let problems = answer["error"]["problems"].as_array().unwrap();
    assert!(problems.iter().any(|problem| problem["message"].as_str().unwrap().contains("most_ttl")), "{answer}");
    let human = run(&["mapping", "check", text(&bad)]);
    assert_eq!(human.code, 65);
    assert!(human.err.contains("bad.toml: line "), "{human:?}");
    let ttl = json(&["mapping", "check", text(&good), "--max-token-ttl", "30m"], 65);
    assert!(ttl.to_string().contains("at most 30m, found 1h"), "{ttl}");
    let absent = run(&["mapping", "check", "/nowhere/mapping.toml"]);
    assert_eq!(absent.code, 65, "{absent:?}");
}

#[test]
fn a_caller_is_explained_rule_by_rule() {
    let documents = Documents::new();
    let file = documents.write("mapping.toml", OLD);
    let arn = "arn:aws:sts::111122223333:assumed-role/etl-nightly/run-1";
    let answer = json(&["mapping", "explain", text(&file), "--principal", arn, "--scope", "load"], 0);
    assert_eq!(answer["rules"][0]["outcome"], "matches");
    assert_eq!(answer["rules"][1]["outcome"], "no_match");
    assert_eq!(answer["decision"]["subject"], "111122223333/etl-nightly");
    assert_eq!(answer["decision"]["scopes"], json!(["load"]));
    assert!(answer["notes"][0].as_str().unwrap().contains("--caller"));

    let account = "https://oidc.example,ci,builder";
    let answer = json(&["mapping", "explain", text(&file), "--kubernetes", account], 0);
    assert_eq!(
        (&answer["kind"], &answer["decision"]["rule"]),
        (&json!("kubernetes-service-account"), &json!("builder"))
    );

    let other = "arn:aws:sts::444455556666:assumed-role/etl-nightly/run-1";
    let human = run(&["mapping", "explain", text(&file), "--principal", other, "--caller", "AROAEXAMPLE:run-1"]);
    assert_eq!(human.code, 1, "{human:?}");
    assert!(human.out.contains("no match: ") && human.out.contains("refused (no_rule)"), "{human:?}");

    for bad in ["arn:aws:iam::1:role/x", "", "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_x/y"] {
        assert_eq!(run(&["mapping", "explain", text(&file), "--principal", bad]).code, 64, "{bad}");
    }
    assert_eq!(run(&["mapping", "explain", text(&file)]).code, 64, "nobody to explain");
}

fn issued(role: &str, scope: &str, lifetime_s: u64, id: &str) -> Value {
    let expires = format!("2026-11-22T{:02}:{:02}:00Z", 10 + lifetime_s / 3600, lifetime_s % 3600 / 60);
    json!({
        "timestamp": "2026-11-22T10:00:00.4Z", "level": "INFO", "target": "decision", "message": "token issued",
        "decision_id": id, "outcome": "issued", "principal": format!("arn:aws:sts::111122223333:assumed-role/{role}/run-1"),
        "principal_kind": "assumed-role", "unique_id": "AROAEXAMPLE", "rule": "etl",
        "subject": format!("111122223333/{role}"), "audience": "https://api.example.com", "scope": scope,
        "expires_at": expires,
    })
}

fn refused(role: &str, code: &str, id: &str) -> Value {
    json!({
        "timestamp": "2026-11-22T10:00:00Z", "level": "INFO", "target": "decision", "decision_id": id,
        "outcome": "refused", "code": code, "status": 403,
        "principal": format!("arn:aws:sts::111122223333:assumed-role/{role}/run-1"),
        "principal_kind": "assumed-role", "unique_id": "AROAEXAMPLE",
    })
}

#[test]
fn recorded_decisions_show_what_a_new_document_changes() {
    let documents = Documents::new();
    let old = documents.write("old.toml", OLD);
    let log = [
        "START RequestId: 1 Version: $LATEST".to_owned(),
        issued("etl-nightly", "load read", 900, "d1").to_string(),
        issued("etl-nightly", "load read", 900, "d2").to_string(),
        issued("etl-hourly", "load", 3600, "d3").to_string(),
        // As CloudWatch exports it.
        json!({"timestamp": 1, "message": refused("app", "no_rule", "d4").to_string()}).to_string(),
        refused("etl-x", "scope", "d5").to_string(),
        json!({"target": "jwt_issuer", "message": "reading works again"}).to_string(),
        json!({"_aws": {}, "Issued": 1}).to_string(),
        "{\"target\":\"decision\",".to_owned(),
    ];
    let log = documents.write("decisions.jsonl", &log.join("\n"));
    let explain = |document: &PathBuf, more: &[&str], code| {
        json(&[&["mapping", "explain", text(document), "--replay", text(&log)], more].concat(), code)
    };
    let same = explain(&old, &["--against", text(&old), "--exit-code"], 0);
    assert_eq!(
        (&same["decisions"], &same["unchanged"], &same["not_judged"], &same["unreadable_lines"], &same["other_lines"]),
        (&json!(5), &json!(4), &json!(1), &json!(1), &json!(3)),
        "{same}"
    );
    assert_eq!(same["changes"], json!([]));

    let new = OLD
        .replace("role = \"etl-*\"", "role = \"etl-nightly\"")
        .replace("scopes = [\"load\", \"read\"]", "scopes = [\"load\", \"admin\"]")
        + "\n[[rule]]\nname = \"apps\"\nprincipal = { kind = \"assumed-role\", accounts = [\"111122223333\"], role = \"app\" }\nsubject = \"app\"\n";
    let new = documents.write("new.toml", &new);
    let answer = explain(&new, &["--against", text(&old)], 0);
    let found: Vec<(&str, u64, &Value)> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["change"].as_str().unwrap(), change["count"].as_u64().unwrap(), &change["detail"]))
        .collect();
    assert_eq!(
        found,
        [
            ("refused_to_granted", 1, &json!({"rule": "apps", "subject": "app"})),
            (
                "granted_to_refused",
                1,
                &json!({"subject": "111122223333/etl-hourly", "code": "no_rule", "reason": "no rule admits this caller"})
            ),
            ("scopes_changed", 2, &json!({"lost": ["read"], "gained": ["admin"]})),
        ],
        "{answer}"
    );
    explain(&new, &["--exit-code"], 1);

    let other = documents
        .write("subject.toml", &OLD.replace("{account}/{role}", "{account}/{role|upper}").replace("1h", "15m"));
    let answer = explain(&other, &[], 0);
    let names: Vec<&str> =
        answer["changes"].as_array().unwrap().iter().map(|c| c["change"].as_str().unwrap()).collect();
    assert!(names.contains(&"subject_changed") && names.contains(&"lifetime_shortened"), "{answer}");
    let mixed = run(&["mapping", "explain", text(&old), "--replay", text(&log), "--token", "a,b"]);
    assert_eq!(mixed.code, 64, "{mixed:?}");
}
