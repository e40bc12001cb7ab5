//! The check of one proof.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::dpop::error::{ProofError, Retry};
use crate::dpop::htu::Htu;
use crate::dpop::nonce::{Nonces, later};
use crate::foreign::bare_key;
use crate::jws::parts::Parts;
use crate::key::{KeyError, PublicKey};
use crate::kid::Kid;
use crate::text::{base64url, found, quote, same_secret, sha256};

/// The longest proof that is read, in bytes: what common header limits leave room for. An RSA key of 8192 bits fits.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// The `typ` of a proof (RFC 9449 section 4.2).
const TYP: &str = "dpop+jwt";

/// Header members that would change how the proof is read; others that are not known decide nothing and are not looked at,
/// a `jku`, `x5u` or `x5c` least of all.
const PROCESSING: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// How old a proof without a nonce may be, in seconds.
const PAST_S: i64 = 60;

/// How far ahead the clock of a client without a nonce may be, in seconds.
const AHEAD_S: i64 = 10;

/// The longest `jti` that is kept as it is; longer ones and unusual ones are kept as their digest.
const PLAIN_JTI: usize = 64;

/// The longest `jti` that is accepted, in bytes.
const MAX_JTI: usize = 1024;

/// What begins a `jti` that is kept as its digest.
const HASHED: &str = "sha256:";

/// What a proof must say to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct ProofExpectation<'a> {
    /// The request's method, compared exactly.
    pub method: &'a str,
    /// The public URIs of what is requested, from the configuration and never from the request's `Host`; any of them fits.
    pub uris: &'a [Htu],
    /// The access token that is presented with the proof, as it stands in `Authorization`: `ath` is then required. At a token
    /// endpoint there is none, and `ath` is not judged.
    pub access_token: Option<&'a str>,
    /// The nonces of this door. Without them, a proof's `nonce` is not judged: it was for somebody else.
    pub nonces: Option<&'a Nonces>,
    /// Whether a proof without nonce is refused even when its `iat` is right. It counts only where there are nonces.
    pub nonce_required: bool,
    /// The accepted algorithms.
    pub algorithms: &'a [Algorithm],
}

/// A proof that holds: its sender has the private key, and meant this method and URI.
///
/// It may still be a copy. Whoever must not accept it twice, remembers (`jkt`, `jti`) until [`Proof::until`], as the last
/// check and before the first side effect.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    jkt: Kid,
    algorithm: Algorithm,
    jti: String,
    until: Timestamp,
    nonce_time: Option<Timestamp>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("jkt", &self.jkt).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Proof {
    /// The RFC 7638 SHA-256 thumbprint of the proof's key: what `cnf.jkt` says in a token that is bound to it.
    #[must_use]
    pub fn jkt(&self) -> &Kid {
        &self.jkt
    }

    /// The algorithm that signed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The proof's id, unique for its key: 1 to 71 printable ASCII characters without spaces. A `jti` that is long or has
    /// other characters is represented by its digest; two different ones never by the same text.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// From this instant on this very proof is refused, whatever happens: a replay entry that lives to it closes the replay
    /// completely. It is the end of the nonce's window, or of `iat`'s where there is no nonce, and depends on the proof alone.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The time of the nonce that the proof carries, when nonces were judged and it carries one. A server hands out a new one
    /// while the old is still good.
    #[must_use]
    pub fn nonce_time(&self) -> Option<Timestamp> {
        self.nonce_time
    }
}

/// Checks a proof: everything of RFC 9449 section 4.3 but the number of header fields, which the transport sees, and the
/// reuse of `jti`, which needs a memory.
///
/// In this order: form; `typ`, `alg` and `jwk` of the header; the signature by that key; only then the payload: `jti`,
/// `htm`, `htu`, `iat`, `ath` and `nonce` of the right form, `htm`, `htu` and `ath` as expected, and last freshness. With a
/// valid nonce the nonce's time counts and `iat` is not judged, so that a client with a wrong clock gets in. Without nonce
/// `iat`, in whole seconds, must be at most 60 s past and 10 s ahead; an invalid nonce is never made up for by `iat`.
///
/// The algorithm must be accepted and the only one of the embedded key, which must be public, of RSA with at least 2048 bits,
/// on P-256 or P-384, or Ed25519 (`EdDSA`, or `Ed25519` as RFC 9864 calls it).
///
/// # Errors
/// The first of those that does not hold.
pub fn verify_proof(proof: &str, expect: &ProofExpectation<'_>, now: Timestamp) -> Result<Proof, ProofError> {
    let parts = Parts::of(proof, MAX_PROOF_BYTES)?;
    let signature = parts.signature()?;
    let key = embedded_key(&parts.header()?, expect.algorithms)?;
    key.verify_signature(parts.signing_input(), &signature).map_err(|_| ProofError::InvalidSignature)?;

    // From here on the payload is what the holder of the key wrote.
    let claims = Payload::read(parts.payload()?)?;
    if claims.htm != expect.method {
        return Err(ProofError::HtmMismatch { expected: quote(expect.method), found: quote(&claims.htm) });
    }
    if !Htu::parse(&claims.htu).is_ok_and(|htu| expect.uris.contains(&htu)) {
        let expected: Vec<&str> = expect.uris.iter().map(Htu::as_str).collect();
        return Err(ProofError::HtuMismatch { expected: expected.join(" or "), found: quote(&claims.htu) });
    }
    if let Some(token) = expect.access_token {
        let ath = claims.ath.as_deref().ok_or(ProofError::MissingAth)?;
        if !same_secret(ath.as_bytes(), base64url(&sha256(token.as_bytes())).as_bytes()) {
            return Err(ProofError::AthMismatch);
        }
    }
    let (until, nonce_time) = freshness(&claims, expect, now)?;
    Ok(Proof { jkt: key.kid().clone(), algorithm: key.algorithm(), jti: kept_jti(&claims.jti), until, nonce_time })
}

