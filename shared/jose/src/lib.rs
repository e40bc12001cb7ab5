//! Keys and signed tokens: sign, publish, verify.
//!
//! | type | what it is |
//! |---|---|
//! | [`Signer`], [`LocalSigner`] | one key version that can sign, and the one whose private half is in this process |
//! | [`PublicKey`], [`Kid`] | a verifying key of exactly one algorithm, named by its RFC 7638 thumbprint |
//! | [`KeyRing`] | all key versions of an issuer: which signs from when, and which have been withdrawn |
//! | [`RotationPlan`] | whether a ring's times are safe with the verifiers out there, and the life of a key under them |
//! | [`KeySet`] | the public keys that verifiers get: a JWKS document, with bookkeeping in the stored form |
//! | [`sign_compact`] → [`CompactJws`] | claims to a token, header exactly `typ`, `alg`, `kid` |
//! | [`Unverified`] → [`verify()`] → [`Verified`] | a token from anywhere to claims that may be believed |
//! | [`ForeignKeys`], [`verify_foreign`] | the same for the key sets and tokens of other issuers |
//! | [`verify_proof`] → [`Proof`] | a DPoP proof (RFC 9449) to the key that its sender holds; [`Nonces`] without a store |
//! | [`strict_json`] | the JSON reader below all of it, for other documents that decide security |
//!
//! It is not a general JOSE library: no encryption, no HMAC signatures, no `none`, no detached or JSON serialisation, no header
//! parameters beyond those three in what it signs. It knows nothing of what claims mean, does no I/O and reads no clock.
//!
//! # Invariants
//! - The key decides the algorithm; a token's header is only compared with it.
//! - A document has one reading: duplicate members, loose base64url and trailing data are refused everywhere.
//! - A [`Verified`] value only comes out of [`verify()`]; an [`Unverified`] token yields `iss` and `kid` and no more.
//! - A [`Proof`] only comes out of [`verify_proof`], which says nothing of the payload before the signature holds.
//! - A `kid` of ours is computed, so two documents cannot mean two keys by it.
//! - Private key material is wiped after use and is in no `Debug`, message or public document.
//!
//! # Example
//! ```
//! use token_jose::{Algorithm, Expectation, KeyRing, RingPolicy, sign_compact, verify};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now: jiff::Timestamp = "2026-11-22T12:00:00Z".parse()?;
//! let ring = KeyRing::first(&[Algorithm::Es256], RingPolicy::default(), now)?;
//! let published = ring.published(now);
//!
//! let active = ring.active(Algorithm::Es256, now).and_then(|key| key.signer()).ok_or("no active key")?;
//! let claims = format!(
//!     r#"{{"iss":"https://issuer.example","sub":"a","aud":"https://api.example","exp":{}}}"#,
//!     now.as_second() + 900
//! );
//! let token = sign_compact(active.as_ref(), "JWT", claims.as_bytes()).await?;
//!
//! let expectation = Expectation::new("https://issuer.example", "https://api.example", &["JWT"]);
//! let claims = verify(token.as_str(), &published, &expectation, now)?;
//! assert_eq!(claims.get("sub").and_then(|sub| sub.as_str()), Some("a"));
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod der;
mod dpop;
mod foreign;
mod jws;
mod key;
mod keyset;
mod kid;
mod pem;
mod problem;
mod ring;
mod signer;
pub mod strict_json;
mod text;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use dpop::{Htu, HtuError, MAX_PROOF_BYTES, Nonces, Proof, ProofError, ProofExpectation, Retry, verify_proof};
pub use foreign::{ForeignKeys, ForeignKeysError};
pub use jws::{
    CompactJws, Expectation, ForeignExpectation, JwsError, MAX_TOKEN_BYTES, Part, TypRule, Unverified,
    UnverifiedForeign, Verified, sign_compact, verify, verify_foreign,
};
pub use key::{BadSignature, KeyError, PRIVATE_MEMBERS, PublicKey};
pub use keyset::{KeySet, KeySetError, PublishedKey};
pub use kid::{Kid, KidError};
pub use problem::{Problem, Problems};
pub use ring::{
    Door, KeyRing, KeyVersion, LEEWAY_S, Margin, Moment, PrivateLocation, RING_AGE_S, ROTATION_STEP_S, RingError,
    RingPolicy, RotationPlan, UnknownKid, Verifier, Withdrawal, Withdrawn, seconds_after,
};
pub use signer::{LocalSigner, SignError, Signer};
pub use text::{base64url, same_secret, sha256, sha256_hex, sha384};
