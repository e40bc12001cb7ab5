//! What the stores of a rotation promise.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use token_issuance::SourceError;
use token_issuance::rotation::{CURRENT, Moved, PENDING, PREVIOUS, PublishedStore, Put, SecretVersions};

use super::{CANARY, MARGIN, silent};

/// One adapter over a secret that is rotated and has no value yet.
#[async_trait]
pub trait SecretFixture: Send {
    /// The adapter under test.
    fn secret(&self) -> &dyn SecretVersions;

    /// Makes `version`, pending and without a value, as `RotateSecret` does before the first step.
    async fn start_rotation(&mut self, version: &str);
}

/// One adapter over a parameter that does not exist yet.
#[async_trait]
pub trait PublishedFixture: Send {
    /// The adapter under test.
    fn store(&self) -> &dyn PublishedStore;

    /// Makes the store accept requests and never answer. Returns the bound within which the adapter must give up; `None`
    /// when this kind of store cannot stall.
    async fn stall(&mut self) -> Option<Duration>;
}

/// A version id as a rotation gets it.
fn version(number: u8) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// What [`SecretVersions`] promises. Run it once per adapter.
///
/// # Panics
/// When a promise is broken.
pub async fn secret_versions(fixture: &mut dyn SecretFixture) {
    let (v1, v2, v3) = (version(1), version(2), version(3));
    let (one, two) = (format!("{CANARY} one"), format!("{CANARY} two"));

    let state = fixture.secret().describe().await.expect("a secret without a value is described");
    assert!(state.rotation_enabled, "rotation is on");
    assert_eq!(state.with_stage(CURRENT), None, "nothing is current yet");
    assert_eq!(fixture.secret().read(&v1).await, Ok(None), "a version that is none has no value");

    assert_eq!(fixture.secret().put_pending(&v1, one.as_bytes()).await, Ok(Put::Stored));
    stages(fixture, &v1, &[CURRENT, PENDING], "the first value also becomes current").await;
    value(fixture, &v1, Some(one.as_bytes())).await;
    drop_stage(fixture, PENDING, &v1).await;
    assert_eq!(fixture.secret().put_pending(&v1, two.as_bytes()).await, Ok(Put::AlreadyThere), "written once");
    value(fixture, &v1, Some(one.as_bytes())).await;

    fixture.start_rotation(&v2).await;
    stages(fixture, &v2, &[PENDING], "a rotation begins").await;
    value(fixture, &v2, None).await;
    assert_eq!(fixture.secret().put_pending(&v2, two.as_bytes()).await, Ok(Put::Stored));
    stages(fixture, &v1, &[CURRENT], "what is pending is not current").await;
    value(fixture, &v2, Some(two.as_bytes())).await;

    for from in [None, Some(v2.as_str()), Some(v3.as_str())] {
        let moved = fixture.secret().move_current(from, &v2).await;
        assert_eq!(moved, Ok(Moved::Lost), "{from:?} is not current");
        stages(fixture, &v1, &[CURRENT], "a lost move changes nothing").await;
    }
    assert_eq!(fixture.secret().move_current(Some(&v1), &v2).await, Ok(Moved::Moved));
    stages(fixture, &v2, &[CURRENT, PENDING], "the move").await;
    stages(fixture, &v1, &[PREVIOUS], "the store marks the version before").await;
    assert_eq!(fixture.secret().move_current(Some(&v1), &v2).await, Ok(Moved::Lost), "moved once");

    for _ in 0..2 {
        drop_stage(fixture, PREVIOUS, &v1).await;
        stages(fixture, &v1, &[], "without a stage it is listed no more").await;
    }
    drop_stage(fixture, PREVIOUS, &v3).await;
    assert!(fixture.secret().drop_stage(CURRENT, &v2).await.is_err(), "AWSCURRENT can only be moved");
    stages(fixture, &v2, &[CURRENT, PENDING], "nothing else changed").await;

    fixture.start_rotation(&v3).await;
    let binary = [0, 159, 146, 150];
    assert_eq!(fixture.secret().put_pending(&v3, &binary).await, Ok(Put::Stored));
    value(fixture, &v3, Some(&binary)).await;
    drop_stage(fixture, PENDING, &v3).await;
    stages(fixture, &v2, &[CURRENT], "a rotation that is given up leaves what is current").await;
    silent(&fixture.secret(), "the secret");
}

async fn stages(fixture: &dyn SecretFixture, version: &str, expected: &[&str], what: &str) {
    let state = fixture.secret().describe().await.expect("the secret is described");
    let found: Vec<&str> = state.versions.get(version).into_iter().flatten().map(String::as_str).collect();
    assert_eq!(found, expected, "{what}: stages of {version} in {state:?}");
}

async fn value(fixture: &dyn SecretFixture, version: &str, expected: Option<&[u8]>) {
    let found = fixture.secret().read(version).await.expect("a version is read");
    assert_eq!(found.as_ref().map(|value| value.as_slice()), expected, "the value of {version}");
}

async fn drop_stage(fixture: &dyn SecretFixture, stage: &str, version: &str) {
    fixture.secret().drop_stage(stage, version).await.expect("a stage is taken off, or was not there");
}

/// What [`PublishedStore`] promises. Run it once per adapter; the store is stalled at the end.
///
/// # Panics
/// When a promise is broken.
pub async fn published_store(fixture: &mut dyn PublishedFixture) {
    let store = fixture.store();
    assert_eq!(store.read().await, Ok(None), "there is no document yet");
    let mut texts = vec![format!("{CANARY} first"), format!("{CANARY} second\n\"quotes\", an umlaut: ä")];
    texts.push(CANARY.to_owned() + &"x".repeat(store.max_bytes() - CANARY.len()));
    texts.push(format!("{CANARY} small again"));
    for text in &texts {
        store.write(text).await.expect("a document is written");
        assert_eq!(store.read().await.as_ref(), Ok(&Some(text.clone())), "what was written is read");
    }
    let last = texts.last().cloned();
    let too_large = CANARY.to_owned() + &"x".repeat(store.max_bytes() + 1 - CANARY.len());
    let error = store.write(&too_large).await.expect_err("more than the store takes is refused");
    assert!(matches!(error, SourceError::Malformed { .. }), "{error:?}");
    assert!(!error.to_string().contains(CANARY), "{error}");
    assert_eq!(store.read().await, Ok(last), "a refused write changes nothing");

    if let Some(bound) = fixture.stall().await {
        for what in ["read", "write"] {
            let start = Instant::now();
            let error = match what {
                "read" => fixture.store().read().await.expect_err("a stalled store is not read"),
                _ => fixture.store().write("{}").await.expect_err("a stalled store is not written"),
            };
            assert!(matches!(error, SourceError::Unavailable { .. }), "{what}: {error:?}");
            assert!(start.elapsed() < bound + MARGIN, "{what} gives up within {bound:?}: {:?}", start.elapsed());
        }
    }
}
