//! The stores of a rotation in memory, with AWS Secrets Manager's semantics, and a scheduler that decides every step.
//!
//! Every call of a store first gives way once. So whoever polls a run by hand ([`interleave`]) decides before each effect
//! which of several runs goes on, or that one never does: a run that is dropped there has crashed there. Under a runtime
//! that giving way is without effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use token_issuance::rotation::{CURRENT, Moved, PENDING, PREVIOUS, PublishedStore, Put, SecretState, SecretVersions};
use token_issuance::{Document, DocumentSource, SourceError};
use zeroize::Zeroizing;

/// What happens to one call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has done nothing.
    Before,
    /// It fails and has done its work: the answer was lost.
    After,
}

/// The calls of the stores that share it, numbered from 0, and which of them fail. Clones are the same script.
#[derive(Clone, Debug, Default)]
pub struct CallScript {
    state: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    log: Vec<&'static str>,
    faults: BTreeMap<usize, Fault>,
}

impl CallScript {
    /// Makes the call with this number fail.
    pub fn fail(&self, call: usize, fault: Fault) {
        self.state.lock().unwrap().faults.insert(call, fault);
    }

    /// Takes every fault back and counts from 0 again.
    pub fn restart(&self) {
        *self.state.lock().unwrap() = Script::default();
    }

    /// How many calls there were: the number of the next.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.lock().unwrap().log.len()
    }

    /// The names of the calls so far, in order: `describe`, `read`, `put_pending`, `move_current`, `drop_stage`,
    /// `published.read`, `published.write`.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().log.clone()
    }

    /// Gives way, then does `effect` as the script says.
    async fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        GiveWay::default().await;
        let fault = {
            let mut state = self.state.lock().unwrap();
            let number = state.log.len();
            state.log.push(name);
            state.faults.get(&number).copied()
        };
        let failed =
            |detail: &str| SourceError::Unavailable { source_name: name.to_owned(), detail: detail.to_owned() };
        match fault {
            None => effect(),
            Some(Fault::Before) => Err(failed("the test made it fail before its effect")),
            Some(Fault::After) => {
                effect()?;
                Err(failed("the test made it fail after its effect"))
            }
        }
    }
}

/// A secret with staged versions in memory. Clones are the same secret.
///
/// As AWS Secrets Manager has it: a stage sits on one version; the first value of a secret becomes `AWSCURRENT` by itself;
/// `AWSPREVIOUS` follows by itself; `AWSCURRENT` cannot be taken off, only moved; a version without a stage is not listed
/// any more but can still be read, until [`forget`](Self::forget) (AWS does that no sooner than after a day).
#[derive(Clone)]
pub struct MemorySecret {
    state: Arc<Mutex<Secret>>,
    script: CallScript,
}

struct Secret {
    rotation_enabled: bool,
    versions: BTreeMap<String, Version>,
}

#[derive(Default)]
struct Version {
    value: Option<Vec<u8>>,
    stages: BTreeSet<String>,
}

impl Secret {
    fn with_stage(&self, stage: &str) -> Option<String> {
        self.versions.iter().find(|(_, version)| version.stages.contains(stage)).map(|(id, _)| id.clone())
    }

    fn give(&mut self, stage: &str, version: &str) {
        for other in self.versions.values_mut() {
            other.stages.remove(stage);
        }
        self.versions.entry(version.to_owned()).or_default().stages.insert(stage.to_owned());
        self.drop_empty();
    }

    /// A version that has neither a value nor a stage is nothing.
    fn drop_empty(&mut self) {
        self.versions.retain(|_, version| version.value.is_some() || !version.stages.is_empty());
    }
}

impl Default for MemorySecret {
    fn default() -> Self {
        Self::new()
    }
}

