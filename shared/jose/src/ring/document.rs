//! The ring on the wire. It holds private keys: what is read is wiped, and messages name places, never contents.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::algorithm::Algorithm;
use crate::key::{KeyError, PRIVATE_MEMBERS, PublicKey};
use crate::kid::Kid;
use crate::problem::Problems;
use crate::ring::{KeyRing, KeyVersion, PrivateLocation, RingError, RingPolicy};
use crate::signer::LocalSigner;
use crate::strict_json::{self, Limits};
use crate::text::{found, found_str, parse_utc};

const RING_MEMBERS: [&str; 7] = ["version", "generation", "derived_from", "default_alg", "policy", "withdrawn", "keys"];
const KEY_MEMBERS: [&str; 5] = ["kid", "alg", "signs_from", "public", "private"];
const JWK_MEMBERS: [&str; 9] = ["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg"];

/// JSON that holds secrets: every string is wiped when it goes. Out of reach is only serde_json's own scratch space, where
/// it undoes escapes: the `\\n` of a PEM in a source system's secret, nothing in a version 1 ring.
struct Secret(Map<String, Value>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.values_mut().for_each(strict_json::wipe);
    }
}

pub(super) fn parse(json: &[u8]) -> Result<KeyRing, RingError> {
    let document = Secret(strict_json::parse_object(json, Limits::new(KeyRing::MAX_BYTES, 8))?);
    let mut reader = Reader::default();
    let ring = match (document.0.contains_key("private_key"), document.0.contains_key("keys")) {
        (true, false) => reader.source_secret(&document.0),
        _ => reader.ring(&document.0),
    };
    match ring {
        Some(ring) if reader.problems.is_empty() => Ok(ring),
        _ => Err(RingError::Invalid(reader.problems)),
    }
}

/// Reads on after a problem, so that one load lists them all.
#[derive(Default)]
struct Reader {
    problems: Problems,
}

impl Reader {
    fn add(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.problems.add(at, message);
    }

    /// The source system's secret; its other members (`public_key`) say nothing that the private key does not.
    fn source_secret(&mut self, members: &Map<String, Value>) -> Option<KeyRing> {
        let Some(Value::String(pem)) = members.get("private_key") else {
            self.add("private_key", "expected an RSA private key as PEM text, found another value");
            return None;
        };
        match LocalSigner::from_pem(Algorithm::Rs256, pem) {
            Ok(signer) => Some(KeyRing {
                generation: 0,
                derived_from: None,
                default: Algorithm::Rs256,
                policy: RingPolicy::default(),
                withdrawn: BTreeSet::new(),
                keys: vec![KeyVersion::local(signer, Some(Timestamp::UNIX_EPOCH))],
            }),
            Err(error) => {
                self.add("private_key", error.to_string());
                None
            }
        }
    }

