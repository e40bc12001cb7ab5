//! Ports, and waiting with a deadline and a name.

use std::future::Future;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// A port of loopback that nobody listens on now. Another process may take it before the caller does: servers of ours
/// bind port 0 themselves, and this is for those that cannot.
///
/// # Panics
/// When loopback has no free port.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Asks `probe` until it has an answer.
///
/// # Panics
/// When it has none `within` the time given; the message names `what`.
pub async fn wait_for<T, F, Answer>(what: &str, within: Duration, mut probe: F) -> T
where
    F: FnMut() -> Answer,
    Answer: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// [`wait_for`] outside of `async` code.
///
/// # Panics
/// As [`wait_for`].
pub fn wait_until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        std::thread::sleep(PAUSE);
    }
}
