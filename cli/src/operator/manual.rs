//! Completions and manual pages, generated from the command line's own definition.

use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell as CompletionShell;
use serde_json::json;

use super::{Failure, Report, Shell};
use crate::file::{FileOptions, TokenFile};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jwt-operator completions bash > /etc/bash_completion.d/jwt-operator")]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: CompletionShell,
}

/// Print the manual page, or write one for every subcommand
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jwt-operator man | man -l -")]
pub(super) struct ManArgs {
    /// Write jwt-operator.1 and one page per subcommand into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<Report, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "jwt-operator", &mut text);
    String::from_utf8(text).map(Report::raw).map_err(|_| Failure::usage("the completions are not text"))
}

pub(super) fn man(args: &ManArgs, command: Command, shell: &Shell<'_>) -> Result<Report, Failure> {
    let Some(dir) = &args.dir else { return page(command).map(Report::raw) };
    let mut command = command.disable_help_subcommand(true);
    // Gives every subcommand its full name, under which its page is filed.
    command.build();
    let mut pages = Vec::new();
    collect(&command, &mut pages);
    let mut names = Vec::new();
    for command in pages {
        let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
        let options = FileOptions { mode: 0o644, owner: None };
        TokenFile::open(dir.join(&name), &options)?.write(page(command)?.as_bytes(), shell.ids)?;
        names.push(name);
    }
    Ok(Report::yes(format!("{} pages written: {}", names.len(), names.join(" ")), json!({ "pages": names })))
}

fn collect(command: &Command, pages: &mut Vec<Command>) {
    pages.push(command.clone());
    for sub in command.get_subcommands() {
        collect(sub, pages);
    }
}

fn page(command: Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut text);
    rendered.ok().and_then(|()| String::from_utf8(text).ok()).ok_or_else(|| Failure::usage("the page is not text"))
}
