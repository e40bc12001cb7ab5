//! The key set itself: what every verifier out there relies on, and what must never be in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use token_jose::strict_json::{self, Limits};
use token_jose::{KeySet, PRIVATE_MEMBERS, PublicKey};

use super::Probes;
use crate::file::quoted;

/// Members of this project's stored documents that verifiers do not need.
const BOOKKEEPING: [&str; 4] = ["published_at", "not_after", "generation", "min_generation"];

/// Judges the document; the key set when it is one.
pub(super) fn judge(body: &[u8], probes: &mut Probes) -> Option<KeySet> {
    let document = match strict_json::parse(body, Limits::new(KeySet::MAX_BYTES, 8)) {
        Ok(document) => document,
        Err(error) => {
            probes.failed("key-set-form", error.to_string());
            return None;
        }
    };
    let empty = Vec::new();
    let keys = document.get("keys").and_then(Value::as_array).unwrap_or(&empty);
    let members: Vec<&Map<String, Value>> = keys.iter().filter_map(Value::as_object).collect();
    if members.is_empty() || members.len() != keys.len() {
        probes.failed("key-set-form", format!("expected an array of keys, found {} of {}", members.len(), keys.len()));
        return None;
    }
    probes.ok("key-set-form", format!("{} keys", members.len()));

    let mut private = Vec::new();
    find_private("document", &document, &mut private);
    probes.judge("no-private-member", "public halves only", &private);

    let leaked: BTreeSet<&str> = BOOKKEEPING
        .into_iter()
        .filter(|name| document.get(*name).is_some() || members.iter().any(|key| key.contains_key(*name)))
        .collect();
    let leaked: Vec<String> = leaked.iter().map(|name| format!("expected no bookkeeping, found {name}")).collect();
    probes.judge("no-bookkeeping", "nothing but keys", &leaked);

    let (mut alg, mut names, mut kids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, key) in members.iter().enumerate() {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("alg").is_none() {
            alg.push(format!("keys[{index}]: expected alg, found none: the token's header would choose"));
        }
        if text("use") != Some("sig") {
            alg.push(format!("keys[{index}]: expected use sig, found {}", quoted(text("use").unwrap_or("nothing"))));
        }
        if let Some(problem) = name_problem(key) {
            names.push(format!("keys[{index}]: {problem}"));
        }
        if !kids.insert(text("kid").unwrap_or_default()) {
            names.push(format!(
                "keys[{index}]: expected every kid once, found {} again",
                quoted(text("kid").unwrap_or_default())
            ));
        }
    }
    probes.judge("alg-and-use", "every key has its one algorithm and is for signatures", &alg);
    probes.judge("kid-is-thumbprint", "RFC 7638, SHA-256", &names);
    KeySet::parse(body).ok()
}

/// Names that RFC 7517 and RFC 7518 give to private and symmetric parts, at any depth and in any case.
fn find_private(at: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if PRIVATE_MEMBERS.contains(&name.to_ascii_lowercase().as_str()) {
                    found.push(format!(
                        "{at}: PRIVATE MEMBER {} IS PUBLIC; hint: withdraw the key at once (keys withdraw)",
                        quoted(name)
                    ));
                }
                find_private(name, value, found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                find_private(&format!("{at}[{index}]"), value, found);
            }
        }
        _ => {}
    }
}

/// What is wrong with a key's name, or with the key, so that its name cannot be judged.
fn name_problem(key: &Map<String, Value>) -> Option<String> {
    let known = ["kty", "n", "e", "crv", "x", "y", "use", "alg"];
    let public: Map<String, Value> = key
        .iter()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let Some(kid) = key.get("kid").and_then(Value::as_str) else {
        return Some("expected a kid, found none".to_owned());
    };
    match PublicKey::from_jwk(&Value::Object(public)) {
        Ok(parsed) if parsed.kid().as_str() == kid => None,
        Ok(parsed) => Some(format!("expected kid {}, found {}", parsed.kid(), quoted(kid))),
        Err(error) => Some(error.to_string()),
    }
}
