//! Against a real OpenBao, and against servers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod client;
mod issuers;
mod keys;
mod oauth;
mod tls;
mod transit;
mod transit_faults;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use token_remote::{ClientOptions, HttpsClient, RemoteUrl};

/// The default bounds, shortened so that a stall of a server that answers at once does not hold up the suite.
pub(crate) fn impatient() -> ClientOptions {
    ClientOptions {
        connect: Duration::from_millis(700),
        total: Duration::from_millis(1_000),
        max_body: 64 * 1024,
        ..ClientOptions::default()
    }
}

/// For real servers on a busy machine.
pub(crate) fn patient() -> ClientOptions {
    ClientOptions { connect: Duration::from_secs(10), total: Duration::from_secs(20), ..ClientOptions::default() }
}

pub(crate) fn client(options: &ClientOptions) -> Arc<HttpsClient> {
    Arc::new(HttpsClient::new(options).unwrap())
}

pub(crate) fn url(text: &str) -> RemoteUrl {
    text.parse().unwrap()
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `task` with every event and span of this thread, on which its whole runtime is, captured down to TRACE.
pub(crate) fn log_of(task: impl Future<Output = ()>) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::trace!("the capture works");
        runtime.block_on(task);
    });
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the capture works"));
    log
}
