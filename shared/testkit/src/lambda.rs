//! One real Lambda binary over a small Runtime API, so that a test can send it any event and see the raw answer.

use std::collections::{HashMap, VecDeque};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binaries::binaries;
use crate::http_stub::{Answer, Ended, HttpStub, Request};
use crate::process::Process;

/// How long a test waits for the function; also the deadline that the function is told.
const PATIENCE: Duration = Duration::from_secs(30);

const ARN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:test";

/// A running function: one process, one event at a time, kept warm between events.
#[derive(Debug)]
pub struct Lambda {
    process: Mutex<Process>,
    shared: Arc<Shared>,
    _server: HttpStub,
}

/// What the function did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// It answered. For an HTTP event: `statusCode`, `headers`, `body`, …
    Response(Value),
    /// It reported an error (`errorType`, `errorMessage`): API Gateway would answer 502.
    Error(Value),
}

/// Why the function never came to its first event.
#[derive(Clone, Debug)]
pub struct InitFailure {
    /// What it posted to `/runtime/init/error`, if anything.
    pub reported: Option<String>,
    /// Everything that it wrote.
    pub output: String,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(String, Vec<u8>)>,
    answers: HashMap<String, Invocation>,
    sent: usize,
    polls: usize,
    init_error: Option<String>,
}

impl Lambda {
    /// Starts the workspace's binary `name` with exactly this environment and what Lambda itself would set.
    #[must_use]
    pub fn start<K, V>(name: &str, environment: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let server = HttpStub::start(move |request, ended| seen.answer(&request, ended));
        let mut command = Command::new(binaries().join(name));
        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_LAMBDA_FUNCTION_NAME", name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/test"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "test"),
            ])
            .env("AWS_LAMBDA_RUNTIME_API", server.address.to_string())
            .envs(environment);
        Self { process: Mutex::new(Process::start(name, command)), shared, _server: server }
    }

    /// Waits until the function asks for its first event.
    ///
    /// # Errors
    /// [`InitFailure`] when it reports an initialization error or ends instead.
    ///
    /// # Panics
    /// When it does neither in 30 s.
    pub fn started(&self) -> Result<(), InitFailure> {
        let failed = |reported| Err(InitFailure { reported, output: self.output() });
        self.wait("the function to start", |state, ended| {
            if state.init_error.is_some() || ended {
                return Some(failed(state.init_error.clone()));
            }
            (state.polls > 0).then_some(Ok(()))
        })
    }

    /// Sends `event` and waits for the answer.
    ///
    /// # Panics
    /// When there is none in 30 s, or the process has ended.
    #[must_use]
    pub fn invoke(&self, event: &Value) -> Invocation {
        self.invoke_raw(event.to_string().as_bytes())
    }

    /// Sends `event`, which need not be JSON.
    ///
    /// # Panics
    /// As [`invoke`](Self::invoke).
    #[must_use]
    pub fn invoke_raw(&self, event: &[u8]) -> Invocation {
        let id = {
            let mut state = self.shared.state();
            state.sent += 1;
            let id = format!("00000000-0000-4000-8000-{:012}", state.sent);
            state.waiting.push_back((id.clone(), event.to_vec()));
            id
        };
        self.shared.changed.notify_all();
        self.wait("an answer of the function", |state, ended| {
            let answer = state.answers.remove(&id);
            assert!(answer.is_some() || !ended, "the function ended instead of answering\n{}", self.output());
            answer
        })
    }

    /// [`invoke`](Self::invoke) for an event that must be answered.
    ///
    /// # Panics
    /// As [`invoke`](Self::invoke), and when the function reports an error.
    #[must_use]
    pub fn respond(&self, event: &Value) -> Value {
        match self.invoke(event) {
            Invocation::Response(answer) => answer,
            Invocation::Error(error) => panic!("the function reports {error}\n{}", self.output()),
        }
    }

    /// Everything that it has written to standard output and error.
    #[must_use]
    pub fn output(&self) -> String {
        self.process().output()
    }

    /// What it has written to standard output: Lambda's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().stdout()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap()
    }

    /// Waits until `probe`, told whether the process has ended, has an answer.
    fn wait<T>(&self, what: &str, mut probe: impl FnMut(&mut State, bool) -> Option<T>) -> T {
        let start = Instant::now();
        let mut ended = false;
        let mut state = self.shared.state();
        loop {
            if let Some(answer) = probe(&mut state, ended) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}\n{}", self.output());
            state = self.shared.changed.wait_timeout(state, Duration::from_millis(20)).unwrap().0;
            drop(state);
            // Its last words may still be on their way when it has ended: it is asked again once, after a pause.
            let gone = self.process().ended().is_some();
            if gone && !ended {
                std::thread::sleep(Duration::from_millis(100));
                ended = true;
            }
            state = self.shared.state();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer(&self, request: &Request, ended: &Ended) -> Answer {
        let path = request.path.strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        let answer = match (request.method.as_str(), path) {
            ("GET", "invocation/next") => return self.next(ended),
            ("POST", "init/error") => {
                self.state().init_error = Some(String::from_utf8_lossy(&request.body).into_owned());
                Answer::Full(202, Vec::new(), br#"{"status":"OK"}"#.to_vec())
            }
            ("POST", path) => {
                let (id, outcome) = path.trim_start_matches("invocation/").split_once('/').unwrap_or_default();
                let text = || Value::String(String::from_utf8_lossy(&request.body).into_owned());
                let body = serde_json::from_slice(&request.body).unwrap_or_else(|_| text());
                let invocation =
                    if outcome == "response" { Invocation::Response(body) } else { Invocation::Error(body) };
                self.state().answers.insert(id.to_owned(), invocation);
                Answer::Full(202, Vec::new(), br#"{"status":"OK"}"#.to_vec())
            }
            _ => Answer::Full(404, Vec::new(), Vec::new()),
        };
        self.changed.notify_all();
        answer
    }

    /// Keeps the function waiting until there is an event for it.
    fn next(&self, ended: &Ended) -> Answer {
        let mut state = self.state();
        state.polls += 1;
        self.changed.notify_all();
        loop {
            if let Some((id, event)) = state.waiting.pop_front() {
                let headers = vec![
                    ("Content-Type", "application/json".to_owned()),
                    ("Lambda-Runtime-Aws-Request-Id", id),
                    ("Lambda-Runtime-Deadline-Ms", deadline().to_string()),
                    ("Lambda-Runtime-Invoked-Function-Arn", ARN.to_owned()),
                    (
                        "Lambda-Runtime-Trace-Id",
                        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0".to_owned(),
                    ),
                ];
                return Answer::Full(200, headers, event);
            }
            if ended.yet() {
                return Answer::Reset;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

/// Milliseconds since the epoch, [`PATIENCE`] from now.
#[expect(clippy::disallowed_methods, reason = "the Runtime API speaks wall-clock time")]
fn deadline() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    (now + PATIENCE).as_millis()
}
