//! The Lambda binaries: built by a nested cargo, or taken from a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// The function behind `POST /token`.
pub const ISSUER: &str = "jwt-issuer";
/// The function behind `GET /.well-known/*`.
pub const JWKS: &str = "jwks";

/// Where the two binaries are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// `jwt-issuer`.
    pub issuer: PathBuf,
    /// `jwks`.
    pub jwks: PathBuf,
}

/// Binaries that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BinariesError {
    /// Not in the directory.
    #[error(
        "--bin-dir: expected {} or {}, found neither; hint: build with `cargo build -p jwt-issuer -p jwks`",
        directory.join(name).display(), directory.join(name).join("bootstrap").display()
    )]
    Absent {
        /// The directory.
        directory: PathBuf,
        /// The binary's name.
        name: &'static str,
    },
    /// The workspace is not where this binary was built.
    #[error(
        "expected the workspace's Cargo.toml at {path}, found none; hint: --bin-dir DIR uses Lambda binaries that are built \
         already"
    )]
    NoWorkspace {
        /// Where it was looked for.
        path: String,
    },
    /// Cargo does not run.
    #[error(
        "expected to run {cargo}, found: {source}; hint: --bin-dir DIR uses Lambda binaries that are built already"
    )]
    NoCargo {
        /// The program.
        cargo: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Cargo failed; it said why.
    #[error("the Lambda binaries do not build; cargo's messages are above")]
    Failed,
    /// Cargo succeeded but named no such binary.
    #[error("expected cargo to build the binary {0}, found no such artifact")]
    NotBuilt(&'static str),
}

/// Takes both from `directory`: `DIR/NAME`, or `DIR/NAME/bootstrap` as cargo-lambda lays it out.
///
/// # Errors
/// [`BinariesError::Absent`].
pub fn in_directory(directory: &Path) -> Result<Binaries, BinariesError> {
    let find = |name: &'static str| {
        let plain = directory.join(name);
        [plain.clone(), plain.join("bootstrap")]
            .into_iter()
            .find(|path| path.is_file())
            // Relative to here, whatever directory the function starts in.
            .and_then(|path| std::path::absolute(path).ok())
            .ok_or_else(|| BinariesError::Absent { directory: directory.to_owned(), name })
    };
    Ok(Binaries { issuer: find(ISSUER)?, jwks: find(JWKS)? })
}

/// Builds both with `cargo` in `profile`; its messages go to standard error. With everything compiled this links at most.
///
/// The same packages are selected as by `cargo run -p local-gateway`, plus the two: with the same features nothing is
/// compiled twice.
///
/// # Errors
/// [`BinariesError`], without cargo's own messages.
pub async fn build(cargo: &str, profile: &str, target: &TargetDir) -> Result<Binaries, BinariesError> {
    let manifest = workspace_manifest()?;
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "local-gateway", "--package", ISSUER, "--package", JWKS, "--bins"])
        .args(["--profile", profile, "--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    if let Some(root) = manifest.parent() {
        // Cargo looks for its configuration files from here upwards.
        command.current_dir(root);
    }
    if let Some(directory) = &target.root {
        command.arg("--target-dir").arg(directory);
    }
    if let Some(triple) = &target.triple {
        command.args(["--target", triple]);
    }
    let no_cargo = |source| BinariesError::NoCargo { cargo: cargo.to_owned(), source };
    let mut child = command.spawn().map_err(no_cargo)?;
    let mut executables = BTreeMap::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.map_err(no_cargo)? {
            executables.extend(executable(&line));
        }
    }
    if !child.wait().await.map_err(no_cargo)?.success() {
        return Err(BinariesError::Failed);
    }
    let mut take = |name: &'static str| executables.remove(name).ok_or(BinariesError::NotBuilt(name));
    Ok(Binaries { issuer: take(ISSUER)?, jwks: take(JWKS)? })
}

