//! Writing a token where another program reads it: whole or not at all, and only where the operator said.
//!
//! # Invariants
//! - A reader sees the old content or the new one, never a part and never nothing: a temporary file in the same
//!   directory gets mode, owner and content, is synced, and takes the name by `rename`; then the directory is synced.
//! - Nothing is written through a symbolic link. One at the file's own name is refused; one in the directories above is
//!   followed only where nobody else could have put it: `root` or this user owns it and its directory.
//! - Whatever fails, the old file stays as it was and the temporary one is removed. What a killed run left behind goes
//!   with the next write; a file that another run is still writing is left alone (it holds a lock).
//!
//! # Example
//! ```
//! use jwt_generator::file::{FileOptions, TokenFile};
//! use token_shell::OsIds;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let file = TokenFile::open(directory.path().join("token/token.jwt"), &FileOptions::default())?;
//! file.write("eyJ0eXAiOiJKV1Qi…".as_bytes(), &OsIds)?;
//! assert_eq!(std::fs::read(file.path())?, "eyJ0eXAiOiJKV1Qi…".as_bytes());
//! # Ok(())
//! # }
//! ```

mod directory;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use token_shell::IdSource;

use crate::exit::Exit;

/// Who may read the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Permission bits, whatever the umask: 0600 by default. See [`FileMode`] for what the command line admits.
    pub mode: u32,
    /// Owner to give the file to; none = the user of this process. Needs `CAP_CHOWN`.
    pub owner: Option<Owner>,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { mode: FileMode::default().0, owner: None }
    }
}

/// `--owner UID[:GID]`, numbers only: a container has no user names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id; none = as the file was created.
    pub gid: Option<u32>,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || format!("expected UID or UID:GID as decimal numbers, found {}", quoted(text));
        // The highest number means "leave as it is" to the system call.
        let id = |text: &str| -> Result<u32, String> {
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(refused());
            }
            text.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(refused)
        };
        match text.split_once(':') {
            None => Ok(Self { uid: id(text)?, gid: None }),
            Some((uid, gid)) => Ok(Self { uid: id(uid)?, gid: Some(id(gid)?) }),
        }
    }
}

/// `--mode`: octal permission bits of a file that holds a token. Readable by its owner, never executable, never writable
/// by everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Default for FileMode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |hint| format!("expected an octal mode such as 0600, found {}{hint}", quoted(text));
        if !(3..=4).contains(&text.len()) || !text.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
            return Err(refused(""));
        }
        let mode = u32::from_str_radix(text, 8).map_err(|_| refused(""))?;
        if mode & !0o664 != 0 || mode & 0o400 == 0 {
            return Err(refused("; hint: readable by its owner, not executable, not writable by everybody"));
        }
        Ok(Self(mode))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Why nothing was written; the old file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The path cannot name a file.
    #[error("expected the path of a file to write, found {found}; hint: {hint}")]
    Path {
        /// The path, quoted.
        found: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// A symbolic link that somebody else could have put there.
    #[error("expected no symbolic link, found one at {at}; hint: {hint}")]
    Link {
        /// Where, quoted.
        at: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// Something that is not a directory, or not a regular file, is in the way.
    #[error("expected {expected} at {at}, found {found}; hint: give another path")]
    InTheWay {
        /// What ought to be there.
        expected: &'static str,
        /// Where, quoted.
        at: String,
        /// What is there.
        found: &'static str,
    },
    /// The system refused.
    #[error("expected to {doing} {at}, found: {source}; hint: {}", hint(*source))]
    System {
        /// The step.
        doing: &'static str,
        /// Where, quoted.
        at: String,
        /// The system's answer.
        source: Errno,
    },
}

impl WriteError {
    /// [`Exit::Usage`] when the path can never work, else [`Exit::CannotWrite`].
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Path { .. } => Exit::Usage,
            _ => Exit::CannotWrite,
        }
    }

    fn system(doing: &'static str, at: &Path) -> impl Fn(Errno) -> Self {
        let at = quoted_path(at);
        move |source| Self::System { doing, at: at.clone(), source }
    }
}

fn hint(error: Errno) -> &'static str {
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => "free space or enlarge the volume; the old file is untouched",
        Errno::ROFS => "mount the volume writable; the old file is untouched",
        Errno::ACCESS | Errno::PERM => "run as a user who may write there (in a pod: runAsUser, fsGroup)",
        Errno::NAMETOOLONG => "give a shorter path",
        _ => "check the volume; the old file is untouched",
    }
}

