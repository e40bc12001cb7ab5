//! Bodies: what comes in is bounded, what goes out holds on to its connection, and a stream ends when the process does.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::Busy;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Marks a response, in its extensions, as a stream without an end of its own (server-sent events): it is exempt from the
/// request timeout, counts towards [`Limits::streams`](crate::Limits::streams), and when listeners close it gets its
/// farewell and ends, so that its client can connect to another replica at once.
///
/// ```
/// use axum::body::Body;
/// use axum::response::Response;
/// use token_server::Streaming;
///
/// let mut response = Response::new(Body::from("data: 1\n\n"));
/// response.extensions_mut().insert(Streaming::with_farewell("event: shutdown\ndata: {}\n\n"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Streaming {
    farewell: Bytes,
}

impl Streaming {
    /// A stream that ends without a word.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream whose last bytes are these: whole events of its format.
    #[must_use]
    pub fn with_farewell(farewell: impl Into<Bytes>) -> Self {
        Self { farewell: farewell.into() }
    }

    pub(super) fn farewell(self) -> Farewell {
        if self.farewell.is_empty() { Farewell::Silent } else { Farewell::Bytes(self.farewell) }
    }
}

/// What a stream says before it ends.
#[derive(Debug)]
pub(super) enum Farewell {
    Silent,
    Bytes(Bytes),
    GrpcUnavailable,
}

impl Farewell {
    fn frame(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Silent => None,
            Self::Bytes(bytes) => Some(Frame::data(bytes)),
            Self::GrpcUnavailable => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("14"));
                trailers.insert("grpc-message", HeaderValue::from_static("the server ends; hint: connect again"));
                Some(Frame::trailers(trailers))
            }
        }
    }
}

/// The body of an answer.
pub(super) struct Guarded {
    body: Body,
    _busy: Busy,
    stream: Option<Stream>,
    ended: bool,
}

struct Stream {
    _permit: OwnedSemaphorePermit,
    /// `None` once it has come.
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    farewell: Farewell,
}

impl Stream {
    fn ends(&mut self, cx: &mut Context<'_>) -> bool {
        if self.closing.as_mut().is_some_and(|closing| closing.as_mut().poll(cx).is_ready()) {
            self.closing = None;
        }
        self.closing.is_none()
    }
}

impl Guarded {
    pub(super) fn answer(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy, stream: None, ended: false }
    }

    pub(super) fn stream(
        body: Body,
        busy: Busy,
        permit: OwnedSemaphorePermit,
        closing: Pin<Box<dyn Future<Output = ()> + Send>>,
        farewell: Farewell,
    ) -> Self {
        Self {
            body,
            _busy: busy,
            stream: Some(Stream { _permit: permit, closing: Some(closing), farewell }),
            ended: false,
        }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let ends = self.stream.as_mut().is_some_and(|stream| stream.ends(cx));
        // A gRPC answer may be a short one: what is ready goes out first. A marked stream may always have more.
        let marked = self.stream.as_ref().is_some_and(|stream| !matches!(stream.farewell, Farewell::GrpcUnavailable));
        if !(ends && marked) {
            let frame = Pin::new(&mut self.body).poll_frame(cx);
            if frame.is_ready() || !ends {
                return frame;
            }
        }
        let farewell = self.stream.take().and_then(|stream| stream.farewell.frame());
        self.ended = true;
        Poll::Ready(farewell.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// How far a request's body has come.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<AtomicU8>);

const UNREAD: u8 = 0;
const WAITED_FOR: u8 = 1;
const ENDED: u8 = 2;
const TOO_LARGE: u8 = 3;

impl Progress {
    /// Whether the handler waits for the peer to send more.
    pub(super) fn is_waited_for(&self) -> bool {
        self.0.load(Ordering::Relaxed) == WAITED_FOR
    }

    /// Whether the body was found to be larger than it may be.
    pub(super) fn is_too_large(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TOO_LARGE
    }
}

/// A request's body of at most `most` bytes, and how far it has come.
pub(super) fn limited(body: Incoming, most: usize) -> (Body, Progress) {
    let progress = Progress(Arc::new(AtomicU8::new(UNREAD)));
    (Body::new(Received { body: Limited::new(body, most), progress: progress.clone() }), progress)
}

struct Received {
    body: Limited<Incoming>,
    progress: Progress,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let progress = match &frame {
            Poll::Pending => WAITED_FOR,
            Poll::Ready(Some(Ok(_))) => UNREAD,
            Poll::Ready(Some(Err(error))) if error.is::<LengthLimitError>() => TOO_LARGE,
            Poll::Ready(_) => ENDED,
        };
        self.progress.0.store(progress, Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
