//! `local-gateway`: see the library.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use local_gateway::binaries::TargetDir;
use local_gateway::cli::Options;
use local_gateway::console::{Console as _, Stderr};
use local_gateway::run::{self, Surroundings};
use token_shell::{OsIds, ProcessVars, SystemClock, Vars as _};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        ids: Arc::new(OsIds),
        console: Arc::new(Stderr),
        // Set by `cargo run`: the cargo of the same toolchain.
        cargo: ProcessVars.get("CARGO").unwrap_or_else(|| "cargo".to_owned()),
        target: std::env::current_exe().map(|path| TargetDir::of(&path)).unwrap_or_default(),
    };
    match run::run(&options, &around, &mut std::io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Stderr.line(&format!("local-gateway: {error}"));
            ExitCode::FAILURE
        }
    }
}
