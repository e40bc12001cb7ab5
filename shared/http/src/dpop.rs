//! The `DPoP` field of a request (RFC 9449 section 4.1).

use http::{HeaderMap, HeaderName};

use crate::error::OAuthError;

/// The field that carries a proof.
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The one proof of a request, if it carries any.
///
/// # Errors
/// 400 `invalid_dpop_proof` when there is not exactly one (RFC 9449 section 4.3, check 1): a second field, or a comma, by
/// which HTTP APIs and proxies join two into one; or a field that is empty or no text.
pub fn dpop_proof(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut fields = headers.get_all(DPOP).iter();
    let proof = match (fields.next(), fields.next()) {
        (None, _) => return Ok(None),
        (Some(field), None) => field.to_str().ok().filter(|text| !text.contains(',') && !text.trim().is_empty()),
        (Some(_), Some(_)) => None,
    };
    proof.map(Some).ok_or_else(|| {
        OAuthError::invalid_dpop_proof("expected one DPoP header with one proof, found several, or one that is none")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("DPoP", HeaderValue::from_bytes(field).unwrap());
        }
        headers
    }

    #[test]
    fn there_is_one_field_with_one_proof_or_none() {
        assert_eq!(dpop_proof(&HeaderMap::new()), Ok(None));
        assert_eq!(dpop_proof(&headers(&[b"a.b.c"])), Ok(Some("a.b.c")));
        let refused: [&[&[u8]]; 7] =
            [&[b"a.b.c", b"a.b.c"], &[b"a.b.c", b""], &[b"a.b.c, d.e.f"], &[b"a.b.c,"], &[b""], &[b" "], &[b"\xe9"]];
        for fields in refused {
            let error = dpop_proof(&headers(fields)).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (400, "invalid_dpop_proof"), "{fields:?}");
        }
    }
}
