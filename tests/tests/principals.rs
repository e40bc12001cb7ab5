//! Who gets a token and who does not: the real `jwt-issuer` binary, given events as API Gateway sends them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::sync::LazyLock;

use e2e::{ACCOUNT, AUDIENCE, Documents, MAPPING, Signed, answer, http_event, rest_event};
use serde_json::{Value, json};
use token_jose::Algorithm;
use token_testkit::Lambda;

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| Documents::new(&[Algorithm::Rs256], MAPPING));

const SSO: &str = "AWSReservedSSO_Analyst_0123456789abcdef";

fn issuer() -> Lambda {
    Lambda::start("jwt-issuer", DOCUMENTS.environment())
}

fn subject(lambda: &Lambda, event: &Value) -> String {
    let (status, body) = answer(&lambda.respond(event));
    assert_eq!(status, 200, "{body}");
    DOCUMENTS.verified(body["token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
}

#[test]
fn those_whom_a_rule_names_get_their_own_subject() {
    let lambda = issuer();
    assert_eq!(subject(&lambda, &rest_event(&Signed::session(SSO, "alice@example.com"))), "ALICE");
    assert_eq!(
        subject(&lambda, &rest_event(&Signed::session("etl-nightly", "i-0ab1af6b52934bea1"))),
        "111122223333/ETL-NIGHTLY"
    );
    let at_64 = "x".repeat(64);
    assert_eq!(
        subject(&lambda, &rest_event(&Signed::session("etl-nightly", &at_64))),
        "111122223333/ETL-NIGHTLY",
        "a session name that may be cut is in no subject of a role"
    );
    assert_eq!(subject(&lambda, &http_event(&Signed::session("etl-nightly", "s1"))), "111122223333/ETL-NIGHTLY");
}

#[test]
fn a_token_says_all_it_must_and_no_more() {
    let lambda = issuer();
    let mut event = rest_event(&Signed::session("etl-nightly", "s1"));
    event["body"] = json!("{\"expires_in\": 1800}");
    event["multiValueHeaders"]["Content-Type"] = json!(["application/json"]);
    let response = lambda.respond(&event);
    let (status, body) = answer(&response);
    assert_eq!(status, 200, "{body}");
    assert_eq!(response["headers"]["cache-control"], "no-store");
    let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
    members.sort();
    let expected = ["access_token", "decision_id", "expires_in", "issued_token_type", "scope", "token", "token_type"];
    assert_eq!(members, expected);
    assert_eq!(
        (&body["token"], &body["token_type"], &body["expires_in"]),
        (&body["access_token"], &json!("Bearer"), &json!(1800))
    );
    let claims = DOCUMENTS.verified(body["token"].as_str().unwrap());
    let mut names: Vec<&String> = claims.keys().collect();
    names.sort();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "scp", "sub"]);
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(claims["scp"], json!(["session:role:ETL"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 1800);
}

/// Each of these tries to be somebody else, or somebody at all.
#[test]
fn nobody_else_gets_a_token() {
    let lambda = issuer();
    let long = "x".repeat(2_000);
    let hostile: Vec<(&str, Signed)> = vec![
        ("a session that ends like an SSO role", Signed::session("app", "ceo@AWSReservedSSO_")),
        ("an SSO role's name in the session", Signed::session("app", SSO)),
        ("a role that contains the SSO prefix", Signed::session("xAWSReservedSSO_y", "ceo@example.com")),
        ("a prefix before a whole SSO role", Signed::session(&format!("x{SSO}"), "ceo@example.com")),
        ("an SSO role without its suffix", Signed::session("AWSReservedSSO_Analyst", "ceo@example.com")),
        (
            "an SSO role with a short suffix",
            Signed::session("AWSReservedSSO_Analyst_0123456789abcde", "ceo@example.com"),
        ),
        ("an SSO role with a long suffix", Signed::session(&format!("{SSO}0"), "ceo@example.com")),
        (
            "an SSO role with an upper-case suffix",
            Signed::session("AWSReservedSSO_Analyst_0123456789ABCDEF", "ceo@example.com"),
        ),
        ("an SSO role in another case", Signed::session("awsreservedsso_Analyst_0123456789abcdef", "ceo@example.com")),
        ("another permission set", Signed::session("AWSReservedSSO_Admin_0123456789abcdef", "alice@example.com")),
        ("two at signs", Signed::session(SSO, "ceo@evil@example.com")),
        ("another mail domain", Signed::session(SSO, "ceo@evil.com")),
        ("a mail domain that ends like ours", Signed::session(SSO, "ceo@evil-example.com")),
        ("a mail domain in another case", Signed::session(SSO, "ceo@EXAMPLE.COM.evil.com")),
        ("no mail domain", Signed::session(SSO, "ceo")),
        ("no local part", Signed::session(SSO, "@example.com")),
        ("a session that may be cut", Signed::session(SSO, &format!("{}@example.com", "c".repeat(52)))),
        ("a role that no rule names", Signed::session("intern", "s1")),
        ("a role with nothing for the star", Signed::session("etl-", "s1")),
        ("an empty session", Signed::session("etl-nightly", "")),
        ("a session with a slash", Signed::session("etl-nightly", "a/b")),
        ("a role with a path", Signed::session("path/etl-nightly", "s1")),
        ("a session with a colon", Signed::session("etl-nightly", "a:b")),
        ("a look-alike letter", Signed::session("еtl-nightly", "s1")),
        ("a full-width at sign", Signed::session(SSO, "ceo＠example.com")),
        ("a very long session", Signed::session("etl-nightly", &long)),
        ("a very long role", Signed::session(&format!("etl-{long}"), "s1")),
        ("an IAM user", Signed::arn("arn:aws:iam::111122223333:user/etl-nightly", "AIDAEXAMPLEEXAMPLE123")),
        (
            "an IAM user on an SSO path",
            Signed::arn(
                &format!("arn:aws:iam::111122223333:user/aws-reserved/sso.amazonaws.com/{SSO}"),
                "AIDAEXAMPLEEXAMPLE123",
            ),
        ),
        ("root", Signed::arn("arn:aws:iam::111122223333:root", ACCOUNT)),
        (
            "a federated user",
            Signed::arn("arn:aws:sts::111122223333:federated-user/etl-nightly", "111122223333:etl-nightly"),
        ),
        (
            "a role ARN, not a session",
            Signed::arn("arn:aws:iam::111122223333:role/etl-nightly", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "another partition",
            Signed::arn("arn:aws-cn:sts::111122223333:assumed-role/etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "another service",
            Signed::arn("arn:aws:iam::111122223333:assumed-role/etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "a region in the ARN",
            Signed::arn("arn:aws:sts:eu-west-1:111122223333:assumed-role/etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "a truncated ARN",
            Signed::arn("arn:aws:sts::111122223333:assumed-role/etl-nightly", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        ("a more truncated ARN", Signed::arn("arn:aws:sts::1111", "AROAEXAMPLEEXAMPLE123:s1")),
        (
            "extra colons",
            Signed::arn("arn:aws:sts::111122223333:assumed-role:etl-nightly:s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "extra slashes",
            Signed::arn("arn:aws:sts::111122223333:assumed-role//etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1"),
        ),
        (
            "a line break",
            Signed::arn("arn:aws:sts::111122223333:assumed-role/etl-nightly/s1\n", "AROAEXAMPLEEXAMPLE123:s1\n"),
        ),
        (
            "an ARN in upper case",
            Signed::arn("ARN:AWS:STS::111122223333:ASSUMED-ROLE/ETL-NIGHTLY/S1", "AROAEXAMPLEEXAMPLE123:S1"),
        ),
        ("no ARN at all", Signed::arn("etl-nightly", "AROAEXAMPLEEXAMPLE123:s1")),
        (
            "the account of the request differs",
            Signed { account: "444455556666".to_owned(), ..Signed::session("etl-nightly", "s1") },
        ),
        (
            "the caller's session differs",
            Signed { caller: "AROAEXAMPLEEXAMPLE123:other".to_owned(), ..Signed::session("etl-nightly", "s1") },
        ),
        (
            "the caller is a user's id",
            Signed { caller: "AIDAEXAMPLEEXAMPLE123".to_owned(), ..Signed::session("etl-nightly", "s1") },
        ),
        (
            "an account that no rule names",
            Signed {
                account: "444455556666".to_owned(),
                ..Signed::arn("arn:aws:sts::444455556666:assumed-role/etl-nightly/s1", "AROAEXAMPLEEXAMPLE123:s1")
            },
        ),
        (
            "an account outside the directory",
            Signed {
                account: "777788889999".to_owned(),
                ..Signed::arn(
                    &format!("arn:aws:sts::777788889999:assumed-role/{SSO}/alice@example.com"),
                    "AROAEXAMPLEEXAMPLE123:alice@example.com",
                )
            },
        ),
        (
            "another organization",
            Signed { organization: "o-otherother1".to_owned(), ..Signed::session("etl-nightly", "s1") },
        ),
        ("no organization", Signed { organization: String::new(), ..Signed::session("etl-nightly", "s1") }),
        (
            "the literal of HTTP APIs",
            Signed { organization: "aws:PrincipalOrgID".to_owned(), ..Signed::session("etl-nightly", "s1") },
        ),
    ];
    for (what, signed) in &hostile {
        for event in [rest_event(signed), http_event(signed)] {
            let (status, body) = answer(&lambda.respond(&event));
            assert_eq!((status, body["error"].as_str()), (403, Some("access_denied")), "{what}: {body}");
            assert_eq!(body["decision_id"].as_str().map(str::len), Some(32), "{what}: {body}");
            assert!(body["token"].is_null() && body["access_token"].is_null(), "{what}");
        }
    }
}

#[test]
fn an_sso_user_of_an_http_api_gets_nothing_since_nobody_checked_the_role_path() {
    let lambda = issuer();
    let (status, body) = answer(&lambda.respond(&http_event(&Signed::session(SSO, "alice@example.com"))));
    assert_eq!((status, body["error"].as_str()), (403, Some("access_denied")), "{body}");
}

#[test]
fn no_identity_is_401_and_no_token_request_is_told_so() {
    let lambda = issuer();
    let good = rest_event(&Signed::session("etl-nightly", "s1"));
    let change = |pointer: &str, value: Value| {
        let mut event = good.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    for (event, expected, code) in [
        (change("/requestContext/identity/userArn", Value::Null), 401, "invalid_client"),
        (change("/requestContext/identity/userArn", json!("")), 401, "invalid_client"),
        (change("/requestContext/identity/caller", Value::Null), 403, "access_denied"),
        (change("/requestContext/identity/accountId", Value::Null), 403, "access_denied"),
        (change("/requestContext/identity/user", json!("AROAEXAMPLEEXAMPLE123:other")), 403, "access_denied"),
        (change("/requestContext/stage", json!("test-invoke-stage")), 403, "access_denied"),
        (change("/path", json!("/tokens")), 404, "not_found"),
        (change("/path", json!("/v1/token")), 200, ""),
        (change("/httpMethod", json!("GET")), 405, "invalid_request"),
        (change("/multiValueHeaders", json!({"DPoP": ["x"]})), 400, "invalid_dpop_proof"),
        (json!({"version": "1.0"}), 400, "invalid_request"),
        (json!({}), 400, "invalid_request"),
    ] {
        let (status, body) = answer(&lambda.respond(&event));
        assert_eq!(status, expected, "{body}");
        if expected != 200 {
            assert_eq!(body["error"], code);
        }
    }
}

#[test]
fn a_header_or_body_never_says_who_the_caller_is() {
    let lambda = issuer();
    let mut event = rest_event(&Signed::session("etl-nightly", "s1"));
    event["multiValueHeaders"] = json!({
        "X-Amzn-Iam-Arn": ["arn:aws:iam::111122223333:root"], "X-Forwarded-User": ["ceo"], "Authorization": ["Bearer x"],
    });
    event["queryStringParameters"] = json!({"sub": "CEO", "userArn": "arn:aws:iam::111122223333:root"});
    assert_eq!(subject(&lambda, &event), "111122223333/ETL-NIGHTLY");
}

#[test]
fn every_decision_is_one_log_line_and_nothing_secret_is_in_it() {
    let lambda = issuer();
    let (_, issued) = answer(&lambda.respond(&rest_event(&Signed::session("etl-nightly", "s1"))));
    let (_, refused) = answer(&lambda.respond(&rest_event(&Signed::session("intern", "s1"))));
    let log = token_testkit::wait_until("both decisions in the log", std::time::Duration::from_secs(5), || {
        let log = lambda.log();
        (log.matches("\"decision_id\"").count() >= 2).then_some(log)
    });
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let decision = |id: &Value| {
        let found: Vec<&Value> = lines.iter().filter(|line| line["decision_id"] == *id).collect();
        assert_eq!(found.len(), 1, "one line per decision");
        found[0].clone()
    };
    let line = decision(&issued["decision_id"]);
    assert_eq!(line["outcome"], "issued");
    assert_eq!(line["principal"], "arn:aws:sts::111122223333:assumed-role/etl-nightly/s1");
    assert_eq!(line["rule"], "etl workers");
    assert_eq!(line["request_id"], "EXTENDED=", "the id that a client cannot choose");
    assert_eq!(line["mapping_sha256"], token_jose::sha256_hex(MAPPING.as_bytes()));
    let token = issued["token"].as_str().unwrap();
    assert_eq!(line["token_sha256"], token_jose::sha256_hex(token.as_bytes()));
    let line = decision(&refused["decision_id"]);
    assert_eq!((&line["outcome"], &line["code"]), (&json!("refused"), &json!("no_rule")));
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("analysts") && reason.contains("etl workers"), "a reason per rule: {reason}");
    assert!(!log.contains(token.rsplit('.').next().unwrap()), "no token in the log");
    let ring = std::fs::read_to_string(DOCUMENTS.path("ring.json")).unwrap();
    let ring: Value = serde_json::from_str(&ring).unwrap();
    for key in ring["keys"].as_array().unwrap() {
        assert!(!log.contains(&key["private"]["pkcs8"].as_str().unwrap()[..40]), "no key in the log");
    }
    let metrics: Vec<&Value> = lines.iter().filter(|line| !line["_aws"].is_null()).collect();
    assert!(metrics.iter().any(|line| line["Issued"] == 1.0 && line["SignLatency"].as_f64().is_some()));
    assert!(metrics.iter().any(|line| line["Refused"] == 1.0 && line["reason"] == "no_rule"));
    for gauge in ["RingAge", "MappingAge", "KeyDaysLeft"] {
        assert!(metrics.iter().any(|line| line[gauge].as_f64().is_some()), "{gauge}");
    }
}

#[test]
fn an_http_api_is_refused_while_no_organization_is_set() {
    let environment = DOCUMENTS.environment().into_iter().filter(|(name, _)| name != "ORGANIZATION_ID");
    let lambda = Lambda::start("jwt-issuer", environment);
    let signed = Signed::session("etl-nightly", "s1");
    assert_eq!(answer(&lambda.respond(&http_event(&signed))).0, 403);
    assert_eq!(answer(&lambda.respond(&rest_event(&Signed { organization: String::new(), ..signed }))).0, 200);
}

#[test]
fn api_and_stage_are_pinned_when_given() {
    let pins = [("API_ID", "a1b2c3"), ("STAGE", "v1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let lambda = Lambda::start("jwt-issuer", DOCUMENTS.environment().into_iter().chain(pins));
    let good = rest_event(&Signed::session("etl-nightly", "s1"));
    assert_eq!(answer(&lambda.respond(&good)).0, 200);
    for pointer in ["/requestContext/apiId", "/requestContext/stage"] {
        let mut event = good.clone();
        *event.pointer_mut(pointer).unwrap() = json!("other");
        assert_eq!(answer(&lambda.respond(&event)).0, 403, "{pointer}");
    }
}

#[test]
fn a_wrong_configuration_fails_the_init_with_every_problem() {
    let lambda = Lambda::start(
        "jwt-issuer",
        [
            ("JWT_ISSUER_URL", "http://issuer.example/"),
            ("KEY_RING", "inline:{}"),
            ("SSO_PATH_ENFORCED", "yes"),
            ("ORGANIZATION_ID", "aws:PrincipalOrgID"),
            ("REFRESH_SECONDS", "301"),
        ],
    );
    let failure = lambda.started().unwrap_err();
    let text = failure.reported.expect("the runtime API is told");
    for name in
        ["JWT_ISSUER_URL", "KEY_RING", "JWKS", "MAPPING", "SSO_PATH_ENFORCED", "ORGANIZATION_ID", "REFRESH_SECONDS"]
    {
        assert!(text.contains(&format!("{name}:")), "{name} is missing in: {text}");
    }
}
