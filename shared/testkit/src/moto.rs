//! moto: AWS's control planes as a local server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificates::Certificates;
use crate::curl::Curl;
use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

const REGION: &str = "eu-west-1";

/// A running moto server: Secrets Manager, SSM and more, empty at first.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    port: u16,
    tls: Option<Certificates>,
}

impl Moto {
    /// Starts one, or says that the test is skipped.
    ///
    /// # Panics
    /// When moto is on this machine and does not answer within a minute.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = moto_server()?;
        Self::serve(&|| Command::new(&program), None)
    }

    /// Starts the server that `script` (Python) is, with this environment beside the test's own, or says that the test is
    /// skipped. It takes moto's own arguments and runs where moto is installed.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_script(script: &Path, environment: &[(&str, &Path)]) -> Option<Self> {
        let python = moto_server()?.with_file_name("python");
        let server = || {
            let mut command = Command::new(&python);
            command.arg(script).envs(environment.iter().copied());
            command
        };
        Self::serve(&server, None)
    }

    /// Starts one that speaks TLS, with a certificate of a CA of its own, which [`environment`](Self::environment) trusts;
    /// or says that the test is skipped.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_tls() -> Option<Self> {
        let certificates = Certificates::make()?;
        let program = moto_server()?;
        Self::serve(&|| Command::new(&program), Some(certificates))
    }

    fn serve(server: &dyn Fn() -> Command, tls: Option<Certificates>) -> Option<Self> {
        // The port may be taken between asking and binding: then moto ends at once, and another port is tried.
        for _ in 0..3 {
            let port = free_port();
            let mut command = server();
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            if let Some(tls) = &tls {
                command.arg("-c").arg(tls.path("leaf.pem")).arg("-k").arg(tls.path("leaf.key"));
            }
            let url = url(port, tls.is_some());
            let mut process = Process::start("moto", command);
            let up = wait_until("moto to answer", Duration::from_secs(60), || match process.ended() {
                Some(_) => Some(false),
                None => {
                    Curl::get(&format!("{url}/moto-api/")).argument("--insecure").try_send().is_ok().then_some(true)
                }
            });
            if up {
                return Some(Self { process, port, tls });
            }
            eprintln!("{}", process.output());
        }
        panic!("moto ended three times instead of answering");
    }

    /// Its endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port, self.tls.is_some())
    }

    /// The environment in which an AWS client calls this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = environment(&self.url());
        if let Some(tls) = &self.tls {
            environment.push(("AWS_CA_BUNDLE".to_owned(), tls.path("ca.pem").display().to_string()));
        }
        environment
    }

    /// Stops it where it stands: it accepts connections and never answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Ends it: connections are refused from now on.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

fn moto_server() -> Option<PathBuf> {
    let program = tool("moto_server");
    if program.is_none() {
        skipped("moto");
    }
    program
}

/// What Lambda would set, pointing to `endpoint`.
pub(crate) fn environment(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "AKIATESTKIT"),
        ("AWS_SECRET_ACCESS_KEY", "testkit-secret-access-key"),
        ("AWS_SESSION_TOKEN", "testkit-session-token"),
        ("AWS_ENDPOINT_URL", endpoint),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn url(port: u16, tls: bool) -> String {
    format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" })
}
