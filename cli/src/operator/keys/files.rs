//! A key ring and its published key set in two files, with the promises that the stores of a rotation make.
//!
//! The ring file holds the current ring as it is: what an issuer reads with `file:PATH`. Beside it, `RING.rotation` says
//! which version that is and holds the next ring while a rotation is under way; `RING.lock` keeps two runs apart. Both are
//! for this tool alone.
//!
//! # Invariants
//! - The one moment that makes a ring current is the `rename` that replaces the ring file: the version is told by the
//!   file's digest, so a run may be killed anywhere, and the next one sees either ring as current, never a mixture.
//! - A ring file that somebody replaced by hand is a version of its own: a rotation derived from another one is given up.
//! - Whoever reads the ring file keeps being able to: a file that exists keeps its mode and owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use token_issuance::rotation::{CURRENT, Moved, PENDING, PREVIOUS, PublishedStore, Put, SecretState, SecretVersions};
use token_issuance::{DocumentSource as _, FileDocument, SourceError};
use token_jose::{KeySet, sha256_hex};
use token_shell::IdSource;
use zeroize::Zeroizing;

use crate::file::{FileOptions, Owner, TokenFile, WriteError};

/// How long a run waits for another one to finish its step.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// The largest `RING.rotation`: a ring of the largest size in base64, and names.
const MAX_STATE: usize = 96 * 1024;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A ring file as a secret with staged versions. Clones are the same files.
#[derive(Clone)]
pub struct FileSecret {
    ring: PathBuf,
    ids: Arc<dyn IdSource>,
}

/// `RING.rotation`. Versions are known by the digest of their value.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    version: u8,
    current: Option<Named>,
    pending: Option<Pending>,
    previous: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    id: String,
    sha256: Option<String>,
    /// Base64; absent before the ring is made and once it is current.
    #[serde(with = "wiped")]
    value: Option<Zeroizing<String>>,
    /// What it takes the place of, written down before it does.
    replaces: Option<String>,
}

/// A secret text in JSON, wiped when it goes.
mod wiped {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(value: &Option<Zeroizing<String>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
    }
}

/// Both files as they are, under the lock.
struct Locked {
    state: State,
    ring: Option<Zeroizing<Vec<u8>>>,
    _lock: Option<File>,
}

impl FileSecret {
    /// The ring in the file `ring`. Nothing is read yet. `ids` names temporary files.
    #[must_use]
    pub fn new(ring: impl Into<PathBuf>, ids: Arc<dyn IdSource>) -> Self {
        Self { ring: ring.into(), ids }
    }

    /// Begins a rotation of the version `current` (none for a first ring): `version` becomes pending, without a value yet.
    /// A rotation that is under way goes on instead; the version that is pending is returned. `None` when another version
    /// is current by now: another run was first.
    ///
    /// # Errors
    /// [`SourceError`] when the files cannot be read or written.
    pub async fn start_rotation(&self, version: &str, current: Option<&str>) -> Result<Option<String>, SourceError> {
        let mut locked = self.locked().await?;
        let found = locked.state.current.as_ref().map(|found| found.id.as_str());
        if found != current {
            return Ok(None);
        }
        if let Some(pending) = locked.state.pending.as_ref().filter(|pending| Some(pending.id.as_str()) != found) {
            return Ok(Some(pending.id.clone()));
        }
        locked.state.pending = Some(Pending { id: version.to_owned(), sha256: None, value: None, replaces: None });
        self.store(&locked.state)?;
        Ok(Some(version.to_owned()))
    }

    /// Both files, for a look. Where nobody has ever written, or this user may not, there is nothing to lock.
    async fn seen(&self) -> Result<Locked, SourceError> {
        let lock = match OpenOptions::new().read(true).custom_flags(no_follow()).open(self.beside("lock")) {
            Ok(file) => Some(self.wait(file).await?),
            Err(_) => None,
        };
        self.both(lock).await
    }

    /// Both files, for a change.
    async fn locked(&self) -> Result<Locked, SourceError> {
        let lock = self.lock().await?;
        self.both(Some(lock)).await
    }

