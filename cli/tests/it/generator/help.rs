//! `--help` is documentation: a change is seen in review.

use super::Setup;

#[test]
fn help_is_as_reviewed() {
    let outcome = Setup::new().run(&["--help"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/generator/help.txt");
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(outcome.stdout, expected, "hint: if the change is meant, jwt-generator --help > {path}");
}

#[test]
fn version_names_the_program() {
    let outcome = Setup::new().run(&["--version"]);
    assert_eq!(outcome.stdout, format!("jwt-generator {}\n", env!("CARGO_PKG_VERSION")));
}
