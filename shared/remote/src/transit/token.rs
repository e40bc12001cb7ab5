//! The token that opens Transit: where it comes from, and how long it lives.

use std::fmt;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// The longest token that is read, in bytes; batch tokens are the long ones.
const MAX_TOKEN_BYTES: usize = 4_096;

/// The shortest and the longest pause after a failed or refused renewal.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// A token as it stands in its file, wiped when dropped.
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The file that an agent keeps the token in.
///
/// It is looked at before each use and read again when it is another file or another content: inode, size and times of what
/// the path leads to, so that a rename and the symlink swap of a projected volume are seen without a watcher. A file that is
/// gone or half written does not stop what works: the last token serves until the server refuses it.
pub(crate) struct TokenFile {
    path: PathBuf,
    held: Mutex<Option<Held>>,
    renewal: tokio::sync::Mutex<()>,
}

struct Held {
    token: Arc<Token>,
    stamp: Stamp,
    lease: Lease,
}

/// Which file, and which writing of it.
type Stamp = (u64, u64, u64, [i64; 4]);

/// What is known of a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lease {
    /// Nothing; it is worth asking from then on.
    Unknown { ask_from: Instant },
    /// It ends, and is renewed from `renew_from` on.
    Until { end: Instant, renew_from: Instant },
    /// It cannot be renewed, or does not end.
    Fixed,
}

/// What a caller should do for the token beside its own call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ask,
    Renew,
}

impl Lease {
    pub(crate) fn due(self, now: Instant) -> Due {
        match self {
            Self::Unknown { ask_from } if now >= ask_from => Due::Ask,
            Self::Until { renew_from, .. } if now >= renew_from => Due::Renew,
            _ => Due::Nothing,
        }
    }

    /// From the answer of `lookup-self`. `None` when it is no such answer.
    pub(crate) fn of_lookup(data: &Map<String, Value>, now: Instant) -> Option<Self> {
        let seconds = |member: &str| data.get(member).and_then(Value::as_u64);
        let left_s = seconds("ttl")?;
        let whole_s = seconds("creation_ttl").unwrap_or(0).max(seconds("period").unwrap_or(0)).max(left_s);
        let renewable = data.get("renewable").and_then(Value::as_bool).unwrap_or(false);
        if !renewable || left_s == 0 {
            return Some(Self::Fixed);
        }
        Self::until(now, left_s, left_s.saturating_sub(whole_s / 2))
    }

    /// From the answer of `renew-self`. `None` when it is no such answer.
    pub(crate) fn of_renewal(auth: &Map<String, Value>, now: Instant) -> Option<Self> {
        let left_s = auth.get("lease_duration").and_then(Value::as_u64)?;
        if left_s == 0 || auth.get("renewable").and_then(Value::as_bool) == Some(false) {
            return Some(Self::Fixed);
        }
        Self::until(now, left_s, (left_s / 2).max(PAUSE.start().as_secs()))
    }

    fn until(now: Instant, left_s: u64, pause_s: u64) -> Option<Self> {
        let after = |seconds| now.checked_add(Duration::from_secs(seconds));
        Some(Self::Until { end: after(left_s)?, renew_from: after(pause_s)? })
    }

    /// The same after an attempt that failed: tried again after a quarter of what is left.
    pub(crate) fn after_failure(self, now: Instant) -> Self {
        let later = |pause: Duration| now.checked_add(pause).unwrap_or(now);
        match self {
            Self::Unknown { .. } => Self::Unknown { ask_from: later(*PAUSE.end()) },
            Self::Until { end, .. } => {
                let quarter = end.saturating_duration_since(now) / 4;
                Self::Until { end, renew_from: later(quarter.clamp(*PAUSE.start(), *PAUSE.end())) }
            }
            Self::Fixed => Self::Fixed,
        }
    }
}

