//! The whole issuer as a person starts it: curl through the real gateway to the real Lambda binaries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use e2e::local::{claims, gateway_with, options, principal};
use e2e::{AUDIENCE, Documents, MAPPING, answer, now};
use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, KeySet, verify};
use token_testkit::{Curl, Gateway, GatewayOptions, GatewayPrincipal, Lambda, Reply};

const SSO: &str = "AWSReservedSSO_Analyst_0123456789abcdef";

fn assert_no_token(what: &str, reply: &Reply) {
    let (text, body) = (reply.text(), reply.json());
    assert!(body["token"].is_null() && body["access_token"].is_null() && !text.contains("eyJ"), "{what}: {text}");
}

/// What the Lambda refuses comes with the decision's id.
fn assert_refused(what: &str, reply: &Reply, status: u16, error: &str) -> String {
    assert_no_token(what, reply);
    assert_eq!((reply.status, reply.json()["error"].as_str()), (status, Some(error)), "{what}: {}", reply.text());
    assert_eq!(
        (reply.header("cache-control"), reply.header("content-type")),
        (Some("no-store"), Some("application/json"))
    );
    let body = reply.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["decision_id", "error", "error_description"], "{what}");
    assert_eq!(body["decision_id"].as_str().unwrap().len(), 32, "{what}");
    body["error_description"].as_str().unwrap().to_owned()
}

/// What API Gateway refuses never reaches the Lambda.
fn assert_denied(what: &str, reply: &Reply, explicit: bool) {
    assert_no_token(what, reply);
    assert_eq!((reply.status, reply.header("x-amzn-errortype")), (403, Some("AccessDeniedException")), "{what}");
    let body = reply.json();
    let message = body["message"].as_str().unwrap();
    assert!(
        message
            .contains("is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:eu-west-1:")
    );
    assert_eq!(message.ends_with("with an explicit deny"), explicit, "{what}: {message}");
    assert!(body["decision_id"].is_null(), "{what}");
}

#[test]
fn two_samples_get_a_token_and_the_third_is_told_why_not() {
    let gateway = Gateway::start(&GatewayOptions::default());
    let [sso, workload, refused] = gateway.principals() else { panic!("three samples") };
    for (principal, subject, scope) in
        [(sso, "ALICE", "session:role:ANALYST"), (workload, "111122223333/ETL-NIGHTLY", "session:role:ETL")]
    {
        let reply = gateway.token_request(principal).send();
        let claims = claims(&gateway, &reply);
        assert_eq!((&claims["sub"], &claims["scp"]), (&json!(subject), &json!([scope])));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
        assert_eq!(
            (reply.header("cache-control"), reply.header("content-type")),
            (Some("no-store"), Some("application/json"))
        );
        let body = reply.json();
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        let expected =
            ["access_token", "decision_id", "expires_in", "issued_token_type", "scope", "token", "token_type"];
        assert_eq!(members, expected);
        assert_eq!(
            (&body["token"], &body["token_type"], &body["expires_in"]),
            (&body["access_token"], &json!("Bearer"), &json!(900))
        );
        assert_eq!(body["scope"], scope);
    }
    let first = claims(&gateway, &gateway.token_request(sso).send());
    let second = claims(&gateway, &gateway.token_request(sso).send());
    assert_ne!(first["jti"], second["jti"], "every token has an id of its own");
    let reason = assert_refused("the third", &gateway.token_request(refused).send(), 403, "access_denied");
    assert_eq!(reason, "no rule admits this caller");
}

