//! The published keys: what a JWKS document is, and the bookkeeping the stored one carries beside it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::key::{KeyError, PRIVATE_MEMBERS, PublicKey};
use crate::kid::Kid;
use crate::problem::Problems;
use crate::strict_json::{self, Limits, StrictJsonError};
use crate::text::{found, found_str, parse_utc};

/// Names that only a key ring or another private document uses; finding one means that it was stored in the wrong place.
const RING_MEMBERS: [&str; 3] = ["private", "private_key", "pkcs8"];

/// What a stored key may carry: the public JWK, and two times.
const KEY_MEMBERS: [&str; 12] =
    ["kty", "n", "e", "crv", "x", "y", "kid", "use", "key_ops", "alg", "published_at", "not_after"];

/// A published key and what is known about its publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedKey {
    /// The key.
    pub key: PublicKey,
    /// When verifiers could first see it; unknown in a plain JWK Set.
    pub published_at: Option<Timestamp>,
    /// From this instant on nothing it signed is valid any more, so it is no longer published.
    pub not_after: Option<Timestamp>,
}

impl PublishedKey {
    /// A key without bookkeeping.
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        Self { key, published_at: None, not_after: None }
    }

    /// Whether the key is still published at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_after.is_none_or(|not_after| now < not_after)
    }
}

/// Public keys by `kid`: what verifiers are given (RFC 7517 section 5).
///
/// Every `kid` is the thumbprint of its key, no key is there twice, and no private member ever was in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeMap<Kid, PublishedKey>,
    generation: u64,
    min_generation: u64,
}

/// Why a stored key set was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The document carries private key material: it must never be served, and somebody must look at it at once.
    #[error(
        "{at}: expected public keys only, found the private member \"{member}\"; hint: the key is exposed, withdraw it; only the public half belongs here"
    )]
    PrivateMember {
        /// Where, for example `keys[1]`.
        at: String,
        /// The member's name; never its value.
        member: String,
    },
    /// The document is not strict JSON.
    #[error(transparent)]
    Json(#[from] StrictJsonError),
    /// The document is JSON, but not a key set; every problem is listed.
    #[error("{0}")]
    Invalid(Problems),
}

