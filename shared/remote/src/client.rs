//! One HTTP client for all that is remote: bounded in time and size, and going nowhere that nobody configured.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use token_jose::strict_json::{self, Limits};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use zeroize::Zeroizing;

use crate::error::RemoteError;
use crate::roots;
use crate::text::{deepest, quoted};
use crate::url::RemoteUrl;

/// How deep the JSON of an answer may nest.
const MAX_DEPTH: usize = 32;

/// The longest `Retry-After` that is believed, in seconds.
const MAX_RETRY_AFTER_S: u64 = 3_600;

/// How a client behaves. The defaults suit a call on the request path.
#[derive(Clone)]
pub struct ClientOptions {
    /// The longest that name resolution, TCP and TLS together may take (2 s).
    pub connect: Duration,
    /// The longest that a whole call may take, from its start to the last byte of the answer (5 s).
    pub total: Duration,
    /// The most bytes of a body that are read (256 KiB).
    pub max_body: usize,
    /// CA certificates in PEM that are trusted beside the embedded roots.
    pub ca_pem: Option<Vec<u8>>,
    /// A certificate chain and its private key in PEM, with which this process answers a server that asks who it is.
    pub identity_pem: Option<Zeroizing<Vec<u8>>>,
    /// The HTTP proxy that every request goes through, for those who want one. `HTTPS_PROXY` and its like are never read.
    pub proxy: Option<RemoteUrl>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(5),
            max_body: 256 * 1024,
            ca_pem: None,
            identity_pem: None,
            proxy: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("connect", &self.connect)
            .field("total", &self.total)
            .field("max_body", &self.max_body)
            .field("ca_pem", &self.ca_pem.as_ref().map(Vec::len))
            .field("identity_pem", &self.identity_pem.is_some())
            .field("proxy", &self.proxy)
            .finish()
    }
}

/// What a POST sends.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// `application/x-www-form-urlencoded` of these names and values.
    Form(&'a [(&'a str, &'a str)]),
    /// `application/json`.
    Json(&'a Value),
    /// Nothing.
    Empty,
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form(_) => "Form(hidden)",
            Self::Json(_) => "Json(hidden)",
            Self::Empty => "Empty",
        })
    }
}

/// A whole answer, whatever its status. `Debug` shows no header and no body.
#[derive(Clone)]
pub struct Reply {
    /// The status. 3xx is an answer like any other: redirects are not followed.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`ClientOptions::max_body`] bytes.
    pub body: Bytes,
    at: String,
}

impl Reply {
    /// This answer if it is a success (2xx).
    ///
    /// # Errors
    /// [`RemoteError::Redirect`] or [`RemoteError::Status`].
    pub fn success(self) -> Result<Self, RemoteError> {
        match self.status {
            200..300 => Ok(self),
            status @ 300..400 => Err(RemoteError::Redirect { at: self.at, status }),
            status => {
                let retry_after_s = self.retry_after_s();
                Err(RemoteError::Status { at: self.at, status, retry_after_s })
            }
        }
    }

    /// The body as JSON, read strictly: one reading or none.
    ///
    /// # Errors
    /// [`RemoteError::Json`].
    pub fn json(&self) -> Result<Value, RemoteError> {
        strict_json::parse(&self.body, Limits::new(self.body.len(), MAX_DEPTH))
            .map_err(|error| RemoteError::Json { at: self.at.clone(), error })
    }

