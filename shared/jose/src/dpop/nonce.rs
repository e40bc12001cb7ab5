//! Nonces that need no store: every replica with the secret knows which ones it or another has issued.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::text::{base64url, same_secret};

/// How long one nonce is issued, in seconds.
const STEP_S: i64 = 60;

/// For how many steps after its own a nonce is accepted: at least five minutes from any moment at which it was issued.
const STEPS: i64 = 5;

/// How far ahead the clock of the replica that issued it may be, in steps.
const STEPS_AHEAD: i64 = 1;

/// The first byte, so that another construction can be told apart.
const VERSION: u8 = 1;

/// What the MAC is for: the same secret may serve other purposes.
const DOMAIN: &[u8] = b"jwt-issuer DPoP nonce\0";

/// Bytes of the MAC that are kept (RFC 2104 section 5: at least half).
const TAG: usize = 16;

/// Bytes of a nonce: version, step, tag.
const LENGTH: usize = 1 + 8 + TAG;

/// Issues and checks `DPoP-Nonce` values (RFC 9449 section 8), without a store.
///
/// A nonce is an HMAC-SHA-256 over its time step. It is the same for everybody during a step: it proves that a proof is
/// fresh, not who asked for it, and the proof's key and `jti` make the proof unique.
///
/// ```
/// let nonces = token_jose::Nonces::new(&[7; 32]);
/// let now: jiff::Timestamp = "2026-11-22T12:00:30Z".parse()?;
/// let issued = nonces.issue(now);
/// assert_eq!(nonces.check(&issued, now), Some("2026-11-22T12:00:00Z".parse()?));
/// assert_eq!(nonces.check(&issued, now + jiff::SignedDuration::from_mins(6)), None);
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Clone)]
pub struct Nonces(hmac::Key);

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces(secret hidden)")
    }
}

impl Nonces {
    /// Nonces under a secret that all replicas share: 32 random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The nonce to hand out at `now`.
    #[must_use]
    pub fn issue(&self, now: Timestamp) -> String {
        base64url(&self.of_step(step_of(now)))
    }

    /// The nonce's own time (the beginning of its step), if it was issued with this secret and is accepted at `now`: from one
    /// minute before its own time, since replicas' clocks differ, until [`Nonces::ends`].
    #[must_use]
    pub fn check(&self, nonce: &str, now: Timestamp) -> Option<Timestamp> {
        let mut bytes = [0; LENGTH];
        match URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes) {
            Ok(LENGTH) => {}
            _ => return None,
        }
        let (_, rest) = bytes.split_first()?;
        let step = i64::from_be_bytes(*rest.first_chunk()?);
        // The version is part of what is compared.
        if !same_secret(&self.of_step(step), &bytes) {
            return None;
        }
        let age = step_of(now).checked_sub(step)?;
        if !(-STEPS_AHEAD..=STEPS).contains(&age) {
            return None;
        }
        Timestamp::from_second(step.checked_mul(STEP_S)?).ok()
    }

    /// From this instant on a nonce of `own_time` is no longer accepted: six minutes after it.
    #[must_use]
    pub fn ends(own_time: Timestamp) -> Timestamp {
        later(own_time.as_second(), STEP_S * (STEPS + 1))
    }

    fn of_step(&self, step: i64) -> [u8; LENGTH] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(DOMAIN);
        context.update(&[VERSION]);
        context.update(&step.to_be_bytes());
        let tag = context.sign();
        let parts = std::iter::once(VERSION).chain(step.to_be_bytes()).chain(tag.as_ref().iter().copied());
        let mut nonce = [0; LENGTH];
        for (to, from) in nonce.iter_mut().zip(parts) {
            *to = from;
        }
        nonce
    }
}

fn step_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(STEP_S)
}

/// `seconds` after a second of the epoch.
pub(crate) fn later(second: i64, seconds: i64) -> Timestamp {
    second.checked_add(seconds).and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}
