//! The whole use case over documents in memory.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use token_claims::{CallerIdentity, Principal, SsoPath, TokenRequest};
use token_issuance::{
    IssueError, IssuedToken, KeyLoader, LoadError, MappingLoader, NoSigningKey, Refreshing, Stamp, TokenIssuer,
};
use token_jose::{Algorithm, Expectation, KeyRing, KeySet, RingPolicy, verify};
use token_testkit::{MemoryDocument, TestClock};

const ISSUER: &str = "https://issuer.example";
const MAPPING: &str = r#"
[defaults]
audience = "https://api.example"

[[rule]]
name = "etl workers"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role}"
scopes = ["read", "write"]
max_ttl = "30m"

[audience."https://api.example"]
profile = "generic"
"#;

struct World {
    ring: MemoryDocument,
    published: MemoryDocument,
    mapping: MemoryDocument,
    clock: TestClock,
    issuer: TokenIssuer,
}

impl World {
    fn new() -> Self {
        let clock = TestClock::at("2026-11-22T12:00:00Z");
        let keys = KeyRing::first(&[Algorithm::Es256, Algorithm::EdDsa], RingPolicy::default(), clock.now()).unwrap();
        let ring = MemoryDocument::with("ring", keys.to_json().unwrap().to_vec());
        let published = MemoryDocument::with("jwks", keys.published(clock.now()).to_stored_json());
        let mapping = MemoryDocument::with("mapping", MAPPING);
        let keys = KeyLoader::new(Arc::new(ring.clone()), Arc::new(published.clone()));
        let keys = Arc::new(Refreshing::new(keys, 300));
        let loader = MappingLoader::new(Arc::new(mapping.clone()), Arc::clone(&keys), None, SsoPath::Unproven);
        let issuer = TokenIssuer::new(ISSUER.to_owned(), keys, Refreshing::new(loader, 300));
        Self { ring, published, mapping, clock, issuer }
    }

    /// Puts another ring in the store, and its public halves too when `publish`.
    fn rotate(&self, publish: bool) -> KeyRing {
        let keys = KeyRing::first(&[Algorithm::Es256], RingPolicy::default(), self.clock.now()).unwrap();
        self.ring.set(keys.to_json().unwrap().to_vec());
        if publish {
            self.published.set(keys.published(self.clock.now()).to_stored_json());
        }
        keys
    }

    async fn issue(&self, request: &TokenRequest) -> Result<IssuedToken, IssueError> {
        let stamp =
            Stamp { now: self.clock.now(), token_id: "token-1".to_owned(), decision_id: "decision-1".to_owned() };
        self.issuer.issue(&principal("etl-nightly"), request, &stamp).await
    }
}

fn principal(role: &str) -> Principal {
    let (arn, caller) =
        (format!("arn:aws:sts::111122223333:assumed-role/{role}/session"), "AROAEXAMPLEEXAMPLE12:session");
    Principal::from_caller(&CallerIdentity {
        user_arn: &arn,
        account_id: Some("111122223333"),
        caller: Some(caller),
        user: Some(caller),
        sso_path: SsoPath::Unproven,
    })
    .unwrap()
}

fn check(token: &str, keys: &KeySet, now: Timestamp) -> serde_json::Map<String, serde_json::Value> {
    verify(token, keys, &Expectation::new(ISSUER, "https://api.example", &["JWT"]), now).unwrap().into_inner()
}

#[tokio::test]
async fn a_principal_gets_the_token_its_rule_grants_and_the_record_says_how() {
    let world = World::new();
    let issued = world.issue(&TokenRequest::default()).await.unwrap();
    let keys = KeySet::parse(world_jwks(&world).await.as_bytes()).unwrap();
    let claims = check(issued.token.as_str(), &keys, world.clock.now());
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], "111122223333/etl-nightly");
    assert_eq!(claims["jti"], "token-1");
    assert_eq!(claims["scope"], "read write");
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!((exp - iat, issued.expires_in_s), (900, 900));
    assert_eq!(iat, world.clock.now().as_second());
    let record = &issued.record;
    assert_eq!((record.rule.as_str(), record.decision_id.as_str()), ("etl workers", "decision-1"));
    assert_eq!(record.token_sha256, token_jose::sha256_hex(issued.token.as_str().as_bytes()));
    assert!(!format!("{issued:?}").contains(issued.token.as_str()), "a token is never in Debug");
}

