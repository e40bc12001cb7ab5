//! Bodies: strict JSON for the former service's API, forms for the OAuth face.

use axum::body::Body;
use axum::extract::{Form, FromRequest as _, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::{Map, Value};
use token_jose::strict_json::{self, Limits};

use super::MAX_BODY_BYTES;
use super::caller::missing;
use super::error::Problem;
use crate::service::ServiceError;

/// How deep JSON may nest.
const MAX_DEPTH: usize = 8;
/// The most bytes of a member's name in an error.
const MAX_SHOWN: usize = 40;

/// The members of a JSON object, taken one by one; what nobody takes is refused.
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Reads a body of `Content-Type: application/json`.
    pub(super) async fn read(parts: &Parts, body: Body) -> Result<Self, Problem> {
        if media_type(parts) != Some("application/json".to_owned()) {
            return Err(Problem::MediaType("application/json"));
        }
        let bytes = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| unread(&error))?;
        let members = strict_json::parse_object(&bytes, Limits::new(MAX_BODY_BYTES, MAX_DEPTH))
            .map_err(|error| Problem::Request("Invalid request body", error.to_string()))?;
        Ok(Self(members))
    }

    /// A string; absent when it is `null`.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", &other)),
        }
    }

    /// A string, or several in an array.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(wrong(name, "a string or an array of strings", &other)),
                })
                .collect(),
            Some(other) => Err(wrong(name, "a string or an array of strings", &other)),
        }
    }

    /// A flag; false when absent.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// A whole number that is not negative; 0 is the former service's word for "none".
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => match number.as_u64() {
                Some(0) => Ok(None),
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, "a whole number that is not negative", &Value::Number(number))),
            },
            Some(other) => Err(wrong(name, "a whole number that is not negative", &other)),
        }
    }

    /// The same, signed, for a member with a message of its own about its bounds.
    pub(super) fn signed(&mut self, name: &'static str) -> Result<Option<i64>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) if number.as_i64().is_some() => Ok(number.as_i64()),
            Some(other) => Err(wrong(name, "a whole number", &other)),
        }
    }

    /// Refuses what nobody took: a misspelt lifetime must not mint a token of another one.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
                let hint = "hint: a misspelt member would be ignored otherwise";
                Err(missing(&format!("expected members of this request only, found \"{shown}\"; {hint}")))
            }
        }
    }
}

fn wrong(name: &str, expected: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Problem::Service(ServiceError::Invalid(format!("{name}: expected {expected}, found {found}")))
}

/// The parameters of a form. Each is there once at most, except those that may repeat; one without a value is absent (RFC
/// 6749 section 3.2); unknown ones are ignored, as that section wants.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a body of `Content-Type: application/x-www-form-urlencoded`.
    pub(super) async fn read(parts: &Parts, body: Body) -> Result<Self, Problem> {
        if media_type(parts) != Some("application/x-www-form-urlencoded".to_owned()) {
            return Err(Problem::MediaType("application/x-www-form-urlencoded"));
        }
        let bytes = axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| unread(&error))?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Problem::Request("Invalid request body", "expected a form, found other bytes".to_owned()));
        }
        let mut request = Request::new(Body::from(bytes));
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-www-form-urlencoded"));
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, &())
            .await
            .map_err(|_| Problem::Request("Invalid request body", "expected a form, found another text".to_owned()))?;
        let all = Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect());
        for (index, (name, _)) in all.0.iter().enumerate() {
            let repeated = all.0.iter().take(index).any(|(former, _)| former == name);
            if repeated && name != "resource" && name != "audience" {
                let shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
                return Err(missing(&format!("'{shown}': expected the parameter once, found it again")));
            }
        }
        Ok(all)
    }

    /// The parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may repeat.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The scopes of `scope`.
    pub(super) fn scopes(&self) -> Vec<String> {
        self.get("scope").map(split).unwrap_or_default()
    }
}

/// Space-separated words.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The one media type, in lower case and without parameters.
fn media_type(parts: &Parts) -> Option<String> {
    let mut values = parts.headers.get_all(CONTENT_TYPE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let essence = value.to_str().ok()?.split(';').next()?.trim();
    Some(essence.to_ascii_lowercase())
}

/// A body that could not be read: too large, or its sender went away.
fn unread(error: &axum::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if found.to_string().contains("length limit exceeded") {
            return Problem::TooLarge;
        }
        cause = found.source();
    }
    Problem::Request("Invalid request body", "expected the whole body, found a part of it".to_owned())
}
