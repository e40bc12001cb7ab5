//! Requests are signed by `aws-sigv4`'s own signer (or stand in AWS's documents), so that its canonical request and ours
//! meet here for the first time.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Arrived, AuthError, verify};
use crate::principals::Principals;

const NOW: &str = "2026-11-22T12:00:00Z";
const REGION: &str = "eu-west-1";
const KEY: &str = "ASIA000000000EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn principals(token: Option<&str>) -> Principals {
    let mut one = json!({"name": "p", "arn": "a", "caller": "c", "account_id": "1", "organization_id": "o",
        "access_key_id": KEY, "secret_access_key": SECRET});
    if let Some(token) = token {
        one["session_token"] = token.into();
    }
    Principals::parse(&json!([one]).to_string()).unwrap()
}

/// A request that can be signed, tampered with and judged.
#[derive(Clone)]
struct Draft {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What the client signs with.
#[derive(Clone)]
struct With<'a> {
    key: &'a str,
    secret: &'a str,
    token: Option<&'a str>,
    region: &'a str,
    service: &'a str,
    at: Timestamp,
    settings: fn(&mut SigningSettings),
}

impl Default for With<'_> {
    fn default() -> Self {
        Self {
            key: KEY,
            secret: SECRET,
            token: None,
            region: REGION,
            service: "execute-api",
            at: now(),
            settings: |_| {},
        }
    }
}

impl Draft {
    fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:9000"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        Self { method: Method::POST, path: "/token".to_owned(), query: String::new(), headers, body: b"{}".to_vec() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn at(mut self, path: &str, query: &str) -> Self {
        (self.path, self.query) = (path.to_owned(), query.to_owned());
        self
    }

    fn signed(mut self, with: &With<'_>) -> Self {
        let identity = Credentials::new(with.key, with.secret, with.token.map(str::to_owned), None, "test").into();
        let mut settings = SigningSettings::default();
        (with.settings)(&mut settings);
        let seconds = Duration::from_secs(u64::try_from(with.at.as_second()).unwrap());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(with.region)
            .name(with.service)
            .time(SystemTime::UNIX_EPOCH + seconds)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mark = if self.query.is_empty() { "" } else { "?" };
        let uri = format!("http://127.0.0.1:9000{}{mark}{}", self.path, self.query);
        let headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable =
            SignableRequest::new(self.method.as_str(), &uri, pairs, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            self.headers.insert(HeaderName::from_static(header.name()), HeaderValue::from_str(header.value()).unwrap());
        }
        self
    }

    fn judge(&self, token: Option<&str>, now: Timestamp) -> Result<(), AuthError> {
        let arrived = Arrived {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
        };
        let principals = principals(token);
        verify(arrived, REGION, &principals, now).map(|principal| assert_eq!(principal.access_key_id(), KEY))
    }

    fn outcome(&self) -> Result<(), AuthError> {
        self.judge(None, now())
    }

    fn set_authorization(&mut self, change: impl FnOnce(&str) -> String) {
        let changed = change(self.headers["authorization"].to_str().unwrap());
        self.headers.insert("authorization", HeaderValue::from_str(&changed).unwrap());
    }
}

