//! Where a document lives, as an operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::document::{DocumentSource, FileDocument, InlineDocument};

/// `secretsmanager:ARN-or-name`, `ssm:NAME`, `file:PATH` or `inline:TEXT`.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A local file.
    File(PathBuf),
    /// The text itself.
    Inline(String),
    /// A secret in AWS Secrets Manager, by ARN or name.
    SecretsManager(String),
    /// A parameter in AWS Systems Manager Parameter Store, by name or ARN.
    Ssm(String),
}

/// A text that names no location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected secretsmanager:ARN, ssm:NAME, file:PATH or inline:TEXT")]
pub struct LocationError;

impl Location {
    /// The scheme: `file`, `inline`, `secretsmanager` or `ssm`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Inline(_) => "inline",
            Self::SecretsManager(_) => "secretsmanager",
            Self::Ssm(_) => "ssm",
        }
    }

    /// The document, where this process needs no client to read it; `None` for the stores of AWS, whose adapters open it.
    #[must_use]
    pub fn open_local(&self) -> Option<Arc<dyn DocumentSource>> {
        match self {
            Self::File(path) => Some(Arc::new(FileDocument::new(path))),
            Self::Inline(text) => Some(Arc::new(InlineDocument::new(text))),
            Self::SecretsManager(_) | Self::Ssm(_) => None,
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(LocationError)?;
        if rest.is_empty() {
            return Err(LocationError);
        }
        match scheme {
            "file" => Ok(Self::File(rest.into())),
            "inline" => Ok(Self::Inline(rest.to_owned())),
            "secretsmanager" => Ok(Self::SecretsManager(rest.to_owned())),
            "ssm" => Ok(Self::Ssm(rest.to_owned())),
            _ => Err(LocationError),
        }
    }
}

impl fmt::Display for Location {
    /// The text that parses to this value, but for `inline`, whose text may be long: its scheme alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Inline(_) => f.write_str("inline"),
            Self::SecretsManager(id) => write!(f, "secretsmanager:{id}"),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, LocationError};

    #[test]
    fn each_scheme_reads_and_prints() {
        for text in ["secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:x", "ssm:/a/b", "file:/tmp/x:y"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        assert_eq!("inline:[defaults]".parse::<Location>().unwrap().to_string(), "inline");
        for bad in ["", "file", "file:", "http://x", "FILE:/x", "/etc/ring.json"] {
            assert_eq!(bad.parse::<Location>(), Err(LocationError), "{bad}");
        }
    }
}
