//! Keys whose private half never leaves Vault's or OpenBao's transit engine.

mod api;
mod maker;
mod token;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use token_issuance::{SignerSource, SourceError};
use token_jose::{Algorithm, KeyVersion, PrivateLocation, PublicKey, SignError, Signer};

use self::api::{Api, Fault, FaultKind};
pub(crate) use self::token::TokenFile;
use self::versions::{Metadata, raw_signature};
use crate::client::HttpsClient;
use crate::text::quoted;
use crate::url::RemoteUrl;

pub use maker::TransitKeyMaker;
pub use versions::TransitVersion;

/// Where Transit is, and who this process is to it.
#[derive(Clone, Debug)]
pub struct TransitOptions {
    /// The server, without `/v1`.
    pub address: RemoteUrl,
    /// Where the engine is mounted; `transit` unless somebody chose otherwise.
    pub mount: String,
    /// The namespace, where there are such.
    pub namespace: Option<String>,
    /// The file in which an agent keeps the token.
    pub token_file: PathBuf,
}

impl TransitOptions {
    /// The engine at its usual mount, without a namespace.
    #[must_use]
    pub fn new(address: RemoteUrl, token_file: impl Into<PathBuf>) -> Self {
        Self { address, mount: "transit".to_owned(), namespace: None, token_file: token_file.into() }
    }
}

/// A name that nothing in Transit can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected letters, digits and ._- only{slashes}, at most 128, found {found}")]
pub struct TransitNameError {
    what: &'static str,
    slashes: &'static str,
    found: String,
}

/// Finds the Transit keys that a ring names ([`PrivateLocation::Transit`]), and says what public halves there are.
///
/// - Each signature is made with the version that the ring names, and one of another version is refused: a rotation in
///   Transit changes nothing here until the ring names the new version.
/// - The public half is compared with the ring's before a version signs, and each signature is verified with it: `kid` and
///   signature cannot disagree.
/// - The token is taken from its file at each use (see below), is never in an error, a log line or `Debug`, and is renewed by
///   itself when half of its life is over. Nothing runs in the background: a process that signs nothing renews nothing, and
///   its agent's next token is then found in the file.
/// - Sealed, unreachable, stalled: [`SignError::Unavailable`], and it goes on by itself when the server does.
///
/// The file is looked at before each use and read again when it was replaced or written; a call that is refused is made once
/// more if the file then holds another token.
///
/// Its policy needs `read` on `transit/keys/KEY`, `update` on `transit/sign/KEY`, and for [`TransitKeyMaker`] `update` on
/// `transit/keys/KEY` and `transit/keys/KEY/rotate`. The policy `default` allows the token to look at and renew itself.
///
/// ```no_run
/// use std::sync::Arc;
/// use token_remote::{ClientOptions, HttpsClient, TransitKeys, TransitOptions};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Arc::new(HttpsClient::new(&ClientOptions::default())?);
/// let options = TransitOptions::new("https://bao.example:8200".parse()?, "/run/secrets/bao/token");
/// let keys = TransitKeys::new(client, options)?;
/// for found in keys.public_keys("signing-es256", token_jose::Algorithm::Es256).await? {
///     println!("version {}: {}", found.version, found.public_key.kid());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TransitKeys {
    transit: Arc<Transit>,
    known: Mutex<BTreeMap<(String, u64), Arc<TransitSigner>>>,
}

#[derive(Debug)]
struct Transit {
    api: Api,
    mount: String,
}

impl TransitKeys {
    /// The keys of this engine. Nothing is called and no file is read yet.
    ///
    /// # Errors
    /// [`TransitNameError`] for a mount or a namespace that is none.
    pub fn new(client: Arc<HttpsClient>, options: TransitOptions) -> Result<Self, TransitNameError> {
        let TransitOptions { address, mount, namespace, token_file } = options;
        let mount = mount.trim_matches('/').to_owned();
        let namespace = namespace.map(|name| name.trim_matches('/').to_owned());
        for (what, path) in [("mount", Some(&mount)), ("namespace", namespace.as_ref())] {
            if let Some(path) = path.filter(|path| !path.split('/').all(is_name)) {
                return Err(TransitNameError { what, slashes: " between slashes", found: quoted(path) });
            }
        }
        let base = address.join("v1").map_err(|_| TransitNameError {
            what: "address",
            slashes: " between slashes",
            found: quoted(&address.shown()),
        })?;
        let api = Api::new(client, base, namespace, TokenFile::new(token_file));
        Ok(Self { transit: Arc::new(Transit { api, mount }), known: Mutex::default() })
    }

    /// Every live version of `key`, the oldest first, with Transit's own numbers: what a JWKS needs, since tokens of older
    /// versions are still out there. `algorithm` is what the key is used for, which its type alone does not say of RSA.
    ///
    /// # Errors
    /// [`SourceError`]: `NotFound` when there is no such key, `Malformed` when it is of another type or a name that no key has.
    pub async fn public_keys(&self, key: &str, algorithm: Algorithm) -> Result<Vec<TransitVersion>, SourceError> {
        let listed = async { self.transit.metadata(key).await?.live(algorithm) };
        listed.await.map_err(|fault: Fault| fault.into_source_error(source_name(key)))
    }

