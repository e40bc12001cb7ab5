//! The public documents: the real `jwks` binary given events as API Gateway sends them, and the same through the gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::path::PathBuf;
use std::time::Duration;

use e2e::{ISSUER, answer, now};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;
use token_jose::{Algorithm, KeySet, LocalSigner, PublishedKey};
use token_testkit::{Curl, Gateway, GatewayOptions, Lambda, wait_until};

const JWKS: &str = "/.well-known/jwks.json";
const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// How long a busy machine may take for what the Lambda does by itself within a second or two.
const SOON: Duration = Duration::from_secs(45);

/// A key set in a file, and the Lambda that serves it.
struct Published {
    folder: TempDir,
}

impl Published {
    fn new(keys: &KeySet) -> Self {
        let published = Self { folder: tempfile::tempdir().unwrap() };
        published.write(&keys.to_stored_json());
        published
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("jwks.json")
    }

    /// Replaces the file in one step, as a store does.
    fn write(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    fn lambda(&self, more: &[(&str, &str)]) -> Lambda {
        let location = format!("file:{}", self.file().display());
        let own = [("JWT_ISSUER_URL", ISSUER), ("JWKS", location.as_str())];
        Lambda::start("jwks", own.into_iter().chain(more.iter().copied()))
    }
}

fn key(algorithm: Algorithm) -> PublishedKey {
    PublishedKey::new(LocalSigner::generate(algorithm).unwrap().public_key().clone())
}

fn one_key() -> KeySet {
    KeySet::new([key(Algorithm::Es256)], 0)
}

/// An anonymous request as a REST API sends it.
fn rest(method: &str, path: &str, headers: &[(&str, &str)]) -> Value {
    let single: serde_json::Map<String, Value> = headers.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
    let multi: serde_json::Map<String, Value> = headers.iter().map(|(n, v)| ((*n).to_owned(), json!([v]))).collect();
    json!({
        "resource": "/.well-known/{document}", "path": path, "httpMethod": method,
        "headers": single, "multiValueHeaders": multi,
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": {"document": path.rsplit('/').next()}, "stageVariables": null,
        "requestContext": {
            "resourceId": "abc", "resourcePath": "/.well-known/{document}", "httpMethod": method, "path": format!("/v1{path}"),
            "accountId": "999900001111", "apiId": "a1b2c3", "stage": "v1", "protocol": "HTTP/1.1",
            "requestId": "11111111-1111-4111-8111-111111111111", "extendedRequestId": "EXTENDED=",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "curl", "userArn": null, "accountId": null, "caller": null, "user": null},
        },
        "body": null, "isBase64Encoded": false,
    })
}

/// An anonymous request as an HTTP API sends it, which leaves the stage in the path.
fn http(method: &str, path: &str, headers: &[(&str, &str)]) -> Value {
    let headers: serde_json::Map<String, Value> = headers.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
    json!({
        "version": "2.0", "routeKey": "GET /.well-known/{document}", "rawPath": format!("/v1{path}"), "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "999900001111", "apiId": "a1b2c3", "stage": "v1", "requestId": "id=",
            "domainName": "issuer.example", "domainPrefix": "issuer", "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_348_800_000_i64,
            "http": {"method": method, "path": format!("/v1{path}"), "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"},
        },
        "isBase64Encoded": false,
    })
}

fn header<'a>(response: &'a Value, name: &str) -> Option<&'a str> {
    let single = response["headers"].as_object().into_iter().flatten().map(|(name, value)| (name, value.as_str()));
    let multi = response["multiValueHeaders"].as_object().into_iter().flatten();
    let mut all = multi.map(|(name, values)| (name, values[0].as_str())).chain(single);
    all.find(|(found, _)| found.eq_ignore_ascii_case(name)).and_then(|(_, value)| value)
}

fn status(lambda: &Lambda) -> u64 {
    answer(&lambda.respond(&rest("GET", JWKS, &[]))).0
}

