//! `infrastructure/` applied to moto, and the real binaries run with exactly what it gives them: environment, policy, API
//! and stage. Then rotations while tokens are issued and verified without a pause, and a destroy that leaves nothing.
//!
//! Days pass here by a clock that the test moves (`tests/infrastructure/clock.c`), so every switch of the signing key is
//! really crossed, with the policy that the deployment has by default. moto evaluates no policy and runs no function: the
//! calls that it writes down are held against the applied policies here, and this test plays Secrets Manager and Lambda.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use e2e::applied::{Applied, FastClock};
use e2e::iam::{Call, Policy};
use e2e::{AUDIENCE, MAPPING, ORGANIZATION, Signed, answer, now, rest_event};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, KeyRing, KeySet, verify};
use token_testkit::{Invocation, Lambda, MotoSecret};

const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What AWS itself does in a function's name, so that no call of the binary shows it: Secrets Manager uses the key, Lambda
/// writes logs and traces.
const BY_AWS: [&str; 6] = [
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

#[test]
fn applied_run_rotated_and_destroyed() {
    let start = Instant::now();
    let step = |what: &str| println!("{:>4} s  {what}", start.elapsed().as_secs());
    let Some(applied) = Applied::prepare(ORGANIZATION, MAPPING, &[]) else { return };
    assert_eq!(applied.left(), BTreeSet::new(), "moto begins empty");

    step("apply");
    applied.run(0, &["apply", "-no-color", "-auto-approve"]);
    let site = Site::of(&applied);
    site.functions_are_as_the_outputs_say();
    step("second plan");
    let before = applied.empty_plan();
    for secret in ["pkcs8", "PRIVATE KEY", "testkit-secret-access-key"] {
        assert!(!before.contains(secret), "{secret} is in state or plan");
    }

    step("first rotation");
    applied.record();
    let mut private = BTreeSet::new();
    let too_early = applied.launch("issuer", "jwt-issuer", &[]).started().expect_err("there is no ring yet");
    assert!(too_early.reported.unwrap().contains(site.output("secret_arn")), "{}", too_early.output);
    let too_early = applied.start("jwks", "jwks", &[]);
    assert_eq!(answer(&too_early.respond(&site.jwks_event())).0, 503, "an empty key set is not served");
    let rotation = applied.start("rotation", "key-rotation", &[]);
    site.rotate(&rotation, 1, &mut || {});
    private.extend(site.private_halves());
    let issuer = applied.start("issuer", "jwt-issuer", &[]);
    let publisher = applied.start("jwks", "jwks", &[]);
    let token = site.issued(&issuer);
    let first = site.verified(&token, &site.served(&publisher), now()).unwrap();
    assert_eq!(first.0, site.active(now()));
    site.refuses_other_gateways(&issuer);

    step("three rotations");
    let clock = FastClock::build();
    let rotated = clock.map(|clock| site.rotates_without_a_refusal(clock, &mut private));

    step("withdrawal");
    let withdraw = applied.start("withdraw", "withdraw", rotated.as_ref().map_or(&[], |clock| clock.0.as_slice()));
    let at = rotated.as_ref().map_or_else(now, |clock| clock.1);
    let stolen = site.active(at);
    let report = withdraw.respond(&json!({ "withdraw": stolen }));
    assert_eq!(report["keys"][0]["kid"], stolen.as_str(), "{report}");
    assert_ne!(site.active(at), stolen);
    private.extend(site.private_halves());

    step("policies");
    for function in ["issuer", "jwks", "rotation", "withdraw"] {
        site.policy_is_what_the_binary_needs(function);
    }
    site.policies_differ();
    for (name, function) in
        [("issuer", &issuer), ("jwks", &publisher), ("rotation", &rotation), ("withdraw", &withdraw)]
    {
        let log = function.output();
        assert!(private.iter().all(|key| !log.contains(&key[..40])), "{name} logs a private key");
    }

    step("plan after the rotations");
    let after = applied.empty_plan();
    assert!(after.contains(&site.active(at)), "the published set was read for this plan");
    assert!(private.len() >= 2);
    let header = token.split('.').next().unwrap();
    for secret in private.iter().map(|key| &key[..40]).chain(["pkcs8", "PRIVATE KEY", header]) {
        assert!(!after.contains(secret), "a secret is in state or plan: {}…", &secret[..3]);
    }

    step("destroy");
    assert_eq!(applied.left().len(), 11, "everything is seen while it is there: {:?}", applied.left());
    applied.run(0, &["destroy", "-no-color", "-auto-approve"]);
    assert_eq!(applied.left(), BTreeSet::new(), "what destroy leaves");
    assert_eq!(applied.run(0, &["state", "list"]), "");
    step("done");
}

/// With `key_store = "kms"`, and back: the functions make, use and disable KMS keys with what was applied, and the applied
/// policies allow what they do and nothing like it to keys of others.
#[test]
fn applied_with_keys_in_kms() {
    let settings = [("key_store", json!("kms")), ("reserved_concurrency", json!({ "issuer": 10 }))];
    let Some(applied) = Applied::prepare(ORGANIZATION, MAPPING, &settings) else { return };
    applied.run(0, &["apply", "-no-color", "-auto-approve"]);
    let site = Site::of(&applied);
    site.functions_are_as_the_outputs_say();
    let _ = applied.empty_plan();

    applied.record();
    let rotation = applied.start("rotation", "key-rotation", &[]);
    for number in [1, 2] {
        site.rotate(&rotation, number, &mut || {});
    }
    assert_eq!(site.private_halves(), [""; 0], "no private half is in the ring");
    let keys = site.keys_in_kms();
    assert_eq!(keys.len(), 3, "one signs, one was its standby, one stands by now: {keys:?}");
    let tag = BTreeMap::from([("jwt-issuer:ring".to_owned(), site.output("secret_arn").to_owned())]);
    assert_eq!(site.outputs["kms_signing_key_tag"]["key"], "jwt-issuer:ring");
    for arn in keys.values() {
        assert_eq!(applied.key_tags(arn), tag, "nothing but the ring's tag");
    }

    let issuer = applied.start("issuer", "jwt-issuer", &[]);
    let publisher = applied.start("jwks", "jwks", &[]);
    let token = site.issued(&issuer);
    let (signer, _) = site.verified(&token, &site.served(&publisher), now()).unwrap();
    assert_eq!(signer, site.active(now()));
    let signed = |call: &Call| call.action == "kms:Sign" && call.resource == keys[&signer];
    assert!(applied.calls("issuer").iter().any(signed), "KMS signed: {:?}", applied.calls("issuer"));

    let withdraw = applied.start("withdraw", "withdraw", &[]);
    let report = withdraw.respond(&json!({ "withdraw": signer }));
    assert_eq!((&report["keys"][0]["kid"], &report["still_enabled"]), (&json!(signer), &json!([])), "{report}");
    let state = |kid: &String| applied.key(&keys[kid])["KeyState"].as_str().unwrap().to_owned();
    assert_eq!(state(&signer), "Disabled");
    let enabled = keys.keys().filter(|kid| state(kid) == "Enabled").count();
    assert_eq!(enabled, 2, "and no other");
    let issuer = applied.start("issuer", "jwt-issuer", &[]);
    let publisher = applied.start("jwks", "jwks", &[]);
    let (successor, _) = site.verified(&site.issued(&issuer), &site.served(&publisher), now()).unwrap();
    assert_ne!(successor, signer);

    let report = withdraw.respond(&json!({ "withdraw": "all" }));
    assert_eq!(report["still_enabled"], json!([]), "{report}");
    assert!(keys.keys().all(|kid| state(kid) == "Disabled"), "all that were in the ring");

    for function in ["issuer", "jwks", "rotation", "withdraw"] {
        site.policy_is_what_the_binary_needs(function);
        site.keys_of_others_are_out_of_reach(function);
    }

    // Back to the ring: the keys in KMS sign on and can be withdrawn, new ones are in the ring.
    applied.set(&[("key_store", json!("kms-to-ring"))]);
    applied.run(0, &["apply", "-no-color", "-auto-approve"]);
    let site = Site::of(&applied);
    // The emulator makes a version without a value, current beside the current one, of every change to the secret's own
    // settings; Secrets Manager makes none.
    for version in site.secret.stages().into_keys().filter(|version| site.secret.value(version).is_none()) {
        site.secret.take("AWSCURRENT", &version);
    }
    site.rotate(&applied.start("rotation", "key-rotation", &[]), 3, &mut || {});
    assert_eq!(site.private_halves().len(), 1, "the new standby");
    let keys = site.keys_in_kms();
    let withdraw = applied.start("withdraw", "withdraw", &[]);
    let active = site.active(now());
    let report = withdraw.respond(&json!({ "withdraw": active }));
    assert_eq!(report["still_enabled"], json!([]), "{report}");
    assert_eq!(applied.key(&keys[&active])["KeyState"], "Disabled", "whoever makes the new keys");
    let issuer = applied.start("issuer", "jwt-issuer", &[]);
    let publisher = applied.start("jwks", "jwks", &[]);
    assert!(site.verified(&site.issued(&issuer), &site.served(&publisher), now()).is_ok());
    for function in ["issuer", "rotation", "withdraw"] {
        let (policy, made) = (site.policy(function), "kms:CreateKey".to_owned());
        assert!(applied.calls("rotation").iter().filter(|call| call.action == made).all(|call| !policy.allows(call)));
    }

    applied.run(0, &["destroy", "-no-color", "-auto-approve"]);
    assert_eq!(applied.left(), BTreeSet::new(), "what destroy leaves of its own");
    assert!(
        keys.values().all(|arn| applied.key_tags(arn) == tag),
        "what the functions made is for the operator to delete"
    );
}

/// An applied environment, with its outputs.
struct Site<'a> {
    applied: &'a Applied,
    outputs: BTreeMap<String, Value>,
    secret: MotoSecret,
}