fn scope_message(outcome: Result<(), AuthError>) -> String {
    match outcome {
        Err(AuthError::Scope(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_aws_sdk_signs_is_accepted() {
    let with = With::default();
    for draft in [
        Draft::new(),
        Draft::new().at("/token", "b=2&a=1&a=0&c"),
        Draft::new().at("/token", "a=%2Fx%20y&b=%C3%A4"),
        Draft::new().at("/a%20b/c", ""),
        Draft::new().at("/./a//b/../token", ""),
        Draft::new().header("x-spaced", "  a   b  ").header("x-list", "1").header("x-list", "2"),
    ] {
        assert_eq!(draft.clone().signed(&with).outcome(), Ok(()), "{} {}", draft.path, draft.query);
    }
    let checksum = With {
        settings: |settings| settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256,
        ..With::default()
    };
    assert_eq!(Draft::new().signed(&checksum).outcome(), Ok(()));
}

/// The worked example of AWS's guide "Create a signed AWS API request" / `get-vanilla` derive keys in the same way; its
/// published intermediate value pins the derivation and our use of it.
#[test]
fn the_published_key_derivation() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_892_800); // 2015-08-30
    let key = v4::generate_signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", at, "us-east-1", "iam");
    let hex: String = key.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn every_signed_part_counts() {
    let good = Draft::new().at("/token", "a=1").header("x-signed", "1").signed(&With::default());
    assert_eq!(good.outcome(), Ok(()));
    type Tamper = fn(&mut Draft);
    let tampered: [(&str, Tamper); 8] = [
        ("method", |draft| draft.method = Method::PUT),
        ("path", |draft| draft.path = "/token2".to_owned()),
        ("query value", |draft| draft.query = "a=2".to_owned()),
        ("query added", |draft| draft.query = "a=1&b=1".to_owned()),
        ("body", |draft| draft.body = b"{ }".to_vec()),
        ("host", |draft| drop(draft.headers.insert("host", HeaderValue::from_static("localhost:9000")))),
        ("signed header changed", |draft| drop(draft.headers.insert("x-signed", HeaderValue::from_static("2")))),
        ("signed header removed", |draft| drop(draft.headers.remove("x-signed"))),
    ];
    for (what, tamper) in tampered {
        let mut draft = good.clone();
        tamper(&mut draft);
        assert_eq!(draft.outcome(), Err(AuthError::Mismatch), "{what}");
    }
    // A second line of a signed header joins its value.
    assert_eq!(good.clone().header("x-signed", "1").outcome(), Err(AuthError::Mismatch));
    // What was not signed may change on its way.
    assert_eq!(good.header("x-unsigned", "1").outcome(), Ok(()));
}

#[test]
fn a_wrong_secret_a_cut_or_an_empty_signature_do_not_match() {
    let wrong = With { secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEx", ..With::default() };
    assert_eq!(Draft::new().signed(&wrong).outcome(), Err(AuthError::Mismatch));
    let mut cut = Draft::new().signed(&With::default());
    cut.set_authorization(|value| value[..value.len() - 1].to_owned());
    assert_eq!(cut.outcome(), Err(AuthError::Mismatch));
    let mut upper = Draft::new().signed(&With::default());
    upper.set_authorization(|value| {
        let (head, signature) = value.rsplit_once('=').unwrap();
        format!("{head}={}", signature.to_uppercase())
    });
    assert_eq!(upper.outcome(), Err(AuthError::Mismatch));
    let mut empty = Draft::new().signed(&With::default());
    empty.set_authorization(|value| value.rsplit_once('=').unwrap().0.to_owned() + "=");
    assert!(matches!(empty.outcome(), Err(AuthError::Incomplete(_))));
}

#[test]
fn the_time_bound_is_five_minutes_both_ways() {
    let at = |minutes: i64, seconds: i64| {
        let offset = SignedDuration::from_secs(minutes * 60 + seconds);
        Draft::new().signed(&With { at: now() + offset, ..With::default() }).outcome()
    };
    assert_eq!(at(-5, 0), Ok(()));
    assert_eq!(at(5, 0), Ok(()));
    assert_eq!(
        scope_message(at(-5, -1)),
        "Signature expired: 20261122T115459Z is now earlier than 20261122T115500Z (20261122T120000Z - 5 min.)"
    );
    assert_eq!(
        scope_message(at(5, 1)),
        "Signature not yet current: 20261122T120501Z is still later than 20261122T120500Z (20261122T120000Z + 5 min.)"
    );
}

#[test]
fn a_fresh_date_does_not_revive_an_old_signature() {
    let old = With { at: now() - SignedDuration::from_hours(1), ..With::default() };
    let mut draft = Draft::new().signed(&old);
    draft.headers.insert("x-amz-date", HeaderValue::from_static("20261122T120000Z"));
    assert_eq!(draft.outcome(), Err(AuthError::Mismatch));
    let yesterday = With { at: now() - SignedDuration::from_hours(24), ..With::default() };
    let mut draft = Draft::new().signed(&yesterday);
    draft.headers.insert("x-amz-date", HeaderValue::from_static("20261122T120000Z"));
    assert!(scope_message(draft.outcome()).contains("Date in Credential scope"));
}

#[test]
fn the_scope_is_this_endpoints() {
    let region = Draft::new().signed(&With { region: "us-east-1", ..With::default() });
    assert!(scope_message(region.outcome()).contains("valid region: 'eu-west-1'"));
    let service = Draft::new().signed(&With { service: "sts", ..With::default() });
    assert!(scope_message(service.outcome()).contains("correct service: 'execute-api'"));
    let mut both = Draft::new().signed(&With { region: "us-east-1", service: "sts", ..With::default() });
    both.set_authorization(|value| value.replace("aws4_request", "aws5_request"));
    let message = scope_message(both.outcome());
    assert!(message.contains("region") && message.contains("service") && message.contains("terminator"), "{message}");
}

#[test]
fn the_host_must_be_signed() {
    let without =
        With { settings: |settings| settings.excluded_headers = Some(vec!["host".into()]), ..With::default() };
    assert!(scope_message(Draft::new().signed(&without).outcome()).contains("'Host'"));
}

#[test]
fn the_session_token_is_the_principals() {
    let with = With { token: Some("the token"), ..With::default() };
    let draft = Draft::new().signed(&with);
    assert_eq!(draft.judge(Some("the token"), now()), Ok(()));
    assert_eq!(draft.judge(Some("another token"), now()), Err(AuthError::UnknownKey));
    assert_eq!(draft.judge(None, now()), Err(AuthError::UnknownKey), "a long-lived key has no token");
    let missing = Draft::new().signed(&With::default());
    assert_eq!(missing.judge(Some("the token"), now()), Err(AuthError::UnknownKey));
    // Some clients add the token after signing, which AWS accepts.
    let unsigned = Draft::new().signed(&With::default()).header("x-amz-security-token", "the token");
    assert_eq!(unsigned.judge(Some("the token"), now()), Ok(()));
}

#[test]
fn an_unknown_key_is_no_one() {
    let draft = Draft::new().signed(&With { key: "ASIA000000001EXAMPLE", ..With::default() });
    assert_eq!(draft.outcome(), Err(AuthError::UnknownKey));
    assert_eq!(AuthError::UnknownKey.error_type(), "UnrecognizedClientException");
}

#[test]
fn a_declared_payload_hash_must_be_the_bodys() {
    for declared in ["UNSIGNED-PAYLOAD", &"0".repeat(64), ""] {
        let draft = Draft::new().header("x-amz-content-sha256", declared).signed(&With::default());
        assert_eq!(draft.outcome(), Err(AuthError::Mismatch), "{declared}");
    }
}

#[test]
fn headers_that_decide_come_once() {
    for name in ["authorization", "host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"] {
        let mut draft = Draft::new().signed(&With { token: Some("t"), ..With::default() });
        if name == "x-amz-content-sha256" {
            draft = draft.header(name, "x");
        }
        let first = draft.headers[name].to_str().unwrap().to_owned();
        let doubled = draft.header(name, &first);
        assert!(matches!(doubled.judge(Some("t"), now()), Err(AuthError::Incomplete(_))), "{name}");
    }
}

#[test]
fn no_signature_at_all() {
    assert_eq!(Draft::new().outcome(), Err(AuthError::Missing));
    assert_eq!(AuthError::Missing.to_string(), "Missing Authentication Token");
    // A signature in the query is not looked at.
    let presigned = Draft::new().at("/token", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0");
    assert_eq!(presigned.outcome(), Err(AuthError::Missing));
}

#[test]
fn what_is_incomplete_is_named_and_not_echoed() {
    let incomplete = |value: &str| match Draft::new().header("authorization", value).outcome() {
        Err(AuthError::Incomplete(message)) => message,
        other => panic!("{value}: {other:?}"),
    };
    let message = incomplete("Bearer very-secret");
    assert_eq!(
        message,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
         Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a \
         'X-Amz-Date' or a 'Date' header."
    );
    for value in ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256Credential=a", "AWS4-ECDSA-P256-SHA256 Credential=a", "aws4"]
    {
        assert!(incomplete(value).contains("'Credential'"), "{value}");
    }

    let whole = Draft::new().signed(&With::default());
    let changes: [(&str, &str); 6] = [
        ("/aws4_request", ""),
        ("/aws4_request", "/aws4_request/x"),
        ("SignedHeaders=content-type;", "SignedHeaders=Content-Type;"),
        ("SignedHeaders=content-type;", "SignedHeaders=content-type;content-type;"),
        ("SignedHeaders=content-type;", "SignedHeaders=;"),
        ("Signature=", "Signature=0, Signature="),
    ];
    for (from, to) in changes {
        let mut draft = whole.clone();
        draft.set_authorization(|value| {
            assert!(value.contains(from), "{value}");
            value.replace(from, to)
        });
        assert!(matches!(draft.outcome(), Err(AuthError::Incomplete(_))), "{from} -> {to}");
    }
    for date in
        ["2026-11-22T12:00:00Z", "20261122T120000", "20261322T120000Z", "20261122T120000+", "+0261122T120000Z", ""]
    {
        let mut draft = whole.clone();
        draft.headers.insert("x-amz-date", HeaderValue::from_str(date).unwrap());
        assert!(matches!(draft.outcome(), Err(AuthError::Incomplete(_))), "{date}");
    }
}

/// The signature is over the time, so a client may say it in `Date` alone. No signer at hand does, so the expected value is
/// made with the primitives.
#[test]
fn a_date_header_is_enough() {
    for date in ["Sun, 22 Nov 2026 12:00:00 GMT", "20261122T120000Z"] {
        let canonical = format!(
            "POST\n/token\n\ndate:{date}\nhost:h\n\ndate;host\n{}",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let digest = token_jose::sha256_hex(canonical.as_bytes());
        let to_sign =
            format!("AWS4-HMAC-SHA256\n20261122T120000Z\n20261122/eu-west-1/execute-api/aws4_request\n{digest}");
        let key = v4::generate_signing_key(SECRET, SystemTime::from(now()), REGION, "execute-api");
        let signature = v4::calculate_signature(key, to_sign.as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20261122/eu-west-1/execute-api/aws4_request, SignedHeaders=date;host, \
             Signature={signature}"
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "h"), ("date", date), ("authorization", &authorization)] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let draft =
            Draft { method: Method::POST, path: "/token".to_owned(), query: String::new(), headers, body: Vec::new() };
        assert_eq!(draft.outcome(), Ok(()), "{date}");
    }
}
