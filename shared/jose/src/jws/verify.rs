//! From a compact JWS that anybody may have written to claims that may be believed.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::jws::parts::Parts;
use crate::jws::{MAX_TOKEN_BYTES, same_typ};
use crate::key::PublicKey;
use crate::keyset::KeySet;
use crate::kid::Kid;
use crate::strict_json::StrictJsonError;
use crate::text::{found, quote};

/// What a token must say to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectation {
    /// The issuer, compared exactly.
    pub issuer: String,
    /// The audience that must be among the token's.
    pub audience: String,
    /// The media types accepted in `typ`, for example `JWT` or `at+jwt`; compared as RFC 7515 section 4.1.9 says. A token
    /// without `typ` is refused.
    pub typ: Vec<String>,
    /// How many seconds clocks may differ: `exp`, `nbf` and `iat` are each judged with this much tolerance.
    pub leeway_s: u64,
}

impl Expectation {
    /// Expects this issuer, audience and one of these types, with 60 seconds of leeway.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, typ: &[&str]) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            typ: typ.iter().map(|typ| (*typ).to_owned()).collect(),
            leeway_s: 60,
        }
    }

    /// The same with another tolerance in seconds.
    #[must_use]
    pub fn with_leeway_s(self, leeway_s: u64) -> Self {
        Self { leeway_s, ..self }
    }
}

/// Which of a token's two JSON parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The protected header.
    Header,
    /// The claims.
    Payload,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
        })
    }
}

/// Why a token was refused. Messages quote foreign text bounded and escaped, and never the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("expected a token of at most {limit} bytes, found {found}")]
    TooLarge {
        /// The most bytes read.
        limit: usize,
        /// How many there were.
        found: usize,
    },
    /// Not three parts of canonical base64url.
    #[error("expected three parts of canonical base64url, found {found}; hint: no padding, no white space")]
    Form {
        /// What was wrong.
        found: &'static str,
    },
    /// Header or payload is not one strict JSON object.
    #[error("{part}: {error}")]
    Json {
        /// Which part.
        part: Part,
        /// What is wrong with it.
        error: StrictJsonError,
    },
    /// The header has a member other than `alg`, `kid` and `typ`: `crit`, `b64`, `jwk`, `jku`, `x5u`, `x5c`, `zip`, …
    #[error("header: expected only alg, kid and typ, found {member}")]
    HeaderMember {
        /// The member.
        member: String,
    },
    /// `alg`, `kid` or `typ` is missing or not a string.
    #[error("header: expected {member} as a string, found {found}")]
    Header {
        /// The member.
        member: &'static str,
        /// What was there.
        found: String,
    },
    /// The `typ` is not one the relying party asked for.
    #[error("header: expected typ {expected}, found {found}; hint: is this the right kind of token?")]
    Typ {
        /// The accepted types.
        expected: String,
        /// The token's.
        found: String,
    },
    /// No published key has this `kid`.
    #[error("expected a kid of the key set, found {kid}; hint: is the key set current, and of this issuer?")]
    UnknownKid {
        /// The token's.
        kid: String,
    },
    /// The header names another algorithm than the key's.
    #[error("header: expected alg {expected}, the key's only algorithm, found {found}")]
    Algorithm {
        /// The key's.
        expected: Algorithm,
        /// The token's.
        found: String,
    },
    /// The token names an algorithm that is not among those accepted of its issuer: another one, `none`, or an HMAC.
    #[error("header: expected alg {expected}, found {found}; hint: names are case-sensitive")]
    AlgorithmNotAccepted {
        /// The accepted ones.
        expected: String,
        /// The token's.
        found: String,
    },
    /// The token names no key, and the key set does not leave exactly one.
    #[error("header: expected a kid, or exactly one key for {algorithm} in the key set, found no kid and {keys} keys")]
    NoKid {
        /// The token's algorithm.
        algorithm: Algorithm,
        /// How many keys fit.
        keys: usize,
    },
    /// Several different keys of the set have the `kid` that the token names.
    #[error("expected one key that the kid {kid} names, found {keys}; hint: its issuer publishes two keys by one name")]
    AmbiguousKid {
        /// The token's `kid`.
        kid: String,
        /// How many keys fit.
        keys: usize,
    },
    /// The signature is not this key's signature of this token.
    #[error("expected a signature by the key that kid names, found another")]
    Signature,
    /// A claim is missing or has another form or value than expected.
    #[error("claim {claim}: expected {expected}, found {found}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        found: String,
    },
    /// The token has expired.
    #[error("claim exp: expected a time after {now} less {leeway_s} s of leeway, found {exp}")]
    Expired {
        /// The token's `exp`.
        exp: String,
        /// The verifier's time.
        now: Timestamp,
        /// The tolerance in seconds.
        leeway_s: u64,
    },
    /// `nbf` or `iat` is in the future.
    #[error(
        "claim {claim}: expected a time before {now} plus {leeway_s} s of leeway, found {time}; hint: compare the clocks"
    )]
    NotYet {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Its value.
        time: String,
        /// The verifier's time.
        now: Timestamp,
        /// The tolerance in seconds.
        leeway_s: u64,
    },
}

