//! Settings and events, without a store.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_issuance::SourceError;
use token_issuance::rotation::{LocalKeyMaker, Rotation};
use token_jose::{Algorithm, KeyRing, KeySet, LocalSigner, PublishedKey, RingPolicy};
use token_shell::{Clock, LogLevel, MapVars, OsIds, Problems};
use token_testkit::{MemoryIssuers, MemoryPublished, MemorySecret, at, run_to_end};

use super::*;

const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf";
const TOKEN: &str = "11111111-0000-4000-8000-000000000001";

fn vars(extra: &[(&str, &str)]) -> MapVars {
    let base = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("SIGNING_KEY_SECRET_ARN", SECRET),
        ("JWKS_SSM_PARAM", "/jwt-issuer/jwks"),
    ];
    base.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn problems(extra: &[(&str, &str)]) -> String {
    let mut problems = Problems::default();
    let config = Config::read(&vars(extra), &mut problems);
    assert_eq!(config.rotation.is_some(), problems.is_empty(), "{problems}");
    problems.to_string()
}

#[test]
fn what_the_module_sets_is_enough() {
    assert_eq!(problems(&[]), "");
    assert_eq!(problems(&[("ALGORITHMS", "ES256, RS256"), ("ROTATION_INTERVAL_SECONDS", "604800")]), "");
}

#[test]
fn all_problems_are_reported_together() {
    let found = problems(&[
        ("KEY_RING", "secretsmanager:ring"),
        ("JWKS_SSM_PARAM", ""),
        ("JWKS", "file:/tmp/jwks.json"),
        ("ALGORITHMS", "RS256,none"),
        ("ROTATION_INTERVAL_SECONDS", "86400"),
        ("RETENTION_SECONDS", "soon"),
        ("AWS_REGION", ""),
    ]);
    for part in [
        "KEY_RING, SIGNING_KEY_SECRET_ARN",
        "JWKS: expected ssm:NAME, found \"file\"",
        "ALGORITHMS: expected RS256",
        "policy.interval: expected interval > lead, found 86400 <= 86400",
        "RETENTION_SECONDS: expected a whole number of seconds, found \"soon\"",
        "AWS_REGION",
    ] {
        assert!(found.contains(part), "{part} is not in:\n{found}");
    }
}

#[test]
fn kms_is_for_what_it_can_sign() {
    assert_eq!(problems(&[("KEY_STORE", "kms"), ("ALGORITHMS", "RS256,ES384"), ("KMS_SIGNS_PER_SECOND", "50")]), "");
    let found = problems(&[("KEY_STORE", "kms"), ("ALGORITHMS", "EdDSA"), ("KMS_SIGNS_PER_SECOND", "0")]);
    assert!(found.contains("found \"EdDSA\"") && found.contains("KMS_SIGNS_PER_SECOND"), "{found}");
    assert!(problems(&[("KEY_STORE", "hsm")]).contains("KEY_STORE: expected ring or kms"));
}

#[test]
fn a_pasted_key_is_not_shown_and_an_algorithm_stands_once() {
    let found = problems(&[("SIGNING_KEY_SECRET_ARN", ""), ("KEY_RING", "-----BEGIN PRIVATE KEY-----MIIEvQIBADANBg")]);
    assert!(found.contains("KEY_RING: expected secretsmanager:ARN") && !found.contains("MIIE"), "{found}");
    assert!(problems(&[("ALGORITHMS", "RS256,RS256")]).contains("each once"));
    assert!(problems(&[("SIGNING_KEY_SECRET_ARN", "arn:aws:s3:::x")]).contains("KEY_RING: expected the ARN"));
}

/// 20 seconds after the clock's time, in milliseconds since 1970.
const LATER: u64 = 1_795_305_620_000;

struct Stand {
    secret: MemorySecret,
    published: MemoryPublished,
    issuers: Option<MemoryIssuers>,
    metrics: Metrics,
}

