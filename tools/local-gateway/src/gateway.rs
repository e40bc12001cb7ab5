//! The gateway itself: routes, authentication, resource policy, event, function, answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use token_shell::{Clock, IdSource};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::console::Console;
use crate::event::{self, REGION, RequestIds};
use crate::function::{Function, INTEGRATION_TIMEOUT, InvokeError};
use crate::policy::{self, Verdict};
use crate::principals::{Principals, SamplePrincipal};
use crate::reply::{self, GatewayError};
use crate::server::{self, BodyError, Server};
use crate::sigv4;

/// API Gateway's limit for a request body.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// What the gateway needs to answer.
pub struct Gateway {
    /// Who may sign.
    pub principals: Principals,
    /// The organization that may call `POST /token`.
    pub organization: String,
    /// The function behind `POST /token`.
    pub issuer: Arc<Function>,
    /// The function behind `GET /.well-known/*`.
    pub jwks: Arc<Function>,
    /// Where events are kept, if they are.
    pub recorder: Option<Recorder>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where request ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Where each request is reported.
    pub console: Arc<dyn Console>,
}

/// A running gateway; dropping it closes its port.
#[derive(Debug)]
pub struct Serving {
    _server: Server,
}

/// Which function a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// `POST /token`, `AWS_IAM`.
    Token,
    /// `GET` and `HEAD` `/.well-known/*`, anonymous.
    WellKnown,
}

impl Route {
    /// Paths are compared as sent: what is encoded or has dot segments is no route.
    fn of(method: &Method, path: &str) -> Option<Self> {
        if path == "/token" {
            return (method == Method::POST).then_some(Self::Token);
        }
        let name = path.strip_prefix("/.well-known/")?;
        let plain = !name.is_empty() && !name.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        (plain && (method == Method::GET || method == Method::HEAD)).then_some(Self::WellKnown)
    }
}

impl Gateway {
    /// Answers every request on `listener`.
    #[must_use]
    pub fn serve(self: Arc<Self>, listener: TcpListener, port: u16) -> Serving {
        let handler = move |request, peer| {
            let gateway = Arc::clone(&self);
            async move { gateway.answer(request, peer, port).await }
        };
        Serving { _server: server::serve(listener, handler) }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, port: u16) -> Response<Full<Bytes>> {
        let now = self.clock.now();
        let fresh = [self.ids.next_id(), self.ids.next_id(), self.ids.next_id()];
        let ids = RequestIds::new([&fresh[0], &fresh[1], &fresh[2]], now);
        let (parts, body) = request.into_parts();
        let (result, name) = match timeout(INTEGRATION_TIMEOUT, self.admit(&parts, body, now)).await {
            Ok(Ok(admitted)) => {
                let name = admitted.principal.map_or("anonymous", SamplePrincipal::name).to_owned();
                (self.forward(&parts, &admitted, peer, port, &ids, now).await, name)
            }
            Ok(Err(error)) => (Err(error), "not admitted".to_owned()),
            Err(_) => (Err(GatewayError::BadRequest), "not admitted".to_owned()),
        };
        let why = result.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
        let response = result.unwrap_or_else(|error| error.response(&ids));
        // The path is the caller's: escaped, and bounded.
        let path: String = parts.uri.path().chars().take(200).flat_map(char::escape_debug).collect();
        self.console.line(&format!("{} {path} {} ({name}{why})", parts.method, response.status().as_u16()));
        response
    }

