//! Keys, times and hand-made tokens.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, KeySet, LocalSigner, PublishedKey, base64url};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

/// 2026-11-22T12:00:00Z
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_795_348_800).unwrap()
}

/// One key of each algorithm, made once a process: RSA generation is slow.
pub(crate) fn signer(algorithm: Algorithm) -> &'static LocalSigner {
    static KEYS: [OnceLock<LocalSigner>; 5] = [const { OnceLock::new() }; 5];
    KEYS[algorithm as usize].get_or_init(|| LocalSigner::generate(algorithm).unwrap())
}

pub(crate) fn key_set(algorithms: &[Algorithm]) -> KeySet {
    KeySet::new(algorithms.iter().map(|algorithm| PublishedKey::new(signer(*algorithm).public_key().clone())), 0)
}

pub(crate) fn expectation() -> Expectation {
    Expectation::new(ISSUER, AUDIENCE, &["JWT"])
}

/// Claims that [`expectation`] accepts at [`now`].
pub(crate) fn claims() -> Value {
    let iat = now().as_second();
    json!({"iss": ISSUER, "sub": "a", "aud": AUDIENCE, "iat": iat, "nbf": iat, "exp": iat + 900, "jti": "1"})
}

/// The header that `sign_compact` writes.
pub(crate) fn header(signer: &LocalSigner) -> Value {
    let key = signer.public_key();
    json!({"typ": "JWT", "alg": key.algorithm().name(), "kid": key.kid().as_str()})
}

/// A token with whatever header and payload, correctly signed.
pub(crate) fn token(signer: &LocalSigner, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes()));
    let signature = signer.sign_now(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url(&signature))
}

/// [`header`] and [`claims`] with one member replaced, or removed for `Value::Null`.
pub(crate) fn with(mut object: Value, name: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Value::Null => drop(members.remove(name)),
        value => drop(members.insert(name.to_owned(), value)),
    }
    object
}

/// Runs a future that never waits.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
