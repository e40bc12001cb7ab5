//! Key sets and tokens of other issuers: their real shapes, and what somebody else might send in their name.

use serde_json::{Map, Value, json};
use token_jose::{
    Algorithm, ForeignExpectation, ForeignKeys, ForeignKeysError, JwsError, LocalSigner, PRIVATE_MEMBERS, TypRule,
    UnverifiedForeign, base64url, sha256, verify_foreign,
};

use crate::support::{now, signer, token, with};

const ISSUER: &str = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";
const AUDIENCE: &str = "https://exchange.example";

/// The key of `signer` as another issuer publishes it.
fn jwk(signer: &LocalSigner, kid: &str) -> Value {
    with(with(signer.public_key().to_jwk(), "kid", kid.into()), "key_ops", json!(["verify"]))
}

fn set(keys: &[Value]) -> ForeignKeys {
    ForeignKeys::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn rsa() -> &'static LocalSigner {
    signer(Algorithm::Rs256)
}

fn expectation() -> ForeignExpectation {
    ForeignExpectation::new(ISSUER, AUDIENCE, &[Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384])
}

/// A projected service account token as Kubernetes 1.30 writes it.
fn service_account() -> Value {
    let iat = now().as_second();
    json!({
        "aud": [AUDIENCE],
        "exp": iat + 3607,
        "iat": iat,
        "iss": ISSUER,
        "jti": "6b2c1f4e-4b0b-4f7c-9c9e-6f1f5b1e8c11",
        "kubernetes.io": {
            "namespace": "edc",
            "node": {"name": "node-1", "uid": "9a1ea1b3-3a8d-4fbb-8f5b-0a8b1b6f0c55"},
            "pod": {"name": "connector-6d5f7c9b8-x2x4z", "uid": "4f6ad6f1-3a0d-44a8-9a2f-6e2fd2d6b2c7"},
            "serviceaccount": {"name": "connector", "uid": "1c2b9c55-5a6b-4f8e-a6f6-1b7f44a3f0aa"},
            "warnafter": iat + 3607
        },
        "nbf": iat,
        "sub": "system:serviceaccount:edc:connector",
    })
}

fn header(kid: &str) -> Value {
    json!({"alg": "RS256", "kid": kid})
}

fn signed(header: &Value, claims: &Value) -> String {
    token(rsa(), &header.to_string(), &claims.to_string())
}

fn judge(token: &str, keys: &ForeignKeys) -> Result<Map<String, Value>, JwsError> {
    verify_foreign(token, keys, &expectation(), now()).map(token_jose::Verified::into_inner)
}

#[test]
fn a_service_account_token_of_kubernetes_verifies_and_says_all_of_its_claims() {
    let keys = set(&[jwk(rsa(), "eBPm2dHcZ0X0HyYQ9h6eQ1Z4b3o"), jwk(signer(Algorithm::Es256), "other")]);
    let text = signed(&header("eBPm2dHcZ0X0HyYQ9h6eQ1Z4b3o"), &service_account());
    let unverified = UnverifiedForeign::parse(&text).unwrap();
    assert_eq!((unverified.iss(), unverified.kid()), (ISSUER, Some("eBPm2dHcZ0X0HyYQ9h6eQ1Z4b3o")));
    assert!(!format!("{unverified:?}").contains("connector"));
    let verified = verify_foreign(&text, &keys, &expectation(), now()).unwrap();
    assert_eq!(Value::Object(verified.value().clone()), service_account());
    assert_eq!((verified.kid(), verified.algorithm()), (rsa().public_key().kid(), Algorithm::Rs256));
    let stepwise = UnverifiedForeign::parse(&text).unwrap().verify(&keys, &expectation(), now()).unwrap();
    assert_eq!(stepwise.value(), verified.value());
}

#[test]
fn the_headers_of_github_and_sts_are_read() {
    let keys = set(&[jwk(rsa(), "38826b17-6a30-5f9b-b169-8beb8202f723"), jwk(signer(Algorithm::Es384), "EC384_0")]);
    let github = json!({"typ": "JWT", "alg": "RS256", "x5t": "ykNaY4qM_ta4k2TgZOCEYLkcYlA",
        "kid": "38826b17-6a30-5f9b-b169-8beb8202f723"});
    assert!(judge(&signed(&github, &service_account()), &keys).is_ok());
    let sts = json!({"kid": "EC384_0", "typ": "JWT", "alg": "ES384"});
    assert!(judge(&token(signer(Algorithm::Es384), &sts.to_string(), &service_account().to_string()), &keys).is_ok());
    // RFC 9864's name, in token and key.
    let ed25519 = with(jwk(signer(Algorithm::EdDsa), "ed"), "alg", "Ed25519".into());
    let expect = ForeignExpectation::new(ISSUER, AUDIENCE, &[Algorithm::EdDsa]);
    for alg in ["Ed25519", "EdDSA"] {
        let header = json!({"alg": alg, "kid": "ed"}).to_string();
        let text = token(signer(Algorithm::EdDsa), &header, &service_account().to_string());
        assert!(verify_foreign(&text, &set(std::slice::from_ref(&ed25519)), &expect, now()).is_ok(), "{alg}");
    }
}

