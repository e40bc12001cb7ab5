//! The log: one JSON object per line on standard output.

use std::str::FromStr;

use tracing_subscriber::filter::LevelFilter;

/// How much is logged: `error`, `warn`, `info` (default), `debug`, `trace`. Decisions are logged at `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl Default for LogLevel {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(Self(LevelFilter::ERROR)),
            "warn" => Ok(Self(LevelFilter::WARN)),
            "info" => Ok(Self(LevelFilter::INFO)),
            "debug" => Ok(Self(LevelFilter::DEBUG)),
            "trace" => Ok(Self(LevelFilter::TRACE)),
            _ => Err(()),
        }
    }
}

/// Starts the process-wide log. Only the project's own crates speak below `warn`: at `debug`, an HTTP client would log
/// headers and bodies, and those hold keys and tokens.
pub fn start_json_log(level: LogLevel) {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(level.0.min(LevelFilter::WARN))
        .with_targets(OWN_TARGETS.map(|target| (target, level.0)));
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // A second start (a test in one process) keeps the first log.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// The crates whose messages are known to hold no secret, and the decision log.
const OWN_TARGETS: [&str; 10] = [
    "decision",
    "jwks",
    "jwt_issuer",
    "key_rotation",
    "lambda_common",
    "local_gateway",
    "token_aws",
    "token_http",
    "token_issuance",
    "token_shell",
];