/// A file that is replaced as a whole.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    name: OsString,
    options: FileOptions,
}

impl TokenFile {
    /// Takes the path; nothing is looked at before [`TokenFile::write`], which resolves it anew every time.
    ///
    /// # Errors
    /// [`WriteError::Path`] when the path cannot name a file: empty, ending in `/`, `.` or `..`, or with a NUL.
    pub fn open(path: impl Into<PathBuf>, options: &FileOptions) -> Result<Self, WriteError> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        let refused = |hint| Err(WriteError::Path { found: quoted_path(&path), hint });
        if bytes.contains(&0) {
            return refused("a path has no NUL");
        }
        let last = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if matches!(last, b"" | b"." | b"..") {
            return refused("end the path with the file's name, such as /token/token.jwt");
        }
        let name = OsStr::from_bytes(last).to_owned();
        Ok(Self { path, name, options: *options })
    }

    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the content. `ids` names the temporary file.
    ///
    /// # Errors
    /// [`WriteError`]; the old file, if any, is as it was.
    pub fn write(&self, content: &[u8], ids: &dyn IdSource) -> Result<(), WriteError> {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = directory::open(parent)?;
        self.refuse_other_than_file(&directory)?;
        self.remove_leftovers(&directory);
        let mut temporary = self.create_temporary(&directory, ids)?;
        self.fill(&mut temporary.file, content)?;
        rustix::fs::renameat(&directory, &temporary.name, &directory, &self.name)
            .map_err(WriteError::system("rename the finished file to", &self.path))?;
        temporary.renamed = true;
        directory::sync(&directory).map_err(WriteError::system("sync the directory of", &self.path))
    }

    /// `rename` would not follow a link either, but replace it: that is refused too, because a link at this place is
    /// somebody's intention or attack and not ours. The same goes for devices: `/dev/null` must survive.
    fn refuse_other_than_file(&self, directory: &OwnedFd) -> Result<(), WriteError> {
        let at = || quoted_path(&self.path);
        let stat = match rustix::fs::statat(directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(WriteError::system("look at", &self.path)(error)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(()),
            FileType::Symlink => Err(WriteError::Link { at: at(), hint: "remove it, or give the path it points to" }),
            FileType::Directory => Err(WriteError::InTheWay { expected: "a file", at: at(), found: "a directory" }),
            _ => Err(WriteError::InTheWay { expected: "a file", at: at(), found: "a device, pipe or socket" }),
        }
    }

    /// Removes what killed runs left: regular files of our own name pattern that no process holds a lock on. Frees space
    /// before the next write needs it. Failures do not matter: the write itself will tell.
    fn remove_leftovers(&self, directory: &OwnedFd) {
        let Ok(entries) = Dir::read_from(directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !self.is_temporary_name(name.to_bytes()) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::openat(directory, name, flags, Mode::empty()) else { continue };
            let regular = rustix::fs::fstat(&file)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            if regular && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
            }
        }
    }

    fn create_temporary<'a>(&self, directory: &'a OwnedFd, ids: &dyn IdSource) -> Result<Temporary<'a>, WriteError> {
        let failed = WriteError::system("create a temporary file beside", &self.path);
        for _ in 0..TEMPORARY_ATTEMPTS {
            let name = self.temporary_name(&ids.next_id());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file,
                Err(Errno::EXIST | Errno::INTR) => continue,
                Err(error) => return Err(failed(error)),
            };
            let temporary = Temporary { directory, name, file: File::from(file), renamed: false };
            // A run that cleans up may have taken the lock between creation and here: then the name is gone.
            match rustix::fs::flock(&temporary.file, FlockOperation::LockExclusive) {
                Ok(()) => {
                    let stat = rustix::fs::fstat(&temporary.file).map_err(&failed)?;
                    if stat.st_nlink > 0 {
                        return Ok(temporary);
                    }
                }
                Err(Errno::INTR) => {}
                // A file system without locks: nobody can take it for a leftover either.
                Err(_) => return Ok(temporary),
            }
        }
        Err(failed(Errno::EXIST))
    }

    fn fill(&self, file: &mut File, content: &[u8]) -> Result<(), WriteError> {
        let failed = |doing| WriteError::system(doing, &self.path);
        // Mode before owner (whoever gave a file away may no longer change it), both before the content.
        rustix::fs::fchmod(&*file, Mode::from_raw_mode(self.options.mode)).map_err(failed("set the mode of"))?;
        if let Some(owner) = self.options.owner {
            let gid = owner.gid.map(Gid::from_raw);
            rustix::fs::fchown(&*file, Some(Uid::from_raw(owner.uid)), gid).map_err(failed("set the owner of"))?;
        }
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        file.write_all(content).map_err(|error| failed("write")(errno(error)))?;
        file.sync_all().map_err(|error| failed("sync")(errno(error)))
    }

    fn temporary_name(&self, id: &str) -> OsString {
        let mut name = self.temporary_prefix();
        name.extend_from_slice(id.as_bytes());
        name.extend_from_slice(TEMPORARY_SUFFIX);
        OsString::from_vec(name)
    }

    fn temporary_prefix(&self) -> Vec<u8> {
        let name = self.name.as_bytes();
        [b".", name.get(..NAME_PART).unwrap_or(name), b"."].concat()
    }

    fn is_temporary_name(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.temporary_prefix().as_slice())
            .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
            .is_some_and(|id| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit))
    }
}

