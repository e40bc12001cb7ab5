//! Verification of AWS Signature Version 4 in the `Authorization` header, as API Gateway does it for a method with
//! `AWS_IAM`, with API Gateway's answers to everything that is wrong.
//!
//! Not supported, and answered as "no signature": presigned URLs (signature in the query) and Signature Version 4A.

mod canonical;

use std::borrow::Cow;
use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::{HeaderMap, Method, header};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use token_jose::{same_secret, sha256_hex};

use crate::principals::{Principals, SamplePrincipal};

/// The service name that API Gateway's callers sign for.
pub const SERVICE: &str = "execute-api";
/// How far the signature's time and ours may differ.
pub const SKEW: SignedDuration = SignedDuration::from_mins(5);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const X_AMZ_DATE: &str = "x-amz-date";
const X_AMZ_SECURITY_TOKEN: &str = "x-amz-security-token";
const X_AMZ_CONTENT_SHA256: &str = "x-amz-content-sha256";
/// Headers that decide the outcome: a second line of one would leave open which of them was meant.
const SINGLE: [&str; 6] = ["authorization", "host", "date", X_AMZ_DATE, X_AMZ_SECURITY_TOKEN, X_AMZ_CONTENT_SHA256];

/// A request as it arrived, before anybody has vouched for it.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as sent, still encoded.
    pub path: &'a str,
    /// The query as sent, without `?`; empty when there is none.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Why a request is not authenticated. `Display` is API Gateway's `message`; nothing of the request is echoed but its time
/// and scope date, which have been parsed by then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header is not a complete SigV4 authorization.
    #[error("{0}")]
    Incomplete(String),
    /// The access key is unknown, or its session token is not the one that belongs to it.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The credential scope or the signed headers do not fit this endpoint, or the time is out of bounds.
    #[error("{0}")]
    Scope(String),
    /// The signature is not the one that the secret key gives for this request.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl AuthError {
    /// The value of `x-amzn-ErrorType`.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Scope(_) | Self::Mismatch => "InvalidSignatureException",
        }
    }
}

/// Who signed `request`.
///
/// # Errors
/// [`AuthError`] when nobody did, or not for this endpoint (`region`), this time (`now` ± [`SKEW`]), this body, path and
/// query, with the session token that belongs to the access key.
pub fn verify<'p>(
    request: Arrived<'_>,
    region: &str,
    principals: &'p Principals,
    now: Timestamp,
) -> Result<&'p SamplePrincipal, AuthError> {
    if !request.headers.contains_key(header::AUTHORIZATION) {
        return Err(AuthError::Missing);
    }
    if let Some(name) = SINGLE.iter().find(|name| request.headers.get_all(**name).iter().nth(1).is_some()) {
        return Err(AuthError::Incomplete(format!("Request must carry at most one '{name}' header.")));
    }
    let authorization = Authorization::parse(request.headers)?;
    let signed_at = signed_at(request.headers)?;
    authorization.scope.check(region, &signed_at)?;
    check_time(&signed_at, now)?;
    if !authorization.signed_headers.contains(&"host") {
        return Err(AuthError::Scope(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }

    let principal = principals.by_access_key(authorization.access_key).ok_or(AuthError::UnknownKey)?;
    let token = request.headers.get(X_AMZ_SECURITY_TOKEN).map(http::HeaderValue::as_bytes);
    match (token, principal.session_token()) {
        (None, None) => {}
        (Some(found), Some(expected)) if same_secret(found, expected.as_bytes()) => {}
        _ => return Err(AuthError::UnknownKey),
    }

    let payload_hash = sha256_hex(request.body);
    if let Some(declared) = request.headers.get(X_AMZ_CONTENT_SHA256)
        && declared.as_bytes() != payload_hash.as_bytes()
    {
        return Err(AuthError::Mismatch);
    }
    let expected =
        signature(request, &authorization, &signed_at, &payload_hash, principal).ok_or(AuthError::Mismatch)?;
    if same_secret(expected.as_bytes(), authorization.signature.as_bytes()) {
        Ok(principal)
    } else {
        Err(AuthError::Mismatch)
    }
}

/// The signature that `principal`'s secret gives; `None` when a signed header did not arrive.
fn signature(
    request: Arrived<'_>,
    authorization: &Authorization<'_>,
    signed_at: &SignedAt,
    payload_hash: &str,
    principal: &SamplePrincipal,
) -> Option<String> {
    let scope = &authorization.scope;
    let canonical_request = format!(
        "{}\n{}\n{}\n{}\n{}\n{payload_hash}",
        request.method,
        canonical::path(request.path),
        canonical::query(request.query),
        canonical::headers(&authorization.signed_headers, request.headers)?,
        authorization.signed_headers.join(";"),
    );
    let string_to_sign = format!(
        "{ALGORITHM}\n{}\n{}/{}/{}/aws4_request\n{}",
        signed_at.basic,
        scope.date,
        scope.region,
        scope.service,
        sha256_hex(canonical_request.as_bytes())
    );
    let key = generate_signing_key(
        principal.secret_access_key(),
        SystemTime::from(signed_at.instant),
        scope.region,
        scope.service,
    );
    Some(calculate_signature(key, string_to_sign.as_bytes()))
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
struct Authorization<'a> {
    access_key: &'a str,
    scope: Scope<'a>,
    /// Lower case, sorted, each once.
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
        let text = value.to_str().unwrap_or_default();
        let parameters = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or_default();
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in parameters.split(',') {
            let Some((name, value)) = part.trim().split_once('=') else { continue };
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(AuthError::Incomplete(format!(
                    "Authorization header has more than one '{name}' parameter."
                )));
            }
        }
        let mut missing: Vec<Cow<'static, str>> =
            [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)]
                .into_iter()
                .filter(|(_, value)| value.is_none_or(str::is_empty))
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter.").into())
                .collect();
        if !headers.contains_key(X_AMZ_DATE) && !headers.contains_key(header::DATE) {
            missing.push("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".into());
        }
        let (Some(credential), Some(signed_headers), Some(signature), true) =
            (credential, signed_headers, signature, missing.is_empty())
        else {
            return Err(AuthError::Incomplete(missing.join(" ")));
        };
        let (access_key, scope) = Scope::parse(credential)?;
        let mut names: Vec<&str> = signed_headers.split(';').collect();
        names.sort_unstable();
        let well_formed = names.iter().all(|name| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        });
        if !well_formed || names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(AuthError::Incomplete(
                "'SignedHeaders' must list lower-case header names, each once, separated by ';'.".to_owned(),
            ));
        }
        Ok(Self { access_key, scope, signed_headers: names, signature })
    }
}

