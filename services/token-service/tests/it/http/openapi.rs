//! The OpenAPI document against the router.

use serde_json::Value;
use token_service::http::OPENAPI;

use super::fixture::world;

const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "options"];

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let world = world();
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(world.get("/openapi.json").send().await.json(), document);
    let paths = document["paths"].as_object().unwrap();
    for (template, operations) in paths {
        let path = template
            .replace("{tokenId}", "00000000-0000-4000-8000-000000000000")
            .replace("{userId}", "alice")
            .replace("{path}", "orders/1");
        for method in METHODS {
            let described = operations.get(method).is_some();
            let status = world.ask(&method.to_uppercase(), &path).send().await.status;
            // The one path that depends on the issuer's: here the issuer has none.
            let told = operations[method].pointer("/responses/404").is_some();
            let served = status != 405 && (status != 404 || told);
            assert_eq!(served, described, "{method} {path}: {status}");
            if described {
                let statuses = operations[method]["responses"].as_object().unwrap();
                assert!(statuses.contains_key(&status.to_string()), "{method} {path}: {status} is not described");
            }
        }
    }
    // The other way round: the routes are listed here once more, so that a new one is described.
    let source = include_str!("../../../src/http/mod.rs");
    for route in source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next()) {
        let described = route
            .replace("{*path}", "{path}")
            .replace("/tokens/{id}", "/tokens/{tokenId}")
            .replace("/users/{id}", "/users/{userId}");
        let described = if described == "/authorize/" { "/authorize".to_owned() } else { described };
        assert!(paths.contains_key(&described), "{route}");
    }
}

#[test]
fn every_reference_resolves_and_every_operation_has_a_name() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| METHODS.contains(&name.as_str()))
            .map(|(_, operation)| operation)
        {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
        }
    }
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                }
                members.values().for_each(|member| walk(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    walk(&document, &document);
}
