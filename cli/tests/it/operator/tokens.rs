//! `verify`, `inspect`, `exchange`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use token_jose::{Algorithm, KeySet, PublishedKey, base64url, sign_compact};
use token_testkit::keys;

use super::stub::{Answer, Stub};
use super::{Run, command, json, now, run, run_with_input, text};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example.com";

pub(crate) struct Tokens {
    pub(crate) folder: TempDir,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let tokens = Self { folder: tempfile::tempdir().unwrap() };
        tokens.write("jwks.json", &key_set().to_public_json());
        tokens
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn key_set() -> KeySet {
    KeySet::new([PublishedKey::new(keys::signer(Algorithm::Es256).public_key().clone())], 0)
}

pub(crate) fn claims(issuer: &str) -> Value {
    let now = now().as_second();
    json!({"iss": issuer, "sub": "alice", "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 900, "jti": "1"})
}

pub(crate) fn signed(claims: &Value) -> String {
    let signer = keys::signer(Algorithm::Es256);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(sign_compact(&*signer, "JWT", claims.to_string().as_bytes())).unwrap().into_string()
}

#[test]
fn a_token_is_verified_or_the_reason_is_said() {
    let tokens = Tokens::new();
    let jwks = tokens.path("jwks.json");
    let token = signed(&claims(ISSUER));
    let file = tokens.write("token.jwt", &format!("{token}\n"));
    let base = ["verify", "--jwks", text(&jwks), "--issuer", ISSUER, "--audience", AUDIENCE];
    let good = json(&[&base[..], &["--file", text(&file)]].concat(), 0);
    assert_eq!((&good["verified"], &good["claims"]["sub"]), (&json!(true), &json!("alice")));
    assert_eq!(run_with_input(&base, &token).code, 0);
    assert_eq!(run_with_input(&[&base[..], &["-"]].concat(), &token).code, 0);

    let mut expired = claims(ISSUER);
    expired["exp"] = json!(now().as_second() - 61);
    let mut other = claims(ISSUER);
    other["aud"] = json!("https://other.example");
    let stranger = {
        let signer = keys::other(Algorithm::Es256);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let claims = claims(ISSUER).to_string();
        runtime.block_on(sign_compact(&*signer, "JWT", claims.as_bytes())).unwrap().into_string()
    };
    let (head, _) = token.rsplit_once('.').unwrap();
    for (token, code) in [
        (signed(&expired), "expired"),
        (signed(&other), "audience"),
        (signed(&claims("https://evil.example")), "issuer"),
        (stranger, "unknown_kid"),
        (format!("{head}.{}", base64url(&[0; 64])), "signature"),
        ("not-a-token".to_owned(), "malformed"),
    ] {
        let file = tokens.write("bad.jwt", &token);
        let answer = json(&[&base[..], &["--file", text(&file)]].concat(), 1);
        assert_eq!((&answer["verified"], &answer["code"]), (&json!(false), &json!(code)), "{answer}");
        assert!(!answer.to_string().contains(&token), "{answer}");
    }
    let later = now().checked_add(jiff::SignedDuration::from_secs(2_000)).unwrap().to_string();
    assert_eq!(json(&[&base[..], &["--file", text(&file), "--at", &later]].concat(), 1)["code"], "expired");
    let empty = tokens.write("empty.jwt", "\n");
    assert_eq!(run(&[&base[..], &["--file", text(&empty)]].concat()).code, 65);
    let leaking = tokens.write("leak.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    let leak =
        run_with_input(&["verify", "--jwks", text(&leaking), "--issuer", ISSUER, "--audience", AUDIENCE], &token);
    assert_eq!(leak.code, 65);
    assert!(leak.err.contains("private member") && !leak.err.contains("c2VjcmV0"), "{leak:?}");
}

#[test]
fn the_key_set_is_found_by_discovery_and_only_that_of_the_very_issuer() {
    let named = Arc::new(std::sync::Mutex::new(String::new()));
    let answer = Arc::clone(&named);
    let stub = Stub::start(move |request| {
        let issuer = answer.lock().unwrap().clone();
        match request.path.as_str() {
            "/.well-known/openid-configuration" => {
                Answer::json(200, &json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}))
            }
            "/keys" => Answer::new(200, key_set().to_public_json()),
            _ => Answer::new(404, ""),
        }
    });
    *named.lock().unwrap() = stub.url();
    let token = signed(&claims(&stub.url()));
    let url = stub.url();
    let arguments = ["verify", "--issuer", url.as_str(), "--audience", AUDIENCE];
    assert_eq!(run_with_input(&arguments, &token).code, 0);
    *named.lock().unwrap() = "https://evil.example".to_owned();
    let refused = run_with_input(&arguments, &token);
    assert_eq!(refused.code, 65, "{refused:?}");
    assert!(refused.err.contains("evil.example"), "{refused:?}");
    let gone = ["verify", "--issuer", "http://127.0.0.1:9", "--audience", AUDIENCE];
    assert_eq!(run_with_input(&gone, &token).code, 75, "an outage is no verdict");
    let clear = ["verify", "--issuer", "http://issuer.example", "--audience", AUDIENCE];
    assert_eq!(run_with_input(&clear, &token).code, 64, "keys never travel in clear");
}

#[test]
fn a_foreign_issuer_is_judged_by_its_own_rules_when_asked() {
    let tokens = Tokens::new();
    let signer = keys::signer(Algorithm::Rs256);
    let mut jwk = signer.public_key().to_jwk();
    jwk["kid"] = json!("key-1");
    let jwks = tokens.write("foreign.json", &json!({"keys": [jwk]}).to_string());
    let input = format!(
        "{}.{}",
        base64url(br#"{"alg":"RS256","kid":"key-1"}"#),
        base64url(claims("https://accounts.example").to_string().as_bytes())
    );
    let token = format!("{input}.{}", base64url(&signer.sign_now(input.as_bytes()).unwrap()));
    let base = ["verify", "--jwks", text(&jwks), "--issuer", "https://accounts.example", "--audience", AUDIENCE];
    let foreign = [&base[..], &["--foreign", "--algorithm", "RS256"]].concat();
    assert_eq!(run_with_input(&foreign, &token).code, 0);
    let other = [&base[..], &["--foreign", "--algorithm", "ES256"]].concat();
    assert_eq!(run_with_input(&other, &token).code, 1);
    assert_eq!(run_with_input(&base, &token).code, 65, "its key set is not one of ours");
}

#[test]
fn inspect_believes_nothing_and_keeps_the_signature() {
    let mut claims = claims(ISSUER);
    claims["note"] = json!("\u{1b}[2Jred\u{9b}31m");
    let token = signed(&claims);
    let run = run_with_input(&["inspect"], &token);
    assert_eq!(run.code, 0);
    assert!(run.out.starts_with("UNVERIFIED"), "{run:?}");
    assert!(run.out.contains("exp: ") && run.out.contains("in 14m"), "{run:?}");
    assert!(!run.out.contains('\u{1b}') && !run.out.contains('\u{9b}'), "a token cannot drive the terminal: {run:?}");
    let signature = token.rsplit('.').next().unwrap();
    let answer = run_with_input(&["inspect", "--output", "json"], &token).json(0);
    for shown in [&run.out, &answer.to_string()] {
        assert!(!shown.contains(signature) && !shown.contains(token.split('.').nth(1).unwrap()), "{shown}");
    }
    assert_eq!((&answer["verified"], &answer["claims"]["sub"]), (&json!(false), &json!("alice")));
    for bad in ["a.b", "a.b.c.d.e", "x", "e30.bm90LWpzb24.AA", "e30.W10.AA"] {
        assert_eq!(run_with_input(&["inspect"], bad).code, 65, "{bad}");
    }
}

#[test]
fn the_projected_token_is_exchanged_and_read_again_each_time() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&attempts);
    let stub = Stub::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(503, "").header("retry-after", "1"),
        1 => Answer::json(200, &json!({"access_token": "aaa.bbb.ccc", "token_type": "Bearer", "expires_in": 600})),
        _ => Answer::json(
            400,
            &json!({"error": "invalid_request", "error_description": "the subject token has expired"}),
        ),
    });
    let tokens = Tokens::new();
    let (subject, out) = (tokens.write("sa", "first.token.x"), tokens.path("out/token.jwt"));
    let url = format!("{}/token", stub.url());
    let arguments = [
        "exchange",
        &url,
        "--token-file",
        text(&subject),
        "--output-path",
        text(&out),
        "--audience",
        AUDIENCE,
        "--output",
        "json",
    ];
    let answer = Run::of(command(&arguments).output().unwrap()).json(0);
    assert_eq!((&answer["expires_in"], &answer["path"]), (&json!(600), &json!(text(&out))));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "aaa.bbb.ccc");
    let asked = stub.requests();
    assert_eq!(asked.len(), 2, "503 is tried again");
    assert!(
        asked[1].body.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"),
        "{asked:?}"
    );
    assert!(asked[1].body.contains("subject_token=first.token.x"));

    std::fs::write(&subject, "second.token.y").unwrap();
    let refused = Run::of(command(&arguments).output().unwrap()).json(1);
    assert_eq!(refused["error"]["error"], "invalid_request");
    assert!(stub.requests()[2].body.contains("subject_token=second.token.y"));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "aaa.bbb.ccc", "the old token stays");
    std::fs::remove_file(&subject).unwrap();
    let missing = Run::of(command(&arguments).output().unwrap()).json(65);
    assert!(missing["error"]["message"].as_str().unwrap().contains("expected a token in"), "{missing}");
    assert_eq!(stub.requests().len(), 3, "our own problem is not the server's");
}
