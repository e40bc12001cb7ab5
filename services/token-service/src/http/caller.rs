//! Who speaks: the caller behind a request's credential, and how often it may have tokens minted.

use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use token_server::{PeerIdentity, one_header};

use super::Door;
use super::error::Problem;
use crate::caller::{Caller, Certificate, Credential};
use crate::observe::Decision;
use crate::service::{ProofContext, ServiceError};

impl Door {
    /// The caller that the request's `Authorization`, or its connection's client certificate, proves.
    pub(super) async fn caller(&self, parts: &Parts, decision: &mut Decision) -> Result<Arc<Caller>, Problem> {
        let authorization = one_header(&parts.headers, "authorization")?;
        let certificate = certificate(parts);
        let credential = Credential { authorization, certificate: certificate.as_ref() };
        let caller = self.service().callers().authenticate(credential, self.service().now()).await?;
        decision.caller(&caller.name);
        Ok(caller)
    }

    /// Takes one of the mints that `key` has.
    pub(super) fn may_mint(&self, key: &str) -> Result<(), Problem> {
        self.0.options.minting.check(&key.to_owned(), self.service().now()).map_err(Problem::Limited)
    }

    /// Verifies the request's proof, if it has one, and uses it up: the thumbprint that what is minted is bound to.
    pub(super) async fn binding(&self, parts: &Parts, decision: &mut Decision) -> Result<Option<String>, Problem> {
        let proof = proof(&parts.headers)?;
        let context = ProofContext { proof, method: parts.method.as_str(), path: parts.uri.path() };
        let jkt = self.service().prove(context).await?;
        if let Some(jkt) = &jkt {
            self.observe().proof_accepted();
            decision.jkt(jkt);
        }
        Ok(jkt)
    }
}

/// The client certificate that the listener has verified.
pub(super) fn certificate(parts: &Parts) -> Option<Certificate> {
    let peer = parts.extensions.get::<PeerIdentity>()?;
    let names = peer.uris().iter().chain(peer.dns_names()).cloned().collect();
    Some(Certificate { sha256: *peer.sha256(), names })
}

/// The one proof of a request.
pub(super) fn proof(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    token_http::dpop_proof(headers).map_err(|error| Problem::BadProof(error.description().to_owned()))
}

/// The key of a caller's mints. A caller's name has no colon, which the keys of parents have.
pub(super) fn mint_key(caller: &Caller) -> &str {
    &caller.name
}

/// The text of a body that must be there.
pub(super) fn missing(text: &str) -> Problem {
    Problem::Service(ServiceError::Invalid(text.to_owned()))
}
