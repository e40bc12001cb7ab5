//! A compact serialisation cut into its three parts, nothing decoded and nothing judged.

use serde_json::{Map, Value};

use crate::jws::verify::{JwsError, Part};
use crate::strict_json::{self, Limits};
use crate::text::base64url_decode;

/// The three parts of a compact JWS, as they were written.
pub(crate) struct Parts<'a> {
    token: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Cuts `token` at its dots: exactly three parts, at most `limit` bytes.
    pub(crate) fn of(token: &'a str, limit: usize) -> Result<Self, JwsError> {
        if token.len() > limit {
            return Err(JwsError::TooLarge { limit, found: token.len() });
        }
        let mut parts = token.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(payload), Some(signature), None) => Ok(Self { token, header, payload, signature }),
            _ => Err(JwsError::Form { found: "another number of parts" }),
        }
    }

    /// What was signed: header and payload with the dot between them.
    pub(crate) fn signing_input(&self) -> &'a [u8] {
        self.token.as_bytes().get(..self.header.len() + 1 + self.payload.len()).unwrap_or_default()
    }

    /// The raw signature.
    pub(crate) fn signature(&self) -> Result<Vec<u8>, JwsError> {
        decode(self.signature, "a signature that is not")
    }

    /// The protected header, a strict JSON object. It is flat, but an embedded key is better refused by name than by depth.
    pub(crate) fn header(&self) -> Result<Map<String, Value>, JwsError> {
        object(Part::Header, &decode(self.header, "a header that is not")?, 4)
    }

    /// The payload, a strict JSON object. Claims nest: actor chains are allowed 8 deep, the rest is margin.
    pub(crate) fn payload(&self) -> Result<Map<String, Value>, JwsError> {
        object(Part::Payload, &decode(self.payload, "a payload that is not")?, 16)
    }
}

fn decode(text: &str, found: &'static str) -> Result<Vec<u8>, JwsError> {
    base64url_decode(text).ok_or(JwsError::Form { found })
}

fn object(part: Part, json: &[u8], max_depth: usize) -> Result<Map<String, Value>, JwsError> {
    // The bytes are bounded by the token's length.
    strict_json::parse_object(json, Limits::new(json.len(), max_depth)).map_err(|error| JwsError::Json { part, error })
}
