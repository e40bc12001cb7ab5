//! The real Lambda binaries with their documents in Secrets Manager and SSM: on moto, and on a scripted store for what
//! moto never does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{AUDIENCE, ISSUER, MAPPING, ORGANIZATION, Signed, answer, now, rest_event};
use serde_json::{Value, json};
use token_aws::{AwsClients, Bounds, ParameterKind};
use token_issuance::{DocumentSource, SourceError};
use token_jose::{Algorithm, Expectation, KeyRing, KeySet, PublishedKey, RingPolicy, verify};
use token_testkit::{Behaviour, Curl, Gateway, GatewayOptions, Lambda, Moto, ScriptedAws, Target, wait_until};

const RING: &str = "jwt-issuer/ring";
const JWKS: &str = "/jwt-issuer/jwks";
const MAPPING_NAME: &str = "/jwt-issuer/mapping";

/// How often the Lambdas of these tests look at their stores, in seconds.
const REFRESH_S: u64 = 1;

/// `lead` of [`small_policy`]: an issuer may work on a last good ring for half of it.
const LEAD_S: u64 = 12;

/// For the tests' own calls to moto.
const PATIENT: Bounds = Bounds {
    connect: Duration::from_secs(10),
    attempt: Duration::from_secs(20),
    operation: Duration::from_secs(20),
    attempts: 3,
};

/// How long a busy machine may take for what has no deadline of its own.
const SOON: Duration = Duration::from_secs(30);

fn small_policy() -> RingPolicy {
    let (max_token_ttl_s, jwks_max_age_s, verifier_cache_s, skew_s) = (3_600, 4, 5, 1);
    let retention_s = LEAD_S / 2 + max_token_ttl_s + 60 + jwks_max_age_s + 2 * skew_s;
    RingPolicy {
        interval_s: LEAD_S + 1,
        lead_s: LEAD_S,
        max_token_ttl_s,
        retention_s,
        jwks_max_age_s,
        verifier_cache_s,
        skew_s,
    }
}

fn ring() -> KeyRing {
    KeyRing::first(&[Algorithm::Rs256], small_policy(), now()).unwrap()
}

/// One published set with the keys of all `rings`.
fn published(rings: &[&KeyRing]) -> KeySet {
    let keys = rings.iter().flat_map(|ring| ring.key_versions());
    KeySet::new(keys.map(|key| PublishedKey::new(key.public_key().clone())), 0)
}

fn text(ring: &KeyRing) -> String {
    String::from_utf8(ring.to_json().unwrap().to_vec()).unwrap()
}

/// A moto server with the tests' own way to write into it.
struct Store {
    moto: Moto,
    clients: AwsClients,
    runtime: tokio::runtime::Runtime,
}

impl Store {
    /// A store without any document, or nothing where moto is missing.
    fn start() -> Option<Self> {
        let moto = Moto::start()?;
        let environment = moto.environment();
        let get = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clients = AwsClients::with_bounds(get, PATIENT).unwrap();
        // moto loads a service when it is first called, which can take longer than a Lambda waits.
        for source in [&clients.secret("x").unwrap() as &dyn DocumentSource, &clients.parameter("x").unwrap()] {
            assert!(matches!(runtime.block_on(source.read()), Err(SourceError::NotFound { .. })));
        }
        Some(Self { moto, clients, runtime })
    }

    /// A store with all that an issuer needs.
    fn with(ring: &KeyRing, published: &KeySet) -> Option<Self> {
        let store = Self::start()?;
        store.put_ring(&text(ring));
        store.put(JWKS, &published.to_stored_json());
        store.put(MAPPING_NAME, MAPPING);
        Some(store)
    }

    fn put_ring(&self, text: &str) {
        self.runtime.block_on(self.clients.put_secret(RING, text.as_bytes())).unwrap();
    }

    fn put(&self, name: &str, text: &str) {
        self.runtime.block_on(self.clients.put_parameter(name, text, ParameterKind::Plain)).unwrap();
    }

    fn issuer(&self) -> Lambda {
        issuer(self.moto.environment())
    }
}

/// The issuing Lambda in this environment, which says where its store is.
fn issuer(environment: Vec<(String, String)>) -> Lambda {
    issuer_with(environment, ("SIGNING_KEY_SECRET_ARN", RING))
}

