//! Clients that nobody here wrote: the scripts in `examples` and `tests/clients`, each around one published library.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use token_testkit::{GatewayPrincipal, node_modules, skipped, tool, workspace_root};

/// A script that can run on this machine.
#[derive(Debug)]
pub struct Script {
    program: PathBuf,
    before: Vec<String>,
    file: PathBuf,
    _folder: Option<TempDir>,
}

/// Where the script `name` is.
fn script(name: &str) -> PathBuf {
    let folders = ["examples/python", "examples/node", "tests/clients"].map(|folder| workspace_root().join(folder));
    let files = folders.map(|folder| folder.join(name));
    files.iter().find(|file| file.is_file()).unwrap_or(&files[2]).clone()
}

impl Script {
    /// The script `name`, which needs the Python module or Node package `library`. Without it, says that it is skipped.
    #[must_use]
    pub fn find(name: &str, library: &str) -> Option<Self> {
        let found = if name.ends_with(".mjs") { Self::node(name, library) } else { Self::python(name, library) };
        if found.is_none() {
            skipped(library);
        }
        found
    }

    /// A few lines of Python that need the module `library`. Without it, says that they are skipped.
    #[must_use]
    pub fn python_lines(lines: &str, library: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lines.py"), lines).unwrap();
        let Some(found) = Self::python("", library) else {
            skipped(library);
            return None;
        };
        Some(Self { file: folder.path().join("lines.py"), _folder: Some(folder), ..found })
    }

    fn python(name: &str, library: &str) -> Option<Self> {
        let program = tool("python3")?;
        let import = Command::new(&program).args(["-c", &format!("import {library}")]).stderr(Stdio::null()).status();
        let before = vec!["-W".to_owned(), "ignore".to_owned()];
        let file = script(name);
        import.ok()?.success().then_some(Self { program, before, file, _folder: None })
    }

    /// Node looks for packages beside the script's folder, so the script is copied beside them.
    fn node(name: &str, library: &str) -> Option<Self> {
        let (program, packages) = (tool("node")?, node_modules(library)?);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::copy(script(name), &file).unwrap();
        std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).unwrap();
        Some(Self { program, before: Vec::new(), file, _folder: Some(folder) })
    }

    /// Runs it: what it printed, or what it said when it refused.
    ///
    /// # Errors
    /// Its standard error, when it ends with another status than 0.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, arguments: &[&str], credentials: Option<&GatewayPrincipal>) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.before).arg(&self.file).args(arguments).stdin(Stdio::null());
        command.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN").envs([("NO_PROXY", "*"), ("no_proxy", "*")]);
        if let Some(principal) = credentials {
            command.env("AWS_ACCESS_KEY_ID", &principal.access_key_id);
            command.env("AWS_SECRET_ACCESS_KEY", &principal.secret_access_key);
            command.envs(principal.session_token.as_ref().map(|token| ("AWS_SESSION_TOKEN", token)));
        }
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// What a verifier says of `token`: its JSON, or why it refuses.
    ///
    /// # Errors
    /// The line that begins `refused:`.
    ///
    /// # Panics
    /// When it fails in another way than by refusing.
    pub fn verify(&self, issuer: &str, audience: &str, token: &str) -> Result<Value, String> {
        match self.run(&[issuer, audience, token], None) {
            Ok(line) => Ok(serde_json::from_str(&line).unwrap()),
            Err(text) => {
                let refusal = text.lines().find(|line| line.starts_with("refused: "));
                Err(refusal.unwrap_or_else(|| panic!("{} fails: {text}", self.file.display())).to_owned())
            }
        }
    }
}
