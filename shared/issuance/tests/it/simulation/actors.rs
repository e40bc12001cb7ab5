//! Who takes part: issuers and doors with the real loaders, each with a clock of its own; and verifiers with their caches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use token_issuance::{Document, DocumentSource, KeyLoader, Keys, PublishedLoader, Refreshing, SourceError};
use token_jose::{Algorithm, Expectation, KeySet, Kid, RING_AGE_S, UnknownKid, Verifier, sign_compact, verify};
use token_testkit::{MemoryPublished, MemorySecret, run_to_end};

pub(super) const ALGORITHM: Algorithm = Algorithm::EdDsa;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example";

/// The moment that a clock shows which is `offset` seconds ahead, at `t` seconds of the world's time.
pub(super) fn clock(t: u64, offset: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::try_from(t + offset).unwrap()).unwrap()
}

/// World's time of a moment, by a clock that shows it.
pub(super) fn world_time(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_second() - 1_800_000_000).unwrap_or(0)
}

/// A document over a line that can be cut.
#[derive(Debug)]
struct Line {
    inner: Arc<dyn DocumentSource>,
    cut: Arc<AtomicBool>,
}

#[async_trait]
impl DocumentSource for Line {
    async fn read(&self) -> Result<Document, SourceError> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(SourceError::Unavailable {
                source_name: self.describe(),
                detail: "the line is cut".to_owned(),
            });
        }
        self.inner.read().await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

fn line(inner: Arc<dyn DocumentSource>, cut: &Arc<AtomicBool>) -> Arc<dyn DocumentSource> {
    Arc::new(Line { inner, cut: Arc::clone(cut) })
}

/// A token, and what the world knows of it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) kid: Kid,
    /// When it was signed, in the world's time.
    pub(super) signed_at: u64,
    /// Its `exp`, as seconds of the world's time by a clock that is right.
    pub(super) exp: u64,
    pub(super) issuer_was_cut: bool,
}

/// An issuer: the real loader, refreshed at the ring's age.
pub(super) struct Issuer {
    keys: Refreshing<KeyLoader>,
    cut: Arc<AtomicBool>,
    /// When its line was last cut or mended.
    pub(super) changed_at: u64,
    pub(super) offset: u64,
}

impl Issuer {
    pub(super) fn new(secret: &MemorySecret, published: &MemoryPublished, offset: u64) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let loader = KeyLoader::new(line(secret.document(), &cut), line(published.document(), &cut));
        Self { keys: Refreshing::new(loader, RING_AGE_S), cut, changed_at: 0, offset }
    }

    pub(super) fn set_cut(&mut self, cut: bool, t: u64) {
        self.cut.store(cut, Ordering::Relaxed);
        self.changed_at = t;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Signs a token that lives `ttl_s` seconds, or says why not.
    pub(super) fn issue(&self, t: u64, ttl_s: u64) -> Result<Token, String> {
        let now = clock(t, self.offset);
        run_to_end(async {
            let keys: Arc<Keys> = self.keys.current(now).await.map_err(|error| error.to_string())?.value;
            let (key, _) = keys.signing_key(ALGORITHM, now).map_err(|error| error.to_string())?;
            let (issued, exp) = (now.as_second(), now.as_second() + i64::try_from(ttl_s).unwrap());
            let claims = format!(
                r#"{{"iss":"{ISSUER}","sub":"a","aud":"{AUDIENCE}","iat":{issued},"nbf":{issued},"exp":{exp}}}"#
            );
            let signer = key.signer().ok_or("no signer")?;
            let token =
                sign_compact(signer.as_ref(), "JWT", claims.as_bytes()).await.map_err(|error| error.to_string())?;
            let exp = t + self.offset + ttl_s;
            let kid = key.kid().clone();
            Ok(Token { text: token.into_string(), kid, signed_at: t, exp, issuer_was_cut: self.is_cut() })
        })
    }
}

