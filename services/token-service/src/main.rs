//! `token-service`: see the library.

use std::io::Write as _;
use std::process::ExitCode;

use token_service::config::Mode;
use token_shell::{EXIT_USAGE, ProcessVars};

const HELP: &str =
    "token-service: token pairs, refresh families, DPoP, revocation and external authorization over HTTP and gRPC

Usage: token-service [--dev [--json]]

Options:
  --dev      Runs with nothing configured: in-memory store, a generated key, one API key, on 127.0.0.1
  --json     Prints one JSON line once ready: http, grpc, api_key, issuer
  --help     Prints this
  --version  Prints the version

Everything else is set by the environment; docs/TOKEN-SERVICE.md lists the settings.
";

#[tokio::main]
async fn main() -> ExitCode {
    let mut mode = Mode::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--dev" => mode.dev = true,
            "--json" => mode.json = true,
            "--help" | "-h" => return say(HELP),
            "--version" | "-V" => return say(concat!("token-service ", env!("CARGO_PKG_VERSION"), "\n")),
            other => {
                let shown: String = other.chars().take(64).flat_map(char::escape_debug).collect();
                let _ = writeln!(
                    std::io::stderr(),
                    "1. command line: expected --dev, --json, --help or --version, found \"{shown}\""
                );
                return ExitCode::from(EXIT_USAGE);
            }
        }
    }
    token_service::run::run(&ProcessVars, mode).await
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
