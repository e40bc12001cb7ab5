//! From the command line to a running gateway, and its end.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use token_shell::{Clock, IdSource};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::binaries::{self, Binaries, BinariesError, TargetDir};
use crate::cli::Options;
use crate::console::Console;
use crate::event::REGION;
use crate::function::{Function, FunctionSpec, INTEGRATION_TIMEOUT, StartError};
use crate::gateway::{Gateway, Recorder, Serving};
use crate::principals::{Principals, PrincipalsError, SamplePrincipal};
use crate::sigv4::SERVICE;
use crate::world::{self, Emulator, Plan, WorldError};

/// What surrounds the gateway; a test brings its own.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Where messages go.
    pub console: Arc<dyn Console>,
    /// The cargo to build with.
    pub cargo: String,
    /// The target directory this program belongs to.
    pub target: TargetDir,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The principals file.
    #[error(transparent)]
    Principals(#[from] PrincipalsError),
    /// A file or directory named on the command line.
    #[error("{flag} {path}: expected {expected}, found: {source}")]
    Path {
        /// Which flag.
        flag: &'static str,
        /// What it has to name.
        expected: &'static str,
        /// The path as given.
        path: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The port.
    #[error("127.0.0.1:{port}: {source}; hint: --port N takes another one, --port 0 a free one")]
    Listen {
        /// The port asked for.
        port: u16,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The Lambda binaries.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// Ring, key set and mapping.
    #[error(transparent)]
    World(#[from] WorldError),
    /// One function or both.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Functions(Vec<StartError>),
    /// Signals or standard output.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A gateway that is ready. Dropping it ends everything; [`Running::stop`] also waits for it.
pub struct Running {
    url: String,
    principals: Vec<SamplePrincipal>,
    functions: [Arc<Function>; 2],
    serving: Serving,
    _scratch: Option<Scratch>,
}

/// The directory of a free port's instance: nobody will look for it later, so it goes with the instance.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it any more.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Who may sign.
    #[must_use]
    pub fn principals(&self) -> &[SamplePrincipal] {
        &self.principals
    }

    /// The one line of `--json`, without its end.
    #[must_use]
    pub fn ready_line(&self) -> String {
        json!({
            "url": self.url,
            "issuer": self.url,
            "jwks_uri": format!("{}/.well-known/jwks.json", self.url),
            "region": REGION,
            "principals": self.principals,
        })
        .to_string()
    }

    /// What a person sees: who there is, and commands to paste.
    #[must_use]
    pub fn ready_text(&self) -> String {
        let url = &self.url;
        let mut text = format!(
            "local-gateway: {url}\nA development tool: it listens on loopback only, and its keys and secrets protect nothing.\n"
        );
        for principal in &self.principals {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n# {}: {}\n{}\n", principal.name(), principal.arn(), curl(url, principal));
        }
        let _ = write!(text, "\n# the public keys\ncurl {url}/.well-known/jwks.json\n");
        text
    }

    /// Ends server and functions, and returns when they are gone.
    pub async fn stop(self) {
        drop(self.serving);
        for function in &self.functions {
            function.stop().await;
        }
    }
}

/// A `curl` line that works as pasted.
fn curl(url: &str, principal: &SamplePrincipal) -> String {
    let user = format!("{}:{}", principal.access_key_id(), principal.secret_access_key());
    let token = principal
        .session_token()
        .map(|token| format!(" -H {}", shell_quoted(&format!("x-amz-security-token: {token}"))))
        .unwrap_or_default();
    format!("curl --aws-sigv4 \"aws:amz:{REGION}:{SERVICE}\" --user {}{token} -X POST {url}/token", shell_quoted(&user))
}

/// `text` as one word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+=:._-@,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Starts everything that `options` ask for and returns once both functions have asked for their first event.
///
/// # Errors
/// [`RunError`]; nothing keeps running then.
pub async fn start(options: &Options, around: &Surroundings) -> Result<Running, RunError> {
    let principals = match &options.principals {
        Some(path) => Principals::from_file(path)?,
        None => Principals::built_in(&options.organization_id),
    };
    let mapping = options.mapping.as_deref().map(readable).transpose()?;
    let recorder = match &options.record {
        None => None,
        Some(path) => Some(
            Recorder::new(path.clone())
                .map_err(|source| path_error("--record", "a directory to write to", path, source))?,
        ),
    };
    // First, since the functions are told the URL, and since a taken port should not cost a build.
    let (listener, address) =
        crate::server::bind(options.port).await.map_err(|source| RunError::Listen { port: options.port, source })?;
    let binaries = match &options.bin_dir {
        Some(directory) => binaries::in_directory(directory)?,
        None => binaries::build(&around.cargo, options.profile.name(), &around.target).await?,
    };

    let port = address.port();
    let url = format!("http://{address}");
    let directory = around.target.local_gateway().join(port.to_string());
    let plan = Plan {
        url: url.clone(),
        algorithm: options.algorithm,
        organization: options.organization_id.clone(),
        mapping,
        directory: directory.clone(),
        aws: options
            .aws_endpoint
            .as_ref()
            .map(|endpoint| Emulator { endpoint: endpoint.clone(), instance: port.to_string() }),
    };
    let scratch = (options.port == 0).then_some(Scratch(directory));
    let world = world::generate(&plan, around.clock.now()).await?;
    around.console.line(&format!("local-gateway: {}", world.places));
    let [issuer, jwks] = start_functions(binaries, world, around).await?;

    let gateway = Arc::new(Gateway {
        principals: principals.clone(),
        organization: options.organization_id.clone(),
        issuer: Arc::clone(&issuer),
        jwks: Arc::clone(&jwks),
        recorder,
        clock: Arc::clone(&around.clock),
        ids: Arc::clone(&around.ids),
        console: Arc::clone(&around.console),
    });
    let serving = gateway.serve(listener, port);
    Ok(Running { url, principals: principals.all().to_vec(), functions: [issuer, jwks], serving, _scratch: scratch })
}

/// Both at once; the problems of both are reported.
async fn start_functions(
    binaries: Binaries,
    world: world::World,
    around: &Surroundings,
) -> Result<[Arc<Function>; 2], RunError> {
    let start = |name: &str, binary, environment| {
        let spec = FunctionSpec { name: name.to_owned(), binary, environment, timeout: INTEGRATION_TIMEOUT };
        Function::start(spec, Arc::clone(&around.clock), Arc::clone(&around.console))
    };
    let started = tokio::join!(
        start(binaries::ISSUER, binaries.issuer, world.issuer),
        start(binaries::JWKS, binaries.jwks, world.jwks)
    );
    match started {
        (Ok(issuer), Ok(jwks)) => Ok([issuer, jwks]),
        (issuer, jwks) => {
            let mut problems = Vec::new();
            for started in [issuer, jwks] {
                match started {
                    Ok(function) => function.stop().await,
                    Err(error) => problems.push(error),
                }
            }
            Err(RunError::Functions(problems))
        }
    }
}

/// The absolute path of a mapping file, told before anything is built that it cannot be read.
fn readable(path: &Path) -> Result<PathBuf, RunError> {
    let absolute = std::fs::File::open(path).and_then(|_| std::path::absolute(path));
    absolute.map_err(|source| path_error("--mapping", "a readable file", path, source))
}

fn path_error(flag: &'static str, expected: &'static str, path: &Path, source: std::io::Error) -> RunError {
    RunError::Path { flag, expected, path: path.display().to_string(), source }
}

/// Runs until SIGINT, SIGTERM or SIGHUP: starts, says on `stdout` that it is ready, serves, ends every child.
///
/// # Errors
/// [`RunError`] when it does not start.
pub async fn run(options: &Options, around: &Surroundings, stdout: &mut impl Write) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let running = tokio::select! {
        running = start(options, around) => running?,
        // Whatever was starting is dropped, and its processes with it.
        () = signals.wait() => return Ok(()),
    };
    let ready = if options.json { running.ready_line() } else { running.ready_text() };
    if let Err(error) = writeln!(stdout, "{}", ready.trim_end()).and_then(|()| stdout.flush()) {
        running.stop().await;
        return Err(error.into());
    }
    signals.wait().await;
    around.console.line("local-gateway: ending");
    running.stop().await;
    Ok(())
}

struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self([signal(interrupt)?, signal(terminate)?, signal(hangup)?]))
    }

    async fn wait(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{curl, shell_quoted};
    use crate::principals::{DEFAULT_ORGANIZATION, Principals};

    #[test]
    fn a_pasted_line_is_one_command_whatever_a_principals_file_says() {
        assert_eq!(shell_quoted("AKIA:a/b+c="), "AKIA:a/b+c=");
        assert_eq!(shell_quoted("a b"), "'a b'");
        assert_eq!(shell_quoted("'; touch x; '$(y)"), r"''\''; touch x; '\''$(y)'");
        let built_in = Principals::built_in(DEFAULT_ORGANIZATION);
        assert_eq!(
            curl("http://127.0.0.1:9000", &built_in.all()[0]),
            "curl --aws-sigv4 \"aws:amz:eu-west-1:execute-api\" --user \
             AKIAALICE0000EXAMPLE:protects/nothing/alice/0000/EXAMPLESECRET -X POST http://127.0.0.1:9000/token"
        );
    }

    #[test]
    fn a_session_token_is_sent_along() {
        let principals = Principals::parse(
            r#"[{"name":"p","arn":"","caller":"","account_id":"","organization_id":"","access_key_id":"ASIA000000000EXAMPLE",
                "secret_access_key":"s","session_token":"t=="}]"#,
        )
        .unwrap();
        assert!(curl("U", &principals.all()[0]).contains(" -H 'x-amz-security-token: t==' -X POST U/token"));
    }
}
