//! Tokens bound to a key: proofs of clients that nobody here wrote, through the real gateway to the real Lambda.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;

use e2e::clients::Script;
use e2e::local::{claims, options};
use e2e::{Documents, MAPPING, Signed, answer, http_event, rest_event};
use serde_json::{Value, json};
use token_jose::{Algorithm, LocalSigner, base64url};
use token_testkit::{Curl, Gateway, Lambda, Reply};

/// Proofs by a new key, and the key's thumbprint.
fn proofs(script: &Script, arguments: &[&str]) -> (String, Vec<String>) {
    let made: Value = serde_json::from_str(&script.run(arguments, None).unwrap()).unwrap();
    let proofs = made["proofs"].as_array().unwrap().iter().map(|proof| proof.as_str().unwrap().to_owned()).collect();
    (made["thumbprint"].as_str().unwrap().to_owned(), proofs)
}

fn ask(gateway: &Gateway, proof: &str) -> Reply {
    gateway.token_request(&gateway.principals()[1]).header("DPoP", proof).send()
}

fn assert_bound(gateway: &Gateway, reply: &Reply, jkt: &str, what: &str) {
    assert_eq!((reply.status, reply.json()["token_type"].as_str()), (200, Some("DPoP")), "{what}: {}", reply.text());
    let claims = claims(gateway, reply);
    assert_eq!(claims["cnf"], json!({"jkt": jkt}), "{what}");
    assert_eq!(claims["sub"], "111122223333/ETL-NIGHTLY", "{what}: the proof says nothing of who asks");
}

