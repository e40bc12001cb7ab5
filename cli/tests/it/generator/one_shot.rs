//! One shot: the conformance list of the program this one replaces, keys, claims, secrets, exit codes.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use token_jose::{Algorithm, Expectation, KeySet, LocalSigner, PublishedKey, verify};
use token_testkit::skipped;

use super::{Outcome, SECRET, Setup, names, parts, pem, pyjwt};

#[test]
fn a_missing_variable_is_named_and_nothing_is_written() {
    for name in ["JWT_SECRET_KEY", "SERVICE_NAME", "OUTPUT_PATH"] {
        let mut setup = Setup::new();
        setup.unset(name).run(&[]).failed(64, &[name, "found nothing; hint: "]);
        assert!(!setup.output().exists());
    }
    let mut setup = Setup::new();
    setup.variables.clear();
    let outcome = setup.run(&[]);
    outcome.failed(64, &[]);
    let at = |name| outcome.stderr.find(name).unwrap();
    assert!(at("JWT_SECRET") < at("SERVICE_NAME") && at("SERVICE_NAME") < at("OUTPUT_PATH"), "{outcome:?}");
}

#[test]
fn the_file_is_exactly_one_token_that_verifies() {
    let setup = Setup::new();
    setup
        .run(&["--audience", "https://api.example", "--claim", "team=core", "--claim", "level=3"])
        .succeeded(&setup.output());
    let token = setup.token();
    assert_eq!(token.split('.').count(), 3);
    assert!(
        token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        "no line break, no padding"
    );
    let (header, claims) = parts(&token);
    assert_eq!(header, json!({"typ": "JWT", "alg": "HS256"}));
    assert_eq!(names(&claims), ["aud", "exp", "iat", "iss", "jti", "level", "nbf", "sub", "team"]);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["level"]),
        (&json!("jwt-generator"), &json!("billing"), &json!(3))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    match pyjwt(&token, SECRET, "audience='https://api.example', issuer='jwt-generator'") {
        None => skipped("PyJWT"),
        Some(verdict) => assert_eq!(verdict.unwrap(), claims),
    }
    if let Some(verdict) = pyjwt(&token, &SECRET.to_uppercase(), "audience='https://api.example'") {
        assert!(verdict.unwrap_err().contains("Signature verification failed"));
    }
}

#[test]
fn without_an_audience_the_claims_are_the_six() {
    let setup = Setup::new();
    setup.run(&[]).succeeded(&setup.output());
    assert_eq!(names(&parts(&setup.token()).1), ["exp", "iat", "iss", "jti", "nbf", "sub"]);
}

#[test]
fn legacy_claims_are_exactly_two() {
    let setup = Setup::new();
    setup.run(&["--legacy-claims"]).succeeded(&setup.output());
    let (header, claims) = parts(&setup.token());
    assert_eq!(
        (header, claims.clone()),
        (json!({"typ": "JWT", "alg": "HS256"}), json!({"sub": "billing", "role": "service"}))
    );
    if let Some(verdict) = pyjwt(&setup.token(), SECRET, "") {
        assert_eq!(verdict.unwrap(), claims);
    }
}

#[test]
fn the_alias_and_the_files_work() {
    for name in ["JWT_SECRET_KEY", "JWT_SECRET"] {
        let mut setup = Setup::new();
        setup.unset("JWT_SECRET_KEY").set(name, SECRET).run(&[]).succeeded(&setup.output());
        let mut setup = Setup::new();
        std::fs::write(setup.path("secret"), format!("{SECRET}\n")).unwrap();
        std::fs::write(setup.path("service"), "from-file\n").unwrap();
        std::fs::write(setup.path("where"), format!("{}\n", setup.path("other.jwt").display())).unwrap();
        let [secret, service, wherever] =
            ["secret", "service", "where"].map(|name| setup.path(name).to_str().unwrap().to_owned());
        setup.variables.clear();
        setup.set(&format!("{name}_FILE"), &secret);
        setup.set("SERVICE_NAME_FILE", &service).set("OUTPUT_PATH_FILE", &wherever);
        setup.run(&[]).succeeded(&setup.path("other.jwt"));
        let token = std::fs::read_to_string(setup.path("other.jwt")).unwrap();
        assert_eq!(parts(&token).1["sub"], "from-file");
        if let Some(verdict) = pyjwt(&token, SECRET, "") {
            verdict.unwrap();
        }
    }
    let mut setup = Setup::new();
    setup.set("JWT_SECRET", &SECRET.to_uppercase()).run(&[]).failed(64, &["JWT_SECRET_KEY", "different"]);
    setup.set("JWT_SECRET", SECRET).run(&[]).succeeded(&setup.output());
}

#[test]
fn a_secret_of_other_bytes_than_text_signs() {
    let mut setup = Setup::new();
    setup.unset("JWT_SECRET_KEY");
    let secret: Vec<u8> = (0..48).map(|n| 255 - n * 5).collect();
    let mut command = setup.command(&[]);
    command.env("JWT_SECRET", std::ffi::OsStr::from_bytes(&secret));
    Outcome::of(&command.output().unwrap()).succeeded(&setup.output());
}

