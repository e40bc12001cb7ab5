//! The library: a whole JWT against the raw signature, against other Rust, Python and Node.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::now;
use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use token_jose::{Algorithm, Expectation, KeySet, LocalSigner, PublishedKey, sign_compact, verify};

use crate::peer::Peer;
use crate::table::{Table, median};

const ROUNDS: usize = 15;

/// Each measured algorithm: operations of one block (tens of milliseconds), and the targets over raw signing, over
/// `jsonwebtoken`, over PyJWT and over jose.
const MEASURED: [(Algorithm, u32, Targets); 3] = [
    (Algorithm::Rs256, 150, Targets { raw: 0.97, jsonwebtoken: 2.4, pyjwt: None, jose: None }),
    (Algorithm::Es256, 2_000, Targets { raw: 0.92, jsonwebtoken: 1.5, pyjwt: Some(2.2), jose: Some(4.5) }),
    (Algorithm::EdDsa, 3_000, Targets { raw: 0.88, jsonwebtoken: 1.5, pyjwt: None, jose: None }),
];
const VERIFICATIONS: u32 = 1_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://acme.snowflakecomputing.com";

struct Targets {
    raw: f64,
    jsonwebtoken: f64,
    pyjwt: Option<f64>,
    jose: Option<f64>,
}

/// Runs the comparisons, RS256 first.
pub(crate) fn run(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (algorithm, count, targets) in MEASURED {
        eprintln!("library {algorithm}");
        runtime.block_on(algorithm_rows(table, algorithm, count, &targets));
    }
}

async fn algorithm_rows(table: &mut Table, algorithm: Algorithm, count: u32, targets: &Targets) {
    let signer = LocalSigner::generate(algorithm).expect("a key");
    let now = now();
    let claims = claims(now);
    let json = claims.to_string().into_bytes();
    let token = sign_compact(&signer, "JWT", &json).await.expect("a token").into_string();
    let keys = KeySet::new([PublishedKey::new(signer.public_key().clone())], 0);
    check(&token, &keys, now);

    let input = token.rsplit_once('.').expect("three parts").0.as_bytes();
    let raw = Raw::new(&signer);
    let signature = signer.sign_now(input).expect("a signature");
    let other = OtherRust::new(&signer);
    check(&other.encode(&claims), &keys, now);
    let mut peers = Peer::all(&json!({
        "algorithm": algorithm.name(), "kid": signer.public_key().kid().as_str(), "pem": pem(&signer), "token": token,
        "claims": claims, "issuer": ISSUER, "audience": AUDIENCE,
    }));
    for peer in &mut peers {
        check(&peer.token("encode"), &keys, now);
        // The virtual machines compile what is hot.
        peer.measure("encode", count);
        peer.measure("verify", VERIFICATIONS);
    }

    let mut raws = Series::default();
    let mut issues = Series::default();
    let mut encodes = Series::default();
    let mut others = Series::default();
    let mut verifies = Series::default();
    let mut raw_verifies = Series::default();
    let mut peer_encodes: Vec<Series> = peers.iter().map(|_| Series::default()).collect();
    let mut peer_verifies: Vec<Series> = peers.iter().map(|_| Series::default()).collect();
    for round in 0..=ROUNDS {
        // Raw before and after what is compared with it within three percent, so that a drift of the clock cancels.
        let before = measured(count, || raw.sign(input));
        let start = cpu();
        for _ in 0..count {
            std::hint::black_box(sign_compact(&signer, "JWT", &json).await.expect("a token"));
        }
        let issue = per_operation(start, count);
        let after = measured(count, || raw.sign(input));
        let start = cpu();
        for _ in 0..count {
            let json = serde_json::to_vec(&claims).expect("claims are JSON");
            std::hint::black_box(sign_compact(&signer, "JWT", &json).await.expect("a token"));
        }
        let encode = per_operation(start, count);
        let other = measured(count, || drop(std::hint::black_box(other.encode(&claims))));
        let verified = measured(VERIFICATIONS, || check(&token, &keys, now));
        let raw_verified = measured(VERIFICATIONS, || {
            signer.public_key().verify_signature(input, &signature).expect("the signature verifies");
        });
        let peer_encode: Vec<f64> = peers.iter_mut().map(|peer| peer.measure("encode", count)).collect();
        let peer_verify: Vec<f64> = peers.iter_mut().map(|peer| peer.measure("verify", VERIFICATIONS)).collect();
        if round == 0 {
            continue;
        }
        raws.push(f64::midpoint(before, after));
        issues.push(issue);
        encodes.push(encode);
        others.push(other);
        verifies.push(verified);
        raw_verifies.push(raw_verified);
        peer_encodes.iter_mut().zip(peer_encode).for_each(|(series, value)| series.push(value));
        peer_verifies.iter_mut().zip(peer_verify).for_each(|(series, value)| series.push(value));
    }

    let name = algorithm.name();
    row(
        table,
        format!("{name}: whole JWT issue over the raw signature"),
        &issues,
        "aws-lc-rs",
        &raws,
        Some(targets.raw),
    );
    let what = format!("{name}: encode (claims and signature)");
    row(table, what.clone(), &encodes, "jsonwebtoken", &others, Some(targets.jsonwebtoken));
    for (peer, series) in peers.iter().zip(&peer_encodes) {
        let target = if peer.name == "jose" { targets.jose } else { targets.pyjwt };
        row(table, what.clone(), &encodes, peer.name, series, target);
    }
    row(
        table,
        format!("{name}: verify, all checks, over the raw signature"),
        &verifies,
        "aws-lc-rs",
        &raw_verifies,
        None,
    );
    for (peer, series) in peers.iter().zip(&peer_verifies) {
        let target = if peer.name == "jose" { 3.0 } else { 4.0 };
        let target = (algorithm == Algorithm::Rs256).then_some(target);
        row(table, format!("{name}: verify, all checks"), &verifies, peer.name, series, target);
    }
}

