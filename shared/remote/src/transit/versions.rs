//! What Transit says about a key: its versions, and which of them may do what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use token_jose::{Algorithm, PublicKey, base64url};

use super::api::Fault;
use crate::text::quoted;

/// One live version of a Transit key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransitVersion {
    /// Transit's own number, from 1; trimming old versions does not change it.
    pub version: u64,
    /// The public half. Its `kid` is the thumbprint, as everywhere.
    pub public_key: PublicKey,
    /// Whether Transit signs with it (`min_encryption_version`).
    pub signs: bool,
}

/// A key as Transit describes it.
#[derive(Debug)]
pub(crate) struct Metadata {
    key_type: String,
    latest: u64,
    lowest: u64,
    lowest_signing: u64,
    versions: Map<String, Value>,
}

impl Metadata {
    pub(crate) fn parse(mut data: Map<String, Value>) -> Result<Self, Fault> {
        let number = |member: &str| data.get(member).and_then(Value::as_u64);
        let latest = number("latest_version").filter(|latest| *latest > 0);
        let lowest = number("min_decryption_version").unwrap_or(0).max(number("min_available_version").unwrap_or(0));
        let lowest = lowest.max(1);
        let lowest_signing = number("min_encryption_version").unwrap_or(0).max(lowest);
        let key_type = data.get("type").and_then(Value::as_str).map(str::to_owned);
        match (latest, key_type, data.remove("keys")) {
            (Some(latest), Some(key_type), Some(Value::Object(versions))) => {
                Ok(Self { key_type, latest, lowest, lowest_signing, versions })
            }
            _ => Err(Fault::malformed("expected the description of a transit key, found something else")),
        }
    }

    pub(crate) fn latest(&self) -> u64 {
        self.latest
    }

    /// Whether Transit signs with `version`.
    pub(crate) fn signs(&self, version: u64) -> bool {
        self.is_listed(version) && version >= self.lowest_signing
    }

    fn is_listed(&self, version: u64) -> bool {
        version >= self.lowest && version <= self.latest && self.versions.contains_key(&version.to_string())
    }

    /// That `version` cannot be used, with the numbers that say why.
    pub(crate) fn not_live(&self, version: u64) -> Fault {
        Fault::malformed(format!(
            "expected version {version} to be live, found that versions {} to {} exist and {} to {} sign; hint: rotate the ring, it names what Transit has retired",
            self.lowest, self.latest, self.lowest_signing, self.latest
        ))
    }

    /// The public half of `version` as a key of `algorithm`.
    pub(crate) fn public_key(&self, version: u64, algorithm: Algorithm) -> Result<PublicKey, Fault> {
        let fits = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => self.key_type.starts_with("rsa-"),
            Algorithm::Es256 => self.key_type == "ecdsa-p256",
            Algorithm::Es384 => self.key_type == "ecdsa-p384",
            Algorithm::EdDsa => self.key_type == "ed25519",
        };
        if !fits {
            let found = quoted(&self.key_type);
            return Err(Fault::malformed(format!("expected a transit key that signs {algorithm}, found type {found}")));
        }
        if !self.is_listed(version) {
            return Err(self.not_live(version));
        }
        let text = self.versions.get(&version.to_string()).and_then(|entry| entry.get("public_key"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        let broken = |why: &str| Fault::malformed(format!("version {version}: expected a public key, found {why}"));
        if algorithm == Algorithm::EdDsa {
            let bytes = STANDARD.decode(text).map_err(|_| broken("no base64"))?;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&bytes)});
            return PublicKey::from_jwk(&jwk).map_err(|error| broken(&error.to_string()));
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| broken("no PEM"))?;
        PublicKey::from_spki(algorithm, &der).map_err(|error| broken(&error.to_string()))
    }

    /// Every version that is listed, the oldest first.
    pub(crate) fn live(&self, algorithm: Algorithm) -> Result<Vec<TransitVersion>, Fault> {
        let mut numbers: Vec<u64> = self
            .versions
            .keys()
            .filter_map(|name| name.parse().ok())
            .filter(|version| self.is_listed(*version))
            .collect();
        numbers.sort_unstable();
        numbers
            .into_iter()
            .map(|version| {
                let public_key = self.public_key(version, algorithm)?;
                Ok(TransitVersion { version, public_key, signs: self.signs(version) })
            })
            .collect()
    }
}