/// The same with the ring elsewhere.
fn issuer_with(mut environment: Vec<(String, String)>, ring: (&str, &str)) -> Lambda {
    for (name, value) in [
        ring,
        ("JWT_ISSUER_URL", ISSUER),
        ("JWKS_SSM_PARAM", JWKS),
        ("MAPPING", &format!("ssm:{MAPPING_NAME}")),
        ("ORGANIZATION_ID", ORGANIZATION),
        ("SSO_PATH_ENFORCED", "true"),
        ("REFRESH_SECONDS", &REFRESH_S.to_string()),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    Lambda::start("jwt-issuer", environment)
}

/// The publishing Lambda in this environment.
fn publisher(mut environment: Vec<(String, String)>) -> Lambda {
    for (name, value) in [("JWT_ISSUER_URL", ISSUER), ("JWKS_SSM_PARAM", JWKS), ("REFRESH_SECONDS", "1")] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    Lambda::start("jwks", environment)
}

/// A warm Lambda.
fn started(lambda: Lambda) -> Lambda {
    if let Err(failure) = lambda.started() {
        panic!("the init fails: {:?}\n{}", failure.reported, failure.output);
    }
    lambda
}

fn ask(lambda: &Lambda) -> Value {
    lambda.respond(&rest_event(&Signed::session("etl-nightly", "run-1")))
}

/// The kid of the token that is issued now, verified against `keys`; or the whole refusal.
fn issued_kid(lambda: &Lambda, keys: &KeySet) -> Result<String, Value> {
    let response = ask(lambda);
    let (status, body) = answer(&response);
    if status != 200 {
        return Err(response);
    }
    let token = body["access_token"].as_str().unwrap();
    let verified = verify(token, keys, &Expectation::new(ISSUER, AUDIENCE, &["JWT"]), now()).unwrap();
    assert_eq!(verified.value()["sub"], "111122223333/ETL-NIGHTLY");
    Ok(verified.kid().to_string())
}

fn signing_kid(ring: &KeyRing) -> String {
    ring.active(Algorithm::Rs256, now()).unwrap().kid().to_string()
}

fn get(path: &str) -> Value {
    let mut event = rest_event(&Signed::session("etl-nightly", "run-1"));
    event["httpMethod"] = json!("GET");
    event["path"] = json!(path);
    event["requestContext"]["httpMethod"] = json!("GET");
    event
}

/// `Retry-After` of a 503 that says whose trouble it is.
fn retry_after(response: &Value) -> u64 {
    let (status, body) = answer(response);
    assert_eq!((status, body["error"].as_str()), (503, Some("temporarily_unavailable")), "{response}");
    assert_eq!(response["headers"]["cache-control"], "no-store");
    let seconds: u64 = response["headers"]["retry-after"].as_str().expect("a 503 has Retry-After").parse().unwrap();
    assert!(seconds >= 1);
    seconds
}

#[test]
fn a_token_is_issued_and_verifies_with_what_the_other_lambda_publishes() {
    let ring = ring();
    let Some(store) = Store::with(&ring, &ring.published(now())) else { return };
    let issuer = started(store.issuer());
    let publisher = started(publisher(store.moto.environment()));

    let response = publisher.respond(&get("/.well-known/jwks.json"));
    let (status, key_set) = answer(&response);
    assert_eq!(status, 200, "{response}");
    let text = key_set.to_string();
    for bookkeeping in ["published_at", "not_after", "min_generation"] {
        assert!(!text.contains(bookkeeping), "{text}");
    }
    let keys = KeySet::parse(text.as_bytes()).unwrap();
    assert_eq!(keys.len(), 2, "the signing key and the standby");
    assert_eq!(issued_kid(&issuer, &keys), Ok(signing_kid(&ring)));

    for (name, log) in [("jwt-issuer", issuer.output()), ("jwks", publisher.output())] {
        for secret in ["pkcs8", "testkit-secret-access-key", "eyJ"] {
            assert!(!log.contains(secret), "{name} logs {secret}:\n{log}");
        }
    }
}

#[test]
fn a_warm_lambda_signs_with_a_changed_key_within_the_bounded_age() {
    let (old, new) = (ring(), ring());
    let keys = published(&[&old, &new]);
    let Some(store) = Store::with(&old, &keys) else { return };
    let lambda = started(store.issuer());
    assert_eq!(issued_kid(&lambda, &keys), Ok(signing_kid(&old)));

    store.put_ring(&text(&new));
    let changed = Instant::now();
    wait_until("a token of the new key", SOON, || {
        let kid = issued_kid(&lambda, &keys).unwrap_or_else(|response| panic!("never refused meanwhile: {response}"));
        if kid == signing_kid(&new) {
            return Some(());
        }
        // The old key may sign as long as the ring it was read from is younger than its bound, and no longer.
        assert!(changed.elapsed() < Duration::from_secs(REFRESH_S) + SOON / 3, "the old key still signs");
        None
    });
    assert_eq!(issued_kid(&lambda, &keys), Ok(signing_kid(&new)), "the old key never comes back");
}

#[test]
fn a_key_that_is_not_published_does_not_sign() {
    let (old, new) = (ring(), ring());
    let keys = published(&[&old]);
    let Some(store) = Store::with(&old, &keys) else { return };
    let lambda = started(store.issuer());
    assert_eq!(issued_kid(&lambda, &keys), Ok(signing_kid(&old)));

    store.put_ring(&text(&new));
    let refused = wait_until("a refusal", SOON, || issued_kid(&lambda, &keys).err());
    retry_after(&refused);

    store.put(JWKS, &published(&[&old, &new]).to_stored_json());
    let keys = published(&[&old, &new]);
    wait_until("the key to sign once it is published", SOON, || issued_kid(&lambda, &keys).ok());
}

#[test]
fn a_changed_mapping_counts_within_the_bounded_age_and_a_broken_one_does_not() {
    let ring = ring();
    let keys = ring.published(now());
    let Some(store) = Store::with(&ring, &keys) else { return };
    let lambda = started(store.issuer());
    assert!(issued_kid(&lambda, &keys).is_ok());

    store.put(MAPPING_NAME, &MAPPING.replace("etl-*", "batch-*"));
    let refused = wait_until("the new mapping to refuse", SOON, || issued_kid(&lambda, &keys).err());
    let (status, body) = answer(&refused);
    assert_eq!((status, body["error"].as_str()), (403, Some("access_denied")), "{refused}");

    store.put(MAPPING_NAME, "[[rule]]\nname = 1\n");
    wait_until("the broken mapping to be noticed", SOON, || {
        let (status, _) = answer(&ask(&lambda));
        assert_eq!(status, 403, "the last good mapping decides");
        lambda.log().contains("reading failed").then_some(())
    });

    store.put(MAPPING_NAME, MAPPING);
    wait_until("the mended mapping", SOON, || issued_kid(&lambda, &keys).ok());
}

#[test]
fn a_store_that_is_down_leaves_the_last_good_ring_for_half_the_lead() {
    let ring = ring();
    let keys = ring.published(now());
    let Some(mut store) = Store::with(&ring, &keys) else { return };
    let lambda = started(store.issuer());
    assert_eq!(issued_kid(&lambda, &keys), Ok(signing_kid(&ring)));

    store.moto.kill();
    let down = Instant::now();
    let mut last_good = None;
    let refused = wait_until("the last good ring to grow too old", SOON, || {
        let asked = down.elapsed();
        let refused = issued_kid(&lambda, &keys).err();
        if refused.is_none() {
            last_good = Some(asked);
        }
        refused
    });
    retry_after(&refused);

    // The last good ring was read before the outage, and ages are whole seconds: a request that is answered from it was
    // sent less than lead / 2 + 1 s after the outage began, however slow this machine is.
    let last_good = last_good.expect("the last good ring serves while the store is down");
    assert!(last_good > Duration::from_secs(REFRESH_S), "the last good ring outlives its bounded age: {last_good:?}");
    assert!(last_good < Duration::from_secs(LEAD_S / 2 + 1), "the last good ring serves for lead / 2: {last_good:?}");
    for _ in 0..3 {
        retry_after(&ask(&lambda));
    }
}

#[test]
fn a_stalled_store_holds_no_request_for_long_and_heals() {
    let ring = KeyRing::first(&[Algorithm::Rs256], RingPolicy::default(), now()).unwrap();
    let keys = ring.published(now());
    let Some(store) = Store::with(&ring, &keys) else { return };
    let lambda = started(store.issuer());
    assert!(issued_kid(&lambda, &keys).is_ok());

    store.moto.pause();
    let stalled = Instant::now();
    wait_until("the stall to be noticed", SOON, || {
        let asked = Instant::now();
        assert!(issued_kid(&lambda, &keys).is_ok(), "the last good ring serves");
        // Ring and mapping may both be due: two bounded calls, one after the other.
        assert!(asked.elapsed() < Duration::from_secs(15), "a request took {:?}", asked.elapsed());
        lambda.log().contains("reading failed").then_some(())
    });
    assert!(stalled.elapsed() < SOON);
    store.moto.resume();
    wait_until("reading to work again", SOON, || {
        assert!(issued_kid(&lambda, &keys).is_ok());
        lambda.log().contains("reading works again").then_some(())
    });
}

#[test]
fn malformed_documents_fail_the_init_with_every_problem() {
    let Some(store) = Store::start() else { return };
    let mut broken: Value = serde_json::from_str(&text(&ring())).unwrap();
    broken["keys"][0]["kid"] = json!("A".repeat(43));
    broken["keys"][1]["signs_from"] = json!("yesterday");
    broken["policy"]["lead"] = json!(1);
    let private = broken["keys"][0]["private"]["pkcs8"].as_str().unwrap().to_owned();
    store.put_ring(&broken.to_string());
    store.put(JWKS, r#"{"keys":[{"kty":"RSA"}]}"#);
    store.put(MAPPING_NAME, "[defaults]\nttl = \"15 parsecs\"\n\n[[rule]]\nname = \"x\"\ncolour = \"blue\"\n");

    let lambda = store.issuer();
    let failure = lambda.started().expect_err("a misconfigured Lambda never serves");
    let reported: Value = serde_json::from_str(&failure.reported.expect("the Runtime API is told")).unwrap();
    let message = reported["errorMessage"].as_str().unwrap();
    for part in [
        // Which document, and each problem in it.
        "secretsmanager:jwt-issuer/ring",
        "keys[0]",
        "keys[1]",
        "policy.lead",
        "ssm:/jwt-issuer/jwks",
        "ssm:/jwt-issuer/mapping",
        "colour",
        "parsecs",
    ] {
        assert!(message.contains(part), "{part} is not in:\n{message}");
    }
    for shown in [message, failure.output.as_str()] {
        assert!(!shown.contains(&private[..24]), "the private key is shown:\n{shown}");
    }
}

#[test]
fn missing_documents_and_settings_fail_the_init_with_every_problem() {
    let Some(store) = Store::start() else { return };
    let failure = store.issuer().started().expect_err("a Lambda without documents never serves");
    let message = failure.reported.expect("the Runtime API is told");
    for part in ["secretsmanager:jwt-issuer/ring", "ssm:/jwt-issuer/jwks", "ssm:/jwt-issuer/mapping", "not found"] {
        assert!(message.contains(part), "{part} is not in:\n{message}");
    }

    let mut environment = store.moto.environment();
    environment.retain(|(name, _)| name != "AWS_REGION");
    environment.extend(
        [
            ("SIGNING_KEY_SECRET_ARN", RING),
            ("KEY_RING", "secretsmanager:jwt-issuer/ring"),
            ("JWKS_SSM_PARAM", "/jwks:3"),
            ("MAPPING", "ssm:/mapping"),
            ("REFRESH_SECONDS", "301"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let failure = Lambda::start("jwt-issuer", environment).started().expect_err("a misconfigured Lambda never serves");
    let message = failure.reported.expect("the Runtime API is told");
    for part in ["JWT_ISSUER_URL", "KEY_RING, SIGNING_KEY_SECRET_ARN", "AWS_REGION", "REFRESH_SECONDS"] {
        assert!(message.contains(part), "{part} is not in:\n{message}");
    }
}

#[test]
fn a_ring_may_be_a_secure_parameter() {
    let ring = ring();
    let keys = ring.published(now());
    let Some(store) = Store::with(&ring, &keys) else { return };
    let text = text(&ring);
    let put = store.clients.put_parameter("/jwt-issuer/ring", &text, ParameterKind::Secure);
    store.runtime.block_on(put).unwrap();
    let lambda = issuer_with(store.moto.environment(), ("KEY_RING", "ssm:/jwt-issuer/ring"));
    assert_eq!(issued_kid(&started(lambda), &keys), Ok(signing_kid(&ring)));
}

#[test]
fn the_gateway_keeps_its_documents_in_the_emulator_and_issues() {
    let Some(store) = Store::start() else { return };
    let gateway = Gateway::start(&GatewayOptions { aws_endpoint: Some(store.moto.url()), ..GatewayOptions::default() });
    let statuses: Vec<u16> = gateway
        .principals()
        .iter()
        .map(|principal| {
            let reply = gateway.token_request(principal).send();
            assert!(reply.json()["decision_id"].is_string(), "{}", reply.text());
            reply.status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 403], "an SSO user, a workload role, and one that no rule admits");
    let keys = Curl::get(gateway.jwks_uri()).send();
    assert_eq!((keys.status, keys.json()["keys"].as_array().map(Vec::len)), (200, Some(2)));

    let files = walk(gateway.folder());
    assert!(files.is_empty(), "no document lies in a file: {files:?}");
}

/// Every file below `folder`.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A store that holds the documents of `ring` and misbehaves as told.
fn scripted(ring: &KeyRing) -> ScriptedAws {
    let aws = ScriptedAws::start();
    aws.put_secret(RING, &text(ring));
    aws.put_parameter(JWKS, &ring.published(now()).to_stored_json());
    aws.put_parameter(MAPPING_NAME, MAPPING);
    aws
}

#[test]
fn throttling_during_the_init_is_waited_out() {
    let ring = ring();
    let keys = ring.published(now());
    let aws = scripted(&ring);
    for target in [Target::GetSecretValue, Target::GetParameter] {
        aws.next(target, Behaviour::Throttled);
        aws.next(target, Behaviour::Throttled);
    }
    let lambda = started(issuer(aws.environment()));
    assert_eq!(issued_kid(&lambda, &keys), Ok(signing_kid(&ring)));
    assert!(aws.calls(Target::GetSecretValue) >= 3);
    assert!(aws.requests(Target::GetSecretValue).iter().all(|request| request["VersionStage"] == "AWSCURRENT"));
}

#[test]
fn a_store_that_is_down_at_the_start_is_503_until_it_is_up() {
    let ring = ring();
    let keys = ring.published(now());
    let aws = scripted(&ring);
    aws.always(Target::GetSecretValue, Behaviour::Status(500));
    let lambda = started(issuer(aws.environment()));
    retry_after(&ask(&lambda));

    aws.always(Target::GetSecretValue, Behaviour::Value);
    let kid = wait_until("a token once the store is up", SOON, || issued_kid(&lambda, &keys).ok());
    assert_eq!(kid, signing_kid(&ring), "the failure is not remembered");
}

#[test]
fn lasting_throttling_is_asked_ever_more_rarely() {
    let ring = KeyRing::first(&[Algorithm::Rs256], RingPolicy::default(), now()).unwrap();
    let keys = ring.published(now());
    let aws = scripted(&ring);
    let lambda = started(issuer(aws.environment()));
    aws.always(Target::GetSecretValue, Behaviour::Throttled);
    std::thread::sleep(Duration::from_millis(1_100));

    let (before, start) = (aws.calls(Target::GetSecretValue), Instant::now());
    let mut asked = 0;
    while start.elapsed() < Duration::from_secs(6) {
        assert!(issued_kid(&lambda, &keys).is_ok(), "the last good ring serves");
        asked += 1;
    }
    // Attempts at about 0, 1, 3 and 7 s with at most three calls each; without back-off it were three per request.
    let calls = aws.calls(Target::GetSecretValue) - before;
    assert!(asked > 20, "{asked} requests show nothing");
    assert!((3..=12).contains(&calls), "{calls} calls for {asked} requests");
}
#[test]
fn a_ring_in_a_plain_parameter_is_refused() {
    let ring = ring();
    let Some(store) = Store::with(&ring, &ring.published(now())) else { return };
    store.put("/jwt-issuer/ring", &text(&ring));
    let lambda = issuer_with(store.moto.environment(), ("KEY_RING", "ssm:/jwt-issuer/ring"));
    let failure = lambda.started().expect_err("private keys in a plain parameter");
    assert!(failure.reported.unwrap().contains("expected type SecureString, found String"));
}
