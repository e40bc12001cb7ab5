//! One connection: hyper, watched so that a peer that sends or takes nothing cannot hold it.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::listen::Peer;
use crate::server::{App, Open};
use crate::tls::PeerIdentity;

/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 128;
/// HTTP/2 peers are asked for a sign of life this often, and have this long to give it.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// How long an idle connection has to say goodbye, and the longest time between two looks at a connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// Options of the socket. A peer that acknowledges nothing is given up by the kernel after `stall`, not after 15 minutes.
pub(crate) fn tune(stream: &TcpStream, stall: Duration) {
    // None of these can fail on a live TCP socket, and a dead one is noticed by its first read.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
    #[cfg(target_os = "linux")]
    {
        let milliseconds = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<Io>(io: Io, peer: Peer, identity: Option<PeerIdentity>, h2: bool, app: App, open: Open)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = Arc::clone(app.limits());
    let activity = Activity::new(h2);
    let io = TokioIo::new(WatchedIo { io, activity: Arc::clone(&activity), fresh: true });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The watch below tells a slow head from an idle connection, which hyper's own timeout does not.
        .header_read_timeout(None)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let service = {
        let (app, activity) = (app.clone(), Arc::clone(&activity));
        hyper::service::service_fn(move |request| {
            let busy = Busy::begin(&activity, app.limits());
            let (app, identity) = (app.clone(), identity.clone());
            async move { Ok::<_, Infallible>(app.answer(request, peer, identity, busy).await) }
        })
    };
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(addr = %peer.addr, error, "a connection ended");
                }
                break;
            }
            () = app.closing(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(look_every(&limits)) => match activity.look(&limits, leaving) {
                Look::Fine => {}
                Look::Idle if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                Look::Idle => break,
                Look::Stuck(why) => {
                    app.cut(why);
                    tracing::debug!(addr = %peer.addr, why, "a connection is cut off");
                    break;
                }
            },
            () = app.deadline() => {
                if activity.requests.load(Ordering::Relaxed) > 0 {
                    app.cut("drain");
                }
                break;
            }
        }
    }
    drop(open);
}

/// How often a connection is looked at: an end comes at most this much late.
fn look_every(limits: &Limits) -> Duration {
    let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.stall_timeout).min(limits.request_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), GOODBYE)
}

/// What a look at a connection finds.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Fine,
    /// Nothing goes on.
    Idle,
    /// The peer holds it up; the word is a metric's label.
    Stuck(&'static str),
}

/// What goes on in a connection. Times are milliseconds since `start`, plus one; 0 is "not now".
#[derive(Debug)]
struct Activity {
    start: Instant,
    h2: AtomicBool,
    requests: AtomicUsize,
    streams: AtomicUsize,
    /// A head has begun to arrive (or the first one has yet to).
    head_since: AtomicU64,
    idle_since: AtomicU64,
    blocked_since: AtomicU64,
    busy_until: AtomicU64,
}

impl Activity {
    fn new(h2: bool) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            h2: AtomicBool::new(h2),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            head_since: AtomicU64::new(1),
            idle_since: AtomicU64::new(1),
            blocked_since: AtomicU64::new(0),
            busy_until: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        milliseconds(self.start.elapsed()).saturating_add(1)
    }

    fn look(&self, limits: &Limits, leaving: bool) -> Look {
        let now = self.now();
        let over = |since: u64, limit: Duration| since > 0 && now.saturating_sub(since) > milliseconds(limit);
        let requests = self.requests.load(Ordering::Relaxed);
        if over(self.blocked_since.load(Ordering::Relaxed), limits.stall_timeout) {
            return Look::Stuck("stalled");
        }
        if requests == 0 {
            let idle = if leaving { GOODBYE } else { limits.idle_timeout };
            return if over(self.head_since.load(Ordering::Relaxed), limits.header_timeout) {
                if self.h2.load(Ordering::Relaxed) { Look::Idle } else { Look::Stuck("slow_head") }
            } else if over(self.idle_since.load(Ordering::Relaxed), idle) {
                Look::Idle
            } else {
                Look::Fine
            };
        }
        let waits = requests > self.streams.load(Ordering::Relaxed);
        if waits && now > self.busy_until.load(Ordering::Relaxed) { Look::Stuck("slow_request") } else { Look::Fine }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request that is being answered: its connection is not idle. Ends when it is dropped, with the answer's last byte.
#[derive(Debug)]
pub(crate) struct Busy {
    activity: Arc<Activity>,
    stream: bool,
}

impl Busy {
    fn begin(activity: &Arc<Activity>, limits: &Limits) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        // The request's own deadline ends it; this is for an answer that the peer does not take.
        let until = activity.now().saturating_add(milliseconds(limits.request_timeout.saturating_mul(2)));
        activity.busy_until.fetch_max(until, Ordering::Relaxed);
        Self { activity: Arc::clone(activity), stream: false }
    }

    /// From now on the answer may take as long as it wants.
    pub(crate) fn streams(&mut self) {
        if !std::mem::replace(&mut self.stream, true) {
            self.activity.streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.stream {
            self.activity.streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.activity.idle_since.store(self.activity.now(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket, which notes when something comes and when nothing goes.
struct WatchedIo<Io> {
    io: Io,
    activity: Arc<Activity>,
    fresh: bool,
}

impl<Io> WatchedIo<Io> {
    fn came(&mut self, read: &[u8]) {
        if read.is_empty() {
            return;
        }
        if std::mem::take(&mut self.fresh) && read.starts_with(b"PRI ") {
            self.activity.h2.store(true, Ordering::Relaxed);
        }
        let between = self.activity.requests.load(Ordering::Relaxed) == 0;
        if between && !self.activity.h2.load(Ordering::Relaxed) {
            let now = self.activity.now();
            let _ = self.activity.head_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn went<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let blocked = &self.activity.blocked_since;
        if outcome.is_pending() {
            let _ = blocked.compare_exchange(0, self.activity.now(), Ordering::Relaxed, Ordering::Relaxed);
        } else {
            blocked.store(0, Ordering::Relaxed);
        }
        outcome
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WatchedIo<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.came(buffer.filled().get(before..).unwrap_or_default());
        outcome
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for WatchedIo<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.went(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.went(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.went(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.went(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