#[tokio::test]
async fn a_bound_token_names_the_proven_key_in_cnf_and_the_record() {
    let world = World::new();
    let proven = token_jose::LocalSigner::generate(Algorithm::EdDsa).unwrap();
    let jkt = token_jose::Signer::public_key(&proven).kid().clone();
    let stamp = Stamp { now: world.clock.now(), token_id: "token-1".to_owned(), decision_id: "decision-1".to_owned() };
    let request = TokenRequest::default();
    let issued = world.issuer.issue_bound(&principal("etl-nightly"), &request, &jkt, &stamp).await.unwrap();
    let keys = KeySet::parse(world_jwks(&world).await.as_bytes()).unwrap();
    let claims = check(issued.token.as_str(), &keys, world.clock.now());
    assert_eq!(claims["cnf"], serde_json::json!({"jkt": jkt.as_str()}));
    assert_eq!(
        (claims["sub"].as_str(), issued.record.jkt.as_deref()),
        (Some("111122223333/etl-nightly"), Some(jkt.as_str()))
    );
    let bearer = world.issue(&request).await.unwrap();
    assert_eq!(bearer.record.jkt, None);
    assert!(!check(bearer.token.as_str(), &keys, world.clock.now()).contains_key("cnf"));
    // The mapping decides as ever.
    let request = TokenRequest { scopes: Some(vec!["admin".to_owned()]), ..request };
    let refused = world.issuer.issue_bound(&principal("etl-nightly"), &request, &jkt, &stamp).await.unwrap_err();
    assert_eq!(refused.code(), "scope");
}

async fn world_jwks(world: &World) -> String {
    use token_issuance::DocumentSource as _;
    String::from_utf8(world.published.read().await.unwrap().bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn what_the_mapping_refuses_is_refused_with_its_digest() {
    let world = World::new();
    let request = TokenRequest { scopes: Some(vec!["admin".to_owned()]), ..TokenRequest::default() };
    match world.issue(&request).await.unwrap_err() {
        IssueError::Refused { mapping_sha256, .. } => {
            assert_eq!(mapping_sha256, token_jose::sha256_hex(MAPPING.as_bytes()));
        }
        other => panic!("{other}"),
    }
}

/// **INV** a key signs only if its kid and exact public half are in the published set.
#[tokio::test]
async fn a_key_that_is_not_published_does_not_sign() {
    let world = World::new();
    world.issue(&TokenRequest::default()).await.unwrap();
    let rotated = world.rotate(false);
    world.clock.advance(300);
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert!(matches!(error, IssueError::NoSigningKey(NoSigningKey::Unpublished { .. })), "{error}");
    assert_eq!((error.code(), error.retry_after_s()), ("key_unpublished", Some(30)));
    world.published.set(rotated.published(world.clock.now()).to_stored_json());
    world.clock.advance(300);
    let issued = world.issue(&TokenRequest::default()).await.unwrap();
    check(issued.token.as_str(), &rotated.published(world.clock.now()), world.clock.now());
}

#[tokio::test]
async fn a_published_key_past_its_time_does_not_sign() {
    let world = World::new();
    let text = world_jwks(&world).await;
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in document["keys"].as_array_mut().unwrap() {
        key["not_after"] = "2026-11-22T12:00:30Z".into();
    }
    world.published.set(document.to_string());
    world.clock.advance(30);
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), "key_unpublished");
}

#[tokio::test]
async fn a_changed_key_signs_within_the_bounded_age() {
    let world = World::new();
    let first = world.issue(&TokenRequest::default()).await.unwrap();
    world.rotate(true);
    world.clock.advance(299);
    assert_eq!(world.issue(&TokenRequest::default()).await.unwrap().record.kid, first.record.kid);
    world.clock.advance(1);
    assert_ne!(world.issue(&TokenRequest::default()).await.unwrap().record.kid, first.record.kid);
}