    async fn open(
        &self,
        key: &str,
        version: u64,
        algorithm: Algorithm,
        expected: Option<&PublicKey>,
    ) -> Result<TransitSigner, Fault> {
        let metadata = self.transit.metadata(key).await?;
        let public = metadata.public_key(version, algorithm)?;
        if expected.is_some_and(|expected| *expected != public) {
            return Err(another_half(version));
        }
        Ok(TransitSigner { transit: Arc::clone(&self.transit), key: key.to_owned(), version, public })
    }
}

#[async_trait]
impl SignerSource for TransitKeys {
    async fn signer(&self, key: &KeyVersion) -> Result<Arc<dyn Signer>, SourceError> {
        let PrivateLocation::Transit { key: name, version } = key.location() else {
            return Err(SourceError::Malformed {
                source_name: "transit".to_owned(),
                detail: "expected a key in transit, found one elsewhere".to_owned(),
            });
        };
        let place = (name.clone(), *version);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = known().get(&place).filter(|signer| signer.public == *key.public_key()) {
            return Ok(Arc::<TransitSigner>::clone(signer));
        }
        let opened = self.open(name, *version, key.algorithm(), Some(key.public_key())).await;
        let signer = Arc::new(opened.map_err(|fault| fault.into_source_error(source_name(name)))?);
        known().insert(place, Arc::clone(&signer));
        Ok(signer)
    }
}

impl Transit {
    /// The path of `key` below `action` (`keys`, `sign`).
    fn path(&self, action: &str, key: &str) -> Result<String, Fault> {
        if is_name(key) {
            Ok(format!("{}/{action}/{key}", self.mount))
        } else {
            Err(Fault::malformed(format!("expected a key name of letters, digits and ._-, found {}", quoted(key))))
        }
    }

    async fn metadata(&self, key: &str) -> Result<Metadata, Fault> {
        Metadata::parse(self.api.read(&self.path("keys", key)?).await?)
    }
}

/// One segment of a path, which must not be able to leave its place.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != ".."
}

fn source_name(key: &str) -> String {
    format!("transit:{}", key.chars().take(128).flat_map(char::escape_default).collect::<String>())
}

fn another_half(version: u64) -> Fault {
    Fault::malformed(format!(
        "expected the ring's public half of version {version}, found another; hint: the ring names the wrong key, or it was deleted and made anew"
    ))
}

/// One version of one Transit key.
struct TransitSigner {
    transit: Arc<Transit>,
    key: String,
    version: u64,
    public: PublicKey,
}

impl TransitSigner {
    async fn signature(&self, signing_input: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut body = json!({
            "input": STANDARD.encode(signing_input),
            "key_version": self.version,
            "prehashed": false,
        });
        let members = match self.public.algorithm() {
            // A salt as long as the digest, as RFC 7518 section 3.5 wants; Transit's own default is the longest that fits.
            Algorithm::Ps256 => {
                json!({"hash_algorithm": "sha2-256", "signature_algorithm": "pss", "salt_length": "hash"})
            }
            Algorithm::Rs256 => json!({"hash_algorithm": "sha2-256", "signature_algorithm": "pkcs1v15"}),
            Algorithm::Es256 => json!({"hash_algorithm": "sha2-256", "marshaling_algorithm": "jws"}),
            Algorithm::Es384 => json!({"hash_algorithm": "sha2-384", "marshaling_algorithm": "jws"}),
            Algorithm::EdDsa => Value::Null,
        };
        if let (Value::Object(body), Value::Object(members)) = (&mut body, members) {
            body.extend(members);
        }
        let data = self.transit.api.write(&self.transit.path("sign", &self.key)?, &body).await;
        let data = match data {
            Ok(data) => data,
            Err(fault) => return Err(self.explained(fault).await),
        };
        self.check_version(&data)?;
        let text = data.get("signature").and_then(Value::as_str).unwrap_or_default();
        let signature = raw_signature(text, self.version, &self.public)?;
        match self.public.verify_signature(signing_input, &signature) {
            Ok(()) => Ok(signature),
            // A key that was deleted and made anew has the same name and the same numbers.
            Err(_) => {
                let fault =
                    format!("expected a signature of the ring's key, found another's of version {}", self.version);
                Err(self.explained(Fault::malformed(fault)).await)
            }
        }
    }

    fn check_version(&self, data: &Map<String, Value>) -> Result<(), Fault> {
        match data.get("key_version").map(Value::as_u64) {
            // Older servers say it in the signature alone.
            None => Ok(()),
            Some(Some(version)) if version == self.version => Ok(()),
            Some(_) => Err(Fault::malformed(format!("expected version {} to sign, found another", self.version))),
        }
    }

    /// The reason behind an answer that does not say it: a version that may not sign is HTTP 500 to Transit, and a missing key
    /// is 400. The key's description tells them from an outage.
    async fn explained(&self, fault: Fault) -> Fault {
        if !matches!(fault.kind, FaultKind::Internal | FaultKind::Malformed) {
            return fault;
        }
        match self.transit.metadata(&self.key).await {
            Ok(metadata) if !metadata.signs(self.version) => metadata.not_live(self.version),
            Ok(metadata) => match metadata.public_key(self.version, self.public.algorithm()) {
                Ok(public) if public != self.public => another_half(self.version),
                _ => fault,
            },
            Err(missing) if missing.kind == FaultKind::NotFound => missing,
            Err(_) => fault,
        }
    }
}

#[async_trait]
impl Signer for TransitSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signature(signing_input).await.map_err(Fault::into_sign_error)
    }
}

impl fmt::Debug for TransitSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitSigner")
            .field("key", &self.key)
            .field("version", &self.version)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
