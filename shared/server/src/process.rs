//! A process of several parts that live and end together, and what it says when it cannot start.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use crate::listen::ServeError;
use crate::shutdown::Shutdown;

/// The parts of a process: listeners and background workers. When one ends before the process is told to end, by an error,
/// a panic or simply by returning, the whole process ends, and not with success.
#[derive(Debug)]
pub struct Parts {
    shutdown: Shutdown,
    names: Vec<(Id, &'static str)>,
    running: JoinSet<Result<(), String>>,
}

impl Parts {
    /// No parts yet.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, names: Vec::new(), running: JoinSet::new() }
    }

    /// Starts a part. It ends by itself when [`Shutdown::closing`] comes; one that does not is dropped at
    /// [`Shutdown::deadline`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F, E>(&mut self, name: &'static str, part: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let handle = self.running.spawn(async move { part.await.map_err(|error| error.to_string()) });
        self.names.push((handle.id(), name));
    }

    /// Waits for the end of all parts.
    ///
    /// # Errors
    /// [`ServeError::Ended`] of the first part that ended before it was told to, or with an error.
    pub async fn run(mut self) -> Result<(), ServeError> {
        let mut failed = None;
        let late = async {
            self.shutdown.deadline().await;
            // A listener says itself what it cuts off at the deadline.
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let mut late = std::pin::pin!(late);
        loop {
            let ended = tokio::select! {
                ended = self.running.join_next_with_id() => ended,
                () = late.as_mut() => {
                    tracing::warn!(parts = self.running.len(), "parts of the process are dropped at the deadline");
                    break;
                }
            };
            let (id, found) = match ended {
                None => break,
                Some(Ok((id, Ok(())))) if self.shutdown.has_begun() => (id, None),
                Some(Ok((id, Ok(())))) => (id, Some("it returned".to_owned())),
                Some(Ok((id, Err(error)))) => (id, Some(error)),
                Some(Err(error)) => (error.id(), Some("it panicked".to_owned())),
            };
            if let Some(found) = found {
                let name = self.names.iter().find(|(known, _)| *known == id).map_or("a part", |(_, name)| *name);
                tracing::error!(part = name, error = found, "a part of the process has failed; the process ends");
                failed.get_or_insert(ServeError::Ended { name, found });
                self.shutdown.begin();
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Says on standard error, in plain text, why the process does not start: one problem per line. Returns exit code 1.
///
/// Plain text even where logs are JSON: nobody reads this but the person who has just changed the configuration.
pub fn refuse_to_start(problems: &dyn fmt::Display) -> ExitCode {
    // Where standard error is closed, the exit code is all there is.
    let _ = writeln!(std::io::stderr().lock(), "{problems}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_closing(shutdown: Shutdown) -> Result<(), String> {
        shutdown.closing().await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn parts_that_end_when_told_are_a_success() {
        let shutdown = Shutdown::default();
        let mut parts = Parts::new(shutdown.clone());
        parts.spawn("one", until_closing(shutdown.clone()));
        parts.spawn("two", until_closing(shutdown.clone()));
        shutdown.begin();
        assert!(parts.run().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_returns_panics_or_fails_ends_the_others_and_is_named() {
        type Part = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
        let wrong: [(Part, &str); 3] = [
            (Box::pin(async { Ok(()) }), "found: it returned"),
            (Box::pin(async { panic!("a bug") }), "found: it panicked"),
            (Box::pin(async { Err("no route to host".to_owned()) }), "found: no route to host"),
        ];
        for (part, found) in wrong {
            let shutdown = Shutdown::default();
            let mut parts = Parts::new(shutdown.clone());
            parts.spawn("good", until_closing(shutdown.clone()));
            parts.spawn("bad", part);
            let error = parts.run().await.unwrap_err().to_string();
            assert!(error.starts_with("bad: ") && error.ends_with(found), "{error}");
            assert!(shutdown.has_begun());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_end_is_dropped_at_the_deadline() {
        let shutdown = Shutdown::default();
        let mut parts = Parts::new(shutdown.clone());
        parts.spawn("stubborn", std::future::pending::<Result<(), String>>());
        shutdown.begin();
        assert!(parts.run().await.is_ok());
    }
}