/// The name and path of the binary that a line of cargo's JSON messages announces.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let binary = target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin");
    let name = target.get("name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    binary.then(|| (name.to_owned(), path.into()))
}

fn workspace_manifest() -> Result<PathBuf, BinariesError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = here.ancestors().nth(2).unwrap_or(here).join("Cargo.toml");
    if manifest.is_file() {
        Ok(manifest)
    } else {
        Err(BinariesError::NoWorkspace { path: manifest.display().to_string() })
    }
}

/// Cargo's target directory, as far as it can be told from where this program is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetDir {
    /// The directory; `None` leaves it to cargo (and to the current directory's `target`).
    pub root: Option<PathBuf>,
    /// The target triple this program was built for, where one was asked for.
    pub triple: Option<String>,
}

impl TargetDir {
    /// From the path of this program, `ROOT[/TRIPLE]/PROFILE[/deps]/NAME`. Cargo marks the root with `.rustc_info.json`.
    #[must_use]
    pub fn of(executable: &Path) -> Self {
        for (depth, directory) in executable.ancestors().enumerate().skip(1).take(4) {
            if directory.join(".rustc_info.json").is_file() {
                let between: Vec<String> = executable
                    .ancestors()
                    .take(depth)
                    .skip(1)
                    .filter_map(|path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned))
                    .filter(|name| name != "deps")
                    .collect();
                // Between program and root, from the inside out: the profile's directory, then the triple's if there is one.
                return Self { root: Some(directory.to_owned()), triple: between.get(1).cloned() };
            }
        }
        Self::default()
    }

    /// Where generated files go.
    #[must_use]
    pub fn local_gateway(&self) -> PathBuf {
        let fallback = || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(|root| root.join("target"));
        let usable = || fallback().filter(|target| target.parent().is_some_and(Path::is_dir));
        self.root.clone().or_else(usable).unwrap_or_else(|| PathBuf::from("target")).join("local-gateway")
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{BinariesError, TargetDir, executable, in_directory};

    #[test]
    fn the_target_directory_is_told_from_the_programs_path() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("target");
        std::fs::create_dir_all(&root).unwrap();
        assert_eq!(TargetDir::of(&root.join("debug/local-gateway")), TargetDir::default());
        std::fs::write(root.join(".rustc_info.json"), "{}").unwrap();
        for (path, triple) in [
            ("debug/local-gateway", None),
            ("debug/deps/local_gateway-0123", None),
            ("aarch64-unknown-linux-gnu/release/local-gateway", Some("aarch64-unknown-linux-gnu")),
        ] {
            let expected = TargetDir { root: Some(root.clone()), triple: triple.map(str::to_owned) };
            assert_eq!(TargetDir::of(&root.join(path)), expected, "{path}");
        }
        assert_eq!(TargetDir::of(Path::new("/usr/bin/local-gateway")), TargetDir::default());
    }

    #[test]
    fn cargos_messages_name_the_binaries() {
        let artifact =
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"jwks"},"executable":"/t/debug/jwks"}"#;
        assert_eq!(executable(artifact), Some(("jwks".to_owned(), PathBuf::from("/t/debug/jwks"))));
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"jwks"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("not JSON"), None);
    }

    #[test]
    fn a_directory_has_both_binaries_plain_or_as_bootstrap() {
        let directory = tempfile::tempdir().unwrap();
        let issuer = directory.path().join("jwt-issuer");
        std::fs::write(&issuer, "").unwrap();
        assert!(matches!(in_directory(directory.path()), Err(BinariesError::Absent { name: "jwks", .. })));
        std::fs::create_dir(directory.path().join("jwks")).unwrap();
        let bootstrap = directory.path().join("jwks/bootstrap");
        std::fs::write(&bootstrap, "").unwrap();
        let found = in_directory(directory.path()).unwrap();
        assert_eq!((found.issuer, found.jwks), (issuer, bootstrap));
    }
}
