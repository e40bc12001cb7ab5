//! The use cases on the in-memory store, with a clock that the tests set.

use std::sync::Arc;

use jiff::Timestamp;
use token_jose::{Algorithm, Nonces};
use token_service::caller::{Caller, Callers, Credential};
use token_service::keys::SigningKeys;
use token_service::refresh_token::Vault;
use token_service::service::{
    AuthorizeRequest, ClientOrder, Denial, DenialReason, GrantProblem, PairOrder, Parts, ProofContext, RefreshRequest,
    Rules, ServiceError, SessionOrder, TokenOrder, TokenService,
};
use token_service::store::MemoryStore;
use token_service::tokens::ACCESS_TYP;
use token_shell::{Clock, OsIds};
use token_testkit::TestClock;

const KEY: &str = "dev-api-key-of-the-tests-0123456789";
const API: &str = "https://api.example";
const ISSUER: &str = "https://tokens.example";

/// The tests' clock as the service takes one.
struct Ticks(TestClock);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

struct World {
    service: TokenService,
    clock: TestClock,
    caller: Arc<Caller>,
}

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// The rules of all tests of this package.
pub fn rules() -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        audiences: vec![API.to_owned()],
        plain_ttl_s: 3600,
        access_ttl_s: 900,
        child_ttl_s: 900,
        parent_ttl_s: 30 * 86_400,
        refresh_ttl_s: 604_800,
        most_ttl_s: 30 * 86_400,
        skew_s: 60,
        leeway_s: 60,
        renew_threshold_s: 120,
        rate_window_s: 60,
        default_rate_limit: 100,
        origins: vec![API.to_owned(), ISSUER.to_owned()],
        nonce_required: false,
        proof_algorithms: vec![Algorithm::Es256],
    }
}

async fn world() -> World {
    let clock = TestClock::at("2026-11-22T12:00:00Z");
    let callers = Callers::dev(KEY);
    let credential = format!("Bearer {KEY}");
    let caller = callers
        .authenticate(Credential { authorization: Some(&credential), certificate: None }, start())
        .await
        .unwrap();
    let service = TokenService::new(Parts {
        rules: rules(),
        keys: SigningKeys::fresh(Algorithm::Es256, start()).unwrap(),
        store: Arc::new(MemoryStore::new(Arc::new(OsIds), 10_000)),
        callers,
        vault: Vault::new(&[1; 32], &[]),
        nonces: Nonces::new(&[2; 32]),
        clock: Arc::new(Ticks(clock.clone())),
        ids: Arc::new(OsIds),
    });
    World { service, clock, caller }
}

impl World {
    async fn authorize(&self, token: &str) -> Result<token_service::service::Allowed, Denial> {
        let authorization = format!("Bearer {token}");
        let request = AuthorizeRequest {
            authorization: Some(&authorization),
            method: "GET",
            path: "/orders",
            ..Default::default()
        };
        self.service.authorize(request).await
    }

    async fn reason(&self, token: &str) -> DenialReason {
        self.authorize(token).await.unwrap_err().reason
    }

    async fn refresh(
        &self,
        token: &str,
        scopes: &[String],
    ) -> Result<token_service::service::IssuedPair, ServiceError> {
        let request = RefreshRequest { token, caller: &self.caller, scopes, jkt: None, typ: ACCESS_TYP };
        self.service.refresh(request).await
    }
}

fn order(user: &str) -> TokenOrder {
    TokenOrder { user_id: user.to_owned(), ..TokenOrder::default() }
}

fn grant(error: ServiceError) -> GrantProblem {
    match error {
        ServiceError::Grant(problem) => problem,
        other => panic!("expected a grant problem, found {other:?}"),
    }
}

fn context() -> ProofContext<'static> {
    ProofContext { proof: None, method: "POST", path: "/renew" }
}

#[tokio::test]
async fn a_token_opens_until_it_is_revoked() {
    let world = world().await;
    let token = world.service.issue_token(&world.caller, &order("alice")).await.unwrap();
    let allowed = world.authorize(&token.token).await.unwrap();
    assert_eq!((allowed.subject.as_str(), allowed.rate_limit), ("user_alice", Some(100)));
    world.service.revoke_id(&world.caller, &token.id.to_string()).await.unwrap();
    assert_eq!(world.reason(&token.token).await, DenialReason::Revoked);
}

