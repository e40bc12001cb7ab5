//! API Gateway's proxy events: REST API (payload 1.0) and HTTP API (payload 2.0).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use token_jose::strict_json;

/// The largest event that is read, in bytes: Lambda's own limit for a synchronous payload.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// Which kind of API the event came through. It decides what may be believed about the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A REST API: it can carry a resource policy, so organization and SSO role path can be checked before the Lambda.
    Rest,
    /// An HTTP API: it has no resource policy, so nothing about the caller was checked but the signature.
    Http,
}

/// What the gateway says of who signed the request. Every string is the gateway's, but session names and federated names
/// inside them are the caller's choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// `userArn`.
    pub user_arn: Option<String>,
    /// `accountId` of the caller.
    pub account_id: Option<String>,
    /// `caller` (v1) or `callerId` (v2).
    pub caller: Option<String>,
    /// `user` (v1) or `userId` (v2).
    pub user: Option<String>,
    /// `principalOrgId`, only if it has the form of one: HTTP APIs have been seen to send the literal
    /// `aws:PrincipalOrgID`.
    pub organization_id: Option<String>,
}

/// One request as API Gateway hands it to a Lambda.
#[derive(Clone, Debug)]
pub struct GatewayEvent {
    /// Which kind of API.
    pub door: Door,
    /// The method.
    pub method: Method,
    /// The path without the stage, beginning with `/`.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decoded.
    pub body: Bytes,
    /// The stage; empty where the event has none.
    pub stage: String,
    /// The API's id; empty where the event has none.
    pub api_id: String,
    /// The id to audit by: `extendedRequestId` (a client can override `requestId`), else `requestId`.
    pub request_id: String,
    /// Who signed.
    pub caller: Caller,
}

/// Why an event is not one. Never echoes content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The body says it is base64 and is not.
    #[error("the event's body is declared base64 and is not")]
    Body,
    /// A header's name or value is none.
    #[error("the event has a header that is none in HTTP")]
    Header,
    /// Not strict JSON.
    #[error("expected an API Gateway proxy event as JSON, found something else: {0}")]
    Json(String),
    /// An HTTP API with payload format 1.0 looks like a REST API and is none.
    #[error(
        "expected a REST API event or an HTTP API event of payload format 2.0, found payload format {0}; hint: set the integration's payload format version to 2.0"
    )]
    PayloadFormat(String),
    /// JSON of another shape.
    #[error("expected an API Gateway proxy event, found JSON of another shape: {0}")]
    Shape(String),
}

impl GatewayEvent {
    /// Reads an event, v1 or v2, told apart by its `version` member (a REST API's event has none).
    ///
    /// # Errors
    /// [`EventError`] when it is neither, or has a member of the wrong type, or a member twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        let limits = strict_json::Limits { max_bytes: MAX_EVENT_BYTES, max_depth: 32 };
        let event = strict_json::parse(bytes, limits).map_err(|error| EventError::Json(error.to_string()))?;
        match event.get("version") {
            None => RestEvent::deserialize(event).map_err(shape)?.into_event(),
            Some(version) if version == "2.0" => HttpEvent::deserialize(event).map_err(shape)?.into_event(),
            Some(version) => {
                let shown: String = version.as_str().unwrap_or("that is no text").chars().take(16).collect();
                Err(EventError::PayloadFormat(format!("{shown:?}")))
            }
        }
    }

    /// The one value of `name`.
    ///
    /// # Errors
    /// `Err(())` when the header stands more than once or is not text: two readers could take different ones.
    #[expect(clippy::result_unit_err, reason = "there is one way to fail, and the caller names the header")]
    pub fn header(&self, name: &HeaderName) -> Result<Option<&str>, ()> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    }
}

