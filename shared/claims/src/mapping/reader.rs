//! Strict reading of TOML tables: every key is asked for by name, what nobody asked for is unknown, and every problem
//! is collected with its line (serde stops at the first).

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::Problems;
use crate::text::Quoted;

/// Entries of one list; a mapping that needs more is meant to be several rules.
const MAX_LIST: usize = 256;

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

impl<T> Located<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), line: self.line }
    }
}

/// One table being read.
pub(super) struct Reader<'d> {
    /// How messages call the table: `[defaults]`, `rule "etl"`.
    pub(super) place: String,
    pub(super) line: usize,
    table: &'d DeTable<'d>,
    asked: Vec<&'static str>,
}

impl<'d> Reader<'d> {
    pub(super) fn new(place: impl Into<String>, line: usize, table: &'d DeTable<'d>) -> Self {
        Self { place: place.into(), line, table, asked: Vec::new() }
    }

    /// Entries of a table whose keys are names that the document chooses.
    pub(super) fn entries(&self, problems: &Problems) -> Vec<(Located<&'d str>, &'d Spanned<DeValue<'d>>)> {
        let located = |key: &'d Spanned<_>| {
            let text: &'d std::borrow::Cow<'d, str> = key.get_ref();
            Located { value: text.as_ref(), line: problems.line_at(key.span().start) }
        };
        self.table.iter().map(|(key, value)| (located(key), value)).collect()
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    /// A string without asking for it, and without judging it.
    pub(super) fn peek_string(&self, key: &str) -> Option<&str> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => Some(text.as_ref()),
            _ => None,
        }
    }

    /// Reports the absence of a key that must be there. Returns the value otherwise.
    fn require(&mut self, key: &'static str, what: &str, problems: &mut Problems) -> Option<&'d Spanned<DeValue<'d>>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("expected {key} of {}, found none", self.place);
            problems.push(self.line, message, format!("add {key} = {what}"));
        }
        value
    }

    pub(super) fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<Located<String>> {
        let value = self.get(key)?;
        text_of(&format!("{key} of {}", self.place), value, problems)
    }

    pub(super) fn required_string(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Located<String>> {
        let value = self.require(key, example, problems)?;
        text_of(&format!("{key} of {}", self.place), value, problems)
    }

    /// A list of strings: not empty, no duplicates, at most 256.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Located<Vec<Located<String>>>> {
        let value = self.get(key)?;
        let line = problems.line_at(value.span().start);
        let what = format!("{key} of {}", self.place);
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("expected {what} to be a list of strings, found {}", type_of(value.get_ref()));
            problems.push(line, message, format!("write {key} = [\"…\"]"));
            return None;
        };
        if items.is_empty() || items.len() > MAX_LIST {
            let message = format!("expected 1 to {MAX_LIST} entries for {what}, found {}", items.len());
            problems.push(line, message, "leave the key out to get its default, or split the rule");
            return None;
        }
        let mut list: Vec<Located<String>> = Vec::with_capacity(items.len());
        let before = problems.count();
        for item in items {
            let Some(text) = text_of(&format!("an entry of {what}"), item, problems) else { continue };
            if list.iter().any(|other| other.value == text.value) {
                let message = format!("expected different entries for {what}, found {} twice", Quoted(&text.value));
                problems.push(text.line, message, "remove one of them");
            }
            list.push(text);
        }
        (problems.count() == before).then_some(Located { value: list, line })
    }

    pub(super) fn required_strings(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Located<Vec<Located<String>>>> {
        self.require(key, example, problems)?;
        self.strings(key, problems)
    }

    pub(super) fn table(&mut self, key: &'static str, problems: &mut Problems) -> Option<Reader<'d>> {
        let value = self.get(key)?;
        table_of(&format!("{key} of {}", self.place), value, problems)
    }

    pub(super) fn required_table(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Reader<'d>> {
        self.require(key, example, problems)?;
        self.table(key, problems)
    }

    /// Reports every key that nobody asked for. Call it last.
    pub(super) fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries(problems) {
            if self.asked.contains(&key.value) {
                continue;
            }
            let message = format!("expected only known keys in {}, found {}", self.place, Quoted(key.value));
            let hint = match nearest(key.value, &self.asked) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            problems.push(key.line, message, hint);
        }
    }
}

/// A value as a table named `place`.
pub(super) fn table_of<'d>(
    place: &str,
    value: &'d Spanned<DeValue<'d>>,
    problems: &mut Problems,
) -> Option<Reader<'d>> {
    let line = problems.line_at(value.span().start);
    if let DeValue::Table(table) = value.get_ref() {
        return Some(Reader::new(place, line, table));
    }
    let message = format!("expected {place} to be a table, found {}", type_of(value.get_ref()));
    problems.push(line, message, "write it as a table: { key = \"value\" }");
    None
}

fn text_of(what: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Located<String>> {
    let line = problems.line_at(value.span().start);
    if let DeValue::String(text) = value.get_ref() {
        return Some(Located { value: text.clone().into_owned(), line });
    }
    let message = format!("expected {what} to be a string, found {}", type_of(value.get_ref()));
    problems.push(line, message, "put the value in double quotes");
    None
}

pub(super) const fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date-time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known key within two edits of a short unknown one.
fn nearest(found: &str, known: &[&'static str]) -> Option<&'static str> {
    if found.len() > 32 {
        return None;
    }
    let distances = known.iter().map(|candidate| (edits(found.as_bytes(), candidate.as_bytes()), *candidate));
    distances.filter(|(distance, _)| *distance <= 2).min().map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn edits(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        let mut next = vec![before];
        for (b, above) in right.iter().zip(row.iter().skip(1)) {
            before = (diagonal + usize::from(a != b)).min(before + 1).min(above + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn unknown_keys_find_their_neighbour() {
        assert_eq!(edits(b"kitten", b"sitting"), 3);
        assert_eq!(edits(b"", b"abc"), 3);
        assert_eq!(nearest("scope", &["name", "scopes", "subject"]), Some("scopes"));
        assert_eq!(nearest("colour", &["name", "scopes", "subject"]), None);
    }
}