    async fn both(&self, lock: Option<File>) -> Result<Locked, SourceError> {
        let mut state = self.state()?;
        // After the state: a switch between the two reads is seen by the digest that the state foretold.
        let ring = match FileDocument::new(&self.ring).read().await {
            Ok(document) => Some(Zeroizing::new(document.bytes().to_vec())),
            Err(SourceError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        settle(&mut state, ring.as_deref().map(|ring| sha256_hex(ring)));
        Ok(Locked { state, ring, _lock: lock })
    }

    fn state(&self) -> Result<State, SourceError> {
        use std::io::Read as _;
        let file = match OpenOptions::new().read(true).custom_flags(no_follow()).open(self.beside("rotation")) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(State { version: 1, ..State::default() });
            }
            Err(error) => return Err(self.unavailable(&error)),
        };
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_STATE));
        file.take(MAX_STATE as u64).read_to_end(&mut text).map_err(|error| self.unavailable(&error))?;
        serde_json::from_slice(&text).ok().filter(|state: &State| state.version == 1).ok_or_else(|| {
            self.malformed("expected what this tool wrote in RING.rotation, found something else; hint: if no rotation is under way, remove that file")
        })
    }

    /// The lock lives as long as the file is open: a killed run leaves none behind.
    async fn lock(&self) -> Result<File, SourceError> {
        let path = self.beside("lock");
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| self.unavailable(&error))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow());
        let file = options.open(&path).map_err(|error| self.unavailable(&error))?;
        self.wait(file).await
    }

    async fn wait(&self, file: File) -> Result<File, SourceError> {
        let wait = async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                    Err(TryLockError::Error(error)) => return Err(self.unavailable(&error)),
                }
            }
        };
        match tokio::time::timeout(LOCK_WAIT, wait).await {
            Ok(done) => done.map(|()| file),
            Err(_) => Err(SourceError::Unavailable {
                source_name: self.name(),
                detail: format!("another run has held its lock for {} s", LOCK_WAIT.as_secs()),
            }),
        }
    }

    fn store(&self, state: &State) -> Result<(), SourceError> {
        let text = serde_json::to_vec(state).map(Zeroizing::new);
        let text = text.map_err(|_| self.malformed("the state cannot be written"))?;
        write(&self.beside("rotation"), 0o600, &text, &*self.ids).map_err(|error| self.unwritable(&error))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.ring.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    fn name(&self) -> String {
        format!("file:{}", self.ring.display())
    }

    fn malformed(&self, detail: &str) -> SourceError {
        SourceError::Malformed { source_name: self.name(), detail: detail.to_owned() }
    }

    fn unavailable(&self, error: &std::io::Error) -> SourceError {
        SourceError::Unavailable { source_name: self.name(), detail: error.kind().to_string() }
    }

    fn unwritable(&self, error: &WriteError) -> SourceError {
        SourceError::Unavailable { source_name: self.name(), detail: error.to_string() }
    }
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// Makes `state` say what the ring file, whose digest is `found`, says: the file decides.
fn settle(state: &mut State, found: Option<String>) {
    let Some(found) = found else {
        state.current = None;
        return;
    };
    if let Some(pending) = state.pending.as_mut().filter(|pending| pending.sha256.as_ref() == Some(&found)) {
        if pending.value.take().is_some() {
            // The switch happened, and this is the first look since.
            state.previous = pending.replaces.take();
        }
        state.current = Some(Named { id: pending.id.clone(), sha256: found });
    } else if state.current.as_ref().is_none_or(|current| current.sha256 != found) {
        // Somebody else wrote it: its digest names it, so that every run gives it the same name.
        state.current = Some(Named { id: found.clone(), sha256: found });
        state.previous = None;
    }
}

#[async_trait]
impl SecretVersions for FileSecret {
    async fn describe(&self) -> Result<SecretState, SourceError> {
        let state = self.seen().await?.state;
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let staged = [
            (state.current.map(|current| current.id), CURRENT),
            (state.pending.map(|pending| pending.id), PENDING),
            (state.previous, PREVIOUS),
        ];
        for (id, stage) in staged {
            if let Some(id) = id {
                versions.entry(id).or_default().insert(stage.to_owned());
            }
        }
        Ok(SecretState { rotation_enabled: true, versions })
    }

    async fn read(&self, version: &str) -> Result<Option<Zeroizing<Vec<u8>>>, SourceError> {
        let Locked { state, ring, _lock } = self.seen().await?;
        if state.current.is_some_and(|current| current.id == version) {
            return Ok(ring);
        }
        match state.pending.filter(|pending| pending.id == version).and_then(|pending| pending.value) {
            None => Ok(None),
            Some(value) => self.decoded(&value).map(Some),
        }
    }

    async fn put_pending(&self, version: &str, value: &[u8]) -> Result<Put, SourceError> {
        let mut locked = self.locked().await?;
        let state = &mut locked.state;
        let current = state.current.as_ref().is_some_and(|current| current.id == version);
        let pending = state.pending.as_ref().is_some_and(|pending| pending.id == version && pending.value.is_some());
        if current || pending {
            return Ok(Put::AlreadyThere);
        }
        let first = state.current.is_none();
        state.pending = Some(Pending {
            id: version.to_owned(),
            sha256: Some(sha256_hex(value)),
            value: Some(Zeroizing::new(STANDARD.encode(value))),
            replaces: None,
        });
        self.store(state)?;
        if first {
            self.switch(locked, value)?;
        }
        Ok(Put::Stored)
    }

    async fn move_current(&self, from: Option<&str>, to: &str) -> Result<Moved, SourceError> {
        let mut locked = self.locked().await?;
        if locked.state.current.as_ref().map(|current| current.id.as_str()) != from {
            return Ok(Moved::Lost);
        }
        let pending = locked.state.pending.as_mut().filter(|pending| pending.id == to);
        let Some((pending, value)) = pending.and_then(|pending| pending.value.clone().map(|value| (pending, value)))
        else {
            let detail = "the version does not exist, or has no value".to_owned();
            return Err(SourceError::NotFound { source_name: self.name(), detail });
        };
        pending.replaces = from.map(str::to_owned);
        let value = self.decoded(&value)?;
        self.store(&locked.state)?;
        self.switch(locked, &value)?;
        Ok(Moved::Moved)
    }

    async fn drop_stage(&self, stage: &str, version: &str) -> Result<(), SourceError> {
        if stage == CURRENT {
            let detail = "AWSCURRENT can only be moved".to_owned();
            return Err(SourceError::Denied { source_name: self.name(), detail });
        }
        let mut locked = self.locked().await?;
        let state = &mut locked.state;
        if stage == PENDING && state.pending.as_ref().is_some_and(|pending| pending.id == version) {
            state.pending = None;
        } else if stage == PREVIOUS && state.previous.as_deref() == Some(version) {
            state.previous = None;
        } else {
            return Ok(());
        }
        self.store(state)
    }
}

impl FileSecret {
    /// Replaces the ring file, which makes the pending version current, and drops the copy of its value.
    fn switch(&self, mut locked: Locked, value: &[u8]) -> Result<(), SourceError> {
        write(&self.ring, 0o600, value, &*self.ids).map_err(|error| self.unwritable(&error))?;
        settle(&mut locked.state, Some(sha256_hex(value)));
        self.store(&locked.state)
    }

    fn decoded(&self, value: &str) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
        STANDARD.decode_vec(value, &mut bytes).map_err(|_| self.malformed("the pending ring is damaged"))?;
        Ok(bytes)
    }
}