    /// What `Retry-After` says in seconds (RFC 9110 section 10.2.3), at most an hour. Its form with a date is not read.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        let value = self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
        let digits = !value.is_empty() && value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| value.parse::<u64>().ok()).flatten().map(|seconds| seconds.min(MAX_RETRY_AFTER_S))
    }

    /// This answer's address, for messages.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("at", &self.at)
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Calls remote addresses over HTTP/1.1 and TLS.
///
/// - Redirects are not followed, cookies not kept, compression not offered, nothing is sent twice.
/// - The environment's proxies are not used.
/// - A call ends within [`ClientOptions::total`], and no more than [`ClientOptions::max_body`] bytes of a body are read,
///   whatever the other end does.
/// - Neither errors nor logs, at any level, contain a header or a body.
///
/// HTTP/1.1 because a stalled connection then stalls one call; what is called here is small.
///
/// ```no_run
/// use token_remote::{ClientOptions, HttpsClient};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpsClient::new(&ClientOptions::default())?;
/// let url = "https://issuer.example/.well-known/jwks.json".parse()?;
/// let keys = client.get(&url, &[("accept", "application/json")]).await?.success()?.json()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpsClient {
    inner: reqwest::Client,
    total: Duration,
    max_body: usize,
}

impl HttpsClient {
    /// A client with these options. Connects nowhere.
    ///
    /// # Errors
    /// [`RemoteError::Options`] when certificates, key or proxy cannot be used.
    pub fn new(options: &ClientOptions) -> Result<Self, RemoteError> {
        let refused = |option| move |error: reqwest::Error| RemoteError::Options { option, detail: deepest(&error) };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(roots::tls(options)?)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("jwt-issuer/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(16);
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(refused("proxy"))?);
        }
        let inner = builder.build().map_err(refused("client"))?;
        Ok(Self { inner, total: options.total, max_body: options.max_body })
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// [`RemoteError`] when there is no whole answer. A status is not an error: see [`Reply::success`].
    pub async fn get(&self, url: &RemoteUrl, headers: &[(&str, &str)]) -> Result<Reply, RemoteError> {
        self.call(Method::GET, url, headers, Body::Empty).await
    }

    /// Sends a POST request.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&self, url: &RemoteUrl, headers: &[(&str, &str)], body: Body<'_>) -> Result<Reply, RemoteError> {
        self.call(Method::POST, url, headers, body).await
    }

    async fn call(
        &self,
        method: Method,
        url: &RemoteUrl,
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Reply, RemoteError> {
        let mut request = reqwest::Request::new(method, url.url().clone());
        let (content_type, content) = match body {
            Body::Form(pairs) => {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                (Some("application/x-www-form-urlencoded"), Some(form.into_bytes()))
            }
            Body::Json(value) => (Some("application/json"), Some(value.to_string().into_bytes())),
            Body::Empty => (None, None),
        };
        if let Some(content_type) = content_type {
            request.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        *request.body_mut() = content.map(reqwest::Body::from);
        for (name, value) in headers {
            let refused = || RemoteError::Header { name: quoted(name) };
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
            // Any of them may be a credential.
            value.set_sensitive(true);
            request.headers_mut().insert(header, value);
        }
        // The libraries below log what they do; at TRACE some of it is what was sent.
        let call = self.answer(request, url).with_subscriber(NoSubscriber::default());
        match tokio::time::timeout(self.total, call).await {
            Ok(reply) => reply,
            Err(_) => Err(RemoteError::Timeout { at: url.shown(), limit_ms: self.total.as_millis() }),
        }
    }

    async fn answer(&self, request: reqwest::Request, url: &RemoteUrl) -> Result<Reply, RemoteError> {
        let mut response = self.inner.execute(request).await.map_err(|error| self.failed(url, &error))?;
        let too_large = || RemoteError::TooLarge { at: url.shown(), limit: self.max_body };
        if response.content_length().is_some_and(|length| length > self.max_body as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(url, &error))? {
            if body.len() + chunk.len() > self.max_body {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Reply { status: response.status().as_u16(), headers, body: body.into(), at: url.shown() })
    }

    fn failed(&self, url: &RemoteUrl, error: &reqwest::Error) -> RemoteError {
        let (at, detail) = (url.shown(), deepest(error));
        if error.is_connect() {
            let detail = if error.is_timeout() { "timed out".to_owned() } else { detail };
            RemoteError::Connect { at, detail }
        } else if error.is_timeout() {
            RemoteError::Timeout { at, limit_ms: self.total.as_millis() }
        } else {
            RemoteError::Interrupted { at, detail }
        }
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient")
            .field("total", &self.total)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}
