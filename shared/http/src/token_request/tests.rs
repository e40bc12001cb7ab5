//! What a body may be, and what each wrong one is told.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::token_request;
use crate::error::OAuthError;
use crate::event::{Caller, Door, GatewayEvent};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn event(content_type: Option<&str>, body: &[u8]) -> GatewayEvent {
    let mut headers = HeaderMap::new();
    if let Some(value) = content_type {
        headers.insert("content-type", HeaderValue::from_str(value).unwrap());
    }
    GatewayEvent {
        door: Door::Rest,
        method: Method::POST,
        path: "/token".to_owned(),
        headers,
        body: Bytes::copy_from_slice(body),
        stage: String::new(),
        api_id: String::new(),
        request_id: String::new(),
        caller: Caller::default(),
    }
}

fn refused(content_type: Option<&str>, body: impl AsRef<[u8]>) -> OAuthError {
    token_request(&event(content_type, body.as_ref())).unwrap_err()
}

#[test]
fn nothing_asked_is_a_request() {
    for content_type in [None, Some(FORM), Some("text/plain")] {
        let request = token_request(&event(content_type, b"")).unwrap();
        assert_eq!((request.audience, request.scopes, request.expires_in_s), (None, None, None));
    }
}

#[test]
fn json_and_form_say_the_same() {
    let json = br#"{"audience":"https://a.example","scope":"a b a","expires_in":600}"#;
    let form = b"audience=https%3A%2F%2Fa.example&scope=a+b+a&expires_in=600";
    for (content_type, body) in [(JSON, &json[..]), ("Application/JSON; charset=utf-8", &json[..]), (FORM, &form[..])] {
        let request = token_request(&event(Some(content_type), body)).unwrap();
        assert_eq!(request.audience.as_deref(), Some("https://a.example"));
        assert_eq!(request.scopes, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(request.expires_in_s, Some(600));
    }
}

#[test]
fn a_wrong_body_is_told_what_was_expected() {
    for (content_type, body, status, code, says) in [
        (Some(JSON), "[]", 400, "invalid_request", "JSON object"),
        (Some(JSON), "{", 400, "invalid_request", "JSON object"),
        (Some(JSON), r#"{"scope":"a","scope":"b"}"#, 400, "invalid_request", "JSON object"),
        (Some(JSON), r#"{"subject":"ceo"}"#, 400, "invalid_request", "audience, scope, expires_in"),
        (Some(JSON), r#"{"audience":null}"#, 400, "invalid_request", "audience to be a string"),
        (Some(JSON), r#"{"audience":["a"]}"#, 400, "invalid_request", "audience to be a string"),
        (Some(JSON), r#"{"audience":""}"#, 400, "invalid_target", "audience"),
        (Some(JSON), r#"{"audience":"a b"}"#, 400, "invalid_target", "audience"),
        (Some(JSON), r#"{"scope":""}"#, 400, "invalid_scope", "scope"),
        (Some(JSON), r#"{"scope":"a  b"}"#, 400, "invalid_scope", "scope"),
        (Some(JSON), r#"{"scope":"\u00e4"}"#, 400, "invalid_scope", "scope"),
        (Some(JSON), r#"{"expires_in":"600"}"#, 400, "invalid_request", "expires_in"),
        (Some(JSON), r#"{"expires_in":-1}"#, 400, "invalid_request", "expires_in"),
        (Some(JSON), r#"{"expires_in":1.5}"#, 400, "invalid_request", "expires_in"),
        (Some(FORM), r#"{"scope":"a"}"#, 400, "invalid_request", "content-type: application/json"),
        (Some(FORM), "scope=a&scope=b", 400, "invalid_request", "at most once"),
        (Some(FORM), "sub=ceo", 400, "invalid_request", "audience, scope, expires_in"),
        (Some(FORM), "expires_in=%2B600", 400, "invalid_request", "expires_in"),
        (Some(FORM), "expires_in=99999999999999999999", 400, "invalid_request", "expires_in"),
        (Some(FORM), "audience=%ff", 400, "invalid_request", "UTF-8"),
        (Some("text/plain"), "scope=a", 415, "invalid_request", "application/json"),
        (None, "scope=a", 415, "invalid_request", "application/json"),
    ] {
        let error = refused(content_type, body);
        assert_eq!((error.status().as_u16(), error.code()), (status, code), "{body}");
        assert!(error.description().contains(says), "{body}: {}", error.description());
    }
}

#[test]
fn a_body_over_the_bound_is_413_and_at_the_bound_is_read() {
    let padded = |length: usize| format!("scope={}", "a".repeat(length - "scope=".len()));
    assert!(token_request(&event(Some(FORM), padded(8 * 1024).as_bytes())).is_ok());
    assert_eq!(refused(Some(FORM), padded(8 * 1024 + 1)).status(), StatusCode::PAYLOAD_TOO_LARGE);
}

proptest! {
    #[test]
    fn no_body_panics_and_every_refusal_is_printable(body in proptest::collection::vec(any::<u8>(), 0..200), form in any::<bool>()) {
        if let Err(error) = token_request(&event(Some(if form { FORM } else { JSON }), &body)) {
            prop_assert!(error.description().bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'"' && byte != b'\\'));
        }
    }
}
