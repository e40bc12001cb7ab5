//! Lambda's Runtime API, as little of it as the functions here call, with the instant of every answer.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a function may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server for one function.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What a function posted, and when its last byte was there.
pub(crate) struct Answered {
    pub(crate) at: Instant,
    pub(crate) body: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<Vec<u8>>,
    answers: VecDeque<Answered>,
    polls: usize,
    failed: Option<String>,
}

impl RuntimeApi {
    /// A server on a free port.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        // These threads live as long as the process: a benchmark ends soon.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    let _ = shared.serve(&stream);
                });
            }
        });
        Self { address, shared }
    }

    /// What `AWS_LAMBDA_RUNTIME_API` must say.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Hands `event` to the function when it next asks.
    pub(crate) fn send(&self, event: &[u8]) {
        self.shared.state().events.push_back(event.to_vec());
        self.shared.changed.notify_all();
    }

    /// The next answer.
    pub(crate) fn answer(&self) -> Answered {
        self.wait("an answer", |state| state.answers.pop_front())
    }

    /// Waits until the function has asked for its event number `count`: it has done all work on those before.
    pub(crate) fn idle(&self, count: usize) {
        self.wait("the next poll", |state| (state.polls >= count).then_some(()));
    }

    fn wait<T>(&self, what: &str, mut probe: impl FnMut(&mut State) -> Option<T>) -> T {
        let start = Instant::now();
        let mut state = self.shared.state();
        loop {
            if let Some(found) = probe(&mut state) {
                return found;
            }
            if let Some(failed) = &state.failed {
                panic!("the function reports: {failed}");
            }
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            let waited = self.shared.changed.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = read_request(&mut reader)? {
            let at = Instant::now();
            if path.ends_with("/invocation/next") {
                write_event(stream, &self.next())?;
                continue;
            }
            let mut state = self.state();
            if path.ends_with("/response") {
                state.answers.push_back(Answered { at, body });
            } else {
                state.failed = Some(String::from_utf8_lossy(&body).into_owned());
            }
            drop(state);
            self.changed.notify_all();
            let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}";
            (&mut (&*stream)).write_all(accepted)?;
        }
        Ok(())
    }

    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        state.polls += 1;
        self.changed.notify_all();
        loop {
            if let Some(event) = state.events.pop_front() {
                return event;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Path and body, or nothing at the end of the connection.
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        chunked = size > 0;
        body.append(&mut chunk);
    }
    Ok(Some((path, body)))
}

#[expect(clippy::disallowed_methods, reason = "the Runtime API speaks wall-clock time")]
fn write_event(mut stream: &TcpStream, event: &[u8]) -> io::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         lambda-runtime-aws-request-id: 11111111-1111-4111-8111-111111111111\r\nlambda-runtime-deadline-ms: {}\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:111122223333:function:bench\r\n\
         lambda-runtime-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n\r\n",
        event.len(),
        (now + PATIENCE).as_millis()
    );
    stream.write_all(&[head.as_bytes(), event].concat())
}
