use std::fmt::{self, Display, Formatter};

/// One thing wrong with a mapping document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the document, from 1; none when the document as a whole is meant.
    pub line: Option<usize>,
    /// `expected …, found …`. Foreign text in it is quoted and bounded.
    pub message: String,
    /// What to change.
    pub hint: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}; hint: {}", self.message, self.hint)
    }
}

/// Everything wrong with a mapping document, in the order of its lines. Displays one problem per line of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MappingErrors {
    problems: Vec<Problem>,
}

impl MappingErrors {
    /// Never empty; at most 100 (the rest is counted in the last one).
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Display for MappingErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects problems while a document is read.
pub(super) struct Problems {
    /// Offsets of the line feeds, ascending.
    line_feeds: Vec<usize>,
    found: Vec<Problem>,
}

impl Problems {
    /// More than this helps nobody and would let a hostile document write the log.
    const MOST: usize = 100;

    pub(super) fn new(source: &str) -> Self {
        let line_feeds = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { line_feeds, found: Vec::new() }
    }

    /// The line, from 1, of a byte offset.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.line_feeds.partition_point(|feed| *feed < offset) + 1
    }

    pub(super) fn push(&mut self, line: impl Into<Option<usize>>, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Problem { line: line.into(), message: message.into(), hint: hint.into() });
    }

    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    pub(super) fn into_result(mut self) -> Result<(), MappingErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|problem| problem.line);
        let more = self.found.len().saturating_sub(Self::MOST);
        self.found.truncate(Self::MOST);
        if more > 0 {
            let message = format!("expected no problems, found {more} more than the {} listed", Self::MOST);
            self.found.push(Problem { line: None, message, hint: "mend these first".to_owned() });
        }
        Err(MappingErrors { problems: self.found })
    }
}
