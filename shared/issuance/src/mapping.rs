//! The mapping, read from its document and compiled.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use token_claims::{CompileOptions, SsoPath, SubjectMapping};
use token_jose::{Algorithm, sha256_hex};

use crate::document::{Document, DocumentSource};
use crate::keys::KeyLoader;
use crate::refreshing::{Load, LoadError, Refreshing};

/// How long a mapping may be used, in seconds, while its document cannot be read or does not compile.
///
/// Longer would keep a leaver's rule alive through a broken document; shorter would turn one bad edit into an outage.
const USABLE_S: u64 = 3_600;

/// A compiled mapping and the digest of the text it came from.
#[derive(Debug)]
pub struct Mapping {
    /// The compiled rules.
    pub rules: SubjectMapping,
    /// SHA-256 of the document, hexadecimal: in every decision record, so that a decision can be traced to its rules.
    pub sha256: String,
}

/// Reads and compiles the [`Mapping`].
#[derive(Debug)]
pub struct MappingLoader {
    source: Arc<dyn DocumentSource>,
    keys: Arc<Refreshing<KeyLoader>>,
    audience: Option<String>,
    sso_path: SsoPath,
}

impl MappingLoader {
    /// A reader of the document at `source`. `keys` says which algorithms its profiles may use, `audience` is the
    /// deployment's own setting (the document may not contradict it), `sso_path` whether the door checks an SSO role's path.
    #[must_use]
    pub fn new(
        source: Arc<dyn DocumentSource>,
        keys: Arc<Refreshing<KeyLoader>>,
        audience: Option<String>,
        sso_path: SsoPath,
    ) -> Self {
        Self { source, keys, audience, sso_path }
    }
}

#[async_trait]
impl Load for MappingLoader {
    type Value = Mapping;

    async fn load(&self, _now: Timestamp) -> Result<Mapping, LoadError> {
        self.compile(&self.read().await?)
    }

    fn usable_s(&self, _mapping: &Mapping) -> u64 {
        USABLE_S
    }

    fn what(&self) -> &'static str {
        "mapping"
    }
}

impl MappingLoader {
    /// The document as it is stored.
    pub(crate) async fn read(&self) -> Result<Document, LoadError> {
        Ok(self.source.read().await?)
    }

    /// Compiles the document for the ring as it was last read.
    pub(crate) fn compile(&self, document: &Document) -> Result<Mapping, LoadError> {
        let keys = self.keys.peek();
        let name = self.source.describe();
        let text = std::str::from_utf8(document.bytes()).map_err(|error| {
            LoadError::Invalid(format!(
                "{name}: expected UTF-8 text, found another byte at offset {}",
                error.valid_up_to()
            ))
        })?;
        // Without a ring every algorithm is taken as possible, so that an init shows the document's own problems beside the
        // ring's.
        let algorithms = keys.as_ref().map_or_else(|| Algorithm::ALL.to_vec(), |keys| keys.ring().algorithms());
        let options = CompileOptions {
            sso_path: self.sso_path,
            audience: self.audience.clone(),
            algorithms: algorithms.iter().map(ToString::to_string).collect(),
            max_token_ttl_s: keys.as_ref().map(|keys| keys.ring().policy().max_token_ttl_s),
        };
        let rules = SubjectMapping::compile(text, &options).map_err(|problems| {
            let lines: Vec<String> = problems.to_string().lines().map(|line| format!("{name}: {line}")).collect();
            LoadError::Invalid(lines.join("\n"))
        })?;
        if keys.is_none() {
            return Err(LoadError::Unreachable(
                "the mapping waits for the key ring, which says what its profiles may use".to_owned(),
            ));
        }
        Ok(Mapping { rules, sha256: sha256_hex(document.bytes()) })
    }
}
