//! `jwt-operator`: what an operator, a workload or a monitor does with the tokens, keys and mappings of this project.
//!
//! What it is: the subcommands behind the command line, each a function from its arguments and a [`Shell`] to a
//! [`Report`] or a [`Failure`]. What it is not: an issuer (nothing here signs a token that anybody else accepts), a store.
//!
//! # Invariants
//! - No token and no private key is ever written to standard output or standard error; tokens go to the file that was
//!   named, whole or not at all.
//! - What was not verified is called so.
//! - Exit codes: 0 done, or the answer is yes; 1 the answer is no (refused, a probe failed, something would change);
//!   64 usage; 65 unusable input (token, key, ring, mapping, plan); 73 cannot write; 75 try again.

mod discovery;
mod doctor;
mod exchange;
mod fetch;
mod inspect;
mod issued;
mod keys;
mod manual;
mod mapping;
mod report;
mod retry;
mod span;
mod token_input;
mod verify;

use std::ffi::OsString;
use std::io::{Read, Write};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use token_shell::{Clock, IdSource, Vars};

pub use keys::files::{FilePublished, FileSecret};
pub use report::{Ending, Failure, Report};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "jwt-operator",
    version,
    about = "Tokens, keys and mappings at hand: fetch, verify and inspect tokens, manage signing keys, try a mapping, probe an issuer",
    after_help = "Exit codes: 0 done or yes; 1 no: refused, a probe failed, something would change; 64 usage; 65 unusable token, key, ring, mapping or plan; 73 cannot write; 75 try again."
)]
pub struct Cli {
    /// Form of the answer on standard output
    #[arg(long, global = true, value_enum, default_value_t = Form::Human, value_name = "FORM")]
    pub output: Form,
    #[command(subcommand)]
    command: Command,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For reading
    Human,
    /// One JSON document, with stable member names
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fetch(fetch::Args),
    Exchange(exchange::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
    #[command(subcommand)]
    Keys(keys::Command),
    #[command(subcommand)]
    Mapping(mapping::Command),
    Doctor(doctor::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// What the process gives: clock, chance, environment and streams.
pub struct Shell<'a> {
    /// The wall clock.
    pub clock: &'a dyn Clock,
    /// Names of temporary files and versions, and jitter.
    pub ids: &'a dyn IdSource,
    /// The environment.
    pub vars: &'a (dyn Vars + Sync),
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

/// Reads `arguments` (the program's name first), does what they say and writes the answer.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, shell: &mut Shell<'_>) -> Ending {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            // Help and version are answers; nothing can be done about a closed stream.
            return if error.use_stderr() {
                let _ = shell.err.write_all(text.as_bytes());
                Ending::Usage
            } else {
                let _ = shell.out.write_all(text.as_bytes());
                Ending::Done
            };
        }
    };
    let form = cli.output;
    let answer = match cli.command {
        Command::Fetch(args) => fetch::run(&args, shell).await,
        Command::Exchange(args) => exchange::run(&args, shell).await,
        Command::Verify(args) => verify::run(&args, shell).await,
        Command::Inspect(args) => inspect::run(&args, shell),
        Command::Keys(command) => keys::run(&command, shell).await,
        Command::Mapping(command) => mapping::run(&command, shell),
        Command::Doctor(args) => doctor::run(&args, shell).await,
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command(), shell),
    };
    report::write(&answer, form, shell)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
