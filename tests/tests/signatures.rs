//! Signature Version 4 at the gateway: what curl and botocore sign is taken, and nothing that somebody changed on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use e2e::clients::Script;
use e2e::wire::Captured;
use serde_json::{Value, json};
use token_testkit::{Curl, Gateway, GatewayOptions, GatewayPrincipal, Reply};

const MISSING: (&str, &str) = ("MissingAuthenticationTokenException", "Missing Authentication Token");
const MISMATCH: (&str, &str) = (
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and \
     signing method. Consult the service documentation for details.",
);
const UNKNOWN_KEY: (&str, &str) =
    ("UnrecognizedClientException", "The security token included in the request is invalid.");

fn gateway() -> Gateway {
    Gateway::start(&GatewayOptions { algorithm: Some("EdDSA".to_owned()), ..GatewayOptions::default() })
}

fn workload(gateway: &Gateway) -> &GatewayPrincipal {
    &gateway.principals()[1]
}

/// API Gateway's own 403: its error type and a message that begins so.
fn assert_forbidden(what: &str, reply: &Reply, (error_type, message): (&str, &str)) {
    assert_eq!(reply.status, 403, "{what}: {}", reply.text());
    assert_eq!(reply.header("x-amzn-errortype"), Some(error_type), "{what}: {}", reply.text());
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["message"], "{what}: API Gateway's shape");
    let said = body["message"].as_str().unwrap();
    assert!(said.starts_with(message), "{what}: expected {message:?}, found {said:?}");
    assert!(reply.header("x-amzn-requestid").is_some(), "{what}");
}

#[test]
fn who_has_not_the_key_gets_no_further() {
    let gateway = gateway();
    let url = format!("{}/token", gateway.url());
    let GatewayPrincipal { access_key_id: id, secret_access_key: secret, .. } = workload(&gateway);
    let signed =
        |key: (&str, &str), token, region, service| Curl::post(&url).signed(key, token, region, service).send();
    let (region, service) = (gateway.region(), "execute-api");
    assert_eq!(signed((id, secret), None, region, service).status, 200);

    assert_forbidden("no signature", &Curl::post(&url).send(), MISSING);
    assert_forbidden("a wrong secret", &signed((id, "wrong"), None, region, service), MISMATCH);
    let lower = secret.to_ascii_lowercase();
    assert_forbidden("a secret in another case", &signed((id, &lower), None, region, service), MISMATCH);
    let others = &gateway.principals()[0].secret_access_key;
    assert_forbidden("another's secret", &signed((id, others), None, region, service), MISMATCH);
    let unknown = signed(("AKIAUNKNOWN00EXAMPLE", secret), None, region, service);
    assert_forbidden("an unknown key", &unknown, UNKNOWN_KEY);
    let token = signed((id, secret), Some("FwoGZXIvYXdzEXAMPLE"), region, service);
    assert_forbidden("a session token of nobody", &token, UNKNOWN_KEY);
    let scope = |message| ("InvalidSignatureException", message);
    assert_forbidden(
        "another region",
        &signed((id, secret), None, "us-east-1", service),
        scope("Credential should be scoped to a valid region: 'eu-west-1'."),
    );
    assert_forbidden(
        "another service",
        &signed((id, secret), None, region, "lambda"),
        scope("Credential should be scoped to correct service: 'execute-api'."),
    );
    for (what, value, message) in [
        ("a bearer token", "Bearer eyJhbGciOiJub25lIn0.e30.", "Authorization header requires 'Credential' parameter."),
        ("basic credentials", "Basic dXNlcjpwYXNzd29yZA==", "Authorization header requires 'Credential' parameter."),
        (
            "an empty signature",
            "AWS4-HMAC-SHA256 Credential=a/20261122/eu-west-1/execute-api/aws4_request, SignedHeaders=host, \
          Signature=",
            "Authorization header requires 'Signature' parameter.",
        ),
        (
            "a short scope",
            "AWS4-HMAC-SHA256 Credential=a/20261122, SignedHeaders=host, Signature=0",
            "Credential must have exactly 5",
        ),
        (
            "another algorithm",
            "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
            "Authorization header requires",
        ),
    ] {
        let reply = Curl::post(&url).header("Authorization", value).header("X-Amz-Date", "20261122T000000Z").send();
        assert_forbidden(what, &reply, ("IncompleteSignatureException", message));
    }
    let presigned = format!("{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={id}&X-Amz-Signature=0");
    assert_forbidden("a signature in the query", &Curl::post(&presigned).send(), MISSING);
}

