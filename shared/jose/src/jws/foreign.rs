//! Tokens of other issuers: the same strict walk, with what their issuers may leave out or add.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::foreign::ForeignKeys;
use crate::jws::parts::Parts;
use crate::jws::verify::{JwsError, Verified, check_claims, issuer_of};
use crate::jws::{MAX_TOKEN_BYTES, same_typ};
use crate::text::{found, quote};

/// Header members that other issuers write and that decide nothing here: digests of a certificate (RFC 7515 sections 4.1.7
/// and 4.1.8).
const HARMLESS: [&str; 2] = ["x5t", "x5t#S256"];

/// Which `typ` a token may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypRule {
    types: Vec<String>,
    absent: bool,
}

impl TypRule {
    /// One of `types`, compared as media types (RFC 7515 section 4.1.9); a token without `typ` is refused.
    #[must_use]
    pub fn required(types: &[&str]) -> Self {
        Self { types: types.iter().map(|typ| (*typ).to_owned()).collect(), absent: false }
    }

    /// One of `types`, or no `typ` at all, as in the service account tokens of Kubernetes.
    #[must_use]
    pub fn optional(types: &[&str]) -> Self {
        Self { absent: true, ..Self::required(types) }
    }

    fn admits(&self, typ: Option<&str>) -> bool {
        typ.map_or(self.absent, |typ| self.types.iter().any(|admitted| same_typ(admitted, typ)))
    }
}

/// What another issuer's token must say to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignExpectation {
    /// The issuer, compared exactly.
    pub issuer: String,
    /// The audience that must be among the token's.
    pub audience: String,
    /// The algorithms accepted of this issuer.
    pub algorithms: Vec<Algorithm>,
    /// How many seconds clocks may differ: `exp`, `nbf` and `iat` are each judged with this much tolerance.
    pub leeway_s: u64,
    /// The accepted types.
    pub typ: TypRule,
}

impl ForeignExpectation {
    /// Expects this issuer and audience, one of `algorithms`, and `JWT` or nothing as `typ`, with 60 seconds of leeway.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, algorithms: &[Algorithm]) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            algorithms: algorithms.to_vec(),
            leeway_s: 60,
            typ: TypRule::optional(&["JWT"]),
        }
    }

    /// The same with another rule for `typ`.
    #[must_use]
    pub fn with_typ(self, typ: TypRule) -> Self {
        Self { typ, ..self }
    }

    /// The same with another tolerance in seconds.
    #[must_use]
    pub fn with_leeway_s(self, leeway_s: u64) -> Self {
        Self { leeway_s, ..self }
    }
}

/// A token of another issuer whose form has been checked and nothing else: good for finding that issuer on a closed list and
/// its keys, for no decision.
///
/// It yields `iss` and `kid` only; everything else in it is whatever its author wrote.
pub struct UnverifiedForeign<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    iss: String,
    claims: Map<String, Value>,
}

impl fmt::Debug for UnverifiedForeign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kid = self.kid.as_deref().map(quote);
        f.debug_struct("UnverifiedForeign").field("iss", &quote(&self.iss)).field("kid", &kid).finish()
    }
}

impl<'a> UnverifiedForeign<'a> {
    /// Checks the form of a compact JWS: size, three parts of canonical base64url, header and payload strict JSON objects,
    /// header members `alg`, and optionally `kid`, `typ`, `x5t` and `x5t#S256`, all strings, and no other; `iss` a string.
    ///
    /// # Errors
    /// When any of that does not hold. An embedded `jwk`, `jku`, `x5u`, `x5c` or `crit` is a reason to refuse, not a key.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        let parts = Parts::of(token, MAX_TOKEN_BYTES)?;
        let signature = parts.signature()?;
        let mut header = parts.header()?;
        let claims = parts.payload()?;
        let mut take = |member: &'static str| match header.remove(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            other => Err(JwsError::Header { member, found: found(other.as_ref()) }),
        };
        let (alg, kid, typ) = (take("alg"), take("kid"), take("typ"));
        for name in HARMLESS {
            take(name)?;
        }
        if let Some(member) = header.keys().next() {
            return Err(JwsError::HeaderMember { member: quote(member) });
        }
        let alg = alg?.ok_or_else(|| JwsError::Header { member: "alg", found: found(None) })?;
        let iss = issuer_of(&claims)?;
        Ok(Self { signing_input: parts.signing_input(), signature, alg, kid: kid?, typ: typ?, iss, claims })
    }

    /// The issuer that the token names. Anybody may have written it.
    #[must_use]
    pub fn iss(&self) -> &str {
        &self.iss
    }

    /// The key that the token names, if it names one. Anybody may have written it: never a path or a URL to fetch.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Verifies the token: `typ`, algorithm, key, signature, then `iss`, `aud`, `exp`, `nbf` and `iat` at `now`.
    ///
    /// # Errors
    /// See [`verify_foreign`].
    pub fn verify(
        self,
        keys: &ForeignKeys,
        expect: &ForeignExpectation,
        now: Timestamp,
    ) -> Result<Verified<Map<String, Value>>, JwsError> {
        if !expect.typ.admits(self.typ.as_deref()) {
            let found = self.typ.as_deref().map_or_else(|| found(None), quote);
            return Err(JwsError::Typ { expected: expect.typ.types.join(" or "), found });
        }
        let accepted = Algorithm::from_registered(&self.alg).filter(|algorithm| expect.algorithms.contains(algorithm));
        let Some(algorithm) = accepted else {
            let names: Vec<&str> = expect.algorithms.iter().map(|algorithm| algorithm.name()).collect();
            return Err(JwsError::AlgorithmNotAccepted { expected: names.join(" or "), found: quote(&self.alg) });
        };
        let candidates = keys.candidates(self.kid.as_deref(), algorithm);
        let key = match (candidates.as_slice(), &self.kid) {
            ([key], _) => *key,
            (several, None) => return Err(JwsError::NoKid { algorithm, keys: several.len() }),
            ([], Some(kid)) => return Err(JwsError::UnknownKid { kid: quote(kid) }),
            (several, Some(kid)) => {
                return Err(JwsError::AmbiguousKid { kid: quote(kid), keys: several.len() });
            }
        };
        key.verify_signature(self.signing_input, &self.signature).map_err(|_| JwsError::Signature)?;
        check_claims(&self.claims, &expect.issuer, &expect.audience, expect.leeway_s, now)?;
        Ok(Verified::by(key, self.claims))
    }
}

/// Verifies a compact JWS of another issuer with that issuer's keys and returns its claims.
///
/// The token must have the form of [`UnverifiedForeign::parse`], a `typ` that the rule admits, and an `alg` of the accepted
/// ones. The key is the one that `kid` names, for that algorithm (a key's own `alg`, when it has one, is the only one it
/// verifies); without `kid`, the only key for that algorithm; never one of several. Then the signature, and the claims as
/// [`crate::verify()`] judges them. [`Verified::kid`] is the key's thumbprint, not the issuer's name for it.
///
/// # Errors
/// The first of those that does not hold.
pub fn verify_foreign(
    token: &str,
    keys: &ForeignKeys,
    expect: &ForeignExpectation,
    now: Timestamp,
) -> Result<Verified<Map<String, Value>>, JwsError> {
    UnverifiedForeign::parse(token)?.verify(keys, expect, now)
}
