//! The rotation of keys by the real binaries on moto: Secrets Manager's four steps, the withdrawal, and what issuer and
//! publisher make of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use e2e::{AUDIENCE, ISSUER, MAPPING, ORGANIZATION, Signed, answer, now, rest_event};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use token_aws::{AwsClients, Bounds, ParameterKind};
use token_issuance::rotation::PublishedStore as _;
use token_jose::{Algorithm, Expectation, KeyRing, KeySet, verify};
use token_testkit::{Curl, Invocation, Lambda, Moto, MotoSecret, wait_until};

const JWKS: &str = "/jwt-issuer/jwks";
const MAPPING_NAME: &str = "/jwt-issuer/mapping";
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// How long a busy machine may take for what has no deadline of its own.
const SOON: Duration = Duration::from_secs(30);

/// The version id of the n-th rotation.
fn token(number: u8) -> String {
    format!("11111111-0000-4000-8000-{number:012}")
}

/// Everything that a step can change.
#[derive(Debug, PartialEq)]
struct State {
    stages: BTreeMap<String, BTreeSet<String>>,
    values: BTreeMap<String, Option<String>>,
    published: Option<String>,
}

/// A secret that is rotated, without a value, and the function that rotates it.
struct Stand {
    moto: Moto,
    secret: MotoSecret,
    clients: AwsClients,
    runtime: tokio::runtime::Runtime,
    rotation: Lambda,
}

impl Stand {
    fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// A stand whose rotation has these settings too.
    fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        let moto = Moto::start()?;
        let secret = MotoSecret::create(&moto, "jwt-issuer/ring");
        let environment = moto.environment();
        let get = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        // moto loads a service when it is first called: patience here, so that the functions meet a warm one.
        let patient = Duration::from_secs(20);
        let bounds = Bounds { connect: patient, attempt: patient, operation: patient, attempts: 1 };
        let clients = AwsClients::with_bounds(get, bounds).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(clients.put_parameter(MAPPING_NAME, MAPPING, ParameterKind::Plain)).unwrap();
        let rotation = function_with(&moto, &secret, "key-rotation", settings);
        Some(Self { moto, secret, clients, runtime, rotation })
    }

    /// A stand after its first rotation.
    fn rotated() -> Option<Self> {
        let stand = Self::start()?;
        stand.rotate(&token(1));
        Some(stand)
    }

    fn rotate(&self, token: &str) {
        self.secret.start_rotation(token);
        for step in STEPS {
            self.done(token, step);
        }
    }

    fn step(&self, secret: &str, token: &str, step: &str) -> Invocation {
        self.rotation.invoke(&json!({ "SecretId": secret, "ClientRequestToken": token, "Step": step }))
    }

    fn done(&self, token: &str, step: &str) {
        let outcome = self.step(&self.secret.arn, token, step);
        assert_eq!(outcome, Invocation::Response(Value::Null), "{step}\n{}", self.rotation.output());
    }

    /// `errorType` and `errorMessage` of a step that fails.
    fn refused(&self, secret: &str, token: &str, step: &str) -> (String, String) {
        match self.step(secret, token, step) {
            Invocation::Response(answer) => panic!("{step} is not refused: {answer}"),
            Invocation::Error(error) => {
                let text = |name: &str| error[name].as_str().unwrap().to_owned();
                (text("errorType"), text("errorMessage"))
            }
        }
    }

    fn state(&self) -> State {
        let stages = self.secret.stages();
        let values = stages.keys().map(|version| (version.clone(), self.secret.value(version))).collect();
        State { stages, values, published: self.stored() }
    }

    /// The parameter's text.
    fn stored(&self) -> Option<String> {
        self.runtime.block_on(self.clients.published_store(JWKS).unwrap().read()).unwrap()
    }

    fn published(&self) -> KeySet {
        KeySet::parse(self.stored().expect("a published set").as_bytes()).unwrap()
    }

    /// The ring that is current.
    fn ring(&self) -> KeyRing {
        let version = self.secret.version_with("AWSCURRENT").expect("a current version");
        KeyRing::parse(self.secret.value(&version).expect("a value").as_bytes()).unwrap()
    }

    /// No private key of any version that is or was there is in what the functions wrote.
    fn assert_silent(&self, private: &BTreeSet<String>, functions: &[&Lambda]) {
        assert!(!private.is_empty());
        for function in functions {
            let log = function.output();
            for key in private {
                assert!(!log.contains(&key[..40]), "a private key is logged:\n{log}");
            }
            for part in ["pkcs8", "testkit-secret-access-key", "testkit-session-token", "eyJ"] {
                assert!(!log.contains(part), "{part} is logged:\n{log}");
            }
        }
    }
}

