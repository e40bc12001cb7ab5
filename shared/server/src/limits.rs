//! How much one process takes on.

use std::time::Duration;

/// What a [`Server`](crate::Server) takes on, over all of its listeners. The defaults suit a service of small JSON
/// requests on one or two cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body, in bytes. More is 413 (64 KiB).
    pub body_bytes: usize,
    /// The head of a request in bytes: request line and headers. More is 431 (16 KiB; HTTP/1 reads at least 8 KiB).
    pub header_bytes: usize,
    /// The most header fields of a request. More is 431 (64).
    pub headers: usize,
    /// From a request's head to the end of its answer. A body that has not come by then is 408, an answer that is not ready
    /// 503 (10 s). Streams are exempt once they have begun; a smaller `grpc-timeout` counts instead.
    pub request_timeout: Duration,
    /// From the first byte of a request to the end of its head, and for a TLS handshake. Then the connection ends (10 s).
    pub header_timeout: Duration,
    /// A connection without a request ends after this long. Longer than a load balancer keeps its own (75 s).
    pub idle_timeout: Duration,
    /// A connection whose peer takes nothing of what is written ends after this long (30 s).
    pub stall_timeout: Duration,
    /// The most requests at once. More are 503 with `Retry-After`; health and readiness are never refused (1,024).
    pub in_flight: usize,
    /// The most streams ([`Streaming`](crate::Streaming)) at once. More are 503 with `Retry-After` (1,024).
    pub streams: usize,
    /// The most connections at once. More wait in the operating system's queue (4,096).
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            header_bytes: 16 * 1024,
            headers: 64,
            request_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(30),
            in_flight: 1024,
            streams: 1024,
            connections: 4096,
        }
    }
}

/// The deadline of a request: ours, or the caller's own when that is nearer (gRPC's `grpc-timeout`, up to eight digits
/// and a unit).
pub(crate) fn deadline(limits: &Limits, headers: &http::HeaderMap) -> Duration {
    let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(grpc_timeout);
    asked.map_or(limits.request_timeout, |asked| asked.min(limits.request_timeout))
}

fn grpc_timeout(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = text.get(..unit_at)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_deadline_only_shortens_ours() {
        let deadline_of = |text: &'static str| {
            let headers = [(
                http::HeaderName::from_static("grpc-timeout"),
                http::HeaderValue::from_bytes(text.as_bytes()).unwrap(),
            )];
            deadline(&Limits::default(), &headers.into_iter().collect())
        };
        assert_eq!(deadline_of("250m"), Duration::from_millis(250));
        assert_eq!(deadline_of("3S"), Duration::from_secs(3));
        for longer_or_wrong in ["1H", "99999999M", "999999999n", "S", "", "-1S", "1s", "١S", "3 S"] {
            assert_eq!(deadline_of(longer_or_wrong), Duration::from_secs(10), "{longer_or_wrong:?}");
        }
    }
}