impl<'a> Site<'a> {
    fn of(applied: &'a Applied) -> Self {
        let outputs = applied.outputs();
        let secret = MotoSecret::existing(&applied.moto, outputs["secret_arn"].as_str().unwrap());
        Self { applied, outputs, secret }
    }

    fn output(&self, name: &str) -> &str {
        self.outputs[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {:?}", self.outputs.get(name)))
    }

    fn functions_are_as_the_outputs_say(&self) {
        for (function, output) in self.outputs["functions"].as_object().unwrap() {
            let found = self.applied.function(function);
            assert_eq!(found["Environment"]["Variables"], output["environment"], "{function}");
            assert_eq!((&found["Handler"], &found["Runtime"]), (&json!("bootstrap"), &json!("provided.al2023")));
            // What the plan of a rotation reckons with (ROTATION_STEP_S); API Gateway's own limit is 29 s.
            let longest = if ["issuer", "jwks"].contains(&function.as_str()) { 29 } else { 60 };
            assert!(found["Timeout"].as_u64().unwrap() <= longest, "{function}: {found}");
        }
        let host = format!("https://{}.execute-api.eu-west-1.amazonaws.com/v1", self.output("api_id"));
        assert_eq!(self.output("issuer_url"), host);
        assert_eq!(self.output("token_url"), format!("{host}/token"));
        assert_eq!(self.output("jwks_uri"), format!("{host}/.well-known/jwks.json"));
    }

    /// `POST /token` by a member of the organization, as the applied API sends it.
    fn token_event(&self) -> Value {
        let mut event = rest_event(&Signed::session("etl-nightly", "run-1"));
        event["requestContext"]["apiId"] = json!(self.output("api_id"));
        event["requestContext"]["stage"] = json!(self.output("stage_name"));
        event
    }

    fn jwks_event(&self) -> Value {
        let mut event = self.token_event();
        for context in [false, true] {
            let part = if context { &mut event["requestContext"] } else { &mut event };
            part["httpMethod"] = json!("GET");
            part["path"] = json!(if context { "/v1/.well-known/jwks.json" } else { "/.well-known/jwks.json" });
        }
        event["resource"] = json!("/.well-known/jwks.json");
        event
    }

    fn issued(&self, issuer: &Lambda) -> String {
        let response = issuer.respond(&self.token_event());
        let (status, body) = answer(&response);
        assert_eq!(status, 200, "{response}\n{}", issuer.output());
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn served(&self, publisher: &Lambda) -> KeySet {
        let response = publisher.respond(&self.jwks_event());
        let (status, body) = answer(&response);
        assert_eq!(status, 200, "{response}\n{}", publisher.output());
        KeySet::parse(body.to_string().as_bytes()).unwrap()
    }

    /// kid and `exp` of a token that verifies.
    fn verified(&self, token: &str, keys: &KeySet, at: Timestamp) -> Result<(String, i64), String> {
        let expectation = Expectation::new(self.output("issuer_url"), AUDIENCE, &["JWT"]);
        let verified = verify(token, keys, &expectation, at).map_err(|error| error.to_string())?;
        let kid = verified.kid().to_string();
        Ok((kid, verified.into_inner()["exp"].as_i64().unwrap()))
    }

    /// The four steps as Secrets Manager orders them; `between` runs after each.
    fn rotate(&self, rotation: &Lambda, number: u8, between: &mut dyn FnMut()) {
        let token = format!("11111111-0000-4000-8000-{number:012}");
        self.secret.start_rotation(&token);
        for step in STEPS {
            let event = json!({ "SecretId": self.secret.arn, "ClientRequestToken": token, "Step": step });
            assert_eq!(rotation.invoke(&event), Invocation::Response(Value::Null), "{step}\n{}", rotation.output());
            between();
        }
        assert_eq!(self.secret.version_with("AWSCURRENT"), Some(token));
    }

    fn ring(&self) -> KeyRing {
        KeyRing::parse(self.current().as_bytes()).unwrap()
    }

    fn current(&self) -> String {
        let version = self.secret.version_with("AWSCURRENT").expect("a current version");
        self.secret.value(&version).expect("a value")
    }

    /// The ring's keys that are in KMS: kid and ARN.
    fn keys_in_kms(&self) -> BTreeMap<String, String> {
        let ring: Value = serde_json::from_str(&self.current()).unwrap();
        let keys = ring["keys"].as_array().unwrap().iter();
        let keys =
            keys.filter_map(|key| Some((key["kid"].as_str()?.to_owned(), key["private"]["kms"].as_str()?.to_owned())));
        keys.collect()
    }

    fn private_halves(&self) -> Vec<String> {
        let ring: Value = serde_json::from_str(&self.current()).unwrap();
        let keys = ring["keys"].as_array().unwrap().iter();
        keys.filter_map(|key| key["private"]["pkcs8"].as_str().map(str::to_owned)).collect()
    }

    fn active(&self, at: Timestamp) -> String {
        self.ring().active(Algorithm::Rs256, at).expect("a key signs").kid().to_string()
    }

    /// API and stage are part of what the issuer trusts.
    fn refuses_other_gateways(&self, issuer: &Lambda) {
        for (name, value) in [("apiId", "a1b2c3d4e5"), ("stage", "test-invoke-stage")] {
            let mut event = self.token_event();
            event["requestContext"][name] = json!(value);
            let (status, body) = answer(&issuer.respond(&event));
            assert!(status >= 400 && body["access_token"].is_null(), "{name}: {status} {body}");
        }
        let mut event = self.token_event();
        event["requestContext"]["identity"]["principalOrgId"] = json!("o-anotherorg");
        let (status, body) = answer(&issuer.respond(&event));
        assert!(status >= 400 && body["access_token"].is_null(), "{status} {body}");
    }

    /// Rotations by the deployment's own policy: one, another as soon as the first is done (an operator's; the shortest that
    /// a standby is public), and a third 30 days later. All the while tokens are verified at once and again before they end.
    /// Gives the functions' clock: its environment and what it shows.
    fn rotates_without_a_refusal(
        &self,
        clock: FastClock,
        private: &mut BTreeSet<String>,
    ) -> (Vec<(String, String)>, Timestamp) {
        let environment = clock.environment();
        let rotation = self.applied.start("rotation", "key-rotation", &environment);
        let mut traffic = Traffic::start(self, clock);
        let old = self.active(traffic.clock.now());

        for number in [2, 3, 4] {
            self.rotate(&rotation, number, &mut || traffic.once());
            private.extend(self.private_halves());
            let ring = self.ring();
            let now = traffic.clock.now();
            let switches = ring.key_versions().iter().filter_map(|key| key.signs_from().filter(|start| *start > now));
            let (switch, promoted) =
                switches.map(|start| (start, ring.active(Algorithm::Rs256, start))).next().unwrap();
            let promoted = promoted.unwrap().kid().to_string();
            let lead = SignedDuration::from_secs(ring.policy().lead_s.try_into().unwrap());
            let ahead = switch.duration_since(now);
            assert!(ahead > SignedDuration::from_mins(9) && ahead <= lead, "{ahead:?}");

            // Up to the switch, over it, and on until no cache and no token knows the time before it.
            let signs = |traffic: &Traffic<'_, '_>| traffic.kids.last().cloned().unwrap();
            let mut last = signs(&traffic);
            while traffic.clock.now() < switch {
                assert_ne!(last, promoted, "before its time");
                let left = switch.duration_since(traffic.clock.now()).as_secs();
                traffic.pass(if left > 20 * MINUTE { 10 * MINUTE } else { MINUTE });
                last = signs(&traffic);
            }
            assert_eq!(signs(&traffic), promoted, "from the switch on, whatever the age of the issuer's ring");
            for _ in 0..9 {
                traffic.pass(10 * MINUTE);
            }
            let next = now + SignedDuration::from_secs(30 * DAY);
            while number == 3 && traffic.clock.now() < next {
                traffic.pass(3 * HOUR);
            }
        }
        assert_eq!(traffic.kids.len(), 4, "each switch once, and never back: {:?}", traffic.kids);
        assert_eq!(traffic.kids[0], old);
        println!("        {} tokens, each verified by {} caches, twice", traffic.issued, traffic.verifiers.len());
        (environment, traffic.clock.now())
    }

    fn policy(&self, function: &str) -> Policy {
        Policy::parse(self.outputs["functions"][function]["policy_json"].as_str().unwrap())
    }

    /// Of what the rotation does, the issuer may only read the key set, and the ring at `AWSCURRENT`; nobody who serves
    /// keys reads the ring.
    fn policies_differ(&self) {
        let (issuer, publisher) = (self.policy("issuer"), self.policy("jwks"));
        let rotation = self.applied.calls("rotation");
        let may: BTreeSet<_> =
            rotation.iter().filter(|call| issuer.allows(call)).map(|call| call.action.as_str()).collect();
        assert!(may.is_subset(&["secretsmanager:GetSecretValue", "ssm:GetParameter"].into()), "{may:?}");
        let pending = rotation.iter().filter(|call| call.action == "secretsmanager:GetSecretValue");
        let mut pending =
            pending.filter(|call| !call.context.values().flatten().any(|stage| stage == "AWSCURRENT")).peekable();
        assert!(pending.peek().is_some(), "the rotation reads pending versions");
        assert!(pending.all(|call| !issuer.allows(call)), "the issuer may read pending versions");
        let calls = self.applied.calls("issuer");
        assert!(calls.iter().filter(|call| call.action != "ssm:GetParameter").all(|call| !publisher.allows(call)));
        assert_eq!(calls.iter().filter(|call| publisher.allows(call)).count(), 1, "the key set: {calls:?}");
    }

    /// What the function does with this ring's keys it may not do with another ring's, with those of no ring, or with keys
    /// that encrypt.
    fn keys_of_others_are_out_of_reach(&self, function: &str) {
        const TAG: &str = "aws:ResourceTag/jwt-issuer:ring";
        const ASKED: &str = "aws:RequestTag/jwt-issuer:ring";
        let policy = self.policy(function);
        let other = self.output("secret_arn").replace("e2e", "two");
        let calls = self.applied.calls(function).into_iter().filter(|call| call.action.starts_with("kms:"));
        let calls: BTreeSet<_> = calls.collect();
        assert_eq!(calls.is_empty(), function == "jwks", "{function}: {calls:?}");
        for call in &calls {
            let mut refused = match call.action.as_str() {
                "kms:CreateKey" => vec![
                    call.with("aws:TagKeys", &["jwt-issuer:ring", "team"]),
                    call.with("kms:KeySpec", &["SYMMETRIC_DEFAULT"]),
                    call.with("kms:KeySpec", &[]),
                ],
                "kms:TagResource" => {
                    assert!(policy.allows(&call.with(TAG, &[self.output("secret_arn")])), "{call:?}");
                    vec![call.with("aws:TagKeys", &["jwt-issuer:ring", "team"]), call.with(TAG, &[&other])]
                }
                _ => vec![call.with(TAG, &[]), call.with(TAG, &[&other]), call.with(TAG, &[""])],
            };
            if call.context.contains_key(ASKED) {
                refused.extend([call.with(ASKED, &[]), call.with(ASKED, &[&other])]);
            }
            if call.action != "kms:TagResource" {
                refused.extend([call.with("kms:KeyUsage", &["ENCRYPT_DECRYPT"]), call.with("kms:KeyUsage", &[])]);
            }
            for action in
                ["PutKeyPolicy", "ScheduleKeyDeletion", "CreateGrant", "UntagResource", "EnableKey", "Decrypt"]
            {
                refused.push(Call { action: format!("kms:{action}"), ..call.clone() });
            }
            for call in refused {
                assert!(!policy.allows(&call), "{function} may {call:?}");
            }
        }
    }

    /// Each call of the binary is allowed, and nothing else is but what AWS does in its name.
    fn policy_is_what_the_binary_needs(&self, function: &str) {
        let (policy, calls) = (self.policy(function), self.applied.calls(function));
        assert!(!calls.is_empty(), "{function} calls something");
        for call in &calls {
            assert!(policy.allows(call), "{function} may not do what it does: {call:?}");
        }
        let excess = policy.unused(&calls).into_iter().filter(|(action, _)| !BY_AWS.contains(&action.as_str()));
        let excess: Vec<_> = excess.collect();
        assert!(excess.is_empty(), "{function} never does what it may: {excess:?}");
    }
}

/// Callers and verifiers, by a clock of their own.
struct Traffic<'site, 'a> {
    site: &'site Site<'a>,
    clock: FastClock,
    issuer: Lambda,
    publisher: Lambda,
    /// What a shared HTTP cache holds, and since when.
    shared: Option<(Timestamp, KeySet)>,
    verifiers: Vec<Verifier>,
    /// Tokens that are still good, with their `exp`.
    alive: Vec<(i64, String)>,
    issued: usize,
    /// The kids that signed, in their order, each change once.
    kids: Vec<String>,
}

/// Verifies with a key set that it fetches anew when its time is over, and never because of an unknown kid.
struct Verifier {
    /// The longest that it keeps a set, in seconds.
    cache_s: i64,
    held: Option<(Timestamp, KeySet)>,
}

impl<'site, 'a> Traffic<'site, 'a> {
    fn start(site: &'site Site<'a>, clock: FastClock) -> Self {
        let environment = clock.environment();
        let issuer = site.applied.start("issuer", "jwt-issuer", &environment);
        let publisher = site.applied.start("jwks", "jwks", &environment);
        // The slowest that the policy knows (VERIFIER_CACHE_SECONDS), Istio, Envoy, and one that keeps nothing.
        let verifiers = [HOUR, 20 * MINUTE, 10 * MINUTE, 0].map(|cache_s| Verifier { cache_s, held: None }).into();
        let mut traffic = Self {
            site,
            clock,
            issuer,
            publisher,
            shared: None,
            verifiers,
            alive: Vec::new(),
            issued: 0,
            kids: Vec::new(),
        };
        traffic.once();
        traffic
    }

    /// Time passes, and whoever held a token that would have ended meanwhile has shown it once more before.
    fn pass(&mut self, seconds: i64) {
        let until = self.clock.now().as_second() + seconds;
        let alive = std::mem::take(&mut self.alive);
        let (ending, alive) = alive.into_iter().partition::<Vec<_>, _>(|(exp, _)| *exp <= until);
        self.alive = alive;
        for (_, token) in ending {
            self.show(&token);
        }
        self.clock.advance(seconds);
        self.once();
    }

    /// One token, issued and shown to everybody.
    fn once(&mut self) {
        let token = self.site.issued(&self.issuer);
        let (kid, exp) = self.show(&token);
        self.issued += 1;
        self.alive.push((exp, token));
        if self.kids.last() != Some(&kid) {
            self.kids.push(kid);
        }
    }

    fn show(&mut self, token: &str) -> (String, i64) {
        let now = self.clock.now();
        let mut seen = None;
        for index in 0..self.verifiers.len() {
            let Verifier { cache_s, held } = &self.verifiers[index];
            if held.as_ref().is_none_or(|(since, _)| now.duration_since(*since).as_secs() >= *cache_s) {
                let cache_s = *cache_s;
                let fresh = self.fetched(now);
                self.verifiers[index] = Verifier { cache_s, held: Some((now, fresh)) };
            }
            let Verifier { cache_s, held } = &self.verifiers[index];
            let (since, keys) = held.as_ref().unwrap();
            let verified = self.site.verified(token, keys, now).unwrap_or_else(|error| {
                let log = self.issuer.output();
                panic!("refused at {now} by the verifier that caches {cache_s} s, fetched at {since}: {error}\n{log}")
            });
            seen = Some(verified);
        }
        seen.unwrap()
    }

    /// The key set through a cache that keeps it for its max-age, 300 s.
    fn fetched(&mut self, now: Timestamp) -> KeySet {
        match &self.shared {
            Some((since, keys)) if now.duration_since(*since).as_secs() < 300 => keys.clone(),
            _ => {
                let keys = self.site.served(&self.publisher);
                self.shared = Some((now, keys.clone()));
                keys
            }
        }
    }
}
