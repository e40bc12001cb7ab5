//! Proofs of possession: the RFC's own, and every check broken one at a time.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};
use token_jose::{
    Algorithm, Htu, LocalSigner, MAX_PROOF_BYTES, Nonces, Proof, ProofError, ProofExpectation, PublicKey, Retry,
    base64url, sha256, verify_proof,
};

use crate::support::{now, signer, token, with};

const URI: &str = "https://server.example.com/token";
/// The key of the RFC's proofs: its thumbprint is the `jkt` of section 6.1.
const RFC_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const RFC_HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// What a token endpoint expects that issues no nonces.
pub(crate) fn expect() -> ProofExpectation<'static> {
    static URIS: LazyLock<[Htu; 1]> = LazyLock::new(|| [Htu::parse(URI).unwrap()]);
    ProofExpectation {
        method: "POST",
        uris: &*URIS,
        access_token: None,
        nonces: None,
        nonce_required: false,
        algorithms: &Algorithm::ALL,
    }
}

fn public(signer: &LocalSigner) -> Value {
    let mut jwk = signer.public_key().to_jwk();
    // As clients send it: nothing but the key.
    for name in ["kid", "use", "alg"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    jwk
}

pub(crate) fn header(signer: &LocalSigner) -> Value {
    json!({"typ": "dpop+jwt", "alg": signer.public_key().algorithm().name(), "jwk": public(signer)})
}

pub(crate) fn claims() -> Value {
    json!({"jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": URI, "iat": now().as_second()})
}

fn judge(header: &Value, claims: &Value) -> Result<Proof, ProofError> {
    verify_proof(&token(signer(Algorithm::Es256), &header.to_string(), &claims.to_string()), &expect(), now())
}

fn with_header(name: &str, value: Value) -> Result<Proof, ProofError> {
    judge(&with(header(signer(Algorithm::Es256)), name, value), &claims())
}

fn with_claim(name: &str, value: Value) -> Result<Proof, ProofError> {
    judge(&header(signer(Algorithm::Es256)), &with(claims(), name, value))
}

#[test]
fn the_proofs_of_rfc_9449_hold_at_their_time_and_for_their_requests() {
    // Section 5, figures 4 and 6; section 7.1, figure 12.
    for (method, uri, second, jti, token, rest) in [
        (
            "POST",
            "https://server.example.com/token",
            1_562_262_616,
            "-BwC3ESc6acc2lTc",
            None,
            "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
        ),
        (
            "POST",
            "https://server.example.com/token",
            1_562_265_296,
            "-BwC3ESc6acc2lTc",
            None,
            "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA",
        ),
        (
            "GET",
            "https://resource.example.org/protectedresource",
            1_562_262_618,
            "e1j3V_bKic8-LAEB",
            Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
            "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
        ),
    ] {
        let proof = format!("{RFC_HEADER}.{rest}");
        let uris = [Htu::parse("https://other.example/").unwrap(), Htu::parse(uri).unwrap()];
        let judge = |method, access_token, now| {
            verify_proof(&proof, &ProofExpectation { method, uris: &uris, access_token, ..expect() }, now)
        };
        let judged = judge(method, token, at(second + 1)).unwrap();
        assert_eq!((judged.jkt().as_str(), judged.jti()), (RFC_JKT, jti));
        assert_eq!(
            (judged.algorithm(), judged.until(), judged.nonce_time()),
            (Algorithm::Es256, at(second + 61), None)
        );
        assert_eq!(judge("PUT", token, at(second)).unwrap_err().name(), "htm_mismatch");
        assert_eq!(judge(method, Some("another"), at(second)).unwrap_err().code(), "invalid_dpop_proof");
        assert_eq!(judge(method, token, at(second + 3600)).unwrap_err().name(), "invalid_iat");
    }
}

/// The elliptic-curve key of the replaced service's tests is no point of its curve: it has a thumbprint (see kid.rs), and is
/// no key.
#[test]
fn a_point_off_its_curve_proves_nothing() {
    let off = json!({"kty": "EC", "crv": "P-256", "x": "WbbXwVQpNcx4JpLfTo0qjQLwpHA4cb9YNQKM7VjPMns",
                     "y": "6Pbt6dwxAeS7yHp7YV4GHKaGMPaY2dSzfb0V4L5Vooo"});
    assert!(PublicKey::from_jwk(&off).is_err());
    let error = with_header("jwk", off).unwrap_err();
    assert!(error.name() == "invalid_key" && error.to_string().contains("on the curve"), "{error}");
}

#[test]
fn every_algorithm_proves_and_the_thumbprint_is_the_keys() {
    for algorithm in Algorithm::ALL {
        let signer = signer(algorithm);
        let proof = token(signer, &header(signer).to_string(), &claims().to_string());
        let judged = verify_proof(&proof, &expect(), now()).unwrap();
        assert_eq!((judged.jkt(), judged.algorithm()), (signer.public_key().kid(), algorithm));
        assert!(!format!("{judged:?}").contains("BwC3"), "{judged:?}");
        // The same proof where this algorithm is not accepted, and with one byte of each part changed.
        let others: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        let refused = verify_proof(&proof, &ProofExpectation { algorithms: &others, ..expect() }, now()).unwrap_err();
        assert_eq!(refused.name(), "unsupported_algorithm");
        let parts: Vec<&str> = proof.split('.').collect();
        let other = base64url(with(claims(), "htm", "GET".into()).to_string().as_bytes());
        for forged in
            [format!("{}.{other}.{}", parts[0], parts[2]), format!("{}.{}.{}", parts[0], parts[1], base64url(&[7; 64]))]
        {
            assert_eq!(verify_proof(&forged, &expect(), now()), Err(ProofError::InvalidSignature), "{algorithm}");
        }
    }
    // RFC 9864's name for the same algorithm, as current clients write it, also inside the key.
    let signer = signer(Algorithm::EdDsa);
    let ed25519 = with(header(signer), "alg", "Ed25519".into());
    for alg in [Value::Null, "Ed25519".into(), "EdDSA".into()] {
        let header = with(ed25519.clone(), "jwk", with(public(signer), "alg", alg));
        assert!(verify_proof(&token(signer, &header.to_string(), &claims().to_string()), &expect(), now()).is_ok());
    }
    assert_eq!(Algorithm::proof_names(&[Algorithm::Es256, Algorithm::EdDsa]), ["ES256", "EdDSA", "Ed25519"]);
}

#[test]
fn nothing_of_the_payload_is_said_before_the_signature_holds() {
    let signer = signer(Algorithm::Es256);
    let good = token(signer, &header(signer).to_string(), &claims().to_string());
    let (head, _) = good.split_once('.').unwrap();
    let signature = good.rsplit('.').next().unwrap();
    // Payloads that each would be refused for another reason.
    for payload in [
        "".to_owned(),
        "*not base64*".to_owned(),
        base64url(b"not json"),
        base64url(b"{\"jti\":1,\"jti\":2}"),
        base64url(with(claims(), "iat", 0.into()).to_string().as_bytes()),
        base64url(with(claims(), "htu", "https://elsewhere.example/".into()).to_string().as_bytes()),
    ] {
        let forged = format!("{head}.{payload}.{signature}");
        assert_eq!(verify_proof(&forged, &expect(), now()), Err(ProofError::InvalidSignature), "{payload}");
    }
    // Signed, they are.
    for (payload, name) in
        [("not json", "malformed"), ("{\"jti\":\"1\",\"jti\":\"2\"}", "malformed"), ("[]", "malformed")]
    {
        let proof = token(signer, &header(signer).to_string(), payload);
        assert_eq!(verify_proof(&proof, &expect(), now()).unwrap_err().name(), name, "{payload}");
    }
}

#[test]
fn a_proof_is_one_compact_jws_of_bounded_length() {
    let good = token(signer(Algorithm::Es256), &header(signer(Algorithm::Es256)).to_string(), &claims().to_string());
    assert!(verify_proof(&good, &expect(), now()).is_ok());
    let long = token(
        signer(Algorithm::Es256),
        &header(signer(Algorithm::Es256)).to_string(),
        &with(claims(), "more", "x".repeat(MAX_PROOF_BYTES).into()).to_string(),
    );
    for refused in [
        "".to_owned(),
        "..".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}, {good}"),
        good.replacen('.', "", 1),
        format!("{}.{good}", good.split('.').next().unwrap()),
        long,
    ] {
        let error = verify_proof(&refused, &expect(), now()).unwrap_err();
        assert!(["malformed"].contains(&error.name()), "{refused}: {error}");
        assert!(error.to_string().len() < 500 && !error.to_string().contains("eyJ"), "{error}");
    }
    let twice = header(signer(Algorithm::Es256)).to_string().replacen('{', "{\"typ\":\"dpop+jwt\",", 1);
    let proof = token(signer(Algorithm::Es256), &twice, &claims().to_string());
    assert!(matches!(verify_proof(&proof, &expect(), now()), Err(ProofError::Json { .. })));
}