#[test]
fn what_is_asked_for_is_granted_exactly_or_refused_with_the_reason() {
    let gateway = Gateway::start(&options());
    let workload = &gateway.principals()[1];
    let url = format!("{}/token", gateway.url());
    let request = || gateway.token_request(workload);
    let form = "application/x-www-form-urlencoded";

    let everything = json!({"audience": AUDIENCE, "scope": "session:role:ETL", "expires_in": 60});
    for (reply, lifetime) in [
        (request().json(&everything).send(), 60),
        (request().json(&json!({"expires_in": 1800})).send(), 1800),
        (request().body("application/json; charset=utf-8", "{}").send(), 900),
        (request().body(form, "expires_in=61&scope=session%3Arole%3AETL").send(), 61),
        (request().body(form, &format!("audience={AUDIENCE}")).send(), 900),
        (request().argument("--data-raw").argument("expires_in=62").send(), 62),
    ] {
        assert_eq!(reply.json()["expires_in"], lifetime, "{}", reply.text());
        let claims = claims(&gateway, &reply);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), lifetime);
        assert_eq!((&claims["aud"], &claims["scope"]), (&json!(AUDIENCE), &json!("session:role:ETL")));
    }
    let hour = gateway.token_request(&gateway.principals()[0]).json(&json!({"expires_in": 3600})).send();
    assert_eq!(hour.json()["expires_in"], 3600, "the built-in bound, where a rule has none of its own");

    let long = "x".repeat(8 * 1024);
    let json_body = |body: Value| request().json(&body);
    for (what, curl, status, error, said) in [
        ("too long", json_body(json!({"expires_in": 1801})), 400, "invalid_request", "60 to 1800 seconds, found 1801"),
        ("too short", json_body(json!({"expires_in": 59})), 400, "invalid_request", "60 to 1800 seconds, found 59"),
        ("zero", json_body(json!({"expires_in": 0})), 400, "invalid_request", "60 to 1800 seconds, found 0"),
        ("far too long", json_body(json!({"expires_in": u64::MAX})), 400, "invalid_request", "60 to 1800 seconds"),
        ("negative", json_body(json!({"expires_in": -60})), 400, "invalid_request", "whole number of seconds"),
        ("a fraction", json_body(json!({"expires_in": 60.5})), 400, "invalid_request", "whole number of seconds"),
        (
            "text for a number",
            json_body(json!({"expires_in": "60"})),
            400,
            "invalid_request",
            "whole number of seconds",
        ),
        (
            "another audience",
            json_body(json!({"audience": "https://other.example"})),
            400,
            "invalid_target",
            "https://other.example",
        ),
        (
            "the audience in another case",
            json_body(json!({"audience": AUDIENCE.to_uppercase()})),
            400,
            "invalid_target",
            "HTTPS://",
        ),
        (
            "two audiences",
            json_body(json!({"audience": [AUDIENCE, "x"]})),
            400,
            "invalid_request",
            "audience to be a string",
        ),
        (
            "another scope",
            json_body(json!({"scope": "session:role:ACCOUNTADMIN"})),
            400,
            "invalid_scope",
            "session:role:ACCOUNTADMIN",
        ),
        (
            "one scope too many",
            json_body(json!({"scope": "session:role:ETL session:role:ANALYST"})),
            400,
            "invalid_scope",
            "session:role:ANALYST",
        ),
        (
            "an unknown member",
            json_body(json!({"sub": "CEO"})),
            400,
            "invalid_request",
            "only the members audience, scope, expires_in, found 'sub'",
        ),
        ("an unknown field", request().body(form, "role=admin"), 400, "invalid_request", "found 'role'"),
        (
            "a member twice",
            request().body("application/json", r#"{"expires_in":60,"expires_in":1800}"#),
            400,
            "invalid_request",
            "JSON object",
        ),
        (
            "a field twice",
            request().body(form, "expires_in=60&expires_in=1800"),
            400,
            "invalid_request",
            "expires_in at most once",
        ),
        ("an array", request().body("application/json", "[]"), 400, "invalid_request", "JSON object"),
        (
            "half of an object",
            request().body("application/json", "{\"expires_in\""),
            400,
            "invalid_request",
            "JSON object",
        ),
        (
            "JSON under curl's own content type",
            request().argument("--data-raw").argument("{\"expires_in\":60}"),
            400,
            "invalid_request",
            "hint: send the header content-type: application/json (curl: -H 'content-type: application/json')",
        ),
        (
            "text",
            request().body("text/plain", "expires_in=60"),
            415,
            "invalid_request",
            "content-type application/json or application/x-www-form-urlencoded, or no body, found 'text/plain'",
        ),
        ("a body over 8 KiB", json_body(json!({"audience": long})), 413, "invalid_request", "at most 8192 bytes"),
        (
            "a form over 8 KiB",
            request().body(form, &format!("audience={long}")),
            413,
            "invalid_request",
            "at most 8192 bytes",
        ),
        (
            "a proof of possession without key and signature",
            request().header("DPoP", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30."),
            400,
            "invalid_dpop_proof",
            "expected alg RS256 or",
        ),
    ] {
        let description = assert_refused(what, &curl.send(), status, error);
        assert!(description.contains(said), "{what}: expected {said:?} in {description:?}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let reply = Curl::new(method, &url).signed_by(workload, gateway.region()).send();
        assert_eq!(
            (reply.status, reply.header("x-amzn-errortype")),
            (403, Some("MissingAuthenticationTokenException")),
            "{method}"
        );
    }
}

/// `arn`, `caller` and the rest go to the Lambda as they stand in the file.
#[test]
fn none_of_these_gets_a_token() {
    let arn = |arn: &str, caller: &str| json!({"arn": arn, "caller": caller});
    let long = "x".repeat(2_000);
    let long_role = format!("etl-{long}");
    let enough = format!("{}@example.com", "c".repeat(52));
    let hostile: Vec<(&str, &str, &str, Value)> = vec![
        ("a session that ends like an SSO role", "app", "ceo@AWSReservedSSO_", json!({})),
        ("an SSO role's name in the session", "app", SSO, json!({})),
        ("two at signs", SSO, "ceo@evil@example.com", json!({})),
        ("another mail domain", SSO, "ceo@evil.example", json!({})),
        ("a session of 64 characters", SSO, &enough, json!({})),
        ("an SSO role without its suffix", "AWSReservedSSO_Analyst", "ceo@example.com", json!({})),
        ("another permission set", "AWSReservedSSO_Admin_0123456789abcdef", "alice@example.com", json!({})),
        ("a role that no rule names", "intern", "s1", json!({})),
        ("nothing for the star", "etl-", "s1", json!({})),
        ("a look-alike letter", "еtl-nightly", "s1", json!({})),
        ("a full-width at sign", SSO, "ceo＠example.com", json!({})),
        ("a very long role", &long_role, "s1", json!({})),
        ("a very long session", "etl-nightly", &long, json!({})),
        ("an IAM user", "", "", arn("arn:aws:iam::111122223333:user/etl-nightly", "AIDAEXAMPLEEXAMPLE123")),
        ("root", "", "", arn("arn:aws:iam::111122223333:root", "111122223333")),
        (
            "a federated user",
            "",
            "",
            arn("arn:aws:sts::111122223333:federated-user/etl-nightly", "111122223333:etl-nightly"),
        ),
        (
            "a truncated ARN",
            "",
            "",
            arn("arn:aws:sts::111122223333:assumed-role/etl-nightly", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "extra colons",
            "",
            "",
            arn("arn:aws:sts::111122223333:assumed-role:etl-nightly:s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        ("extra slashes", "etl-nightly//s1", "s1", json!({})),
        ("no ARN", "", "", arn("etl-nightly", "AROAEXAMPLEEXAMPLE123:s1")),
        (
            "another partition",
            "",
            "",
            arn("arn:aws-cn:sts::111122223333:assumed-role/etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        ("another's unique id", "etl-nightly", "s1", json!({"caller": "AROAEXAMPLEEXAMPLE123:other"})),
        ("no unique id", "etl-nightly", "s1", json!({"caller": ""})),
        ("another account beside the ARN", "etl-nightly", "s1", json!({"account_id": "444455556666"})),
        (
            "the same role of another account",
            "",
            "",
            json!({"arn": "arn:aws:sts::444455556666:assumed-role/etl-nightly/s1",
            "caller": "AROAEXAMPLEEXAMPLE123:s1", "account_id": "444455556666"}),
        ),
        ("a line break", "etl-nightly", "s1\n", json!({})),
    ];
    let principals: Vec<Value> = hostile
        .iter()
        .enumerate()
        .map(|(number, (_, role, session, changes))| principal(number, role, session, changes))
        .collect();
    let gateway = gateway_with(&Value::Array(principals));
    for ((what, ..), principal) in hostile.iter().zip(gateway.principals()) {
        assert_refused(what, &gateway.token_request(principal).send(), 403, "access_denied");
    }
}

#[test]
fn an_empty_arn_is_no_identity() {
    let gateway = gateway_with(&json!([principal(0, "", "", &json!({"arn": "", "caller": "", "account_id": ""}))]));
    assert_refused("an empty ARN", &gateway.token_request(&gateway.principals()[0]).send(), 401, "invalid_client");
}

#[test]
fn the_resource_policy_answers_before_the_lambda() {
    let sso = |number: usize, changes: Value| principal(number, SSO, "alice@example.com", &changes);
    let gateway = gateway_with(&json!([
        sso(0, json!({})),
        sso(1, json!({"role_path": "/aws-reserved/sso.amazonaws.com/eu-west-1/"})),
        sso(2, json!({"role_path": "/"})),
        sso(3, json!({"role_path": "/aws-reserved/"})),
        sso(4, json!({"role_path": "/team/aws-reserved/sso.amazonaws.com/"})),
        principal(5, "xAWSReservedSSO_y", "ceo@example.com", &json!({})),
        principal(6, "etl-nightly", "s1", &json!({"organization_id": "o-exampleorg2"})),
        principal(7, "etl-nightly", "s1", &json!({"organization_id": ""})),
        principal(8, "etl-nightly", "s1", &json!({"organization_id": "aws:PrincipalOrgID"})),
        principal(9, "etl-nightly", "s1", &json!({"organization_id": "o-exampleorg1", "role_path": "/any/path/"})),
    ]));
    for (number, outcome) in
        [Some("ALICE"), Some("ALICE"), None, None, None, None, None, None, None, Some("111122223333/ETL-NIGHTLY")]
            .into_iter()
            .enumerate()
    {
        let reply = gateway.token_request(&gateway.principals()[number]).send();
        match outcome {
            Some(subject) => assert_eq!(claims(&gateway, &reply)["sub"], subject, "number {number}"),
            None => assert_denied(&format!("number {number}"), &reply, number < 6),
        }
    }
}

#[test]
fn the_organization_is_the_one_asked_for() {
    let gateway = Gateway::start(&GatewayOptions { organization_id: Some("o-another0001".to_owned()), ..options() });
    let workload = &gateway.principals()[1];
    assert_eq!(workload.organization_id.as_deref(), Some("o-another0001"), "the samples are in it");
    assert_eq!(gateway.token_request(workload).send().status, 200);
}

#[test]
fn recorded_events_replay_and_hold_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("not/there/yet");
    let principals = folder.path().join("principals.json");
    let session = principal(0, "etl-nightly", "s1", &json!({"session_token": "FwoGZXIvYXdzEXAMPLE"}));
    std::fs::write(&principals, json!([session]).to_string()).unwrap();
    let options = GatewayOptions { record: Some(records.clone()), principals: Some(principals), ..options() };
    let gateway = Gateway::start(&options);
    let signer = &gateway.principals()[0];
    assert_eq!(gateway.token_request(signer).json(&json!({"expires_in": 300})).send().status, 200);
    assert_eq!(Curl::get(gateway.jwks_uri()).send().status, 200);
    let unsigned = Curl::post(&format!("{}/token", gateway.url())).send();
    assert_eq!(unsigned.status, 403);

    let mut names: Vec<String> =
        std::fs::read_dir(&records).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0001-token.json", "0002-well-known.json"], "what is not admitted becomes no event");
    let text = std::fs::read_to_string(records.join("0001-token.json")).unwrap();
    for credential in
        ["AWS4-HMAC-SHA256", "Authorization", "authorization", "FwoGZXIvYXdzEXAMPLE", &signer.secret_access_key]
    {
        assert!(!text.contains(credential), "{credential} is in {text}");
    }

    let documents = Documents::new(&[Algorithm::Rs256], MAPPING);
    let issuer = Lambda::start("jwt-issuer", documents.environment());
    let (status, body) = answer(&issuer.respond(&serde_json::from_str(&text).unwrap()));
    assert_eq!((status, &body["expires_in"]), (200, &json!(300)), "{body}");
    assert_eq!(documents.verified(body["token"].as_str().unwrap())["sub"], "111122223333/ETL-NIGHTLY");
}

#[test]
fn many_callers_at_once_each_get_their_own() {
    let count = 12;
    let principals = (0..count).map(|number| principal(number, &format!("etl-{number}"), "s1", &json!({})));
    let gateway = gateway_with(&Value::Array(principals.collect()));
    let keys = KeySet::parse(&Curl::get(gateway.jwks_uri()).send().body).unwrap();
    std::thread::scope(|scope| {
        for (number, principal) in gateway.principals().iter().enumerate() {
            let (gateway, keys) = (&gateway, &keys);
            scope.spawn(move || {
                for _ in 0..3 {
                    let body = gateway.token_request(principal).send().json();
                    let expectation = Expectation::new(gateway.issuer(), AUDIENCE, &["JWT"]);
                    let verified = verify(body["token"].as_str().unwrap(), keys, &expectation, now()).unwrap();
                    assert_eq!(verified.get("sub").unwrap(), &format!("111122223333/ETL-{number}"));
                }
            });
        }
    });
}

#[test]
fn a_principal_of_a_file_signs_with_its_own_key_only() {
    let gateway =
        gateway_with(&json!([principal(0, "etl-one", "s1", &json!({})), principal(1, "etl-two", "s1", &json!({}))]));
    let [one, two] = gateway.principals() else { panic!("two") };
    let mixed = GatewayPrincipal { secret_access_key: two.secret_access_key.clone(), ..one.clone() };
    assert_eq!(gateway.token_request(&mixed).send().header("x-amzn-errortype"), Some("InvalidSignatureException"));
    let samples = ("AKIANIGHTLY00EXAMPLE", "protects/nothing/nightly/00/EXAMPLESECRET");
    let url = format!("{}/token", gateway.url());
    let reply = Curl::post(&url).signed(samples, None, gateway.region(), "execute-api").send();
    assert_eq!(reply.header("x-amzn-errortype"), Some("UnrecognizedClientException"), "a file replaces the samples");
}
