//! What the end-to-end tests share: an issuer's documents in a folder, and API Gateway's events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

pub mod applied;
pub mod clients;
pub mod iam;
pub mod local;
pub mod wire;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use token_jose::{Algorithm, Expectation, KeyRing, KeySet, RingPolicy, verify};

/// `iss` of every token here.
pub const ISSUER: &str = "https://issuer.example";
/// `aud` of every token here.
pub const AUDIENCE: &str = "https://acme.snowflakecomputing.com";
/// The organization that is ours.
pub const ORGANIZATION: &str = "o-exampleorg1";
/// The account that rules name.
pub const ACCOUNT: &str = "111122223333";

/// The mapping of the contracts' example, and a rule that pins an IAM user.
pub const MAPPING: &str = r#"
[defaults]
audience = "https://acme.snowflakecomputing.com"

[directory.corp]
accounts = ["111122223333", "444455556666"]
user_names = "case-insensitive"

[[rule]]
name = "analysts"
principal = { kind = "sso-user", directory = "corp", permission_set = "Analyst" }
email_domain = "example.com"
subject = "{user|local_part|upper}"
scopes = ["session:role:ANALYST"]

[[rule]]
name = "etl workers"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role|upper}"
scopes = ["session:role:ETL"]
max_ttl = "30m"

[audience."https://acme.snowflakecomputing.com"]
profile = "snowflake-external-oauth"
"#;

/// The wall clock, which the Lambdas read too.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "real processes run by the real clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// An issuer's documents as files: ring, published set and mapping.
pub struct Documents {
    /// Where the files are; removed at the end.
    pub folder: TempDir,
    /// The ring as it was first written.
    pub ring: KeyRing,
}

impl Documents {
    /// A ring of `algorithms` with its published set, and `mapping`.
    #[must_use]
    pub fn new(algorithms: &[Algorithm], mapping: &str) -> Self {
        let ring = KeyRing::first(algorithms, RingPolicy::default(), now()).unwrap();
        let documents = Self { folder: tempfile::tempdir().unwrap(), ring };
        std::fs::write(documents.path("ring.json"), documents.ring.to_json().unwrap().as_slice()).unwrap();
        std::fs::write(documents.path("jwks.json"), documents.ring.published(now()).to_stored_json()).unwrap();
        std::fs::write(documents.path("mapping.toml"), mapping).unwrap();
        documents
    }

    /// A file of the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The environment of a Lambda that reads these files.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| format!("file:{}", self.path(name).display());
        [
            ("JWT_ISSUER_URL", ISSUER.to_owned()),
            ("KEY_RING", file("ring.json")),
            ("JWKS", file("jwks.json")),
            ("MAPPING", file("mapping.toml")),
            ("ORGANIZATION_ID", ORGANIZATION.to_owned()),
            ("SSO_PATH_ENFORCED", "true".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// The claims of `token`, verified against the published set as it is in the folder now.
    #[must_use]
    pub fn verified(&self, token: &str) -> Map<String, Value> {
        let keys = KeySet::parse(&std::fs::read(self.path("jwks.json")).unwrap()).unwrap();
        verify(token, &keys, &Expectation::new(ISSUER, AUDIENCE, &["JWT"]), now()).unwrap().into_inner()
    }
}

/// Who signed a request, as the gateway says it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// `userArn`.
    pub arn: String,
    /// `caller` and `user`.
    pub caller: String,
    /// `accountId`.
    pub account: String,
    /// `principalOrgId`.
    pub organization: String,
}

impl Signed {
    /// A session of `role` in [`ACCOUNT`].
    #[must_use]
    pub fn session(role: &str, session: &str) -> Self {
        Self {
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}"),
            caller: format!("AROAEXAMPLEEXAMPLE123:{session}"),
            account: ACCOUNT.to_owned(),
            organization: ORGANIZATION.to_owned(),
        }
    }

    /// Somebody with this ARN and unique id, in [`ACCOUNT`].
    #[must_use]
    pub fn arn(arn: &str, caller: &str) -> Self {
        Self {
            arn: arn.to_owned(),
            caller: caller.to_owned(),
            account: ACCOUNT.to_owned(),
            organization: ORGANIZATION.to_owned(),
        }
    }
}

/// `POST /token` as a REST API sends it.
#[must_use]
pub fn rest_event(signed: &Signed) -> Value {
    json!({
        "resource": "/token", "path": "/token", "httpMethod": "POST",
        "headers": {"Host": "issuer.example"}, "multiValueHeaders": {"Host": ["issuer.example"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": null, "stageVariables": null,
        "requestContext": {
            "resourceId": "abc", "resourcePath": "/token", "httpMethod": "POST", "path": "/v1/token",
            "accountId": "999900001111", "apiId": "a1b2c3", "stage": "v1", "protocol": "HTTP/1.1",
            "requestId": "11111111-1111-4111-8111-111111111111", "extendedRequestId": "EXTENDED=",
            "identity": {
                "cognitoIdentityPoolId": null, "accountId": signed.account, "cognitoIdentityId": null, "caller": signed.caller,
                "sourceIp": "192.0.2.1", "principalOrgId": signed.organization, "accessKey": "ASIAEXAMPLE",
                "cognitoAuthenticationType": null, "cognitoAuthenticationProvider": null, "userArn": signed.arn,
                "userAgent": "curl", "user": signed.caller,
            },
        },
        "body": null, "isBase64Encoded": false,
    })
}

/// `POST /token` as an HTTP API sends it.
#[must_use]
pub fn http_event(signed: &Signed) -> Value {
    json!({
        "version": "2.0", "routeKey": "POST /token", "rawPath": "/v1/token", "rawQueryString": "",
        "headers": {"host": "issuer.example"},
        "requestContext": {
            "accountId": "999900001111", "apiId": "a1b2c3", "stage": "v1", "requestId": "id=",
            "domainName": "issuer.example", "time": "22/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_348_800_000_i64,
            "http": {"method": "POST", "path": "/v1/token", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"},
            "authorizer": {"iam": {
                "accessKey": "ASIAEXAMPLE", "accountId": signed.account, "callerId": signed.caller, "cognitoIdentity": null,
                "principalOrgId": signed.organization, "userArn": signed.arn, "userId": signed.caller,
            }},
        },
        "isBase64Encoded": false,
    })
}

/// Status and JSON body of a proxy answer.
#[must_use]
pub fn answer(response: &Value) -> (u64, Value) {
    let body = response["body"].as_str().unwrap_or_default();
    (response["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}
