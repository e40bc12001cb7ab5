//! Where a token comes from: a file, standard input, or the command line.

use std::io::Read;
use std::path::{Path, PathBuf};

use token_jose::MAX_TOKEN_BYTES;
use zeroize::Zeroizing;

use super::{Failure, Shell};
use crate::file::quoted_path;

/// Which token.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// The token, or - for standard input (the default). Other users of the machine can see a command line: prefer - or
    /// --file
    #[arg(value_name = "TOKEN", conflicts_with = "file")]
    token: Option<String>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token's text, without white space around it.
    pub(super) fn read(&self, shell: &mut Shell<'_>) -> Result<Zeroizing<String>, Failure> {
        match (&self.token, &self.file) {
            (Some(token), _) if token != "-" => trimmed(token.as_bytes(), "the command line"),
            (_, Some(path)) => from_file(path),
            _ => bounded(shell.input, "standard input"),
        }
    }
}

/// The token in the file at `path`.
pub(super) fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let name = quoted_path(path);
    let mut file = std::fs::File::open(path)
        .map_err(|error| Failure::data(format!("expected a token in {name}, found: {error}")))?;
    bounded(&mut file, &name)
}

fn bounded(input: &mut dyn Read, name: &str) -> Result<Zeroizing<String>, Failure> {
    // One byte more than a token and the line end after it may have.
    let most = MAX_TOKEN_BYTES + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    let mut limited = input.take(most as u64);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::data(format!("expected a token in {name}, found: {error}")))?;
    trimmed(&bytes, name)
}

fn trimmed(bytes: &[u8], name: &str) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Err(Failure::data(format!("expected a token in {name}, found none")));
    }
    if text.len() > MAX_TOKEN_BYTES {
        return Err(Failure::data(format!(
            "expected a token of at most {MAX_TOKEN_BYTES} bytes in {name}, found more"
        )));
    }
    Ok(Zeroizing::new(text.to_owned()))
}
