//! Proofs of possession at this service's doors.

use jiff::Timestamp;
use token_jose::{Htu, Proof, ProofExpectation, verify_proof};

use super::{ServiceError, TokenService};

/// What came with a request that may carry a proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProofContext<'a> {
    /// The value of the one `DPoP` field; the door refuses a second one.
    pub proof: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The request's path with its leading slash, as the client sees it.
    pub path: &'a str,
}

/// `ValidateDPoP`'s answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedProof {
    /// RFC 7638 thumbprint of the proof key.
    pub thumbprint: String,
}

impl TokenService {
    /// Verifies a proof for the token endpoint and uses it up: the last check before something is minted.
    ///
    /// # Errors
    /// [`ServiceError::Proof`], [`ServiceError::ProofReplayed`], or the store's outage.
    pub async fn prove(&self, context: ProofContext<'_>) -> Result<Option<String>, ServiceError> {
        let Some(text) = context.proof else { return Ok(None) };
        let now = self.now();
        let uris = self.uris(context.path);
        let proof = self.check_proof(text, context.method, &uris, None, now)?;
        self.use_up(&proof, now).await?;
        Ok(Some(proof.jkt().to_string()))
    }

    /// `ValidateDPoP`: whether a proof holds for this request. It is used up, so that a resource server that asks has the
    /// replay check too.
    ///
    /// # Errors
    /// As [`TokenService::prove`]; [`ServiceError::Invalid`] for a URI that is none.
    pub async fn validate_proof(
        &self,
        proof: &str,
        method: &str,
        uri: &str,
        access_token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<ValidatedProof, ServiceError> {
        let now = self.now();
        let uri = Htu::parse(uri).map_err(|problem| ServiceError::Invalid(format!("uri: {problem}")))?;
        if let Some(nonce) = nonce.filter(|nonce| self.nonces.check(nonce, now).is_none()) {
            let length = nonce.len();
            return Err(ServiceError::Invalid(format!(
                "nonce: expected a current nonce of this service, found another text of {length} bytes"
            )));
        }
        let proof = self.check_proof(proof, method, &[uri], access_token, now)?;
        if nonce.is_some() && proof.nonce_time().is_none() {
            return Err(ServiceError::Invalid("nonce: the proof carries none".to_owned()));
        }
        self.use_up(&proof, now).await?;
        Ok(ValidatedProof { thumbprint: proof.jkt().to_string() })
    }

    /// The public URIs of a path of this service.
    pub(super) fn uris(&self, path: &str) -> Vec<Htu> {
        self.rules.origins.iter().filter_map(|origin| Htu::parse(&format!("{origin}{path}")).ok()).collect()
    }

    pub(super) fn check_proof(
        &self,
        text: &str,
        method: &str,
        uris: &[Htu],
        access_token: Option<&str>,
        now: Timestamp,
    ) -> Result<Proof, ServiceError> {
        let expectation = ProofExpectation {
            method,
            uris,
            access_token,
            nonces: Some(&self.nonces),
            nonce_required: self.rules.nonce_required,
            algorithms: &self.rules.proof_algorithms,
        };
        Ok(verify_proof(text, &expectation, now)?)
    }

    /// Remembers the proof until it could no longer be accepted by any replica's clock.
    pub(super) async fn use_up(&self, proof: &Proof, now: Timestamp) -> Result<(), ServiceError> {
        let until = super::add(proof.until(), self.rules.skew_s);
        let first = self.store.first_use(proof.jkt().as_str(), proof.jti(), until, now).await?;
        if first { Ok(()) } else { Err(ServiceError::ProofReplayed) }
    }
}
