//! Suites that every adapter of a port runs, so that the in-memory version and the real ones promise the same.

mod rotation;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use token_issuance::{DocumentSource, SourceError};

pub use rotation::{PublishedFixture, SecretFixture, published_store, secret_versions};

/// What stands in every document of the suite, and may stand in no message.
const CANARY: &str = "canary-51d0c1f7-must-never-be-shown";

/// How much longer than its bound a read may take on a busy machine.
const MARGIN: Duration = Duration::from_secs(3);

/// One adapter with a store behind it that the suite may fill and break. The document is absent at first.
#[async_trait]
pub trait DocumentFixture: Send {
    /// The adapter under test.
    fn source(&self) -> &dyn DocumentSource;

    /// Makes `content` the current version. `false`: this store itself refuses such content (then the adapter can never
    /// meet it).
    async fn put(&mut self, content: &[u8]) -> bool;

    /// The most bytes a document may have.
    fn limit(&self) -> usize;

    /// Makes the store accept requests and never answer. Returns the bound within which the adapter must give up; `None`
    /// when this kind of store cannot stall.
    async fn stall(&mut self) -> Option<Duration>;
}

/// What [`DocumentSource`] promises. Run it once per adapter; the store is stalled at the end.
///
/// # Panics
/// When a promise is broken.
pub async fn document_source(fixture: &mut dyn DocumentFixture) {
    let described = fixture.source().describe();
    assert!(!described.is_empty(), "an adapter says where it reads");

    let error = refused(fixture, "an absent document").await;
    assert!(matches!(error, SourceError::NotFound { .. }), "an absent document is not found: {error:?}");
    assert!(error.to_string().contains(&described), "the error names the source {described:?}: {error}");

    let first = format!("{CANARY} first");
    assert!(fixture.put(first.as_bytes()).await, "an ordinary document can be stored");
    let document = accepted(fixture, "the first version").await;
    assert_eq!(document.bytes(), first.as_bytes(), "what was put is read");
    assert!(!document.version().is_empty(), "a version has a name");
    let again = accepted(fixture, "the first version, again").await;
    assert_eq!(again.version(), document.version(), "an unchanged document keeps its version");

    let second = format!("{CANARY} second\nwith a second line, \"quotes\" and an umlaut: ä");
    assert!(fixture.put(second.as_bytes()).await, "a document can be replaced");
    let replaced = accepted(fixture, "the second version").await;
    assert_eq!(replaced.bytes(), second.as_bytes(), "the current version is read, not a remembered one");
    assert_ne!(replaced.version(), document.version(), "another version has another name");

    let mut largest = CANARY.as_bytes().to_vec();
    largest.resize(fixture.limit(), b'x');
    assert!(fixture.put(&largest).await, "a document of the largest size can be stored");
    assert_eq!(accepted(fixture, "the largest document").await.bytes().len(), fixture.limit());
    largest.push(b'x');
    if fixture.put(&largest).await {
        let error = refused(fixture, "a document that is too large").await;
        assert!(matches!(error, SourceError::Malformed { .. }), "too large is malformed: {error:?}");
    }
    if fixture.put(b"").await {
        let error = refused(fixture, "an empty document").await;
        assert!(matches!(error, SourceError::Malformed { .. }), "empty is malformed: {error:?}");
    }

    assert!(fixture.put(first.as_bytes()).await, "a document can be mended");
    accepted(fixture, "the mended document").await;
    if let Some(bound) = fixture.stall().await {
        let start = Instant::now();
        let error = refused(fixture, "a stalled store").await;
        let took = start.elapsed();
        assert!(matches!(error, SourceError::Unavailable { .. }), "a stalled store is unavailable: {error:?}");
        assert!(took < bound + MARGIN, "gives up within {bound:?}: took {took:?}");
    }
    assert_eq!(fixture.source().describe(), described, "describes itself always alike");
}

async fn accepted(fixture: &dyn DocumentFixture, what: &str) -> token_issuance::Document {
    let document = fixture.source().read().await.unwrap_or_else(|error| panic!("{what} is read: {error}"));
    silent(&document, what);
    silent(&fixture.source(), what);
    document
}

async fn refused(fixture: &dyn DocumentFixture, what: &str) -> SourceError {
    let error = match fixture.source().read().await {
        Err(error) => error,
        Ok(document) => panic!("{what} is refused, found {document:?}"),
    };
    silent(&error, what);
    assert!(!error.to_string().contains(CANARY), "{what}: the error shows content");
    silent(&fixture.source(), what);
    error
}

fn silent(value: &dyn std::fmt::Debug, what: &str) {
    let canary_as_numbers = format!("{:?}", &CANARY.as_bytes()[..8]);
    let canary_as_numbers = canary_as_numbers.trim_matches(['[', ']']);
    for shown in [format!("{value:?}"), format!("{value:#?}").split_whitespace().collect::<Vec<_>>().join(" ")] {
        assert!(!shown.contains(CANARY) && !shown.contains(canary_as_numbers), "{what}: Debug shows content: {shown}");
    }
}