fn row(table: &mut Table, what: String, ours: &Series, name: &'static str, peer: &Series, target: Option<f64>) {
    let ratio = median(peer.0.iter().zip(&ours.0).map(|(peer, ours)| peer / ours).collect());
    table.versus(what, "µs CPU", ours.micros(), (name, peer.micros()), ratio, target);
}

/// One contestant's CPU seconds per operation, one value a round.
#[derive(Default)]
struct Series(Vec<f64>);

impl Series {
    fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    fn micros(&self) -> f64 {
        median(self.0.clone()) * 1e6
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn per_operation(start: Duration, count: u32) -> f64 {
    cpu().saturating_sub(start).as_secs_f64() / f64::from(count)
}

fn measured(count: u32, mut operation: impl FnMut()) -> f64 {
    let start = cpu();
    for _ in 0..count {
        operation();
    }
    per_operation(start, count)
}

/// What a token says that is issued at `now`: the wall clock's time, because the peers read it themselves.
fn claims(now: Timestamp) -> Value {
    let iat = now.as_second();
    json!({
        "iss": ISSUER, "sub": "111122223333/ETL-NIGHTLY", "aud": AUDIENCE, "iat": iat, "nbf": iat, "exp": iat + 900,
        "jti": "0f8fad5b-d9cb-469f-a165-70867728950e", "scp": ["session:role:ETL"],
    })
}

/// What a verifier does: everything, not the signature alone.
fn check(token: &str, keys: &KeySet, now: Timestamp) {
    let expectation = Expectation::new(ISSUER, AUDIENCE, &["JWT"]);
    std::hint::black_box(verify(token, keys, &expectation, now).expect("the token verifies"));
}

fn pem(signer: &LocalSigner) -> String {
    let text = STANDARD.encode(signer.to_pkcs8());
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).filter_map(|at| text.get(at..(at + 64).min(text.len()))).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// The key pair of aws-lc-rs itself, and the least that a caller could do with it.
enum Raw {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Raw {
    fn new(signer: &LocalSigner) -> Self {
        let der = signer.to_pkcs8();
        match signer.public_key().algorithm() {
            Algorithm::Rs256 => Self::Rsa(RsaKeyPair::from_pkcs8(&der).expect("an RSA key")),
            Algorithm::Es256 => {
                Self::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).expect("an EC key"))
            }
            Algorithm::EdDsa => Self::Ed25519(Ed25519KeyPair::from_pkcs8(&der).expect("an Ed25519 key")),
            other => panic!("{other} is not measured"),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the raw signature draws as aws-lc-rs wants it")]
    fn sign(&self, input: &[u8]) {
        match self {
            Self::Rsa(pair) => {
                let mut signature = [0; 256];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature).expect("a signature");
                std::hint::black_box(signature);
            }
            Self::Ecdsa(pair) => {
                std::hint::black_box(pair.sign(&SystemRandom::new(), input).expect("a signature"));
            }
            Self::Ed25519(pair) => {
                std::hint::black_box(pair.sign(input));
            }
        }
    }
}

/// The `jsonwebtoken` crate, as its users call it.
struct OtherRust {
    header: Header,
    key: EncodingKey,
}

impl OtherRust {
    fn new(signer: &LocalSigner) -> Self {
        let der = signer.to_pkcs8();
        let (algorithm, key) = match signer.public_key().algorithm() {
            Algorithm::Rs256 => (jsonwebtoken::Algorithm::RS256, EncodingKey::from_rsa_der(pkcs1(&der))),
            Algorithm::Es256 => (jsonwebtoken::Algorithm::ES256, EncodingKey::from_ec_der(&der)),
            Algorithm::EdDsa => (jsonwebtoken::Algorithm::EdDSA, EncodingKey::from_ed_der(&der)),
            other => panic!("{other} is not measured"),
        };
        let header = Header { kid: Some(signer.public_key().kid().to_string()), ..Header::new(algorithm) };
        Self { header, key }
    }

    fn encode(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header, claims, &self.key).expect("a token")
    }
}

/// The RSAPrivateKey (RFC 8017 appendix A.1.2) inside PKCS#8 (RFC 5958): what follows a head of 26 bytes for 2048 bits.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    pkcs8.get(26..).filter(|inner| inner.starts_with(&[0x30, 0x82])).expect("PKCS#8 of an RSA key of 2048 bits")
}
