//! What an alarm watches of a rotated secret.

use jiff::Timestamp;

use super::{CURRENT, PENDING, Rotation, RotationError, parse_ring};
use crate::issuer::key_days_left;

/// How a rotated secret stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RotationHealth {
    /// Generation of the current ring; `None` while there is none.
    pub generation: Option<u64>,
    /// Keys in the published set.
    pub published_keys: usize,
    /// Published keys that neither the current nor the pending ring knows: nothing but a racing rotation should make one.
    pub foreign_keys: usize,
    /// Days until the default algorithm's key is due to be replaced; negative when overdue.
    pub key_days_left: Option<f64>,
}

impl Rotation {
    /// Reads how the secret and its published set stand at `now`. Changes nothing.
    ///
    /// # Errors
    /// [`RotationError`] when a store fails or holds what cannot be read.
    pub async fn health(&self, now: Timestamp) -> Result<RotationHealth, RotationError> {
        let stored = self.stored_set().await?;
        let state = self.secret.describe().await?;
        let mut health = RotationHealth { published_keys: stored.len(), ..RotationHealth::default() };
        let mut rings = Vec::new();
        for stage in [CURRENT, PENDING] {
            let Some(version) = state.with_stage(stage) else { continue };
            let Some(value) = self.secret.read(version).await? else { continue };
            let ring = parse_ring(version, &value)?;
            if stage == CURRENT {
                health.generation = Some(ring.generation());
                health.key_days_left = key_days_left(&ring, now);
            }
            rings.push(ring);
        }
        let known = |kid| rings.iter().any(|ring| ring.get(kid).is_some());
        health.foreign_keys = stored.keys().filter(|key| !known(key.kid())).count();
        Ok(health)
    }
}