/// Whether `text` has the form of an AWS organization id: `o-` and 10 to 32 lower-case letters or digits.
#[must_use]
pub fn is_organization_id(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|rest| {
        (10..=32).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn shape(error: serde_json::Error) -> EventError {
    // serde's text can quote a value; its position and kind are enough, and the value may be a body.
    EventError::Shape(format!("{:?} error", error.classify()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestEvent {
    http_method: String,
    path: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RestContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestContext {
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    api_id: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    extended_request_id: Option<String>,
    identity: RestIdentity,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestIdentity {
    #[serde(default)]
    user_arn: Option<String>,
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    caller: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    principal_org_id: Option<String>,
}

impl RestEvent {
    fn into_event(self) -> Result<GatewayEvent, EventError> {
        let mut headers = HeaderMap::new();
        match self.multi_value_headers {
            Some(lists) => {
                for (name, values) in &lists {
                    for value in values {
                        append(&mut headers, name, value)?;
                    }
                }
            }
            None => {
                for (name, value) in self.headers.iter().flatten() {
                    append(&mut headers, name, value)?;
                }
            }
        }
        let context = self.request_context;
        let identity = context.identity;
        let stage = context.stage.unwrap_or_default();
        Ok(GatewayEvent {
            door: Door::Rest,
            method: method(&self.http_method)?,
            path: without_stage(&self.path, &stage),
            headers,
            body: body(self.body, self.is_base64_encoded)?,
            stage,
            api_id: context.api_id.unwrap_or_default(),
            request_id: context.extended_request_id.or(context.request_id).unwrap_or_default(),
            caller: Caller {
                user_arn: identity.user_arn.filter(|arn| !arn.is_empty()),
                account_id: identity.account_id,
                caller: identity.caller,
                user: identity.user,
                organization_id: identity.principal_org_id.filter(|id| is_organization_id(id)),
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent {
    raw_path: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: HttpContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    http: HttpMethod,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    api_id: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    authorizer: Option<HttpAuthorizer>,
}

#[derive(Deserialize)]
struct HttpMethod {
    method: String,
}

#[derive(Deserialize)]
struct HttpAuthorizer {
    #[serde(default)]
    iam: Option<HttpIdentity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpIdentity {
    #[serde(default)]
    user_arn: Option<String>,
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default)]
    caller_id: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    principal_org_id: Option<String>,
}

impl HttpEvent {
    fn into_event(self) -> Result<GatewayEvent, EventError> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.iter().flatten() {
            append(&mut headers, name, value)?;
        }
        let context = self.request_context;
        let stage = context.stage.unwrap_or_default();
        let identity = context.authorizer.and_then(|authorizer| authorizer.iam);
        let caller = identity.map_or_else(Caller::default, |identity| Caller {
            user_arn: identity.user_arn.filter(|arn| !arn.is_empty()),
            account_id: identity.account_id,
            caller: identity.caller_id,
            user: identity.user_id,
            organization_id: identity.principal_org_id.filter(|id| is_organization_id(id)),
        });
        Ok(GatewayEvent {
            door: Door::Http,
            method: method(&context.http.method)?,
            path: without_stage(&self.raw_path, &stage),
            headers,
            body: body(self.body, self.is_base64_encoded)?,
            stage,
            api_id: context.api_id.unwrap_or_default(),
            request_id: context.request_id.unwrap_or_default(),
            caller,
        })
    }
}

fn method(name: &str) -> Result<Method, EventError> {
    Method::from_bytes(name.as_bytes()).map_err(|_| EventError::Shape("the method is none".to_owned()))
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), EventError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| EventError::Header)?;
    let value = HeaderValue::from_str(value).map_err(|_| EventError::Header)?;
    headers.append(name, value);
    Ok(())
}

fn body(text: Option<String>, is_base64: bool) -> Result<Bytes, EventError> {
    match text {
        None => Ok(Bytes::new()),
        Some(text) if is_base64 => STANDARD.decode(text).map(Bytes::from).map_err(|_| EventError::Body),
        Some(text) => Ok(Bytes::from(text)),
    }
}

/// The path without the stage: `/STAGE/token` and `/token` are the same route, since a stage prefix appears or not
/// depending on API kind and custom domain. It is stripped once, and only as a whole segment.
#[must_use]
pub fn without_stage(path: &str, stage: &str) -> String {
    path.strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(stage))
        .filter(|rest| !stage.is_empty() && rest.starts_with('/'))
        .unwrap_or(path)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Door, EventError, GatewayEvent, is_organization_id};

    fn rest() -> Value {
        json!({
            "resource": "/token", "path": "/token", "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "multiValueHeaders": {"Content-Type": ["application/json"]},
            "queryStringParameters": null, "pathParameters": null, "stageVariables": null,
            "requestContext": {
                "accountId": "999900001111", "apiId": "abc123", "stage": "v1", "path": "/v1/token",
                "requestId": "client-chosen", "extendedRequestId": "gateway-chosen",
                "identity": {
                    "accountId": "111122223333", "caller": "AROAEXAMPLE:alice", "user": "AROAEXAMPLE:alice",
                    "userArn": "arn:aws:sts::111122223333:assumed-role/r/alice", "accessKey": "ASIAEXAMPLE",
                    "principalOrgId": "o-exampleorg1", "sourceIp": "127.0.0.1", "cognitoIdentityId": null,
                },
            },
            "body": "{}", "isBase64Encoded": false,
        })
    }

    fn parse(event: &Value) -> Result<GatewayEvent, EventError> {
        GatewayEvent::parse(event.to_string().as_bytes())
    }

    #[test]
    fn a_rest_event_is_read_and_audited_by_the_id_that_a_client_cannot_choose() {
        let event = parse(&rest()).unwrap();
        assert_eq!((event.door, event.path.as_str(), event.stage.as_str()), (Door::Rest, "/token", "v1"));
        assert_eq!(event.request_id, "gateway-chosen");
        assert_eq!(event.caller.organization_id.as_deref(), Some("o-exampleorg1"));
        assert_eq!(
            event.caller.account_id.as_deref(),
            Some("111122223333"),
            "the caller's account, not the API owner's"
        );
        assert_eq!(event.header(&http::header::CONTENT_TYPE), Ok(Some("application/json")));
    }

    #[test]
    fn an_http_api_event_is_read_and_a_literal_placeholder_is_no_organization() {
        let event = parse(&json!({
            "version": "2.0", "routeKey": "POST /token", "rawPath": "/prod/token", "rawQueryString": "",
            "headers": {"content-type": "application/json"},
            "requestContext": {
                "accountId": "999900001111", "apiId": "abc123", "stage": "prod", "requestId": "id=",
                "http": {"method": "POST", "path": "/prod/token", "sourceIp": "127.0.0.1"},
                "authorizer": {"iam": {
                    "accessKey": "AKIAEXAMPLE", "accountId": "111122223333", "callerId": "AIDAEXAMPLE", "userId": "AIDAEXAMPLE",
                    "cognitoIdentity": null, "principalOrgId": "aws:PrincipalOrgID",
                    "userArn": "arn:aws:iam::111122223333:user/bob",
                }},
            },
            "body": "e30=", "isBase64Encoded": true,
        }))
        .unwrap();
        assert_eq!((event.door, event.path.as_str(), &event.body[..]), (Door::Http, "/token", &b"{}"[..]));
        assert_eq!(event.caller.organization_id, None);
        assert_eq!(event.caller.user_arn.as_deref(), Some("arn:aws:iam::111122223333:user/bob"));
    }

    #[test]
    fn an_http_api_that_imitates_a_rest_event_is_refused() {
        let mut event = rest();
        event["version"] = json!("1.0");
        assert_eq!(parse(&event).unwrap_err(), EventError::PayloadFormat("\"1.0\"".to_owned()));
    }

    #[test]
    fn a_stage_is_stripped_once_and_only_as_a_whole_segment() {
        for (path, expected) in [
            ("/v1/token", "/token"),
            ("/token", "/token"),
            ("/v1/v1/token", "/v1/token"),
            ("/v12/token", "/v12/token"),
            ("/v1", "/v1"),
        ] {
            let mut event = rest();
            event["path"] = json!(path);
            assert_eq!(parse(&event).unwrap().path, expected);
        }
    }

    #[test]
    fn an_absent_or_empty_arn_is_no_identity() {
        for arn in [json!(null), json!("")] {
            let mut event = rest();
            event["requestContext"]["identity"]["userArn"] = arn;
            assert_eq!(parse(&event).unwrap().caller.user_arn, None);
        }
    }

    #[test]
    fn what_is_no_event_is_refused_without_echo() {
        let twice = rest().to_string().replacen("\"userArn\"", "\"userArn\":\"arn:aws:iam::1:root\",\"userArn\"", 1);
        let mut wrong_type = rest();
        wrong_type["requestContext"]["identity"]["userArn"] = json!(["arn"]);
        let mut bad_base64 = rest();
        bad_base64["isBase64Encoded"] = json!(true);
        let mut bad_header = rest();
        bad_header["multiValueHeaders"] = json!({"X Y": ["z"]});
        for bytes in [
            Vec::new(),
            b"{}".to_vec(),
            b"null".to_vec(),
            twice.into_bytes(),
            wrong_type.to_string().into_bytes(),
            bad_base64.to_string().into_bytes(),
            bad_header.to_string().into_bytes(),
        ] {
            let error = GatewayEvent::parse(&bytes).unwrap_err().to_string();
            assert!(!error.contains("arn"), "{error}");
        }
    }

    #[test]
    fn a_header_given_twice_is_ambiguous() {
        let mut event = rest();
        event["multiValueHeaders"] = json!({"DPoP": ["a", "b"]});
        assert_eq!(parse(&event).unwrap().header(&http::HeaderName::from_static("dpop")), Err(()));
    }

    #[test]
    fn organization_ids_have_one_form() {
        assert!(is_organization_id("o-exampleorg1"));
        for bad in [
            "",
            "o-",
            "o-short",
            "aws:PrincipalOrgID",
            "O-exampleorg1",
            "o-exampleorg1 ",
            "o-EXAMPLEORG1",
            "xo-exampleorg1",
        ] {
            assert!(!is_organization_id(bad), "{bad}");
        }
    }
}