impl KeySet {
    /// The largest stored document: the Parameter Store's advanced tier holds 8 KB; the rest is room for files.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// A set of `keys`, of which the first of two with the same `kid` stays. Rings older than `min_generation` are void.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = PublishedKey>, min_generation: u64) -> Self {
        let mut set = Self { keys: BTreeMap::new(), generation: 0, min_generation };
        for entry in keys {
            set.keys.entry(entry.key.kid().clone()).or_insert(entry);
        }
        set
    }

    /// Reads a stored set: a JWK Set (RFC 7517 section 5) that may carry `generation` (of the newest ring that was ever
    /// announced in it) and `min_generation` beside `keys`, and `published_at` and `not_after` (RFC 3339, UTC) in each key. A plain JWK Set is one too.
    ///
    /// ```json
    /// {"keys":[{"kty":"OKP","crv":"Ed25519","x":"…","kid":"…","use":"sig","alg":"EdDSA",
    ///           "published_at":"2026-11-22T00:00:00Z","not_after":"2026-12-24T00:00:00Z"}],"generation":9,"min_generation":7}
    /// ```
    ///
    /// # Errors
    /// [`KeySetError::PrivateMember`] before anything else when any object at any depth has a private member, whatever
    /// its case, or a PEM private key is anywhere. Else every problem together: duplicate and unknown members, keys that
    /// [`PublicKey::from_jwk`] refuses, a `kid` that is missing, not the thumbprint or there twice.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let document = strict_json::parse(json, Limits::new(Self::MAX_BYTES, 8))?;
        if let Some((at, member)) = private_member("", &document) {
            return Err(KeySetError::PrivateMember { at, member });
        }
        let Value::Object(members) = &document else {
            return Err(StrictJsonError::NotAnObject { found: strict_json::kind(&document) }.into());
        };
        let mut problems = Problems::default();
        let mut set = Self::default();
        const MEMBERS: [&str; 3] = ["keys", "generation", "min_generation"];
        for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            let expected = "expected keys, generation and min_generation";
            problems.add("document", format!("{expected}, found the member {}", found_str(name)));
        }
        for (name, field) in [("generation", &mut set.generation), ("min_generation", &mut set.min_generation)] {
            match members.get(name).map(|value| (value, value.as_u64())) {
                None => {}
                Some((_, Some(generation))) => *field = generation,
                Some((value, None)) => {
                    problems.add(name, format!("expected a whole number, found {}", found(Some(value))));
                }
            }
        }
        match members.get("keys") {
            Some(Value::Array(keys)) => {
                for (index, jwk) in keys.iter().enumerate() {
                    set.read_key(&format!("keys[{index}]"), jwk, &mut problems);
                }
            }
            other => problems.add("keys", format!("expected an array of JWKs, found {}", found(other))),
        }
        if problems.is_empty() { Ok(set) } else { Err(KeySetError::Invalid(problems)) }
    }

    fn read_key(&mut self, at: &str, jwk: &Value, problems: &mut Problems) {
        let Value::Object(members) = jwk else {
            problems.add(at, format!("expected a JWK, found {}", found(Some(jwk))));
            return;
        };
        for name in members.keys().filter(|name| !KEY_MEMBERS.contains(&name.as_str())) {
            problems.add(at, format!("expected only {}, found the member {}", KEY_MEMBERS.join(" "), found_str(name)));
        }
        let mut time = |name: &str| match members.get(name) {
            None => None,
            Some(Value::String(text)) if parse_utc(text).is_some() => parse_utc(text),
            other => {
                problems.add(
                    format!("{at}.{name}"),
                    format!("expected an RFC 3339 time in UTC (2026-11-22T00:00:00Z), found {}", found(other)),
                );
                None
            }
        };
        let (published_at, not_after) = (time("published_at"), time("not_after"));
        if let (Some(start), Some(end)) = (published_at, not_after)
            && end <= start
        {
            problems.add(format!("{at}.not_after"), format!("expected a time after published_at {start}, found {end}"));
        }
        match PublicKey::from_jwk(jwk) {
            Err(KeyError::Jwk { member, expected, found }) => {
                problems.add(format!("{at}.{member}"), format!("expected {expected}, found {found}"));
            }
            Err(error) => problems.add(at, error.to_string()),
            Ok(key) => {
                if !members.contains_key("kid") {
                    problems.add(format!("{at}.kid"), format!("expected \"{}\", found nothing", key.kid()));
                }
                let kid = key.kid().clone();
                if self.keys.insert(kid.clone(), PublishedKey { key, published_at, not_after }).is_some() {
                    problems.add(format!("{at}.kid"), format!("expected every key once, found {kid} again"));
                }
            }
        }
    }

    /// The key named `kid`.
    #[must_use]
    pub fn get(&self, kid: &Kid) -> Option<&PublicKey> {
        self.keys.get(kid).map(|entry| &entry.key)
    }

    /// The key and bookkeeping that a token's `kid` names.
    pub(crate) fn entry_named(&self, kid: &str) -> Option<&PublishedKey> {
        self.keys.get(kid)
    }

    /// The key named `kid` with its bookkeeping.
    #[must_use]
    pub fn entry(&self, kid: &Kid) -> Option<&PublishedKey> {
        self.keys.get(kid)
    }

    /// Whether exactly this key, its `kid`, algorithm and public half, is in the set. An issuer asks this before it
    /// signs, of [`KeySet::live`].
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.get(key.kid()) == Some(key)
    }

    /// The keys, ordered by `kid`.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &PublicKey> {
        self.keys.values().map(|entry| &entry.key)
    }

    /// The keys with their bookkeeping, ordered by `kid`.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &PublishedKey> {
        self.keys.values()
    }

    /// The set without the keys whose `not_after` has come.
    #[must_use]
    pub fn live(&self, now: Timestamp) -> Self {
        let keys = self.keys.iter().filter(|(_, entry)| entry.is_live(now));
        Self { keys: keys.map(|(kid, entry)| (kid.clone(), entry.clone())).collect(), ..*self }
    }

    /// No ring older than this generation may sign: a withdrawal raises it.
    #[must_use]
    pub fn min_generation(&self) -> u64 {
        self.min_generation
    }

    /// The same keys, with `min_generation` raised to at least `generation`. It never goes down.
    #[must_use]
    pub fn with_min_generation(self, generation: u64) -> Self {
        Self { min_generation: self.min_generation.max(generation), ..self }
    }

    /// The newest generation of a ring that was ever announced here: a withdrawal goes beyond it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same keys, with `generation` raised to at least this one. It never goes down.
    #[must_use]
    pub fn with_generation(self, generation: u64) -> Self {
        Self { generation: self.generation.max(generation), ..self }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there is no key: nothing that may be served, verifiers would cache it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The JWK Set for verifiers: keys ordered by `kid`, members by name, without bookkeeping. The same set gives the
    /// same bytes, so their digest can be an ETag.
    #[must_use]
    pub fn to_public_json(&self) -> String {
        json!({"keys": self.keys().map(PublicKey::to_jwk).collect::<Vec<_>>()}).to_string()
    }

    /// The document to store: the JWK Set with bookkeeping, as [`KeySet::parse`] reads it.
    #[must_use]
    pub fn to_stored_json(&self) -> String {
        let keys: Vec<Value> = self.entries().map(stored_key).collect();
        let mut document = json!({"keys": keys, "min_generation": self.min_generation});
        if let (Value::Object(members), true) = (&mut document, self.generation > 0) {
            members.insert("generation".to_owned(), self.generation.into());
        }
        document.to_string()
    }
}

fn stored_key(entry: &PublishedKey) -> Value {
    let mut jwk = entry.key.to_jwk();
    if let Value::Object(members) = &mut jwk {
        let times = [("published_at", entry.published_at), ("not_after", entry.not_after)];
        for (name, time) in times.into_iter().filter_map(|(name, time)| time.map(|time| (name, time))) {
            members.insert(name.to_owned(), time.to_string().into());
        }
    }
    jwk
}

/// The first private member anywhere in `value`: `(place, name)`.
fn private_member(at: &str, value: &Value) -> Option<(String, String)> {
    let here = || if at.is_empty() { "document".to_owned() } else { at.to_owned() };
    match value {
        Value::Object(members) => members.iter().find_map(|(name, inner)| {
            if is_private_name(name) {
                return Some((here(), name.clone()));
            }
            let place = if at.is_empty() { found_name(name) } else { format!("{at}.{}", found_name(name)) };
            private_member(&place, inner)
        }),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, inner)| private_member(&format!("{at}[{index}]"), inner))
        }
        Value::String(text) if text.contains("PRIVATE KEY-----") => Some((here(), "PEM private key".to_owned())),
        _ => None,
    }
}

fn is_private_name(name: &str) -> bool {
    PRIVATE_MEMBERS.iter().chain(&RING_MEMBERS).any(|private| private.eq_ignore_ascii_case(name))
}

/// A foreign member name as part of a place in a message.
fn found_name(name: &str) -> String {
    let plain = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { "(member)".to_owned() }
}
