//! The trace that a request belongs to (W3C Trace Context).

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use token_shell::{IdSource as _, OsIds};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the trace that the current request belongs to: 32 hexadecimal digits, the caller's where its `traceparent` is
/// well-formed, else a fresh one. `None` outside of a request, and in a task that a request has spawned.
///
/// It is on every log line of the request; a decision record or an error for the caller may carry it too.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// A request's span and its trace's id.
pub(crate) struct RequestTrace {
    span: Span,
    id: String,
}

impl RequestTrace {
    pub(crate) fn start(method: &Method, headers: &HeaderMap) -> Self {
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            otel.name = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
            http.request.method = known(method),
            http.route = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
        );
        let remote = TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &One(headers));
        let remote_id = remote.span().span_context().clone();
        if remote_id.is_valid() {
            // It fails where no traces are exported: then there is no span to give a parent to.
            let _ = span.set_parent(remote);
        }
        let own = span.context().span().span_context().clone();
        let id = [own, remote_id].into_iter().find(opentelemetry::trace::SpanContext::is_valid);
        let id = id.map_or_else(|| OsIds.next_id(), |context| context.trace_id().to_string());
        Self { span, id }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Runs `work` as a part of this trace.
    pub(crate) async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.id.clone(), work).await
    }

    /// Ends the span with what is known now.
    pub(crate) fn finish(self, route: Option<&str>, status: StatusCode) {
        if let Some(route) = route {
            self.span.record("http.route", route);
            self.span.record("otel.name", route);
        }
        self.span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

fn known(method: &Method) -> &str {
    if [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .contains(method)
    {
        method.as_str()
    } else {
        "_OTHER"
    }
}

/// Headers for the propagator: a name that is there twice is not there (W3C Trace Context 3.2 knows one `traceparent`), and
/// a long `tracestate` is not carried on.
struct One<'a>(&'a HeaderMap);

impl Extractor for One<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let value = values.next()?.to_str().ok()?;
        (values.next().is_none() && value.len() <= 512).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::RequestTrace;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn id(parents: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append("traceparent", HeaderValue::from_static(parent));
        }
        RequestTrace::start(&Method::GET, &headers).id
    }

    #[test]
    fn the_callers_trace_is_taken_on_when_it_is_well_formed_and_there_once() {
        // The example of W3C Trace Context section 3.2.2.
        assert_eq!(id(&[PARENT]), "4bf92f3577b34da6a3ce929d0e0e4736");
        for wrong in [
            &[][..],
            &[PARENT, PARENT],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["x"],
        ] {
            let id = id(wrong);
            assert_ne!(id.to_ascii_lowercase(), "4bf92f3577b34da6a3ce929d0e0e4736", "{wrong:?}");
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
}
