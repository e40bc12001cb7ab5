//! The event that API Gateway's REST APIs send to a Lambda function (proxy integration, payload version 1.0).

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::principals::SamplePrincipal;

/// The account that owns the API: another one than any sample principal's, so that a mix-up shows.
pub const API_ACCOUNT: &str = "999988887777";
/// The API's id.
pub const API_ID: &str = "localgw001";
/// The stage. Like behind a custom domain with a root mapping, it is not part of the URL.
pub const STAGE: &str = "v1";
/// The region everything pretends to be in.
pub const REGION: &str = "eu-west-1";

/// One request on its way to a function.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// All headers as sent.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
    /// Whether the method has `AWS_IAM`, and who signed then.
    pub principal: Option<&'a SamplePrincipal>,
    /// The other end of the connection.
    pub source_ip: IpAddr,
    /// Our port, for `X-Forwarded-Port`.
    pub port: u16,
    /// API Gateway's ids of this request.
    pub ids: &'a RequestIds,
    /// When it arrived.
    pub now: Timestamp,
}

/// The ids that API Gateway gives a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// `requestId`, a UUID. (At the real one, callers can choose it.)
    pub request_id: String,
    /// `extendedRequestId`, which callers cannot choose.
    pub extended_request_id: String,
    /// The `X-Amzn-Trace-Id` header, without the function's own segment.
    pub trace_id: String,
}

impl RequestIds {
    /// Makes them from three fresh ids of 32 hexadecimal digits each, and the time that a trace id carries.
    #[must_use]
    pub fn new(fresh: [&str; 3], now: Timestamp) -> Self {
        let [request, extended, trace] = fresh;
        let uuid: Vec<&str> = [0..8, 8..12, 12..16, 16..20, 20..32]
            .into_iter()
            .map(|range| request.get(range).unwrap_or_default())
            .collect();
        let extended_request_id = STANDARD.encode(extended.get(..11).unwrap_or_default());
        let trace_id = format!("Root=1-{:08x}-{}", now.as_second(), trace.get(..24).unwrap_or_default());
        Self { request_id: uuid.join("-"), extended_request_id, trace_id }
    }
}

/// The event for `incoming`. The `Authorization` header is dropped, as API Gateway drops a SigV4 one.
#[must_use]
pub fn event(incoming: &Incoming<'_>) -> Value {
    let headers = headers(incoming);
    let query = query(incoming.query);
    let body = match std::str::from_utf8(incoming.body) {
        Ok("") => (Value::Null, false),
        Ok(text) => (text.into(), false),
        Err(_) => (STANDARD.encode(incoming.body).into(), true),
    };
    json!({
        "resource": incoming.path,
        "path": incoming.path,
        "httpMethod": incoming.method.as_str(),
        "headers": last_of_each(&headers),
        "multiValueHeaders": headers,
        "queryStringParameters": if query.is_empty() { Value::Null } else { last_of_each(&query) },
        "multiValueQueryStringParameters": if query.is_empty() { Value::Null } else { json!(query) },
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": context(incoming),
        "body": body.0,
        "isBase64Encoded": body.1,
    })
}

fn context(incoming: &Incoming<'_>) -> Value {
    let domain = incoming.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let user_agent = incoming.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let principal = incoming.principal;
    let of = |field: fn(&SamplePrincipal) -> &str| principal.map(field);
    json!({
        "resourceId": "local0",
        "resourcePath": incoming.path,
        "httpMethod": incoming.method.as_str(),
        "extendedRequestId": incoming.ids.extended_request_id,
        "requestTime": incoming.now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "requestTimeEpoch": incoming.now.as_millisecond(),
        "path": incoming.path,
        "accountId": API_ACCOUNT,
        "protocol": "HTTP/1.1",
        "stage": STAGE,
        "domainName": domain,
        "domainPrefix": domain.split('.').next().unwrap_or_default(),
        "deploymentId": "local1",
        "requestId": incoming.ids.request_id,
        "apiId": API_ID,
        "identity": {
            "cognitoIdentityPoolId": null,
            "cognitoIdentityId": null,
            "cognitoAuthenticationType": null,
            "cognitoAuthenticationProvider": null,
            "principalOrgId": of(SamplePrincipal::organization_id),
            "accessKey": of(SamplePrincipal::access_key_id),
            "accountId": of(SamplePrincipal::account_id),
            "caller": of(SamplePrincipal::caller),
            "user": of(SamplePrincipal::caller),
            "userArn": of(SamplePrincipal::arn),
            "sourceIp": incoming.source_ip.to_string(),
            "userAgent": user_agent,
        },
    })
}

/// Every header with all its values: the client's (lower case, as from an HTTP/2 client), those that API Gateway spells in
/// its own way, and those that it adds.
fn headers(incoming: &Incoming<'_>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in incoming.headers {
        let name = match name.as_str() {
            "authorization" | "x-amzn-trace-id" | "x-forwarded-port" | "x-forwarded-proto" | "connection"
            | "expect" | "te" | "trailer" | "transfer-encoding" | "upgrade" => continue,
            "host" => "Host",
            "user-agent" => "User-Agent",
            "x-forwarded-for" => "X-Forwarded-For",
            other => other,
        };
        all.entry(name.to_owned()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let hops = all.remove("X-Forwarded-For").unwrap_or_default();
    let hops = hops.into_iter().chain([incoming.source_ip.to_string()]).collect::<Vec<_>>().join(", ");
    for (name, value) in [
        ("X-Amzn-Trace-Id", incoming.ids.trace_id.clone()),
        ("X-Forwarded-For", hops),
        ("X-Forwarded-Port", incoming.port.to_string()),
        ("X-Forwarded-Proto", "http".to_owned()),
    ] {
        all.insert(name.to_owned(), vec![value]);
    }
    all
}

fn query(raw: &str) -> BTreeMap<String, Vec<String>> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in raw.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        all.entry(decode(name)).or_default().push(decode(value));
    }
    all
}