    fn ring(&mut self, members: &Map<String, Value>) -> Option<KeyRing> {
        self.known("document", members, &RING_MEMBERS);
        if members.get("version").and_then(Value::as_u64) != Some(1) {
            self.add("version", format!("expected 1, found {}", found(members.get("version"))));
        }
        let generation = self.whole_number("generation", members.get("generation"));
        let derived_from = match members.get("derived_from") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if (1..=256).contains(&id.len()) => Some(id.clone()),
            other => {
                self.add(
                    "derived_from",
                    format!("expected a version id of 1 to 256 bytes or null, found {}", found(other)),
                );
                None
            }
        };
        let default = self.algorithm("default_alg", members.get("default_alg"));
        let policy = self.policy(members.get("policy"));
        let withdrawn = self.withdrawn(members.get("withdrawn"));
        let keys: Vec<KeyVersion> = match members.get("keys") {
            Some(Value::Array(keys)) if !keys.is_empty() => {
                keys.iter().enumerate().filter_map(|(index, key)| self.key(&format!("keys[{index}]"), key)).collect()
            }
            other => {
                self.add("keys", format!("expected an array of at least one key, found {}", found(other)));
                Vec::new()
            }
        };
        let complete = members.get("keys").and_then(Value::as_array).is_some_and(|all| all.len() == keys.len());
        self.whole(default.filter(|_| complete), &withdrawn, &keys);
        let (generation, default) = (generation?, default?);
        Some(KeyRing { generation, derived_from, default, policy, withdrawn, keys })
    }

    /// Unknown members: a misspelt one would silently mean nothing.
    fn known(&mut self, at: &str, members: &Map<String, Value>, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.add(at, format!("expected only {}, found the member {}", known.join(" "), found_str(name)));
        }
    }

    fn whole_number(&mut self, at: &str, value: Option<&Value>) -> Option<u64> {
        let number = value.and_then(Value::as_u64);
        if number.is_none() {
            self.add(at, format!("expected a whole number, found {}", found(value)));
        }
        number
    }

    fn algorithm(&mut self, at: &str, value: Option<&Value>) -> Option<Algorithm> {
        let algorithm = value.and_then(Value::as_str).and_then(|name| name.parse().ok());
        if algorithm.is_none() {
            let names = Algorithm::ALL.map(Algorithm::name).join(", ");
            self.add(at, format!("expected one of {names}, found {}", found(value)));
        }
        algorithm
    }

    fn policy(&mut self, value: Option<&Value>) -> RingPolicy {
        let mut policy = RingPolicy::default();
        match value {
            None => {}
            Some(Value::Object(members)) => {
                self.known("policy", members, &policy.members().map(|(name, _)| name));
                let before = self.problems.len();
                for (name, value) in members {
                    if policy.members().iter().any(|(known, _)| known == name) {
                        let at = format!("policy.{name}");
                        if let Some(seconds) = self.whole_number(&at, Some(value)) {
                            policy.set(name, seconds);
                        }
                    }
                }
                // Inequalities between numbers that were not all read would only confuse.
                if self.problems.len() == before {
                    self.problems.extend(policy.problems());
                }
            }
            other => self.add("policy", format!("expected an object of seconds, found {}", found(other))),
        }
        policy
    }

    fn withdrawn(&mut self, value: Option<&Value>) -> BTreeSet<Kid> {
        let mut withdrawn = BTreeSet::new();
        match value {
            None => {}
            Some(Value::Array(kids)) => {
                for (index, kid) in kids.iter().enumerate() {
                    let at = format!("withdrawn[{index}]");
                    if let Some(kid) = self.kid(&at, Some(kid))
                        && !withdrawn.insert(kid)
                    {
                        self.add(at, "expected every kid once, found one again");
                    }
                }
            }
            other => self.add("withdrawn", format!("expected an array of kids, found {}", found(other))),
        }
        withdrawn
    }

    fn kid(&mut self, at: &str, value: Option<&Value>) -> Option<Kid> {
        let kid = value.and_then(Value::as_str).and_then(|text| text.parse().ok());
        if kid.is_none() {
            self.add(at, format!("expected a thumbprint (43 characters of base64url), found {}", found(value)));
        }
        kid
    }

    fn key(&mut self, at: &str, value: &Value) -> Option<KeyVersion> {
        let Value::Object(members) = value else {
            self.add(at, format!("expected an object, found {}", found(Some(value))));
            return None;
        };
        self.known(at, members, &KEY_MEMBERS);
        let kid = self.kid(&format!("{at}.kid"), members.get("kid"));
        let algorithm = self.algorithm(&format!("{at}.alg"), members.get("alg"));
        let signs_from = match members.get("signs_from") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if parse_utc(text).is_some() => parse_utc(text),
            other => {
                let expected = "an RFC 3339 time in UTC (2026-11-22T00:00:00Z) or null";
                self.add(format!("{at}.signs_from"), format!("expected {expected}, found {}", found(other)));
                None
            }
        };
        let algorithm = algorithm?;
        let public = self.public(&format!("{at}.public"), members.get("public"), algorithm);
        let (location, local) = self.private(&format!("{at}.private"), members.get("private"), algorithm)?;
        let public = public?;
        if kid.is_some_and(|kid| kid != *public.kid()) {
            self.add(format!("{at}.kid"), format!("expected this key's thumbprint {}, found another", public.kid()));
        }
        if local.as_ref().is_some_and(|local| *local.public_key() != public) {
            self.add(format!("{at}.private"), "expected the private half of public, found another key's");
        }
        if location == PrivateLocation::Dropped && signs_from.is_none() {
            self.add(at, "expected a standby to have a private half, found none; hint: it could never sign");
        }
        Some(match local {
            Some(local) => KeyVersion::local(local, signs_from),
            None => KeyVersion { public, signs_from, location, local: None, signer: None },
        })
    }

    fn public(&mut self, at: &str, value: Option<&Value>, algorithm: Algorithm) -> Option<PublicKey> {
        let Some(Value::Object(members)) = value else {
            self.add(at, format!("expected a public JWK, found {}", found(value)));
            return None;
        };
        let known = |name: &str| JWK_MEMBERS.contains(&name) || PRIVATE_MEMBERS.contains(&name);
        for name in members.keys().filter(|name| !known(name)) {
            self.add(at, format!("expected only {}, found the member {}", JWK_MEMBERS.join(" "), found_str(name)));
        }
        // The ring's `alg` speaks for a JWK that has none, so that PS256 needs no second mention.
        let key = PublicKey::from_members(members, Some(algorithm));
        match key {
            Ok(key) if key.algorithm() == algorithm => Some(key),
            Ok(key) => {
                self.add(
                    format!("{at}.alg"),
                    format!("expected {algorithm} as alg beside it, found {}", key.algorithm()),
                );
                None
            }
            Err(KeyError::Jwk { member, expected, found }) => {
                self.add(format!("{at}.{member}"), format!("expected {expected}, found {found}"));
                None
            }
            Err(error) => {
                self.add(at, error.to_string());
                None
            }
        }
    }

    fn private(
        &mut self,
        at: &str,
        value: Option<&Value>,
        algorithm: Algorithm,
    ) -> Option<(PrivateLocation, Option<LocalSigner>)> {
        let expected = r#"expected {"pkcs8"}, {"kms"} or {"transit": {"key", "version"}}"#;
        let members = match value {
            None => return Some((PrivateLocation::Dropped, None)),
            Some(Value::Object(members)) if members.len() == 1 => members,
            other => {
                self.add(at, format!("{expected}, found {}", kind_only(other)));
                return None;
            }
        };
        match (members.get("pkcs8"), members.get("kms"), members.get("transit")) {
            (Some(Value::String(text)), None, None) => {
                let signer = self.inline(at, text, algorithm)?;
                Some((PrivateLocation::Inline, Some(signer)))
            }
            (None, Some(Value::String(arn)), None) if is_kms_key(arn) => {
                Some((PrivateLocation::Kms { arn: arn.clone() }, None))
            }
            (None, Some(_), None) => {
                self.add(format!("{at}.kms"), "expected arn:PARTITION:kms:REGION:ACCOUNT:key/ID, found another value; hint: not an alias, it could be pointed at another key");
                None
            }
            (None, None, Some(Value::Object(transit))) => {
                self.transit(&format!("{at}.transit"), transit).map(|location| (location, None))
            }
            _ => {
                self.add(at, format!("{expected}, found another member or another type of value"));
                None
            }
        }
    }

    fn inline(&mut self, at: &str, text: &str, algorithm: Algorithm) -> Option<LocalSigner> {
        let mut der = Zeroizing::new(Vec::with_capacity(text.len()));
        if STANDARD.decode_vec(text, &mut der).is_err() {
            self.add(format!("{at}.pkcs8"), "expected PKCS#8 DER in padded base64, found another encoding");
            return None;
        }
        match LocalSigner::from_pkcs8(algorithm, &der) {
            Ok(signer) => Some(signer),
            Err(error) => {
                self.add(format!("{at}.pkcs8"), error.to_string());
                None
            }
        }
    }

    fn transit(&mut self, at: &str, members: &Map<String, Value>) -> Option<PrivateLocation> {
        self.known(at, members, &["key", "version"]);
        let version = self.whole_number(&format!("{at}.version"), members.get("version"))?;
        let is_name = |name: &str| {
            (1..=128).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                && !name.starts_with('.')
        };
        match members.get("key") {
            Some(Value::String(key)) if is_name(key) && version > 0 => {
                Some(PrivateLocation::Transit { key: key.clone(), version })
            }
            Some(Value::String(key)) if is_name(key) => {
                self.add(format!("{at}.version"), "expected a pinned version from 1, found 0");
                None
            }
            other => {
                let expected = "a transit key name of 1 to 128 letters, digits, - _ .";
                self.add(format!("{at}.key"), format!("expected {expected}, found {}", kind_only(other)));
                None
            }
        }
    }

    /// What must hold between the parts.
    fn whole(&mut self, default: Option<Algorithm>, withdrawn: &BTreeSet<Kid>, keys: &[KeyVersion]) {
        let mut seen = BTreeSet::new();
        for key in keys {
            if !seen.insert(key.kid()) {
                self.add("keys", format!("expected every key once, found {} again", key.kid()));
            }
            if withdrawn.contains(key.kid()) {
                let kid = key.kid();
                self.add("keys", format!("expected no withdrawn key, found {kid}; hint: it may be in foreign hands"));
            }
        }
        for algorithm in Algorithm::ALL {
            let mut timed: Vec<(Timestamp, &KeyVersion)> = keys
                .iter()
                .filter(|key| key.algorithm() == algorithm)
                .filter_map(|key| key.signs_from.map(|start| (start, key)))
                .collect();
            timed.sort_by_key(|(start, _)| *start);
            for pair in timed.windows(2) {
                if let [(one, first), (other, second)] = pair
                    && one == other
                {
                    let (first, second) = (first.kid(), second.kid());
                    self.add(
                        "keys",
                        format!("expected one {algorithm} key to sign from {one}, found {first} and {second}"),
                    );
                }
            }
            match timed.last() {
                Some((_, newest)) if newest.location == PrivateLocation::Dropped => {
                    let kid = newest.kid();
                    self.add(
                        "keys",
                        format!("expected the newest {algorithm} key to have its private half, found {kid} without"),
                    );
                }
                None if default == Some(algorithm) => {
                    self.add("default_alg", format!("expected a key of {algorithm} with signs_from, found none"));
                }
                _ => {}
            }
        }
    }
}

