//! Where things are: the repository, and tools that are not ours.

use std::path::{Path, PathBuf};

/// A variable of the test process's environment.
#[expect(clippy::disallowed_methods, reason = "tests have no shell that reads the environment for them")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The root of the repository.
///
/// # Panics
/// When this crate has been moved out of it.
#[must_use]
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("shared/testkit is two folders below the root")
}

/// The executable `name`: under the folder that `TOKEN_TOOLS` names, then in the repository's `.tools/venv/bin`, then on
/// `PATH`.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let own = variable("TOKEN_TOOLS").map(PathBuf::from).into_iter();
    let own = own.flat_map(|root| [root.join("venv/bin"), root.join("bin"), root]);
    let path = variable("PATH").unwrap_or_default();
    let folders = own.chain([workspace_root().join(".tools/venv/bin")]).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// The folder that Node's packages are in, if `package` is one of them: under the folder that `TOKEN_TOOLS` names, then in
/// the repository's `.tools/node`.
#[must_use]
pub fn node_modules(package: &str) -> Option<PathBuf> {
    let own = variable("TOKEN_TOOLS").map(PathBuf::from).into_iter();
    let roots = own.chain([workspace_root().join(".tools")]);
    roots.map(|root| root.join("node/node_modules")).find(|folder| folder.join(package).is_dir())
}

/// Says that a test did nothing, in the form that `.ci/run` counts.
pub fn skipped(component: &str) {
    println!("skipped: {component} not on this machine");
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
