//! Child processes that never outlive the test.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::net::wait_until;

/// How long a process may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How much of each output stream a failure shows, in bytes.
const SHOWN: usize = 16_384;

/// A running child with a process group of its own. On drop the child gets SIGTERM, then whatever is left of its group
/// SIGKILL. If the test process itself is killed, a watchdog (which holds one end of a pipe) kills the group instead.
///
/// The output is captured; a failing test shows it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    watchdog: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Starts `command`, called `name` in messages.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let group = Pid::from_child(&child);
        let watchdog = watchdog(group);
        let stdout = captured(child.stdout.take().expect("stdout is piped"));
        let stderr = captured(child.stderr.take().expect("stderr is piped"));
        Self { name: name.to_owned(), child, group, watchdog, stdout, stderr }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the operating system cannot say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let what = format!("the end of {}\n{}", self.name, self.output());
        wait_until(&what, within, || self.ended())
    }

    /// What it has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Both streams under headings, for messages.
    #[must_use]
    pub fn output(&self) -> String {
        let tail = |text: String| {
            let start = (text.len().saturating_sub(SHOWN)..text.len()).find(|index| text.is_char_boundary(*index));
            text[start.unwrap_or(0)..].to_owned()
        };
        format!("--- {0} stdout\n{1}\n--- {0} stderr\n{2}", self.name, tail(self.stdout()), tail(self.stderr()))
    }

    /// Stops it where it stands (SIGSTOP): its port still accepts connections, and nobody answers.
    pub fn pause(&self) {
        let _ = kill_process_group(self.group, Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        let _ = kill_process_group(self.group, Signal::CONT);
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let _ = kill_process(self.group, Signal::TERM);
    }

    /// Ends its whole group at once (SIGKILL), and waits for the child.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.resume();
            self.terminate();
            let start = Instant::now();
            while self.ended().is_none() && start.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // First the watchdog: once the group is gone, its id may come to belong to others.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
    }
}

/// A shell that waits for the end of its input, which comes when the test process ends in whatever way, and then kills the
/// group. Nothing is ever written to that input.
fn watchdog(group: Pid) -> Child {
    let script = format!("read -r _; kill -s KILL -- -{}", group.as_raw_nonzero());
    Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("/bin/sh starts")
}

fn captured(stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let captured = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&captured);
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            kept.lock().unwrap().append(&mut line);
        }
    });
    captured
}
