//! What can go wrong between a request and its answer.

use token_jose::strict_json::StrictJsonError;

/// Why a request has no usable answer. Texts name the address without its query, never a header, a body or a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No connection: name resolution, TCP, TLS (a certificate that nobody here trusts included).
    #[error("{at}: no connection ({detail})")]
    Connect {
        /// The address.
        at: String,
        /// What the resolver, the socket or TLS said.
        detail: String,
    },
    /// Nothing whole within the time given.
    #[error("{at}: no whole answer within {limit_ms} ms")]
    Timeout {
        /// The address.
        at: String,
        /// The time given, in milliseconds.
        limit_ms: u128,
    },
    /// The connection ended, or spoke no HTTP, before the answer was whole.
    #[error("{at}: the answer was cut off or is no HTTP ({detail})")]
    Interrupted {
        /// The address.
        at: String,
        /// What happened.
        detail: String,
    },
    /// The answer is longer than is read here.
    #[error("{at}: expected an answer of at most {limit} bytes, found more")]
    TooLarge {
        /// The address.
        at: String,
        /// The most bytes that are read.
        limit: usize,
    },
    /// The server points elsewhere. It is not followed: a secret would go where nobody configured it to go.
    #[error("{at}: expected an answer, found a redirect (HTTP {status}); hint: configure the final address")]
    Redirect {
        /// The address.
        at: String,
        /// The status.
        status: u16,
    },
    /// The server answered with another status than success.
    #[error("{at}: expected success, found HTTP {status}")]
    Status {
        /// The address.
        at: String,
        /// The status.
        status: u16,
        /// What `Retry-After` said, in seconds, at most 3600.
        retry_after_s: Option<u64>,
    },
    /// The answer is no JSON that has one reading.
    #[error("{at}: {error}")]
    Json {
        /// The address.
        at: String,
        /// What is wrong with it; never a piece of it.
        error: StrictJsonError,
    },
    /// The answer is JSON and says something else than it must.
    #[error("{at}: {detail}")]
    Malformed {
        /// The address.
        at: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// A header that the caller gave is none. Its value is not repeated.
    #[error("expected a header value of visible characters, found another in {name}")]
    Header {
        /// The header's name.
        name: String,
    },
    /// The client could not be made from its options.
    #[error("{option}: {detail}")]
    Options {
        /// Which option.
        option: &'static str,
        /// What was expected and what was found.
        detail: String,
    },
}

impl RemoteError {
    /// Whether it may pass by itself: no connection, no whole answer in time, 5xx, 429. The others need somebody's hand.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Interrupted { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    /// A short stable name for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted { .. } => "interrupted",
            Self::TooLarge { .. } => "too_large",
            Self::Redirect { .. } => "redirect",
            Self::Status { .. } => "status",
            Self::Json { .. } | Self::Malformed { .. } => "malformed",
            Self::Header { .. } | Self::Options { .. } => "options",
        }
    }
}
