//! Names in the store: users, tokens, epochs. None of them tells a user id.

use std::fmt;
use std::str::FromStr;

use token_jose::{base64url, sha256};

/// The store's name of a user: 128 bits of the SHA-256 of the user id, so that neither keys nor logs tell who it is.
///
/// ```
/// use token_service::store::UserKey;
///
/// let alice = UserKey::of("alice");
/// assert_eq!(alice, UserKey::of("alice"));
/// assert_ne!(alice, UserKey::of("bob"));
/// assert!(!alice.to_string().contains("alice"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey([u8; 16]);

impl UserKey {
    /// The key of the user with this id.
    #[must_use]
    pub fn of(user_id: &str) -> Self {
        Self(first_half(&sha256(user_id.as_bytes())))
    }

    /// What the ids of all this user's tokens start with: they lead to the same slot of a cluster.
    #[must_use]
    pub const fn tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }
}

/// 22 characters of base64url.
impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({self})")
    }
}

/// The id of a token or of a family: a UUID of version 4 (RFC 9562, section 5.4) whose first 4 bytes are its user's
/// [tag](UserKey::tag), so that the id alone leads to the user's slot. 90 of its bits are random.
///
/// ```
/// use token_service::store::{TokenId, UserKey};
///
/// let id = TokenId::new(&UserKey::of("alice"), [0xff; 16]);
/// assert_eq!(id.tag(), UserKey::of("alice").tag());
/// assert_eq!(id.to_string().parse::<TokenId>(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 16]);

impl TokenId {
    /// An id for a token of `user`, from 128 random bits.
    #[must_use]
    pub const fn new(user: &UserKey, random: [u8; 16]) -> Self {
        let [a, b, c, d] = user.tag();
        let [_, _, _, _, e, f, g, h, i, j, k, l, m, n, o, p] = random;
        Self([a, b, c, d, e, f, (g & 0x0f) | 0x40, h, (i & 0x3f) | 0x80, j, k, l, m, n, o, p])
    }

    /// The tag of the user whose token this is.
    #[must_use]
    pub const fn tag(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id with these bytes, when they are of version 4.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let [_, _, _, _, _, _, version, _, variant, ..] = bytes;
        if version & 0xf0 == 0x40 && variant & 0xc0 == 0x80 { Some(Self(bytes)) } else { None }
    }
}

/// Lower case, with hyphens.
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// A text is no token id. The text is not repeated: it may be a credential that somebody pasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a token id (a UUID of version 4), found something else; hint: it is the `jti` of the token, 36 characters"
)]
pub struct TokenIdError;

/// 36 characters, in lower or upper case; nothing around them.
impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let mut digits = [0_u8; 32];
        let mut found = 0_usize;
        if text.len() != 36 {
            return Err(TokenIdError);
        }
        for (index, byte) in text.bytes().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(TokenIdError);
                }
                continue;
            }
            *digits.get_mut(found).ok_or(TokenIdError)? = nibble(byte).ok_or(TokenIdError)?;
            found += 1;
        }
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair;
            *byte = high << 4 | low;
        }
        Self::from_bytes(bytes).ok_or(TokenIdError)
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Which life of a user's record a token was issued in (`ep` in tokens): random, made with the record. A store that has been
/// emptied, or is another one, has no record or another epoch, and refuses the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 16]);

impl Epoch {
    /// A new one, from an identifier that nobody can guess.
    pub(crate) fn from_random(id: &str) -> Self {
        Self(first_half(&sha256(id.as_bytes())))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 22 characters of base64url.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// A text is no epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an epoch (22 characters of base64url), found something else; hint: it is the `ep` claim of a token")]
pub struct EpochError;

impl FromStr for Epoch {
    type Err = EpochError;

    fn from_str(text: &str) -> Result<Self, EpochError> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).map_err(|_| EpochError)?;
        bytes.try_into().map(Self).map_err(|_| EpochError)
    }
}

/// What a user's tokens carry (`ep` and `ugen`) and are held against: the life of the user's record, and how often all the
/// user's tokens have been revoked in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The life of the record.
    pub epoch: Epoch,
    /// How often the user has been revoked in it.
    pub generation: u64,
}

pub(crate) const fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Epoch, TokenId, UserKey};

    #[test]
    fn texts_that_are_no_version_4_uuid_are_refused() {
        for text in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "00000000-0000-1000-8000-000000000000",
            "00000000-0000-4000-0000-000000000000",
            "00000000-0000-4000-8000-00000000000",
            "00000000-0000-4000-8000-0000000000000",
            "000000000000400080000000000000000000",
            "00000000-0000-4000-8000-00000000000g",
            "0000000--0000-4000-8000-000000000000",
            "{0000000-0000-4000-8000-00000000000}",
            " 0000000-0000-4000-8000-000000000000",
            "0000000é-0000-4000-8000-00000000000",
            "00000000-0000-4000-8000-00000000000\n",
        ] {
            assert!(text.parse::<TokenId>().is_err(), "{text:?}");
        }
        assert!("00000000-0000-4000-BFFF-ABCDEF000000".parse::<TokenId>().is_ok());
    }

    proptest! {
        #[test]
        fn an_id_is_its_text_and_leads_to_its_user(user: String, random: [u8; 16]) {
            let key = UserKey::of(&user);
            let id = TokenId::new(&key, random);
            prop_assert_eq!(id.to_string().parse::<TokenId>(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse::<TokenId>(), Ok(id));
            prop_assert_eq!(id.tag(), key.tag());
            prop_assert_eq!(TokenId::from_bytes(*id.as_bytes()), Some(id));
        }

        #[test]
        fn an_epoch_is_its_text(bytes: [u8; 16], text: String) {
            let epoch = Epoch::from_bytes(bytes);
            prop_assert_eq!(epoch.to_string().parse::<Epoch>(), Ok(epoch));
            prop_assert!(text.parse::<Epoch>().is_err() || text.len() == 22);
        }
    }
}
