//! The key ring: an accepted one survives being written, publishes nothing private; a refused one's messages hold no part
//! of a private key.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use token_jose::{KeyRing, KeySet, Kid};

fuzz_target!(|document: &[u8]| {
    match KeyRing::parse(document) {
        Ok(ring) => {
            let json = ring.to_json().unwrap_or_else(|error| panic!("an accepted ring cannot be written: {error}"));
            let again = KeyRing::parse(&json).unwrap_or_else(|error| panic!("a written ring cannot be read: {error}"));
            assert_eq!(again.to_json().ok().as_ref().map(|json| json.as_slice()), Some(json.as_slice()));
            let set = ring.published(Timestamp::UNIX_EPOCH);
            assert!(KeySet::parse(set.to_public_json().as_bytes()).is_ok(), "what a ring publishes is a key set");
            no_secrets(&format!("{ring:?}"), document);
            for algorithm in ring.algorithms() {
                let _ = ring.active(algorithm, Timestamp::UNIX_EPOCH);
            }
        }
        Err(error) => {
            no_secrets(&error.to_string(), document);
            no_secrets(&format!("{error:?}"), document);
        }
    }
});

/// No private text of the document, from 24 characters of base64 on (shorter ones stand in any text), stands in `message`.
///
/// Two things in a message are no leak, and libFuzzer finds both: a text that the document also has in a public place, and
/// the thumbprint of a public key, copied into a private place.
fn no_secrets(message: &str, document: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let (mut secrets, mut public) = (Vec::new(), Vec::new());
    collect(&value, false, &mut secrets, &mut public);
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/-_=".contains(c);
    for word in message.split(|c| !is_base64(c)).filter(|word| word.len() >= 24 && word.parse::<Kid>().is_err()) {
        for start in 0..=word.len() - 24 {
            let part = &word[start..start + 24];
            let leaks =
                secrets.iter().any(|text| text.contains(part)) && !public.iter().any(|text| text.contains(part));
            assert!(!leaks, "a message holds a part of a private key: {message}");
        }
    }
}

fn collect<'v>(value: &'v Value, private: bool, secrets: &mut Vec<&'v str>, public: &mut Vec<&'v str>) {
    match value {
        Value::String(text) if private => secrets.push(text),
        Value::String(text) => public.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, private, secrets, public)),
        Value::Object(members) => {
            for (name, value) in members {
                public.push(name);
                collect(value, private || name == "pkcs8" || name == "private_key", secrets, public);
            }
        }
        _ => {}
    }
}