#[tokio::test]
async fn a_parent_opens_no_api_and_its_children_die_with_it() {
    let world = world().await;
    let pair = PairOrder { token: order("alice"), include_child: true, ..PairOrder::default() };
    let issued = world.service.issue_parent(&world.caller, &pair).await.unwrap();
    let child = issued.child.unwrap();
    assert_eq!(world.reason(&issued.parent.token).await, DenialReason::NotAnAccessToken);
    assert!(world.authorize(&child.token).await.is_ok());
    let renewed = world.service.renew(&issued.parent.token, context()).await.unwrap();
    assert!(world.authorize(&renewed.token).await.is_ok());
    // A child is no parent.
    assert_eq!(grant(world.service.renew(&child.token, context()).await.unwrap_err()), GrantProblem::Invalid);
    world.service.revoke_id(&world.caller, &issued.parent.id.to_string()).await.unwrap();
    assert_eq!(world.reason(&child.token).await, DenialReason::Revoked);
    assert_eq!(world.reason(&renewed.token).await, DenialReason::Revoked);
    assert_eq!(grant(world.service.renew(&issued.parent.token, context()).await.unwrap_err()), GrantProblem::Revoked);
}

#[tokio::test]
async fn a_child_never_outlives_its_parent() {
    let world = world().await;
    let token = TokenOrder { lifetime_s: Some(1000), ..order("alice") };
    let pair = PairOrder { token, include_child: true, ..PairOrder::default() };
    let issued = world.service.issue_parent(&world.caller, &pair).await.unwrap();
    world.clock.set(token_testkit::at("2026-11-22T12:10:00Z"));
    let late = world.service.renew(&issued.parent.token, context()).await.unwrap();
    assert_eq!(late.expires, issued.parent.expires);
}

#[tokio::test]
async fn revoking_a_user_ends_everything_and_nothing_new() {
    let world = world().await;
    let token = world.service.issue_token(&world.caller, &order("alice")).await.unwrap();
    let other = world.service.issue_token(&world.caller, &order("bob")).await.unwrap();
    let session = SessionOrder { user_id: "alice".to_owned(), ..SessionOrder::default() };
    let session = world.service.issue_session(&world.caller, &session).await.unwrap();
    world.service.revoke_user(&world.caller, "alice").await.unwrap();
    assert_eq!(world.reason(&token.token).await, DenialReason::Revoked);
    assert_eq!(world.reason(&session.access.token).await, DenialReason::Revoked);
    let refresh = session.refresh.unwrap();
    assert_eq!(grant(world.refresh(refresh.as_str(), &[]).await.unwrap_err()), GrantProblem::Revoked);
    assert!(world.authorize(&other.token).await.is_ok());
    let again = world.service.issue_token(&world.caller, &order("alice")).await.unwrap();
    assert!(world.authorize(&again.token).await.is_ok());
}

#[tokio::test]
async fn a_refresh_token_works_once_a_retry_gets_the_same_answer_and_a_thief_ends_it() {
    let world = world().await;
    let scopes = vec!["read".to_owned(), "write".to_owned()];
    let order = SessionOrder { user_id: "alice".to_owned(), scopes, ..SessionOrder::default() };
    let first = world.service.issue_session(&world.caller, &order).await.unwrap();
    let first_refresh = first.refresh.unwrap();
    let second = world.refresh(first_refresh.as_str(), &["read".to_owned()]).await.unwrap();
    assert_eq!(second.access.scopes, ["read"]);
    let retry = world.refresh(first_refresh.as_str(), &["read".to_owned()]).await.unwrap();
    assert_eq!(retry.access.token, second.access.token);
    assert_eq!(retry.refresh, second.refresh);
    let more = world.refresh(second.refresh.as_ref().unwrap().as_str(), &["admin".to_owned()]).await.unwrap_err();
    assert!(matches!(more, ServiceError::Scope(_)));
    // The access token is seen: the answer is known to have arrived, so the old token is a thief's.
    assert!(world.authorize(&second.access.token).await.is_ok());
    assert_eq!(
        grant(world.refresh(first_refresh.as_str(), &["read".to_owned()]).await.unwrap_err()),
        GrantProblem::Reused
    );
    let live = second.refresh.unwrap();
    assert_eq!(grant(world.refresh(live.as_str(), &[]).await.unwrap_err()), GrantProblem::Revoked);
    assert_eq!(world.reason(&second.access.token).await, DenialReason::Revoked);
}

#[tokio::test]
async fn two_doors_never_make_one_subject_of_two_users() {
    let world = world().await;
    for user in ["user_alice", "dev"] {
        let session = SessionOrder { user_id: user.to_owned(), ..SessionOrder::default() };
        let refused = world.service.issue_session(&world.caller, &session).await.unwrap_err();
        assert!(matches!(refused, ServiceError::Invalid(_)), "{user}");
    }
}

