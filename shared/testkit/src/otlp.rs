//! rotel: an OTLP collector that shows the spans it receives.

use std::process::Command;
use std::time::Duration;

use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

/// A running collector for OTLP over gRPC.
#[derive(Debug)]
pub struct OtlpCollector {
    process: Process,
    port: u16,
}

impl OtlpCollector {
    /// Starts one, or says that the test is skipped.
    ///
    /// # Panics
    /// When rotel is on this machine and does not listen within 20 seconds.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(program) = rotel_agent() else {
            skipped("rotel");
            return None;
        };
        // The ports may be taken between asking and binding: then rotel ends, and others are tried.
        for _ in 0..3 {
            let (port, http) = (free_port(), free_port());
            let mut command = Command::new(&program);
            command
                .args([
                    "start",
                    "--exporter",
                    "blackhole",
                    "--debug-log",
                    "traces",
                    "--debug-log-verbosity",
                    "detailed",
                ])
                .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")])
                .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")]);
            let mut process = Process::start("rotel", command);
            let up = wait_until("rotel to listen", Duration::from_secs(20), || match process.ended() {
                Some(_) => Some(false),
                None => std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
            });
            if up {
                return Some(Self { process, port });
            }
            eprintln!("{}", process.output());
        }
        panic!("rotel ended three times instead of listening");
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is set to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it says it has received: resource, spans and attributes in its own words.
    #[must_use]
    pub fn received(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Stops it where it stands: it accepts connections and never answers.
    pub fn pause(&self) {
        self.process.pause();
    }
}

/// The executable lies within the Python package, not on any path.
fn rotel_agent() -> Option<std::path::PathBuf> {
    let script = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let output = Command::new(tool("python3")?).args(["-c", script]).output().ok()?;
    let path = std::path::PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && path.is_file()).then_some(path)
}
