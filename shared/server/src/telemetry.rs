//! Log and traces of a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData};
use token_shell::{ExtraLayer, LogLevel, Settings};

use crate::trace::current_trace_id;

/// Spans that wait for the collector. More are dropped: no request waits for it.
const QUEUE: usize = 4096;

/// What is told about the process to its operators: `LOG_LEVEL`, and where `OTEL_EXPORTER_OTLP_ENDPOINT` is set the spans
/// of its requests, by OTLP over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    service: String,
    level: LogLevel,
    endpoint: Option<String>,
}

impl TelemetryConfig {
    /// Reads `LOG_LEVEL`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL` (`grpc` only), `OTEL_SERVICE_NAME` (else `service`) and `OTEL_SDK_DISABLED`. `None`
    /// after a problem.
    ///
    /// The endpoint is plain `http`: a collector beside the process or in the cluster, which alone knows where traces go.
    /// The exporter itself also reads `OTEL_EXPORTER_OTLP_HEADERS`, and the SDK `OTEL_TRACES_SAMPLER`.
    pub fn from_settings(settings: &mut Settings<'_>, service: &str) -> Option<Self> {
        let level = settings.parsed("LOG_LEVEL", "error, warn, info, debug or trace", LogLevel::default());
        let service = settings.optional("OTEL_SERVICE_NAME").unwrap_or_else(|| service.to_owned());
        let name = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
            .into_iter()
            .find_map(|name| settings.optional(name).map(|value| (name, value)));
        let disabled = settings.optional("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut good = level.is_some();
        let mut endpoint = None;
        if let Some((name, value)) = name.filter(|_| !disabled) {
            let uri: Option<http::Uri> = value.parse().ok();
            if uri.is_some_and(|uri| {
                uri.scheme_str() == Some("http") && uri.authority().is_some_and(|at| !at.as_str().contains('@'))
            }) {
                endpoint = Some(value);
            } else {
                // A URL may hold a password: it is not shown.
                let hint = "run a collector beside this process, or unset it";
                settings.note(format_args!(
                    "{name}: expected http://HOST:PORT of an OTLP collector (gRPC), found another value; hint: {hint}"
                ));
                good = false;
            }
            let protocol = settings.optional("OTEL_EXPORTER_OTLP_PROTOCOL");
            if let Some(protocol) = protocol.filter(|protocol| protocol != "grpc") {
                let hint = Some("collectors take OTLP over gRPC on port 4317");
                settings.problem("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", &protocol, hint);
                good = false;
            }
        }
        level.filter(|_| good).map(|level| Self { service, level, endpoint })
    }
}

/// The running log and exporter of traces. End it with [`finish`](Self::finish).
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts both, once per process, within the tokio runtime that the process keeps. Every log line of a request carries
    /// its `trace_id`.
    ///
    /// A collector that is down, slow or gone costs nothing but its spans: they wait in a bounded queue and are sent by a
    /// thread of their own.
    #[must_use]
    pub fn start(config: &TelemetryConfig) -> Self {
        let provider = config.endpoint.as_ref().map(|endpoint| provider(endpoint, &config.service));
        let (provider, failure) = match provider {
            Some(Ok(provider)) => (Some(provider), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        let layer = provider.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("token-server"))
                .with_location(false)
                .with_threads(false);
            Box::new(layer) as ExtraLayer
        });
        token_shell::start_json_log_with(config.level, Some(current_trace_id), layer);
        if let Some(failure) = failure {
            tracing::warn!(error = failure, "no traces are exported");
        }
        Self { provider }
    }

    /// Sends what is left, for at most `within`.
    pub async fn finish(self, within: Duration) {
        let Some(provider) = self.provider else { return };
        let sending = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(within));
        match tokio::time::timeout(within, sending).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the last traces were not taken by the collector"),
            Ok(Err(_)) | Err(_) => tracing::warn!("the last traces were not taken by the collector in time"),
        }
    }
}

fn provider(endpoint: &str, service: &str) -> Result<SdkTracerProvider, String> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_secs(3))
        .build()
        .map_err(|error| error.to_string())?;
    let batch = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(Duration::from_secs(2));
    let processor = BatchSpanProcessor::builder(Reporting { exporter, failing: AtomicBool::new(false) })
        .with_batch_config(batch.build())
        .build();
    let resource = Resource::builder().with_service_name(service.to_owned()).build();
    Ok(SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build())
}

/// Says in the log when spans begin to be lost, and when they arrive again: once each, not once per batch.
#[derive(Debug)]
struct Reporting {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Reporting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        match (&outcome, self.failing.swap(outcome.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, "the collector takes no traces; they are dropped until it does");
            }
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
