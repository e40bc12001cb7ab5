//! Key pairs, made once per process: an RSA key takes longer to make than most tests to run.

use std::sync::{Arc, OnceLock};

use token_jose::{Algorithm, LocalSigner};
use zeroize::Zeroizing;

/// A signer with this process's key of `algorithm`: the same key at every call.
///
/// # Panics
/// When the cryptographic library makes no key.
#[must_use]
pub fn signer(algorithm: Algorithm) -> Arc<LocalSigner> {
    static SIGNERS: [OnceLock<Arc<LocalSigner>>; 5] = [const { OnceLock::new() }; 5];
    Arc::clone(SIGNERS[slot(algorithm)].get_or_init(|| Arc::new(generate(algorithm))))
}

/// The PKCS#8 DER of [`signer`]'s key.
#[must_use]
pub fn pkcs8(algorithm: Algorithm) -> Zeroizing<Vec<u8>> {
    signer(algorithm).to_pkcs8()
}

/// A second key of `algorithm`, also the same at every call: for tests of "another key".
///
/// # Panics
/// When the cryptographic library makes no key.
#[must_use]
pub fn other(algorithm: Algorithm) -> Arc<LocalSigner> {
    static OTHERS: [OnceLock<Arc<LocalSigner>>; 5] = [const { OnceLock::new() }; 5];
    Arc::clone(OTHERS[slot(algorithm)].get_or_init(|| Arc::new(generate(algorithm))))
}

fn generate(algorithm: Algorithm) -> LocalSigner {
    LocalSigner::generate(algorithm).unwrap_or_else(|error| panic!("no {algorithm} key: {error}"))
}

fn slot(algorithm: Algorithm) -> usize {
    Algorithm::ALL.iter().position(|each| *each == algorithm).expect("ALL lists every algorithm")
}
