//! Whose tokens are believed.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, ForeignExpectation, TypRule, sign_compact};
use token_remote::{ForeignIdentity, ForeignTokenError, IssuerKind, TrustedIssuer, TrustedIssuers};
use token_testkit::{StubAnswer, at, keys};

use crate::keys::{Issuer, set};

const CLUSTER: &str = "https://kubernetes.default.svc";
const IDP: &str = "https://idp.example/realm";
const AUDIENCE: &str = "token-exchange";
const ACCOUNT: &str = "system:serviceaccount:edc:runner";

fn now() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

/// A cluster that signs with RS256 and an identity provider that signs with ES256.
struct World {
    cluster: Issuer,
    idp: Issuer,
    trusted: TrustedIssuers,
}

fn world() -> World {
    let kid = |algorithm| keys::signer(algorithm).public_key().kid().to_string();
    let cluster = Issuer::start(&set(&kid(Algorithm::Rs256), Algorithm::Rs256));
    let idp = Issuer::start(&set(&kid(Algorithm::Es256), Algorithm::Es256));
    let trusted = TrustedIssuers::new([
        TrustedIssuer::new(ForeignExpectation::new(CLUSTER, AUDIENCE, &[Algorithm::Rs256]), Arc::new(cluster.keys()))
            .kubernetes(),
        TrustedIssuer::new(
            ForeignExpectation::new(IDP, "token-service", &[Algorithm::Es256]).with_typ(TypRule::required(&["at+jwt"])),
            Arc::new(idp.keys()),
        )
        .with_subject_prefix("team-a/"),
    ])
    .unwrap();
    World { cluster, idp, trusted }
}

impl World {
    async fn verify(
        &self,
        algorithm: Algorithm,
        typ: &str,
        changes: Value,
    ) -> Result<ForeignIdentity, ForeignTokenError> {
        let mut claims = match algorithm {
            Algorithm::Rs256 => json!({"iss": CLUSTER, "sub": ACCOUNT, "aud": [AUDIENCE, "other"]}),
            _ => json!({"iss": IDP, "sub": "team-a/app", "aud": "token-service"}),
        };
        claims["iat"] = json!(now().as_second());
        claims["exp"] = json!(now().as_second() + 600);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let signer = keys::signer(algorithm);
        let token = sign_compact(signer.as_ref(), typ, claims.to_string().as_bytes()).await.unwrap();
        self.trusted.verify(token.as_str(), now()).await
    }

    fn asked(&self) -> usize {
        self.cluster.asked() + self.idp.asked()
    }
}

