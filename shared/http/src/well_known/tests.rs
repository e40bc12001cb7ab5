//! What verifiers and caches are told.

use http::{HeaderMap, HeaderValue, Method, Response};
use jiff::Timestamp;
use serde_json::Value;
use token_jose::{Algorithm, KeySet, LocalSigner, PublishedKey};

use super::{Published, WellKnown, WellKnownError, is_issuer, issuer_path};

const ISSUER: &str = "https://issuer.example";

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn keys() -> KeySet {
    let mut old = PublishedKey::new(LocalSigner::generate(Algorithm::Es256).unwrap().public_key().clone());
    old.not_after = Some("2026-11-22T11:59:59Z".parse().unwrap());
    let mut current = PublishedKey::new(LocalSigner::generate(Algorithm::EdDsa).unwrap().public_key().clone());
    current.published_at = Some("2026-11-01T00:00:00Z".parse().unwrap());
    KeySet::new([old, current], 7)
}

fn ask(method: &Method, path: &str, etag: Option<&str>, published: Published<'_>) -> Response<String> {
    let mut headers = HeaderMap::new();
    if let Some(etag) = etag {
        headers.insert("if-none-match", HeaderValue::from_str(etag).unwrap());
    }
    WellKnown::new(ISSUER, 300, 3600).unwrap().answer(method, path, &headers, published, now())
}

fn header<'a>(response: &'a Response<String>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn the_key_set_is_plain_cacheable_and_without_what_is_past_its_time() {
    let keys = keys();
    let response = ask(&Method::GET, "/.well-known/jwks.json", None, Published::Keys(&keys));
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "cache-control"), Some("public, max-age=300, stale-if-error=3600"));
    assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let document: Value = serde_json::from_str(response.body()).unwrap();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["keys"]);
    let published = document["keys"].as_array().unwrap();
    assert_eq!(published.len(), 1, "the ES256 key is past its not_after");
    let members: Vec<&String> = published[0].as_object().unwrap().keys().collect();
    assert_eq!(published[0]["alg"], "EdDSA");
    assert!(!members.iter().any(|name| ["not_after", "published_at", "d"].contains(&name.as_str())), "{members:?}");
}

#[test]
fn a_known_etag_is_not_modified_in_every_form_a_cache_sends() {
    let keys = keys();
    let path = "/.well-known/jwks.json";
    let first = ask(&Method::GET, path, None, Published::Keys(&keys));
    let etag = header(&first, "etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong validator: {etag}");
    for sent in [etag.to_owned(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let again = ask(&Method::GET, path, Some(&sent), Published::Keys(&keys));
        assert_eq!((again.status().as_u16(), again.body().as_str()), (304, ""), "{sent}");
        assert_eq!(header(&again, "etag"), Some(etag));
        assert_eq!(header(&again, "cache-control"), header(&first, "cache-control"));
    }
    assert_eq!(ask(&Method::GET, path, Some("\"other\""), Published::Keys(&keys)).status(), 200);
    let fewer = keys.live(now());
    let same = ask(&Method::GET, path, Some(etag), Published::Keys(&fewer));
    assert_eq!(same.status(), 304, "the tag is of what is served, not of the bookkeeping");
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let keys = keys();
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
        let get = ask(&Method::GET, path, None, Published::Keys(&keys));
        let head = ask(&Method::HEAD, path, None, Published::Keys(&keys));
        assert_eq!(head.headers(), get.headers());
        assert_eq!(head.body(), "");
    }
}

#[test]
fn metadata_names_the_issuer_and_the_algorithms_there_are() {
    let keys = keys();
    let openid = ask(&Method::GET, "/.well-known/openid-configuration", None, Published::Keys(&keys));
    let openid: Value = serde_json::from_str(openid.body()).unwrap();
    assert_eq!(openid["issuer"], ISSUER);
    assert_eq!(openid["jwks_uri"], "https://issuer.example/.well-known/jwks.json");
    assert_eq!(openid["id_token_signing_alg_values_supported"], serde_json::json!(["EdDSA"]));
    let oauth = ask(&Method::GET, "/.well-known/oauth-authorization-server", None, Published::Keys(&keys));
    let oauth: Value = serde_json::from_str(oauth.body()).unwrap();
    assert_eq!((&oauth["issuer"], &oauth["jwks_uri"]), (&openid["issuer"], &openid["jwks_uri"]));
    let proofs = serde_json::json!(["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]);
    for metadata in [&openid, &oauth] {
        assert_eq!(metadata["dpop_signing_alg_values_supported"], proofs, "RFC 9449 section 5.1");
    }
}

#[test]
fn without_a_usable_set_nothing_is_published_or_cached() {
    let empty = KeySet::default();
    for (published, status) in
        [(Published::Keys(&empty), 503), (Published::Unavailable { retry_after_s: 7 }, 503), (Published::Poisoned, 500)]
    {
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
            let response = ask(&Method::GET, path, None, published);
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, "cache-control"), Some("no-store"));
            assert_eq!(header(&response, "retry-after").is_some(), status == 503);
            assert!(!response.body().contains("\"keys\""));
        }
    }
}

#[test]
fn other_paths_and_methods_are_told_so() {
    let keys = keys();
    let post = ask(&Method::POST, "/.well-known/jwks.json", None, Published::Keys(&keys));
    assert_eq!((post.status().as_u16(), header(&post, "allow")), (405, Some("GET, HEAD")));
    for path in
        ["/", "/.well-known/", "/.well-known/jwks.json/", "/.well-known/oauth-authorization-server/other", "/jwks.json"]
    {
        assert_eq!(ask(&Method::GET, path, None, Published::Keys(&keys)).status(), 404, "{path}");
    }
}

#[test]
fn only_an_issuer_that_verifiers_can_take_is_one() {
    for good in
        ["https://issuer.example", "https://issuer.example:8443/v1", "http://127.0.0.1:9000", "http://localhost:1"]
    {
        assert!(is_issuer(good), "{good}");
    }
    for bad in [
        "",
        "issuer.example",
        "http://issuer.example",
        "https://",
        "https://issuer.example/",
        "https://issuer.example?x",
        "https://issuer.example#x",
        "https://user@issuer.example",
        "https://issuer.example/a b",
        "http://127.0.0.1.evil.example",
        "ftp://issuer.example",
        "https://issuer.exämple",
    ] {
        assert!(!is_issuer(bad), "{bad}");
        assert_eq!(WellKnown::new(bad, 1, 1).unwrap_err(), WellKnownError::Issuer);
    }
    assert_eq!(issuer_path("https://issuer.example"), "");
    assert_eq!(issuer_path("https://issuer.example/a/b"), "/a/b");
    let keys = keys();
    let well_known = WellKnown::new("https://issuer.example/v1", 300, 0).unwrap();
    let path = "/.well-known/oauth-authorization-server/v1";
    let response = well_known.answer(&Method::GET, path, &HeaderMap::new(), Published::Keys(&keys), now());
    assert_eq!(response.status(), 200, "RFC 8414 section 3.1 inserts the well-known part before the issuer's path");
}