#[tokio::test]
async fn claims_that_decide_security_cannot_be_brought_along() {
    let world = world().await;
    for name in
        ["sub", "exp", "cnf", "ep", "ugen", "parent_jti", "token_type", "scopes", "client_id", "kubernetes.io/x"]
    {
        let extra = [(name.to_owned(), serde_json::json!("x"))].into();
        let session = SessionOrder { user_id: "alice".to_owned(), extra, ..SessionOrder::default() };
        let refused = world.service.issue_session(&world.caller, &session).await.unwrap_err();
        assert!(matches!(refused, ServiceError::Invalid(_)), "{name}");
    }
}

#[tokio::test]
async fn an_emptied_store_refuses_instead_of_unrevoking() {
    let one = world().await;
    let token = one.service.issue_token(&one.caller, &order("alice")).await.unwrap();
    // Another store, the same keys: what a replica sees after its Redis was emptied.
    let World { clock, .. } = &one;
    let keys = SigningKeys::fresh(Algorithm::Es256, start()).unwrap();
    let emptied = TokenService::new(Parts {
        rules: rules(),
        keys,
        store: Arc::new(MemoryStore::new(Arc::new(OsIds), 10_000)),
        callers: Callers::dev(KEY),
        vault: Vault::new(&[1; 32], &[]),
        nonces: Nonces::new(&[2; 32]),
        clock: Arc::new(Ticks(clock.clone())),
        ids: Arc::new(OsIds),
    });
    let authorization = format!("Bearer {}", *token.token);
    let request =
        AuthorizeRequest { authorization: Some(&authorization), method: "GET", path: "/", ..Default::default() };
    assert_eq!(emptied.authorize(request).await.unwrap_err().reason, DenialReason::InvalidToken);
}

#[tokio::test]
async fn the_rate_limit_of_a_token_counts() {
    let world = world().await;
    let limited = TokenOrder { rate_limit: Some(3), ..order("alice") };
    let token = world.service.issue_token(&world.caller, &limited).await.unwrap();
    for _ in 0..3 {
        assert!(world.authorize(&token.token).await.is_ok());
    }
    let denied = world.authorize(&token.token).await.unwrap_err();
    assert_eq!(denied.reason, DenialReason::RateLimited);
    assert!(denied.retry_after_s.is_some_and(|seconds| seconds >= 1));
}

#[tokio::test]
async fn a_client_gets_a_token_about_itself() {
    let world = world().await;
    let issued = world.service.issue_client(&world.caller, &ClientOrder::default()).await.unwrap();
    let allowed = world.authorize(&issued.access.token).await.unwrap();
    assert_eq!((allowed.subject.as_str(), allowed.client_id.as_deref()), ("dev", Some("dev")));
    assert!(issued.refresh.is_none());
}

#[tokio::test]
async fn the_latest_child_is_the_same_until_it_is_due() {
    let world = world().await;
    let pair = PairOrder { token: order("alice"), include_child: true, ..PairOrder::default() };
    let issued = world.service.issue_parent(&world.caller, &pair).await.unwrap();
    let family = world.service.open_parent(&issued.parent.token, context()).await.unwrap();
    let first = world.service.latest(&family).await.unwrap();
    assert_eq!(first.child.id, issued.child.as_ref().unwrap().id);
    assert!(world.authorize(&first.child.token).await.is_ok());
    world.clock.set(token_testkit::at("2026-11-22T12:14:00Z"));
    assert_eq!(world.service.renew_due().await.unwrap(), 1);
    let second = world.service.latest(&family).await.unwrap();
    assert_ne!(second.child.id, first.child.id);
    assert!(second.seq > first.seq);
}

#[tokio::test]
async fn introspection_tells_nothing_about_what_is_not_active() {
    let world = world().await;
    let token = world.service.issue_token(&world.caller, &order("alice")).await.unwrap();
    let active = world.service.introspect(&world.caller, &token.token).await.unwrap().into_members();
    assert_eq!(active.get("active"), Some(&serde_json::json!(true)));
    assert!(!active.contains_key("ep") && !active.contains_key("ugen"));
    world.service.revoke_token(&world.caller, &token.token).await.unwrap();
    for text in [token.token.as_str(), "garbage", "rt1.x.y", ""] {
        let members = world.service.introspect(&world.caller, text).await.unwrap().into_members();
        assert_eq!(serde_json::Value::Object(members), serde_json::json!({"active": false}), "{text}");
    }
}
