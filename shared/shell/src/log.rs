//! The log: one JSON object per line, on standard output for Lambdas and on standard error for services.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt as _;

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
    start(level, None, None, BoxMakeWriter::new(std::io::stdout));
}

/// What is told of every event and span beside the log, such as an exporter of traces.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// [`start_json_log`] for a service, on standard error, so that standard output is free for what a program reads of it: each
/// line gets the member `trace_id` where `trace_id` knows one (hexadecimal digits, else it is left out), and `extra` sees
/// what the log sees.
pub fn start_json_log_with(level: LogLevel, trace_id: Option<fn() -> Option<String>>, extra: Option<ExtraLayer>) {
    start(level, trace_id, extra, BoxMakeWriter::new(std::io::stderr));
}

fn start(level: LogLevel, trace_id: Option<fn() -> Option<String>>, extra: Option<ExtraLayer>, writer: BoxMakeWriter) {
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(level.0.min(LevelFilter::WARN))
        .with_targets(OWN_TARGETS.map(|target| (target, level.0)));
    let format = Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(Traced { format, trace_id })
        .with_writer(writer);
    // A second start (a test in one process) keeps the first log.
    let _ = tracing_subscriber::registry().with(extra).with(filter).with(lines).try_init();
}

/// The crates whose messages are known to hold no secret, and the decision log.
const OWN_TARGETS: [&str; 14] = [
    "decision",
    "jwks",
    "jwt_issuer",
    "key_rotation",
    "lambda_common",
    "local_gateway",
    "token_aws",
    "token_exchange",
    "token_http",
    "token_issuance",
    "token_remote",
    "token_server",
    "token_service",
    "token_shell",
];

/// JSON lines with the id of the trace that they belong to.
struct Traced {
    format: Format<Json>,
    trace_id: Option<fn() -> Option<String>>,
}

impl<S, N> FormatEvent<S, N> for Traced
where
    S: for<'a> LookupSpan<'a> + tracing::Subscriber,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let trace_id = self.trace_id.and_then(|trace_id| trace_id());
        let Some(trace_id) = trace_id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"trace_id\":\"{trace_id}\",{rest}"),
            None => writer.write_str(&line),
        }
    }
}
