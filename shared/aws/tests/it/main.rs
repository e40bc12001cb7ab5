//! Against moto (a real server of AWS's wire format) and against a scripted store that misbehaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod faults;
mod moto;
mod secrecy;

use std::time::Duration;

use token_aws::{AwsClients, Bounds};

/// The default bounds, shortened so that a stall does not hold up the suite.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_millis(500),
    attempt: Duration::from_millis(500),
    operation: Duration::from_millis(2_000),
    attempts: 3,
};

/// Clients in exactly this environment.
fn clients(environment: &[(String, String)]) -> AwsClients {
    let get = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    AwsClients::with_bounds(get, BOUNDS).unwrap()
}