/// The kids of the key set, which must be served.
fn kids(lambda: &Lambda) -> Vec<String> {
    let (status, body) = answer(&lambda.respond(&rest("GET", JWKS, &[])));
    assert_eq!(status, 200, "{body}");
    body["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The answer while no key set may be served.
fn assert_refused(lambda: &Lambda, expected: u64) {
    for path in [JWKS, OPENID, OAUTH] {
        for event in [rest("GET", path, &[]), http("GET", path, &[]), rest("GET", path, &[("If-None-Match", "*")])] {
            let response = lambda.respond(&event);
            let (status, body) = answer(&response);
            assert_eq!(status, expected, "{path}: {body}");
            assert_eq!(header(&response, "cache-control"), Some("no-store"), "{path}");
            assert!(body["keys"].is_null() && body["error_description"].is_string(), "{path}: {body}");
            let retry_after = header(&response, "retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
            assert_eq!(retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)), expected == 503, "{path}");
        }
    }
}

/// Waits until a metric has this value in CloudWatch's embedded format.
fn wait_for_metric(lambda: &Lambda, name: &str, value: f64) {
    wait_until(&format!("the metric {name} = {value}"), SOON, || {
        let log = lambda.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| !line["_aws"].is_null() && line[name].as_f64() == Some(value)).then_some(())
    });
}

#[test]
fn caches_and_browsers_are_told_all_they_need_by_either_kind_of_api() {
    let keys = one_key();
    let published = Published::new(&keys);
    let lambda = published.lambda(&[("JWKS_MAX_AGE_SECONDS", "120"), ("STALE_IF_ERROR_SECONDS", "600")]);
    for event in [rest, http] {
        for path in [JWKS, OPENID, OAUTH] {
            let first = lambda.respond(&event("GET", path, &[]));
            let (status, body) = answer(&first);
            assert_eq!(status, 200, "{path}: {body}");
            assert_eq!(header(&first, "content-type"), Some("application/json"));
            assert_eq!(header(&first, "cache-control"), Some("public, max-age=120, stale-if-error=600"));
            assert_eq!(header(&first, "access-control-allow-origin"), Some("*"));
            let etag = header(&first, "etag").unwrap();
            assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 16, "a strong validator: {etag}");

            let again = lambda.respond(&event("GET", path, &[("If-None-Match", etag)]));
            assert_eq!(again["statusCode"], 304, "{path}");
            assert_eq!(again["body"].as_str().unwrap_or_default(), "");
            assert_eq!(header(&again, "etag"), Some(etag));
            assert_eq!(header(&again, "cache-control"), header(&first, "cache-control"));
            assert_eq!(lambda.respond(&event("GET", path, &[("If-None-Match", "\"other\"")]))["statusCode"], 200);

            let head = lambda.respond(&event("HEAD", path, &[]));
            assert_eq!((head["statusCode"].as_u64(), head["body"].as_str().unwrap_or_default()), (Some(200), ""));
            for name in ["etag", "cache-control", "content-type", "access-control-allow-origin"] {
                assert_eq!(header(&head, name), header(&first, name), "{path}: {name}");
            }

            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                let response = lambda.respond(&event(method, path, &[]));
                assert_eq!(
                    (response["statusCode"].as_u64(), header(&response, "allow")),
                    (Some(405), Some("GET, HEAD"))
                );
            }
        }
        assert_eq!(answer(&lambda.respond(&event("GET", "/.well-known/other", &[]))).0, 404);
        assert_eq!(answer(&lambda.respond(&event("GET", "/", &[]))).0, 404);
    }
    let (_, body) = answer(&lambda.respond(&rest("GET", JWKS, &[])));
    assert_eq!(KeySet::parse(body.to_string().as_bytes()).unwrap(), keys, "what is served is what was published");
}

#[test]
fn the_stage_may_stand_before_the_path_and_nothing_else_may() {
    let published = Published::new(&one_key());
    let lambda = published.lambda(&[]);
    for (path, expected) in [
        (JWKS.to_owned(), 200),
        (format!("/v1{JWKS}"), 200),
        (format!("/v2{JWKS}"), 404),
        (format!("/v1/v1{JWKS}"), 404),
    ] {
        assert_eq!(answer(&lambda.respond(&rest("GET", &path, &[]))).0, expected, "{path}");
    }
    let mut default_stage = http("GET", JWKS, &[]);
    default_stage["requestContext"]["stage"] = json!("$default");
    default_stage["rawPath"] = json!(JWKS);
    default_stage["requestContext"]["http"]["path"] = json!(JWKS);
    assert_eq!(answer(&lambda.respond(&default_stage)).0, 200);
}