/// What serves the key set, and the cache in front of it that keeps an answer for `max-age`, and longer while the door
/// fails.
pub(super) struct Door {
    keys: Refreshing<PublishedLoader>,
    cut: Arc<AtomicBool>,
    /// Nobody answers at all.
    pub(super) down: bool,
    offset: u64,
    max_age_s: u64,
    stale_if_error_s: u64,
    cached: Option<(u64, KeySet)>,
}

impl Door {
    pub(super) fn new(published: &MemoryPublished, door: token_jose::Door, max_age_s: u64, offset: u64) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let loader = PublishedLoader::new(line(published.document(), &cut), door.stale_if_error_s);
        let keys = Refreshing::new(loader, door.memory_age_s);
        let stale_if_error_s = door.stale_if_error_s;
        Self { keys, cut, down: false, offset, max_age_s, stale_if_error_s, cached: None }
    }

    pub(super) fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// What a verifier gets that asks at `t`.
    fn fetch(&mut self, t: u64) -> Option<KeySet> {
        let age = |cached: &(u64, KeySet)| t - cached.0;
        if let Some(cached) = self.cached.as_ref().filter(|cached| age(cached) < self.max_age_s) {
            return Some(cached.1.clone());
        }
        let now = clock(t, self.offset);
        let served = match run_to_end(self.keys.current(now)) {
            Ok(current) if !self.down => Some(current.value.live(now)).filter(|set| !set.is_empty()),
            _ => None,
        };
        match served {
            Some(set) => {
                // Through the wire: what verifiers parse has no bookkeeping.
                let set = KeySet::parse(set.to_public_json().as_bytes()).unwrap();
                self.cached = Some((t, set.clone()));
                Some(set)
            }
            None => {
                let stale = self.max_age_s + self.stale_if_error_s;
                self.cached.as_ref().filter(|cached| age(cached) < stale).map(|cached| cached.1.clone())
            }
        }
    }
}

/// What a verifier said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// It has no key set and can get none: the door's outage, not the token's fault.
    NoKeySet,
    Refused(String),
}

/// A relying party with its cache.
pub(super) struct Relying {
    declared: Verifier,
    cache_s: u64,
    offset: u64,
    held: Option<(u64, KeySet)>,
    refetched_at: Option<u64>,
}

impl Relying {
    pub(super) fn new(declared: Verifier, offset: u64, slower_s: u64) -> Self {
        let cache_s = declared.cache_s + slower_s;
        Self { declared, cache_s, offset, held: None, refetched_at: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.declared.name
    }

    /// Fetches before it must.
    pub(super) fn refresh(&mut self, door: &mut Door, t: u64) {
        if let Some(set) = door.fetch(t) {
            self.held = Some((t, set));
        }
    }

    /// Verifies as that verifier does at `t`; `None` once the token is past its `exp` by this one's clock.
    pub(super) fn verify(&mut self, token: &Token, door: &mut Door, t: u64) -> Option<Verdict> {
        if t + self.offset >= token.exp {
            return None;
        }
        if self.held.as_ref().is_some_and(|(since, _)| t - since > self.cache_s) {
            self.held = None;
        }
        if self.held.is_none() {
            self.refresh(door, t);
        }
        let unknown = self.held.as_ref().is_some_and(|(_, set)| set.get(&token.kid).is_none());
        if unknown
            && let UnknownKid::Refetches { cool_down_s } = self.declared.unknown_kid
            && self.refetched_at.is_none_or(|at| t - at >= cool_down_s)
        {
            self.refetched_at = Some(t);
            self.refresh(door, t);
        }
        let Some((_, set)) = &self.held else { return Some(Verdict::NoKeySet) };
        let expectation = Expectation::new(ISSUER, AUDIENCE, &["JWT"]);
        Some(match verify(&token.text, set, &expectation, clock(t, self.offset)) {
            Ok(_) => Verdict::Accepted,
            Err(error) => Verdict::Refused(error.to_string()),
        })
    }
}
