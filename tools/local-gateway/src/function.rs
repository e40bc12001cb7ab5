//! A Lambda function: the real binary behind a real Runtime API, one process at a time, started again after it ended.
//!
//! Limit: one execution environment per function. Requests at the same time wait for each other, where Lambda would start
//! more environments.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use token_shell::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::console::Console;
use crate::event::{API_ACCOUNT, REGION};
use crate::runtime_api::{Init, Invocation, Outcome, RuntimeApi, error_message};

/// API Gateway waits this long for a function.
pub const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(29);
/// The longest initialisation. Lambda allows 10 s; a debug build on a busy laptop needs more.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a process may take to write its last words after an init error.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A longer line of a function is shown in pieces.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Which program a function is and what it gets to see.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// The function's name.
    pub name: String,
    /// Its binary.
    pub binary: PathBuf,
    /// Its own environment variables. Nothing else of this process' environment reaches it, no `PATH` and no credentials.
    pub environment: BTreeMap<String, String>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// An invocation that brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// No answer in time.
    #[error("{function}: no answer within {seconds} s")]
    TimedOut {
        /// The function.
        function: String,
        /// The limit.
        seconds: u64,
    },
    /// The function said that it failed, or its process ended.
    #[error("{function}: {detail}")]
    Failed {
        /// The function.
        function: String,
        /// What it said.
        detail: String,
    },
    /// The function could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A function that does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The binary cannot be run.
    #[error("{function}: expected to run {binary}, found: {reason}")]
    Spawn {
        /// The function.
        function: String,
        /// Its binary.
        binary: String,
        /// The operating system's reason.
        reason: String,
    },
    /// The initialisation failed.
    #[error("{function}: the initialisation failed: {detail}")]
    Init {
        /// The function.
        function: String,
        /// All that it said about it.
        detail: String,
    },
}

/// A function, warm or cold.
pub struct Function {
    spec: FunctionSpec,
    clock: Arc<dyn Clock>,
    console: Arc<dyn Console>,
    environment: Mutex<Option<Environment>>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Function {
    /// Starts the function's first environment and waits until it asks for an event.
    ///
    /// # Errors
    /// [`StartError`] with what the function said.
    pub async fn start(
        spec: FunctionSpec,
        clock: Arc<dyn Clock>,
        console: Arc<dyn Console>,
    ) -> Result<Arc<Self>, StartError> {
        let environment = Environment::start(&spec, &console).await?;
        Ok(Arc::new(Self { spec, clock, console, environment: Mutex::new(Some(environment)) }))
    }

    /// Lets the function answer `event`. The work goes on when the caller stops waiting.
    ///
    /// # Errors
    /// [`InvokeError`]; after a time-out or the end of the process the next call starts a new one.
    pub async fn invoke(
        self: &Arc<Self>,
        request_id: String,
        event: Bytes,
        trace_id: String,
    ) -> Result<Bytes, InvokeError> {
        let this = Arc::clone(self);
        let work = tokio::spawn(async move { this.run(request_id, event, trace_id).await });
        match work.await {
            Ok(result) => result,
            Err(error) => Err(self.failed(error.to_string())),
        }
    }

    async fn run(&self, request_id: String, event: Bytes, trace_id: String) -> Result<Bytes, InvokeError> {
        let deadline = Instant::now() + self.spec.timeout;
        let timed_out =
            |_| InvokeError::TimedOut { function: self.spec.name.clone(), seconds: self.spec.timeout.as_secs() };
        let mut slot = timeout_at(deadline, self.environment.lock()).await.map_err(timed_out)?;
        // Taken out: whatever goes wrong below ends this process instead of leaving it in an unknown state.
        let environment = match slot.take().filter(|environment| environment.api.is_alive()) {
            Some(environment) => environment,
            None => {
                self.console.line(&format!("[{}] starting again", self.spec.name));
                timeout_at(deadline, Environment::start(&self.spec, &self.console)).await.map_err(timed_out)??
            }
        };
        let left = i64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX);
        let deadline_ms = self.clock.now().as_millisecond().saturating_add(left);
        let outcome = environment.api.submit(Invocation { request_id, event, deadline_ms, trace_id });
        let outcome = match timeout_at(deadline, outcome).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Outcome::Ended("its environment is gone".to_owned())),
            Err(elapsed) => {
                environment.stop().await;
                return Err(timed_out(elapsed));
            }
        };
        match outcome {
            Outcome::Response(body) => {
                *slot = Some(environment);
                Ok(body)
            }
            Outcome::Error(report) => {
                *slot = Some(environment);
                Err(self.failed(error_message(&report)))
            }
            Outcome::TooLarge => {
                *slot = Some(environment);
                Err(self.failed("its answer is over 6 MB".to_owned()))
            }
            Outcome::Ended(why) => Err(self.failed(why)),
        }
    }

    fn failed(&self, detail: String) -> InvokeError {
        InvokeError::Failed { function: self.spec.name.clone(), detail }
    }

    /// Ends the process, and returns when it is gone.
    pub async fn stop(&self) {
        // A running invocation holds the slot; it is abandoned with the runtime, which kills its process.
        if let Ok(mut slot) = timeout(Duration::from_millis(500), self.environment.lock()).await
            && let Some(environment) = slot.take()
        {
            environment.stop().await;
        }
    }
}