/// The key of the header, of exactly the algorithm that the header names.
fn embedded_key(header: &Map<String, Value>, algorithms: &[Algorithm]) -> Result<PublicKey, ProofError> {
    if let Some(member) = PROCESSING.into_iter().find(|member| header.contains_key(*member)) {
        return Err(ProofError::HeaderMember { member });
    }
    if header.get("typ").and_then(Value::as_str) != Some(TYP) {
        return Err(ProofError::InvalidType { found: found(header.get("typ")) });
    }
    let named = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_registered);
    let Some(algorithm) = named.filter(|algorithm| algorithms.contains(algorithm)) else {
        let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        return Err(ProofError::UnsupportedAlgorithm { expected: names.join(" or "), found: found(header.get("alg")) });
    };
    let fits = |expected: String, found: String| KeyError::Jwk { member: "jwk", expected, found };
    let Some(Value::Object(jwk)) = header.get("jwk") else {
        return Err(fits("a public JWK".to_owned(), found(header.get("jwk"))).into());
    };
    let key = bare_key(jwk, Some(algorithm))?;
    if key.algorithm() != algorithm {
        return Err(fits(format!("a key for {algorithm}"), format!("one for {}", key.algorithm())).into());
    }
    Ok(key)
}

/// The claims of a proof, of the right form each.
struct Payload {
    jti: String,
    htm: String,
    htu: String,
    /// In whole seconds: a fraction is cut off.
    iat: i64,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Payload {
    fn read(mut claims: Map<String, Value>) -> Result<Self, ProofError> {
        let wrong = |claim, expected, value: Option<&Value>| ProofError::Claim { claim, expected, found: found(value) };
        let mut text = |claim: &'static str| match claims.remove(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            other => Err(wrong(claim, "a string", other.as_ref())),
        };
        let (jti, htm, htu) = (text("jti")?, text("htm")?, text("htu")?);
        let (ath, nonce) = (text("ath")?, text("nonce")?);
        let required = |claim, text: Option<String>| text.ok_or_else(|| wrong(claim, "a string", None));
        let jti = required("jti", jti)?;
        if !(1..=MAX_JTI).contains(&jti.len()) {
            return Err(wrong("jti", "1 to 1024 bytes", Some(&jti.into())));
        }
        let iat = claims.get("iat");
        let seconds = iat.and_then(whole_seconds).ok_or_else(|| wrong("iat", "a number of seconds", iat))?;
        Ok(Self { jti, htm: required("htm", htm)?, htu: required("htu", htu)?, iat: seconds, ath, nonce })
    }
}

/// A NumericDate (RFC 7519 section 2) without its fraction.
fn whole_seconds(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "strict JSON bounds fractions by 2^53, and an integer beyond i64 saturates outside every window"
    )]
    let fraction = || value.as_f64().map(|seconds| seconds.floor() as i64);
    value.as_i64().or_else(fraction)
}

/// Until when the proof is accepted, and its nonce's time; or what makes it not fresh.
fn freshness(
    claims: &Payload,
    expect: &ProofExpectation<'_>,
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), ProofError> {
    if let (Some(nonces), Some(nonce)) = (expect.nonces, &claims.nonce) {
        let own_time = nonces.check(nonce, now).ok_or(ProofError::UseNonce(Retry::Stale))?;
        return Ok((Nonces::ends(own_time), Some(own_time)));
    }
    if expect.nonces.is_some() && expect.nonce_required {
        return Err(ProofError::UseNonce(Retry::Missing));
    }
    let age = i128::from(now.as_second()) - i128::from(claims.iat);
    if (-i128::from(AHEAD_S)..=i128::from(PAST_S)).contains(&age) {
        return Ok((later(claims.iat, PAST_S + 1), None));
    }
    Err(match expect.nonces {
        Some(_) => ProofError::UseNonce(Retry::Clock),
        None => ProofError::InvalidIat { past_s: PAST_S, ahead_s: AHEAD_S, now, found: claims.iat.to_string() },
    })
}

/// The `jti` as a replay memory keeps it.
fn kept_jti(jti: &str) -> String {
    let plain = jti.len() <= PLAIN_JTI && jti.bytes().all(|byte| byte.is_ascii_graphic()) && !jti.starts_with(HASHED);
    if plain { jti.to_owned() } else { format!("{HASHED}{}", crate::text::sha256_hex(jti.as_bytes())) }
}
