//! Writes the seeds that need keys: `corpus/dpop`, `corpus/jws`, `corpus/jwks` and `corpus/ring`.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds` from the repository's root. The private halves of the keys
//! that sign the `dpop` and `jws` seeds are dropped here; those in the `ring` seeds were made for these seeds and protect nothing.

use std::error::Error;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{Algorithm, KeyRing, KeySet, LocalSigner, Nonces, PublishedKey, RingPolicy, base64url};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let now: Timestamp = "2026-11-22T00:00:00Z".parse()?;
    proofs(&corpus, now)?;
    tokens(&corpus)?;
    key_sets(&corpus, now)?;
    rings(&corpus, now)
}

/// DPoP proofs, a URI and a nonce.
fn proofs(corpus: &Path, now: Timestamp) -> Result<(), Box<dyn Error>> {
    let claims = json!({"jti": "0f8fad5b-d9cb-469f-a165-70867728950e", "htm": "POST",
        "htu": "HTTPS://issuer.example:443/a/../token?x#y", "iat": now.as_second()});
    let nonce = Nonces::new(&[7; 32]).issue(now);
    let with_nonce = json!({"jti": "\u{e9}".repeat(80), "htm": "POST", "htu": "https://issuer.example/%74oken", "iat": 0,
        "nonce": nonce, "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"});
    for (name, algorithm, claims) in [
        ("valid-rs256", Algorithm::Rs256, &claims),
        ("valid-es256", Algorithm::Es256, &claims),
        ("valid-eddsa-nonce", Algorithm::EdDsa, &with_nonce),
    ] {
        let signer = LocalSigner::generate(algorithm)?;
        let header = json!({"typ": "dpop+jwt", "alg": algorithm.name(), "jwk": signer.public_key().to_jwk()});
        write(corpus, "dpop", name, sign(&signer, &header, claims)?)?;
        if algorithm == Algorithm::Es256 {
            // Signed by the key that they hold, refused for what they say.
            let late = json!({"jti": "1", "htm": "post", "htu": "https://issuer.example/token#", "iat": 1.5});
            write(corpus, "dpop", "refused-claims", sign(&signer, &header, &late)?)?;
            let mut private = header.clone();
            private["jwk"]["d"] = json!("AAAA");
            write(corpus, "dpop", "refused-private", sign(&signer, &private, claims)?)?;
        }
    }
    write(corpus, "dpop", "htu", "https://[2001:DB8::1]:0443/a/%2e%2E/%c3%a4?x#y")?;
    write(corpus, "dpop", "nonce", nonce)
}

fn tokens(corpus: &Path) -> Result<(), Box<dyn Error>> {
    let claims = json!({
        "iss": "https://issuer.example", "sub": "analyst", "aud": "https://api.example.com", "iat": 1_795_305_600,
        "nbf": 1_795_305_600, "exp": 1_795_306_500, "jti": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "scp": ["session:role:ANALYST"],
    });
    let many = json!({
        "iss": "https://issuer.example", "aud": ["https://api.example.com", "x"], "exp": 1_795_306_500.5,
        "act": {"sub": "a", "act": {"sub": "b"}}, "\u{e4}": "\u{1f511}\n\\u0000",
    });
    let mut published = Vec::new();
    for (name, algorithm) in
        [("valid-rs256", Algorithm::Rs256), ("valid-es256", Algorithm::Es256), ("valid-eddsa", Algorithm::EdDsa)]
    {
        let signer = LocalSigner::generate(algorithm)?;
        let kid = signer.public_key().kid().as_str();
        let header = json!({"typ": "JWT", "alg": algorithm.name(), "kid": kid});
        write(corpus, "jws", name, sign(&signer, &header, &claims)?)?;
        if algorithm == Algorithm::EdDsa {
            // Signed by the right key, refused for what they say.
            let crit = json!({"typ": "JWT", "alg": "EdDSA", "kid": kid, "crit": ["exp"], "exp": 1});
            write(corpus, "jws", "refused-crit", sign(&signer, &crit, &claims)?)?;
            let typ = json!({"typ": "application/dpop+jwt", "alg": "EdDSA", "kid": kid});
            write(corpus, "jws", "refused-typ", sign(&signer, &typ, &many)?)?;
            let none = json!({"typ": "JWT", "alg": "none", "kid": kid});
            write(corpus, "jws", "refused-none", sign(&signer, &none, &claims)?)?;
        }
        published.push(PublishedKey::new(signer.public_key().clone()));
    }
    write(corpus, "jwks", "jws-keys.json", KeySet::new(published, 0).to_public_json())
}

fn sign(signer: &LocalSigner, header: &Value, claims: &Value) -> Result<String, Box<dyn Error>> {
    let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature = signer.sign_now(input.as_bytes())?;
    Ok(format!("{input}.{}", base64url(&signature)))
}

fn key_sets(corpus: &Path, now: Timestamp) -> Result<(), Box<dyn Error>> {
    let ring = KeyRing::first(&[Algorithm::Es384, Algorithm::Ps256], RingPolicy::default(), now)?;
    let stored = ring.published(now).with_min_generation(7).to_stored_json();
    let mut value: Value = serde_json::from_str(&stored)?;
    if let Some(key) = value.pointer_mut("/keys/0").and_then(Value::as_object_mut) {
        key.insert("published_at".to_owned(), json!("2026-11-22T00:00:00Z"));
        key.insert("not_after".to_owned(), json!("2026-12-24T00:00:00.5Z"));
    }
    write(corpus, "jwks", "stored-es384-ps256.json", value.to_string())?;
    write(corpus, "jwks", "refused-private-member.json", r#"{"keys":[{"kty":"oct","K":"AAAA"}]}"#)?;
    write(
        corpus,
        "jwks",
        "refused-several.json",
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},7],"more":1}"#,
    )
}

fn rings(corpus: &Path, now: Timestamp) -> Result<(), Box<dyn Error>> {
    let small = KeyRing::first(&[Algorithm::EdDsa, Algorithm::Es256], RingPolicy::default(), now)?;
    let json = String::from_utf8(small.to_json()?.to_vec())?;
    write(corpus, "ring", "test-key-eddsa-es256.json", &json)?;
    write(corpus, "ring", "refused-half-of-another.json", json.replacen("\"x\":\"", "\"x\":\"A", 1))?;
    // The remote halves, and a retained public one.
    let mut value: Value = serde_json::from_str(&json)?;
    let keys = value.pointer_mut("/keys").and_then(Value::as_array_mut).ok_or("a ring has keys")?;
    let places = [
        json!({"kms": "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}),
        json!({"transit": {"key": "issuer", "version": 3}}),
    ];
    for (key, place) in keys.iter_mut().zip(places) {
        key["private"] = place;
    }
    write(corpus, "ring", "test-key-remote.json", value.to_string())?;
    let signer = LocalSigner::generate(Algorithm::Rs256)?;
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n", lines(&signer.to_pkcs8()));
    write(corpus, "ring", "test-key-source-system.json", json!({"private_key": pem, "public_key": ""}).to_string())
}

/// Padded base64 in lines of 64, as PEM has it.
fn lines(der: &[u8]) -> String {
    let mut text = base64url(der).replace('-', "+").replace('_', "/");
    text.push_str("==".get(..(4 - text.len() % 4) % 4).unwrap_or_default());
    text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

fn write(corpus: &Path, target: &str, name: &str, content: impl AsRef<[u8]>) -> Result<(), Box<dyn Error>> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), content)?)
}
