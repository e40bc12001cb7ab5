//! `jwt-operator` as its users run it.

mod doctor;
mod fetch;
mod help;
mod keys;
mod mapping;
mod stub;
mod tokens;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use serde_json::Value;

/// The wall clock, which the program reads too.
#[expect(clippy::disallowed_methods, reason = "real processes run by the real clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The program with these arguments and an empty environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jwt-operator"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// How a run ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// The answer as data; the code must be `code`.
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.err, "", "a JSON answer is on standard output alone");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn run(arguments: &[&str]) -> Run {
    Run::of(command(arguments).output().expect("the program starts"))
}

/// With `--output json`.
pub(crate) fn json(arguments: &[&str], code: i32) -> Value {
    run(&[&["--output", "json"], arguments].concat()).json(code)
}

pub(crate) fn run_with_input(arguments: &[&str], input: &str) -> Run {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("it reads");
    Run::of(child.wait_with_output().expect("it ends"))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
