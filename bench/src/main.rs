//! Benchmarks: this project's parts and their peers, interleaved in one run, as one table of ratios.
//!
//! `cargo run -p bench --release` runs everything; `-- library` or `-- lambda` one half. Peers that this machine lacks are
//! skipped with a message; `bash scripts/bench` installs them below `.tools/` first. What the figures mean, and what they
//! were when somebody last looked, is in docs/PERFORMANCE.md.
//!
//! Invariants: a contestant's answer is checked before it counts; every figure is a median over interleaved rounds; CPU
//! time is preferred to wall time, because it hardly depends on what else the machine does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a person at a terminal: it prints, and what it did not expect ends it"
)]

mod lambda;
mod library;
mod machine;
mod peer;
mod process;
mod runtime_api;
mod store;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut library, mut lambda) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "library" => library = true,
            "lambda" => lambda = true,
            other => {
                eprintln!("expected nothing, library or lambda, found {other:?}");
                return ExitCode::from(2);
            }
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("a debug build measures nothing: cargo run -p bench --release");
        return ExitCode::from(2);
    }
    let before = machine::describe();
    let mut table = table::Table::default();
    if library || !lambda {
        library::run(&mut table);
    }
    if lambda || !library {
        lambda::run(&mut table);
    }
    println!("\n{before}; load at the end {}\n", machine::load());
    println!("{table}");
    ExitCode::SUCCESS
}
