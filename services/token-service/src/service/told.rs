//! What a decision is told as, at every door that answers for another service: identity headers, words, challenges.

use token_jose::Algorithm;

use super::{Allowed, Denial, DenialReason};

/// The headers by which an upstream learns who is let through. Every allow sets every one of them, empty (or, where the
/// proxy can, removed) when there is nothing to say: what the client itself has sent under these names is never left.
///
/// Values: the user's id as the caller gave it, `sub`, `client_id`, `scope` (space-separated), `network`, `rate_limit`,
/// `session_id`, `exp` (seconds), and the thumbprint of the key that the token is bound to.
pub const IDENTITY_HEADERS: [&str; 9] = [
    "x-user-id",
    "x-subject",
    "x-client-id",
    "x-scope",
    "x-network",
    "x-rate-limit",
    "x-session-id",
    "x-token-expires",
    "x-token-jkt",
];

impl Allowed {
    /// Every one of [`IDENTITY_HEADERS`] with its value, empty when there is none.
    #[must_use]
    pub fn identity(&self) -> [(&'static str, String); 9] {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let values = [
            text(&self.user_id),
            self.subject.clone(),
            text(&self.client_id),
            text(&self.scope),
            text(&self.network),
            self.rate_limit.map(|limit| limit.to_string()).unwrap_or_default(),
            text(&self.session_id),
            self.expires.as_second().to_string(),
            text(&self.jkt),
        ];
        let mut values = values.into_iter();
        IDENTITY_HEADERS.map(|name| (name, values.next().unwrap_or_default()))
    }
}

impl Denial {
    /// Title and detail, in the former service's words; the detail may be empty.
    #[must_use]
    pub fn words(&self) -> (&str, &str) {
        match self.reason {
            DenialReason::Missing => ("Missing Authorization header", ""),
            DenialReason::Malformed if self.message.starts_with("Empty ") => (&self.message, ""),
            DenialReason::Malformed => ("Invalid Authorization header format", &self.message),
            DenialReason::InvalidToken => ("Invalid JWT token", &self.message),
            DenialReason::InvalidProof | DenialReason::UseNonce => ("Invalid DPoP proof", &self.message),
            DenialReason::NotAnAccessToken => ("Token is not an access token", &self.message),
            DenialReason::Revoked => (&self.message, ""),
            DenialReason::RateLimited => ("Rate limit exceeded", &self.message),
            DenialReason::Unavailable => ("Service temporarily unavailable", &self.message),
        }
    }

    /// The values of `WWW-Authenticate` (RFC 6750 section 3, RFC 9449 section 7.1): both schemes for a request without a
    /// token, else the one that it used, with the error. `algorithms` are those of proofs; `speaks_dpop` is whether the token
    /// came under the scheme `DPoP`.
    #[must_use]
    pub fn challenges(&self, algorithms: &[Algorithm], speaks_dpop: bool) -> Vec<String> {
        let text = quotable(&self.message);
        let algorithms = Algorithm::proof_names(algorithms).join(" ");
        let bearer =
            |error: &str| format!("Bearer realm=\"token-service\", error=\"{error}\", error_description=\"{text}\"");
        let dpop = |error: &str| format!("DPoP error=\"{error}\", error_description=\"{text}\", algs=\"{algorithms}\"");
        let plain_dpop = format!("DPoP algs=\"{algorithms}\"");
        match self.reason {
            DenialReason::Missing => vec!["Bearer realm=\"token-service\"".to_owned(), plain_dpop],
            DenialReason::InvalidToken if speaks_dpop => vec![dpop("invalid_token")],
            DenialReason::Malformed | DenialReason::InvalidToken => vec![bearer("invalid_token"), plain_dpop],
            DenialReason::InvalidProof => vec![dpop("invalid_dpop_proof")],
            DenialReason::UseNonce => vec![dpop("use_dpop_nonce")],
            DenialReason::NotAnAccessToken
            | DenialReason::Revoked
            | DenialReason::RateLimited
            | DenialReason::Unavailable => Vec::new(),
        }
    }
}

/// Quoted strings take printable ASCII; `"` and `\` are left out rather than escaped (RFC 6749 section 5.2).
fn quotable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            ' '..='[' | ']'..='~' => character,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(reason: DenialReason) -> Denial {
        Denial { reason, message: "a \"b\" \\ ü\r\nX: y".to_owned(), retry_after_s: None }
    }

    #[test]
    fn every_401_has_a_challenge_and_nothing_else_has_one() {
        use DenialReason::{
            InvalidProof, InvalidToken, Malformed, Missing, NotAnAccessToken, RateLimited, Revoked, Unavailable,
            UseNonce,
        };
        for reason in [
            Missing,
            Malformed,
            InvalidToken,
            InvalidProof,
            UseNonce,
            NotAnAccessToken,
            Revoked,
            RateLimited,
            Unavailable,
        ] {
            for speaks_dpop in [true, false] {
                let challenges = denial(reason).challenges(&[Algorithm::Es256], speaks_dpop);
                assert_eq!(challenges.is_empty(), reason.status() != 401, "{reason:?}");
                // One line of printable ASCII each: it may be a header.
                assert!(
                    challenges.iter().all(|text| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))),
                    "{challenges:?}"
                );
            }
        }
    }
}