    /// Route, body, signature and policy, in API Gateway's order.
    async fn admit(&self, parts: &Parts, body: Incoming, now: Timestamp) -> Result<Admitted<'_>, GatewayError> {
        let route = Route::of(&parts.method, parts.uri.path()).ok_or(GatewayError::NoRoute)?;
        let body = server::collect(body, MAX_BODY_BYTES).await.map_err(|error| match error {
            BodyError::TooLong => GatewayError::TooLong,
            BodyError::Broken => GatewayError::BadRequest,
        })?;
        let principal = match route {
            Route::WellKnown => None,
            Route::Token => Some(self.authorize(parts, &body, now)?),
        };
        Ok(Admitted { route, body, principal })
    }

    fn authorize(&self, parts: &Parts, body: &[u8], now: Timestamp) -> Result<&SamplePrincipal, GatewayError> {
        let arrived = sigv4::Arrived {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body,
        };
        let principal = sigv4::verify(arrived, REGION, &self.principals, now)?;
        let denied = |explicit| GatewayError::Denied {
            user: principal.arn().to_owned(),
            path: parts.uri.path().to_owned(),
            explicit,
        };
        match policy::judge(principal, &self.organization) {
            Verdict::Allow => Ok(principal),
            Verdict::ImplicitDeny => Err(denied(false)),
            Verdict::ExplicitDeny => Err(denied(true)),
        }
    }

    async fn forward(
        &self,
        parts: &Parts,
        admitted: &Admitted<'_>,
        peer: SocketAddr,
        port: u16,
        ids: &RequestIds,
        now: Timestamp,
    ) -> Result<Response<Full<Bytes>>, GatewayError> {
        let event = event::event(&event::Incoming {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &admitted.body,
            principal: admitted.principal,
            source_ip: peer.ip(),
            port,
            ids,
            now,
        });
        let payload = Bytes::from(event.to_string());
        let (function, name) = match admitted.route {
            Route::Token => (&self.issuer, "token"),
            Route::WellKnown => (&self.jwks, "well-known"),
        };
        if let Some(recorder) = &self.recorder
            && let Err(error) = recorder.keep(name, event).await
        {
            self.console.line(&format!("--record: {error}"));
        }
        // A segment's id: 16 hexadecimal digits.
        let parent: String = ids.request_id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        let trace_id = format!("{};Parent={parent};Sampled=0", ids.trace_id);
        let answer = function.invoke(ids.request_id.clone(), payload, trace_id).await.map_err(|error| {
            self.console.line(&error.to_string());
            match error {
                InvokeError::TimedOut { .. } => GatewayError::TimedOut,
                InvokeError::Failed { .. } | InvokeError::Start(_) => GatewayError::Function,
            }
        })?;
        reply::translate(&answer, ids).map_err(|why| {
            self.console.line(&why);
            GatewayError::Function
        })
    }
}

struct Admitted<'a> {
    route: Route,
    body: Bytes,
    principal: Option<&'a SamplePrincipal>,
}

/// Keeps events as files, one each, for replay.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    next: AtomicU64,
}

impl Recorder {
    /// Keeps events in `directory`, which is made if need be; numbers go on from those that are there.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn new(directory: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let mut last = 0_u64;
        for entry in std::fs::read_dir(&directory)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.split('-').next()).and_then(|number| number.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(Self { directory, next: AtomicU64::new(last.saturating_add(1)) })
    }

    /// Writes `0001-token.json` and so on: the event as the function got it, but for session tokens. No file is overwritten:
    /// a number that another gateway has taken meanwhile is passed over.
    async fn keep(&self, name: &str, event: Value) -> std::io::Result<()> {
        let text = format!("{:#}\n", event::redacted(event));
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!("{number:04}-{name}.json"));
            let mut options = tokio::fs::OpenOptions::new();
            match options.write(true).create_new(true).mode(0o600).open(&path).await {
                Ok(mut file) => {
                    use tokio::io::AsyncWriteExt as _;
                    file.write_all(text.as_bytes()).await?;
                    return file.flush().await;
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::Route;

    #[test]
    fn routes_are_the_apis_and_nothing_else() {
        for (method, path, route) in [
            (Method::POST, "/token", Some(Route::Token)),
            (Method::GET, "/.well-known/jwks.json", Some(Route::WellKnown)),
            (Method::HEAD, "/.well-known/openid-configuration", Some(Route::WellKnown)),
            (Method::GET, "/.well-known/a/b", Some(Route::WellKnown)),
            (Method::GET, "/token", None),
            (Method::POST, "/token/", None),
            (Method::POST, "//token", None),
            (Method::POST, "/Token", None),
            (Method::POST, "/v1/token", None),
            (Method::POST, "/%74oken", None),
            (Method::POST, "/.well-known/../token", None),
            (Method::POST, "/.well-known/jwks.json", None),
            (Method::GET, "/.well-known/", None),
            (Method::GET, "/.well-known", None),
            (Method::GET, "/.well-known/../token", None),
            (Method::OPTIONS, "*", None),
            (Method::GET, "/", None),
        ] {
            assert_eq!(Route::of(&method, path), route, "{method} {path}");
        }
    }
}
