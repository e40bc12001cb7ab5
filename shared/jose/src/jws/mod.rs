//! Compact JWS (RFC 7515 section 7.1): signing and strict verification.

mod foreign;
pub(crate) mod parts;
mod sign;
pub(crate) mod verify;

pub use foreign::{ForeignExpectation, TypRule, UnverifiedForeign, verify_foreign};
pub use sign::{CompactJws, sign_compact};
pub use verify::{Expectation, JwsError, Part, Unverified, Verified, verify};

/// The longest compact JWS that is made or read, in bytes: what common header limits (8 KiB) leave room for, twice.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The media type of a `typ` without the optional `application/` (RFC 7515 section 4.1.9). Case does not matter there.
fn short_typ(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}

/// Whether two `typ` values name the same media type.
fn same_typ(one: &str, other: &str) -> bool {
    short_typ(one).eq_ignore_ascii_case(short_typ(other))
}