#[tokio::test]
async fn while_the_store_is_down_the_last_good_ring_signs_for_half_its_lead() {
    let world = World::new();
    world.issuer.warm(world.clock.now()).await.unwrap();
    world.ring.go_down();
    let lead_s = i64::try_from(RingPolicy::default().lead_s).unwrap();
    world.clock.advance(lead_s / 2);
    world.issue(&TokenRequest::default()).await.unwrap();
    assert!(world.issuer.gauges(world.clock.now()).ring_failing);
    world.clock.advance(1);
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), "keys_unavailable");
    assert!(error.retry_after_s().is_some_and(|seconds| seconds >= 1));
    world.ring.mend();
    world.clock.advance(31);
    world.issue(&TokenRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_broken_mapping_leaves_the_last_good_one_for_an_hour() {
    let world = World::new();
    world.issuer.warm(world.clock.now()).await.unwrap();
    world.mapping.set("[[rule]]\nname = \"x\"\n");
    world.clock.advance(3_600);
    world.issue(&TokenRequest::default()).await.unwrap();
    assert!(world.issuer.gauges(world.clock.now()).mapping_failing);
    world.clock.advance(1);
    assert_eq!(world.issue(&TokenRequest::default()).await.unwrap_err().code(), "mapping_unavailable");
}

#[tokio::test]
async fn wrong_documents_fail_the_start_with_every_problem() {
    let world = World::new();
    world.ring.set(r#"{"version":1,"surprise":true}"#);
    world.published.set(r#"{"keys":[{"kty":"oct"}]}"#);
    let LoadError::Invalid(text) = world.issuer.warm(world.clock.now()).await.unwrap_err() else {
        panic!("expected a configuration problem")
    };
    assert!(text.contains("memory:ring:") && text.contains("memory:jwks:"), "{text}");
    assert!(text.contains("surprise"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_down_at_start_is_no_wrong_configuration() {
    let world = World::new();
    world.ring.go_down();
    world.issuer.warm(world.clock.now()).await.unwrap();
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), "keys_unavailable");
    world.ring.mend();
    world.clock.advance(2);
    world.issue(&TokenRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_ring_older_than_the_published_set_allows_is_refused() {
    let world = World::new();
    let text = world_jwks(&world).await;
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["min_generation"] = 99.into();
    world.published.set(document.to_string());
    assert!(matches!(world.issuer.warm(world.clock.now()).await.unwrap_err(), LoadError::Poisoned(_)));
}

/// **INV** no loader accepts a ring older than `min_generation`: not even the last good one may sign on.
#[tokio::test]
async fn a_withdrawal_stops_the_last_good_ring_too() {
    let world = World::new();
    world.issue(&TokenRequest::default()).await.unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&world_jwks(&world).await).unwrap();
    document["min_generation"] = 3.into();
    world.published.set(document.to_string());
    world.clock.advance(300);
    assert_eq!(world.issue(&TokenRequest::default()).await.unwrap_err().code(), "keys_unavailable");
}

#[tokio::test]
async fn gauges_count_down_to_the_next_rotation() {
    let world = World::new();
    world.issuer.warm(world.clock.now()).await.unwrap();
    world.clock.advance(86_400);
    let gauges = world.issuer.gauges(world.clock.now());
    #[expect(clippy::cast_precision_loss, reason = "days of a policy are small")]
    let interval_days = RingPolicy::default().interval_s as f64 / 86_400.0;
    assert_eq!(gauges.key_days_left, Some(interval_days - 1.0));
    assert_eq!((gauges.ring_age_s, gauges.ring_failing), (Some(86_400), false));
}

/// A ring that is older than the key set, as after a rollback: its key goes before a token of it would be dead.
#[tokio::test]
async fn a_key_that_leaves_before_its_tokens_die_does_not_sign() {
    let world = World::new();
    let mut document: serde_json::Value = serde_json::from_str(&world_jwks(&world).await).unwrap();
    let policy = RingPolicy::default();
    let tail = SignedDuration::from_secs(i64::try_from(policy.after_signing_s()).unwrap());
    let end = world.clock.now() + tail + SignedDuration::from_secs(300);
    for key in document["keys"].as_array_mut().unwrap() {
        key["not_after"] = end.to_string().into();
    }
    world.published.set(document.to_string());
    world.clock.advance(300);
    world.issue(&TokenRequest::default()).await.unwrap();
    world.clock.advance(1);
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert!(matches!(error, IssueError::NoSigningKey(NoSigningKey::Leaving { .. })), "{error}");
    assert_eq!((error.code(), error.retry_after_s()), ("key_unpublished", Some(30)));
}

/// A key that was gone and is published again waits for the lead, as a new one does; a whole set that is published again
/// does not.
#[tokio::test]
async fn a_key_that_is_back_waits_for_its_lead() {
    let world = World::new();
    let first = world.issue(&TokenRequest::default()).await.unwrap();
    world.clock.advance(100_000);
    let mut document: serde_json::Value = serde_json::from_str(&world_jwks(&world).await).unwrap();
    let back = world.clock.now().to_string();
    for key in document["keys"].as_array_mut().unwrap() {
        if key["kid"] == first.record.kid.as_str() {
            key["published_at"] = back.clone().into();
        }
    }
    world.published.set(document.to_string());
    world.clock.advance(300);
    let error = world.issue(&TokenRequest::default()).await.unwrap_err();
    assert!(matches!(error, IssueError::NoSigningKey(NoSigningKey::Republished { .. })), "{error}");
    world.clock.advance(86_100);
    world.issue(&TokenRequest::default()).await.unwrap();

    for key in document["keys"].as_array_mut().unwrap() {
        key["published_at"] = world.clock.now().to_string().into();
    }
    world.published.set(document.to_string());
    world.clock.advance(300);
    world.issue(&TokenRequest::default()).await.unwrap();
}