#[test]
fn options_replace_variables() {
    let mut setup = Setup::new();
    setup.unset("SERVICE_NAME").unset("OUTPUT_PATH").set("JWT_ISSUER", "https://env.example");
    let output = setup.output().to_str().unwrap().to_owned();
    let line = ["--service-name", "shop", "--output-path", &output, "--ttl", "90s", "--mode", "0640"];
    setup.run(&line).succeeded(&setup.output());
    let claims = parts(&setup.token()).1;
    assert_eq!((&claims["sub"], &claims["iss"]), (&json!("shop"), &json!("https://env.example")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 90);
    assert_eq!(setup.output().metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    setup.run(&[&line[..], &["--issuer", "mine"]].concat()).succeeded(&setup.output());
    assert_eq!(parts(&setup.token()).1["iss"], "mine");
}

#[test]
fn every_algorithm_signs_with_its_thumbprint_as_kid() {
    for algorithm in Algorithm::ALL {
        let setup = Setup::new();
        let (key, signer) = setup.key("key.pem", algorithm);
        let key = key.to_str().unwrap();
        setup
            .run(&["--algorithm", algorithm.name(), "--key-file", key, "--audience", "https://api.example"])
            .succeeded(&setup.output());
        let token = setup.token();
        let kid = signer.public_key().kid().to_string();
        assert_eq!(parts(&token).0, json!({"typ": "JWT", "alg": algorithm.name(), "kid": kid}));
        let keys = KeySet::new([PublishedKey::new(signer.public_key().clone())], 0);
        let now = jiff::Timestamp::from_second(parts(&token).1["iat"].as_i64().unwrap()).unwrap();
        let expectation = Expectation::new("jwt-generator", "https://api.example", &["JWT"]);
        let claims = verify(&token, &keys, &expectation, now).unwrap();
        assert_eq!(claims.get("sub"), Some(&json!("billing")));
    }
}

#[test]
fn without_an_algorithm_the_key_decides() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let setup = Setup::new();
        let (key, _) = setup.key("key.pem", algorithm);
        setup.run(&["--key-file", key.to_str().unwrap()]).succeeded(&setup.output());
        assert_eq!(parts(&setup.token()).0["alg"], algorithm.name());
    }
}

#[test]
fn unusable_keys_are_65_and_not_shown() {
    let mut setup = Setup::new();
    let es256 = pem(&LocalSigner::generate(Algorithm::Es256).unwrap());
    let body = es256.lines().nth(1).unwrap().to_owned();
    let broken = es256.replace(&body, &body.replace('M', "*"));
    for (content, line, words) in [
        (es256.as_str(), &["--algorithm", "RS256"][..], "another type"),
        (es256.as_str(), &["--algorithm", "ES384"], "another type"),
        (broken.as_str(), &[], "base64"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &[], "no block"),
        ("", &[], "no block"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", &[], "decrypt it"),
    ] {
        std::fs::write(setup.path("key.pem"), content).unwrap();
        let outcome = setup.run(&[&["--key-file", "key.pem"], line].concat());
        outcome.failed(65, &[words]);
        outcome.shows_nothing_of(&body);
    }
    setup.run(&["--key-file", "absent.pem"]).failed(65, &["absent.pem", "No such file"]);
    setup.run(&["--key-file", "/dev/zero"]).failed(65, &["regular file"]);
    setup.unset("JWT_SECRET_KEY").set("JWT_SECRET_FILE", "absent").run(&[]).failed(65, &["absent"]);
    assert!(!setup.output().exists());
}

#[test]
fn weak_secrets_are_65_unless_allowed() {
    for weak in [
        "omar",
        "fhfjn23874h5",
        "0123456789012345678901234567890",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "secretsecretsecretsecretsecretsecret",
        "mock-kms-secret-key-for-testing-purposes-only!",
    ] {
        let mut setup = Setup::new();
        setup.set("JWT_SECRET_KEY", weak);
        let outcome = setup.run(&[]);
        outcome.failed(65, &["expected an HMAC secret", "hint: openssl rand"]);
        outcome.shows_nothing_of(weak);
        assert!(!setup.output().exists());
        setup.run(&["--allow-weak-secret"]).succeeded(&setup.output());
        if let Some(verdict) = pyjwt(&setup.token(), weak, "") {
            verdict.unwrap();
        }
    }
    let mut setup = Setup::new();
    std::fs::write(setup.path("empty"), "\n").unwrap();
    setup.unset("JWT_SECRET_KEY").set("JWT_SECRET_KEY_FILE", "empty");
    setup.run(&["--allow-weak-secret"]).failed(65, &["found 0"]);
}

#[test]
fn usage_is_64_and_every_problem_is_told() {
    let setup = Setup::new();
    let line = ["--ttl", "soon", "--mode", "777", "--claim", "exp=1", "--owner", "root", "--algorithm", "none"];
    setup.run(&line).failed(64, &["--ttl", "--mode", "reserved \"exp\"", "--owner", "--algorithm", "hint"]);
    setup.run(&["--bogus=x"]).failed(64, &["\"--bogus\"", "--help"]);
    setup.run(&["--audience", "line\nbreak"]).failed(64, &["--audience", "line\\nbreak"]);
    assert!(!setup.output().exists());
}

#[test]
fn a_token_that_is_too_large_is_refused() {
    let setup = Setup::new();
    let claims: Vec<String> = (0..5).map(|n| format!("--claim=c{n}={}", "x".repeat(4000))).collect();
    let line: Vec<&str> = claims.iter().map(String::as_str).collect();
    setup.run(&line).failed(64, &["16384 bytes", "fewer"]);
}

#[test]
fn a_closed_standard_output_does_not_matter() {
    let setup = Setup::new();
    let mut command = setup.command(&[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(setup.output().exists());
}
