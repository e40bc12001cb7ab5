//! `doctor` against a good issuer and verifier, and against broken ones.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, sha256_hex, verify};
use token_testkit::keys;

use super::stub::{Answer, Request, Stub};
use super::tokens::{Tokens, claims, key_set, signed};
use super::{json, now, run, text};

const AUDIENCE: &str = "https://api.example.com";

/// What an issuer serves; a test breaks one thing.
#[derive(Clone)]
struct Served {
    issuer: Option<String>,
    key_set: String,
    cache_control: String,
    etag: bool,
    date_offset_s: i64,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            issuer: None,
            key_set: key_set().to_public_json(),
            cache_control: "public, max-age=300".to_owned(),
            etag: true,
            date_offset_s: 0,
        }
    }
}

/// How a verifier judges a bearer token.
type Judge = dyn Fn(&str, &str) -> bool + Send + Sync;

fn issuer(served: Served, judge: Arc<Judge>) -> Stub {
    let url = Arc::new(Mutex::new(String::new()));
    let own = Arc::clone(&url);
    let stub = Stub::start(move |request| answer(&served, &own.lock().unwrap(), &*judge, request));
    *url.lock().unwrap() = stub.url();
    stub
}

fn answer(served: &Served, url: &str, judge: &Judge, request: &Request) -> Answer {
    let issuer = served.issuer.clone().unwrap_or_else(|| url.to_owned());
    match request.path.as_str() {
        "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
            Answer::json(200, &json!({"issuer": issuer, "jwks_uri": format!("{url}/jwks.json")}))
        }
        "/jwks.json" => {
            let tag = format!("\"{}\"", sha256_hex(served.key_set.as_bytes()));
            let date = now().checked_add(jiff::SignedDuration::from_secs(served.date_offset_s)).unwrap();
            let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
            let same = request.header("if-none-match") == Some(&tag);
            let mut answer = Answer::new(if same && served.etag { 304 } else { 200 }, &served.key_set)
                .header("content-type", "application/json")
                .header("cache-control", &served.cache_control)
                .header("date", date);
            if served.etag {
                answer = answer.header("etag", tag);
            }
            answer
        }
        "/resource" => match request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if judge(token, url) => Answer::new(200, "{}"),
            _ => Answer::new(401, ""),
        },
        _ => Answer::new(404, ""),
    }
}

/// The project's own strict verification.
fn strict() -> Arc<Judge> {
    Arc::new(|token, issuer| verify(token, &key_set(), &Expectation::new(issuer, AUDIENCE, &["JWT"]), now()).is_ok())
}

fn probes(answer: &Value, outcome: &str) -> Vec<String> {
    let all = answer["probes"].as_array().unwrap().iter();
    all.filter(|probe| probe["outcome"] == outcome).map(|probe| probe["name"].as_str().unwrap().to_owned()).collect()
}

/// Every probe, with a token and a verifier.
fn examine(stub: &Stub, more: &[&str], code: i32) -> Value {
    let tokens = Tokens::new();
    let token = tokens.write("token.jwt", &signed(&claims(&stub.url())));
    let verifier = format!("{}/resource", stub.url());
    let url = stub.url();
    let arguments = ["doctor", &url, "--token-file", text(&token), "--audience", AUDIENCE, "--verify-url", &verifier];
    json(&[&arguments[..], more].concat(), code)
}

#[test]
fn a_good_issuer_and_a_strict_verifier_pass() {
    let stub = issuer(Served::default(), strict());
    let tokens = Tokens::new();
    let mut old = claims(&stub.url());
    for name in ["iat", "nbf", "exp"] {
        old[name] = json!(now().as_second() - 5_000);
    }
    let mut other = claims(&stub.url());
    other["aud"] = json!("https://other.example");
    let (old, other) = (tokens.write("old.jwt", &signed(&old)), tokens.write("other.jwt", &signed(&other)));
    let more = ["--expired-token-file", text(&old), "--other-audience-token-file", text(&other)];
    let answer = examine(&stub, &more, 0);
    assert_eq!(answer["healthy"], true);
    assert_eq!(probes(&answer, "failed"), Vec::<String>::new());
    let ok = probes(&answer, "ok");
    for name in [
        "issuer-name",
        "key-set",
        "cache-control",
        "etag",
        "clock",
        "key-set-steady",
        "no-private-member",
        "kid-is-thumbprint",
        "alg-and-use",
        "token",
        "accepts-the-token",
        "refuses-alg-none",
        "refuses-tampered-signature",
        "refuses-hs256-public-pem",
        "refuses-foreign-kid",
        "refuses-embedded-jwk",
        "refuses-expired",
        "refuses-wrong-audience",
    ] {
        assert!(ok.contains(&name.to_owned()), "{name}: {answer}");
    }
    assert_eq!(probes(&answer, "skipped"), ["tls", "refuses-not-yet-valid", "refuses-wrong-issuer"]);

    let url = stub.url();
    let outside = run(&["doctor", &url]);
    assert_eq!(outside.code, 0, "{outside:?}");
    assert!(outside.out.contains("skipped  token") && outside.out.contains("0 failed"), "{outside:?}");
}

