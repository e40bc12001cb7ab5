//! moto: AWS's control planes as a local server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

const REGION: &str = "eu-west-1";

/// A running moto server: Secrets Manager, SSM and more, empty at first.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    port: u16,
}

impl Moto {
    /// Starts one, or says that the test is skipped.
    ///
    /// # Panics
    /// When moto is on this machine and does not answer within a minute.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(program) = tool("moto_server") else {
            skipped("moto");
            return None;
        };
        // The port may be taken between asking and binding: then moto ends at once, and another port is tried.
        for _ in 0..3 {
            let port = free_port();
            let mut command = Command::new(&program);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            let mut process = Process::start("moto", command);
            let up = wait_until("moto to answer", Duration::from_secs(60), || match process.ended() {
                Some(_) => Some(false),
                None => answers(port).then_some(true),
            });
            if up {
                return Some(Self { process, port });
            }
            eprintln!("{}", process.output());
        }
        panic!("moto ended three times instead of answering");
    }

    /// Its endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment in which an AWS client calls this server.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.url())
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

fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /moto-api/ HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1."))
    };
    ask().unwrap_or(false)
}