#[test]
fn the_type_is_judged_by_its_rule() {
    let keys = set(&[jwk(rsa(), "k")]);
    let judge = |typ: Value, rule: TypRule| {
        let text = signed(&with(header("k"), "typ", typ), &service_account());
        verify_foreign(&text, &keys, &expectation().with_typ(rule), now()).map(drop).map_err(|error| error.code())
    };
    assert_eq!(judge(Value::Null, TypRule::optional(&["JWT"])), Ok(()));
    assert_eq!(judge(Value::Null, TypRule::required(&["JWT"])), Err("typ"));
    for typ in ["JWT", "jwt", "application/jwt"] {
        assert_eq!(judge(typ.into(), TypRule::required(&["JWT"])), Ok(()));
    }
    for typ in ["at+jwt", "dpop+jwt", "parent+jwt", ""] {
        assert_eq!(judge(typ.into(), TypRule::optional(&["JWT"])), Err("typ"), "{typ}");
    }
    assert_eq!(judge("at+jwt".into(), TypRule::required(&["at+jwt"])), Ok(()));
    assert_eq!(judge("JWT".into(), TypRule::required(&[])), Err("typ"));
    assert_eq!(judge(1.into(), TypRule::optional(&["JWT"])), Err("header"));
}

#[test]
fn the_key_is_the_one_that_kid_names_and_never_one_of_several() {
    let (one, other) = (rsa(), LocalSigner::generate(Algorithm::Es256).unwrap());
    let keys = set(&[jwk(one, "a/../b"), jwk(&other, "b")]);
    assert!(judge(&signed(&header("a/../b"), &service_account()), &keys).is_ok(), "a kid is a name and no path");
    for kid in ["", "a", "b ", "A/../B", "../../etc/passwd", "file:///dev/null", "http://attacker.example/"] {
        let error = judge(&signed(&header(kid), &service_account()), &keys).unwrap_err();
        assert_eq!(error.code(), "unknown_kid", "{kid}");
    }
    // Named, but of another algorithm.
    let error = judge(&signed(&header("b"), &service_account()), &keys).unwrap_err();
    assert_eq!(error.code(), "unknown_kid");
    // Without a kid: exactly one key for this algorithm.
    let nameless = signed(&json!({"alg": "RS256"}), &service_account());
    assert!(judge(&nameless, &keys).is_ok());
    let second = LocalSigner::generate(Algorithm::Rs256).unwrap();
    let two = set(&[jwk(one, "a"), jwk(&second, "b")]);
    assert_eq!(judge(&nameless, &two), Err(JwsError::NoKid { algorithm: Algorithm::Rs256, keys: 2 }));
    let none = set(&[jwk(&other, "b")]);
    assert_eq!(judge(&nameless, &none), Err(JwsError::NoKid { algorithm: Algorithm::Rs256, keys: 0 }));
    // Two different keys by one name: not even the right one is believed.
    let twins = set(&[jwk(one, "k"), jwk(&second, "k")]);
    assert_eq!(judge(&signed(&header("k"), &service_account()), &twins).unwrap_err().code(), "ambiguous_kid");
    // One name for keys of two types, which RFC 7517 section 4.5 allows; and one key listed twice.
    let mixed = set(&[jwk(one, "k"), jwk(&other, "k"), jwk(one, "k")]);
    assert_eq!(mixed.len(), 2);
    assert!(judge(&signed(&header("k"), &service_account()), &mixed).is_ok());
    // A key without a name serves tokens without one only.
    let unnamed = set(&[with(jwk(one, ""), "kid", Value::Null)]);
    assert!(judge(&nameless, &unnamed).is_ok());
    assert_eq!(judge(&signed(&header("k"), &service_account()), &unnamed).unwrap_err().code(), "unknown_kid");
}