#[test]
fn a_signature_is_for_one_request() {
    let gateway = gateway();
    let (principal, url) = (workload(&gateway), gateway.url());
    let post = |path: &str| Curl::post(&format!("{url}{path}")).signed_by(principal, gateway.region());
    let signed = Captured::from(post("/token").json(&json!({"expires_in": 600})));
    assert_eq!(signed.send(url).status, 200, "as it was captured");

    for (what, changed) in [
        ("another body", signed.replace("600", "900")),
        ("no body", signed.replace("{\"expires_in\":600}", "").replace("Content-Length: 18", "Content-Length: 0")),
        ("a query", signed.replace("/token HTTP", "/token?expires_in=900 HTTP")),
        ("an empty query name", signed.replace("/token HTTP", "/token?= HTTP")),
        ("another host", signed.replace("Host: 127.0.0.1", "Host: issuer.example")),
        (
            "another date of the same day",
            signed.replace(signed.header("X-Amz-Date"), &later(signed.header("X-Amz-Date"))),
        ),
        ("another's access key", signed.replace(&principal.access_key_id, &gateway.principals()[0].access_key_id)),
        ("fewer signed headers", signed.replace("SignedHeaders=content-type;host", "SignedHeaders=host")),
        ("another content type", signed.replace("application/json", "application/x-www-form-urlencoded")),
        ("a declared hash of something else", signed.with_header(&format!("X-Amz-Content-Sha256: {}", "0".repeat(64)))),
        ("an unsigned body", signed.with_header("X-Amz-Content-Sha256: UNSIGNED-PAYLOAD")),
    ] {
        assert_forbidden(what, &changed.send(url), MISMATCH);
    }
    let header = |name: &str| format!("{name}: {}", signed.header(name));
    for (what, changed, expected) in [
        ("no authorization", signed.without_header("Authorization"), MISSING),
        (
            "no date",
            signed.without_header("X-Amz-Date"),
            ("IncompleteSignatureException", "Authorization header requires existence of"),
        ),
        (
            "two authorizations",
            signed.with_header(&header("Authorization")),
            ("IncompleteSignatureException", "Request must carry at most one"),
        ),
        (
            "two dates",
            signed.with_header(&header("X-Amz-Date")),
            ("IncompleteSignatureException", "Request must carry at most one"),
        ),
        (
            "two hosts",
            signed.with_header("Host: issuer.example"),
            ("IncompleteSignatureException", "Request must carry at most one"),
        ),
        ("another method", signed.replace("POST /token", "GET /token"), MISSING),
        ("a path beside it", signed.replace("/token HTTP", "/token/ HTTP"), MISSING),
        ("an encoded path", signed.replace("/token HTTP", "/%74oken HTTP"), MISSING),
    ] {
        assert_forbidden(what, &changed.send(url), expected);
    }

    let elsewhere = Captured::from(post("/other").json(&json!({})));
    assert_forbidden("signed for another path", &elsewhere.replace("/other HTTP", "/token HTTP").send(url), MISMATCH);
    let query = Captured::from(post("/token?a=1&b=2"));
    assert_eq!(query.send(url).status, 200, "a query is signed, and means nothing");
    assert_eq!(query.replace("a=1&b=2", "b=2&a=1").send(url).status, 200, "the same query in another order");
    assert_forbidden("another query", &query.replace("a=1", "a=2").send(url), MISMATCH);
    assert_forbidden("without its query", &query.replace("?a=1&b=2", "").send(url), MISMATCH);
    let get = Captured::from(Curl::get(&format!("{url}/token")).signed_by(principal, gateway.region()));
    assert_forbidden("signed for another method", &get.replace("GET /token", "POST /token").send(url), MISMATCH);
}

