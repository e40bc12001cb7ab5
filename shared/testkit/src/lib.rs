//! The test kit: what tests of this project stand on. A dev-dependency only; nothing that ships may use it.
//!
//! What it is: values that tests would otherwise make slowly or differently each time ([`at`], [`TestClock`], [`keys`]),
//! in-memory ports ([`MemoryDocument`], [`MemorySecret`], [`MemoryPublished`]), the [`conformance`] suites that every adapter runs, and real or scripted
//! counterparts on free ports of loopback ([`Moto`], [`OpenBao`], [`Envoy`], [`Nginx`], [`ScriptedAws`], [`RemoteStub`],
//! [`Gateway`], [`Lambda`], [`Curl`]). What it is not:
//! a mock of our own code, or a place for assertions about the product.
//!
//! Invariants:
//! - what a test started ends with it: on drop, and also when the test process itself is killed ([`Process`]);
//! - a failing wait names what it waited for, and shows the output of the processes involved;
//! - a component that this machine lacks makes a test print `skipped: NAME not on this machine`, never fail.
//!
//! The servers run on threads of their own and the calls on them block, so they serve plain and `async` tests alike. Only
//! [`wait_for`] is `async`.
//!
//! ```
//! use token_testkit::{TestClock, at};
//!
//! let clock = TestClock::at("2026-11-22T00:00:00Z");
//! clock.advance(90);
//! assert_eq!(clock.now(), at("2026-11-22T00:01:30Z"));
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "test code: a failed expectation is a failed test"
)]

mod binaries;
mod certificates;
pub mod conformance;
mod curl;
mod document;
mod envoy;
mod gateway;
mod http_stub;
mod issuers;
pub mod keys;
mod lambda;
mod moto;
mod moto_secret;
mod net;
mod openbao;
mod otlp;
mod process;
mod redis;
mod remote_stub;
mod rotation;
mod scripted_aws;
mod tcp_proxy;
mod time;
mod tools;

pub use binaries::binaries;
pub use certificates::Certificates;
pub use curl::{Curl, Reply};
pub use document::MemoryDocument;
pub use envoy::{Envoy, Nginx};
pub use gateway::{Gateway, GatewayOptions, GatewayPrincipal};
pub use issuers::MemoryIssuers;
pub use lambda::{InitFailure, Invocation, Lambda};
pub use moto::Moto;
pub use moto_secret::MotoSecret;
pub use net::{free_port, wait_for, wait_until};
pub use openbao::OpenBao;
pub use otlp::OtlpCollector;
pub use process::Process;
pub use redis::{Redis, RedisCluster, RedisReply};
pub use remote_stub::{RemoteStub, StubAnswer, StubRequest};
pub use rotation::{CallScript, Fault, MemoryPublished, MemorySecret, Run, interleave, run_to_end};
pub use scripted_aws::{Behaviour, ScriptedAws, Target};
pub use tcp_proxy::{LineFault, TcpProxy};
pub use time::{TestClock, at};
pub use tools::{node_modules, skipped, tool, workspace_root};
