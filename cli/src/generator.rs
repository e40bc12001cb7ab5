//! `jwt-generator`: a token in a file, once or kept fresh.
//!
//! It is not an issuer for callers: it signs what its own configuration says, for the pod it runs in.
//!
//! # Invariants
//! - Neither token nor key nor secret is ever on standard output or error, in a message, in `Debug`, in a panic, or among
//!   the arguments: there is no option for a secret.
//! - The key is read anew for every token and every check, and is wiped afterwards.
//! - Nothing but a whole token takes the file's name, and a failure leaves the old one where it is.

mod arguments;
mod config;
mod health;
mod issuer;
mod key;
mod log;
mod secret;
mod sidecar;
mod source;
mod token;

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;

use token_shell::{OsIds, SystemClock};

use crate::exit::Exit;
use arguments::Asked;
use config::{Config, Mode};
use issuer::Issuer;

/// Runs the program: `line` is its command line, program name first.
pub fn run(line: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = match arguments::parse(line) {
        Ok(Asked::Token(arguments)) => arguments,
        Ok(Asked::Text(text)) => return say(&text),
        Err(problem) => return fail(Exit::Usage, &format!("{problem}; hint: jwt-generator --help")),
    };
    let config = match Config::read(&arguments, &config::process_environment) {
        Ok(config) => config,
        Err(problems) => return fail(Exit::Usage, &problems.to_string()),
    };
    let mode = config.mode;
    let path = config.file.path().display().to_string();
    let written = format!("JWT successfully written to {path}\n");
    let issuer = Issuer::new(config, Arc::new(SystemClock), Arc::new(OsIds));
    match mode {
        Mode::Once => match issuer.issue() {
            Ok(_) => say(&written),
            Err(error) => fail(error.exit(), &error.to_string()),
        },
        Mode::OnceValidFor { valid_for_s, wait_s } => {
            match sidecar::once_valid_for(&Arc::new(issuer), valid_for_s, wait_s) {
                Ok(sidecar::Ensured::Issued) => say(&written),
                Ok(sidecar::Ensured::AlreadyThere) => say(&format!("JWT still valid at {path}\n")),
                Err((exit, problem)) => fail(exit, &problem),
            }
        }
        Mode::Renew { health } => sidecar::renew(&Arc::new(issuer), health),
    }
}

/// The one place that writes to standard output. A reader that has gone away does not matter: the file is the result.
fn say(text: &str) -> Exit {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Exit::Ok
}

fn fail(exit: Exit, problem: &str) -> Exit {
    let _ = std::io::stderr().write_all(format!("{problem}\n").as_bytes());
    exit
}
