//! Warm issuers in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use token_issuance::SourceError;
use token_issuance::rotation::{Recycled, WarmIssuers};

/// Issuers behind an alias whose first version is 1. Clones are the same issuers.
#[derive(Clone, Debug, Default)]
pub struct MemoryIssuers {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<(String, Duration)>,
    refusing: Option<SourceError>,
}

impl MemoryIssuers {
    /// Makes every run fail with `error`, or none.
    pub fn refuse(&self, error: Option<SourceError>) {
        self.state.lock().unwrap().refusing = error;
    }

    /// The runs that were asked for, and how long each might take.
    #[must_use]
    pub fn runs(&self) -> Vec<(String, Duration)> {
        self.state.lock().unwrap().runs.clone()
    }
}

#[async_trait]
impl WarmIssuers for MemoryIssuers {
    async fn recycle(&self, run: &str, within: Duration) -> Result<Recycled, SourceError> {
        let mut state = self.state.lock().unwrap();
        state.runs.push((run.to_owned(), within));
        let from = state.runs.len();
        match &state.refusing {
            Some(error) => Err(error.clone()),
            None => Ok(Recycled { from: from.to_string(), to: (from + 1).to_string() }),
        }
    }
}
