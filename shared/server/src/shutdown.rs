//! Ending a process without dropping what it has begun.

use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::time::Instant;

/// The one end of a process, shared by everything that has to take part. Clones are handles of the same end.
///
/// Three moments follow each other:
/// 1. [`begin`](Self::begin) (SIGTERM, SIGINT, or a server that failed): readiness turns false, requests are still served;
/// 2. `grace` later, [`closing`](Self::closing): listeners stop accepting, idle connections and streams end. Load
///    balancers need the grace to see the readiness and send nobody here any more;
/// 3. `drain` later, [`deadline`](Self::deadline): what still runs is cut off.
///
/// A second signal skips what is left of the grace and of the drain.
#[derive(Clone, Debug)]
pub struct Shutdown {
    grace: Duration,
    drain: Duration,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    begun: Option<Instant>,
    hurried: bool,
}

impl Shutdown {
    /// An end that has not begun: `grace` between the readiness turning false and the listeners closing, `drain` for what
    /// is in flight then.
    #[must_use]
    pub fn new(grace: Duration, drain: Duration) -> Self {
        Self { grace, drain, state: watch::Sender::new(State::default()) }
    }

    /// Begins on SIGTERM and on SIGINT; a second one of either hurries.
    ///
    /// # Errors
    /// When the operating system takes no signal handler.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let (name, next) = match select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await {
                    Either::Left((next, _)) => ("SIGTERM", next),
                    Either::Right((next, _)) => ("SIGINT", next),
                };
                if next.is_none() {
                    return;
                }
                if shutdown.has_begun() {
                    tracing::warn!(signal = name, "a second signal: what is in flight is cut off");
                    shutdown.hurry();
                } else {
                    tracing::info!(signal = name, "the process ends: no longer ready");
                    shutdown.begin();
                }
            }
        });
        Ok(())
    }

    /// Begins the end. Again is nothing.
    pub fn begin(&self) {
        self.state.send_if_modified(|state| {
            let first = state.begun.is_none();
            if first {
                state.begun = Some(Instant::now());
            }
            first
        });
    }

    /// Begins the end, without grace and without waiting for what is in flight.
    pub fn hurry(&self) {
        self.state.send_modify(|state| {
            state.begun.get_or_insert_with(Instant::now);
            state.hurried = true;
        });
    }

    /// Whether the end has begun: the process is not ready any more.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.borrow().begun.is_some()
    }

    /// Waits until the end begins.
    pub async fn begun(&self) {
        self.after(None).await;
    }

    /// Waits until listeners close and streams end: the beginning and the grace.
    pub async fn closing(&self) {
        self.after(Some(self.grace)).await;
    }

    /// Waits until what still runs is cut off.
    pub async fn deadline(&self) {
        self.after(Some(self.grace.saturating_add(self.drain))).await;
    }

    async fn after(&self, pause: Option<Duration>) {
        let mut changes = self.state.subscribe();
        // The sender is `self`: these waits cannot fail while they are awaited.
        let Ok(begun) = changes.wait_for(|state| state.begun.is_some()).await.map(|state| state.begun) else { return };
        let (Some(pause), Some(begun)) = (pause, begun) else { return };
        let hurried = changes.wait_for(|state| state.hurried);
        match begun.checked_add(pause) {
            Some(moment) => drop(tokio::time::timeout_at(moment, hurried).await),
            // So long a pause that no clock shows its end.
            None => drop(hurried.await),
        }
    }
}

impl Default for Shutdown {
    /// No grace, and ten seconds for what is in flight.
    fn default() -> Self {
        Self::new(Duration::ZERO, Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_three_moments_follow_each_other() {
        let shutdown = Shutdown::new(Duration::from_secs(5), Duration::from_secs(20));
        assert!(!shutdown.has_begun());
        let start = Instant::now();
        shutdown.begin();
        shutdown.begin();
        assert!(shutdown.has_begun());
        shutdown.begun().await;
        assert_eq!(start.elapsed().as_secs(), 0);
        shutdown.closing().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        shutdown.deadline().await;
        assert_eq!(start.elapsed().as_secs(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_skips_grace_and_drain_of_those_who_already_wait() {
        let shutdown = Shutdown::new(Duration::from_secs(5), Duration::from_secs(20));
        let waits = shutdown.clone();
        let waiting = tokio::spawn(async move { waits.deadline().await });
        shutdown.begin();
        tokio::task::yield_now().await;
        let start = Instant::now();
        shutdown.hurry();
        waiting.await.unwrap();
        shutdown.closing().await;
        assert_eq!(start.elapsed().as_secs(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_beyond_every_clock_is_no_panic() {
        let shutdown = Shutdown::new(Duration::MAX, Duration::MAX);
        shutdown.begin();
        assert!(tokio::time::timeout(Duration::from_secs(3600), shutdown.closing()).await.is_err());
        shutdown.hurry();
        shutdown.deadline().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_ends_before_it_begins() {
        let shutdown = Shutdown::default();
        let waits = tokio::time::timeout(Duration::from_secs(3600), shutdown.deadline());
        assert!(waits.await.is_err());
    }
}
