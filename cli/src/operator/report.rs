//! What a subcommand answers, and how that is written.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Form, Shell};
use crate::exit::Exit;
use crate::file::WriteError;

/// How the process ends. The numbers are part of the contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 0: done, or the answer is yes.
    Done,
    /// 1: the answer is no.
    No,
    /// 64: the command line or the environment is wrong.
    Usage,
    /// 65: a token, key, ring, mapping or plan is unusable.
    Data,
    /// 73: the file cannot be written.
    CannotWrite,
    /// 75: nothing is wrong that time may not mend.
    TryAgain,
}

impl Ending {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => Exit::Ok.code(),
            Self::No => 1,
            Self::Usage => Exit::Usage.code(),
            Self::Data => Exit::KeyMaterial.code(),
            Self::CannotWrite => Exit::CannotWrite.code(),
            Self::TryAgain => Exit::TryAgain.code(),
        }
    }

    /// A stable word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "refused",
            Self::Usage => "usage",
            Self::Data => "unusable_input",
            Self::CannotWrite => "cannot_write",
            Self::TryAgain => "try_again",
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

impl From<Exit> for Ending {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::Done,
            Exit::Usage => Self::Usage,
            Exit::KeyMaterial => Self::Data,
            Exit::CannotWrite => Self::CannotWrite,
            Exit::TryAgain => Self::TryAgain,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// For reading; may have several lines.
    pub human: String,
    /// The same as data.
    pub json: Value,
    /// Whether the answer is no.
    pub no: bool,
    /// Whether the text is written as it is whatever the form: a completion script, a man page.
    pub raw: bool,
}

impl Report {
    /// The answer is yes, or what was asked is done.
    #[must_use]
    pub fn yes(human: impl Into<String>, json: Value) -> Self {
        Self { human: human.into(), json, no: false, raw: false }
    }

    /// The answer is no.
    #[must_use]
    pub fn no(human: impl Into<String>, json: Value) -> Self {
        Self { human: human.into(), json, no: true, raw: false }
    }

    /// A text for another program.
    #[must_use]
    pub fn raw(text: impl Into<String>) -> Self {
        Self { human: text.into(), json: Value::Null, no: false, raw: true }
    }
}

/// Why there is no answer. The text never holds a token or a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// How the process ends.
    pub ending: Ending,
    /// `expected …, found …; hint: …`, one line per problem.
    pub message: String,
    /// More members of the JSON form's `error`.
    pub more: Value,
}

impl Failure {
    /// A failure that ends so.
    #[must_use]
    pub fn new(ending: Ending, message: impl fmt::Display) -> Self {
        Self { ending, message: message.to_string(), more: Value::Null }
    }

    /// The command line or the environment is wrong.
    #[must_use]
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Ending::Usage, message)
    }

    /// An input cannot be used.
    #[must_use]
    pub fn data(message: impl fmt::Display) -> Self {
        Self::new(Ending::Data, message)
    }

    /// Time may mend it.
    #[must_use]
    pub fn try_again(message: impl fmt::Display) -> Self {
        Self::new(Ending::TryAgain, message)
    }

    /// The other side says no.
    #[must_use]
    pub fn refused(message: impl fmt::Display) -> Self {
        Self::new(Ending::No, message)
    }

    /// The same with more members for the JSON form.
    #[must_use]
    pub fn with(self, more: Value) -> Self {
        Self { more, ..self }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::new(error.exit().into(), error)
    }
}

/// Writes the answer and says how the process ends. A failure goes to standard error, in the JSON form to standard output.
pub(super) fn write(answer: &Result<Report, Failure>, form: Form, shell: &mut Shell<'_>) -> Ending {
    let (text, to_err, ending) = match (answer, form) {
        (Ok(report), _) if report.raw => (report.human.clone(), false, Ending::Done),
        (Ok(report), form) => {
            let text = match form {
                Form::Human => report.human.clone(),
                Form::Json => report.json.to_string(),
            };
            (text, false, if report.no { Ending::No } else { Ending::Done })
        }
        (Err(failure), Form::Human) => {
            let lines: Vec<String> = failure.message.lines().map(|line| format!("jwt-operator: {line}")).collect();
            (lines.join("\n"), true, failure.ending)
        }
        (Err(failure), Form::Json) => {
            let mut error = json!({"code": failure.ending.name(), "message": failure.message});
            if let (Some(members), Value::Object(more)) = (error.as_object_mut(), &failure.more) {
                members.extend(more.clone());
            }
            (json!({ "error": error }).to_string(), false, failure.ending)
        }
    };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let stream = if to_err { &mut *shell.err } else { &mut *shell.out };
    // A reader that went away (`| head`) is no failure of what was done.
    let _ = stream.write_all(format!("{text}{end}").as_bytes()).and_then(|()| stream.flush());
    ending
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn codes_are_those_of_the_documentation() {
        let all = [Ending::Done, Ending::No, Ending::Usage, Ending::Data, Ending::CannotWrite, Ending::TryAgain];
        assert_eq!(all.map(Ending::code), [0, 1, 64, 65, 73, 75]);
    }
}
