//! A document in memory, with a will of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use token_issuance::{Document, DocumentSource, MAX_DOCUMENT_BYTES, SourceError};

/// A [`DocumentSource`] whose content and failures a test sets. Clones are the same document, so a test keeps one and
/// hands out the other.
#[derive(Clone)]
pub struct MemoryDocument {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    content: Option<Vec<u8>>,
    writes: u64,
    reads: usize,
    script: VecDeque<SourceError>,
    broken: Option<SourceError>,
    stalled: Option<Duration>,
}

impl MemoryDocument {
    /// An absent document, which [`describe`](DocumentSource::describe)s itself as `memory:NAME`.
    #[must_use]
    pub fn absent(name: &str) -> Self {
        Self { name: name.to_owned(), state: Arc::default() }
    }

    /// A document with this content.
    #[must_use]
    pub fn with(name: &str, content: impl Into<Vec<u8>>) -> Self {
        let document = Self::absent(name);
        document.set(content);
        document
    }

    /// Replaces the content; the version changes.
    pub fn set(&self, content: impl Into<Vec<u8>>) {
        let mut state = self.state();
        state.content = Some(content.into());
        state.writes += 1;
    }

    /// Makes it absent.
    pub fn remove(&self) {
        self.state().content = None;
    }

    /// Makes the next read fail with `error`; several calls queue up.
    pub fn fail_once(&self, error: SourceError) {
        self.state().script.push_back(error);
    }

    /// Makes every read fail with `error`, until [`mend`](Self::mend).
    pub fn fail(&self, error: SourceError) {
        self.state().broken = Some(error);
    }

    /// Makes every read fail as an outage does, until [`mend`](Self::mend).
    pub fn go_down(&self) {
        let source_name = self.describe();
        self.fail(SourceError::Unavailable { source_name, detail: "the test took it down".to_owned() });
    }

    /// Makes every read take this long and then fail, as an adapter does whose store stalls.
    pub fn stall(&self, bound: Duration) {
        self.state().stalled = Some(bound);
    }

    /// Ends every failure.
    pub fn mend(&self) {
        let mut state = self.state();
        state.script.clear();
        state.broken = None;
        state.stalled = None;
    }

    /// How often it was read, failures included.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self) -> Result<Document, SourceError> {
        let source_name = self.describe();
        let mut state = self.state();
        if let Some(error) = state.script.pop_front().or_else(|| state.broken.clone()) {
            return Err(error);
        }
        let Some(content) = &state.content else {
            return Err(SourceError::NotFound { source_name, detail: "the test put nothing there".to_owned() });
        };
        if content.is_empty() || content.len() > MAX_DOCUMENT_BYTES {
            let detail = format!("expected 1 to {MAX_DOCUMENT_BYTES} bytes, found {}", content.len());
            return Err(SourceError::Malformed { source_name, detail });
        }
        Ok(Document::new(content.clone(), state.writes.to_string()))
    }
}

#[async_trait]
impl DocumentSource for MemoryDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        let stalled = {
            let mut state = self.state();
            state.reads += 1;
            state.stalled
        };
        if let Some(bound) = stalled {
            tokio::time::sleep(bound).await;
            return Err(SourceError::Unavailable { source_name: self.describe(), detail: "timed out".to_owned() });
        }
        self.answer()
    }

    fn describe(&self) -> String {
        format!("memory:{}", self.name)
    }
}

impl fmt::Debug for MemoryDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDocument").field("name", &self.name).finish_non_exhaustive()
    }
}