/// A token file that holds no token. Never repeats what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    Unreadable(std::io::ErrorKind),
    NotAToken(&'static str),
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "expected a readable token file, found {kind}"),
            Self::NotAToken(found) => write!(f, "expected a token file with one token, found {found}"),
        }
    }
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, held: Mutex::new(None), renewal: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The token to use now.
    pub(crate) fn current(&self) -> Result<Arc<Token>, NoToken> {
        let stamp = std::fs::metadata(&self.path).map(|metadata| stamp(&metadata));
        let mut held = self.lock();
        match (&stamp, held.as_ref()) {
            (Ok(stamp), Some(held)) if held.stamp == *stamp => return Ok(Arc::clone(&held.token)),
            _ => {}
        }
        // The look came before the reading: a file replaced between them is read once more, never missed.
        match stamp.map_err(|error| NoToken::Unreadable(error.kind())).and_then(|stamp| Ok((stamp, self.read()?))) {
            Ok((stamp, token)) => Ok(adopt(&mut held, token, stamp)),
            Err(problem) => held.as_ref().map(|held| Arc::clone(&held.token)).ok_or(problem),
        }
    }

    /// The token in the file if it is another than `refused`, whatever the file's times say.
    pub(crate) fn other_than(&self, refused: &Token) -> Result<Option<Arc<Token>>, NoToken> {
        let stamp = std::fs::metadata(&self.path).map(|metadata| stamp(&metadata));
        let stamp = stamp.map_err(|error| NoToken::Unreadable(error.kind()))?;
        let token = adopt(&mut self.lock(), self.read()?, stamp);
        Ok((token.0 != refused.0).then_some(token))
    }

    fn read(&self) -> Result<Token, NoToken> {
        let unreadable = |error: std::io::Error| NoToken::Unreadable(error.kind());
        // Opening a pipe or a device may wait for ever.
        if !std::fs::metadata(&self.path).map_err(unreadable)?.is_file() {
            return Err(NoToken::NotAToken("something that is no regular file"));
        }
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_TOKEN_BYTES + 3));
        let file = std::fs::File::open(&self.path).map_err(unreadable)?;
        file.take(MAX_TOKEN_BYTES as u64 + 3).read_to_end(&mut text).map_err(unreadable)?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(NoToken::NotAToken("nothing"));
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(NoToken::NotAToken("more than 4096 bytes"));
        }
        match std::str::from_utf8(text) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Token(Zeroizing::new(text.to_owned()))),
            _ => Err(NoToken::NotAToken("spaces or characters that no token has")),
        }
    }

    /// What is due for this token, if nobody else does it already. The guard is held while it is done.
    pub(crate) fn due(
        &self,
        token: &Arc<Token>,
        now: Instant,
    ) -> Option<(Due, Lease, tokio::sync::MutexGuard<'_, ()>)> {
        let flight = self.renewal.try_lock().ok()?;
        let held = self.lock();
        let held = held.as_ref().filter(|held| Arc::ptr_eq(&held.token, token))?;
        match held.lease.due(now) {
            Due::Nothing => None,
            due => Some((due, held.lease, flight)),
        }
    }

    /// Notes what is known of this token's life, unless another has taken its place.
    pub(crate) fn note(&self, token: &Arc<Token>, lease: Lease) {
        if let Some(held) = self.lock().as_mut().filter(|held| Arc::ptr_eq(&held.token, token)) {
            held.lease = lease;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // The state is only ever replaced whole, so a panic elsewhere leaves it sound.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Takes `token` as the file's; a token that is held already keeps what is known of it.
fn adopt(held: &mut Option<Held>, token: Token, stamp: Stamp) -> Arc<Token> {
    match held {
        Some(held) if held.token.0 == token.0 => {
            held.stamp = stamp;
            Arc::clone(&held.token)
        }
        _ => {
            let token = Arc::new(token);
            let lease = Lease::Unknown { ask_from: Instant::now() };
            *held = Some(Held { token: Arc::clone(&token), stamp, lease });
            token
        }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    (metadata.dev(), metadata.ino(), metadata.size(), times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lookup(value: &Value, now: Instant) -> Option<Lease> {
        Lease::of_lookup(value.as_object().unwrap(), now)
    }

    #[test]
    fn a_token_is_renewed_from_half_of_its_life() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let fresh = lookup(&json!({"ttl": 3600, "creation_ttl": 3600, "renewable": true}), now).unwrap();
        assert_eq!(fresh, Lease::Until { end: after(3600), renew_from: after(1800) });
        assert_eq!((fresh.due(after(1799)), fresh.due(after(1800))), (Due::Nothing, Due::Renew));
        let old = lookup(&json!({"ttl": 1000, "creation_ttl": 3600, "renewable": true}), now).unwrap();
        assert_eq!(old.due(now), Due::Renew);
        for fixed in [
            json!({"ttl": 0, "creation_ttl": 0, "renewable": false}),
            json!({"ttl": 60, "creation_ttl": 60, "renewable": false}),
            json!({"ttl": 60}),
        ] {
            assert_eq!(lookup(&fixed, now), Some(Lease::Fixed), "{fixed}");
        }
        assert_eq!(lookup(&json!({"ttl": "60"}), now), None);
        assert_eq!(lookup(&json!({"ttl": u64::MAX, "renewable": true}), now), None, "no overflow");
    }

    #[test]
    fn at_the_end_of_its_longest_life_renewals_do_not_become_a_storm() {
        let now = Instant::now();
        let renewed = |seconds| {
            Lease::of_renewal(json!({"lease_duration": seconds, "renewable": true}).as_object().unwrap(), now).unwrap()
        };
        for seconds in [1, 2, 3] {
            assert_eq!(renewed(seconds).due(now + Duration::from_millis(999)), Due::Nothing, "{seconds}");
        }
        let failed = renewed(100).after_failure(now + Duration::from_secs(60));
        assert_eq!(failed.due(now + Duration::from_secs(69)), Due::Nothing);
        assert_eq!(failed.due(now + Duration::from_secs(70)), Due::Renew);
        let unknown = Lease::Unknown { ask_from: now };
        assert_eq!(unknown.due(now), Due::Ask);
        assert_eq!(unknown.after_failure(now).due(now + Duration::from_secs(59)), Due::Nothing);
    }

    #[test]
    fn the_file_is_read_again_when_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(path.clone());
        assert_eq!(file.current().unwrap_err(), NoToken::Unreadable(std::io::ErrorKind::NotFound));

        std::fs::write(&path, "first\n").unwrap();
        let first = file.current().unwrap();
        assert_eq!(first.as_str(), "first");
        assert!(Arc::ptr_eq(&first, &file.current().unwrap()), "not read again");

        // By rename, by symlink swap, and in place.
        std::fs::write(folder.path().join("next"), "second").unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert_eq!(file.current().unwrap().as_str(), "second");
        for (name, content) in [("a", "third"), ("b", "fourth")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("token"), content).unwrap();
            let _ = std::fs::remove_file(&path);
            std::os::unix::fs::symlink(folder.path().join(name).join("token"), &path).unwrap();
            assert_eq!(file.current().unwrap().as_str(), content);
        }

        // Gone, or half written: what was there serves on.
        std::fs::remove_file(&path).unwrap();
        let last = file.current().unwrap();
        assert_eq!(last.as_str(), "fourth");
        assert!(file.other_than(&last).is_err());
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.current().unwrap().as_str(), "fourth");
        std::fs::write(&path, "fourth").unwrap();
        assert!(file.other_than(&last).unwrap().is_none());
        std::fs::write(&path, "fifth").unwrap();
        assert_eq!(file.other_than(&last).unwrap().unwrap().as_str(), "fifth");
    }

    #[test]
    fn what_is_no_token_is_refused_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for content in ["", " \n", "hunter2 hunter2", "hunter2\u{e9}", "hunter2\nX-Evil: 1", &"hunter2".repeat(600)] {
            std::fs::write(&path, content).unwrap();
            let problem = TokenFile::new(path.clone()).current().unwrap_err();
            assert!(matches!(problem, NoToken::NotAToken(_)) && !problem.to_string().contains("hunter2"), "{problem}");
        }
        assert!(matches!(TokenFile::new(folder.path().to_owned()).current(), Err(NoToken::NotAToken(_))));
        std::fs::write(&path, "hunter2").unwrap();
        let file = TokenFile::new(path);
        let token = file.current().unwrap();
        assert!(!format!("{token:?} {file:?}").contains("hunter2"));
    }
}
