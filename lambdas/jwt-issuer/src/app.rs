//! One request through the Lambda.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::Method;
use serde_json::Value;
use token_claims::{CallerIdentity, Principal, PrincipalError, SsoPath};
use token_http::{
    Door, EventError, GatewayEvent, GatewayResponse, OAuthError, dpop_proof, token_request, token_response,
};
use token_issuance::{IssueError, IssuedToken, KeyLoader, MappingLoader, Refreshing, Stamp, TokenIssuer};
use token_jose::{Algorithm, Htu, Proof, ProofExpectation, verify_proof};
use token_shell::{Clock, IdSource, Problems};

use crate::audit::{self, Trail};
use crate::config::Config;

/// The stage API Gateway's console uses to call an integration past its authorization.
const TEST_STAGE: &str = "test-invoke-stage";

/// The one route.
const TOKEN: &str = "/token";

/// The Lambda, ready to answer.
pub struct App {
    issuer: TokenIssuer,
    token_endpoint: Htu,
    organization_id: Option<String>,
    sso_path: SsoPath,
    api_id: Option<String>,
    stage: Option<String>,
    clock: Box<dyn Clock>,
    ids: Box<dyn IdSource>,
    metrics: Mutex<Box<dyn Write + Send>>,
}

/// Why a request ends without a token. Public to the audit, which logs more than the caller is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("expected the API {expected}, found a request of another API or stage")]
    Api { expected: String },
    #[error("{0}")]
    Body(OAuthError),
    #[error("{0}")]
    Dpop(OAuthError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("no IAM identity in the request context")]
    Identity,
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("expected the method POST")]
    Method,
    #[error("expected a principal of organization {expected}, found {found}")]
    Organization { expected: String, found: String },
    #[error("HTTP API requests are refused while ORGANIZATION_ID is unset: nothing else ties their callers to us")]
    OrganizationUnset,
    #[error(transparent)]
    Principal(#[from] PrincipalError),
    #[error("expected the path /token")]
    Route,
    #[error("a request of the console's test stage skips authorization")]
    TestStage,
}

impl Refused {
    /// A stable word for the log and for metrics, from a closed set.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Api { .. } => "other_api",
            Self::Body(_) => "bad_request",
            Self::Dpop(_) => "bad_proof",
            Self::Event(_) => "bad_event",
            Self::Identity => "no_identity",
            Self::Issue(error) => error.code(),
            Self::Method => "method",
            Self::Organization { .. } => "other_organization",
            Self::OrganizationUnset => "organization_unset",
            Self::Principal(_) => "bad_principal",
            Self::Route => "route",
            Self::TestStage => "test_stage",
        }
    }
}

/// What the caller is told, in one exhaustive match.
impl From<&Refused> for OAuthError {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::Api { .. } => {
                Self::access_denied("expected a request of this issuer's own API and stage, found another")
            }
            Refused::Body(error) | Refused::Dpop(error) => error.clone(),
            Refused::Event(error) => Self::invalid_request(error.to_string()),
            Refused::Identity => Self::no_identity(),
            Refused::Issue(error) => error.into(),
            Refused::Method => Self::method_not_allowed("POST"),
            Refused::Organization { .. } => {
                Self::access_denied("expected a principal of this issuer's organization, found another or none")
            }
            Refused::OrganizationUnset => {
                Self::access_denied("this issuer does not take requests of an HTTP API; hint: call its REST API")
            }
            Refused::Principal(error) => {
                Self::access_denied(format!("the caller's identity is not one that can have a token: {error}"))
            }
            Refused::Route => Self::not_found(),
            Refused::TestStage => Self::access_denied("requests of the console's test stage are refused"),
        }
    }
}

impl App {
    /// The Lambda with its keys and mapping read, or everything that is wrong with its configuration.
    ///
    /// A store that does not answer is not a wrong configuration: the first requests get 503 until it does.
    ///
    /// # Errors
    /// `problems`, with what reading the documents added.
    pub async fn start(
        config: Config,
        mut problems: Problems,
        clock: Box<dyn Clock>,
        ids: Box<dyn IdSource>,
        metrics: Box<dyn Write + Send>,
    ) -> Result<Self, Problems> {
        let issuer = Self::issuer(&config).zip(config.token_endpoint.clone());
        if let Some((issuer, _)) = &issuer
            && let Err(error) = issuer.warm(clock.now()).await
        {
            problems.add(error);
        }
        let (issuer, token_endpoint) = problems.into_result(issuer)?;
        Ok(Self {
            issuer,
            token_endpoint,
            organization_id: config.organization_id,
            sso_path: config.sso_path,
            api_id: config.api_id,
            stage: config.stage,
            clock,
            ids,
            metrics: Mutex::new(metrics),
        })
    }