impl JwsError {
    /// A short stable name for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Form { .. } | Self::Json { .. } => "malformed",
            Self::HeaderMember { .. } | Self::Header { .. } => "header",
            Self::Typ { .. } => "typ",
            Self::UnknownKid { .. } => "unknown_kid",
            Self::NoKid { .. } | Self::AmbiguousKid { .. } => "ambiguous_kid",
            Self::Algorithm { .. } | Self::AlgorithmNotAccepted { .. } => "algorithm",
            Self::Signature => "signature",
            Self::Claim { claim: "iss", .. } => "issuer",
            Self::Claim { claim: "aud", .. } => "audience",
            Self::Claim { .. } => "claim",
            Self::Expired { .. } => "expired",
            Self::NotYet { .. } => "not_yet_valid",
        }
    }
}

/// A token whose form has been checked and nothing else: good for finding the issuer's keys, for no decision.
///
/// It yields `iss` and `kid` only; everything else in it is whatever its author wrote.
pub struct Unverified<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    alg: String,
    kid: String,
    typ: String,
    iss: String,
    claims: Map<String, Value>,
}

/// Values that a verified token carries. Only [`verify()`], [`Unverified::verify`] and their
/// counterparts for the tokens of other issuers make one.
pub struct Verified<T> {
    value: T,
    kid: Kid,
    algorithm: Algorithm,
}

impl<T> Verified<T> {
    /// Only for what has just verified a signature with `key`.
    pub(crate) fn by(key: &PublicKey, value: T) -> Self {
        Self { value, kid: key.kid().clone(), algorithm: key.algorithm() }
    }

    /// The verified value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The verified value.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The thumbprint of the key that signed.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The algorithm it signed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} {}, claims hidden)", self.algorithm, self.kid)
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("iss", &quote(&self.iss)).field("kid", &quote(&self.kid)).finish()
    }
}

impl<'a> Unverified<'a> {
    /// Checks the form of a compact JWS: size, three parts of canonical base64url, header and payload strict JSON
    /// objects, header members exactly `alg`, `kid` and `typ`, `iss` a string.
    ///
    /// # Errors
    /// When any of that does not hold.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        let parts = Parts::of(token, MAX_TOKEN_BYTES)?;
        let signature = parts.signature()?;
        let header = parts.header()?;
        let claims = parts.payload()?;
        let [alg, kid, typ] = read_header(header)?;
        let iss = issuer_of(&claims)?;
        Ok(Self { signing_input: parts.signing_input(), signature, alg, kid, typ, iss, claims })
    }

    /// The issuer that the token names. Anybody may have written it.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// The key that the token names. Anybody may have written it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies the token: `typ`, key, algorithm, signature, then `iss`, `aud`, `exp`, `nbf` and `iat` at `now`.
    ///
    /// # Errors
    /// See [`verify()`].
    pub fn verify(
        self,
        keys: &KeySet,
        expectation: &Expectation,
        now: Timestamp,
    ) -> Result<Verified<Map<String, Value>>, JwsError> {
        if !expectation.typ.iter().any(|typ| same_typ(typ, &self.typ)) {
            return Err(JwsError::Typ { expected: expectation.typ.join(" or "), found: quote(&self.typ) });
        }
        let key = match keys.entry_named(&self.kid) {
            Some(entry) if entry.is_live(now) => &entry.key,
            _ => return Err(JwsError::UnknownKid { kid: quote(&self.kid) }),
        };
        if self.alg != key.algorithm().name() {
            return Err(JwsError::Algorithm { expected: key.algorithm(), found: quote(&self.alg) });
        }
        key.verify_signature(self.signing_input, &self.signature).map_err(|_| JwsError::Signature)?;
        let Expectation { issuer, audience, leeway_s, .. } = expectation;
        check_claims(&self.claims, issuer, audience, *leeway_s, now)?;
        Ok(Verified::by(key, self.claims))
    }
}

