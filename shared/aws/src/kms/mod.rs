//! Keys whose private half never leaves AWS KMS.

mod budget;
mod der;
mod maker;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use token_issuance::{SignerSource, SourceError};
use token_jose::{Algorithm, KeyVersion, PrivateLocation, PublicKey, SignError, Signer, sha256, sha384};

use crate::clients::AwsClients;
use crate::fault::{Fault, FaultKind, quietly};

pub use budget::KmsBudget;
pub use maker::KmsKeyMaker;

/// The longest message that KMS hashes itself; of a longer one it takes the digest.
const MAX_RAW_BYTES: usize = 4_096;

/// Seconds after which a caller may ask again when KMS, or our budget, says no.
const THROTTLED_RETRY_S: u64 = 1;

/// One KMS key that signs with one algorithm.
///
/// Messages up to 4,096 bytes go as they are, longer ones as their digest: the result is the same. An ECDSA signature
/// comes back as DER and is handed out as `r || s`.
pub struct KmsSigner {
    clients: AwsClients,
    arn: String,
    public: PublicKey,
    budget: Arc<KmsBudget>,
}

impl KmsSigner {
    /// The signer of the key `arn`, whose public half is fetched now and, where one is `expected`, must be exactly that.
    async fn open(
        clients: &AwsClients,
        arn: &str,
        algorithm: Algorithm,
        expected: Option<&PublicKey>,
        budget: &Arc<KmsBudget>,
    ) -> Result<Self, SourceError> {
        let source_name = || format!("kms:{arn}");
        let malformed = |detail: &str| SourceError::Malformed { source_name: source_name(), detail: detail.to_owned() };
        let request = clients.kms().get_public_key().key_id(arn);
        let answer =
            quietly(request.send()).await.map_err(|error| Fault::of(&error).into_source_error(source_name()))?;
        // KMS answers with the ARN, emulators also with the id alone.
        let named = |id: &str| id == arn || arn.strip_suffix(id).is_some_and(|rest| rest.ends_with(":key/"));
        if !answer.key_id.as_deref().is_some_and(named) {
            return Err(malformed("expected the public half of the key named, found another key's"));
        }
        let der = answer.public_key.map(Blob::into_inner).unwrap_or_default();
        let public = PublicKey::from_spki(algorithm, &der).map_err(|error| malformed(&error.to_string()))?;
        if expected.is_some_and(|expected| *expected != public) {
            return Err(malformed(
                "expected the ring's public half, found another; hint: the ring names the wrong key",
            ));
        }
        Ok(Self { clients: clients.clone(), arn: arn.to_owned(), public, budget: Arc::clone(budget) })
    }
}

#[async_trait]
impl Signer for KmsSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        if !self.budget.take() {
            return Err(SignError::Throttled { retry_after_s: THROTTLED_RETRY_S });
        }
        let algorithm = self.public.algorithm();
        let (message, kind) = message(algorithm, signing_input);
        let request = self
            .clients
            .kms()
            .sign()
            .key_id(&self.arn)
            .signing_algorithm(spec(algorithm).ok_or(SignError::Failed)?)
            .message_type(kind)
            .message(Blob::new(message));
        let answer = quietly(request.send()).await.map_err(|error| sign_error(Fault::of(&error)))?;
        let signature = answer.signature.map(Blob::into_inner).unwrap_or_default();
        let expected = self.public.signature_len();
        let raw = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => der::ecdsa_raw(&signature, expected / 2),
            _ => Some(signature).filter(|signature| signature.len() == expected),
        };
        raw.ok_or(SignError::Failed)
    }
}

impl fmt::Debug for KmsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsSigner").field("arn", &self.arn).field("public", &self.public).finish_non_exhaustive()
    }
}

/// What is sent for a signing input: itself, or its digest where KMS takes no more.
fn message(algorithm: Algorithm, input: &[u8]) -> (Vec<u8>, MessageType) {
    match algorithm {
        _ if input.len() <= MAX_RAW_BYTES => (input.to_vec(), MessageType::Raw),
        Algorithm::Es384 => (sha384(input).to_vec(), MessageType::Digest),
        _ => (sha256(input).to_vec(), MessageType::Digest),
    }
}

