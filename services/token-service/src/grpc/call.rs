//! One call: who asks, what log and metrics learn, what every answer carries.

use std::sync::Arc;
use std::time::Instant;

use token_server::PeerIdentity;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Extensions, Request, Response, Status};

use super::Door;
use super::status::{Problem, Shape, ascii};
use crate::caller::{Caller, Certificate, Credential};
use crate::observe::{Decision, DoorName, Outcome};
use crate::service::{ProofContext, ServiceError};

/// The most bytes of a caller's correlation id.
const MAX_CORRELATION: usize = 128;

/// A method of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    /// Its name, for log and metrics.
    pub(super) name: &'static str,
    /// Its path, which proofs name.
    pub(super) path: &'static str,
}

/// A call from its request to its answer.
pub(super) struct Call {
    method: Method,
    metadata: MetadataMap,
    certificate: Option<Certificate>,
    correlation: MetadataValue<Ascii>,
    started: Instant,
    nonce: Option<String>,
    pub(super) decision: Decision,
}

impl Call {
    /// Takes a request apart.
    pub(super) fn of<T>(door: &Door, method: Method, request: Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = request.into_parts();
        let decision = Decision::new(door.service().decision_id(), DoorName::Grpc, method.name);
        let correlation = correlation(&metadata).or_else(|| ascii(decision.id()));
        let call = Self {
            method,
            certificate: certificate(&extensions),
            correlation: correlation.unwrap_or_else(|| MetadataValue::from_static("none")),
            metadata,
            started: Instant::now(),
            nonce: None,
            decision,
        };
        (call, message)
    }

    /// The caller that the call's `authorization`, or its connection's client certificate, proves.
    pub(super) async fn caller(&mut self, door: &Door) -> Result<Arc<Caller>, ServiceError> {
        let authorization = one(&self.metadata, "authorization").map_err(|found| {
            ServiceError::Unauthenticated(format!("authorization: expected it once, found {found}"))
        })?;
        let credential = Credential { authorization, certificate: self.certificate.as_ref() };
        let caller = door.service().callers().authenticate(credential, door.service().now()).await?;
        self.decision.caller(&caller.name);
        Ok(caller)
    }

    /// Takes one of the caller's mints.
    pub(super) fn may_mint(&self, door: &Door, caller: &Caller) -> Result<(), ServiceError> {
        let limited = door.0.options.minting.check(&caller.name, door.service().now());
        limited.map_err(|wait| ServiceError::Throttled { retry_after_s: wait.seconds() })
    }

    /// Verifies the call's proof, in `field` or in metadata `dpop`, and uses it up: the thumbprint of its key.
    pub(super) async fn binding(&mut self, door: &Door, field: &str) -> Result<Option<String>, ServiceError> {
        let twice = |found: &str| ServiceError::Invalid(format!("dpop: expected one proof, found {found}"));
        let metadata = one(&self.metadata, "dpop").map_err(|found| twice(&found))?;
        let proof = match (Some(field).filter(|field| !field.is_empty()), metadata) {
            (Some(_), Some(_)) => return Err(twice("one in the message and one in the metadata")),
            (field, metadata) => field.or(metadata),
        };
        if proof.is_some_and(|proof| proof.contains(',')) {
            return Err(twice("several, joined by a comma"));
        }
        let context = ProofContext { proof, method: "POST", path: self.method.path };
        let jkt = door.service().prove(context).await?;
        if let Some(jkt) = &jkt {
            door.observe().proof_accepted();
            self.decision.jkt(jkt);
            self.nonce = Some(door.service().nonce());
        }
        Ok(jkt)
    }

    /// Hands out a nonce with the answer.
    pub(super) fn with_nonce(&mut self, door: &Door) {
        self.nonce = Some(door.service().nonce());
    }

    /// The answer, and the one line about it.
    pub(super) fn finish<T>(
        mut self,
        door: &Door,
        outcome: Result<T, Problem>,
        done: &'static str,
    ) -> Result<Response<T>, Status> {
        door.observe().grpc(self.method.name, self.started.elapsed().as_secs_f64());
        match outcome {
            Ok(message) => {
                door.observe().record(&self.decision, Outcome::Done(done));
                let mut response = Response::new(message);
                *response.metadata_mut() = self.told();
                Ok(response)
            }
            Err(problem) => {
                let shape = Shape::of(&problem);
                match &problem {
                    Problem::Service(error) => door.observe().failed(&self.decision, error, shape.http_status()),
                    Problem::Precondition(reason) => {
                        let refused = Outcome::Refused { code: "failed_precondition", status: 400, reason };
                        door.observe().record(&self.decision, refused);
                    }
                }
                if shape.nonce {
                    self.with_nonce(door);
                }
                Err(shape.into_status(self.told()))
            }
        }
    }

    /// Metadata of every answer.
    fn told(&self) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("x-correlation-id", self.correlation.clone());
        if let Some(id) = ascii(self.decision.id()) {
            metadata.insert("x-decision-id", id);
        }
        if let Some(nonce) = self.nonce.as_deref().and_then(ascii) {
            metadata.insert("dpop-nonce", nonce);
        }
        metadata
    }
}

/// The client certificate that the listener has verified.
fn certificate(extensions: &Extensions) -> Option<Certificate> {
    let peer = extensions.get::<PeerIdentity>()?;
    let names = peer.uris().iter().chain(peer.dns_names()).cloned().collect();
    Some(Certificate { sha256: *peer.sha256(), names })
}

/// The one value of `name`; what was found instead of one.
fn one<'a>(metadata: &'a MetadataMap, name: &'static str) -> Result<Option<&'a str>, String> {
    let mut values = metadata.get_all(name).iter();
    match (values.next(), values.count()) {
        (None, _) => Ok(None),
        (Some(value), 0) => value.to_str().map(Some).map_err(|_| "one that is no text".to_owned()),
        (Some(_), more) => Err(format!("it {} times", more + 1)),
    }
}

/// The caller's own name for this call, if it is one that an answer and a line may hold.
fn correlation(metadata: &MetadataMap) -> Option<MetadataValue<Ascii>> {
    let value = metadata.get("x-correlation-id")?;
    let text = value.to_str().ok()?;
    ((1..=MAX_CORRELATION).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then(|| value.clone())
}