fn last_of_each(all: &BTreeMap<String, Vec<String>>) -> Value {
    let last: Map<String, Value> = all
        .iter()
        .filter_map(|(name, values)| values.last().map(|value| (name.clone(), Value::from(value.as_str()))))
        .collect();
    Value::Object(last)
}

/// `event` fit to be kept in a file: a session token is a credential, so its value goes.
#[must_use]
pub fn redacted(mut event: Value) -> Value {
    for member in ["headers", "multiValueHeaders"] {
        let Some(headers) = event.get_mut(member).and_then(Value::as_object_mut) else { continue };
        for (name, value) in headers {
            if name.eq_ignore_ascii_case("x-amz-security-token") {
                *value = if value.is_array() { json!(["REDACTED"]) } else { "REDACTED".into() };
            }
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderMap, HeaderValue, Method};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{Incoming, RequestIds, event, redacted};
    use crate::principals::{DEFAULT_ORGANIZATION, Principals};

    fn build(
        method: &Method,
        path: &str,
        query: &str,
        headers: &[(&'static str, &str)],
        body: &[u8],
        signed: bool,
    ) -> Value {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let principals = Principals::built_in(DEFAULT_ORGANIZATION);
        event(&Incoming {
            method,
            path,
            query,
            headers: &map,
            body,
            principal: signed.then(|| &principals.all()[0]),
            source_ip: Ipv4Addr::LOCALHOST.into(),
            port: 9000,
            ids: &RequestIds::new([&"a".repeat(32), &"b".repeat(32), &"c".repeat(32)], now),
            now,
        })
    }

    #[test]
    fn the_principal_that_signed_is_copied_into_the_identity() {
        let event = build(&Method::POST, "/token", "", &[("host", "127.0.0.1:9000")], b"", true);
        let identity = &event["requestContext"]["identity"];
        let arn = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@example.com";
        assert_eq!(identity["userArn"], arn);
        assert_eq!(identity["caller"], "AROA1234567890ALICE01:alice@example.com");
        assert_eq!(identity["user"], identity["caller"]);
        assert_eq!(identity["accountId"], "111122223333");
        assert_eq!(identity["accessKey"], "AKIAALICE0000EXAMPLE");
        assert_eq!(identity["principalOrgId"], "o-exampleorg1");
        assert_eq!(identity["sourceIp"], "127.0.0.1");
        assert_eq!(identity["cognitoIdentityId"], Value::Null);
        assert_eq!(event["requestContext"]["accountId"], "999988887777", "the API's owner, not the caller");
        assert_eq!(event["requestContext"]["stage"], "v1");
        assert_eq!(event["requestContext"]["apiId"], "localgw001");
        assert_eq!(event["requestContext"]["requestId"], "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa");
        assert_eq!(event["requestContext"]["extendedRequestId"], "YmJiYmJiYmJiYmI=");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&Value::Null, &json!(false)));
        assert!(!event.to_string().contains("EXAMPLESECRET"));
    }

    #[test]
    fn an_anonymous_request_has_no_identity() {
        let event = build(&Method::GET, "/.well-known/jwks.json", "", &[], b"", false);
        for field in ["userArn", "caller", "user", "accountId", "accessKey", "principalOrgId"] {
            assert_eq!(event["requestContext"]["identity"][field], Value::Null, "{field}");
        }
        assert_eq!(event["httpMethod"], "GET");
        assert_eq!(event["queryStringParameters"], Value::Null);
    }

    #[test]
    fn authorization_is_dropped_and_forwarding_headers_are_ours() {
        let headers = [
            ("authorization", "AWS4-HMAC-SHA256 Credential=x"),
            ("host", "127.0.0.1:9000"),
            ("user-agent", "curl/7.88.1"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("accept", "a"),
            ("accept", "b"),
        ];
        let event = build(&Method::POST, "/token", "", &headers, b"{}", true);
        assert!(!event.to_string().contains("AWS4-HMAC"));
        assert_eq!(event["headers"]["X-Forwarded-For"], "203.0.113.9, 127.0.0.1");
        assert_eq!(event["headers"]["X-Forwarded-Proto"], "http");
        assert_eq!(event["headers"]["Host"], "127.0.0.1:9000");
        assert_eq!(event["headers"]["User-Agent"], "curl/7.88.1");
        assert_eq!(event["requestContext"]["identity"]["userAgent"], "curl/7.88.1");
        assert_eq!(event["headers"]["accept"], "b");
        assert_eq!(event["multiValueHeaders"]["accept"], json!(["a", "b"]));
        assert_eq!(event["headers"]["X-Amzn-Trace-Id"], "Root=1-6afd86c0-cccccccccccccccccccccccc");
        assert_eq!(event["body"], "{}");
    }

    #[test]
    fn queries_are_decoded_and_bytes_that_are_no_text_travel_as_base64() {
        let event = build(&Method::POST, "/token", "a=1&a=2&b=%C3%A4+x", &[], b"\xff\x00", true);
        assert_eq!(event["queryStringParameters"], json!({"a": "2", "b": "ä x"}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"a": ["1", "2"], "b": ["ä x"]}));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    }

    #[test]
    fn a_recorded_event_holds_no_session_token() {
        let event = build(&Method::POST, "/token", "", &[("x-amz-security-token", "credential")], b"", true);
        assert_eq!(event["headers"]["x-amz-security-token"], "credential");
        assert!(!redacted(event).to_string().contains("credential\""));
    }
}
