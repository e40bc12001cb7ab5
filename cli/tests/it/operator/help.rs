//! What the program says about itself.

use std::path::Path;

use super::run;

const COMMANDS: [&[&str]; 18] = [
    &[],
    &["fetch"],
    &["exchange"],
    &["verify"],
    &["inspect"],
    &["keys"],
    &["keys", "new"],
    &["keys", "list"],
    &["keys", "publish"],
    &["keys", "rotate"],
    &["keys", "withdraw"],
    &["keys", "plan"],
    &["mapping"],
    &["mapping", "check"],
    &["mapping", "explain"],
    &["doctor"],
    &["completions"],
    &["man"],
];

/// The help of every subcommand is in help.txt. What is found is written beside the test's other files, to be looked at and
/// copied.
#[test]
fn the_help_of_every_subcommand_is_as_reviewed() {
    let mut found = String::new();
    for command in COMMANDS {
        let run = run(&[command, &["--help"]].concat());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{command:?}");
        let lines: Vec<&str> = run.out.lines().map(str::trim_end).collect();
        found.push_str(&format!(
            "$ jwt-operator {}\n{}\n\n",
            [command, &["--help"]].concat().join(" "),
            lines.join("\n")
        ));
    }
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join("operator-help.txt");
    std::fs::write(&written, &found).unwrap();
    let expected = include_str!("help.txt");
    assert!(found == expected, "expected cli/tests/it/operator/help.txt, found {}", written.display());
}

#[test]
fn a_wrong_command_line_is_64_and_says_what_is_expected() {
    for (arguments, words) in [
        (&["fetch"][..], "--output-path"),
        (&["keys", "new", "--ring", "r"], "--jwks"),
        (&["keys", "new", "--ring", "r", "--jwks", "j", "--algorithm", "HS256"], "RS256"),
        (&["keys", "new", "--ring", "ssm:/ring", "--jwks", "j"], "AWS"),
        (&["keys", "plan", "--verifier", "nginx"], "NAME=SPAN"),
        (&["keys", "plan", "--lead", "1 day"], "15m"),
        (&["mapping", "explain", "m.toml", "--exit-code"], "--replay"),
        (&["verify", "--issuer", "i"], "--audience"),
        (&["nothing"], "nothing"),
    ] {
        let run = run(arguments);
        assert_eq!((run.code, run.out.as_str()), (64, ""), "{arguments:?}: {run:?}");
        assert!(run.err.contains(words), "{arguments:?}: {run:?}");
    }
}

#[test]
fn completions_and_manual_pages_name_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = run(&["completions", shell]);
        assert_eq!(run.code, 0, "{run:?}");
        for name in ["fetch", "doctor", "withdraw", "explain"] {
            assert!(run.out.contains(name), "{shell}: {name}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = super::json(&["man", "--dir", super::text(folder.path())], 0);
    let pages: Vec<&str> = pages["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    for page in
        ["jwt-operator.1", "jwt-operator-fetch.1", "jwt-operator-keys-rotate.1", "jwt-operator-mapping-explain.1"]
    {
        assert!(pages.contains(&page), "{pages:?}");
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    assert!(run(&["man"]).out.contains(".SH SYNOPSIS"));
}
