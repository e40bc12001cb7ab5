//! Benchmarks: this project's parts and their peers, interleaved in one run, as one table of ratios.
//!
//! `cargo run -p bench --release` runs everything; `-- library`, `-- lambda` or `-- oneshot` a part. Peers that this machine lacks are
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
mod oneshot;
mod peer;
mod process;
mod runtime_api;
mod store;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut library, mut lambda, mut oneshot) = (false, false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "library" => library = true,
            "lambda" => lambda = true,
            "oneshot" => oneshot = true,
            other => {
                eprintln!("expected nothing, library, lambda or oneshot, found {other:?}");
                return ExitCode::from(2);
            }
        }
    }
    let all = !(library || lambda || oneshot);
    // One-shot programs are measured from outside and built elsewhere.
    if cfg!(debug_assertions) && (all || library || lambda) {
        eprintln!("a debug build measures nothing: cargo run -p bench --release");
        return ExitCode::from(2);
    }
    let before = machine::describe();
    let mut table = table::Table::default();
    if all || library {
        library::run(&mut table);
    }
    if all || lambda {
        lambda::run(&mut table);
    }
    if all || oneshot {
        oneshot::run(&mut table);
    }
    println!("\n{before}; load at the end {}\n", machine::load());
    println!("{table}");
    ExitCode::SUCCESS
}
