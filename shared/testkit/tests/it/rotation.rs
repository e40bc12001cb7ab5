//! The stores of a rotation in memory promise what the real ones do.

use std::time::Duration;

use async_trait::async_trait;
use token_issuance::rotation::{PublishedStore, SecretVersions};
use token_testkit::conformance::{self, PublishedFixture, SecretFixture};
use token_testkit::{MemoryPublished, MemorySecret};

struct Secret(MemorySecret);

#[async_trait]
impl SecretFixture for Secret {
    fn secret(&self) -> &dyn SecretVersions {
        &self.0
    }

    async fn start_rotation(&mut self, version: &str) {
        self.0.start_rotation(version).unwrap();
    }
}

struct Published(MemoryPublished);

#[async_trait]
impl PublishedFixture for Published {
    fn store(&self) -> &dyn PublishedStore {
        &self.0
    }

    async fn stall(&mut self) -> Option<Duration> {
        None
    }
}

#[tokio::test]
async fn a_secret_in_memory_conforms() {
    conformance::secret_versions(&mut Secret(MemorySecret::new())).await;
}

#[tokio::test]
async fn a_published_set_in_memory_conforms() {
    let published = MemoryPublished::beside(&MemorySecret::new());
    conformance::published_store(&mut Published(published)).await;
}
