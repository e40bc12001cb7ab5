//! The store with a count and a duration for each of its calls.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use super::Observe;
use crate::store::{
    Check, Child, Dead, Family, FamilyStore, Loaded, Opened, Presented, Proposal, RefreshOutcome, RenewOutcome,
    ReplayCache, RevocationStore, Revoked, Standing, Store, StoreError, Target, TokenId, UserKey, Verdict,
};

/// A store whose calls are counted by operation and outcome. It changes nothing of what the other one says.
#[derive(Debug)]
pub struct ObservedStore {
    inner: Arc<dyn Store>,
    observe: Observe,
}

impl ObservedStore {
    /// `inner`, observed.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, observe: Observe) -> Self {
        Self { inner, observe }
    }

    async fn noted<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let outcome = call.await;
        let status = outcome.as_ref().map_or_else(StoreError::code, |_| "success");
        self.observe.store_call(operation, status, started.elapsed().as_secs_f64());
        outcome
    }
}

#[async_trait]
impl FamilyStore for ObservedStore {
    async fn open(&self, family: &Family, current: Option<[u8; 32]>, now: Timestamp) -> Result<Opened, StoreError> {
        self.noted("open", self.inner.open(family, current, now)).await
    }

    async fn load(&self, id: &TokenId, now: Timestamp) -> Result<Result<Loaded, Dead>, StoreError> {
        self.noted("load", self.inner.load(id, now)).await
    }

    async fn refresh(
        &self,
        presented: &Presented<'_>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StoreError> {
        self.noted("refresh", self.inner.refresh(presented, proposal, now)).await
    }

    async fn renew(
        &self,
        id: &TokenId,
        next: &Child,
        threshold_s: u64,
        now: Timestamp,
    ) -> Result<RenewOutcome, StoreError> {
        self.noted("renew", self.inner.renew(id, next, threshold_s, now)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TokenId>, StoreError> {
        self.noted("due", self.inner.due(now, limit)).await
    }
}

#[async_trait]
impl RevocationStore for ObservedStore {
    async fn standing(&self, user: &UserKey, until: Timestamp, now: Timestamp) -> Result<Standing, StoreError> {
        self.noted("standing", self.inner.standing(user, until, now)).await
    }

    async fn check(&self, check: &Check<'_>, now: Timestamp) -> Result<Verdict, StoreError> {
        self.noted("check", self.inner.check(check, now)).await
    }

    async fn revoke(&self, target: &Target, until: Timestamp, now: Timestamp) -> Result<Revoked, StoreError> {
        self.noted("revoke", self.inner.revoke(target, until, now)).await
    }
}

#[async_trait]
impl ReplayCache for ObservedStore {
    async fn first_use(&self, jkt: &str, jti: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.noted("first_use", self.inner.first_use(jkt, jti, until, now)).await
    }
}
