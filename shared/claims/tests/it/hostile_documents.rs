//! Documents made to hurt whoever reads them: no panic, no overflow, bounded answers.

use proptest::prelude::*;
use token_claims::{AwsArn, CompileOptions, SubjectMapping};

use crate::support::CONTRACT;

fn refused(source: &str) -> String {
    let errors = SubjectMapping::compile(source, &CompileOptions::default()).unwrap_err();
    assert!(errors.problems().len() <= 101);
    assert!(errors.problems().iter().all(|problem| problem.message.len() < 1024 && !problem.hint.is_empty()));
    errors.to_string()
}

#[test]
fn depth_and_size_are_bounded() {
    let chain = |parts: usize| format!("{}a", "a.".repeat(parts));
    let nested = |parts: usize, levels: usize| {
        let key = chain(parts);
        format!("[{key}]\n{key}={}1{}", format!("{{{key}=").repeat(levels), "}".repeat(levels))
    };
    assert!(refused(&"#".repeat(64 * 1024 + 1)).contains("at most 65536 bytes"));
    assert!(refused(&format!("{} = 1", chain(30_000))).contains("at most 9 parts"));
    // 12 KB that overflowed a 2 MiB stack when the parsed tables were dropped.
    assert!(refused(&nested(77, 77)).contains("at most 9 parts"));
    assert!(refused(&format!("x.\"=\".{} = 1", chain(60))).contains("at most 9 parts"), "quoted keys count");
    for source in [
        nested(8, 77),
        format!("{0}\n{0}", nested(8, 77)),
        format!("a={}", "[".repeat(60_000)),
        format!("a={}", "{a=".repeat(20_000)),
        "[a]\n".repeat(16_000),
        "=\n".repeat(30_000),
        "\"\n".repeat(30_000),
        "\"\"\"".repeat(20_000),
        "\0".repeat(60_000),
        "[[rule]]\n".repeat(7_000),
        format!("[[rule]]\nname = \"{}\"", "x".repeat(60_000)),
    ] {
        refused(&source);
    }
}

/// One bad value in an otherwise good document.
fn with(line: &str, replacement: &str) -> String {
    assert!(CONTRACT.contains(line));
    CONTRACT.replacen(line, replacement, 1)
}

#[test]
fn foreign_text_in_messages_is_bounded_and_escaped() {
    let long = "x".repeat(5_000);
    for source in [
        with("name = \"analysts\"", &format!("name = \"{long}\"")),
        with("ttl = \"15m\"", &format!("ttl = \"{long}\"")),
        with("ttl = \"15m\"", &format!("\"{long}\" = 1")),
        with("role = \"etl-*\"", &format!("role = \"{long}\"")),
        with("{role|upper}", &format!("{{{long}}}")),
        with("session:role:ETL", &format!("{long} {long}")),
        with("name = \"analysts\"", "name = \"a\\u001b[31m\\nb\""),
    ] {
        let text = refused(&source);
        assert!(text.len() < 4_096 && !text.contains('\u{1b}'), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in ".{0,400}") {
        let _ = SubjectMapping::compile(&text, &CompileOptions::default());
        let _ = text.parse::<AwsArn>();
    }

    #[test]
    fn any_damage_to_a_document_is_survived(at in 0..CONTRACT.len(), cut in 0..40_usize, insert in "[\\[\\]{}=.\"'#a-z*@|/\\\\\n ]{0,8}") {
        let end = (at + cut).min(CONTRACT.len());
        let damaged = format!("{}{insert}{}", &CONTRACT[..at], &CONTRACT[end..]);
        if let Err(errors) = SubjectMapping::compile(&damaged, &crate::support::options()) {
            prop_assert!(!errors.problems().is_empty());
        }
    }
}
