//! From claims to a compact JWS.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jws::MAX_TOKEN_BYTES;
use crate::signer::{SignError, Signer};

/// A signed token in compact form. It is a bearer credential: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct CompactJws(String);

impl CompactJws {
    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for CompactJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompactJws(hidden)")
    }
}

/// Signs `claims_json`, a JSON object, as a compact JWS whose header is exactly `typ`, `alg` and `kid`.
///
/// `alg` and `kid` are the signer's, so header and signature cannot come from two keys. Building header and encoding
/// costs well under a microsecond (Ed25519 signs in ten), so nothing is cached. What the claims say is the caller's affair;
/// [`crate::verify()`] refuses the token if their members are not unique.
///
/// # Errors
/// When `typ` is no media type name, the claims are no object, the token would exceed [`MAX_TOKEN_BYTES`], or the signer
/// fails or returns something that is not a raw signature of its algorithm.
pub async fn sign_compact(signer: &dyn Signer, typ: &str, claims_json: &[u8]) -> Result<CompactJws, SignError> {
    if !is_media_type_name(typ) {
        return Err(SignError::Typ);
    }
    let (Some(b'{'), Some(b'}')) = (claims_json.first(), claims_json.last()) else {
        return Err(SignError::Claims);
    };
    let key = signer.public_key();
    let mut header = jsonwebtoken::Header::new(key.algorithm().to_jsonwebtoken());
    header.typ = Some(typ.to_owned());
    header.kid = Some(key.kid().as_str().to_owned());
    let header = serde_json::to_vec(&header).map_err(|_| SignError::Failed)?;
    let length = encoded(header.len()) + encoded(claims_json.len()) + encoded(key.signature_len()) + 2;
    if length > MAX_TOKEN_BYTES {
        return Err(SignError::TooLarge { limit: MAX_TOKEN_BYTES, found: length });
    }
    let mut token = Vec::with_capacity(length);
    append(&mut token, &header)?;
    token.push(b'.');
    append(&mut token, claims_json)?;
    let signature = signer.sign(&token).await?;
    if signature.len() != key.signature_len() {
        return Err(SignError::SignatureLength { expected: key.signature_len(), found: signature.len() });
    }
    token.push(b'.');
    append(&mut token, &signature)?;
    String::from_utf8(token).map(CompactJws).map_err(|_| SignError::Failed)
}

/// Encodes into the buffer itself: `encode_string` goes through a second one, and next to Ed25519 that shows.
fn append(token: &mut Vec<u8>, part: &[u8]) -> Result<(), SignError> {
    let start = token.len();
    token.resize(start + encoded(part.len()), 0);
    let room = token.get_mut(start..).unwrap_or_default();
    match URL_SAFE_NO_PAD.encode_slice(part, room) {
        Ok(written) if written == room.len() => Ok(()),
        _ => Err(SignError::Failed),
    }
}

/// The length of `bytes` bytes in base64url without padding.
fn encoded(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

/// A media type name, optionally with its top-level type: restricted names of RFC 6838 section 4.2, so nothing here can
/// end a JSON string.
fn is_media_type_name(typ: &str) -> bool {
    (1..=64).contains(&typ.len())
        && typ.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(&byte))
}
