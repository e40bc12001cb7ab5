//! Compact JWS: against a fixed key set only the tokens that its owner signed are accepted, byte for byte.
//!
//! The private halves were dropped when the seeds were made (`examples/seeds.rs`), so that anything else that verifies is
//! a forgery.
#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use token_jose::{Expectation, KeySet, Unverified, verify};

/// The seeds that are valid: `examples/seeds.rs` writes them.
const SIGNED: [&str; 3] = [
    include_str!("../corpus/jws/valid-rs256"),
    include_str!("../corpus/jws/valid-es256"),
    include_str!("../corpus/jws/valid-eddsa"),
];

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    KeySet::parse(include_bytes!("../corpus/jwks/jws-keys.json")).unwrap_or_else(|error| panic!("{error}"))
});

static NOW: LazyLock<Timestamp> =
    LazyLock::new(|| "2026-11-22T00:05:00Z".parse().unwrap_or_else(|error| panic!("{error}")));

fuzz_target!(
    init: {
        for token in SIGNED {
            check(token).unwrap_or_else(|error| panic!("a valid seed is refused: {error}"));
        }
    },
    |token: &str| {
        match check(token) {
            Ok(()) => assert!(SIGNED.contains(&token), "accepted, and nobody signed it: {token}"),
            Err(message) => {
                assert!(message.len() <= 1024, "an error quotes a bounded part");
                assert!(!message.chars().any(char::is_control), "an error escapes what it quotes: {message:?}");
            }
        }
    }
);

fn check(token: &str) -> Result<(), String> {
    let expectation = Expectation::new("https://issuer.example", "https://api.example.com", &["JWT", "at+jwt"]);
    let whole = verify(token, &KEYS, &expectation, *NOW);
    let parsed = Unverified::parse(token);
    if let Ok(unverified) = &parsed {
        assert!(
            !format!("{unverified:?}")
                .contains(token.rsplit('.').next().filter(|part| part.len() > 16).unwrap_or("\0"))
        );
    }
    let stepwise = parsed.and_then(|unverified| unverified.verify(&KEYS, &expectation, *NOW));
    assert_eq!(
        whole.as_ref().map(|verified| verified.value()).map_err(ToString::to_string),
        stepwise.as_ref().map(|verified| verified.value()).map_err(ToString::to_string),
        "one step and two say the same"
    );
    whole.map(drop).map_err(|error| error.to_string())
}
