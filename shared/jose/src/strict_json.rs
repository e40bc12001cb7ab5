//! JSON for documents that decide security: one reading, or none.
//!
//! `serde_json` keeps the last of two members with the same name; another reader keeps the first. Whoever can write a
//! document can then show two faces. This walk refuses what readers disagree about: duplicate members (compared after
//! unescaping, at every depth), trailing data, lone surrogates, invalid UTF-8, a byte order mark, numbers that no IEEE
//! double holds exactly (RFC 7493), and bounds size and depth before anything else looks at the document.
//!
//! Errors carry a place and a kind, never a piece of the document: it may be a key ring.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use zeroize::Zeroize as _;

/// How large and how deep a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes the whole document may have.
    pub max_bytes: usize,
    /// The most arrays and objects that may be open at once; a flat object needs 1. More than 100 counts as 100.
    pub max_depth: usize,
}

impl Limits {
    /// Limits of `max_bytes` bytes and `max_depth` open containers.
    #[must_use]
    pub const fn new(max_bytes: usize, max_depth: usize) -> Self {
        Self { max_bytes, max_depth }
    }
}

/// Why a document was not read. No variant repeats a part of the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrictJsonError {
    /// The document is longer than the caller reads.
    #[error("expected at most {limit} bytes of JSON, found {found}")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
        /// How many there were.
        found: usize,
    },
    /// The bytes are not UTF-8 (RFC 8259 section 8.1).
    #[error("expected JSON in UTF-8, found an invalid sequence at byte {at}")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        at: usize,
    },
    /// Not JSON, cut short, or followed by more data.
    #[error("expected one JSON value, found a syntax error at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// One object has two members of the same name.
    #[error("expected every member name once, found a duplicate member at line {line} column {column}")]
    Duplicate {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// More containers are nested than the caller reads.
    #[error("expected at most {limit} nested arrays and objects, found more at line {line} column {column}")]
    TooDeep {
        /// The most open containers allowed.
        limit: usize,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// A number that readers round differently.
    #[error(
        "expected numbers that a double or a 64-bit integer holds exactly, found another at line {line} column {column}"
    )]
    Number {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// The document is JSON, but not an object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value there was: `an array`, `a string`, …
        found: &'static str,
    },
}

/// Reads one JSON value strictly.
///
/// # Errors
/// When the document exceeds `limits`, is not UTF-8, is not exactly one JSON value, repeats a member name in an object
/// or holds a number outside what readers agree on.
///
/// ```
/// use token_jose::strict_json::{parse, Limits, StrictJsonError};
/// let limits = Limits::new(1024, 4);
/// assert!(parse(br#"{"sub":"a"}"#, limits).is_ok());
/// // The second spelling of the same name is an escape; it is the same member all the same.
/// let twice = parse(br#"{"sub":"a","\u0073ub":"b"}"#, limits);
/// assert!(matches!(twice, Err(StrictJsonError::Duplicate { .. })));
/// ```
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, StrictJsonError> {
    if bytes.len() > limits.max_bytes {
        return Err(StrictJsonError::TooLarge { limit: limits.max_bytes, found: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| StrictJsonError::NotUtf8 { at: error.valid_up_to() })?;
    // serde_json's own recursion limit is 128; staying below it keeps the answer `TooDeep` instead of a syntax error.
    let depth = limits.max_depth.min(100);
    let refusal = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { depth_left: depth, refusal: &refusal }.deserialize(&mut reader);
    let value = value.map(Partial).and_then(|value| reader.end().map(|()| value.complete()));
    value.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match refusal.get() {
            Some(Refusal::Duplicate) => StrictJsonError::Duplicate { line, column },
            Some(Refusal::TooDeep) => StrictJsonError::TooDeep { limit: depth, line, column },
            Some(Refusal::Number) => StrictJsonError::Number { line, column },
            None => StrictJsonError::Syntax { line, column },
        }
    })
}

/// Reads one JSON object strictly.
///
/// # Errors
/// As [`parse`], and when the value is not an object.
pub fn parse_object(bytes: &[u8], limits: Limits) -> Result<Map<String, Value>, StrictJsonError> {
    match parse(bytes, limits)? {
        Value::Object(members) => Ok(members),
        other => Err(StrictJsonError::NotAnObject { found: kind(&other) }),
    }
}

/// What kind of value there is.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why the walk itself stopped; everything else is serde_json's syntax error.
#[derive(Clone, Copy)]
enum Refusal {
    Duplicate,
    TooDeep,
    Number,
}

/// Reads one value at a known depth.
#[derive(Clone, Copy)]
struct Node<'a> {
    depth_left: usize,
    refusal: &'a Cell<Option<Refusal>>,
}

impl Node<'_> {
    fn refuse<T, E: serde::de::Error>(self, refusal: Refusal) -> Result<T, E> {
        self.refusal.set(Some(refusal));
        Err(E::custom("refused"))
    }

    /// The seed for what is inside this container.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => self.refuse(Refusal::TooDeep),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        // An integer that fits no 64 bits arrives here too, already rounded.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match Number::from_f64(number) {
            Some(number) if number.as_f64().is_some_and(|value| value.abs() <= EXACT) => Ok(Value::Number(number)),
            _ => self.refuse(Refusal::Number),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Partial(Value::Array(Vec::new()));
        while let Some(item) = items.next_element_seed(inside)? {
            if let Value::Array(read) = &mut array.0 {
                read.push(item);
            }
        }
        Ok(array.complete())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Partial(Value::Object(Map::new()));
        while let Some(name) = members.next_key::<String>()? {
            if object.0.get(&name).is_some() {
                return self.refuse(Refusal::Duplicate);
            }
            let value = members.next_value_seed(inside)?;
            if let Value::Object(read) = &mut object.0 {
                read.insert(name, value);
            }
        }
        Ok(object.complete())
    }
}

/// A container that is being read. When the document turns out to be refused, what was read of it is wiped: it may have
/// been a key ring.
struct Partial(Value);

impl Partial {
    fn complete(mut self) -> Value {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites every string of `value`, names of members excepted.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
