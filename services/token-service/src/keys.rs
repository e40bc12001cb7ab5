//! The keys that sign, and the set that is published, read together.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use token_issuance::{KeyLoader, Keys, Refreshing};
use token_jose::{
    Algorithm, CompactJws, Expectation, KeySet, PrivateLocation, RingError, RingPolicy, SignError, Verified,
    sign_compact, verify,
};

use crate::observe::Observe;
use crate::service::ServiceError;

mod own;

use own::OwnRing;

/// Seconds after which a caller may ask again when no key may sign.
const NO_KEY_RETRY_S: u64 = 30;

/// How old ring and published set may grow before they are read again, in seconds: a fifth of what rotation counts on.
pub const FRESH_S: u64 = 60;

/// Signs and verifies with one ring and its published set.
#[derive(Debug)]
pub struct SigningKeys {
    keys: Refreshing<KeyLoader>,
    algorithm: Option<Algorithm>,
    own: Option<Arc<OwnRing>>,
    observe: Option<Observe>,
}

/// Why the signing key was not rotated.
#[derive(Debug)]
pub enum RotationProblem {
    /// The ring is not this process's to rotate.
    Elsewhere,
    /// Another key signs than the caller thinks.
    NotSigning,
    /// Our own trouble.
    Failed(ServiceError),
}

/// A signed token and the key that signed it.
#[derive(Debug)]
pub struct Signed {
    /// The token; `Debug` hides it.
    pub token: CompactJws,
    /// The key's id.
    pub kid: String,
    /// How long the signature took.
    pub took: Duration,
}

impl SigningKeys {
    /// Reads ring and published set through `loader` at most every `fresh_s` seconds; signs with `algorithm`, the ring's
    /// default when none is given.
    #[must_use]
    pub fn new(loader: KeyLoader, fresh_s: u64, algorithm: Option<Algorithm>) -> Self {
        Self { keys: Refreshing::new(loader, fresh_s), algorithm, own: None, observe: None }
    }

    /// The same, with signatures counted.
    #[must_use]
    pub fn observed(self, observe: Observe) -> Self {
        Self { observe: Some(observe), ..self }
    }

