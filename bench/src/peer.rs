//! Libraries of other languages: a child process that measures itself when told to, one line each way.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use token_testkit::{tool, workspace_root};

/// Where `scripts/bench` puts what the Node peers need.
pub(crate) const NODE_PEERS: &str = ".tools/bench";

/// One running peer.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// PyJWT and npm jose, whichever this machine has. `task` says what they work on.
    pub(crate) fn all(task: &Value) -> Vec<Self> {
        let bundle = workspace_root().join(NODE_PEERS).join("library.mjs");
        let python = workspace_root().join("bench/peers/library.py");
        [("PyJWT", tool("python3"), python, "PyJWT"), ("jose", tool("node"), bundle, "npm jose")]
            .into_iter()
            .filter_map(|(name, program, script, component)| {
                let peer =
                    program.filter(|_| script.exists()).and_then(|program| Self::start(name, &program, &script, task));
                if peer.is_none() {
                    eprintln!("skipped: {component} not on this machine; hint: bash scripts/bench installs it");
                }
                peer
            })
            .collect()
    }

    fn start(name: &'static str, program: &Path, script: &Path, task: &Value) -> Option<Self> {
        let mut child = Command::new(program).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (input, output) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut peer = Self { name, child, input, output };
        peer.ask(task).map(|_| peer)
    }

    /// CPU seconds per operation, over `count` of them.
    pub(crate) fn measure(&mut self, operation: &str, count: u32) -> f64 {
        let answer = self.ask(&json!({"operation": operation, "count": count}));
        let answer = answer.unwrap_or_else(|| panic!("{} ended instead of answering", self.name));
        answer.get("cpu_s").and_then(Value::as_f64).expect("a peer answers with cpu_s") / f64::from(count)
    }

    /// The token that it makes, for checking that it does the work.
    pub(crate) fn token(&mut self, operation: &str) -> String {
        let answer = self.ask(&json!({"operation": operation, "count": 1})).expect("a peer answers");
        answer.get("token").and_then(Value::as_str).expect("an encoding peer answers with its last token").to_owned()
    }

    fn ask(&mut self, question: &Value) -> Option<Value> {
        writeln!(self.input, "{question}").ok()?;
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
