//! The document in memory, under the suite that every adapter runs.

use std::time::Duration;

use async_trait::async_trait;
use token_issuance::{DocumentSource, MAX_DOCUMENT_BYTES, SourceError};
use token_testkit::MemoryDocument;
use token_testkit::conformance::{self, DocumentFixture};

struct InMemory(MemoryDocument);

#[async_trait]
impl DocumentFixture for InMemory {
    fn source(&self) -> &dyn DocumentSource {
        &self.0
    }

    async fn put(&mut self, content: &[u8]) -> bool {
        self.0.set(content);
        true
    }

    fn limit(&self) -> usize {
        MAX_DOCUMENT_BYTES
    }

    async fn stall(&mut self) -> Option<Duration> {
        let bound = Duration::from_millis(50);
        self.0.stall(bound);
        Some(bound)
    }
}

#[tokio::test]
async fn a_memory_document_conforms() {
    conformance::document_source(&mut InMemory(MemoryDocument::absent("ring"))).await;
}

#[tokio::test]
async fn a_memory_document_fails_as_scripted_and_counts() {
    let document = MemoryDocument::with("ring", "content");
    let throttled = SourceError::Throttled { source_name: "memory:ring".to_owned(), detail: "scripted".to_owned() };
    document.fail_once(throttled.clone());
    assert_eq!(document.read().await.err(), Some(throttled));
    assert!(document.read().await.is_ok());

    document.go_down();
    for _ in 0..2 {
        assert!(matches!(document.read().await, Err(SourceError::Unavailable { .. })));
    }
    document.mend();
    assert!(document.read().await.is_ok());
    document.remove();
    assert!(matches!(document.read().await, Err(SourceError::NotFound { .. })));
    assert_eq!(document.reads(), 6);
}
