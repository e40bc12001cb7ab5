use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::json;

use super::super::arguments::{self, Arguments, Asked};
use super::{Config, Mode, Statement, claim_of, seconds};

const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789abcdef";

fn arguments(line: &[&str]) -> Box<Arguments> {
    let line = ["jwt-generator"].iter().chain(line).map(OsString::from);
    match arguments::parse(line) {
        Ok(Asked::Token(arguments)) => arguments,
        Ok(Asked::Text(text)) => panic!("{text}"),
        Err(problem) => panic!("{problem}"),
    }
}

fn read(line: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let environment = |name: &str| variables.get(name).map(OsString::from);
    Config::read(&arguments(line), &environment).map_err(|problems| problems.to_string())
}

fn complete() -> Vec<(&'static str, &'static str)> {
    vec![("JWT_SECRET", SECRET), ("SERVICE_NAME", "billing"), ("OUTPUT_PATH", "/token/token.jwt")]
}

#[test]
fn every_missing_setting_is_named_in_order() {
    let problems = read(&[], &[]).err().unwrap();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 3, "{problems}");
    for (line, name) in lines.iter().zip(["JWT_SECRET", "SERVICE_NAME", "OUTPUT_PATH"]) {
        assert!(line.contains(name) && line.contains("found nothing; hint: "), "{line}");
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = read(&[], &complete()).unwrap();
    let expected = Statement::Complete {
        issuer: "jwt-generator".to_owned(),
        subject: "billing".to_owned(),
        audience: None,
        lifetime_s: 3600,
        custom: serde_json::Map::new(),
    };
    assert_eq!((config.statement, config.mode), (expected, Mode::Once));
}

#[test]
fn options_go_before_variables_and_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("name");
    std::fs::write(&file, "from-file\n").unwrap();
    let file = file.to_str().unwrap();
    let subject = |line: &[&str], more: &[(&'static str, &str)]| {
        let mut variables: Vec<(&str, &str)> = complete();
        variables.retain(|(name, _)| *name != "SERVICE_NAME");
        variables.extend(more);
        match read(line, &variables)?.statement {
            Statement::Complete { subject, .. } | Statement::Legacy { subject } => Ok::<_, String>(subject),
        }
    };
    assert_eq!(subject(&["--service-name", "a"], &[("SERVICE_NAME", "b")]).unwrap(), "a");
    assert_eq!(subject(&[], &[("SERVICE_NAME", "b")]).unwrap(), "b");
    assert_eq!(subject(&[], &[("SERVICE_NAME_FILE", file)]).unwrap(), "from-file");
    assert!(subject(&[], &[("SERVICE_NAME_FILE", file), ("SERVICE_NAME", "b")]).unwrap_err().contains("found both"));
    assert!(subject(&[], &[("SERVICE_NAME_FILE", "/nowhere/at-all")]).unwrap_err().contains("SERVICE_NAME_FILE"));
    for bad in [" a", "a\n b", &"x".repeat(256)] {
        assert!(subject(&["--service-name", bad], &[]).is_err(), "{bad:?}");
    }
}

#[test]
fn secrets_that_disagree_are_refused_and_not_shown() {
    let other = SECRET.replace('0', "9");
    let with = |name: &'static str, value: &str| {
        let mut variables: Vec<(&str, String)> =
            complete().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        variables.push((name, value.to_owned()));
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        read(&[], &variables).map(drop)
    };
    assert_eq!(with("JWT_SECRET_KEY", SECRET), Ok(()));
    for (name, value) in [("JWT_SECRET_KEY", other.as_str()), ("JWT_SECRET_FILE", "/a"), ("JWT_SECRET_KEY_FILE", "/a")]
    {
        let problem = with(name, value).unwrap_err();
        assert!(problem.contains("found both") && !problem.contains(SECRET) && !problem.contains(&other), "{problem}");
    }
}