/// One process with its Runtime API. Dropping it kills the process.
struct Environment {
    api: RuntimeApi,
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
}

impl Environment {
    async fn start(spec: &FunctionSpec, console: &Arc<dyn Console>) -> Result<Self, StartError> {
        let spawn_error = |error: std::io::Error| StartError::Spawn {
            function: spec.name.clone(),
            binary: spec.binary.display().to_string(),
            reason: error.to_string(),
        };
        let function_arn = format!("arn:aws:lambda:{REGION}:{API_ACCOUNT}:function:{}", spec.name);
        let api = RuntimeApi::start(function_arn).await.map_err(spawn_error)?;
        let mut child = command(spec, &api).spawn().map_err(spawn_error)?;
        let lines = [
            child.stdout.take().map(|pipe| forward(pipe, &spec.name, console)),
            child.stderr.take().map(|pipe| forward(pipe, &spec.name, console)),
        ];
        let (stop, stopped) = oneshot::channel();
        let supervisor =
            tokio::spawn(supervise(child, lines.into_iter().flatten().collect(), stopped, api.end_reporter()));
        let environment = Self { api, stop, supervisor };
        let init_error = |detail: String| StartError::Init { function: spec.name.clone(), detail };
        match timeout(INIT_TIMEOUT, environment.api.initialised()).await {
            Ok(Init::Ready) => Ok(environment),
            Ok(Init::Failed(detail)) => {
                // It ends by itself; its last lines belong before our message.
                let Self { api, stop, mut supervisor } = environment;
                if timeout(LAST_WORDS, &mut supervisor).await.is_err() {
                    drop(stop);
                    let _ = timeout(LAST_WORDS, supervisor).await;
                }
                drop(api);
                Err(init_error(detail))
            }
            Ok(Init::Pending) | Err(_) => {
                environment.stop().await;
                Err(init_error(format!("it did not ask for an event within {} s", INIT_TIMEOUT.as_secs())))
            }
        }
    }

    /// Kills the process and waits until it is gone.
    async fn stop(self) {
        drop(self.stop);
        let _ = timeout(LAST_WORDS, self.supervisor).await;
    }
}

fn command(spec: &FunctionSpec, api: &RuntimeApi) -> Command {
    let mut command = Command::new(&spec.binary);
    command
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", api.address().to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", &spec.name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{}", spec.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            // The SDK must not look for credentials on a cloud machine's metadata address.
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("TZ", ":UTC"),
            ("_HANDLER", "bootstrap"),
        ])
        .envs(&spec.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group: Ctrl-C in the terminal goes to the gateway alone, which then ends its functions in order.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Waits for the end of the process, or ends it when told to (or when nobody can tell any more).
async fn supervise(
    mut child: Child,
    lines: Vec<JoinHandle<()>>,
    stopped: oneshot::Receiver<()>,
    report_end: impl FnOnce(String),
) {
    let why = tokio::select! {
        status = child.wait() => match status {
            Ok(status) => format!("its process ended ({status})"),
            Err(error) => format!("its process cannot be watched ({error})"),
        },
        _ = stopped => {
            let _ = child.kill().await;
            "its process was ended".to_owned()
        }
    };
    // What it wrote is in the pipes still. A grandchild could hold them open, so not for ever.
    for reader in lines {
        let _ = timeout(LAST_WORDS / 4, reader).await;
    }
    report_end(why);
}

/// Shows what a function writes, prefixed with its name.
fn forward(pipe: impl AsyncRead + Unpin + Send + 'static, name: &str, console: &Arc<dyn Console>) -> JoinHandle<()> {
    let (prefix, console) = (format!("[{name}] "), Arc::clone(console));
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    console.line(&format!("{prefix}{}", text.trim_end_matches(['\r', '\n'])));
                }
            }
        }
    })
}