    fn issuer(config: &Config) -> Option<TokenIssuer> {
        let refresh_s = config.refresh_s?;
        let (ring, published) = (config.ring.clone()?, config.published.clone()?);
        let mut loader = KeyLoader::new(ring, published);
        if let Some(signers) = &config.signers {
            loader = loader.with_signers(Arc::clone(signers));
        }
        let keys = Arc::new(Refreshing::new(loader, refresh_s));
        let mapping =
            MappingLoader::new(config.mapping.clone()?, Arc::clone(&keys), config.audience.clone(), config.sso_path);
        Some(TokenIssuer::new(config.issuer.clone()?, keys, Refreshing::new(mapping, refresh_s)))
    }

    /// Answers one event of API Gateway, whatever it is: a token, or an error with the decision's id. Logs the decision
    /// once and emits its metrics.
    pub async fn handle(&self, event: &[u8], trace_id: Option<&str>) -> Value {
        let started = Instant::now();
        let stamp = Stamp { now: self.clock.now(), token_id: self.ids.next_id(), decision_id: self.ids.next_id() };
        let mut trail = Trail { decision_id: &stamp.decision_id, trace_id, request_id: String::new(), principal: None };
        let outcome = self.decide(event, &stamp, &mut trail).await;
        audit::log(&trail, &outcome);
        let response = match &outcome {
            Ok(issued) => token_response(issued),
            Err(refused) => GatewayResponse::error(&refused.into(), &stamp.decision_id),
        };
        let gauges = self.issuer.gauges(stamp.now);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        audit::emit(&outcome, &gauges, started.elapsed(), stamp.now, &mut **metrics);
        response.to_json()
    }

    async fn decide(&self, event: &[u8], stamp: &Stamp, trail: &mut Trail<'_>) -> Result<IssuedToken, Refused> {
        let event = GatewayEvent::parse(event)?;
        trail.request_id.clone_from(&event.request_id);
        self.check_route(&event)?;
        let principal = self.principal(&event)?;
        let principal = trail.principal.insert(principal);
        let proof = self.proof(&event, stamp).map_err(Refused::Dpop)?;
        let request = token_request(&event).map_err(Refused::Body)?;
        Ok(match proof {
            Some(proof) => self.issuer.issue_bound(principal, &request, proof.jkt(), stamp).await?,
            None => self.issuer.issue(principal, &request, stamp).await?,
        })
    }

    /// The proof of the key that the token is to be bound to, if the request carries one.
    ///
    /// Nobody remembers its `jti`: the signature of the request says who asks, and the proof only names the key. Whoever
    /// sends a copy of it gets a token that he cannot use.
    fn proof(&self, event: &GatewayEvent, stamp: &Stamp) -> Result<Option<Proof>, OAuthError> {
        let Some(proof) = dpop_proof(&event.headers)? else { return Ok(None) };
        let expect = ProofExpectation {
            method: event.method.as_str(),
            uris: std::slice::from_ref(&self.token_endpoint),
            access_token: None,
            nonces: None,
            nonce_required: false,
            algorithms: &Algorithm::ALL,
        };
        verify_proof(proof, &expect, stamp.now).map(Some).map_err(|error| OAuthError::from(&error))
    }

    fn check_route(&self, event: &GatewayEvent) -> Result<(), Refused> {
        if event.stage == TEST_STAGE {
            return Err(Refused::TestStage);
        }
        let own = |pinned: &Option<String>, found: &str| pinned.as_deref().is_none_or(|pinned| pinned == found);
        if !own(&self.api_id, &event.api_id) || !own(&self.stage, &event.stage) {
            let pin = |pin: &Option<String>| pin.clone().unwrap_or_else(|| "*".to_owned());
            return Err(Refused::Api { expected: format!("{}/{}", pin(&self.api_id), pin(&self.stage)) });
        }
        if event.path != TOKEN {
            return Err(Refused::Route);
        }
        if event.method != Method::POST {
            return Err(Refused::Method);
        }
        Ok(())
    }

    /// Who signed the request, if it is somebody of our organization.
    fn principal(&self, event: &GatewayEvent) -> Result<Principal, Refused> {
        let caller = &event.caller;
        let user_arn = caller.user_arn.as_deref().ok_or(Refused::Identity)?;
        match (&self.organization_id, event.door) {
            (Some(expected), _) => {
                if caller.organization_id.as_ref() != Some(expected) {
                    let found = caller.organization_id.clone().unwrap_or_else(|| "none".to_owned());
                    return Err(Refused::Organization { expected: expected.clone(), found });
                }
            }
            (None, Door::Http) => return Err(Refused::OrganizationUnset),
            (None, Door::Rest) => {}
        }
        // Only a REST API has the resource policy that checks an SSO role's real path.
        let sso_path = match event.door {
            Door::Rest => self.sso_path,
            Door::Http => SsoPath::Unproven,
        };
        Ok(Principal::from_caller(&CallerIdentity {
            user_arn,
            account_id: caller.account_id.as_deref(),
            caller: caller.caller.as_deref(),
            user: caller.user.as_deref(),
            sso_path,
        })?)
    }
}
