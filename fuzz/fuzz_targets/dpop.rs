//! DPoP proofs: only those are accepted that the holder of their key signed, byte for byte but for what the signature's
//! encoding and the header's own key leave open; and URIs and nonces, which a proof also brings.
//!
//! The private halves were dropped when the seeds were made (`examples/seeds.rs`): a proof that is accepted under one of
//! the seeds' keys and is no seed is a forgery. A proof under another key is none, whoever has it may use it.
#![no_main]

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use token_jose::{Algorithm, Htu, Nonces, Proof, ProofError, ProofExpectation, verify_proof};

/// The seeds that are valid: `examples/seeds.rs` writes them.
const SIGNED: [&str; 3] = [
    include_str!("../corpus/dpop/valid-rs256"),
    include_str!("../corpus/dpop/valid-es256"),
    include_str!("../corpus/dpop/valid-eddsa-nonce"),
];

static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(&[7; 32]));

static URIS: LazyLock<[Htu; 1]> =
    LazyLock::new(|| [Htu::parse("https://issuer.example/token").unwrap_or_else(|error| panic!("{error}"))]);

static NOW: LazyLock<Timestamp> =
    LazyLock::new(|| "2026-11-22T00:00:30Z".parse().unwrap_or_else(|error| panic!("{error}")));

static JKTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let jkt = |proof: &&str| verify(proof, *NOW).map(|proof| proof.jkt().to_string());
    SIGNED.iter().map(|proof| jkt(proof).unwrap_or_else(|error| panic!("a valid seed is refused: {error}"))).collect()
});

fuzz_target!(
    init: {
        assert_eq!(JKTS.len(), SIGNED.len());
    },
    |text: &str| {
        match verify(text, *NOW) {
            Ok(proof) => {
                let forged = JKTS.iter().any(|jkt| jkt == proof.jkt().as_str()) && !SIGNED.contains(&text);
                assert!(!forged, "accepted, and nobody signed it: {text}");
                assert!((1..=71).contains(&proof.jti().len()) && proof.jti().bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(*NOW < proof.until(), "a proof is accepted before its end only");
                let next = verify(text, proof.until());
                assert!(next.is_err(), "and never from its end on");
                let same = verify(text, proof.until() - SignedDuration::from_nanos(1));
                assert_eq!(same.as_ref().map(Proof::until), Ok(proof.until()), "whose moment is the proof's alone");
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.len() <= 1024, "an error quotes a bounded part: {message}");
                assert!(!message.chars().any(char::is_control), "an error escapes what it quotes: {message:?}");
                assert!(["invalid_dpop_proof", "use_dpop_nonce"].contains(&error.code()));
            }
        }
        if let Ok(htu) = Htu::parse(text) {
            assert_eq!(Htu::parse(htu.as_str()).as_ref(), Ok(&htu), "a normal form is its own");
            assert!(!htu.as_str().contains(['?', '#', '\\', ' ']), "{htu}");
        }
        if let Some(own_time) = NONCES.check(text, *NOW) {
            assert_eq!(NONCES.issue(own_time), text, "only what was issued is a nonce");
        }
    }
);

fn verify(proof: &str, now: Timestamp) -> Result<Proof, ProofError> {
    let expect = ProofExpectation {
        method: "POST",
        uris: &*URIS,
        access_token: None,
        nonces: Some(&NONCES),
        nonce_required: false,
        algorithms: &Algorithm::ALL,
    };
    verify_proof(proof, &expect, now)
}
