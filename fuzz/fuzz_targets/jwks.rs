//! The stored key set: what is accepted is stored and read back alike, and its public form has public members only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use token_jose::KeySet;

/// RFC 7518 section 6: what a public JWK of these types may have, and nothing of the bookkeeping.
const PUBLIC: [&str; 9] = ["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg"];

fuzz_target!(|document: &[u8]| {
    match KeySet::parse(document) {
        Ok(set) => {
            let stored = KeySet::parse(set.to_stored_json().as_bytes());
            assert_eq!(stored.as_ref(), Ok(&set), "what is stored reads back");
            let public = set.to_public_json();
            let parsed: Value = serde_json::from_str(&public).unwrap_or_else(|error| panic!("{error}: {public}"));
            let members = parsed.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
            assert_eq!(members, Some(vec!["keys".to_owned()]));
            let keys = parsed.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            assert_eq!(keys.len(), set.len());
            for key in keys {
                let names = key.as_object().into_iter().flat_map(|members| members.keys());
                names.for_each(|name| assert!(PUBLIC.contains(&name.as_str()), "published member {name}"));
            }
            let again = KeySet::parse(public.as_bytes()).unwrap_or_else(|error| panic!("{error}: {public}"));
            assert!(set.keys().eq(again.keys()), "verifiers read the same keys");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