/// `DATE/REGION/SERVICE/aws4_request`.
struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<(&'a str, Self), AuthError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, terminator] = parts[..] else {
            return Err(AuthError::Incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
                    .to_owned(),
            ));
        };
        Ok((access_key, Self { date, region, service, terminator }))
    }

    /// All that does not fit, in one message, as AWS answers.
    fn check(&self, region: &str, signed_at: &SignedAt) -> Result<(), AuthError> {
        let mut problems = Vec::new();
        if self.region != region {
            problems.push(format!("Credential should be scoped to a valid region: '{region}'."));
        }
        if self.service != SERVICE {
            problems.push(format!("Credential should be scoped to correct service: '{SERVICE}'."));
        }
        if self.terminator != "aws4_request" {
            problems.push("Credential should be scoped with a valid terminator: 'aws4_request'.".to_owned());
        }
        if Some(self.date) != signed_at.basic.get(..8) {
            problems.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}'.",
                signed_at.basic
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(AuthError::Scope(problems.join(" "))) }
    }
}

/// When the request says that it was signed.
struct SignedAt {
    instant: Timestamp,
    /// `20150830T123600Z`.
    basic: String,
}

fn signed_at(headers: &HeaderMap) -> Result<SignedAt, AuthError> {
    let (name, value) = headers
        .get(X_AMZ_DATE)
        .map(|value| (X_AMZ_DATE, value))
        .or_else(|| headers.get(header::DATE).map(|value| ("date", value)))
        .ok_or(AuthError::Missing)?;
    let text = value.to_str().unwrap_or_default();
    let instant = parse_basic(text)
        .or_else(|| (name == "date").then(|| parse_http_date(text)).flatten())
        .ok_or_else(|| AuthError::Incomplete(format!("Date must be in ISO-8601 'basic format' in '{name}'.")))?;
    Ok(SignedAt { instant, basic: basic(instant) })
}

/// `YYYYMMDD'T'HHMMSS'Z'` and nothing looser.
fn parse_basic(text: &str) -> Option<Timestamp> {
    let shape = text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    let civil = shape.then(|| jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()).flatten()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn parse_http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

fn basic(instant: Timestamp) -> String {
    instant.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn check_time(signed_at: &SignedAt, now: Timestamp) -> Result<(), AuthError> {
    let (signed, earliest, latest) = (&signed_at.basic, now.saturating_sub(SKEW), now.saturating_add(SKEW));
    // Saturation fails only for spans with calendar units, which SKEW has none of.
    let (Ok(earliest), Ok(latest)) = (earliest, latest) else { return Err(AuthError::Mismatch) };
    if signed_at.instant < earliest {
        let (earliest, now) = (basic(earliest), basic(now));
        return Err(AuthError::Scope(format!(
            "Signature expired: {signed} is now earlier than {earliest} ({now} - 5 min.)"
        )));
    }
    if signed_at.instant > latest {
        let (latest, now) = (basic(latest), basic(now));
        return Err(AuthError::Scope(format!(
            "Signature not yet current: {signed} is still later than {latest} ({now} + 5 min.)"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