#[test]
fn a_proof_of_the_dpop_package_binds_the_token_in_every_algorithm_it_has() {
    let Some(script) = Script::find("dpop_proof.mjs", "dpop") else { return };
    let gateway = Gateway::start(&options());
    let url = format!("{}/token", gateway.issuer());
    for algorithm in ["ES256", "Ed25519", "RS256", "PS256"] {
        let (jkt, proofs) = proofs(&script, &[algorithm, "POST", &url]);
        for proof in &proofs {
            assert_bound(&gateway, &ask(&gateway, proof), &jkt, algorithm);
        }
        // Nobody remembers proofs here: who sends one again is the signer of the request, and gets a token of the same key.
        assert_bound(&gateway, &ask(&gateway, &proofs[0]), &jkt, algorithm);
    }
    let bearer = gateway.token_request(&gateway.principals()[1]).send();
    assert_eq!(bearer.json()["token_type"], "Bearer");
    assert!(claims(&gateway, &bearer).get("cnf").is_none());
    // The published metadata says which algorithms, and the package's own name for Ed25519 is among them.
    for path in ["openid-configuration", "oauth-authorization-server"] {
        let metadata = Curl::get(&format!("{}/.well-known/{path}", gateway.issuer())).send().json();
        let names: BTreeSet<&str> = metadata["dpop_signing_alg_values_supported"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(names, BTreeSet::from(["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]), "{path}");
        assert_eq!(metadata["token_endpoint"], url.as_str());
    }
}

#[test]
fn a_proof_of_joserfc_binds_the_token_and_each_thing_wrong_with_it_is_told() {
    let Some(script) = Script::find("dpop_joserfc.py", "joserfc") else { return };
    let gateway = Gateway::start(&options());
    let url = format!("{}/token", gateway.issuer());
    for algorithm in ["ES384", "EdDSA"] {
        let (jkt, proofs) = proofs(&script, &[algorithm, "POST", &url, "{}"]);
        assert_bound(&gateway, &ask(&gateway, &proofs[0]), &jkt, algorithm);
    }
    let shouted = url.replacen("http://", "HTTP://", 1).replacen("token", "x/../%74oken?a=b#c", 1);
    let (jkt, made) = proofs(&script, &["ES256", "POST", &shouted, "{}"]);
    assert_bound(&gateway, &ask(&gateway, &made[0]), &jkt, "another spelling of the same URI");

    let iat = e2e::now().as_second();
    for (what, changes, said) in [
        ("too old", json!({"claims": {"iat": iat - 300}}), "claim iat"),
        ("from the future", json!({"claims": {"iat": iat + 300}}), "claim iat"),
        ("another method", json!({"claims": {"htm": "GET"}}), "claim htm: expected 'POST', found 'GET'"),
        ("a method in lower case", json!({"claims": {"htm": "post"}}), "claim htm"),
        ("another host", json!({"claims": {"htu": "https://elsewhere.example/token"}}), "claim htu"),
        ("the path in capitals", json!({"claims": {"htu": url.replace("/token", "/TOKEN")}}), "claim htu"),
        ("no jti", json!({"claims": {"jti": ""}}), "claim jti"),
        ("another type", json!({"header": {"typ": "JWT"}}), "expected typ 'dpop+jwt', found 'JWT'"),
        ("its private key", json!({"private": true}), "private member 'd'"),
        ("no key", json!({"header": {"jwk": null}}), "expected a public JWK, found null"),
    ] {
        let (_, made) = proofs(&script, &["ES256", "POST", &url, &changes.to_string()]);
        let reply = ask(&gateway, &made[0]);
        let (text, body) = (reply.text(), reply.json());
        assert_eq!((reply.status, body["error"].as_str()), (400, Some("invalid_dpop_proof")), "{what}: {text}");
        assert!(body["error_description"].as_str().unwrap().contains(said), "{what}: {text}");
        assert!(body["token"].is_null() && body["decision_id"].is_string() && !text.contains("eyJ"), "{what}: {text}");
    }
}

/// A proof as a client of the issuer `https://issuer.example` makes it.
fn proof(signer: &LocalSigner, url: &str) -> String {
    let algorithm = signer.public_key().algorithm().name();
    let header = json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": signer.public_key().to_jwk()});
    let claims = json!({"jti": "proof-1", "htm": "POST", "htu": url, "iat": e2e::now().as_second()});
    let input = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    format!("{input}.{}", base64url(&signer.sign_now(input.as_bytes()).unwrap()))
}

#[test]
fn exactly_one_field_counts_whatever_the_gateway_makes_of_two() {
    let documents = Documents::new(&[Algorithm::Rs256], MAPPING);
    let lambda = Lambda::start("jwt-issuer", documents.environment());
    lambda.started().unwrap();
    let key = LocalSigner::generate(Algorithm::EdDsa).unwrap();
    let (one, other) = (proof(&key, "https://issuer.example/token"), proof(&key, "https://ISSUER.example:443/token"));
    let workload = Signed::session("etl-nightly", "s1");
    let rest = |headers: Value| {
        let mut event = rest_event(&workload);
        event["multiValueHeaders"] = headers;
        event
    };
    let jkt = key.public_key().kid().as_str();
    for headers in [json!({"DPoP": [one]}), json!({"dpop": [other]})] {
        let (status, body) = answer(&lambda.respond(&rest(headers)));
        assert_eq!((status, body["token_type"].as_str()), (200, Some("DPoP")), "{body}");
        assert_eq!(documents.verified(body["token"].as_str().unwrap())["cnf"]["jkt"], jkt);
    }
    let mut http = http_event(&Signed::arn("arn:aws:sts::111122223333:assumed-role/etl-nightly/s1", &workload.caller));
    http["headers"]["dpop"] = one.clone().into();
    let (status, body) = answer(&lambda.respond(&http));
    assert_eq!((status, body["token_type"].as_str()), (200, Some("DPoP")), "{body}");
    let mut joined = http;
    joined["headers"]["dpop"] = format!("{one},{one}").into();
    for event in [
        rest(json!({"DPoP": [one, one]})),
        rest(json!({"DPoP": [one], "dpop": [one]})),
        rest(json!({"DPoP": [format!("{one}, {other}")]})),
        rest(json!({"DPoP": [""]})),
        rest(json!({"DPoP": ["x"]})),
        joined,
    ] {
        let (status, body) = answer(&lambda.respond(&event));
        assert_eq!((status, body["error"].as_str()), (400, Some("invalid_dpop_proof")), "{body}");
    }
    let log = lambda.log();
    assert!(log.contains(&format!("\"jkt\":\"{jkt}\"")) && log.contains("\"code\":\"bad_proof\""), "{log}");
    assert!(!log.contains("eyJ"), "a proof is in no line");
}

#[test]
fn the_public_address_of_the_endpoint_is_configured_and_checked() {
    let documents = Documents::new(&[Algorithm::Rs256], MAPPING);
    let start = |url: &str| {
        let mut environment = documents.environment();
        environment.push(("TOKEN_ENDPOINT_URL".to_owned(), url.to_owned()));
        Lambda::start("jwt-issuer", environment)
    };
    let lambda = start("https://tokens.example/prod/token");
    lambda.started().unwrap();
    let key = LocalSigner::generate(Algorithm::EdDsa).unwrap();
    for (url, expected) in [("https://tokens.example/prod/token", 200), ("https://issuer.example/token", 400)] {
        let mut event = rest_event(&Signed::session("etl-nightly", "s1"));
        // Host is the client's word, and decides nothing.
        event["multiValueHeaders"] = json!({"DPoP": [proof(&key, url)], "Host": ["issuer.example"]});
        let (status, body) = answer(&lambda.respond(&event));
        assert_eq!(status, expected, "{url}: {body}");
    }
    for wrong in
        ["tokens.example/token", "http://tokens.example/token", "https://tokens.example/%zz", "https://a.example/?x"]
    {
        let failure = start(wrong).started().unwrap_err();
        assert!(format!("{failure:?}").contains("TOKEN_ENDPOINT_URL"), "{wrong}: {failure:?}");
    }
}