/// Shared lines of metrics.
#[derive(Clone, Default)]
struct Metrics(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Metrics {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Metrics {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A clock that stands.
struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        at("2026-11-22T00:00:00Z")
    }
}

impl Stand {
    fn new() -> Self {
        let secret = MemorySecret::new();
        let published = MemoryPublished::beside(&secret);
        Self { secret, published, issuers: None, metrics: Metrics::default() }
    }

    fn config(&self) -> Config {
        let rotation = Rotation::new(
            Arc::new(self.secret.clone()),
            Arc::new(self.published.clone()),
            Arc::new(LocalKeyMaker),
            vec![Algorithm::EdDsa],
            RingPolicy::default(),
        );
        let rotation = match &self.issuers {
            Some(issuers) => rotation.with_issuers(Arc::new(issuers.clone())),
            None => rotation,
        };
        Config { log_level: LogLevel::default(), secret: Some(SECRET.to_owned()), rotation: Some(rotation) }
    }

    fn clock() -> Box<dyn Clock> {
        Box::new(Midnight)
    }

    fn rotation(&self) -> RotationApp {
        let metrics = Box::new(self.metrics.clone());
        RotationApp::new(self.config(), Problems::default(), Self::clock(), metrics).unwrap()
    }

    fn withdrawal(&self) -> WithdrawApp {
        let metrics = Box::new(self.metrics.clone());
        WithdrawApp::new(self.config(), Problems::default(), Self::clock(), Box::new(OsIds), metrics).unwrap()
    }
}

fn event(step: &str) -> Vec<u8> {
    json!({"SecretId": SECRET, "ClientRequestToken": TOKEN, "Step": step, "RotationToken": "x"})
        .to_string()
        .into_bytes()
}

#[test]
fn the_four_steps_make_a_ring_and_its_metrics() {
    let stand = Stand::new();
    stand.secret.start_rotation(TOKEN).unwrap();
    let app = stand.rotation();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        run_to_end(app.handle(&event(step))).unwrap();
        let lines = stand.metrics.lines();
        assert_eq!((lines.len(), &lines[0]["step"], &lines[0]["StepFailed"]), (2, &json!(step), &json!(0.0)));
        let ours = if step == "createSecret" { 0 } else { 2 };
        let text = stand.published.text();
        assert_eq!(text.map_or(0, |text| text.matches("\"kid\"").count()), ours);
        assert_eq!(lines[1]["ForeignKeys"], json!(0.0));
        assert_eq!(lines[1]["KeyDaysLeft"], json!(30.0));
    }
    KeyRing::parse(&stand.secret.value(TOKEN).unwrap()).unwrap();
}