/// Verifies a compact JWS with the published keys and returns its claims.
///
/// The token must have the form of [`Unverified::parse`]; a `typ` that is expected; a `kid` of `keys`, not past its
/// `not_after` at `now`; the `alg` of that key (the header never chooses); a valid signature of exactly the algorithm's
/// length. Then `iss` equals the expected one; `aud`, a string or an array of strings, contains the expected one; `exp`
/// is there and not past; `nbf` and `iat`, when there, are not in the future; all three are numbers (RFC 7519 section 2),
/// judged with the expectation's leeway.
///
/// # Errors
/// The first of those that does not hold.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expectation: &Expectation,
    now: Timestamp,
) -> Result<Verified<Map<String, Value>>, JwsError> {
    Unverified::parse(token)?.verify(keys, expectation, now)
}

/// The `iss` that a payload names.
pub(crate) fn issuer_of(claims: &Map<String, Value>) -> Result<String, JwsError> {
    match claims.get("iss") {
        Some(Value::String(iss)) => Ok(iss.clone()),
        other => Err(claim("iss", "a string", other)),
    }
}

/// `[alg, kid, typ]`, and nothing else.
fn read_header(mut header: Map<String, Value>) -> Result<[String; 3], JwsError> {
    let mut take = |member: &'static str| match header.remove(member) {
        Some(Value::String(text)) => Ok(text),
        other => Err(JwsError::Header { member, found: found(other.as_ref()) }),
    };
    let read = [take("alg"), take("kid"), take("typ")];
    match header.keys().next() {
        Some(member) => Err(JwsError::HeaderMember { member: quote(member) }),
        None => {
            let [alg, kid, typ] = read;
            Ok([alg?, kid?, typ?])
        }
    }
}

/// `iss`, `aud`, `exp`, `nbf` and `iat`, as [`verify()`] promises.
pub(crate) fn check_claims(
    claims: &Map<String, Value>,
    issuer: &str,
    audience: &str,
    leeway_s: u64,
    now: Timestamp,
) -> Result<(), JwsError> {
    match claims.get("iss") {
        Some(Value::String(iss)) if iss == issuer => {}
        other => return Err(claim("iss", &quote(issuer), other)),
    }
    let ours = |value: &Value| value.as_str() == Some(audience);
    match claims.get("aud") {
        Some(audience @ Value::String(_)) if ours(audience) => {}
        Some(Value::Array(all)) if all.iter().all(Value::is_string) && all.iter().any(ours) => {}
        other => return Err(claim("aud", &quote(audience), other)),
    }
    let leeway = i128::from(leeway_s) * NANOS;
    let at = now.as_nanosecond();
    match numeric_date(claims, "exp")? {
        Some(exp) if at < exp + leeway => {}
        Some(_) => return Err(JwsError::Expired { exp: found(claims.get("exp")), now, leeway_s }),
        None => return Err(claim("exp", "a number of seconds", None)),
    }
    for name in ["nbf", "iat"] {
        if numeric_date(claims, name)?.is_some_and(|time| at + leeway < time) {
            return Err(JwsError::NotYet { claim: name, time: found(claims.get(name)), now, leeway_s });
        }
    }
    Ok(())
}

const NANOS: i128 = 1_000_000_000;

/// A NumericDate (RFC 7519 section 2) in nanoseconds: a number, whole or not; never a string.
fn numeric_date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i128>, JwsError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    #[expect(clippy::cast_possible_truncation, reason = "strict JSON bounds the number by 2^53, so this product fits")]
    let fraction = || value.as_f64().map(|seconds| (seconds * 1e9) as i128);
    match whole.map(|seconds| seconds * NANOS).or_else(fraction) {
        Some(nanoseconds) => Ok(Some(nanoseconds)),
        None => Err(claim(name, "a number of seconds", Some(value))),
    }
}

fn claim(claim: &'static str, expected: &str, value: Option<&Value>) -> JwsError {
    let found = match value {
        Some(Value::String(text)) => quote(text),
        other => found(other),
    };
    JwsError::Claim { claim, expected: expected.to_owned(), found }
}