impl MemorySecret {
    /// A secret that is rotated and has no version yet.
    #[must_use]
    pub fn new() -> Self {
        let secret = Secret { rotation_enabled: true, versions: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(secret)), script: CallScript::default() }
    }

    /// What its calls, and those of the [`MemoryPublished`] beside it, follow.
    #[must_use]
    pub fn script(&self) -> &CallScript {
        &self.script
    }

    /// Whether rotation is on.
    pub fn set_rotation_enabled(&self, enabled: bool) {
        self.state().rotation_enabled = enabled;
    }

    /// What `RotateSecret` does before the first step: makes the version `token`, pending and without a value.
    ///
    /// # Errors
    /// The version that is pending and not current, as AWS refuses with "a previous rotation isn't complete".
    pub fn start_rotation(&self, token: &str) -> Result<(), String> {
        let mut state = self.state();
        match state.with_stage(PENDING) {
            Some(pending) if pending != token && state.with_stage(CURRENT).as_ref() != Some(&pending) => Err(pending),
            _ => {
                state.give(PENDING, token);
                Ok(())
            }
        }
    }

    /// What `UpdateSecretVersionStage` does in an operator's hands: gives `stage` to `version`, whoever has it.
    ///
    /// # Panics
    /// When the secret has no such version.
    pub fn operator_moves(&self, stage: &str, version: &str) {
        let mut state = self.state();
        assert!(state.versions.contains_key(version), "no version {version}");
        if stage == CURRENT {
            move_current(&mut state, version);
        } else {
            state.give(stage, version);
        }
    }

    /// What `PutSecretValue` with `AWSCURRENT` does in an operator's hands.
    pub fn operator_puts(&self, version: &str, value: &[u8]) {
        let mut state = self.state();
        state.versions.entry(version.to_owned()).or_default().value = Some(value.to_vec());
        move_current(&mut state, version);
    }

    /// Forgets every version without a stage.
    pub fn forget(&self) {
        self.state().versions.retain(|_, version| !version.stages.is_empty());
    }

    /// The version that carries `stage`.
    #[must_use]
    pub fn version_with(&self, stage: &str) -> Option<String> {
        self.state().with_stage(stage)
    }

    /// The value of `version`, without a call.
    #[must_use]
    pub fn value(&self, version: &str) -> Option<Vec<u8>> {
        self.state().versions.get(version).and_then(|version| version.value.clone())
    }

    /// The value that readers get, as a document: what an issuer loads. Reading it is no call of the script.
    #[must_use]
    pub fn document(&self) -> Arc<dyn DocumentSource> {
        Arc::new(CurrentValue(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, Secret> {
        self.state.lock().unwrap()
    }
}

/// Moves `AWSCURRENT` to `to`; `AWSPREVIOUS` follows.
fn move_current(state: &mut Secret, to: &str) {
    let from = state.with_stage(CURRENT).filter(|from| from != to);
    state.give(CURRENT, to);
    if let Some(from) = from {
        state.give(PREVIOUS, &from);
    }
}

#[async_trait]
impl SecretVersions for MemorySecret {
    async fn describe(&self) -> Result<SecretState, SourceError> {
        let effect = || {
            let state = self.state();
            let staged = state.versions.iter().filter(|(_, version)| !version.stages.is_empty());
            let versions = staged.map(|(id, version)| (id.clone(), version.stages.clone())).collect();
            Ok(SecretState { rotation_enabled: state.rotation_enabled, versions })
        };
        self.script.call("describe", effect).await
    }

    async fn read(&self, version: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError> {
        self.script.call("read", || Ok(self.value(version).map(Zeroizing::new))).await
    }

    async fn put_pending(&self, version: &str, value: &[u8]) -> Result<Put, SourceError> {
        let effect = || {
            let mut state = self.state();
            if state.versions.get(version).is_some_and(|version| version.value.is_some()) {
                return Ok(Put::AlreadyThere);
            }
            let first = state.versions.values().all(|version| version.value.is_none());
            state.versions.entry(version.to_owned()).or_default().value = Some(value.to_vec());
            state.give(PENDING, version);
            if first {
                state.give(CURRENT, version);
            }
            Ok(Put::Stored)
        };
        self.script.call("put_pending", effect).await
    }

    async fn move_current(&self, from: Option<&str>, to: &str) -> Result<Moved, SourceError> {
        let effect = || {
            let mut state = self.state();
            if !state.versions.contains_key(to) {
                let detail = "the version does not exist".to_owned();
                return Err(SourceError::NotFound { source_name: "memory secret".to_owned(), detail });
            }
            if state.with_stage(CURRENT).as_deref() != from {
                return Ok(Moved::Lost);
            }
            move_current(&mut state, to);
            Ok(Moved::Moved)
        };
        self.script.call("move_current", effect).await
    }

    async fn drop_stage(&self, stage: &str, version: &str) -> Result<(), SourceError> {
        let effect = || {
            if stage == CURRENT {
                let detail = "AWSCURRENT can only be moved".to_owned();
                return Err(SourceError::Denied { source_name: "memory secret".to_owned(), detail });
            }
            let mut state = self.state();
            if let Some(version) = state.versions.get_mut(version) {
                version.stages.remove(stage);
            }
            state.drop_empty();
            Ok(())
        };
        self.script.call("drop_stage", effect).await
    }
}

impl fmt::Debug for MemorySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let stages = state.versions.iter().map(|(id, version)| (id, &version.stages));
        f.debug_map().entries(stages).finish()
    }
}

/// The `AWSCURRENT` value of a [`MemorySecret`].
#[derive(Debug)]
struct CurrentValue(MemorySecret);

#[async_trait]
impl DocumentSource for CurrentValue {
    async fn read(&self) -> Result<Document, SourceError> {
        let state = self.0.state();
        let current = state.with_stage(CURRENT);
        let value = current.and_then(|id| Some((state.versions.get(&id)?.value.clone()?, id)));
        match value {
            Some((value, id)) => Ok(Document::new(value, id)),
            None => Err(SourceError::NotFound { source_name: self.describe(), detail: "no current value".to_owned() }),
        }
    }

    fn describe(&self) -> String {
        "memory:secret".to_owned()
    }
}

/// The published set's store in memory. Clones are the same document.
#[derive(Clone, Debug)]
pub struct MemoryPublished {
    state: Arc<Mutex<Published>>,
    script: CallScript,
}

#[derive(Debug)]
struct Published {
    text: Option<String>,
    history: Vec<String>,
    max_bytes: usize,
}

impl MemoryPublished {
    /// What the advanced tier of AWS's Parameter Store takes.
    pub const MAX_BYTES: usize = 8_192;

    /// An absent document whose calls are in the same script as those of `secret`.
    #[must_use]
    pub fn beside(secret: &MemorySecret) -> Self {
        let published = Published { text: None, history: Vec::new(), max_bytes: Self::MAX_BYTES };
        Self { state: Arc::new(Mutex::new(published)), script: secret.script.clone() }
    }

    /// Sets how many bytes it says it takes.
    pub fn set_max_bytes(&self, max_bytes: usize) {
        self.state().max_bytes = max_bytes;
    }

    /// Replaces the document, or takes it away, without a call.
    pub fn set(&self, text: Option<&str>) {
        let mut state = self.state();
        state.text = text.map(str::to_owned);
        state.history.extend(text.map(str::to_owned));
    }

    /// What it holds, without a call.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.state().text.clone()
    }

    /// How often it was set or written.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.state().history.len()
    }

    /// Everything it ever held, in order.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        self.state().history.clone()
    }

    /// The same, as a document: what issuers and publishers load. Reading it is no call of the script.
    #[must_use]
    pub fn document(&self) -> Arc<dyn DocumentSource> {
        Arc::new(PublishedText(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, Published> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl PublishedStore for MemoryPublished {
    async fn read(&self) -> Result<Option<String>, SourceError> {
        self.script.call("published.read", || Ok(self.text())).await
    }

    async fn write(&self, text: &str) -> Result<(), SourceError> {
        let effect = || {
            if text.len() > self.max_bytes() {
                let detail = format!("expected at most {} bytes, found {}", self.max_bytes(), text.len());
                return Err(SourceError::Malformed { source_name: "memory parameter".to_owned(), detail });
            }
            self.set(Some(text));
            Ok(())
        };
        self.script.call("published.write", effect).await
    }

    fn max_bytes(&self) -> usize {
        self.state().max_bytes
    }
}

/// The text of a [`MemoryPublished`].
#[derive(Debug)]
struct PublishedText(MemoryPublished);

#[async_trait]
impl DocumentSource for PublishedText {
    async fn read(&self) -> Result<Document, SourceError> {
        let state = self.0.state();
        match &state.text {
            Some(text) => Ok(Document::new(text.clone().into_bytes(), state.history.len().to_string())),
            None => Err(SourceError::NotFound { source_name: self.describe(), detail: "nothing published".to_owned() }),
        }
    }

    fn describe(&self) -> String {
        "memory:published".to_owned()
    }
}

/// Pending once.
#[derive(Default)]
struct GiveWay {
    gave: bool,
}

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.gave {
            return Poll::Ready(());
        }
        self.gave = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A run that [`interleave`] drives.
pub type Run<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Polls `runs` on this thread, one poll at a time: each item of `order` says which run goes on to its next store call (one
/// that has ended is passed over). What is unfinished when `order` ends is dropped there, which is a crash: its result is
/// `None`. An endless order runs all to their end.
///
/// # Panics
/// When `order` names a run that is not there.
pub fn interleave<T>(runs: Vec<Run<'_, T>>, order: impl IntoIterator<Item = usize>) -> Vec<Option<T>> {
    let mut context = Context::from_waker(Waker::noop());
    let mut results: Vec<Option<T>> = runs.iter().map(|_| None).collect();
    let mut lanes: Vec<Option<Run<'_, T>>> = runs.into_iter().map(Some).collect();
    for turn in order {
        if let Some(run) = &mut lanes[turn]
            && let Poll::Ready(result) = run.as_mut().poll(&mut context)
        {
            results[turn] = Some(result);
            lanes[turn] = None;
        }
        if lanes.iter().all(Option::is_none) {
            break;
        }
    }
    results
}

/// Runs one future of the stores to its end on this thread.
///
/// # Panics
/// When it waits for something that is not here: a socket, a timer.
pub fn run_to_end<T>(run: impl Future<Output = T> + Send) -> T {
    let mut results = interleave(vec![Box::pin(run)], std::iter::repeat_n(0, 1_000_000));
    results.pop().flatten().expect("a run over memory ends")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(secret: &MemorySecret, version: &str) -> Vec<String> {
        let state = run_to_end(secret.describe()).unwrap();
        state.versions.get(version).map(|stages| stages.iter().cloned().collect()).unwrap_or_default()
    }

    #[test]
    fn stages_move_as_in_secrets_manager() {
        let secret = MemorySecret::new();
        secret.start_rotation("v1").unwrap();
        assert_eq!(stages(&secret, "v1"), [PENDING]);
        assert_eq!(run_to_end(secret.put_pending("v1", b"one")).unwrap(), Put::Stored);
        assert_eq!(stages(&secret, "v1"), [CURRENT, PENDING], "the first value becomes current by itself");
        assert_eq!(run_to_end(secret.put_pending("v1", b"other")).unwrap(), Put::AlreadyThere);
        assert_eq!(secret.value("v1").unwrap(), b"one");

        secret.start_rotation("v2").unwrap();
        assert_eq!(stages(&secret, "v1"), [CURRENT]);
        assert_eq!(secret.start_rotation("v3"), Err("v2".to_owned()), "one rotation at a time");
        run_to_end(secret.put_pending("v2", b"two")).unwrap();
        assert_eq!(run_to_end(secret.move_current(Some("v0"), "v2")).unwrap(), Moved::Lost);
        assert_eq!(run_to_end(secret.move_current(Some("v1"), "v2")).unwrap(), Moved::Moved);
        assert_eq!(
            (stages(&secret, "v1"), stages(&secret, "v2")),
            (vec![PREVIOUS.to_owned()], vec![CURRENT.to_owned(), PENDING.to_owned()])
        );

        run_to_end(secret.drop_stage(PREVIOUS, "v1")).unwrap();
        assert!(!run_to_end(secret.describe()).unwrap().versions.contains_key("v1"));
        assert!(run_to_end(secret.read("v1")).unwrap().is_some(), "a version without a stage can still be read");
        secret.forget();
        assert!(run_to_end(secret.read("v1")).unwrap().is_none());
        run_to_end(secret.drop_stage(CURRENT, "v2")).unwrap_err();
    }

    #[test]
    fn a_call_fails_before_or_after_its_effect() {
        let secret = MemorySecret::new();
        let published = MemoryPublished::beside(&secret);
        secret.script().fail(0, Fault::Before);
        secret.script().fail(1, Fault::After);
        run_to_end(published.write("a")).unwrap_err();
        assert_eq!(published.text(), None);
        run_to_end(published.write("b")).unwrap_err();
        assert_eq!(published.text().as_deref(), Some("b"));
        assert_eq!(secret.script().calls(), ["published.write", "published.write"]);
    }

    #[test]
    fn runs_interleave_at_every_call_and_one_may_never_go_on() {
        let secret = MemorySecret::new();
        let published = MemoryPublished::beside(&secret);
        let append = |letter: &'static str| -> Run<'_, ()> {
            let published = &published;
            Box::pin(async move {
                for _ in 0..2 {
                    let text = published.read().await.unwrap().unwrap_or_default();
                    published.write(&(text + letter)).await.unwrap();
                }
            })
        };
        assert_eq!(interleave(vec![append("a"), append("b")], std::iter::repeat_n(0, 9).chain([1; 9])), [Some(()); 2]);
        assert_eq!(published.text().as_deref(), Some("aabb"));
        published.set(None);
        assert_eq!(interleave(vec![append("a"), append("b")], [0, 1].repeat(9)), [Some(()); 2]);
        assert_eq!(published.text().as_deref(), Some("bb"), "each wrote over the other");
        published.set(None);
        assert_eq!(interleave(vec![append("a")], [0, 0]), [None]);
        assert_eq!(published.text(), None, "the third poll would have written");
    }
}