#[tokio::test]
async fn a_token_of_a_listed_issuer_is_an_identity() {
    let world = world();
    let cluster = world.verify(Algorithm::Rs256, "JWT", json!({})).await.unwrap();
    assert_eq!(
        (cluster.issuer.as_str(), cluster.subject.as_str(), cluster.kind),
        (CLUSTER, ACCOUNT, IssuerKind::Kubernetes)
    );
    assert_eq!(cluster.claims["aud"], json!([AUDIENCE, "other"]));
    let idp = world.verify(Algorithm::Es256, "at+jwt", json!({})).await.unwrap();
    assert_eq!((idp.issuer.as_str(), idp.subject.as_str(), idp.kind), (IDP, "team-a/app", IssuerKind::Other));
    assert!(!format!("{idp:?}").contains("token-service"), "claims are not shown");
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn nothing_is_fetched_before_the_issuer_is_found_on_the_list() {
    let world = world();
    let stranger = world.idp.stub.url();
    for iss in [
        json!("https://evil.example"),
        json!(stranger),
        json!(format!("{CLUSTER}/")),
        json!("https://KUBERNETES.default.svc"),
        json!(format!("{CLUSTER}\u{200b}")),
        json!(format!(" {CLUSTER}")),
        json!(""),
        json!(["https://kubernetes.default.svc"]),
        json!(null),
    ] {
        let error = world.verify(Algorithm::Rs256, "JWT", json!({"iss": iss})).await.unwrap_err();
        assert!(!error.is_outage() && matches!(error.code(), "unknown_issuer" | "issuer"), "{iss}: {error}");
    }
    for garbage in ["", "a.b.c", "x", "...", &"x".repeat(100_000)] {
        assert!(!world.trusted.verify(garbage, now()).await.unwrap_err().is_outage());
    }
    assert_eq!(world.asked(), 0);
}

#[tokio::test]
async fn each_issuer_has_its_own_audience_algorithms_and_types() {
    let world = world();
    for (algorithm, typ, changes, code) in [
        (Algorithm::Rs256, "JWT", json!({"aud": "token-service"}), "audience"),
        (Algorithm::Es256, "at+jwt", json!({"aud": AUDIENCE}), "audience"),
        (Algorithm::Es256, "JWT", json!({}), "typ"),
        (Algorithm::Rs256, "at+jwt", json!({}), "typ"),
        // One issuer's key never vouches for another.
        (Algorithm::Es256, "at+jwt", json!({"iss": CLUSTER, "sub": ACCOUNT, "aud": AUDIENCE}), "typ"),
        (Algorithm::Es256, "JWT", json!({"iss": CLUSTER, "sub": ACCOUNT, "aud": AUDIENCE}), "algorithm"),
        (Algorithm::Ps256, "JWT", json!({"iss": CLUSTER, "sub": ACCOUNT, "aud": AUDIENCE}), "algorithm"),
        (Algorithm::EdDsa, "at+jwt", json!({}), "algorithm"),
        (Algorithm::Rs256, "JWT", json!({"exp": now().as_second() - 61}), "expired"),
    ] {
        let error = world.verify(algorithm, typ, changes.clone()).await.unwrap_err();
        assert_eq!((error.code(), error.is_outage()), (code, false), "{changes}: {error}");
    }
}

#[tokio::test]
async fn an_issuer_speaks_for_its_own_subjects_only() {
    let world = world();
    for (algorithm, typ, subject) in [
        (Algorithm::Es256, "at+jwt", json!(ACCOUNT)),
        (Algorithm::Es256, "at+jwt", json!("team-b/app")),
        (Algorithm::Es256, "at+jwt", json!("Team-a/app")),
        (Algorithm::Es256, "at+jwt", json!("")),
        (Algorithm::Es256, "at+jwt", json!(null)),
        (Algorithm::Es256, "at+jwt", json!(["team-a/app"])),
        (Algorithm::Es256, "at+jwt", json!("team-a/app\n")),
        (Algorithm::Es256, "at+jwt", json!(format!("team-a/{}", "x".repeat(250)))),
        (Algorithm::Rs256, "JWT", json!("admin")),
        (Algorithm::Rs256, "JWT", json!("system:node:a")),
        (Algorithm::Rs256, "JWT", json!("System:serviceaccount:edc:runner")),
    ] {
        let error = world.verify(algorithm, typ, json!({"sub": subject})).await.unwrap_err();
        assert_eq!((error.code(), error.is_outage()), ("subject", false), "{subject}: {error}");
        assert!(error.to_string().len() < 400 && !error.to_string().contains('\n'));
    }
}

#[tokio::test]
async fn a_service_account_of_an_issuer_that_is_no_cluster_is_nobody() {
    let kid = keys::signer(Algorithm::Es256).public_key().kid().to_string();
    let idp = Issuer::start(&set(&kid, Algorithm::Es256));
    let expectation = ForeignExpectation::new(IDP, AUDIENCE, &[Algorithm::Es256]);
    let trusted = TrustedIssuers::new([TrustedIssuer::new(expectation, Arc::new(idp.keys()))]).unwrap();
    for (subject, accepted) in [("anybody", true), (ACCOUNT, false), ("system:serviceaccount:", false)] {
        let claims = json!({"iss": IDP, "sub": subject, "aud": AUDIENCE, "exp": now().as_second() + 60});
        let token = sign_compact(keys::signer(Algorithm::Es256).as_ref(), "JWT", claims.to_string().as_bytes()).await;
        let result = trusted.verify(token.unwrap().as_str(), now()).await;
        assert_eq!(result.is_ok(), accepted, "{subject}");
        assert!(accepted || result.is_err_and(|error| error.code() == "subject"), "{subject}");
    }
}

#[tokio::test]
async fn an_outage_is_never_the_token_s_fault() {
    let world = world();
    world.cluster.answers(StubAnswer::status(503));
    let error = world.verify(Algorithm::Rs256, "JWT", json!({})).await.unwrap_err();
    assert!(
        matches!(&error, ForeignTokenError::Outage { issuer, error } if issuer == CLUSTER && error.retry_after_s >= 1)
    );
    assert_eq!(error.code(), "outage");
    // The other issuer is not concerned.
    assert!(world.verify(Algorithm::Es256, "at+jwt", json!({})).await.is_ok());
    // A set without the key is an answer: the token is wrong.
    world.idp.answers(StubAnswer::json(&json!({"keys": []})));
    let later = now() + jiff::SignedDuration::from_secs(301);
    let claims = json!({"iss": IDP, "sub": "team-a/app", "aud": "token-service", "exp": later.as_second() + 60});
    let token = sign_compact(keys::signer(Algorithm::Es256).as_ref(), "at+jwt", claims.to_string().as_bytes()).await;
    let error = world.trusted.verify(token.unwrap().as_str(), later).await.unwrap_err();
    assert_eq!(error.code(), "unknown_kid");
}

#[test]
fn every_problem_of_the_list_is_reported() {
    let idle = Issuer::start(&json!({"keys": []}));
    let of = |issuer: &str, audience: &str, algorithms: &[Algorithm]| {
        TrustedIssuer::new(ForeignExpectation::new(issuer, audience, algorithms), Arc::new(idle.keys()))
    };
    let error = TrustedIssuers::new([
        of("https://a.example", "", &[]),
        of("https://a.example", "x", &[Algorithm::Es256]),
        of("https://b.example", "x", &[Algorithm::Es256]).with_subject_prefix("system:serviceaccount:edc:"),
        of("https://c.example", "x", &[Algorithm::Es256]).with_subject_prefix("team").kubernetes(),
        of("", "x", &[Algorithm::Es256]),
        of("https://d.example", "x", &[Algorithm::Es256])
            .with_subject_prefix("system:serviceaccount:edc:")
            .kubernetes(),
    ])
    .unwrap_err();
    assert_eq!(error.problems().len(), 6, "{error}");
    assert!(error.problems().iter().all(|problem| problem.contains("; hint: ")), "{error}");
    let none = TrustedIssuers::new([]).unwrap();
    assert!(!none.contains("https://a.example") && none.key_sets().next().is_none());
}
