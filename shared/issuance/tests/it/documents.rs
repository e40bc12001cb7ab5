//! The adapters of this crate under the port's conformance suite.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use token_issuance::{DocumentSource, FileDocument, InlineDocument, MAX_DOCUMENT_BYTES, SourceError};
use token_testkit::conformance::{DocumentFixture, document_source};

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
    source: FileDocument,
}

#[async_trait]
impl DocumentFixture for File {
    fn source(&self) -> &dyn DocumentSource {
        &self.source
    }

    async fn put(&mut self, content: &[u8]) -> bool {
        std::fs::write(&self.path, content).is_ok()
    }

    fn limit(&self) -> usize {
        MAX_DOCUMENT_BYTES
    }

    async fn stall(&mut self) -> Option<Duration> {
        None
    }
}

#[tokio::test]
async fn a_file_is_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document");
    let source = FileDocument::new(&path);
    document_source(&mut File { _folder: folder, path, source }).await;
}

#[tokio::test]
async fn an_inline_document_is_its_text_and_hides_it() {
    let source = InlineDocument::new("the text");
    assert_eq!(source.read().await.unwrap().bytes(), b"the text");
    assert!(!format!("{source:?}{}", source.describe()).contains("text"));
    assert!(matches!(InlineDocument::new("").read().await, Err(SourceError::Malformed { .. })));
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), std::path::Path::new("/dev/zero")] {
        let error = FileDocument::new(path).read().await.unwrap_err();
        assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    }
}