#[test]
fn type_and_algorithm_are_exact() {
    for typ in [Value::Null, "JWT".into(), "at+jwt".into(), "DPoP+JWT".into(), "application/dpop+jwt".into(), 1.into()]
    {
        assert_eq!(with_header("typ", typ.clone()).unwrap_err().name(), "invalid_type", "{typ}");
    }
    for alg in [Value::Null, "none".into(), "HS256".into(), "es256".into(), "RS512".into(), "".into(), json!(["ES256"])]
    {
        assert_eq!(with_header("alg", alg.clone()).unwrap_err().name(), "unsupported_algorithm", "{alg}");
    }
    // Supported, and not this key's.
    for alg in ["RS256", "PS256", "ES384", "EdDSA", "Ed25519"] {
        assert_eq!(with_header("alg", alg.into()).unwrap_err().name(), "invalid_key", "{alg}");
    }
    // Confusion within RSA: the key's own `alg` is the only one, and a signature of the other is none.
    let rsa = signer(Algorithm::Rs256);
    let ps256 = json!({"typ": "dpop+jwt", "alg": "PS256", "jwk": public(rsa)});
    let proof = token(rsa, &ps256.to_string(), &claims().to_string());
    assert_eq!(verify_proof(&proof, &expect(), now()), Err(ProofError::InvalidSignature));
    let named = json!({"typ": "dpop+jwt", "alg": "PS256", "jwk": with(public(rsa), "alg", "RS256".into())});
    let proof = token(rsa, &named.to_string(), &claims().to_string());
    assert_eq!(verify_proof(&proof, &expect(), now()).unwrap_err().name(), "invalid_key");
}

