//! The use case: who asks, for what, and the token they get.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use token_claims::{Claims, ClaimsError, Confirmation, Principal, Refusal, TokenRequest};
use token_jose::{Algorithm, CompactJws, Expectation, JwsError, Kid, SignError, sha256_hex, sign_compact, verify};

use crate::keys::{KeyLoader, NoSigningKey};
use crate::mapping::MappingLoader;
use crate::refreshing::{LoadError, NotUsable, Refreshing};

/// Clock skew allowed when a fresh token is checked with the published key, in seconds. It was signed a moment ago by this
/// very process, so none is needed.
const SELF_CHECK_LEEWAY_S: u64 = 0;

/// Seconds after which a caller may ask again when no key may sign. The ring is read anew at a bounded age; until then the
/// answer stays the same.
const NO_KEY_RETRY_S: u64 = 30;

/// Time and chance of one request, given by the shell.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The instant of the request.
    pub now: Timestamp,
    /// The token's `jti`.
    pub token_id: String,
    /// The decision's id: returned to the caller, and in the log.
    pub decision_id: String,
}

/// Issues tokens: one deep method over the key ring, the mapping and the signature.
#[derive(Debug)]
pub struct TokenIssuer {
    issuer: String,
    keys: Arc<Refreshing<KeyLoader>>,
    mapping: Refreshing<MappingLoader>,
}

/// A signed token, verified with the published key, and the record of how it came to be.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token. Its `Debug` hides it.
    pub token: CompactJws,
    /// Seconds until it expires.
    pub expires_in_s: u64,
    /// The scopes it carries.
    pub scopes: Vec<String>,
    /// How long the signature took.
    pub sign_took: Duration,
    /// What to log.
    pub record: IssuanceRecord,
}

/// What happened, for one log line: everything an auditor asks for, and nothing that opens a door.
#[derive(Clone, Debug)]
pub struct IssuanceRecord {
    /// Id of the decision.
    pub decision_id: String,
    /// Who asked: the canonical form of the principal.
    pub principal: String,
    /// The principal's kind.
    pub principal_kind: &'static str,
    /// The principal's immutable id, where it has one.
    pub unique_id: Option<String>,
    /// The rule that matched.
    pub rule: String,
    /// SHA-256 of the mapping document that holds the rule.
    pub mapping_sha256: String,
    /// The token's `sub`.
    pub subject: String,
    /// The token's `aud`.
    pub audience: String,
    /// The token's scopes.
    pub scopes: Vec<String>,
    /// The token's `jti`.
    pub token_id: String,
    /// The thumbprint of the key that the token is bound to; `None` for a bearer token.
    pub jkt: Option<String>,
    /// The key that signed.
    pub kid: String,
    /// Its algorithm.
    pub algorithm: &'static str,
    /// Generation of the ring it is in.
    pub ring_generation: u64,
    /// The token's `exp`.
    pub expires_at: Timestamp,
    /// SHA-256 of the token, hexadecimal: finds a leaked token's decision without keeping the token.
    pub token_sha256: String,
}

/// Why there is no token. Each variant is a fact; the transport decides its status, in a match that a new variant breaks
/// on purpose: the list is complete.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The claims could not be built.
    #[error("the claims could not be built")]
    Claims(#[source] ClaimsError),
    /// No key may sign.
    #[error(transparent)]
    NoSigningKey(#[from] NoSigningKey),
    /// The key ring or the mapping cannot be used.
    #[error(transparent)]
    NotUsable(#[from] NotUsable),
    /// The mapping refuses.
    #[error("refused: {}", refusal.public_reason())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// SHA-256 of the mapping that decided.
        mapping_sha256: String,
    },
    /// The token did not verify with the published key.
    #[error("the token did not verify with the published key")]
    SelfCheck(#[source] JwsError),
    /// The signature failed.
    #[error("signing failed")]
    Sign(#[source] SignError),
    /// A profile names an algorithm that this build does not know.
    #[error("the mapping names the algorithm {0:?}, which is not one of RS256, PS256, ES256, ES384, EdDSA")]
    UnknownAlgorithm(String),
}

impl IssueError {
    /// A stable word for metrics, from a closed set.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Claims(_) => "claims",
            Self::NoSigningKey(
                NoSigningKey::Unpublished { .. } | NoSigningKey::Leaving { .. } | NoSigningKey::Republished { .. },
            ) => "key_unpublished",
            Self::NoSigningKey(_) => "no_signing_key",
            Self::NotUsable(not_usable) if not_usable.what == "mapping" => "mapping_unavailable",
            Self::NotUsable(_) => "keys_unavailable",
            Self::Refused { refusal, .. } => refusal.code(),
            Self::SelfCheck(_) => "self_check",
            Self::Sign(SignError::Throttled { .. }) => "sign_throttled",
            Self::Sign(_) => "sign",
            Self::UnknownAlgorithm(_) => "unknown_algorithm",
        }
    }

    /// Seconds after which it is worth asking again, where waiting helps; `None` where the caller must change something.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Refused { .. } => None,
            Self::NotUsable(not_usable) => Some(not_usable.retry_after_s),
            Self::Sign(SignError::Throttled { retry_after_s }) => Some(*retry_after_s),
            Self::Claims(_)
            | Self::NoSigningKey(_)
            | Self::SelfCheck(_)
            | Self::Sign(_)
            | Self::UnknownAlgorithm(_) => Some(NO_KEY_RETRY_S),
        }
    }
}