#[test]
fn each_fault_of_an_issuer_is_found() {
    let good = key_set().to_public_json();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut set: Value = serde_json::from_str(&good).unwrap();
        change(&mut set);
        Served { key_set: set.to_string(), ..Served::default() }
    };
    let cases: Vec<(&str, Served, &str)> = vec![
        (
            "issuer-name",
            Served { issuer: Some("https://evil.example".to_owned()), ..Served::default() },
            "evil.example",
        ),
        ("cache-control", Served { cache_control: "no-store".to_owned(), ..Served::default() }, "no-store"),
        ("cache-control", Served { cache_control: "public, max-age=0".to_owned(), ..Served::default() }, "above 0"),
        ("cache-control", Served { cache_control: "public".to_owned(), ..Served::default() }, "max-age"),
        ("etag", Served { etag: false, ..Served::default() }, "strong ETag"),
        ("clock", Served { date_offset_s: -300, ..Served::default() }, "-300"),
        ("kid-is-thumbprint", with(&|set| set["keys"][0]["kid"] = json!("key-1")), "key-1"),
        ("no-private-member", with(&|set| set["keys"][0]["d"] = json!("c2VjcmV0")), "withdraw"),
        ("alg-and-use", with(&|set| drop(set["keys"][0].as_object_mut().unwrap().remove("alg"))), "alg"),
        ("alg-and-use", with(&|set| set["keys"][0]["use"] = json!("enc")), "sig"),
        ("no-bookkeeping", with(&|set| set["min_generation"] = json!(3)), "min_generation"),
        (
            "kid-is-thumbprint",
            with(&|set| {
                let key = set["keys"][0].clone();
                set["keys"].as_array_mut().unwrap().push(key);
            }),
            "once",
        ),
        ("key-set-form", with(&|set| set["keys"] = json!([])), "0 of 0"),
        ("key-set-form", Served { key_set: "<html>".to_owned(), ..Served::default() }, "JSON"),
    ];
    for (name, served, words) in cases {
        let stub = issuer(served, strict());
        let url = stub.url();
        let answer = json(&["doctor", &url], 1);
        let failed = answer["probes"].as_array().unwrap().iter().find(|probe| probe["name"] == name);
        let failed = failed.unwrap_or_else(|| panic!("{name}: {answer}"));
        assert_eq!(failed["outcome"], "failed", "{name}: {answer}");
        assert!(failed["detail"].as_str().unwrap().contains(words), "{name}: {failed}");
        assert!(!answer.to_string().contains("c2VjcmV0"), "{answer}");
    }
    let gone = json(&["doctor", "http://127.0.0.1:9"], 1);
    assert_eq!(probes(&gone, "ok"), Vec::<String>::new(), "{gone}");
}

fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn each_fault_of_a_verifier_is_found() {
    let careless: Vec<(&str, Arc<Judge>)> = vec![
        ("refuses-alg-none", Arc::new(|token, issuer| strict()(token, issuer) || part(token, 0)["alg"] == "none")),
        (
            "refuses-hs256-public-pem",
            Arc::new(|token, issuer| strict()(token, issuer) || part(token, 0)["alg"] == "HS256"),
        ),
        (
            "refuses-embedded-jwk",
            Arc::new(|token, issuer| strict()(token, issuer) || part(token, 0).get("jwk").is_some()),
        ),
        ("refuses-foreign-kid", {
            let own = keys::signer(Algorithm::Es256).public_key().kid().to_string();
            Arc::new(move |token, issuer| strict()(token, issuer) || part(token, 0)["kid"] != own.as_str())
        }),
        (
            "refuses-tampered-claims",
            Arc::new(|token, issuer| strict()(token, issuer) || part(token, 1)["sub"] != "alice"),
        ),
        ("refuses-no-signature", Arc::new(|token, issuer| strict()(token, issuer) || token.ends_with('.'))),
        ("refuses-tampered-signature", Arc::new(|token, _| part(token, 0)["alg"] == "ES256")),
    ];
    for (name, judge) in careless {
        let stub = issuer(Served::default(), judge);
        let answer = examine(&stub, &[], 1);
        assert!(probes(&answer, "failed").contains(&name.to_owned()), "{name}: {answer}");
    }
    // One that refuses everything proves nothing.
    let stub = issuer(Served::default(), Arc::new(|_, _| false));
    let answer = examine(&stub, &[], 1);
    assert_eq!(probes(&answer, "failed"), ["accepts-the-token"], "{answer}");
    assert!(probes(&answer, "skipped").contains(&"refuses-forgeries".to_owned()), "{answer}");
    // A stranger's token is told apart before any forgery.
    let tokens = Tokens::new();
    let stub = issuer(Served::default(), strict());
    let token = tokens.write("token.jwt", &signed(&claims("https://evil.example")));
    let url = stub.url();
    let answer = json(&["doctor", &url, "--token-file", text(&token), "--audience", AUDIENCE], 1);
    assert_eq!(probes(&answer, "failed"), ["token"], "{answer}");
}