#[test]
fn what_changes_the_processing_is_refused_and_other_keys_are_not_looked_at() {
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(true)),
        ("enc", json!("A")),
        ("zip", json!("DEF")),
    ] {
        assert_eq!(with_header(name, value).unwrap_err().name(), "header", "{name}");
    }
    // The embedded key decides, whatever else points elsewhere.
    let elsewhere = "https://attacker.example/jwks.json";
    let ours = signer(Algorithm::Es256).public_key().kid();
    for (name, value) in [
        ("jku", json!(elsewhere)),
        ("x5u", json!(elsewhere)),
        ("x5c", json!(["MIIB"])),
        ("kid", json!("../../key")),
        ("more", json!({"a": 1})),
    ] {
        assert_eq!(with_header(name, value).unwrap().jkt(), ours, "{name}");
    }
    let jwk = public(signer(Algorithm::Es256));
    for (name, value) in [("kid", json!("mine")), ("x5c", json!(["MIIB"])), ("ext", json!(true)), ("use", json!("sig"))]
    {
        assert_eq!(with_header("jwk", with(jwk.clone(), name, value)).unwrap().jkt(), ours, "{name}");
    }
}

#[test]
fn the_embedded_key_is_public_whole_and_strong() {
    let jwk = public(signer(Algorithm::Es256));
    for name in token_jose::PRIVATE_MEMBERS {
        for value in [json!("AAAA"), json!(""), json!(1)] {
            let error = with_header("jwk", with(jwk.clone(), name, value)).unwrap_err();
            assert!(matches!(error, ProofError::PrivateKey { member } if member == name), "{name}: {error}");
            assert!(!error.to_string().contains("AAAA"));
        }
    }
    for wrong in [
        Value::Null,
        json!("key"),
        json!([jwk]),
        json!({}),
        json!({"kty": "oct"}),
        with(jwk.clone(), "kty", "RSA".into()),
        with(jwk.clone(), "crv", "P-384".into()),
        with(jwk.clone(), "crv", "P-521".into()),
        with(jwk.clone(), "crv", "secp256k1".into()),
        with(jwk.clone(), "y", jwk["x"].clone()),
        with(jwk.clone(), "x", Value::Null),
        with(jwk.clone(), "use", "enc".into()),
        with(jwk.clone(), "key_ops", json!(["sign"])),
        with(jwk.clone(), "alg", "ES384".into()),
        with(jwk.clone(), "alg", "ECDH-ES".into()),
        // The point at infinity's stand-in, and coordinates with a byte more.
        with(with(jwk.clone(), "x", base64url(&[0; 32]).into()), "y", base64url(&[0; 32]).into()),
        with(jwk.clone(), "x", base64url(&[1; 33]).into()),
    ] {
        assert_eq!(with_header("jwk", wrong.clone()).unwrap_err().name(), "invalid_key", "{wrong}");
    }
    let short = json!({"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB"});
    let header = json!({"typ": "dpop+jwt", "alg": "RS256", "jwk": short});
    let error = judge(&header, &claims()).unwrap_err();
    assert!(error.name() == "invalid_key" && error.to_string().contains("1024 bits"), "{error}");
    // Another's key in the header: the signature tells.
    let other = LocalSigner::generate(Algorithm::Es256).unwrap();
    assert_eq!(with_header("jwk", public(&other)), Err(ProofError::InvalidSignature));
}