/// KMS's name of a JOSE algorithm; `None` for one that is not offered here.
fn spec(algorithm: Algorithm) -> Option<SigningAlgorithmSpec> {
    match algorithm {
        Algorithm::Rs256 => Some(SigningAlgorithmSpec::RsassaPkcs1V15Sha256),
        Algorithm::Ps256 => Some(SigningAlgorithmSpec::RsassaPssSha256),
        Algorithm::Es256 => Some(SigningAlgorithmSpec::EcdsaSha256),
        Algorithm::Es384 => Some(SigningAlgorithmSpec::EcdsaSha384),
        Algorithm::EdDsa => None,
    }
}

fn sign_error(fault: Fault) -> SignError {
    let detail = fault.detail;
    match fault.kind {
        FaultKind::Throttled => SignError::Throttled { retry_after_s: THROTTLED_RETRY_S },
        FaultKind::Unavailable => SignError::Unavailable { detail },
        FaultKind::Denied | FaultKind::Malformed | FaultKind::NotFound => SignError::Refused { detail },
    }
}

/// Finds the KMS keys that a ring names. Each is asked for its public half once, since that cannot change.
#[derive(Debug)]
pub struct KmsKeys {
    clients: AwsClients,
    budget: Arc<KmsBudget>,
    known: Mutex<BTreeMap<String, Arc<KmsSigner>>>,
}

impl KmsKeys {
    /// The keys that these clients reach; all signatures share `budget`.
    #[must_use]
    pub fn new(clients: AwsClients, budget: Arc<KmsBudget>) -> Self {
        Self { clients, budget, known: Mutex::default() }
    }
}

#[async_trait]
impl SignerSource for KmsKeys {
    async fn signer(&self, key: &KeyVersion) -> Result<Arc<dyn Signer>, SourceError> {
        let PrivateLocation::Kms { arn } = key.location() else {
            return Err(SourceError::Malformed {
                source_name: "kms".to_owned(),
                detail: "expected a key in KMS, found one elsewhere".to_owned(),
            });
        };
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = known().get(arn).filter(|signer| signer.public == *key.public_key()) {
            return Ok(Arc::<KmsSigner>::clone(signer));
        }
        let public = Some(key.public_key());
        let opened = KmsSigner::open(&self.clients, arn, key.algorithm(), public, &self.budget).await?;
        let signer = Arc::new(opened);
        known().insert(arn.clone(), Arc::clone(&signer));
        Ok(signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_goes_as_the_digest_of_its_algorithm() {
        for (algorithm, length) in
            [(Algorithm::Rs256, 32), (Algorithm::Ps256, 32), (Algorithm::Es256, 32), (Algorithm::Es384, 48)]
        {
            let input = vec![b'x'; MAX_RAW_BYTES + 1];
            let (sent, kind) = message(algorithm, &input);
            assert_eq!((sent.len(), kind), (length, MessageType::Digest), "{algorithm}");
            let (sent, kind) = message(algorithm, &input[..MAX_RAW_BYTES]);
            assert_eq!((sent.as_slice(), kind), (&input[..MAX_RAW_BYTES], MessageType::Raw), "{algorithm}");
        }
        assert_eq!(message(Algorithm::Es256, &[0; 5_000]).0, sha256(&[0; 5_000]));
    }

    #[test]
    fn what_kms_says_becomes_wait_or_give_up() {
        let of = |kind| sign_error(Fault { kind, detail: "x".to_owned() });
        assert!(matches!(of(FaultKind::Throttled), SignError::Throttled { retry_after_s: 1 }));
        assert!(matches!(of(FaultKind::Unavailable), SignError::Unavailable { .. }));
        for kind in [FaultKind::Denied, FaultKind::Malformed, FaultKind::NotFound] {
            assert!(matches!(of(kind), SignError::Refused { .. }));
        }
    }
}