/// What kind of value there is, where its text could be a secret however short.
fn kind_only(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(_)) => "a string".to_owned(),
        other => found(other),
    }
}

/// `arn:PARTITION:kms:REGION:ACCOUNT:key/ID` of a key, multi-region ones included.
fn is_kms_key(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    match parts.as_slice() {
        ["arn", partition, "kms", region, account, resource] => {
            let id = resource.strip_prefix("key/").unwrap_or_default();
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            plain(partition) && plain(region) && digits && plain(id) && id.len() <= 64
        }
        _ => false,
    }
}

pub(super) fn write(ring: &KeyRing) -> Result<Zeroizing<Vec<u8>>, RingError> {
    let policy = ring.policy.members().into_iter().map(|(name, seconds)| (name, seconds.into()));
    let withdrawn = ring.withdrawn.iter().map(|kid| kid.as_str().into()).collect();
    // Moved piece by piece: the `json!` macro would copy the keys and leave the originals unwiped.
    let document = Secret(object([
        ("version", 1.into()),
        ("generation", ring.generation.into()),
        ("derived_from", ring.derived_from.clone().into()),
        ("default_alg", ring.default.name().into()),
        ("policy", Value::Object(object(policy))),
        ("withdrawn", Value::Array(withdrawn)),
        ("keys", Value::Array(ring.keys.iter().map(write_key).collect())),
    ]));
    // Reserved at the largest size: a growing buffer would leave unwiped copies of the keys on the heap.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KeyRing::MAX_BYTES));
    if serde_json::to_writer(&mut *bytes, &document.0).is_err() || bytes.len() > KeyRing::MAX_BYTES {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes)
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn too_large(found: usize) -> RingError {
    RingError::Json(strict_json::StrictJsonError::TooLarge { limit: KeyRing::MAX_BYTES, found })
}

fn write_key(key: &KeyVersion) -> Value {
    let mut written = object([
        ("kid", key.kid().as_str().into()),
        ("alg", key.algorithm().name().into()),
        ("signs_from", key.signs_from.map(|start| start.to_string()).into()),
        ("public", key.public.to_jwk()),
    ]);
    let private = match (&key.location, &key.local) {
        (PrivateLocation::Kms { arn }, _) => Some(("kms", arn.clone().into())),
        (PrivateLocation::Transit { key, version }, _) => {
            Some(("transit", Value::Object(object([("key", key.clone().into()), ("version", (*version).into())]))))
        }
        (PrivateLocation::Inline, Some(local)) => Some(("pkcs8", STANDARD.encode(&*local.to_pkcs8()).into())),
        (PrivateLocation::Inline, None) | (PrivateLocation::Dropped, _) => None,
    };
    if let Some(private) = private {
        written.insert("private".to_owned(), Value::Object(object([private])));
    }
    Value::Object(written)
}