#[test]
fn claims_are_there_and_of_their_form() {
    for name in ["jti", "htm", "htu", "iat"] {
        for value in [Value::Null, json!({}), json!([1]), json!(true)] {
            let error = with_claim(name, value.clone()).unwrap_err();
            assert!(matches!(error, ProofError::Claim { claim, .. } if claim == name), "{name} {value}: {error}");
        }
    }
    for (name, value) in [
        ("iat", json!("1795348800")),
        ("jti", json!("")),
        ("jti", json!("x".repeat(1025))),
        ("jti", json!(7)),
        ("ath", json!(7)),
        ("nonce", json!(7)),
    ] {
        let error = with_claim(name, value.clone()).unwrap_err();
        assert!(matches!(error, ProofError::Claim { claim, .. } if claim == name), "{name} {value}: {error}");
    }
    assert!(with_claim("exp", 1.into()).is_ok(), "claims of extensions decide nothing");
}

#[test]
fn the_method_is_case_sensitive() {
    for htm in ["post", "Post", "GET", "POST ", "", "PUT"] {
        assert_eq!(with_claim("htm", htm.into()).unwrap_err().name(), "htm_mismatch", "{htm}");
    }
}

#[test]
fn the_uri_is_compared_in_normal_form_without_query_and_fragment() {
    for htu in [
        "https://server.example.com:443/token",
        "HTTPS://SERVER.example.com/token",
        "https://server.example.com/token?x=1&y",
        "https://server.example.com/token#fragment",
        "https://server.example.com/%74oken",
        "https://server.example.com/a/../token",
        "https://server.example.com/./token",
        "https://server.example.com:/token",
        "https://server%2eexample.com/token",
    ] {
        assert!(with_claim("htu", htu.into()).is_ok(), "{htu}");
    }
    for htu in [
        "",
        "/token",
        "//server.example.com/token",
        "server.example.com/token",
        "http://server.example.com/token",
        "http://server.example.com:443/token",
        "https://server.example.com/Token",
        "https://server.example.com/token/",
        "https://server.example.com/tokens",
        "https://server.example.com//token",
        "https://server.example.com/x%2Ftoken",
        "https://server.example.com/%2Ftoken",
        "https://server.example.com/token%2F",
        "https://server.example.com/token%00",
        "https://server.example.com:444/token",
        "https://server.example.com.:443/token",
        "https://server.example.com.evil.example/token",
        "https://server.example.com@evil.example/token",
        "https://user@server.example.com/token",
        "https://evil.example/https://server.example.com/token",
        "https://evil.example\\@server.example.com/token",
        " https://server.example.com/token",
        "https://server.example.com/token ",
    ] {
        assert_eq!(with_claim("htu", htu.into()).unwrap_err().name(), "htu_mismatch", "{htu}");
    }
    let proof = token(signer(Algorithm::Es256), &header(signer(Algorithm::Es256)).to_string(), &claims().to_string());
    let nowhere = verify_proof(&proof, &ProofExpectation { uris: &[], ..expect() }, now()).unwrap_err();
    assert_eq!(nowhere.name(), "htu_mismatch", "no configured URI accepts nothing");
}

#[test]
fn a_presented_token_needs_its_own_hash() {
    let access_token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let judge = |ath: Value| {
        let claims = with(claims(), "ath", ath);
        let proof = token(signer(Algorithm::Es256), &header(signer(Algorithm::Es256)).to_string(), &claims.to_string());
        verify_proof(&proof, &ProofExpectation { access_token: Some(access_token), ..expect() }, now())
    };
    assert!(judge("fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo".into()).is_ok(), "RFC 9449 section 7.1");
    assert_eq!(judge(Value::Null), Err(ProofError::MissingAth));
    for ath in [
        String::new(),
        base64url(&sha256(b"another token")),
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo=".to_owned(),
        "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp".to_owned(),
        token_jose::sha256_hex(access_token.as_bytes()),
    ] {
        assert_eq!(judge(ath.clone().into()), Err(ProofError::AthMismatch), "{ath}");
    }
    // Where no token is presented, `ath` is not judged.
    assert!(with_claim("ath", "anything".into()).is_ok());
}

