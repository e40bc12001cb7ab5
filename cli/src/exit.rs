//! How both programs end: the exit codes of contract 6 (BSD `sysexits`), and what a panic may print.

use std::fmt;
use std::process::{ExitCode, Termination};

/// Why the process ended, for scripts and for the pod's `lastState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The command line or the environment is wrong (`EX_USAGE`); trying again cannot help.
    Usage = 64,
    /// A secret, key or token is unusable (`EX_DATAERR`).
    KeyMaterial = 65,
    /// The file cannot be written (`EX_CANTCREAT`); what was there before is untouched.
    CannotWrite = 73,
    /// Nothing is wrong that time may not mend (`EX_TEMPFAIL`): try again.
    TryAgain = 75,
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "done",
            Self::Usage => "usage",
            Self::KeyMaterial => "bad key material",
            Self::CannotWrite => "cannot write",
            Self::TryAgain => "try again",
        })
    }
}

/// From now on a panic prints where it happened and never its payload: a payload may quote the value that surprised,
/// and in these programs that value may be a key or a token.
pub fn hide_panic_payloads() {
    std::panic::set_hook(Box::new(|panic| {
        use std::io::Write as _;
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
        // Nothing can be done about a closed standard error.
        let _ = writeln!(std::io::stderr(), "internal error{place}; hint: this is a bug, please report the place");
    }));
}

/// From now on no core file holds this process's memory, and other processes of the same user cannot read its memory or its
/// environment through `/proc`. A system that refuses is no reason to end.
pub fn keep_memory_private() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes = [Exit::Ok, Exit::Usage, Exit::KeyMaterial, Exit::CannotWrite, Exit::TryAgain].map(Exit::code);
        assert_eq!(codes, [0, 64, 65, 73, 75]);
    }
}
