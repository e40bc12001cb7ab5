//! One request through the Lambda.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _, Response};
use token_http::{Published, WellKnown, without_stage};
use token_issuance::{LoadError, PublishedLoader, Refreshing};
use token_shell::{Clock, MetricRecord, Problems, Unit};

use crate::config::Config;

/// CloudWatch's namespace for this Lambda.
const NAMESPACE: &str = "Jwks";

/// The Lambda, ready to answer.
pub struct App {
    well_known: WellKnown,
    keys: Refreshing<PublishedLoader>,
    clock: Box<dyn Clock>,
    metrics: Mutex<Box<dyn Write + Send>>,
}

impl App {
    /// The Lambda with its key set read, if there is one yet: before the first rotation there is none, and that is a 503
    /// with `Retry-After`, not a misconfiguration.
    ///
    /// # Errors
    /// `problems`, when there are any.
    pub async fn start(
        config: Config,
        problems: Problems,
        clock: Box<dyn Clock>,
        metrics: Box<dyn Write + Send>,
    ) -> Result<Self, Problems> {
        let Config { published, well_known, refresh_s, stale_if_error_s, log_level: _ } = config;
        let parts = published.zip(well_known).zip(refresh_s.zip(stale_if_error_s));
        let ((published, well_known), (refresh_s, stale_s)) = problems.into_result(parts)?;
        let keys = Refreshing::new(PublishedLoader::new(published, stale_s), refresh_s);
        // A failure is in the log, and the first request tries again.
        let _ = keys.warm(clock.now()).await;
        Ok(Self { well_known, keys, clock, metrics: Mutex::new(metrics) })
    }

    /// Answers one request: the key set, the metadata, or why not.
    pub async fn handle(&self, request: &Request) -> Response<String> {
        let now = self.clock.now();
        let current = self.keys.current(now).await;
        let published = match &current {
            Ok(current) => Published::Keys(&current.value),
            Err(not_usable) if matches!(not_usable.error, LoadError::Poisoned(_)) => Published::Poisoned,
            Err(not_usable) => Published::Unavailable { retry_after_s: not_usable.retry_after_s },
        };
        let path = without_stage(request.raw_http_path(), stage(request));
        let response = self.well_known.answer(request.method(), &path, request.headers(), published, now);

        let count = |counted: bool| if counted { 1.0 } else { 0.0 };
        let mut record = MetricRecord::new(NAMESPACE)
            .metric("Poisoned", Unit::Count, count(matches!(published, Published::Poisoned)))
            .metric("Unavailable", Unit::Count, count(matches!(published, Published::Unavailable { .. })))
            .metric("LastGood", Unit::Count, count(current.as_ref().is_ok_and(|current| current.failing)));
        #[expect(clippy::cast_precision_loss, reason = "an age in seconds is far below 2^52")]
        if let Ok(current) = &current {
            record = record.metric("KeySetAge", Unit::Seconds, current.age_s as f64);
        }
        record.emit(now, &mut **self.metrics.lock().unwrap_or_else(PoisonError::into_inner));
        response
    }
}

/// The stage of the request, empty where there is none.
fn stage(request: &Request) -> &str {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV1(context)) => context.stage.as_deref(),
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.as_deref(),
        _ => None,
    }
    .unwrap_or_default()
}
