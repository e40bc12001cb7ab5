//! `claims = { … }`: typed JSON from TOML.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::problems::Problems;
use super::reader::Reader;
use crate::charset::CharSet;
use crate::claims::is_reserved;
use crate::text::Quoted;

/// Nesting of one claim.
const MAX_DEPTH: usize = 4;
/// All extra claims of a rule as JSON, in bytes: headers carry tokens, and KMS signs at most 4,096 bytes.
const MAX_BYTES: usize = 2048;

/// The extra claims of a rule.
pub(super) fn read(table: &Reader<'_>, problems: &mut Problems) -> BTreeMap<String, Value> {
    let mut claims: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in table.entries(problems) {
        if is_reserved(name.value) {
            let message = format!("expected a claim of your own, found the reserved name {}", Quoted(name.value));
            problems.push(name.line, message, "registered and security-deciding claims come from the issuer alone");
            continue;
        }
        if !is_name(name.value) {
            let message =
                format!("expected a claim name of 1 to 128 printable characters, found {}", Quoted(name.value));
            problems.push(name.line, message, "use ASCII without spaces, for instance a URL of your own");
            continue;
        }
        // Several JSON libraries match member names without case, so such a pair is one claim to them.
        if let Some(twin) = claims.keys().find(|other| other.eq_ignore_ascii_case(name.value)) {
            let message = format!(
                "expected claim names that differ in more than case, found {} and {}",
                Quoted(twin),
                Quoted(name.value)
            );
            problems.push(name.line, message, "remove one of them");
            continue;
        }
        match json(value, 1) {
            Ok(value) => {
                claims.insert(name.value.to_owned(), value);
            }
            Err((message, hint)) => {
                let message = format!("expected claim {} to be {message}", Quoted(name.value));
                problems.push(problems.line_at(value.span().start), message, hint);
            }
        }
    }
    let bytes: usize = claims.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    if bytes > MAX_BYTES {
        let message = format!("expected at most {MAX_BYTES} bytes in {}, found {bytes}", table.place);
        problems.push(
            table.line,
            message,
            "a token travels with every request: give the relying party a key, not the data",
        );
    }
    claims
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && CharSet::GRAPHIC.holds(text)
}

fn json(value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Value, (&'static str, &'static str)> {
    if depth > MAX_DEPTH {
        return Err(("nested at most four deep, found more", "flatten it"));
    }
    let empty = ("not empty, found an empty value", "leave the claim out");
    match value.get_ref() {
        DeValue::String(text) if text.is_empty() => Err(empty),
        DeValue::String(text) => Ok(Value::String(text.clone().into_owned())),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::from)
            .map_err(|_| ("an integer of 64 bits, found a larger one", "write it as a string")),
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or(("a number that JSON has, found nan or infinity", "write it as a string"))
        }
        DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
        DeValue::Datetime(_) => {
            Err(("of a type that JSON has, found a date-time", "write it as a string or an integer"))
        }
        DeValue::Array(items) if items.is_empty() => Err(empty),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        DeValue::Table(table) if table.is_empty() => Err(empty),
        DeValue::Table(table) => {
            let mut members = Map::new();
            for (name, value) in table {
                if !is_name(name.get_ref()) {
                    return Err(("an object with printable names, found another", "use ASCII without spaces"));
                }
                members.insert(name.get_ref().clone().into_owned(), json(value, depth + 1)?);
            }
            Ok(Value::Object(members))
        }
    }
}