#[test]
fn the_algorithm_is_accepted_of_the_issuer_and_the_keys_own() {
    let keys = set(&[jwk(rsa(), "k")]);
    for alg in ["none", "None", "", "HS256", "HS384", "HS512", "PS256", "RS512", "rs256", "EdDSA", "ES256K", "RSA-OAEP"]
    {
        let error = judge(&signed(&with(header("k"), "alg", alg.into()), &service_account()), &keys).unwrap_err();
        assert_eq!(error.code(), "algorithm", "{alg}: {error}");
    }
    // The classic: the public key's bytes as an HMAC secret. Whatever the MAC, the header is refused.
    let input = format!(
        "{}.{}",
        base64url(json!({"alg": "HS256", "kid": "k"}).to_string().as_bytes()),
        base64url(service_account().to_string().as_bytes())
    );
    let forged = format!("{input}.{}", base64url(&sha256(input.as_bytes())));
    assert_eq!(judge(&forged, &keys).unwrap_err().code(), "algorithm");
    // No signature at all.
    let none = format!("{}.{}.", base64url(br#"{"alg":"none"}"#), base64url(service_account().to_string().as_bytes()));
    assert_eq!(judge(&none, &keys).unwrap_err().code(), "algorithm");
    // A JWK with `alg` verifies that one alone; one without, whichever the issuer may use.
    let both = ForeignExpectation::new(ISSUER, AUDIENCE, &[Algorithm::Rs256, Algorithm::Ps256]);
    let ps256 = LocalSigner::from_pkcs8(Algorithm::Ps256, &rsa().to_pkcs8()).unwrap();
    let text = token(&ps256, &json!({"alg": "PS256", "kid": "k"}).to_string(), &service_account().to_string());
    assert_eq!(verify_foreign(&text, &keys, &both, now()).unwrap_err().code(), "unknown_kid");
    let open = set(&[with(jwk(rsa(), "k"), "alg", Value::Null)]);
    assert_eq!(verify_foreign(&text, &open, &both, now()).unwrap().algorithm(), Algorithm::Ps256);
    assert!(verify_foreign(&signed(&header("k"), &service_account()), &open, &both, now()).is_ok());
    assert_eq!(judge(&text, &open).unwrap_err().code(), "algorithm");
    // Nothing accepted accepts nothing.
    let nothing = ForeignExpectation::new(ISSUER, AUDIENCE, &[]);
    let good = signed(&header("k"), &service_account());
    assert_eq!(verify_foreign(&good, &keys, &nothing, now()).unwrap_err().code(), "algorithm");
}

#[test]
fn headers_that_bring_a_key_or_change_the_processing_are_refused() {
    let keys = set(&[jwk(rsa(), "k")]);
    let attacker = LocalSigner::generate(Algorithm::Es256).unwrap();
    for (name, value) in [
        ("jwk", attacker.public_key().to_jwk()),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
    ] {
        let ours = signed(&with(header("k"), name, value.clone()), &service_account());
        assert!(matches!(judge(&ours, &keys), Err(JwsError::HeaderMember { .. })), "{name}");
        let theirs = json!({"alg": "ES256", "kid": "k", name: value});
        let theirs = token(&attacker, &theirs.to_string(), &service_account().to_string());
        assert!(matches!(judge(&theirs, &keys), Err(JwsError::HeaderMember { .. })), "{name}");
    }
    // Signed by somebody else under a known name.
    let second = LocalSigner::generate(Algorithm::Rs256).unwrap();
    let stolen = token(&second, &header("k").to_string(), &service_account().to_string());
    assert_eq!(judge(&stolen, &keys), Err(JwsError::Signature));
    for member in ["alg", "kid", "x5t"] {
        let error = judge(&signed(&with(header("k"), member, json!([1])), &service_account()), &keys).unwrap_err();
        assert_eq!(error.code(), "header", "{member}");
    }
    assert_eq!(judge(&signed(&json!({"kid": "k"}), &service_account()), &keys).unwrap_err().code(), "header");
}

#[test]
fn a_foreign_token_has_one_reading() {
    let keys = set(&[jwk(rsa(), "k")]);
    let (header, claims) = (header("k").to_string(), service_account().to_string());
    let twice = |json: &str, more: &str| json.replacen('{', &format!("{{{more},"), 1);
    for (header, claims) in [
        (header.clone(), twice(&claims, r#""sub":"system:serviceaccount:kube-system:admin""#)),
        (header.clone(), twice(&claims, r#""\u0073ub":"system:serviceaccount:kube-system:admin""#)),
        (twice(&header, r#""kid":"x""#), claims.clone()),
        (header.clone(), format!("{claims} {{}}")),
        (header.clone(), "[]".to_owned()),
        (header.clone(), "null".to_owned()),
    ] {
        assert_eq!(judge(&token(rsa(), &header, &claims), &keys).unwrap_err().code(), "malformed");
    }
    let good = token(rsa(), &header, &claims);
    for text in [format!("{good}="), format!("{good}."), format!(" {good}"), "..".to_owned(), String::new()] {
        assert_eq!(judge(&text, &keys).unwrap_err().code(), "malformed", "{text}");
    }
    assert_eq!(judge(&"a".repeat(17_000), &keys).unwrap_err().code(), "too_large");
}

#[test]
fn claims_are_judged_as_our_own_are() {
    let keys = set(&[jwk(rsa(), "k")]);
    let judge = |name: &str, value: Value| {
        judge(&signed(&header("k"), &with(service_account(), name, value)), &keys)
            .map(drop)
            .map_err(|error| error.code())
    };
    let iat = now().as_second();
    for (name, value, expected) in [
        ("aud", json!(AUDIENCE), Ok(())),
        ("aud", json!(["https://kubernetes.default.svc", AUDIENCE]), Ok(())),
        ("exp", json!(iat - 59), Ok(())),
        ("nbf", Value::Null, Ok(())),
        ("iat", Value::Null, Ok(())),
        ("nbf", json!(iat + 60), Ok(())),
        ("iss", json!(format!("{ISSUER}/")), Err("issuer")),
        ("iss", json!(ISSUER.to_lowercase()), Err("issuer")),
        ("iss", Value::Null, Err("issuer")),
        ("iss", json!([ISSUER]), Err("issuer")),
        ("aud", Value::Null, Err("audience")),
        ("aud", json!([]), Err("audience")),
        ("aud", json!([AUDIENCE, 7]), Err("audience")),
        ("aud", json!("https://kubernetes.default.svc"), Err("audience")),
        ("exp", Value::Null, Err("claim")),
        ("exp", json!("1795352407"), Err("claim")),
        ("exp", json!(iat - 60), Err("expired")),
        ("nbf", json!(iat + 61), Err("not_yet_valid")),
        ("iat", json!(iat + 61), Err("not_yet_valid")),
    ] {
        assert_eq!(judge(name, value.clone()), expected, "{name} {value}");
    }
    let text = signed(&header("k"), &with(service_account(), "exp", json!(iat - 30)));
    let strict = expectation().with_leeway_s(0);
    assert_eq!(verify_foreign(&text, &keys, &strict, now()).unwrap_err().code(), "expired");
}

#[test]
fn keys_of_other_kinds_are_left_out_and_counted() {
    let good = jwk(rsa(), "good");
    let ec = jwk(signer(Algorithm::Es256), "ec");
    let keys = [
        good.clone(),
        with(good.clone(), "use", "enc".into()),
        with(good.clone(), "alg", "RS512".into()),
        with(good.clone(), "alg", "RSA-OAEP-256".into()),
        with(good.clone(), "key_ops", json!(["encrypt"])),
        with(good.clone(), "n", base64url(&[0xff; 128]).into()),
        with(good.clone(), "kty", "AKP".into()),
        with(good.clone(), "kid", json!(7)),
        with(ec.clone(), "crv", "P-521".into()),
        with(ec.clone(), "y", ec["x"].clone()),
        json!("no key"),
        json!({}),
    ];
    let set = set(&keys);
    assert_eq!((set.len(), set.skipped(), set.is_empty()), (1, keys.len() - 1, false));
    assert!(set.contains("good") && !set.contains("ec") && !set.contains(""));
    // What the issuer adds is not ours to refuse.
    let azure =
        json!({"keys": [with(with(good, "x5c", json!(["MIIC"])), "issuer", "https://x".into())], "more": {"d": 1}});
    assert_eq!(ForeignKeys::parse(azure.to_string().as_bytes()).unwrap().len(), 1);
    let withdrawn = ForeignKeys::parse(br#"{"keys":[]}"#).unwrap();
    assert!(withdrawn.is_empty() && judge(&signed(&header("k"), &service_account()), &withdrawn).is_err());
}

#[test]
fn a_secret_in_a_key_set_refuses_the_whole_set() {
    for name in PRIVATE_MEMBERS {
        let document = json!({"keys": [jwk(rsa(), "a"), with(jwk(rsa(), "b"), name, "c2VjcmV0".into())]}).to_string();
        let error = ForeignKeys::parse(document.as_bytes()).unwrap_err();
        assert_eq!(error, ForeignKeysError::PrivateMember { index: 1, member: name });
        assert!(!error.to_string().contains("c2VjcmV0"));
    }
    let symmetric = ForeignKeys::parse(br#"{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"AAAA"}]}"#);
    assert!(matches!(symmetric, Err(ForeignKeysError::PrivateMember { index: 0, member: "k" })));
}

#[test]
fn what_is_no_key_set_is_told_so() {
    for document in
        ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":null}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[]} x", "<html>"]
    {
        assert!(ForeignKeys::parse(document.as_bytes()).is_err(), "{document}");
    }
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(ForeignKeys::MAX_BYTES));
    assert!(matches!(ForeignKeys::parse(large.as_bytes()), Err(ForeignKeysError::Json(_))));
}