#[test]
fn an_event_for_another_secret_or_of_another_shape_is_refused_and_touches_nothing() {
    let stand = Stand::new();
    stand.secret.start_rotation(TOKEN).unwrap();
    let app = stand.rotation();
    let other = json!({"SecretId": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:other", "ClientRequestToken": TOKEN, "Step": "createSecret"});
    let short = json!({"SecretId": SECRET, "ClientRequestToken": "../x\n", "Step": "createSecret"});
    let step = json!({"SecretId": SECRET, "ClientRequestToken": TOKEN, "Step": "dropSecret\n"});
    for (event, code) in [
        (other.to_string(), "other_secret"),
        (short.to_string(), "event"),
        (step.to_string(), "event"),
        ("{}".to_owned(), "event"),
        ("[]".to_owned(), "event"),
        (json!({"withdraw": "all"}).to_string(), "event"),
    ] {
        let failure = run_to_end(app.handle(event.as_bytes())).unwrap_err();
        assert_eq!(failure.code(), code, "{failure}");
        let diagnostic = Diagnostic::from(failure);
        assert_eq!(diagnostic.error_type, format!("KeyRotation.{code}"));
        assert!(!diagnostic.error_message.contains('\n') && !diagnostic.error_message.contains("other-"));
        let lines = stand.metrics.lines();
        assert_eq!((lines.len(), &lines[0]["step"], &lines[0]["StepFailed"]), (1, &json!("none"), &json!(1.0)));
    }
    assert!(stand.secret.script().calls().is_empty(), "no store was called");
}

#[test]
fn a_failed_step_is_counted_and_may_be_run_again() {
    let stand = Stand::new();
    let app = stand.rotation();
    let failure = run_to_end(app.handle(&event("createSecret"))).unwrap_err();
    assert_eq!(failure.code(), "setup", "{failure}");
    assert_eq!(stand.metrics.lines()[0]["StepFailed"], json!(1.0));
    stand.secret.start_rotation(TOKEN).unwrap();
    run_to_end(app.handle(&event("createSecret"))).unwrap();
}

#[test]
fn the_issuer_is_named_with_its_alias_or_not_at_all() {
    let both = [("ISSUER_FUNCTION_NAME", "dev-issuer"), ("ISSUER_FUNCTION_ALIAS", "live")];
    assert_eq!(problems(&both), "");
    assert!(problems(&both[..1]).contains("ISSUER_FUNCTION_ALIAS: expected both or none"));
    for wrong in [("ISSUER_FUNCTION_NAME", "arn:aws:lambda:x"), ("ISSUER_FUNCTION_ALIAS", "7")] {
        let found = problems(&[both[0], both[1], wrong]);
        assert!(found.contains(wrong.0) && found.contains("hint"), "{found}");
    }
}

#[test]
fn warm_issuers_are_replaced_and_a_failure_of_that_does_not_hide_the_withdrawal() {
    let issuers = MemoryIssuers::default();
    let stand = Stand { issuers: Some(issuers.clone()), ..Stand::new() };
    stand.secret.start_rotation(TOKEN).unwrap();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        run_to_end(stand.rotation().handle(&event(step))).unwrap();
    }
    let app = stand.withdrawal();
    assert_eq!(run_to_end(app.handle(b"{}", LATER)).unwrap_err().code(), "event");
    assert!(issuers.runs().is_empty(), "nothing was withdrawn");
    let withdraw = |deadline| run_to_end(app.handle(br#"{"withdraw": "all"}"#, deadline)).unwrap();
    assert_eq!(withdraw(LATER)["issuers"], json!({"outcome": "recycled", "from": "1", "to": "2"}));
    let denied =
        SourceError::Denied { source_name: "lambda:issuer:live".to_owned(), detail: "AccessDenied".to_owned() };
    issuers.refuse(Some(denied));
    let generation = withdraw(LATER)["min_generation"].clone();
    let again = withdraw(0);
    assert!(again["min_generation"].as_u64() > generation.as_u64(), "{again}");
    let problem = again["issuers"]["problem"].as_str().unwrap();
    assert_eq!(again["issuers"]["outcome"], "not_recycled");
    assert!(problem.contains("access denied (AccessDenied)") && problem.contains("run it again"), "{problem}");
    let within: Vec<_> = issuers.runs().iter().map(|(_, within)| within.as_secs()).collect();
    assert_eq!(within, [17, 17, 0], "what the invocation has left");
    let mut runs: Vec<_> = issuers.runs().into_iter().map(|(run, _)| run).collect();
    runs.dedup();
    assert_eq!(runs.len(), 3, "each run is another");
}

#[test]
fn a_planted_key_is_withdrawn_and_one_that_is_nowhere_is_refused() {
    let stand = Stand::new();
    stand.secret.start_rotation(TOKEN).unwrap();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        run_to_end(stand.rotation().handle(&event(step))).unwrap();
    }
    let planted = LocalSigner::generate(Algorithm::EdDsa).unwrap().public_key().clone();
    let set = KeySet::parse(stand.published.text().unwrap().as_bytes()).unwrap();
    let entries = set.entries().cloned().chain([PublishedKey::new(planted.clone())]);
    stand.published.set(Some(&KeySet::new(entries, set.min_generation()).to_stored_json()));
    let withdraw = |kid: &str| {
        let event = json!({ "withdraw": kid }).to_string();
        run_to_end(stand.withdrawal().handle(event.as_bytes(), LATER))
    };
    let refused = withdraw(&"A".repeat(43)).unwrap_err();
    assert!(refused.code() == "ring" && refused.to_string().contains("or of the published set"), "{refused}");
    let answer = withdraw(planted.kid().as_str()).unwrap();
    let nothing = json!({"kid": planted.kid().as_str(), "foreign": true, "signed_from": null, "signed_until": null, "latest_exp": null});
    assert_eq!(answer["keys"], json!([nothing]), "{answer}");
    assert!(!stand.published.text().unwrap().contains(planted.kid().as_str()));
}

#[test]
fn a_withdrawal_answers_with_what_it_means() {
    let stand = Stand::new();
    stand.secret.start_rotation(TOKEN).unwrap();
    let app = stand.rotation();
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        run_to_end(app.handle(&event(step))).unwrap();
    }
    stand.metrics.lines();
    let ring = KeyRing::parse(&stand.secret.value(TOKEN).unwrap()).unwrap();
    let kid = ring.key_versions().iter().find(|key| key.signs_from().is_some()).unwrap().kid().to_string();

    let app = stand.withdrawal();
    let answer = run_to_end(app.handle(json!({ "withdraw": kid }).to_string().as_bytes(), LATER)).unwrap();
    assert_eq!(
        answer,
        json!({
            "keys": [{
                "kid": kid,
                "foreign": false,
                "signed_from": "2026-11-22T00:00:00Z",
                "signed_until": "2026-11-22T00:00:00Z",
                // Half the lead, a clock behind, and the longest lifetime.
                "latest_exp": "2026-11-22T13:01:00Z",
            }],
            "min_generation": 3,
            "issuers": { "outcome": "follow" },
            "issuers_follow_by": "2026-11-22T00:05:00Z",
            "run_again_after": "2026-11-22T00:01:00Z",
            "forgeries_accepted_until": "2026-11-22T01:07:00Z",
            "refusals_until": "2026-11-22T01:07:00Z",
            "still_enabled": [],
        })
    );
    assert!(!stand.published.text().unwrap().contains(&kid));
    assert_eq!(stand.metrics.lines()[0]["step"], "withdraw");
    let again = run_to_end(app.handle(json!({ "withdraw": kid }).to_string().as_bytes(), LATER)).unwrap();
    assert_eq!((&again["keys"], &again["min_generation"]), (&json!([]), &json!(3)));

    let all = run_to_end(app.handle(br#"{"withdraw": "all"}"#, LATER)).unwrap();
    assert_eq!(all["keys"].as_array().unwrap().len(), 2);
    for wrong in [&br#"{"withdraw": "ALL"}"#[..], br#"{"withdraw": "all", "dry_run": true}"#, b"{}", b"\"all\""] {
        assert_eq!(run_to_end(app.handle(wrong, LATER)).unwrap_err().code(), "event");
    }
}