#[test]
fn bookkeeping_stays_inside() {
    let mut kept = key(Algorithm::Rs256);
    kept.published_at = Some(now());
    kept.not_after = Some(now() + SignedDuration::from_hours(1));
    let published = Published::new(&KeySet::new([kept], 41));
    let response = published.lambda(&[]).respond(&rest("GET", JWKS, &[]));
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
    let mut members: Vec<&String> = body["keys"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
}

#[test]
fn a_changed_set_is_served_within_the_bounded_age() {
    let old = one_key();
    let published = Published::new(&old);
    let (quick, slow) = (published.lambda(&[("REFRESH_SECONDS", "1")]), published.lambda(&[]));
    let first = quick.respond(&rest("GET", JWKS, &[]));
    let etag = header(&first, "etag").unwrap();
    assert_eq!(kids(&slow), kids(&quick));

    let both = KeySet::new(old.entries().cloned().chain([key(Algorithm::EdDsa)]), 1);
    published.write(&both.to_stored_json());
    wait_until("the new key", SOON, || (kids(&quick).len() == 2).then_some(()));
    assert_eq!(
        quick.respond(&rest("GET", JWKS, &[("If-None-Match", etag)]))["statusCode"],
        200,
        "another set, another tag"
    );
    let (_, openid) = answer(&quick.respond(&rest("GET", OPENID, &[])));
    assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    // Read less than a minute ago: its store is not asked at every request.
    assert_eq!(kids(&slow).len(), 1);
}

#[test]
fn a_key_past_its_time_is_dropped_without_a_look_at_the_store() {
    let (mut old, kept) = (key(Algorithm::Es256), key(Algorithm::Es256));
    // Built now, so that the time below is spent on starting alone.
    let _ = token_testkit::binaries();
    old.not_after = Some(now() + SignedDuration::from_secs(10));
    let published = Published::new(&KeySet::new([old.clone(), kept.clone()], 0));
    let lambda = published.lambda(&[]);
    assert_eq!(kids(&lambda).len(), 2);
    wait_until("the end of the old key", SOON, || (kids(&lambda).len() == 1).then_some(()));
    assert!(old.not_after.unwrap() <= now(), "and not before its time");
    assert_eq!(kids(&lambda), [kept.key.kid().as_str()]);

    let expired = Published::new(&KeySet::new([old], 0));
    assert_refused(&expired.lambda(&[]), 503);
}

#[test]
fn while_the_store_fails_the_last_good_set_serves_for_a_bounded_time() {
    let keys = one_key();
    let published = Published::new(&keys);
    let lambda = published.lambda(&[("REFRESH_SECONDS", "1"), ("STALE_IF_ERROR_SECONDS", "6")]);
    let first = lambda.respond(&rest("GET", JWKS, &[]));
    assert_eq!(header(&first, "cache-control"), Some("public, max-age=300, stale-if-error=6"));

    std::fs::remove_file(published.file()).unwrap();
    let removed = now();
    let mut served = 0;
    wait_until("the end of the last good set", SOON, || {
        let status = status(&lambda);
        assert!(status == 200 || status == 503, "{status}");
        served += u32::from(status == 200);
        (status == 503).then_some(())
    });
    let after = now().duration_since(removed);
    assert!(served > 1 && after > SignedDuration::from_secs(3), "served {served} times, refused after {after}");
    wait_for_metric(&lambda, "LastGood", 1.0);
    wait_for_metric(&lambda, "Unavailable", 1.0);
    assert_refused(&lambda, 503);

    published.write(&keys.to_stored_json());
    wait_until("the set again", SOON, || (status(&lambda) == 200).then_some(()));
}

#[test]
fn a_set_that_is_damaged_later_does_not_replace_the_good_one() {
    let keys = one_key();
    let published = Published::new(&keys);
    let lambda = published.lambda(&[("REFRESH_SECONDS", "1")]);
    let before = kids(&lambda);
    for damaged in ["", "{\"keys\":", "[]", "{\"keys\":[{\"kty\":\"RSA\"}]}"] {
        published.write(damaged);
        std::thread::sleep(Duration::from_millis(1_100));
        assert_eq!(kids(&lambda), before, "{damaged}");
    }
    wait_until("a failed reading", SOON, || {
        assert_eq!(kids(&lambda), before);
        lambda.log().contains("reading failed").then_some(())
    });
    wait_for_metric(&lambda, "LastGood", 1.0);
}

#[test]
fn before_there_is_a_key_nothing_is_served_as_a_key_set() {
    let published = Published::new(&one_key());
    for text in [None, Some(r#"{"keys":[]}"#), Some("not JSON")] {
        match text {
            Some(text) => published.write(text),
            None => std::fs::remove_file(published.file()).unwrap(),
        }
        let lambda = published.lambda(&[("REFRESH_SECONDS", "1")]);
        assert_refused(&lambda, 503);
        // The first rotation publishes: nobody need deploy or restart anything.
        published.write(&one_key().to_stored_json());
        wait_until("the first set", SOON, || (status(&lambda) == 200).then_some(()));
    }
}

#[test]
fn a_private_member_is_never_served_and_raises_the_alarm() {
    const SECRET: &str = "c2VjcmV0LWhhbGYtb2YtYS1rZXktdGhhdC1sZWFrZWQ";
    let keys = one_key();
    let stored: Value = serde_json::from_str(&keys.to_stored_json()).unwrap();
    for member in ["d", "k", "p", "oth"] {
        let mut poisoned = stored.clone();
        poisoned["keys"][0][member] = json!(SECRET);
        let published = Published::new(&keys);

        published.write(&poisoned.to_string());
        let from_the_start = published.lambda(&[("REFRESH_SECONDS", "1")]);
        assert_refused(&from_the_start, 500);
        wait_for_metric(&from_the_start, "Poisoned", 1.0);

        published.write(&stored.to_string());
        let later = published.lambda(&[("REFRESH_SECONDS", "1")]);
        assert_eq!(kids(&later).len(), 1);
        published.write(&poisoned.to_string());
        wait_until("the refusal", SOON, || (status(&later) == 500).then_some(()));
        assert_refused(&later, 500);
        wait_for_metric(&later, "Poisoned", 1.0);

        published.write(&stored.to_string());
        wait_until("the mended set", SOON, || (status(&later) == 200).then_some(()));
        for lambda in [from_the_start, later] {
            assert!(!lambda.output().contains(SECRET), "the log does not repeat the leak");
        }
    }
}

#[test]
fn a_wrong_configuration_fails_the_init_with_every_problem() {
    let lambda = Lambda::start(
        "jwks",
        [
            ("JWT_ISSUER_URL", "https://issuer.example/"),
            ("JWKS", "file:/nonexistent"),
            ("JWKS_SSM_PARAM", "/jwks"),
            ("REFRESH_SECONDS", "61"),
            ("STALE_IF_ERROR_SECONDS", "3601"),
            ("JWKS_MAX_AGE_SECONDS", "a day"),
            ("LOG_LEVEL", "loud"),
        ],
    );
    let failure = lambda.started().unwrap_err();
    let text = failure.reported.expect("the runtime API is told");
    for (name, expected) in [
        ("JWT_ISSUER_URL: ", "without query, fragment or trailing slash"),
        ("JWKS, JWKS_SSM_PARAM: ", "expected one of them, found both"),
        ("REFRESH_SECONDS: ", "from 1 to 60"),
        ("STALE_IF_ERROR_SECONDS: ", "from 0 to 3600"),
        ("JWKS_MAX_AGE_SECONDS: ", "from 0 to 3600"),
        ("LOG_LEVEL: ", "error, warn, info, debug or trace"),
    ] {
        assert!(text.contains(name) && text.contains(expected), "{name}{expected} is missing in: {text}");
    }
}

#[test]
fn through_the_gateway_it_is_what_a_client_sees() {
    let gateway = Gateway::start(&GatewayOptions { algorithm: Some("ES256".to_owned()), ..GatewayOptions::default() });
    let keys = Curl::get(gateway.jwks_uri()).send();
    assert_eq!((keys.status, keys.header("content-type")), (200, Some("application/json")));
    assert_eq!(keys.header("access-control-allow-origin"), Some("*"));
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300, stale-if-error=3600"));
    assert_eq!(KeySet::parse(&keys.body).unwrap().len(), 2, "the signing key and its standby");

    let etag = keys.header("etag").unwrap();
    let again = Curl::get(gateway.jwks_uri()).header("If-None-Match", etag).send();
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    let head = Curl::new("HEAD", gateway.jwks_uri()).send();
    assert_eq!((head.status, head.text().as_str(), head.header("etag")), (200, "", Some(etag)));

    for path in [OPENID, OAUTH] {
        let metadata = Curl::get(&format!("{}{path}", gateway.url())).send().json();
        assert_eq!(metadata["issuer"], gateway.issuer(), "byte for byte: verifiers compare it so");
        assert_eq!(metadata["jwks_uri"], gateway.jwks_uri());
        assert_eq!(metadata["token_endpoint"], format!("{}/token", gateway.url()));
    }
    assert_eq!(Curl::get(&format!("{}/.well-known/other", gateway.url())).send().status, 404);
    for method in ["POST", "PUT", "DELETE"] {
        let reply = Curl::new(method, gateway.jwks_uri()).send();
        assert_eq!((reply.status, reply.json()), (403, json!({"message": "Missing Authentication Token"})), "{method}");
    }
}