/// The private halves of a ring's document.
fn private_halves(stand: &Stand) -> BTreeSet<String> {
    let values = stand.state().values.into_values().flatten();
    let rings = values.filter_map(|value| serde_json::from_str::<Value>(&value).ok());
    let keys = rings.flat_map(|ring| ring["keys"].as_array().cloned().unwrap_or_default());
    keys.filter_map(|key| key["private"]["pkcs8"].as_str().map(str::to_owned)).collect()
}

/// One of the project's functions, with this secret and the parameter.
fn function(moto: &Moto, secret: &MotoSecret, name: &str) -> Lambda {
    function_with(moto, secret, name, &[])
}

fn function_with(moto: &Moto, secret: &MotoSecret, name: &str, settings: &[(&str, &str)]) -> Lambda {
    let mut environment = moto.environment();
    environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for (name, value) in [
        ("SIGNING_KEY_SECRET_ARN", secret.arn.as_str()),
        ("JWKS_SSM_PARAM", JWKS),
        ("JWT_ISSUER_URL", ISSUER),
        ("MAPPING", &format!("ssm:{MAPPING_NAME}")),
        ("ORGANIZATION_ID", ORGANIZATION),
        ("SSO_PATH_ENFORCED", "true"),
        ("REFRESH_SECONDS", "1"),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    let lambda = Lambda::start(name, environment);
    if let Err(failure) = lambda.started() {
        panic!("{name} does not start: {:?}\n{}", failure.reported, failure.output);
    }
    lambda
}

/// A token, or the whole refusal.
fn issued(issuer: &Lambda) -> Result<String, Value> {
    let response = issuer.respond(&rest_event(&Signed::session("etl-nightly", "run-1")));
    match answer(&response) {
        (200, body) => Ok(body["access_token"].as_str().unwrap().to_owned()),
        _ => Err(response),
    }
}

/// The kid that signed `token`, if it verifies with `keys`.
fn verified_kid(token: &str, keys: &KeySet) -> Option<String> {
    let verified = verify(token, keys, &Expectation::new(ISSUER, AUDIENCE, &["JWT"]), now()).ok()?;
    Some(verified.kid().to_string())
}

/// The key set as the publishing function serves it.
fn served(publisher: &Lambda) -> KeySet {
    let mut event = rest_event(&Signed::session("etl-nightly", "run-1"));
    event["httpMethod"] = json!("GET");
    event["path"] = json!("/.well-known/jwks.json");
    event["requestContext"]["httpMethod"] = json!("GET");
    let response = publisher.respond(&event);
    let (status, body) = answer(&response);
    assert_eq!(status, 200, "{response}");
    KeySet::parse(body.to_string().as_bytes()).unwrap()
}

fn active_kid(ring: &KeyRing, at: Timestamp) -> String {
    ring.active(Algorithm::Rs256, at).expect("a key signs").kid().to_string()
}

fn standby_kid(ring: &KeyRing) -> String {
    let mut waiting = ring.key_versions().iter().filter(|key| key.signs_from().is_none());
    waiting.next().expect("a standby").kid().to_string()
}

#[test]
fn two_rotations_by_the_four_steps_each_done_twice() {
    let Some(stand) = Stand::start() else { return };
    let twice = |token: &str, step: &str| {
        stand.done(token, step);
        let once = stand.state();
        stand.done(token, step);
        assert_eq!(stand.state(), once, "{step} again changes nothing");
        once
    };
    stand.secret.start_rotation(&token(1));
    for step in STEPS {
        twice(&token(1), step);
    }
    let first = stand.ring();
    let (old, waiting) = (active_kid(&first, now()), standby_kid(&first));
    assert_eq!((first.generation(), first.derived_from(), stand.published().len()), (1, None, 2));
    assert_eq!(stand.secret.version_with("AWSPREVIOUS"), None);
    let mut private = private_halves(&stand);

    let issuer = function(&stand.moto, &stand.secret, "jwt-issuer");
    let publisher = function(&stand.moto, &stand.secret, "jwks");
    let issued_kid = || verified_kid(&issued(&issuer).expect("never refused"), &served(&publisher));
    assert_eq!(issued_kid(), Some(old.clone()));

    stand.secret.start_rotation(&token(2));
    for step in STEPS {
        let state = twice(&token(2), step);
        let current = state.stages[&token(2)].contains("AWSCURRENT");
        assert_eq!(current, step == "finishSecret", "{step}");
        let keys = KeySet::parse(state.published.unwrap().as_bytes()).unwrap();
        assert_eq!(keys.len(), if step == "createSecret" { 2 } else { 3 }, "{step}");
        assert_eq!(issued_kid(), Some(old.clone()), "{step}");
    }
    private.extend(private_halves(&stand));
    assert_eq!(stand.secret.version_with("AWSPREVIOUS"), None, "the old ring's version is let go");

    let second = stand.ring();
    assert_eq!((second.generation(), second.derived_from()), (2, Some(token(1).as_str())));
    // The standby was published moments ago, so it is its lead that it waits for.
    let keys = stand.published();
    let promoted = second.get(&waiting.parse().unwrap()).unwrap();
    let published_at = keys.entry(promoted.kid()).unwrap().published_at.unwrap();
    let lead = SignedDuration::from_secs(i64::try_from(second.policy().lead_s).unwrap());
    let switch = published_at.checked_add(lead).unwrap();
    assert_eq!(promoted.signs_from(), Some(switch));
    assert_eq!(active_kid(&second, switch.checked_sub(SignedDuration::from_secs(1)).unwrap()), old);
    assert_eq!(active_kid(&second, switch), waiting);
    assert_ne!(standby_kid(&second), waiting);

    wait_until("the issuer to work with the new ring", SOON, || {
        assert_eq!(issued_kid(), Some(old.clone()), "the old key signs until the switch");
        issuer.log().contains("\"ring_generation\":2").then_some(())
    });
    wait_until("three keys to be served", SOON, || (served(&publisher).len() == 3).then_some(()));
    stand.assert_silent(&private, &[&stand.rotation, &issuer, &publisher]);
}

#[test]
fn a_lone_test_writes_nothing_and_foreign_events_are_refused() {
    let Some(stand) = Stand::start() else { return };
    // With and without a ring: what Secrets Manager does when rotation is set up with RotateImmediately = false.
    stand.secret.start_rotation(&token(1));
    let before = stand.state();
    assert_eq!(before.published, None);
    stand.done(&token(1), "testSecret");
    assert_eq!(stand.state(), before);
    for step in STEPS {
        stand.done(&token(1), step);
    }
    stand.secret.start_rotation(&token(2));
    let before = stand.state();
    stand.done(&token(2), "testSecret");
    assert_eq!(stand.state(), before);

    let arn = &stand.secret.arn;
    for (secret, token, step, expected) in [
        (arn.replace("jwt-issuer", "another"), token(2), "createSecret", "KeyRotation.other_secret"),
        ("jwt-issuer/ring".to_owned(), token(2), "createSecret", "KeyRotation.other_secret"),
        (arn.clone(), token(7), "createSecret", "KeyRotation.setup"),
        (arn.clone(), "short".to_owned(), "createSecret", "KeyRotation.event"),
        (arn.clone(), token(2), "dropSecret", "KeyRotation.event"),
        (arn.clone(), token(2), "setSecret", "KeyRotation.setup"),
    ] {
        let (found, message) = stand.refused(&secret, &token, step);
        assert_eq!(found, expected, "{message}");
    }
    assert_eq!(stand.state(), before, "a refused event changes nothing");
    let log = stand.rotation.log();
    assert!(
        log.contains("\"StepFailed\":1") && log.contains("\"StepFailed\":0") && log.contains("KeyDaysLeft"),
        "{log}"
    );
}

#[test]
fn a_rotation_that_lost_its_place_is_given_up() {
    let Some(stand) = Stand::rotated() else { return };
    let first = stand.secret.value(&token(1)).unwrap();
    stand.secret.put_current(&token(9), &first);
    stand.secret.start_rotation(&token(2));
    for step in &STEPS[..3] {
        stand.done(&token(2), step);
    }
    // An operator rolls back while the rotation is at work.
    stand.secret.give("AWSCURRENT", &token(1));
    let (code, message) = stand.refused(&stand.secret.arn, &token(2), "finishSecret");
    assert_eq!(code, "KeyRotation.lost");
    assert!(message.contains(&token(9)) && message.contains(&token(1)), "both versions are named: {message}");
    assert_eq!(stand.secret.version_with("AWSPENDING"), None, "the next rotation is not blocked");
    assert_eq!(stand.secret.version_with("AWSCURRENT"), Some(token(1)));
    let (code, _) = stand.refused(&stand.secret.arn, &token(2), "finishSecret");
    assert!(["KeyRotation.not_pending", "KeyRotation.setup"].contains(&code.as_str()), "{code}");
}

#[test]
fn a_withdrawn_key_is_gone_and_the_issuer_goes_on_with_another() {
    let Some(stand) = Stand::rotated() else { return };
    let ring = stand.ring();
    let (stolen, standby) = (active_kid(&ring, now()), standby_kid(&ring));
    let issuer = function(&stand.moto, &stand.secret, "jwt-issuer");
    let publisher = function(&stand.moto, &stand.secret, "jwks");
    let withdraw = function(&stand.moto, &stand.secret, "withdraw");
    let out = issued(&issuer).unwrap();
    assert_eq!(verified_kid(&out, &stand.published()), Some(stolen.clone()));
    // A rotation is at work meanwhile, and holds the stolen key in its ring.
    stand.secret.start_rotation(&token(2));
    stand.done(&token(2), "createSecret");
    let mut private = private_halves(&stand);

    let report = withdraw.respond(&json!({ "withdraw": stolen }));
    assert_eq!(report["keys"][0]["kid"], stolen.as_str(), "{report}");
    assert!(report["keys"][0]["latest_exp"].is_string() && report["forgeries_accepted_until"].is_string(), "{report}");
    let kids = |keys: &KeySet| keys.keys().map(|key| key.kid().to_string()).collect::<BTreeSet<_>>();
    assert!(!kids(&stand.published()).contains(&stolen));
    assert_eq!(verified_kid(&out, &stand.published()), None, "tokens of the stolen key are void");
    assert_eq!(Some(stand.published().min_generation()), report["min_generation"].as_u64());
    assert_eq!((stand.secret.version_with("AWSPREVIOUS"), stand.secret.version_with("AWSPENDING")), (None, None));
    let (code, message) = stand.refused(&stand.secret.arn, &token(2), "setSecret");
    assert!(["KeyRotation.not_pending", "KeyRotation.setup"].contains(&code.as_str()), "{message}");

    let mended = wait_until("the issuer to sign with the standby", SOON, || {
        verified_kid(&issued(&issuer).ok()?, &stand.published())
    });
    assert_eq!(mended, standby);
    wait_until("the stolen key to be served no more", SOON, || {
        (!kids(&served(&publisher)).contains(&stolen)).then_some(())
    });
    private.extend(private_halves(&stand));

    // Everything: the ring itself may have leaked.
    let before = kids(&stand.published());
    let report = withdraw.respond(&json!({ "withdraw": "all" }));
    assert_eq!(report["keys"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(report["refusals_until"].is_string(), "no verifier knows the new keys yet: {report}");
    assert!(kids(&stand.published()).is_disjoint(&before), "all keys are new");
    let fresh = wait_until("the issuer to sign with a fresh key", SOON, || {
        verified_kid(&issued(&issuer).ok()?, &stand.published())
    });
    assert_eq!(fresh, active_kid(&stand.ring(), now()));
    // And rotation goes on from there.
    stand.rotate(&token(3));
    assert!(stand.ring().withdrawn().any(|kid| kid.as_str() == stolen), "never again");

    for event in [json!({"withdraw": "everything"}), json!({"withdraw": "all", "force": true}), json!({})] {
        assert!(
            matches!(withdraw.invoke(&event), Invocation::Error(error) if error["errorType"] == "KeyRotation.event")
        );
    }
    let unknown = "A".repeat(43);
    assert!(matches!(withdraw.invoke(&json!({ "withdraw": unknown })), Invocation::Error(_)));
    private.extend(private_halves(&stand));
    stand.assert_silent(&private, &[&stand.rotation, &withdraw, &issuer, &publisher]);
}

/// A call of moto's Lambda or IAM.
fn control(moto: &Moto, method: &str, path: &str, service: &str, body: Option<&str>) -> String {
    let mut call = Curl::new(method, &format!("{}{path}", moto.url()));
    if let Some(body) = body {
        let form = if service == "iam" { "application/x-www-form-urlencoded" } else { "application/json" };
        call = call.body(form, body);
    }
    let reply = call.signed(("AKIATESTKIT", "testkit-secret-access-key"), None, "eu-west-1", service).send();
    assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text());
    reply.text()
}

/// The function of the issuer with an alias on its first version, as the deployment makes it.
fn deployed_issuer(moto: &Moto) {
    control(
        moto,
        "POST",
        "/",
        "iam",
        Some("Action=CreateRole&Version=2010-05-08&RoleName=issuer&AssumeRolePolicyDocument=%7B%7D"),
    );
    // The shortest zip there is: no file in it.
    let function = json!({
        "FunctionName": "dev-issuer", "Role": "arn:aws:iam::123456789012:role/issuer", "Runtime": "provided.al2023",
        "Handler": "bootstrap", "Code": { "ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==" }, "Publish": true,
        "Description": "Issues tokens", "Environment": { "Variables": { "JWT_ISSUER_URL": ISSUER } },
    });
    control(moto, "POST", "/2015-03-31/functions", "lambda", Some(&function.to_string()));
    let alias = json!({ "Name": "live", "FunctionVersion": "1" });
    control(moto, "POST", "/2015-03-31/functions/dev-issuer/aliases", "lambda", Some(&alias.to_string()));
}

/// An endpoint that refuses every call, as Lambda refuses who lacks a permission.
fn refusing_endpoint() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 8_192]);
            let body = r#"{"Message":"User: arn:aws:sts::1:assumed-role/withdraw/x is not authorized"}"#;
            let head = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: AccessDeniedException\r\nconnection: close\r\n";
            let length = body.len();
            let _ =
                write!(connection, "{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        }
    });
    url
}

