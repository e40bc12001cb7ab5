//! The dependency arrows of docs/ARCHITECTURE.md, held against what Cargo resolves.
#![allow(clippy::expect_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Each package and the packages of this workspace that it may use. All arrows point down this list's layers.
const ARROWS: &[(&str, &[&str])] = &[
    ("token-claims", &[]),
    ("token-jose", &[]),
    ("token-shell", &[]),
    ("token-issuance", &["token-claims", "token-jose"]),
    ("token-http", &["token-claims", "token-jose", "token-issuance"]),
    ("token-aws", &["token-claims", "token-jose", "token-issuance"]),
    ("token-remote", &["token-claims", "token-jose", "token-issuance"]),
    ("token-server", &["token-http", "token-shell"]),
    ("lambda-common", &["token-aws", "token-issuance", "token-shell"]),
    ("jwt-issuer", LAMBDA),
    ("jwks", LAMBDA),
    ("key-rotation", LAMBDA),
    (
        "local-gateway",
        &[
            "token-claims",
            "token-jose",
            "token-issuance",
            "token-http",
            "token-aws",
            "token-shell",
            "jwt-issuer",
            "jwks",
        ],
    ),
    (
        "token-service",
        &[
            "token-claims",
            "token-jose",
            "token-issuance",
            "token-http",
            "token-aws",
            "token-remote",
            "token-server",
            "token-shell",
        ],
    ),
    (
        "jwt-generator",
        &["token-claims", "token-jose", "token-issuance", "token-http", "token-aws", "token-remote", "token-shell"],
    ),
];

const LAMBDA: &[&str] =
    &["lambda-common", "token-claims", "token-jose", "token-issuance", "token-http", "token-aws", "token-shell"];

/// For tests and measurements only: they may use everything, nothing that ships may use them.
const NOT_SHIPPED: &[&str] = &["token-testkit", "e2e", "bench"];

/// Outside crates that a package must never depend on, directly.
const NEVER: &[(&str, &[&str])] = &[
    ("token-claims", &["tokio", "async-trait", "aws-lc-rs", "jsonwebtoken", "http", "hyper", "tracing"]),
    ("token-jose", &["tokio", "http", "hyper", "tracing"]),
    ("token-issuance", &["tokio", "http", "hyper", "aws-config", "axum", "tonic"]),
    ("token-http", &["tokio", "hyper", "axum", "tonic", "lambda_http", "lambda_runtime"]),
    ("token-shell", &["tokio", "axum", "aws-config", "lambda_runtime"]),
    ("token-aws", &["axum", "tonic", "lambda_http"]),
    ("token-remote", &["axum", "tonic", "aws-config", "lambda_http"]),
    ("token-server", &["aws-config", "lambda_http", "redis"]),
    ("token-service", &["lambda_http", "lambda_runtime", "aws-sdk-kms", "aws-config", "reqwest"]),
    ("jwt-generator", &["axum", "tonic", "lambda_http", "aws-sdk-secretsmanager", "aws-config", "reqwest"]),
    ("jwt-issuer", &["axum", "tonic"]),
    ("jwks", &["axum", "tonic", "aws-sdk-secretsmanager"]),
    ("key-rotation", &["axum", "tonic", "lambda_http", "aws-sdk-secretsmanager", "aws-sdk-ssm"]),
    ("local-gateway", &["axum"]),
];

fn packages() -> Vec<Package> {
    let metadata =
        MetadataCommand::new().manifest_path("../Cargo.toml").no_deps().exec().expect("cargo metadata answers");
    metadata.packages
}

fn normal(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dep| dep.kind != DependencyKind::Development)
        .map(|dep| dep.name.clone())
        .collect()
}

#[test]
fn every_arrow_is_drawn_and_points_down() {
    let packages = packages();
    let members: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = package.name.as_str();
        if NOT_SHIPPED.contains(&name) {
            continue;
        }
        let Some(may_use) = allowed.get(name) else {
            wrong.push(format!("{name}: expected a row in ARROWS and in docs/ARCHITECTURE.md, found none"));
            continue;
        };
        for used in normal(package).intersection(&members) {
            if !may_use.contains(&used.as_str()) {
                wrong.push(format!("{name} -> {used}: this arrow is not drawn"));
            }
        }
    }
    for (name, _) in ARROWS {
        if !members.contains(*name) {
            wrong.push(format!("{name}: has a row and no package"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_layer_keeps_clear_of_what_it_must_never_know() {
    let packages = packages();
    let mut wrong = Vec::new();
    for (name, never) in NEVER {
        let package = packages.iter().find(|package| package.name.as_str() == *name).expect("a member");
        let used = normal(package);
        wrong.extend(
            never.iter().filter(|crate_name| used.contains(**crate_name)).map(|found| format!("{name} -> {found}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_architecture_page_has_every_package_with_its_description() {
    let page = std::fs::read_to_string("../docs/ARCHITECTURE.md").expect("the page is there");
    let missing: Vec<String> = packages()
        .iter()
        .filter(|package| {
            let description = package.description.as_deref().unwrap_or_default();
            description.is_empty() || !page.contains(&format!("| `{}` |", package.name)) || !page.contains(description)
        })
        .map(|package| format!("{}: {}", package.name, package.description.as_deref().unwrap_or("has no description")))
        .collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md lacks the row of:\n{}", missing.join("\n"));
}

#[test]
fn no_source_file_is_longer_than_one_can_hold() {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z", "--", "*.rs"])
        .current_dir("..")
        .output()
        .expect("git");
    let names = String::from_utf8(listed.stdout).expect("paths are text");
    let long: Vec<String> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let lines = std::fs::read_to_string(format!("../{name}")).ok()?.lines().count();
            (lines > 600).then(|| format!("{name}: expected at most 600 lines, found {lines}"))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}