/// How old what the issuer works with is, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Seconds since the key ring was read.
    pub ring_age_s: Option<u64>,
    /// Whether the ring in use is the last good one.
    pub ring_failing: bool,
    /// Seconds since the mapping was read.
    pub mapping_age_s: Option<u64>,
    /// Whether the mapping in use is the last good one.
    pub mapping_failing: bool,
    /// Days until the default algorithm's key is due to be replaced; negative when overdue.
    pub key_days_left: Option<f64>,
}

impl TokenIssuer {
    /// An issuer whose tokens say `iss` = `issuer`.
    #[must_use]
    pub fn new(issuer: String, keys: Arc<Refreshing<KeyLoader>>, mapping: Refreshing<MappingLoader>) -> Self {
        Self { issuer, keys, mapping }
    }

    /// Reads keys and mapping now and at once (one round trip's time), so that an init shows what is wrong with either and
    /// the first request finds them read.
    ///
    /// # Errors
    /// Every problem, one per line, when something stored is wrong. A store that does not answer is no error here: it may by
    /// the first request, which otherwise gets [`NotUsable`].
    pub async fn warm(&self, now: Timestamp) -> Result<(), LoadError> {
        let loader = self.mapping.loader();
        let (keys, document) = futures_util::future::join(self.keys.warm(now), loader.read()).await;
        // It is compiled for the ring, so after that is read.
        let mapping = self.mapping.settle(document.and_then(|document| loader.compile(&document)), now);
        let (mut problems, mut poisoned) = (Vec::new(), false);
        for outcome in [keys, mapping] {
            match outcome {
                Ok(()) | Err(LoadError::Unreachable(_)) => {}
                Err(LoadError::Invalid(text)) => problems.push(text),
                Err(LoadError::Poisoned(text)) => {
                    problems.push(text);
                    poisoned = true;
                }
            }
        }
        match problems.join("\n") {
            _ if problems.is_empty() => Ok(()),
            text if poisoned => Err(LoadError::Poisoned(text)),
            text => Err(LoadError::Invalid(text)),
        }
    }

    /// Issues a bearer token for `principal`, or says why not.
    ///
    /// The subject, audience, scopes and lifetime come from the mapping and only shrink by the request. The header's kid and
    /// the signature come from one key of one ring, and the finished token is verified with the published key.
    ///
    /// # Errors
    /// [`IssueError::Refused`] when the mapping says no; every other variant is our own trouble.
    pub async fn issue(
        &self,
        principal: &Principal,
        request: &TokenRequest,
        stamp: &Stamp,
    ) -> Result<IssuedToken, IssueError> {
        self.make(principal, request, None, stamp).await
    }

    /// [`TokenIssuer::issue`], where the token is bound to the key with the thumbprint `jkt`, of which the caller has just
    /// proven possession (RFC 9449 section 6): `cnf.jkt` says so, and relying parties want the same proof.
    ///
    /// # Errors
    /// As [`TokenIssuer::issue`].
    pub async fn issue_bound(
        &self,
        principal: &Principal,
        request: &TokenRequest,
        jkt: &Kid,
        stamp: &Stamp,
    ) -> Result<IssuedToken, IssueError> {
        self.make(principal, request, Some(jkt), stamp).await
    }