#[test]
fn a_withdrawal_replaces_warm_issuers_and_says_so_when_it_cannot() {
    let Some(stand) = Stand::rotated() else { return };
    deployed_issuer(&stand.moto);
    let of_issuer = |what: &str| -> Value {
        let path = format!("/2015-03-31/functions/dev-issuer{what}");
        serde_json::from_str(&control(&stand.moto, "GET", &path, "lambda", None)).unwrap()
    };
    let served = || of_issuer("/aliases/live")["FunctionVersion"].clone();
    let named = [("ISSUER_FUNCTION_NAME", "dev-issuer"), ("ISSUER_FUNCTION_ALIAS", "live")];
    let withdraw = function_with(&stand.moto, &stand.secret, "withdraw", &named);
    let withdrawn = |withdraw: &Lambda, issuers: &dyn Fn(&Value)| {
        let before = stand.published();
        let report = withdraw.respond(&json!({ "withdraw": "all" }));
        issuers(&report["issuers"]);
        let after = stand.published();
        assert!(after.min_generation() > before.min_generation(), "withdrawn whatever became of the issuers: {report}");
        assert!(before.keys().all(|key| after.get(key.kid()).is_none()), "{report}");
    };

    let first = of_issuer("/configuration?Qualifier=live");
    for (from, to) in [("1", "2"), ("2", "3")] {
        withdrawn(&withdraw, &|issuers| assert_eq!(*issuers, json!({"outcome": "recycled", "from": from, "to": to})));
        assert_eq!(served(), json!(to));
    }
    let fresh = of_issuer("/configuration?Qualifier=live");
    for same in ["CodeSha256", "Environment", "Role", "Handler", "Timeout"] {
        assert_eq!(fresh[same], first[same], "{same}");
    }
    let description = fresh["Description"].as_str().unwrap();
    assert!(description.starts_with("Issues tokens (") && description.matches('(').count() == 1, "{description}");

    // Whoever may change the function but not move its alias gets nothing served by an emergency.
    let planted = json!({ "Environment": { "Variables": { "JWT_ISSUER_URL": "https://evil.example" } } }).to_string();
    control(&stand.moto, "PUT", "/2015-03-31/functions/dev-issuer/configuration", "lambda", Some(&planted));
    let refused = |parts: &[&str], issuers: &Value| {
        let problem = issuers["problem"].as_str().unwrap_or_default();
        assert_eq!(issuers["outcome"], "not_recycled");
        assert!(parts.iter().all(|part| problem.contains(part)) && problem.contains("run it again"), "{problem}");
        assert!(!problem.contains("evil.example") && !problem.contains("not authorized"), "{problem}");
    };
    withdrawn(&withdraw, &|issuers| refused(&["found another environment"], issuers));
    assert_eq!(served(), json!("3"));

    let refusing = refusing_endpoint();
    let more = [named[0], named[1], ("AWS_ENDPOINT_URL_LAMBDA", refusing.as_str())];
    let withdraw = function_with(&stand.moto, &stand.secret, "withdraw", &more);
    withdrawn(&withdraw, &|issuers| {
        refused(&["access denied (AccessDeniedException, HTTP 403", "lambda:dev-issuer:live"], issuers);
    });
    assert!(withdraw.log().contains("warm issuers could not be replaced"), "{}", withdraw.log());
}

