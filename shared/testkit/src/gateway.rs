//! The development gateway with the real Lambda binaries behind it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::binaries::binaries;
use crate::curl::Curl;
use crate::net::wait_until;
use crate::process::Process;

/// How `local-gateway` is started. The default is what one gets without any option.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// `--algorithm`.
    pub algorithm: Option<String>,
    /// `--aws-endpoint`.
    pub aws_endpoint: Option<String>,
    /// `--mapping`.
    pub mapping: Option<PathBuf>,
    /// `--organization-id`.
    pub organization_id: Option<String>,
    /// `--principals`.
    pub principals: Option<PathBuf>,
    /// `--record`.
    pub record: Option<PathBuf>,
    /// Variables beside `PATH`, which alone is handed on.
    pub environment: Vec<(String, String)>,
}

/// A running gateway on a free port. It and its children end with this value.
#[derive(Debug)]
pub struct Gateway {
    ready: Ready,
    process: Process,
    folder: TempDir,
}

/// The line that `--json` prints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    url: String,
    issuer: String,
    jwks_uri: String,
    region: String,
    principals: Vec<GatewayPrincipal>,
}

/// A caller that the gateway knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the members of the principals file, as docs/API.md has them")]
pub struct GatewayPrincipal {
    pub name: String,
    pub arn: String,
    pub caller: String,
    pub account_id: String,
    pub organization_id: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: String,
    #[serde(default)]
    pub session_token: Option<String>,
    #[serde(default)]
    pub role_path: Option<String>,
}

impl Gateway {
    /// Starts one in a folder of its own, on a free port, with the binaries of this workspace.
    ///
    /// # Panics
    /// When it ends, or does not print its line within a minute; the message shows what it wrote.
    #[must_use]
    pub fn start(options: &GatewayOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(binaries().join("local-gateway"));
        command.args(["--json", "--port", "0", "--bin-dir"]).arg(binaries()).current_dir(folder.path());
        for (name, value) in [
            ("--algorithm", options.algorithm.as_ref().map(PathBuf::from)),
            ("--aws-endpoint", options.aws_endpoint.as_ref().map(PathBuf::from)),
            ("--mapping", options.mapping.clone()),
            ("--organization-id", options.organization_id.as_ref().map(PathBuf::from)),
            ("--principals", options.principals.clone()),
            ("--record", options.record.clone()),
        ] {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        }
        command.env_clear().env("PATH", crate::tools::variable("PATH").unwrap_or_default());
        command.envs(options.environment.iter().cloned());

        let mut process = Process::start("local-gateway", command);
        let line = wait_until("local-gateway's line", Duration::from_secs(60), || {
            let ended = process.ended();
            let line = process.stdout().split_once('\n').map(|(line, _)| line.to_owned());
            assert!(line.is_some() || ended.is_none(), "local-gateway ended ({ended:?})\n{}", process.output());
            line
        });
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("local-gateway's line ({error}): {line}"));
        Self { ready, process, folder }
    }

    /// `http://127.0.0.1:N`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.ready.url
    }

    /// The tokens' `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.ready.issuer
    }

    /// Where the key set is.
    #[must_use]
    pub fn jwks_uri(&self) -> &str {
        &self.ready.jwks_uri
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.ready.region
    }

    /// The callers that it knows.
    #[must_use]
    pub fn principals(&self) -> &[GatewayPrincipal] {
        &self.ready.principals
    }

    /// The folder that it was started in.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A signed `POST /token` of that principal.
    pub fn token_request(&self, principal: &GatewayPrincipal) -> Curl {
        Curl::post(&format!("{}/token", self.url())).signed_by(principal, self.region())
    }
}