    async fn make(
        &self,
        principal: &Principal,
        request: &TokenRequest,
        jkt: Option<&Kid>,
        stamp: &Stamp,
    ) -> Result<IssuedToken, IssueError> {
        let keys = self.keys.current(stamp.now).await?.value;
        let mapping = self.mapping.current(stamp.now).await?.value;
        let grant = mapping
            .rules
            .resolve(principal, request)
            .map_err(|refusal| IssueError::Refused { refusal, mapping_sha256: mapping.sha256.clone() })?;
        let algorithm = match grant.profile().algorithm() {
            Some(name) => name.parse().map_err(|_| IssueError::UnknownAlgorithm(name.to_owned()))?,
            None => keys.ring().default_algorithm(),
        };
        // The mapping was compiled for the ring of that moment; the ring may have changed since.
        let covered_s = keys.ring().policy().max_token_ttl_s;
        if grant.lifetime_s() > covered_s {
            return Err(NoSigningKey::NotCovered { covered_s, granted_s: grant.lifetime_s() }.into());
        }
        let (key, published) = keys.signing_key(algorithm, stamp.now)?;
        let Some(signer) = key.signer() else {
            return Err(NoSigningKey::NoPrivateHalf { kid: key.kid().to_string() }.into());
        };
        let mut claims = Claims::new(&grant, &self.issuer, &stamp.token_id, stamp.now).map_err(IssueError::Claims)?;
        if let Some(jkt) = jkt {
            claims = claims.bound_to(Confirmation::jkt(jkt.as_str()).map_err(IssueError::Claims)?);
        }
        let typ = grant.profile().typ();
        let started = Instant::now();
        let token = sign_compact(signer.as_ref(), typ, &claims.to_json()).await.map_err(IssueError::Sign)?;
        let sign_took = started.elapsed();
        let expectation = Expectation::new(&self.issuer, grant.audience(), &[typ]).with_leeway_s(SELF_CHECK_LEEWAY_S);
        verify(token.as_str(), &published, &expectation, stamp.now).map_err(IssueError::SelfCheck)?;
        let record = IssuanceRecord {
            decision_id: stamp.decision_id.clone(),
            principal: principal.to_string(),
            principal_kind: principal.kind(),
            unique_id: principal.unique_id().map(str::to_owned),
            rule: grant.rule().to_owned(),
            mapping_sha256: mapping.sha256.clone(),
            subject: grant.subject().to_owned(),
            audience: grant.audience().to_owned(),
            scopes: grant.scopes().to_vec(),
            token_id: stamp.token_id.clone(),
            jkt: jkt.map(Kid::to_string),
            kid: key.kid().to_string(),
            algorithm: algorithm.name(),
            ring_generation: keys.ring().generation(),
            expires_at: claims.expires_at(),
            token_sha256: sha256_hex(token.as_str().as_bytes()),
        };
        Ok(IssuedToken { token, expires_in_s: grant.lifetime_s(), scopes: grant.scopes().to_vec(), sign_took, record })
    }

    /// Ages and the time to the next rotation, as of `now`. Reads nothing.
    #[must_use]
    pub fn gauges(&self, now: Timestamp) -> Gauges {
        let (ring_age_s, ring_failing) = self.keys.age(now);
        let (mapping_age_s, mapping_failing) = self.mapping.age(now);
        let key_days_left = self.keys.peek().and_then(|keys| key_days_left(keys.ring(), now));
        Gauges { ring_age_s, ring_failing, mapping_age_s, mapping_failing, key_days_left }
    }
}

/// Days from `now` until the default algorithm's signing key has served its interval.
pub(crate) fn key_days_left(ring: &token_jose::KeyRing, now: Timestamp) -> Option<f64> {
    let algorithm: Algorithm = ring.default_algorithm();
    let since = ring.active(algorithm, now)?.signs_from()?;
    let served_s = now.as_second().checked_sub(since.as_second())?;
    let left_s = i64::try_from(ring.policy().interval_s).ok()?.checked_sub(served_s)?;
    Some(jiff::SignedDuration::from_secs(left_s).as_secs_f64() / 86_400.0)
}
