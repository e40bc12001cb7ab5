//! Where secrets and keys come from: the environment, or files that others replace while we run.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::file::quoted_path;

/// Larger than any key: a PEM of RSA-8192 has 6.5 KiB.
const MOST_BYTES: usize = 64 * 1024;

/// Why nothing usable was read. No content is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It cannot be opened or read.
    #[error("expected a readable file at {at}, found: {found}; hint: {hint}")]
    Unreadable {
        /// The path, quoted.
        at: String,
        /// The system's answer, or what it is instead.
        found: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// Another process was writing it.
    #[error("expected {at} to stay as it is while it is read, found it changing; hint: replace it by rename")]
    Changing {
        /// The path, quoted.
        at: String,
    },
}

/// A secret's bytes or where to read them. Cloning copies the secret; the copy is wiped too.
#[derive(Clone)]
pub(crate) enum Source {
    /// From the environment, read when the process started.
    Value(Zeroizing<Vec<u8>>),
    /// A file, opened by its path at every use: a mounted Kubernetes secret changes by swapping a symbolic link.
    File(PathBuf),
}

impl Source {
    /// The bytes. A text's final line break is not part of it: `echo` and editors add one. Other bytes stay as they are.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let at = || quoted_path(path);
    let unreadable = |found: String, hint| ReadError::Unreadable { at: at(), found, hint };
    let system = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path and the mount of the secret",
            std::io::ErrorKind::PermissionDenied => "make it readable for this user (in a pod: defaultMode, fsGroup)",
            _ => "check the volume",
        };
        unreadable(error.to_string(), hint)
    };
    // Without O_NONBLOCK, opening a pipe would wait for its writer for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(system)?;
    let before = file.metadata().map_err(system)?;
    if !before.is_file() {
        return Err(unreadable("something that is no regular file".to_owned(), "give the path of a file"));
    }
    let length = usize::try_from(before.len()).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Err(unreadable(format!("{length} bytes"), "no key is longer than 64 KiB"));
    }
    // One buffer of the whole size and one byte more: growing would leave copies behind that nobody wipes.
    let mut content = Zeroizing::new(vec![0; length + 1]);
    let mut filled = 0;
    loop {
        let room = content.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            break;
        }
        match file.read(room) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(system(error)),
        }
    }
    let after = file.metadata().map_err(system)?;
    let state = |found: &std::fs::Metadata| (found.len(), found.mtime(), found.mtime_nsec(), found.ctime_nsec());
    if filled != length || state(&before) != state(&after) {
        return Err(ReadError::Changing { at: at() });
    }
    let length = without_line_break(content.get(..length).unwrap_or_default());
    content.truncate(length);
    Ok(content)
}

/// The length without the final line break of a text; the whole length of anything else.
fn without_line_break(content: &[u8]) -> usize {
    let body = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    let text = std::str::from_utf8(body).is_ok_and(|text| text.chars().all(|c| !c.is_control() || c.is_whitespace()));
    if text { body.len() } else { content.len() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{ReadError, Source, without_line_break};

    #[test]
    fn only_a_text_loses_its_final_line_break() {
        assert_eq!(without_line_break(b"secret\n"), 6);
        assert_eq!(without_line_break(b"secret\r\n"), 6);
        assert_eq!(without_line_break(b"secret\n\n"), 7);
        assert_eq!(without_line_break(b"\x00\x01\xff\n"), 4);
        assert_eq!(without_line_break(b"secret "), 7);
    }

    #[test]
    fn a_file_is_read_anew_and_other_things_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = Source::File(path.clone());
        assert!(matches!(source.read(), Err(ReadError::Unreadable { .. })));
        fs::write(&path, "one\n").unwrap();
        assert_eq!(source.read().unwrap().as_slice(), b"one");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("..data", &path).unwrap();
        fs::write(folder.path().join("..data"), "two").unwrap();
        assert_eq!(source.read().unwrap().as_slice(), b"two");
        assert!(matches!(Source::File(folder.path().into()).read(), Err(ReadError::Unreadable { .. })));
        assert!(matches!(Source::File("/dev/zero".into()).read(), Err(ReadError::Unreadable { .. })));
        fs::write(folder.path().join("..data"), vec![7; 65 * 1024]).unwrap();
        assert!(matches!(source.read(), Err(ReadError::Unreadable { .. })));
    }
}