/// The raw JOSE signature in `vault:vN:…`, which must be of version `version`.
pub(crate) fn raw_signature(text: &str, version: u64, public: &PublicKey) -> Result<Vec<u8>, Fault> {
    let wrong = |found: &str| Fault::malformed(format!("expected a signature of version {version}, found {found}"));
    let rest = text.strip_prefix("vault:v").ok_or_else(|| wrong("another form"))?;
    let (number, encoded) = rest.split_once(':').ok_or_else(|| wrong("another form"))?;
    if number != version.to_string() {
        return Err(wrong("one of another version"));
    }
    let bytes = match public.algorithm() {
        // What `marshaling_algorithm=jws` writes.
        Algorithm::Es256 | Algorithm::Es384 => base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded),
        _ => STANDARD.decode(encoded),
    };
    let bytes = bytes.map_err(|_| wrong("no base64"))?;
    if bytes.len() == public.signature_len() { Ok(bytes) } else { Err(wrong("one of another length")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_jose::LocalSigner;

    const ED25519: &str = "rZ+WEcwi/lX6Z9bj8vDEe6mSQUmjaneO9SsUO0DkW0w=";

    fn described(data: Value) -> Result<Metadata, Fault> {
        match data {
            Value::Object(data) => Metadata::parse(data),
            _ => unreachable!(),
        }
    }

    fn ed25519(lowest: u64, lowest_signing: u64) -> Metadata {
        let entry = json!({"name": "ed25519", "public_key": ED25519});
        described(json!({
            "type": "ed25519", "latest_version": 4, "min_available_version": lowest, "min_decryption_version": 1,
            "min_encryption_version": lowest_signing, "keys": {"2": entry, "3": entry, "4": entry, "10": entry, "x": entry},
        }))
        .unwrap()
    }

    #[test]
    fn versions_keep_their_numbers_and_only_live_ones_count() {
        let numbers = |metadata: &Metadata| -> Vec<(u64, bool)> {
            metadata.live(Algorithm::EdDsa).unwrap().iter().map(|found| (found.version, found.signs)).collect()
        };
        assert_eq!(numbers(&ed25519(0, 0)), [(2, true), (3, true), (4, true)]);
        assert_eq!(numbers(&ed25519(3, 4)), [(3, false), (4, true)]);
        let problem = ed25519(3, 4).public_key(2, Algorithm::EdDsa).unwrap_err();
        assert!(problem.detail.contains("versions 3 to 4 exist and 4 to 4 sign"), "{}", problem.detail);
        assert!(ed25519(0, 0).public_key(1, Algorithm::EdDsa).is_err(), "not listed");
    }

    #[test]
    fn a_key_of_another_type_or_form_is_refused() {
        assert!(ed25519(0, 0).public_key(2, Algorithm::Es256).unwrap_err().detail.contains("found type \"ed25519\""));
        for (key_type, algorithm, public_key) in [
            ("aes256-gcm96", Algorithm::Rs256, json!("x")),
            ("ed25519", Algorithm::EdDsa, json!("AAAA")),
            ("ed25519", Algorithm::EdDsa, json!("%%%")),
            ("ed25519", Algorithm::EdDsa, json!(null)),
            ("ecdsa-p256", Algorithm::Es256, json!(ED25519)),
            ("rsa-2048", Algorithm::Rs256, json!("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
        ] {
            let metadata =
                described(json!({"type": key_type, "latest_version": 1, "keys": {"1": {"public_key": public_key}}}));
            assert!(metadata.unwrap().public_key(1, algorithm).is_err(), "{key_type}");
        }
        for broken in [
            json!({}),
            json!({"type": "ed25519", "latest_version": 0, "keys": {}}),
            json!({"type": "ed25519", "latest_version": 1, "keys": []}),
        ] {
            assert!(described(broken).is_err());
        }
    }

    #[test]
    fn a_signature_of_another_version_or_form_is_refused() {
        let local = LocalSigner::generate(Algorithm::EdDsa).unwrap();
        let public = local.public_key();
        let signature = STANDARD.encode([7; 64]);
        assert_eq!(raw_signature(&format!("vault:v2:{signature}"), 2, public).unwrap(), [7; 64]);
        for wrong in [
            format!("vault:v3:{signature}"),
            format!("vault:v02:{signature}"),
            format!("vault:v2:{}", STANDARD.encode([7; 63])),
            format!("vault:v2:{signature}\n"),
            format!("bao:v2:{signature}"),
            "vault:v2".to_owned(),
            "vault:v2:".to_owned(),
            String::new(),
        ] {
            assert!(raw_signature(&wrong, 2, public).is_err(), "{wrong}");
        }
        let public = LocalSigner::generate(Algorithm::Es256).unwrap().public_key().clone();
        assert!(raw_signature(&format!("vault:v1:{}", base64url(&[7; 64])), 1, &public).is_ok());
        // DER, as without `marshaling_algorithm`.
        assert!(raw_signature(&format!("vault:v1:{}", STANDARD.encode([0x30; 70])), 1, &public).is_err());
    }
}
