//! Where this tool speaks: standard error, line by line.

use std::io::Write as _;

/// Receives lines for the person at the terminal.
pub trait Console: Send + Sync {
    /// Shows one line (without its end).
    fn line(&self, text: &str);
}

/// Standard error. A terminal that is gone is no reason to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stderr;

impl Console for Stderr {
    fn line(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(format!("{text}\n").as_bytes());
    }
}