#[test]
fn an_algorithm_needs_its_kind_of_key() {
    for line in [
        &["--algorithm", "ES256"][..],
        &["--algorithm", "HS256", "--key-file", "/k"],
        &["--algorithm", "none"],
        &["--algorithm", "es256", "--key-file", "/k"],
        &["--key-file", ""],
    ] {
        assert!(read(line, &complete()).is_err(), "{line:?}");
    }
    assert!(read(&["--key-file", "/k"], &complete()).is_ok());
    assert!(read(&["--key-file", "/k", "--algorithm", "PS256"], &complete()).is_ok());
}

#[test]
fn legacy_claims_stand_alone() {
    assert!(read(&["--legacy-claims"], &complete()).is_ok());
    for more in [
        &["--ttl", "1h"][..],
        &["--issuer", "a"],
        &["--audience", "a"],
        &["--claim", "a=b"],
        &["--renew"],
        &["--once-valid-for", "1m"],
    ] {
        let line: Vec<&str> = ["--legacy-claims"].iter().chain(more).copied().collect();
        assert!(read(&line, &complete()).is_err(), "{line:?}");
    }
}

#[test]
fn modes_exclude_each_other() {
    let mode = |line: &[&str]| read(line, &complete()).map(|config| config.mode);
    let health = Some("127.0.0.1:8080".parse().unwrap());
    assert_eq!(mode(&["--renew", "--health-addr", "127.0.0.1:8080"]), Ok(Mode::Renew { health }));
    let once = Mode::OnceValidFor { valid_for_s: 300, wait_s: 60 };
    assert_eq!(mode(&["--once-valid-for", "5m"]), Ok(once));
    for line in [
        &["--renew", "--once-valid-for", "5m"][..],
        &["--health-addr", "127.0.0.1:8080"],
        &["--wait", "5s"],
        &["--once-valid-for", "2h"],
        &["--renew", "--health-addr", "localhost"],
    ] {
        assert!(mode(line).is_err(), "{line:?}");
    }
}

#[test]
fn claims_are_json_or_text() {
    let claim = |text: &str| claim_of(text.as_ref());
    for (text, value) in [
        ("a=b", json!("b")),
        ("a=", json!("")),
        ("a=5", json!(5)),
        ("a=\"5\"", json!("5")),
        ("a=true", json!(true)),
        ("a=[1,\"x\"]", json!([1, "x"])),
        ("a={\"b\":null}", json!({"b": null})),
        ("a=b=c", json!("b=c")),
        ("a=1.2.3", json!("1.2.3")),
    ] {
        assert_eq!(claim(text), Ok(("a".to_owned(), value)), "{text}");
    }
    for text in ["", "a", "=b", " a=b", "a={", "a={\"b\":1,\"b\":2}", "a=x\u{7}", "a\n=b"] {
        assert!(claim(text).is_err(), "{text:?}");
    }
    for name in token_claims::RESERVED.iter().chain(&["EXP", "kubernetes.io/pod"]) {
        assert!(claim(&format!("{name}=1")).unwrap_err().contains("reserved"), "{name}");
    }
    assert!(read(&["--claim", "a=1", "--claim", "a=1"], &complete()).is_err());
}

#[test]
fn times_have_units_and_bounds() {
    for (text, value) in [("90s", 90), ("15m", 900), ("1h", 3600), ("1d", 86_400), ("3600", 3600), ("366d", 31_622_400)]
    {
        assert_eq!(seconds(text), Ok(value));
    }
    for text in ["", "0", "0s", "s", "-1s", "1.5h", "367d", "1w", "99999999999", "1h30m", "１h", "+5s"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}

#[test]
fn a_command_line_error_does_not_repeat_values() {
    for line in [
        &["--secret=hunter2"][..],
        &["hunter2"],
        &["--ttl", "1h", "--ttl", "hunter2"],
        &["--renew=hunter2"],
        &["-xhunter2"],
    ] {
        let line = ["jwt-generator"].iter().chain(line).map(OsString::from);
        let problem = arguments::parse(line).err().unwrap();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
