//! Against moto (a real server of AWS's wire format) and against a scripted store that misbehaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

mod faults;
mod kms;
mod moto;
mod rotation;
mod secrecy;
mod tls;

use std::time::Duration;

use token_aws::{AwsClients, Bounds};

/// The default bounds, shortened so that a stall of the scripted store, which answers at once, does not hold up the suite.
const IMPATIENT: Bounds = Bounds {
    connect: Duration::from_millis(500),
    attempt: Duration::from_millis(500),
    operation: Duration::from_millis(2_000),
    attempts: 3,
};

/// For moto, which loads a service when it is first called, on a busy machine.
const PATIENT: Bounds = Bounds {
    connect: Duration::from_secs(10),
    attempt: Duration::from_secs(10),
    operation: Duration::from_secs(10),
    attempts: 3,
};

/// Clients in exactly this environment.
fn clients(environment: &[(String, String)], bounds: Bounds) -> AwsClients {
    let get = |name: &str| environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    AwsClients::with_bounds(get, bounds).unwrap()
}
