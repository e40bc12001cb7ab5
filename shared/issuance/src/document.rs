//! The one port of this crate: a named document that may change under a running process.
//!
//! The key ring, the published key set and the mapping are all documents: bytes with a version, kept in a file, in
//! AWS Secrets Manager or in an SSM parameter. Adapters read; [`crate::Refreshing`] decides when.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use token_jose::sha256_hex;
use zeroize::Zeroizing;

/// The largest document any adapter returns, in bytes: Secrets Manager's own limit for a secret.
pub const MAX_DOCUMENT_BYTES: usize = 65_536;

/// A place that holds the current version of one document.
///
/// An implementation MUST
/// - bound its own time: a store that stalls is [`SourceError::Unavailable`], never a hang;
/// - return the version that is current when asked, never one it remembers;
/// - keep content out of errors and out of `Debug`.
///
/// The conformance suite of the test kit runs against every adapter.
#[async_trait]
pub trait DocumentSource: Send + Sync + fmt::Debug {
    /// Reads the current version.
    ///
    /// # Errors
    /// [`SourceError`], by what the reader can do about it: create it, be granted it, wait, or mend it.
    async fn read(&self) -> Result<Document, SourceError>;

    /// Where the document lives, as an operator writes it: `secretsmanager:ARN`, `ssm:NAME`, `file:PATH`, `inline`.
    fn describe(&self) -> String;
}

/// One version of a document. `Debug` shows its size and version, never its content.
#[derive(Clone)]
pub struct Document {
    bytes: Zeroizing<Vec<u8>>,
    version: String,
}

impl Document {
    /// A document as read. `version` is the store's own name for it (a version id, a number, a digest).
    #[must_use]
    pub fn new(bytes: impl Into<Zeroizing<Vec<u8>>>, version: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), version: version.into() }
    }

    /// The content. May be secret: never log it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The store's name for this version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("bytes", &self.bytes.len()).field("version", &self.version).finish()
    }
}

/// Why a document could not be read. Texts name the source and the store's error code, never content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The store refused us.
    #[error(
        "{source_name}: access denied ({detail}); hint: grant this function the access that it needs to exactly this"
    )]
    Denied {
        /// Where, as [`DocumentSource::describe`] says it.
        source_name: String,
        /// The store's error code.
        detail: String,
    },
    /// The document is there but cannot be one: too large, no text, no value.
    #[error("{source_name}: {detail}")]
    Malformed {
        /// Where.
        source_name: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// There is no such document, or it has no current version.
    #[error("{source_name}: not found ({detail}); hint: create it, or correct the name")]
    NotFound {
        /// Where.
        source_name: String,
        /// The store's error code.
        detail: String,
    },
    /// The store asked us to slow down, and still did after back-off.
    #[error("{source_name}: throttled ({detail})")]
    Throttled {
        /// Where.
        source_name: String,
        /// The store's error code.
        detail: String,
    },
    /// The store did not answer, or answered with its own failure.
    #[error("{source_name}: unavailable ({detail})")]
    Unavailable {
        /// Where.
        source_name: String,
        /// What happened, without content.
        detail: String,
    },
}

/// `file:PATH`: a file on a local disk, read anew each time. Its version is the SHA-256 of its content.
#[derive(Clone, Debug)]
pub struct FileDocument {
    path: PathBuf,
}

impl FileDocument {
    /// A document in the file at `path`.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// The file's content, at most [`MAX_DOCUMENT_BYTES`]: the size is checked while reading, since a file may grow
    /// (or be a device) after a look at its length.
    fn read_bounded(&self) -> std::io::Result<Zeroizing<Vec<u8>>> {
        use std::io::Read as _;
        // Opening a pipe or a device may wait for ever; a document is a regular file, or a link to one.
        if !std::fs::metadata(&self.path)?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no regular file"));
        }
        let file = std::fs::File::open(&self.path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES + 1));
        file.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[async_trait]
impl DocumentSource for FileDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        let source_name = self.describe();
        let bytes = self.read_bounded().map_err(|error| {
            let (source_name, detail) = (source_name.clone(), error.kind().to_string());
            match error.kind() {
                std::io::ErrorKind::NotFound => SourceError::NotFound { source_name, detail },
                std::io::ErrorKind::PermissionDenied => SourceError::Denied { source_name, detail },
                std::io::ErrorKind::InvalidInput => {
                    let detail = "expected a regular file, found something else".to_owned();
                    SourceError::Malformed { source_name, detail }
                }
                _ => SourceError::Unavailable { source_name, detail },
            }
        })?;
        checked(bytes, source_name)
    }

    fn describe(&self) -> String {
        format!("file:{}", self.path.display())
    }
}

/// `inline:…`: the document stands in the configuration itself and never changes.
#[derive(Clone)]
pub struct InlineDocument {
    bytes: Zeroizing<Vec<u8>>,
}

impl InlineDocument {
    /// A document with this content.
    #[must_use]
    pub fn new(content: &str) -> Self {
        Self { bytes: Zeroizing::new(content.as_bytes().to_vec()) }
    }
}

impl fmt::Debug for InlineDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineDocument").field("bytes", &self.bytes.len()).finish()
    }
}

#[async_trait]
impl DocumentSource for InlineDocument {
    async fn read(&self) -> Result<Document, SourceError> {
        checked(self.bytes.clone(), self.describe())
    }

    fn describe(&self) -> String {
        "inline".to_owned()
    }
}

/// The size rules that hold whatever the store; the version is the content's digest.
fn checked(bytes: Zeroizing<Vec<u8>>, source_name: String) -> Result<Document, SourceError> {
    if bytes.is_empty() {
        return Err(SourceError::Malformed { source_name, detail: "expected a document, found no bytes".to_owned() });
    }
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let detail = format!("expected at most {MAX_DOCUMENT_BYTES} bytes, found more");
        return Err(SourceError::Malformed { source_name, detail });
    }
    let version = sha256_hex(&bytes);
    Ok(Document { bytes, version })
}
