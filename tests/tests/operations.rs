//! What docs/OPERATIONS.md has operators run, with stand-ins for `aws` and the container engine, which no test machine has:
//! what the scripts ask of them, and what they make of the answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use token_testkit::{skipped, tool, workspace_root};

const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

#[expect(clippy::disallowed_methods, reason = "tests have no shell that reads the environment for them")]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// A folder with the executable `name`, which is this shell script.
fn stand_in(name: &str, script: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, format!("#!/usr/bin/env bash\nset -euo pipefail\nhere=$(dirname \"$0\")\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Runs a script of the project with the stand-in first on the path.
fn run(script: &str, arguments: &[&str], stand_in: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("bash");
    command.arg(workspace_root().join("scripts").join(script)).args(arguments).current_dir(workspace_root());
    command.env("PATH", format!("{}:{}", stand_in.display(), search_path()));
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// An `aws` that notes its arguments, writes `answer` where `lambda invoke` puts it, and prints `error`.
fn aws(answer: &str, error: &str) -> TempDir {
    let script = format!("printf '%s\\n' \"$@\" > \"$here/asked\"\necho '{answer}' > \"${{!#}}\"\necho '{error}'");
    stand_in("aws", &script)
}

const WHERE: [(&str, &str); 2] =
    [("SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring"), ("WITHDRAW_FUNCTION", "x-withdraw")];

#[test]
fn a_withdrawal_asks_the_function_and_shows_its_answer() {
    for which in [KID, "all"] {
        let aws = aws(r#"{"keys":[],"min_generation":9}"#, "None");
        let ran = run("keys", &["withdraw", which], aws.path(), &WHERE);
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        assert_eq!(text(&ran.stdout), r#"{"keys":[],"min_generation":9}"#);
        let asked = fs::read_to_string(aws.path().join("asked")).unwrap();
        let asked: Vec<&str> = asked.lines().collect();
        assert_eq!(asked[..4], ["lambda", "invoke", "--function-name", "x-withdraw"]);
        assert!(asked.contains(&format!(r#"{{"withdraw":"{which}"}}"#).as_str()), "{asked:?}");
    }
}

/// AWS CLI ends with 0 then.
#[test]
fn a_withdrawal_that_the_function_failed_is_no_success() {
    let aws = aws(r#"{"errorType":"KeyRotation.store"}"#, "Unhandled");
    let ran = run("keys", &["withdraw", "all"], aws.path(), &WHERE);
    assert!(!ran.status.success());
    assert!(text(&ran.stdout).contains("KeyRotation.store"), "{}", text(&ran.stdout));
    assert!(text(&ran.stderr).contains("run it again until it succeeds"), "{}", text(&ran.stderr));
}

#[test]
fn a_typing_error_withdraws_nothing() {
    let aws = aws("{}", "None");
    let arguments: [&[&str]; 5] = [
        &["withdraw"],
        &["withdraw", "ALL"],
        &["withdraw", &KID[1..]],
        &["withdraw", "all\"}"],
        &["withdraw", KID, "all"],
    ];
    for arguments in arguments {
        let ran = run("keys", arguments, aws.path(), &WHERE);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stderr));
        assert!(!aws.path().join("asked").exists(), "{arguments:?}");
    }
}

#[test]
fn a_rotation_is_started_for_the_secret() {
    let aws = stand_in("aws", "printf '%s\\n' \"$@\" > \"$here/asked\"");
    let ran = run("keys", &["rotate"], aws.path(), &WHERE);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let asked = fs::read_to_string(aws.path().join("asked")).unwrap();
    assert_eq!(asked.lines().collect::<Vec<_>>(), ["secretsmanager", "rotate-secret", "--secret-id", WHERE[0].1]);
}

/// Each image is built from the executable of its own function's archive.
#[test]
fn the_images_are_built_around_the_archives() {
    let Some(python) = tool("python3") else { return skipped("python3") };
    let functions =
        [("issuer", "jwt-issuer"), ("jwks", "jwks"), ("rotation", "key-rotation"), ("withdraw", "withdraw")];
    let dist = tempfile::tempdir().unwrap();
    for (_, program) in functions {
        let bootstrap = dist.path().join("bootstrap");
        fs::write(&bootstrap, program).unwrap();
        let archive = dist.path().join(format!("{program}-arm64.zip"));
        let zipped = Command::new(&python).args(["-m", "zipfile", "--create"]).args([archive, bootstrap]).status();
        assert!(zipped.unwrap().success());
    }
    // What it was asked, and what the executable of the function would be in the image.
    let engine = stand_in(
        "docker",
        r#"printf '%s ' "$@" >> "$here/asked"; echo >> "$here/asked"
        if [ "$1" = build ]; then
          for word; do case $word in FUNCTION=*) function=${word#*=} ;; esac; done
          cp "${!#}/$function/bootstrap" "$here/$function"
        fi"#,
    );
    let arguments = ["1.2.3", "registry.example/jwt", dist.path().to_str().unwrap()];
    let docker = engine.path().join("docker").display().to_string();
    let ran = run("build-images", &arguments, engine.path(), &[("CONTAINER_ENGINE", &docker), ("PUSH", "1")]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));

    let asked = fs::read_to_string(engine.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 8, "{asked}");
    for (function, program) in functions {
        assert_eq!(fs::read_to_string(engine.path().join(function)).unwrap(), program);
        let image = format!("registry.example/jwt-{function}:1.2.3");
        assert!(asked.contains(&format!(
            "--platform linux/arm64 --provenance=false --sbom=false --build-arg FUNCTION={function} "
        )));
        assert!(asked.contains(&format!("--tag {image} ")) && asked.contains(&format!("push {image} ")), "{asked}");
    }

    let ran = run("build-images", &["1.2.3", "x", "/nowhere"], engine.path(), &[("CONTAINER_ENGINE", &docker)]);
    assert!(
        !ran.status.success() && text(&ran.stderr).contains("hint: bash scripts/build-lambdas"),
        "{}",
        text(&ran.stderr)
    );
}

/// Every alarm and tampering event that the infrastructure makes stands in the page's table.
#[test]
fn the_page_has_every_alarm() {
    let read = |path: &str| fs::read_to_string(workspace_root().join(path)).unwrap();
    let page = read("docs/OPERATIONS.md");
    let mut names = BTreeSet::from(["api-5xx".to_owned(), "key-days-left".to_owned()]);
    for file in ["main.tf", "tampering.tf"] {
        let source = read(&format!("infrastructure/modules/alarms/{file}"));
        let lines = source.lines().filter_map(|line| line.strip_prefix("    ")?.trim_start().strip_suffix(" = {"));
        names.extend(lines.filter(|name| name.contains('-')).map(str::to_owned));
    }
    assert!(names.len() > 15, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md: expected each alarm, found none of {missing:?}");
}
