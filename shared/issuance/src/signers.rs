//! Private halves that are not in the ring: who reaches them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use token_jose::{KeyRing, KeyVersion, Signer};
use tracing::warn;

use crate::document::SourceError;

/// Reaches the private half of a key version that is elsewhere (a KMS).
///
/// An implementation MUST bound its own time, and check that the remote key's public half is the ring's.
#[async_trait]
pub trait SignerSource: Send + Sync + fmt::Debug {
    /// What signs for `key`.
    ///
    /// # Errors
    /// [`SourceError`]: `Unavailable` and `Throttled` may pass, the others are for good.
    async fn signer(&self, key: &KeyVersion) -> Result<Arc<dyn Signer>, SourceError>;
}

/// Gives every remote key of `ring` its signer. A key that is refused for good stays without one, so that it fails when its
/// turn comes and not before; a source that does not answer fails the whole, since the keys may be as good as ever.
pub(crate) async fn attach(ring: &mut KeyRing, source: &dyn SignerSource) -> Result<(), SourceError> {
    let remote: Vec<KeyVersion> = ring.unattached().cloned().collect();
    for key in remote {
        match source.signer(&key).await {
            Ok(signer) => {
                if let Err(error) = ring.attach(signer) {
                    warn!(kid = %key.kid(), %error, "a signer does not fit its key");
                }
            }
            Err(error @ (SourceError::Throttled { .. } | SourceError::Unavailable { .. })) => return Err(error),
            Err(error) => warn!(kid = %key.kid(), %error, "a key has no signer"),
        }
    }
    Ok(())
}
