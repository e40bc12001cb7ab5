//! One token from key to file, and the check of the one that is there.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::OFlags;
use token_jose::{MAX_TOKEN_BYTES, sha256};
use token_shell::{Clock, IdSource};

use super::config::Config;
use super::token::TokenError;
use crate::exit::Exit;
use crate::file::WriteError;

/// Why there is no new token on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    /// It was not made.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// It was not written.
    #[error("{0}")]
    Write(#[from] WriteError),
}

impl IssueError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Token(TokenError::Key(failure)) => failure.exit(),
            Self::Token(TokenError::Clock(_)) => Exit::TryAgain,
            Self::Token(TokenError::TooLarge { .. }) => Exit::Usage,
            Self::Write(error) => error.exit(),
        }
    }
}

/// What a new token is, for the log: nothing that could be presented.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) token_id: String,
    pub(crate) algorithm: &'static str,
    pub(crate) kid: Option<String>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Issues and checks; shared by the sidecar's timer and its health address.
pub(crate) struct Issuer {
    config: Config,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// The last token written: so that it is known to be good while the key's file is away.
    last: Mutex<Option<([u8; 32], Timestamp)>>,
}

impl Issuer {
    pub(crate) fn new(config: Config, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { config, clock, ids, last: Mutex::new(None) }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A number from 0 to 1 that nobody can foresee.
    pub(crate) fn chance(&self) -> f64 {
        let id = self.ids.next_id();
        let drawn = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
        f64::from(drawn) / f64::from(u32::MAX)
    }

    /// Reads the key, makes a token, writes it.
    pub(crate) fn issue(&self) -> Result<Written, IssueError> {
        let key = self.config.key.load().map_err(TokenError::from)?;
        let token_id = self.ids.next_id();
        let issued = self.config.statement.issue(&key, &token_id, self.clock.now())?;
        self.config.file.write(issued.token.as_bytes(), self.ids.as_ref())?;
        let expires_at = issued.expires_at.unwrap_or(Timestamp::MAX);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((sha256(issued.token.as_bytes()), expires_at));
        let kid = key.kid().map(str::to_owned);
        Ok(Written { token_id, algorithm: key.algorithm(), kid, issued_at: issued.issued_at, expires_at })
    }

    /// Until when the token on disk is valid for the key as it is now. While the key cannot be read, the token that this
    /// process wrote last still counts.
    ///
    /// # Errors
    /// What is there instead; never its content.
    pub(crate) fn valid_until(&self) -> Result<Timestamp, &'static str> {
        let content = self.content()?;
        let now = self.clock.now();
        match self.config.key.load() {
            Ok(key) => self.config.statement.valid_until(&content, &key, now),
            Err(_) => {
                let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
                match last {
                    Some((digest, until)) if digest == sha256(&content) && until > now => Ok(until),
                    _ => Err("no key to check the token with"),
                }
            }
        }
    }

    fn content(&self) -> Result<Vec<u8>, &'static str> {
        const NO_FILE: &str = "no readable file";
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits()).unwrap_or_default();
        let file = std::fs::File::options()
            .read(true)
            .custom_flags(flags)
            .open(self.config.file.path())
            .map_err(|_| NO_FILE)?;
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err(NO_FILE);
        }
        let mut content = Vec::with_capacity(2048);
        let most = u64::try_from(MAX_TOKEN_BYTES).unwrap_or(u64::MAX);
        file.take(most + 1).read_to_end(&mut content).map_err(|_| NO_FILE)?;
        Ok(content)
    }
}
