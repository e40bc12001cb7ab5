//! The workspace's own executables, built from the sources under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::tools::{variable, workspace_root};

/// The folder with the workspace's executables (`jwt-issuer`, `jwks`, `local-gateway`, …).
///
/// `TOKEN_BIN_DIR` names a folder that is used as it is. Otherwise they are built first, once per test process, in the
/// profile and target folder of the running test: `cargo test` alone builds the executables of a test's own package only,
/// and a stale one would be worse than none. The whole workspace is built, because a part of it would compile the
/// dependencies again with other features.
///
/// # Panics
/// When they do not compile.
#[must_use]
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| variable("TOKEN_BIN_DIR").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("a test knows its own executable");
    let folder = test.ancestors().nth(2).expect("a test executable lies in TARGET/PROFILE/deps");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["build", "--workspace", "--bins", "--quiet", "--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("PROFILE lies in TARGET"))
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the workspace builds:\n{}", String::from_utf8_lossy(&output.stderr));
    folder.to_owned()
}
