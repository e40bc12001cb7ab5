//! From a path to an open directory, component by component, so that nobody's symbolic link leads somewhere else.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{WriteError, quoted_path};

/// As many links as Linux itself follows in one path.
const MOST_LINKS: usize = 40;

/// A directory on the way need not be readable. Only Linux has descriptors for that.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PASS: OFlags = OFlags::RDONLY;

/// Opens the directory `path`, makes what is missing of it (0755 less the umask).
///
/// # Errors
/// A link that somebody else could have put there, something that is no directory, or what the system says.
pub(super) fn open(path: &Path) -> Result<OwnedFd, WriteError> {
    let mut walk = Walk { at: PathBuf::new(), directory: start(Path::new("."))?, ahead: Vec::new(), links: 0 };
    walk.push(path);
    while let Some(step) = walk.ahead.pop() {
        walk.step(&step)?;
    }
    // A descriptor that can be read and synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&walk.directory, ".", flags, Mode::empty())
        .map_err(WriteError::system("open the directory", path))
}

/// Makes the directory's entries durable. File systems that cannot sync a directory say so, and need not.
pub(super) fn sync(directory: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::fsync(directory) {
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

fn start(path: &Path) -> Result<OwnedFd, WriteError> {
    let flags = PASS | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(WriteError::system("open the directory", path))
}

struct Walk {
    /// Where we are, for messages.
    at: PathBuf,
    directory: OwnedFd,
    /// Components still to go, the next one last.
    ahead: Vec<OsString>,
    links: usize,
}

impl Walk {
    fn push(&mut self, path: &Path) {
        self.ahead.extend(path.components().rev().map(|component| component.as_os_str().to_owned()));
    }

    fn step(&mut self, name: &OsStr) -> Result<(), WriteError> {
        if Path::new(name).components().next() == Some(Component::RootDir) {
            self.directory = start(Path::new("/"))?;
            self.at = PathBuf::from("/");
            return Ok(());
        }
        let at = self.at.join(name);
        let flags = PASS | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.directory, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => {
                self.make(name, &at)?;
                open()
            }
            other => other,
        };
        match opened {
            Ok(directory) => {
                self.directory = directory;
                self.at = at;
                Ok(())
            }
            Err(Errno::NOTDIR | Errno::LOOP) => self.follow(name, &at),
            Err(error) => Err(WriteError::system("open the directory", &at)(error)),
        }
    }

    fn make(&self, name: &OsStr, at: &Path) -> Result<(), WriteError> {
        let failed = WriteError::system("make the directory", at);
        match rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            // Another process made it first.
            Err(Errno::EXIST) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, ".", flags, Mode::empty()) {
            Ok(parent) => sync(&parent).map_err(failed),
            // A parent that may be written but not read cannot be synced.
            Err(_) => Ok(()),
        }
    }

    fn follow(&mut self, name: &OsStr, at: &Path) -> Result<(), WriteError> {
        let failed = WriteError::system("look at", at);
        let stat = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            let found = "something else";
            return Err(WriteError::InTheWay { expected: "a directory", at: quoted_path(at), found });
        }
        let link = |hint| WriteError::Link { at: quoted_path(at), hint };
        let directory = rustix::fs::fstat(&self.directory).map_err(&failed)?;
        if !only_ours(&directory) || !owned_by_us(&stat) {
            return Err(link("others may write that directory, so the link may be theirs; give the path it points to"));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(link("it leads in a circle"));
        }
        let target = rustix::fs::readlinkat(&self.directory, name, Vec::new()).map_err(&failed)?;
        self.push(Path::new(OsStr::from_bytes(target.as_bytes())));
        Ok(())
    }
}

fn owned_by_us(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether only `root` and this user can put links there that they own: in a directory with the sticky bit, such as
/// `/tmp`, others can neither replace nor rename what is not theirs.
fn only_ours(stat: &Stat) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    owned_by_us(stat) && (!mode.intersects(Mode::WGRP | Mode::WOTH) || mode.contains(Mode::SVTX))
}