    /// A fresh ring of `algorithm` that lives in this process alone: for development and for tests.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn fresh(algorithm: Algorithm, now: Timestamp) -> Result<Self, RingError> {
        // A parent lives for 30 days, so its key stays public for as long and the margins.
        let policy = RingPolicy { max_token_ttl_s: 30 * 86_400, retention_s: 32 * 86_400, ..RingPolicy::default() };
        let own = OwnRing::first(algorithm, policy, now)?;
        Ok(Self { own: Some(Arc::clone(&own)), ..Self::new(own.loader(), FRESH_S, None) })
    }

    /// Rotates the ring that lives in this process ([`SigningKeys::fresh`]): the standby is promoted and a new one published.
    /// The promoted key signs once it has been public for the ring's lead; until then a repeated order changes nothing.
    /// `signing`, where given, is the key that signs now. Returns the id of the key that signs next.
    ///
    /// # Errors
    /// [`RotationProblem`]: a ring that is a document is rotated where the document is.
    pub async fn rotate(&self, signing: Option<&str>, now: Timestamp) -> Result<String, RotationProblem> {
        let own = Arc::clone(self.own.as_ref().ok_or(RotationProblem::Elsewhere)?);
        let keys = self.current(now).await.map_err(RotationProblem::Failed)?;
        let algorithm = self.algorithm.unwrap_or_else(|| keys.ring().default_algorithm());
        let active = keys.ring().active(algorithm, now).map(|key| key.kid().as_str());
        if signing.is_some_and(|signing| active != Some(signing)) {
            return Err(RotationProblem::NotSigning);
        }
        let failed = |detail: String| RotationProblem::Failed(ServiceError::unavailable("keys_unavailable", detail, 1));
        let rotated = tokio::task::spawn_blocking(move || own.rotate(algorithm, now)).await;
        let next = rotated.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        self.warm(now).await.map_err(|error| failed(error.to_string()))?;
        Ok(next)
    }

    /// Reads the keys now, so that a start shows what is wrong with them.
    ///
    /// # Errors
    /// Every problem of the documents, one per line.
    pub async fn warm(&self, now: Timestamp) -> Result<(), token_issuance::LoadError> {
        self.keys.warm(now).await
    }

    /// Ring and published set.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`] when they cannot be read and the last good ones are too old.
    pub async fn current(&self, now: Timestamp) -> Result<Arc<Keys>, ServiceError> {
        match self.keys.current(now).await {
            Ok(current) => Ok(current.value),
            Err(error) => Err(ServiceError::unavailable("keys_unavailable", &error, error.retry_after_s)),
        }
    }

    /// The keys that verifiers may know now.
    ///
    /// # Errors
    /// As [`SigningKeys::current`].
    pub async fn published(&self, now: Timestamp) -> Result<KeySet, ServiceError> {
        Ok(self.current(now).await?.published().live(now))
    }

    /// The JOSE name of the algorithm that signs now, for metrics; `unknown` while the keys cannot be read.
    pub async fn algorithm(&self, now: Timestamp) -> &'static str {
        match (self.algorithm, self.current(now).await) {
            (Some(algorithm), _) => algorithm.name(),
            (None, Ok(keys)) => keys.ring().default_algorithm().name(),
            (None, Err(_)) => "unknown",
        }
    }

    /// Signs `claims` of a token that lives for `lifetime_s` seconds, and checks the signature with the published key before
    /// the token leaves.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`] when no published key can sign now or the ring does not keep keys for so long,
    /// [`ServiceError::Throttled`] when the signer's budget is spent.
    pub async fn sign(
        &self,
        typ: &str,
        claims: &[u8],
        lifetime_s: u64,
        now: Timestamp,
    ) -> Result<Signed, ServiceError> {
        let keys = self.current(now).await?;
        let covered_s = keys.ring().policy().max_token_ttl_s;
        if lifetime_s > covered_s {
            let detail = format!("the ring covers tokens of at most {covered_s} s, and {lifetime_s} s were granted");
            return Err(ServiceError::unavailable("ring_retention", detail, NO_KEY_RETRY_S));
        }
        let algorithm = self.algorithm.unwrap_or_else(|| keys.ring().default_algorithm());
        let (key, published) = keys
            .signing_key(algorithm, now)
            .map_err(|problem| ServiceError::unavailable("no_signing_key", problem, NO_KEY_RETRY_S))?;
        let Some(signer) = key.signer() else {
            return Err(ServiceError::unavailable("no_signing_key", key.kid(), NO_KEY_RETRY_S));
        };
        let started = std::time::Instant::now();
        let token = sign_compact(signer.as_ref(), typ, claims).await.map_err(|error| match error {
            SignError::Throttled { retry_after_s } => ServiceError::Throttled { retry_after_s },
            other => ServiceError::unavailable("sign", other, 1),
        });
        let took = started.elapsed();
        if let Some(observe) = &self.observe {
            let remote = matches!(key.location(), PrivateLocation::Kms { .. } | PrivateLocation::Transit { .. });
            observe.signed(remote, token.is_ok(), took.as_secs_f64());
        }
        let token = token?;
        check_signature(&token, &published, key.kid())?;
        Ok(Signed { token, kid: key.kid().to_string(), took })
    }

    /// Verifies a token of this service for one of `audiences`.
    ///
    /// # Errors
    /// [`TokenProblem::Rejected`] when it is not one, [`TokenProblem::Failed`] when the keys cannot be read.
    pub async fn verify(
        &self,
        token: &str,
        issuer: &str,
        audiences: &[String],
        typ: &[&str],
        leeway_s: u64,
        now: Timestamp,
    ) -> Result<Verified<serde_json::Map<String, serde_json::Value>>, TokenProblem> {
        let keys = self.current(now).await.map_err(TokenProblem::Failed)?;
        let published = keys.published();
        let mut rejected = token_jose::JwsError::Form { found: "no audience to expect" };
        for audience in audiences {
            let expectation = Expectation::new(issuer, audience, typ).with_leeway_s(leeway_s);
            match verify(token, published, &expectation, now) {
                Ok(verified) => return Ok(verified),
                Err(error @ token_jose::JwsError::Claim { claim: "aud", .. }) => rejected = error,
                Err(error) => return Err(TokenProblem::Rejected(error.to_string())),
            }
        }
        Err(TokenProblem::Rejected(rejected.to_string()))
    }

    /// Verifies a token of this service, whoever it is for: to revoke it or to tell what it is, not to let it in.
    ///
    /// # Errors
    /// As [`SigningKeys::verify`].
    pub async fn verify_own(
        &self,
        token: &str,
        issuer: &str,
        typ: &[&str],
        leeway_s: u64,
        now: Timestamp,
    ) -> Result<Verified<serde_json::Map<String, serde_json::Value>>, TokenProblem> {
        let named = audience_of(token).ok_or_else(|| TokenProblem::Rejected("it names no audience".to_owned()))?;
        self.verify(token, issuer, &[named], typ, leeway_s, now).await
    }
}

/// The first audience that a token claims to be for. Nothing is believed by it: it is what the token is then verified for.
fn audience_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).filter(|payload| payload.len() <= token_jose::MAX_TOKEN_BYTES)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let audience = claims.get("aud")?;
    audience.as_str().or_else(|| audience.get(0)?.as_str()).map(str::to_owned)
}

/// Why a token was not verified.
#[derive(Debug)]
pub enum TokenProblem {
    /// It is none of ours, or not for this place or time.
    Rejected(String),
    /// We cannot tell.
    Failed(ServiceError),
}

/// The signature alone: issuer, audience and times were written by this very call.
fn check_signature(token: &CompactJws, published: &KeySet, kid: &token_jose::Kid) -> Result<(), ServiceError> {
    use base64::Engine as _;
    let failed = || ServiceError::unavailable("self_check", "the token did not verify with the published key", 1);
    let (input, signature) = token.as_str().rsplit_once('.').ok_or_else(failed)?;
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).map_err(|_| failed())?;
    let key = published.get(kid).ok_or_else(failed)?;
    key.verify_signature(input.as_bytes(), &signature).map_err(|_| failed())
}
