//! API Gateway and the Lambda runtime on a laptop: the real `jwt-issuer` and `jwks` binaries behind a real Lambda Runtime
//! API and a gateway that verifies Signature Version 4 and fills the request context as REST APIs do.
//!
//! What it is: a development tool, one command from a checkout to a token, and what the end-to-end tests run. What it is
//! not: a server for anybody else. It listens on loopback only, its sample secrets stand in its source, and its keys are
//! made anew at every start.
//!
//! What holds:
//! - `POST /token` reaches the issuer only with a valid signature of a known access key, over exactly the method, path,
//!   query, host and body that arrived, at most 5 minutes old ([`sigv4`]), and only where the API's resource policy
//!   would let it through ([`policy`]);
//! - the identity in an event comes from the access key's principal alone, never from the request ([`event`]);
//! - an `Authorization` header reaches no function and no record;
//! - a function sees its own environment variables and nothing of this process' environment ([`function`]);
//! - no function outlives the gateway.
//!
//! ```no_run
//! # async fn example(around: local_gateway::run::Surroundings) -> Result<(), Box<dyn std::error::Error>> {
//! use clap::Parser as _;
//! use local_gateway::{cli::Options, run};
//!
//! let options = Options::parse_from(["local-gateway", "--port", "0"]);
//! let running = run::start(&options, &around).await?;
//! println!("{}", running.ready_line());
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod binaries;
pub mod cli;
pub mod console;
pub mod event;
pub mod function;
pub mod gateway;
pub mod policy;
pub mod principals;
pub mod reply;
pub mod run;
pub mod runtime_api;
mod server;
pub mod sigv4;
pub mod world;

// Listed so that one `cargo run` compiles everything the functions are made of, and the nested build only links.
use jwks as _;
use jwt_issuer as _;