/// A second later or earlier on the same day.
fn later(date: &str) -> String {
    let digit = date.as_bytes()[14];
    format!("{}{}Z", &date[..14], char::from(if digit == b'0' { b'1' } else { digit - 1 }))
}

#[test]
fn a_session_token_belongs_to_its_key_and_to_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("principals.json");
    let session = |name: &str, key: &str, token: &str| {
        json!({"name": name, "arn": format!("arn:aws:sts::111122223333:assumed-role/etl-{name}/s1"),
            "caller": "AROAEXAMPLEEXAMPLE123:s1", "account_id": "111122223333", "organization_id": "o-exampleorg1",
            "access_key_id": key, "secret_access_key": "protects/nothing", "session_token": token})
    };
    let principals = json!([
        session("one", "ASIAONE000000EXAMPLE", "token/of+one=="),
        session("two", "ASIATWO000000EXAMPLE", "token/of+two==")
    ]);
    std::fs::write(&file, principals.to_string()).unwrap();
    let options =
        GatewayOptions { principals: Some(file), algorithm: Some("EdDSA".to_owned()), ..GatewayOptions::default() };
    let gateway = Gateway::start(&options);
    let one = &gateway.principals()[0];
    assert_eq!(gateway.token_request(one).send().status, 200);

    let key = (one.access_key_id.as_str(), one.secret_access_key.as_str());
    let url = format!("{}/token", gateway.url());
    for (what, token) in
        [("no session token", None), ("another's", Some("token/of+two==")), ("part of it", Some("token/of+one"))]
    {
        let reply = Curl::post(&url).signed(key, token, gateway.region(), "execute-api").send();
        assert_forbidden(what, &reply, UNKNOWN_KEY);
    }
    let captured = Captured::from(gateway.token_request(one));
    assert_eq!(captured.send(gateway.url()).status, 200);
    let removed = captured.without_header("X-Amz-Security-Token").send(gateway.url());
    assert_forbidden("the session token taken off", &removed, UNKNOWN_KEY);

    for (name, library) in [("get_token.py", "botocore"), ("get_token.mjs", "aws4")] {
        let Some(script) = Script::find(name, library) else { continue };
        assert!(script.run(&[gateway.url()], Some(one)).unwrap().starts_with("eyJ"), "{name} sends it too");
    }
}

/// botocore signs at a time of our choice; curl has none.
#[test]
fn a_signature_is_for_ten_minutes_around_its_date() {
    const SIGN_AT: &str = r#"
import datetime, json, sys
import botocore.auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import Session

url, region, offset = sys.argv[1:]
at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=int(offset))
botocore.auth.get_current_datetime = lambda remove_tzinfo=True: at.replace(tzinfo=None) if remove_tzinfo else at
request = AWSRequest("POST", f"{url}/token")
SigV4Auth(Session().get_credentials(), "execute-api", region).add_auth(request)
assert request.headers["X-Amz-Date"] == at.strftime("%Y%m%dT%H%M%SZ"), "botocore has another clock now"
response = URLLib3Session().send(request.prepare())
print(json.dumps({"status": response.status_code, "type": response.headers.get("x-amzn-errortype"), "body": json.loads(response.text)}))
"#;
    let Some(script) = Script::python_lines(SIGN_AT, "botocore") else { return };
    let gateway = gateway();
    let sign_at = |offset: &str| -> Value {
        let said = script.run(&[gateway.url(), gateway.region(), offset], Some(workload(&gateway))).unwrap();
        serde_json::from_str(&said).unwrap()
    };
    for offset in ["0", "-240", "240"] {
        assert_eq!(sign_at(offset)["status"], 200, "{offset} s");
    }
    for (offset, message) in [
        ("-330", "Signature expired: "),
        ("-86400", "Signature expired: "),
        ("-315360000", "Signature expired: "),
        ("360", "Signature not yet current: "),
        ("86400", "Signature not yet current: "),
    ] {
        let reply = sign_at(offset);
        assert_eq!(
            (&reply["status"], &reply["type"]),
            (&json!(403), &json!("InvalidSignatureException")),
            "{offset} s"
        );
        let said = reply["body"]["message"].as_str().unwrap();
        assert!(said.starts_with(message) && said.ends_with(" 5 min.)"), "{offset} s: {said}");
    }
}