#[test]
fn without_nonces_the_clock_decides_within_its_window() {
    let second = now().as_second();
    for (offset, accepted) in
        [(-61, false), (-60, true), (0, true), (10, true), (11, false), (-3600, false), (3600, false)]
    {
        let result = with_claim("iat", (second + offset).into());
        assert_eq!(result.is_ok(), accepted, "{offset}: {result:?}");
        match result {
            Ok(proof) => assert_eq!(proof.until(), at(second + offset + 61)),
            Err(error) => assert_eq!((error.code(), error.name()), ("invalid_dpop_proof", "invalid_iat")),
        }
    }
    // Fractions are cut; what no clock ever says is refused.
    assert!(with_claim("iat", json!(second as f64 + 10.9)).is_ok());
    for iat in [
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(9_007_199_254_740_992.0),
        json!(1e15),
    ] {
        let error = with_claim("iat", iat.clone()).unwrap_err();
        assert_eq!(error.name(), "invalid_iat", "{iat}: {error}");
    }
    // A nonce of somebody else changes nothing at a door without nonces.
    assert!(with_claim("nonce", "anything".into()).is_ok());
}

#[test]
fn with_nonces_a_wrong_clock_is_healed_and_a_wrong_nonce_is_not_made_up_for() {
    let nonces = Nonces::new(&[1; 32]);
    let judge = |required: bool, change: &[(&str, Value)], now: Timestamp| {
        let claims = change.iter().fold(claims(), |claims, (name, value)| with(claims, name, value.clone()));
        let proof = token(signer(Algorithm::Es256), &header(signer(Algorithm::Es256)).to_string(), &claims.to_string());
        let expect = ProofExpectation { nonces: Some(&nonces), nonce_required: required, ..expect() };
        verify_proof(&proof, &expect, now)
    };
    let nonce: Value = nonces.issue(now()).into();
    let off = [("iat", json!(0)), ("nonce", nonce.clone())];
    for required in [false, true] {
        let healed = judge(required, &off, now()).unwrap();
        assert_eq!(healed.nonce_time(), Some(now()), "now is the beginning of a step");
        assert_eq!(healed.until(), Nonces::ends(now()));
        let stale = judge(required, &off, healed.until()).unwrap_err();
        assert_eq!(stale, ProofError::UseNonce(Retry::Stale));
        // A good `iat` does not make up for a bad nonce.
        let other = judge(required, &[("nonce", Nonces::new(&[2; 32]).issue(now()).into())], now());
        assert_eq!(other, Err(ProofError::UseNonce(Retry::Stale)));
        assert_eq!(judge(required, &[("nonce", "".into())], now()), Err(ProofError::UseNonce(Retry::Stale)));
    }
    let clock = judge(false, &[("iat", json!(0))], now()).unwrap_err();
    assert_eq!((clock.code(), clock.clone()), ("use_dpop_nonce", ProofError::UseNonce(Retry::Clock)));
    assert!(judge(false, &[], now()).is_ok());
    assert_eq!(judge(true, &[], now()), Err(ProofError::UseNonce(Retry::Missing)));
    // Nothing that a nonce would not heal is answered by asking for one.
    let wrong = judge(true, &[("htm", "GET".into()), ("iat", json!(0))], now()).unwrap_err();
    assert_eq!(wrong.code(), "invalid_dpop_proof");
}

#[test]
fn a_jti_is_kept_short_and_two_are_never_kept_alike() {
    let kept = |jti: &str| with_claim("jti", jti.into()).unwrap().jti().to_owned();
    assert_eq!(kept("0f8fad5b-d9cb-469f-a165-70867728950e"), "0f8fad5b-d9cb-469f-a165-70867728950e");
    let long = "x".repeat(64);
    assert_eq!(kept(&long), long);
    let digest = |jti: &str| format!("sha256:{}", token_jose::sha256_hex(jti.as_bytes()));
    for jti in ["x".repeat(65), "x".repeat(1024), "a b".to_owned(), "\u{e9}".to_owned(), "a\r\nb".to_owned()] {
        assert_eq!(kept(&jti), digest(&jti));
        assert!(kept(&jti).len() <= 71);
    }
    // Who chooses the digest of another jti as his own is not kept like it.
    assert_ne!(kept(&digest(&"x".repeat(65))), kept(&"x".repeat(65)));
}
