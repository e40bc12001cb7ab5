//! A ring that lives in this process alone, and may therefore be rotated by it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use token_issuance::{Document, DocumentSource, KeyLoader, SourceError};
use token_jose::{Algorithm, KeyRing, KeySet, KeyVersion, LocalSigner, RingError, RingPolicy, sha256_hex};
use zeroize::Zeroizing;

/// Ring and published set of one process, each as the document that a store would keep.
pub(super) struct OwnRing {
    state: Mutex<State>,
}

struct State {
    ring: KeyRing,
    published: KeySet,
}

impl fmt::Debug for OwnRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnRing").finish_non_exhaustive()
    }
}

/// One of the two documents.
#[derive(Debug)]
struct View {
    of: Arc<OwnRing>,
    half: Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Ring,
    Published,
}

impl OwnRing {
    /// A first ring.
    pub(super) fn first(algorithm: Algorithm, policy: RingPolicy, now: Timestamp) -> Result<Arc<Self>, RingError> {
        let ring = KeyRing::first(&[algorithm], policy, now)?;
        let published = ring.published(now);
        Ok(Arc::new(Self { state: Mutex::new(State { ring, published }) }))
    }

    /// Reads both documents.
    pub(super) fn loader(self: &Arc<Self>) -> KeyLoader {
        let view = |half| Arc::new(View { of: Arc::clone(self), half }) as Arc<dyn DocumentSource>;
        KeyLoader::new(view(Half::Ring), view(Half::Published))
    }

    /// Promotes the standby of `algorithm` and publishes a new one, unless a promoted key still waits for its time: then that
    /// one is the answer, so that a repeated order rotates once. Returns the key that signs next.
    pub(super) fn rotate(&self, algorithm: Algorithm, now: Timestamp) -> Result<String, RingError> {
        let due = self.state().ring.standbys_due(now);
        // Without the lock: a new RSA key takes its time, and readers of the ring wait for nobody.
        let keys = due.iter().map(|algorithm| LocalSigner::generate(*algorithm).map(KeyVersion::standby));
        let fresh = keys.collect::<Result<Vec<_>, _>>()?;
        let mut state = self.state();
        if !due.is_empty() && state.ring.standbys_due(now) == due {
            let source = state.ring.generation().to_string();
            let ring = state.ring.rotated(&state.published, &source, fresh, now)?;
            let announced = ring.announced(&state.published, now);
            let published = ring.republished(&announced, now);
            *state = State { ring, published };
        }
        let waits = |key: &&KeyVersion| key.algorithm() == algorithm && key.signs_from().is_some_and(|from| from > now);
        let next = state.ring.key_versions().iter().filter(waits).min_by_key(|key| key.signs_from());
        let next = next.or_else(|| state.ring.active(algorithm, now));
        Ok(next.map(|key| key.kid().to_string()).unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl DocumentSource for View {
    async fn read(&self) -> Result<Document, SourceError> {
        let state = self.of.state();
        let bytes = match self.half {
            Half::Ring => state
                .ring
                .to_json()
                .map_err(|error| SourceError::Malformed { source_name: self.describe(), detail: error.to_string() })?,
            Half::Published => Zeroizing::new(state.published.to_stored_json().into_bytes()),
        };
        let version = sha256_hex(&bytes);
        Ok(Document::new(bytes, version))
    }

    fn describe(&self) -> String {
        match self.half {
            Half::Ring => "this process's key ring".to_owned(),
            Half::Published => "this process's key set".to_owned(),
        }
    }
}
