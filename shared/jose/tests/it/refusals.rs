//! The negative table of verification: every token here is signed correctly unless the point is that it is not.

use serde_json::{Value, json};
use token_jose::{
    Algorithm, Expectation, JwsError, KeySet, LocalSigner, PublishedKey, SignError, Unverified, base64url,
    sign_compact, verify,
};

use crate::support::{AUDIENCE, ISSUER, block_on, claims, expectation, header, key_set, now, signer, token, with};

fn es256() -> &'static LocalSigner {
    signer(Algorithm::Es256)
}

fn judge(token: &str) -> Result<(), JwsError> {
    verify(token, &key_set(&Algorithm::ALL), &expectation(), now()).map(|_| ())
}

fn with_header(header: &Value) -> Result<(), JwsError> {
    judge(&token(es256(), &header.to_string(), &claims().to_string()))
}

fn with_claims(claims: &Value) -> Result<(), JwsError> {
    judge(&token(es256(), &header(es256()).to_string(), &claims.to_string()))
}

#[test]
fn every_algorithm_signs_what_verify_accepts() {
    for algorithm in Algorithm::ALL {
        let signed = block_on(sign_compact(signer(algorithm), "JWT", claims().to_string().as_bytes())).unwrap();
        let verified = verify(signed.as_str(), &key_set(&Algorithm::ALL), &expectation(), now()).unwrap();
        assert_eq!(Value::Object(verified.value().clone()), claims());
        assert_eq!((verified.algorithm(), verified.kid()), (algorithm, signer(algorithm).public_key().kid()));
        // The header is exactly typ, alg, kid.
        let encoded = signed.as_str().split('.').next().unwrap();
        assert_eq!(
            encoded,
            base64url(format!(r#"{{"typ":"JWT","alg":"{algorithm}","kid":"{}"}}"#, verified.kid()).as_bytes())
        );
        assert!(!format!("{signed:?} {verified:?}").contains(ISSUER));
    }
}

#[test]
fn header_members_beyond_alg_kid_typ_are_refused() {
    let jwk = es256().public_key().to_jwk();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jwk", jwk),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("nonce", json!("1")),
        ("", json!("")),
    ] {
        let refused = with_header(&with(header(es256()), name, value));
        assert!(matches!(refused, Err(JwsError::HeaderMember { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn missing_and_mistyped_header_members_are_refused() {
    for name in ["alg", "kid", "typ"] {
        for value in [Value::Null, json!(1), json!(["ES256"]), json!({"alg": "ES256"}), json!(true)] {
            let refused = with_header(&with(header(es256()), name, value.clone()));
            assert!(matches!(refused, Err(JwsError::Header { member, .. }) if member == name), "{name} {value}");
        }
    }
    let null = header(es256()).to_string().replace("\"JWT\"", "null");
    assert!(judge(&token(es256(), &null, &claims().to_string())).is_err());
}

#[test]
fn the_key_and_not_the_header_decides_the_algorithm() {
    for alg in ["none", "None", "HS256", "HS384", "HS512", "RS256", "PS256", "ES384", "EdDSA", "es256", "ES256 ", ""] {
        let refused = with_header(&with(header(es256()), "alg", alg.into()));
        assert!(matches!(refused, Err(JwsError::Algorithm { expected: Algorithm::Es256, .. })), "{alg}: {refused:?}");
    }
    // The classic: HS256 with the public key's bytes as the secret; whatever the MAC, the header is refused first.
    let key = signer(Algorithm::Rs256).public_key();
    let header = json!({"typ": "JWT", "alg": "HS256", "kid": key.kid().as_str()}).to_string();
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(claims().to_string().as_bytes()));
    let forged = format!("{input}.{}", base64url(&token_jose::sha256(input.as_bytes())));
    assert!(matches!(judge(&forged), Err(JwsError::Algorithm { .. })));
    // RS256's key used for a PS256 signature: same key bytes, other algorithm.
    let pkcs8 = signer(Algorithm::Rs256).to_pkcs8();
    let ps256 = LocalSigner::from_pkcs8(Algorithm::Ps256, &pkcs8).unwrap();
    assert_eq!(ps256.public_key().kid(), key.kid());
    assert_ne!(ps256.public_key(), key);
    let confused = block_on(sign_compact(&ps256, "JWT", claims().to_string().as_bytes())).unwrap();
    assert!(matches!(judge(confused.as_str()), Err(JwsError::Algorithm { .. })));
    let relabelled =
        token(&ps256, &with(crate::support::header(&ps256), "alg", "RS256".into()).to_string(), "{\"iss\":\"\"}");
    assert_eq!(judge(&relabelled), Err(JwsError::Signature));
}

#[test]
fn typ_is_compared_as_a_media_type() {
    for accepted in ["JWT", "jwt", "application/jwt", "APPLICATION/JWT"] {
        assert_eq!(with_header(&with(header(es256()), "typ", accepted.into())), Ok(()), "{accepted}");
    }
    for refused in [
        "at+jwt",
        "application/at+jwt",
        "parent+jwt",
        "dpop+jwt",
        "",
        "JWT ",
        "application/",
        "x/jwt",
        "application/application/jwt",
    ] {
        let result = with_header(&with(header(es256()), "typ", refused.into()));
        assert!(matches!(result, Err(JwsError::Typ { .. })), "{refused}: {result:?}");
    }
    let access = Expectation::new(ISSUER, AUDIENCE, &["at+jwt"]);
    let keys = key_set(&[Algorithm::Es256]);
    let jwt = block_on(sign_compact(es256(), "JWT", claims().to_string().as_bytes())).unwrap();
    assert_eq!(verify(jwt.as_str(), &keys, &access, now()).unwrap_err().code(), "typ");
    let at_jwt = block_on(sign_compact(es256(), "at+jwt", claims().to_string().as_bytes())).unwrap();
    assert!(verify(at_jwt.as_str(), &keys, &access, now()).is_ok());
    // Nothing expected accepts nothing.
    assert!(verify(jwt.as_str(), &keys, &Expectation::new(ISSUER, AUDIENCE, &[]), now()).is_err());
}

#[test]
fn unknown_foreign_and_expired_keys_are_refused() {
    let other = LocalSigner::generate(Algorithm::Es256).unwrap();
    let foreign = block_on(sign_compact(&other, "JWT", claims().to_string().as_bytes())).unwrap();
    assert_eq!(judge(foreign.as_str()).unwrap_err().code(), "unknown_kid");
    // The same token under a known kid: the signature tells.
    let stolen_kid = token(&other, &header(es256()).to_string(), &claims().to_string());
    assert_eq!(judge(&stolen_kid), Err(JwsError::Signature));
    assert_eq!(with_header(&with(header(es256()), "kid", "../../key".into())).unwrap_err().code(), "unknown_kid");
    // A key past its not_after verifies nothing, even if nobody has dropped it yet.
    let mut entry = PublishedKey::new(es256().public_key().clone());
    entry.not_after = Some(now());
    let retired = KeySet::new([entry], 0);
    let ours = token(es256(), &header(es256()).to_string(), &claims().to_string());
    assert_eq!(verify(&ours, &retired, &expectation(), now()).unwrap_err().code(), "unknown_kid");
}

#[test]
fn duplicate_members_and_loose_json_are_refused() {
    let (header, claims) = (header(es256()).to_string(), claims().to_string());
    let twice = |json: &str, more: &str| json.replacen('{', &format!("{{{more},"), 1);
    for (header, claims) in [
        (header.clone(), twice(&claims, r#""sub":"root""#)),
        (header.clone(), twice(&claims, r#""\u0073ub":"root""#)),
        (header.clone(), twice(&claims, r#""act":{"sub":"a","sub":"b"}"#)),
        (twice(&header, r#""alg":"none""#), claims.clone()),
        (header.clone(), format!("{claims} {claims}")),
        (header.clone(), format!("[{claims}]")),
        (header.clone(), String::new()),
        (header.clone(), "null".to_owned()),
        (header.clone(), claims.replace("\"sub\"", "sub")),
        (header.clone(), twice(&claims, r#""x":"\ud800""#)),
        (header.clone(), twice(&claims, r#""x":123456789012345678901234567890"#)),
        (header.clone(), twice(&claims, &format!("\"x\":{}1{}", "[".repeat(17), "]".repeat(17)))),
        (format!("\u{feff}{header}"), claims.clone()),
    ] {
        let refused = judge(&token(es256(), &header, &claims));
        assert!(matches!(refused, Err(JwsError::Json { .. })), "{claims}: {refused:?}");
    }
}

#[test]
fn only_three_parts_of_canonical_base64url_are_read() {
    let good = token(es256(), &header(es256()).to_string(), &claims().to_string());
    assert_eq!(judge(&good), Ok(()));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    // 64 bytes leave four trailing bits in the last character, which must be zero.
    let last = signature.chars().last().unwrap();
    let loose = if last == 'A' { 'B' } else { char::from(last as u8 + 1) };
    let loose_bits = format!("{}{loose}", &signature[..signature.len() - 1]);
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{header}={payload}.{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("Bearer {good}"),
        format!("{header}\n.{payload}.{signature}"),
        format!("{header}.{payload}.{loose_bits}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")) + "/",
    ] {
        let refused = judge(&wrong).unwrap_err();
        assert!(["malformed", "signature"].contains(&refused.code()), "{wrong}: {refused}");
    }
    let long = format!("{header}.{payload}.{}", "A".repeat(token_jose::MAX_TOKEN_BYTES));
    assert_eq!(judge(&long).unwrap_err().code(), "too_large");
}

#[test]
fn signatures_have_exactly_the_algorithm_s_length() {
    for algorithm in Algorithm::ALL {
        let signer = signer(algorithm);
        let (header, claims) = (header(signer).to_string(), claims().to_string());
        let good = token(signer, &header, &claims);
        let (input, _) = good.rsplit_once('.').unwrap();
        let signature = signer.sign_now(input.as_bytes()).unwrap();
        let length = signer.public_key().signature_len();
        assert_eq!(signature.len(), length);
        let zero_padded = [&[0][..], &signature].concat();
        let zeros = vec![0; length];
        for wrong in [&signature[1..], &signature[..length - 1], &zero_padded, &[], &zeros] {
            let refused = judge(&format!("{input}.{}", base64url(wrong)));
            assert_eq!(refused, Err(JwsError::Signature), "{algorithm} {}", wrong.len());
        }
    }
}

#[test]
fn claims_that_decide_are_required_exact_and_typed() {
    let t = now().as_second();
    for (name, value, code) in [
        ("iss", Value::Null, "issuer"),
        ("iss", json!("https://issuer.example/"), "issuer"),
        ("iss", json!("https://ISSUER.example"), "issuer"),
        ("iss", json!([ISSUER]), "issuer"),
        ("aud", Value::Null, "audience"),
        ("aud", json!(""), "audience"),
        ("aud", json!("https://api.example.attacker"), "audience"),
        ("aud", json!(format!("{AUDIENCE} https://b.example")), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!(["https://other.example"]), "audience"),
        ("aud", json!([AUDIENCE, 7]), "audience"),
        ("aud", json!([[AUDIENCE]]), "audience"),
        ("aud", json!({"0": AUDIENCE}), "audience"),
        ("exp", Value::Null, "claim"),
        ("exp", json!((t + 900).to_string()), "claim"),
        ("exp", json!([t + 900]), "claim"),
        ("exp", json!(true), "claim"),
        ("exp", json!(t - 60), "expired"),
        ("exp", json!(0), "expired"),
        ("exp", json!(-1), "expired"),
        ("exp", json!(t as f64 - 60.5), "expired"),
        ("nbf", json!(t + 61), "not_yet_valid"),
        ("nbf", json!(t.to_string()), "claim"),
        ("iat", json!(t + 61), "not_yet_valid"),
        ("iat", json!(t as f64 + 60.5), "not_yet_valid"),
        ("iat", json!("now"), "claim"),
        ("iat", json!(u64::MAX), "not_yet_valid"),
    ] {
        let refused = with_claims(&with(claims(), name, value.clone())).expect_err(name);
        assert_eq!(refused.code(), code, "{name} {value}: {refused}");
    }
    let null = claims().to_string().replace(&format!("\"nbf\":{t}"), "\"nbf\":null");
    assert_eq!(judge(&token(es256(), &header(es256()).to_string(), &null)).unwrap_err().code(), "claim");
}

#[test]
fn leeway_counts_to_the_second_on_both_sides() {
    let t = now().as_second();
    for (name, value) in [
        ("exp", json!(t - 59)),
        ("exp", json!(t as f64 - 59.5)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(t + 60)),
        ("iat", json!(t + 60)),
        ("iat", json!(t - 86_400)),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("aud", json!(["https://other.example", AUDIENCE])),
    ] {
        assert_eq!(with_claims(&with(claims(), name, value.clone())), Ok(()), "{name} {value}");
    }
    let strict = expectation().with_leeway_s(0);
    let keys = key_set(&[Algorithm::Es256]);
    let at = |exp: i64| {
        let token = token(es256(), &header(es256()).to_string(), &with(claims(), "exp", json!(exp)).to_string());
        verify(&token, &keys, &strict, now()).map(|_| ())
    };
    assert_eq!(at(t + 1), Ok(()));
    assert_eq!(at(t).unwrap_err().code(), "expired");
    let endless = expectation().with_leeway_s(u64::MAX);
    let old = token(es256(), &header(es256()).to_string(), &with(claims(), "exp", json!(0)).to_string());
    assert!(verify(&old, &keys, &endless, now()).is_ok());
}

#[test]
fn unverified_yields_iss_and_kid_and_shows_nothing_else() {
    let good = token(es256(), &header(es256()).to_string(), &claims().to_string());
    let unverified = Unverified::parse(&good).unwrap();
    assert_eq!((unverified.iss(), unverified.kid()), (ISSUER, es256().public_key().kid().as_str()));
    assert!(!format!("{unverified:?}").contains(AUDIENCE));
    assert!(unverified.verify(&key_set(&[Algorithm::Es256]), &expectation(), now()).is_ok());
}

#[test]
fn messages_quote_foreign_text_bounded_and_escaped() {
    let hostile = "\r\nlevel=info \u{202e}".repeat(400);
    for refused in [
        with_header(&with(header(es256()), "kid", hostile.as_str().into())),
        with_header(&with(header(es256()), "typ", hostile.as_str().into())),
        with_header(&with(header(es256()), "alg", hostile.as_str().into())),
        with_header(&with(header(es256()), &hostile, 1.into())),
        with_claims(&with(claims(), "iss", hostile.as_str().into())),
        with_claims(&with(claims(), "aud", hostile.as_str().into())),
        with_claims(&with(claims(), "exp", hostile.as_str().into())),
    ] {
        let message = refused.unwrap_err().to_string();
        assert!(message.len() < 1200 && message.is_ascii() || message.contains('…'), "{message}");
        assert!(!message.contains(['\r', '\n', '\u{202e}']), "{message}");
    }
}

#[test]
fn nothing_unsound_is_signed() {
    let sign = |typ: &str, claims: &[u8]| block_on(sign_compact(es256(), typ, claims)).unwrap_err();
    for typ in ["", "a\"b", "J WT", "JWT\n", "\u{e9}", &"t".repeat(65)] {
        assert_eq!(sign(typ, b"{}"), SignError::Typ, "{typ:?}");
    }
    for claims in [&b""[..], b"[]", b"{", b"null", b" {}", b"{}\n"] {
        assert_eq!(sign("JWT", claims), SignError::Claims);
    }
    let long = format!("{{\"scope\":\"{}\"}}", "s".repeat(token_jose::MAX_TOKEN_BYTES));
    assert!(matches!(sign("JWT", long.as_bytes()), SignError::TooLarge { .. }));
}

/// What an adapter that forgets to convert would do: DER instead of r || s.
#[derive(Debug)]
struct DerSigner;

#[async_trait::async_trait]
impl token_jose::Signer for DerSigner {
    fn public_key(&self) -> &token_jose::PublicKey {
        es256().public_key()
    }

    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(vec![0x30; 71])
    }
}

#[test]
fn a_signature_of_another_shape_never_leaves() {
    let refused = block_on(sign_compact(&DerSigner, "JWT", b"{}"));
    assert_eq!(refused, Err(SignError::SignatureLength { expected: 64, found: 71 }));
}
