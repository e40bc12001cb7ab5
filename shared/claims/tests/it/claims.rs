use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use token_claims::{Claims, ClaimsError, Confirmation, Grant, RESERVED, RESERVED_PREFIXES, TokenRequest, is_reserved};

use crate::support::{A, CONTRACT, compile, role, rules};

const ISSUER: &str = "https://issuer.example.com";

fn now() -> Timestamp {
    "2026-11-22T10:00:00.999Z".parse().unwrap()
}

fn grant(source: &str, name: &str) -> Grant {
    compile(source).unwrap().resolve(&role(A, name), &TokenRequest::default()).unwrap()
}

fn text(grant: &Grant) -> String {
    String::from_utf8(Claims::new(grant, ISSUER, "id-1", now()).unwrap().to_json()).unwrap()
}

fn one_rule(profile: &str, more: &str) -> String {
    let rule = format!(
        "principal = {{ kind = \"assumed-role\", accounts = [\"{A}\"], role = \"x\" }}\nsubject = \"x\"\n{more}"
    );
    format!("{}\n[audience.\"https://api.example.com\"]\n{profile}", rules(&[&rule]))
}

#[test]
fn every_profile_has_its_form() {
    let head = r#"{"iss":"https://issuer.example.com","sub":"x","aud":"https://api.example.com","iat":1795341600,"nbf":1795341600,"exp":1795342500,"jti":"id-1""#;
    let scopes = "scopes = [\"b\", \"a\"]";
    for (profile, more, tail) in [
        ("profile = \"generic\"", "", "}"),
        ("profile = \"generic\"", scopes, r#","scope":"b a"}"#),
        ("profile = \"rfc9068\"", scopes, r#","client_id":"AROAEXAMPLE","scope":"b a"}"#),
        ("profile = \"rfc9068\"", "", r#","client_id":"AROAEXAMPLE"}"#),
        ("profile = \"snowflake-external-oauth\"", scopes, r#","scp":["b","a"]}"#),
        ("profile = \"snowflake-external-oauth\"\nscope_claim = \"scope\"", scopes, r#","scope":"b,a"}"#),
        ("profile = \"generic\"", "claims = { z = 1, a = { c = [true] } }", r#","a":{"c":[true]},"z":1}"#),
    ] {
        let source = one_rule(profile, more);
        assert_eq!(text(&grant(&source, "x")), format!("{head}{tail}"), "{profile} {more}");
    }
    let claims = Claims::new(&grant(CONTRACT, "etl-x"), ISSUER, "id-1", now()).unwrap();
    assert_eq!((claims.subject(), claims.token_id()), ("111122223333/ETL-X", "id-1"));
    assert_eq!(claims.issued_at().as_second() + 900, claims.expires_at().as_second());
    assert_eq!(claims.issued_at().to_string(), "2026-11-22T10:00:00Z", "whole seconds, cut");
}

#[test]
fn a_bound_token_names_its_key_and_says_the_same_otherwise() {
    const JKT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let claims = Claims::new(&grant(CONTRACT, "etl-x"), ISSUER, "id-1", now()).unwrap();
    assert_eq!(claims.confirmation(), None);
    let mut bearer: Value = serde_json::from_slice(&claims.to_json()).unwrap();
    let bound = claims.bound_to(Confirmation::jkt(JKT).unwrap());
    assert_eq!(bound.confirmation().unwrap().thumbprint(), JKT);
    bearer["cnf"] = json!({"jkt": JKT});
    assert_eq!(serde_json::from_slice::<Value>(&bound.to_json()).unwrap(), bearer);
    for wrong in
        ["", &JKT[1..], &format!("{JKT}A"), &format!("{JKT}="), &JKT.replace('-', "+"), &JKT.replace("Xs", "Xt")]
    {
        assert!(matches!(Confirmation::jkt(wrong), Err(ClaimsError::Thumbprint { .. })), "{wrong}");
    }
}

#[test]
fn unusable_parts_make_no_claims() {
    let grant = grant(CONTRACT, "etl-x");
    for (issuer, id) in
        [("", "id"), (ISSUER, ""), ("a b", "id"), (ISSUER, "\u{e9}"), (ISSUER, "a\nb"), (&"x".repeat(256), "id")]
    {
        let error = Claims::new(&grant, issuer, id, now()).unwrap_err();
        assert!(matches!(error, ClaimsError::Name { .. }), "{error}");
    }
    for now in [Timestamp::MAX, Timestamp::MIN, Timestamp::from_second(-1).unwrap()] {
        let error = Claims::new(&grant, ISSUER, "id", now).unwrap_err();
        assert!(matches!(error, ClaimsError::Time { .. }), "{error}");
    }
}

#[test]
fn reserved_names_are_the_contracts_and_never_configurable() {
    let contract = "iss sub aud exp nbf iat jti cnf act may_act scope scp client_id azp auth_time acr amr nonce sid \
                    session_id token_type parent_jti user_id network rate_limit ugen ep roles groups entitlements events txn";
    assert_eq!(RESERVED.iter().copied().collect::<BTreeSet<_>>(), contract.split(' ').collect());
    assert_eq!(RESERVED_PREFIXES, ["kubernetes.io", "https://sts.amazonaws.com/"]);
    let prefixed =
        ["kubernetes.io", "kubernetes.io/pod", "https://sts.amazonaws.com/tags", "HTTPS://STS.amazonaws.com/x"];
    let case = ["Sub", "AUD", "sCp"];
    for name in RESERVED.iter().chain(&prefixed).chain(&case) {
        assert!(is_reserved(name), "{name}");
        let source = one_rule("profile = \"generic\"", &format!("claims = {{ \"{name}\" = \"x\" }}"));
        let errors = compile(&source).unwrap_err().to_string();
        assert!(errors.contains("found the reserved name"), "{errors}");
    }
    for name in
        ["team", "subject", "https://example.com/sub", "issuer", "https://sts.amazonaws.co/", "my.kubernetes.io"]
    {
        assert!(!is_reserved(name), "{name}");
    }
}

/// JSON that fails on a duplicate or empty member, at any depth.
struct Sound(Value);

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sounding;
        impl<'de> Visitor<'de> for Sounding {
            type Value = Sound;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON without duplicate and empty members")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Sound, E> {
                Ok(Sound(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Sound, E> {
                Ok(Sound(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Sound, E> {
                Ok(Sound(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Sound, E> {
                Ok(Sound(value.into()))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Sound, E> {
                if value.is_empty() { Err(E::custom("empty string")) } else { Ok(Sound(value.into())) }
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Sound, S::Error> {
                let mut items = Vec::new();
                while let Some(Sound(item)) = seq.next_element()? {
                    items.push(item);
                }
                if items.is_empty() { Err(serde::de::Error::custom("empty list")) } else { Ok(Sound(items.into())) }
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Sound, M::Error> {
                let mut members = serde_json::Map::new();
                while let Some((name, Sound(value))) = map.next_entry::<String, Sound>()? {
                    let twin = members.keys().any(|other: &String| other.eq_ignore_ascii_case(&name));
                    if name.is_empty() || twin {
                        return Err(serde::de::Error::custom(format!("duplicate or empty name {name:?}")));
                    }
                    members.insert(name, value);
                }
                if members.is_empty() {
                    Err(serde::de::Error::custom("empty object"))
                } else {
                    Ok(Sound(members.into()))
                }
            }
        }
        deserializer.deserialize_any(Sounding)
    }
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("\"\"".to_owned()),
        Just("\"v\"".to_owned()),
        Just("7".to_owned()),
        Just("-1.5".to_owned()),
        Just("nan".to_owned()),
        Just("true".to_owned()),
        Just("2026-11-22T10:00:00Z".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
    ];
    leaf.prop_recursive(5, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            inner.prop_map(|value| format!("{{ sub = {value} }}")),
        ]
    })
}

proptest! {
    #[test]
    fn claims_have_no_duplicate_and_no_empty_members(
        names in proptest::collection::btree_set(prop::sample::select(vec!["team", "Team", "sub", "SUB", "x", "", "exp", "roles", "y z", "https://a.example/b"]), 0..4),
        value in value(),
        scopes in proptest::collection::vec(prop::sample::select(vec!["a", "b", "b c", "c,d", "\\\"", ""]), 0..3),
        profile in prop::sample::select(vec!["profile = \"generic\"", "profile = \"rfc9068\"", "profile = \"snowflake-external-oauth\"", "profile = \"snowflake-external-oauth\"\nscope_claim = \"scope\""]),
    ) {
        let claims: Vec<String> = names.iter().map(|name| format!("\"{name}\" = {value}")).collect();
        let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        let more = format!(
            "claims = {{ {} }}\n{}",
            claims.join(", "),
            if scopes.is_empty() { String::new() } else { format!("scopes = [{}]", scopes.join(", ")) }
        );
        let Ok(mapping) = compile(&one_rule(profile, &more)) else { return Ok(()) };
        let grant = mapping.resolve(&role(A, "x"), &TokenRequest::default()).unwrap();
        let text = text(&grant);
        let Sound(parsed) = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert_eq!(&parsed["sub"], &json!("x"));
        prop_assert_eq!(&parsed["iss"], &json!(ISSUER));
        prop_assert!(["iat", "nbf", "exp"].iter().all(|name| parsed[name].is_i64()), "integers: {}", text);
        prop_assert!(["aud", "jti"].iter().all(|name| parsed[name].is_string()), "strings: {}", text);
        prop_assert!(parsed.get("scope").is_none_or(Value::is_string));
    }
}