#[test]
fn keys_in_kms_are_rotated_sign_and_are_withdrawn() {
    let Some(stand) = Stand::start_with(&[("KEY_STORE", "kms")]) else { return };
    // moto loads a service when it is first called.
    let warm = Curl::post(&stand.moto.url())
        .header("X-Amz-Target", "TrentService.ListKeys")
        .body("application/x-amz-json-1.1", "{}");
    let warm = warm.signed(("AKIATESTKIT", "testkit-secret-access-key"), None, "eu-west-1", "kms").send();
    assert_eq!(warm.status, 200);
    stand.rotate(&token(1));
    let text = stand.secret.value(&token(1)).unwrap();
    assert!(
        text.contains("arn:aws:kms:eu-west-1:") && !text.contains("pkcs8"),
        "no private half is in the ring: {text}"
    );
    let ring = stand.ring();
    let (stolen, standby) = (active_kid(&ring, now()), standby_kid(&ring));
    let issuer = function(&stand.moto, &stand.secret, "jwt-issuer");
    let token_of = |issuer: &Lambda| verified_kid(&issued(issuer).ok()?, &stand.published());
    assert_eq!(token_of(&issuer), Some(stolen.clone()), "{}", issuer.output());
    stand.rotate(&token(2));
    assert_eq!((stand.ring().generation(), stand.published().len()), (2, 3));

    let withdraw = function_with(&stand.moto, &stand.secret, "withdraw", &[("KEY_STORE", "kms")]);
    let report = withdraw.respond(&json!({ "withdraw": stolen }));
    assert_eq!((&report["keys"][0]["kid"], &report["still_enabled"]), (&json!(stolen), &json!([])), "{report}");
    let mended = wait_until("the issuer to sign with the standby", SOON, || token_of(&issuer));
    assert_eq!(mended, standby);
}

#[test]
fn a_misconfigured_rotation_fails_its_init_with_every_problem() {
    let environment = [("ALGORITHMS", "RS512"), ("ROTATION_LEAD_SECONDS", "60"), ("KEY_RING", "file:/ring.json")];
    for name in ["key-rotation", "withdraw"] {
        let failure = Lambda::start(name, environment).started().expect_err("a misconfigured function never works");
        let message = failure.reported.expect("the Runtime API is told");
        for part in ["ALGORITHMS", "policy.lead", "KEY_RING: expected secretsmanager:ARN", "JWKS", "AWS_REGION"] {
            assert!(message.contains(part), "{part} is not in:\n{message}");
        }
    }
}
