//! Refresh tokens: opaque, recognisable without the store, and stored only as a hash.
//!
//! `rt1.TAG.SECRET`: TAG is the family's id, so the store is asked for one key; SECRET is 24 random bytes and a MAC over
//! both. A text that this service never made is refused before the store is asked and can revoke nothing; a genuine one
//! that is not the live one is evidence of theft, however old it is.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use token_jose::sha256;
use zeroize::Zeroizing;

use crate::store::TokenId;

const PREFIX: &str = "rt1";
const RANDOM: usize = 24;
const MAC: usize = 16;
/// The text's length: prefix, two dots, 22 characters of family, 54 of secret.
const LENGTH: usize = 3 + 1 + 22 + 1 + 54;

/// The keys that all replicas share, derived from one secret.
pub struct Vault {
    mac: hmac::Key,
    seal: hmac::Key,
    former: Vec<hmac::Key>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(hidden)")
    }
}

/// A refresh token. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    text: Zeroizing<String>,
    family: TokenId,
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshToken({}, hidden)", self.family)
    }
}

impl RefreshToken {
    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The family it belongs to.
    #[must_use]
    pub fn family(&self) -> TokenId {
        self.family
    }

    /// What the store keeps.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

/// Whether a text claims to be a refresh token; says nothing of its worth.
#[must_use]
pub fn looks_like_one(text: &str) -> bool {
    text.starts_with("rt1.")
}

impl Vault {
    /// The keys of `secret`, and of the secrets used before it, whose tokens are still recognised.
    #[must_use]
    pub fn new(secret: &[u8; 32], former: &[[u8; 32]]) -> Self {
        Self {
            mac: derive(secret, b"token-service refresh mac v1"),
            seal: derive(secret, b"token-service re-answer seal v1"),
            former: former.iter().map(|old| derive(old, b"token-service refresh mac v1")).collect(),
        }
    }

    /// A fresh token of `family`; `random` is drawn by the shell.
    #[must_use]
    pub fn mint(&self, family: TokenId, random: &[u8; RANDOM]) -> RefreshToken {
        let mut secret = [0_u8; RANDOM + MAC];
        let (left, right) = secret.split_at_mut(RANDOM);
        left.copy_from_slice(random);
        let tag = mac(&self.mac, &family, random);
        right.copy_from_slice(tag.as_ref().get(..MAC).unwrap_or(&[0; MAC]));
        let text = format!("{PREFIX}.{}.{}", URL_SAFE_NO_PAD.encode(family.as_bytes()), URL_SAFE_NO_PAD.encode(secret));
        RefreshToken { text: Zeroizing::new(text), family }
    }

    /// The token, if this service or a replica of it made it.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<RefreshToken> {
        if text.len() != LENGTH {
            return None;
        }
        let mut parts = text.split('.');
        let (PREFIX, tag, secret, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let tag: [u8; 16] = URL_SAFE_NO_PAD.decode(tag).ok()?.try_into().ok()?;
        let family = TokenId::from_bytes(tag)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let (random, found) = secret.split_at_checked(RANDOM)?;
        let genuine = std::iter::once(&self.mac).chain(&self.former).any(|key| {
            let expected = mac(key, &family, random);
            expected.as_ref().get(..MAC).is_some_and(|expected| token_jose::same_secret(expected, found))
        });
        genuine.then(|| RefreshToken { text: Zeroizing::new(text.to_owned()), family })
    }

    /// Seals the answer to `presented` under a key that only its holder can derive (with this service): what the store
    /// keeps for a retry opens nothing by itself.
    #[must_use]
    pub fn seal(&self, presented: &RefreshToken, answer: &[u8], nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        let key = self.answer_key(presented)?;
        let mut sealed = answer.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Some(out)
    }

    /// Opens what [`Vault::seal`] made for the same presented token.
    #[must_use]
    pub fn unseal(&self, presented: &RefreshToken, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let mut text = Zeroizing::new(rest.to_vec());
        let length = {
            let key = self.answer_key(presented)?;
            key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).ok()?.len()
        };
        text.truncate(length);
        Some(text)
    }

    fn answer_key(&self, presented: &RefreshToken) -> Option<LessSafeKey> {
        let key = hmac::sign(&self.seal, presented.as_str().as_bytes());
        UnboundKey::new(&AES_256_GCM, key.as_ref()).ok().map(LessSafeKey::new)
    }
}

fn derive(secret: &[u8; 32], label: &[u8]) -> hmac::Key {
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), label);
    hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
}

fn mac(key: &hmac::Key, family: &TokenId, random: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(PREFIX.as_bytes());
    context.update(family.as_bytes());
    context.update(random);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::UserKey;

    fn family() -> TokenId {
        TokenId::new(&UserKey::of("user_alice"), [7; 16])
    }

    #[test]
    fn a_token_opens_where_the_secret_is_shared_and_nowhere_else() {
        let vault = Vault::new(&[1; 32], &[]);
        let token = vault.mint(family(), &[9; 24]);
        assert_eq!(token.as_str().len(), LENGTH);
        assert_eq!(Vault::new(&[1; 32], &[]).open(token.as_str()), Some(token.clone()));
        assert_eq!(Vault::new(&[2; 32], &[]).open(token.as_str()), None);
        assert!(Vault::new(&[2; 32], &[[1; 32]]).open(token.as_str()).is_some(), "a former secret still recognises");
    }

    #[test]
    fn a_changed_character_is_not_genuine() {
        let vault = Vault::new(&[1; 32], &[]);
        let text = vault.mint(family(), &[9; 24]).as_str().to_owned();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(vault.open(&String::from_utf8(bytes).unwrap()), None, "position {at}");
        }
        for bad in ["", "rt1..", "rt1.a.b", &format!("{text}a"), &text[..text.len() - 1], &format!(" {text}")] {
            assert_eq!(vault.open(bad), None);
        }
    }

    #[test]
    fn an_answer_opens_with_the_presented_token_only() {
        let vault = Vault::new(&[1; 32], &[]);
        let (one, two) = (vault.mint(family(), &[1; 24]), vault.mint(family(), &[2; 24]));
        let sealed = vault.seal(&one, b"the answer", [3; 12]).unwrap();
        assert_eq!(vault.unseal(&one, &sealed).as_deref().map(Vec::as_slice), Some(b"the answer".as_slice()));
        assert_eq!(vault.unseal(&two, &sealed), None);
        assert_eq!(Vault::new(&[2; 32], &[]).unseal(&one, &sealed), None);
        assert_eq!(vault.unseal(&one, &sealed[..sealed.len() - 1]), None);
        assert_eq!(vault.unseal(&one, &[]), None);
    }

    #[test]
    fn nothing_prints_a_token() {
        let vault = Vault::new(&[1; 32], &[]);
        let token = vault.mint(family(), &[9; 24]);
        let secret = token.as_str().rsplit('.').next().unwrap().to_owned();
        assert!(!format!("{token:?} {vault:?}").contains(&secret));
    }
}
