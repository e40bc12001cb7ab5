//! What the service remembers: users' standings, families, revocations and used proofs.
//!
//! What it is: three ports ([`FamilyStore`], [`RevocationStore`], [`ReplayCache`]) in which each check-then-act is one call, the
//! embedded [`MemoryStore`], and [`RedisStore`] for several replicas. What it is not: a place for tokens. No bearer token is
//! at rest here; refresh tokens are hashes, and an answer that may be given again is sealed under a key that only the token
//! gives that was presented.
//!
//! Invariants:
//! - of one family there never are two live refresh tokens; a revoked family mints nothing; a refresh token that comes a second
//!   time revokes its family, unless the same client asks again at once and nobody has seen the answer yet;
//! - an emptied store, or another one, refuses every older token (the epoch), and never un-revokes one;
//! - every revocation and every used proof is remembered until its time is over, and at least [`CLOCK_SKEW_S`] longer;
//! - an error is an outage: it says nothing about the token, and nothing may be handed out.
//!
//! ```
//! use std::sync::Arc;
//! use token_service::store::{Check, MemoryStore, RevocationStore, Target, TokenId, UserKey, Verdict};
//! use token_shell::OsIds;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = MemoryStore::new(Arc::new(OsIds), MemoryStore::DEFAULT_LIMIT);
//! let now = "2026-11-22T00:00:00Z".parse()?;
//! let until = "2026-11-22T01:00:00Z".parse()?;
//! let alice = UserKey::of("alice");
//!
//! let standing = store.standing(&alice, until, now).await?;
//! let jti = TokenId::new(&alice, [7; 16]); // random in earnest
//! let check = Check { user: &alice, standing, jti, family: None, rate: None };
//! assert_eq!(store.check(&check, now).await?, Verdict::Live);
//!
//! store.revoke(&Target::User(alice), until, now).await?;
//! assert_eq!(store.check(&check, now).await?, Verdict::RevokedUser);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod codec;
mod decide;
mod family;
mod ids;
mod memory;
#[cfg(test)]
mod model;
mod port;
mod redis;

pub use family::{
    CLOCK_SKEW_S, Child, Dead, FAMILY_MARGIN_S, Family, FamilyKind, Loaded, MAX_FAMILY_BYTES, Opened, Presented,
    Proposal, REANSWER_LIMIT, REANSWER_WINDOW_S, RefreshOutcome, RenewOutcome,
};
pub use ids::{Epoch, EpochError, Standing, TokenId, TokenIdError, UserKey};
pub use memory::MemoryStore;
pub use port::{
    Check, FamilyStore, HINT_LEASE_S, Rate, ReplayCache, RevocationStore, Revoked, Store, StoreError, Target, Verdict,
};
pub use redis::{RedisError, RedisOptions, RedisStore};