/// Names are drawn from 128 bits; only a clean-up at the same instant makes a second one necessary.
const TEMPORARY_ATTEMPTS: usize = 16;
const TEMPORARY_SUFFIX: &[u8] = b".tmp";
/// A file name has at most 255 bytes.
const NAME_PART: usize = 200;

/// The file being written; it removes itself unless it was renamed.
struct Temporary<'a> {
    directory: &'a OwnedFd,
    name: OsString,
    file: File,
    renamed: bool,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = rustix::fs::unlinkat(self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Foreign text in a message: quoted, escaped, at most 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    bounded(text, 64)
}

/// A path in a message: quoted, escaped, at most 256 characters.
pub(crate) fn quoted_path(path: &Path) -> String {
    bounded(&path.to_string_lossy(), 256)
}

fn bounded(text: &str, most: usize) -> String {
    let more = if text.chars().count() > most { "…" } else { "" };
    let shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    format!("\"{shown}{more}\"")
}

#[cfg(test)]
mod tests {
    use super::{FileMode, FileOptions, Owner, TokenFile};

    #[test]
    fn a_path_must_name_a_file() {
        for path in ["", "/", "token/", "/token/.", "..", "a\0b"] {
            let error = TokenFile::open(path, &FileOptions::default()).unwrap_err();
            assert_eq!(error.exit().code(), 64, "{path:?}: {error}");
        }
        assert!(TokenFile::open("token.jwt", &FileOptions::default()).is_ok());
    }

    #[test]
    fn modes_are_octal_and_sane() {
        for (text, mode) in [("0600", 0o600), ("640", 0o640), ("0444", 0o444), ("0644", 0o644)] {
            assert_eq!(text.parse(), Ok(FileMode(mode)));
        }
        for text in ["", "0", "600x", "0666", "0700", "4600", "0200", "00600", "+600", "0o600"] {
            assert!(text.parse::<FileMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn owners_are_numbers() {
        assert_eq!("1000".parse(), Ok(Owner { uid: 1000, gid: None }));
        assert_eq!("0:65532".parse(), Ok(Owner { uid: 0, gid: Some(65532) }));
        for text in ["", ":", "1000:", ":1000", "root", "-1", "+1", "4294967295", "4294967296", "1:2:3"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_temporary_name_is_recognised_and_no_other() {
        let file = TokenFile::open("/t/token.jwt", &FileOptions::default()).unwrap();
        let name = file.temporary_name(&"ab".repeat(16));
        assert!(file.is_temporary_name(name.as_encoded_bytes()));
        for other in ["token.jwt", ".token.jwt.tmp", ".other.jwt.abababababababababababababababab.tmp", "..tmp"] {
            assert!(!file.is_temporary_name(other.as_bytes()), "{other}");
        }
        let long = TokenFile::open(format!("/t/{}", "n".repeat(255)), &FileOptions::default()).unwrap();
        assert!(long.temporary_name(&"ab".repeat(16)).len() <= 255);
    }
}
