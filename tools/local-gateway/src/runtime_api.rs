//! The Lambda Runtime API (version 2018-06-01) of one execution environment, on its own loopback port.

mod session;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot, watch};

pub use session::{Init, Invocation, Next, Outcome, Refused, Session};

use crate::server::{self, BodyError, Server};

/// Lambda's limit for an answer.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;
const PREFIX: &str = "/2018-06-01/runtime/";

/// A running Runtime API; dropping it closes its port.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: Server,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    function_arn: String,
    session: Mutex<Session>,
    /// Wakes the waiting `next` call.
    submitted: Notify,
    init: watch::Sender<Init>,
}

impl RuntimeApi {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When no loopback port can be had.
    pub async fn start(function_arn: String) -> std::io::Result<Self> {
        let (listener, address) = server::bind(0).await?;
        let shared = Arc::new(Shared {
            address,
            function_arn,
            session: Mutex::default(),
            submitted: Notify::new(),
            init: watch::Sender::new(Init::Pending),
        });
        let handler = {
            let shared = Arc::clone(&shared);
            move |request, _peer| Arc::clone(&shared).handle(request)
        };
        Ok(Self { address, shared, _server: server::serve(listener, handler) })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came of the function's initialisation, once that is known.
    pub async fn initialised(&self) -> Init {
        let mut init = self.shared.init.subscribe();
        match init.wait_for(|init| *init != Init::Pending).await {
            Ok(init) => init.clone(),
            // The sender lives in `self.shared`.
            Err(_) => Init::Failed("the Runtime API is gone".to_owned()),
        }
    }

    /// Hands an event to the function; the receiver yields how it ended.
    #[must_use]
    pub fn submit(&self, invocation: Invocation) -> oneshot::Receiver<Outcome> {
        let outcome = self.shared.session().submit(invocation);
        // A permit is stored if `next` is not waiting yet.
        self.shared.submitted.notify_one();
        outcome
    }

    /// Whether the environment can take another event.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.session().is_alive()
    }

    /// How the process that this API serves reports its end.
    pub(crate) fn end_reporter(&self) -> impl FnOnce(String) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |why| {
            shared.session().end(why);
            shared.announce();
        }
    }
}

impl Shared {
    /// The state. A poisoned lock is used on: every change is made by one assignment.
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        let init = self.session().init().clone();
        self.init.send_if_modified(|known| {
            let changed = *known != init;
            *known = init;
            changed
        });
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // A web page that resolves its own name to this address (DNS rebinding) must not read events.
        let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
        if host != Some(self.address.to_string().as_bytes()) {
            return error(StatusCode::FORBIDDEN, "InvalidHost", "expected this API's own address in Host");
        }
        let path = request.uri().path().to_owned();
        let Some(call) = path.strip_prefix(PREFIX) else { return not_found() };
        let segments: Vec<&str> = call.split('/').collect();
        match (request.method(), &segments[..]) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                let outcome = match body_error(request.headers()) {
                    Some(message) => Outcome::Error(message),
                    None => match server::collect(request.into_body(), MAX_ANSWER_BYTES).await {
                        Ok(body) => Outcome::Response(body),
                        Err(BodyError::TooLong) => Outcome::TooLarge,
                        Err(BodyError::Broken) => return error(StatusCode::BAD_REQUEST, "BrokenBody", "body cut off"),
                    },
                };
                self.finish(id, outcome)
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                let body = server::collect(request.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
                self.finish(id, Outcome::Error(body))
            }
            (&Method::POST, ["init", "error"]) => {
                let body = server::collect(request.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
                let result = self.session().init_error(error_message(&body));
                self.announce();
                accepted(result)
            }
            _ => not_found(),
        }
    }

    async fn next(&self) -> Response<Full<Bytes>> {
        let invocation = loop {
            let submitted = self.submitted.notified();
            let next = self.session().next_event();
            self.announce();
            match next {
                Ok(Next::Event(invocation)) => break invocation,
                Ok(Next::Wait) => submitted.await,
                Err(refused) => return accepted(Err(refused)),
            }
        };
        let mut response = Response::new(Full::new(invocation.event));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("lambda-runtime-aws-request-id", invocation.request_id),
            ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
            ("lambda-runtime-invoked-function-arn", self.function_arn.clone()),
            ("lambda-runtime-trace-id", invocation.trace_id),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }

    fn finish(&self, id: &str, outcome: Outcome) -> Response<Full<Bytes>> {
        let too_large = outcome == Outcome::TooLarge;
        let result = self.session().finish(id, outcome);
        if too_large && result.is_ok() {
            let message = format!("expected at most {MAX_ANSWER_BYTES} bytes, found more");
            return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
        }
        accepted(result)
    }
}

/// A streamed response that failed says so in a header: it is an error then.
fn body_error(headers: &HeaderMap) -> Option<Bytes> {
    headers.get("lambda-runtime-function-error-type").map(|kind| Bytes::copy_from_slice(kind.as_bytes()))
}

/// The text of an error report, `{"errorMessage", "errorType", …}`, or whatever was sent.
pub(crate) fn error_message(report: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(report).ok();
    let field = |name: &str| parsed.as_ref().and_then(|value| value.get(name)).and_then(Value::as_str);
    match (field("errorType"), field("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message.to_owned(),
        _ => String::from_utf8_lossy(report).into_owned(),
    }
}

fn accepted(result: Result<(), Refused>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => answer(StatusCode::ACCEPTED, &json!({"status": "OK"})),
        Err(refused @ Refused::InvalidStateTransition) => {
            error(StatusCode::FORBIDDEN, "InvalidStateTransition", &refused.to_string())
        }
        Err(refused @ Refused::InvalidRequestId) => {
            error(StatusCode::BAD_REQUEST, "InvalidRequestID", &refused.to_string())
        }
    }
}

fn not_found() -> Response<Full<Bytes>> {
    error(StatusCode::NOT_FOUND, "NotFound", "no such call")
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({"errorType": kind, "errorMessage": message}))
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