impl fmt::Debug for FileSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSecret({})", self.name())
    }
}

/// The published key set in a file.
#[derive(Clone)]
pub struct FilePublished {
    path: PathBuf,
    ids: Arc<dyn IdSource>,
}

impl FilePublished {
    /// The key set in the file `path`. Nothing is read yet. `ids` names temporary files.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, ids: Arc<dyn IdSource>) -> Self {
        Self { path: path.into(), ids }
    }

    fn name(&self) -> String {
        format!("file:{}", self.path.display())
    }
}

#[async_trait]
impl PublishedStore for FilePublished {
    async fn read(&self) -> Result<Option<String>, SourceError> {
        let document = match FileDocument::new(&self.path).read().await {
            Ok(document) => document,
            Err(SourceError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(document.bytes()).map(str::to_owned);
        text.map(Some).map_err(|_| SourceError::Malformed {
            source_name: self.name(),
            detail: "expected UTF-8, found other bytes".to_owned(),
        })
    }

    async fn write(&self, text: &str) -> Result<(), SourceError> {
        if text.is_empty() || text.len() > self.max_bytes() {
            let detail = format!("expected 1 to {} bytes, found {}", self.max_bytes(), text.len());
            return Err(SourceError::Malformed { source_name: self.name(), detail });
        }
        write(&self.path, 0o644, text.as_bytes(), &*self.ids)
            .map_err(|error| SourceError::Unavailable { source_name: self.name(), detail: error.to_string() })
    }

    fn max_bytes(&self) -> usize {
        KeySet::MAX_BYTES
    }
}

impl fmt::Debug for FilePublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePublished({})", self.name())
    }
}

/// Replaces a file as a whole. One that exists keeps its mode and its owner: an issuer that may read it still may.
fn write(path: &Path, mode: u32, content: &[u8], ids: &dyn IdSource) -> Result<(), WriteError> {
    let mut options = FileOptions { mode, owner: None };
    if let Ok(found) = std::fs::symlink_metadata(path)
        && found.is_file()
    {
        // Never wider than a key or a key set may be.
        let most = if mode == 0o600 { 0o640 } else { 0o664 };
        options.mode = (found.permissions().mode() & most) | 0o400;
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if (found.uid(), found.gid()) != own {
            options.owner = Some(Owner { uid: found.uid(), gid: Some(found.gid()) });
        }
    }
    TokenFile::open(path, &options)?.write(content, ids)
}
