//! The files of `deploy/`, read by those who would run them.

use std::process::Command;

use token_service::http::FORWARDED_HEADERS;
use token_service::service::IDENTITY_HEADERS;
use token_testkit::{Envoy, Nginx, skipped, tool, workspace_root};

fn read(file: &str) -> String {
    std::fs::read_to_string(workspace_root().join("deploy").join(file)).unwrap()
}

#[test]
fn envoy_takes_its_examples() {
    for file in ["ext-authz-grpc.yaml", "ext-authz-http.yaml", "jwt-authn.yaml"] {
        let text = read(&format!("envoy/{file}"));
        match Envoy::validate(&text) {
            Some(outcome) => assert_eq!(outcome, Ok(()), "{file}"),
            None => skipped("envoy"),
        }
        for setting in ["normalize_path: false", "headers_with_underscores_action: REJECT_REQUEST"] {
            assert!(text.contains(setting), "{file}: {setting}");
        }
        if file.starts_with("ext-authz") {
            assert!(text.contains("failure_mode_allow: false"), "{file}");
            assert!(text.contains("status_on_error: { code: ServiceUnavailable }"), "{file}");
        }
    }
}

#[test]
fn nginx_takes_its_example() {
    let text = read("nginx/nginx.conf")
        .replace("token-service:8080", "127.0.0.1:8080")
        .replace("upstream:8081", "127.0.0.1:8081");
    match Nginx::validate(&text) {
        Some(outcome) => assert_eq!(outcome, Ok(())),
        None => skipped("nginx"),
    }
}

/// **INV** an example that misses an identity header lets a client's own through.
#[test]
fn examples_name_every_header() {
    let http = read("envoy/ext-authz-http.yaml");
    let nginx = read("nginx/nginx.conf").to_ascii_lowercase();
    for name in IDENTITY_HEADERS {
        assert!(http.contains(&format!("- exact: {name}\n")), "Envoy: {name}");
        assert!(nginx.contains(&format!("proxy_set_header {name} ")), "nginx: {name}");
        assert!(nginx.contains(&format!("$upstream_http_{};", name.replace('-', "_"))), "nginx: {name}");
    }
    for name in FORWARDED_HEADERS {
        assert!(http.contains(&format!("- exact: {name}\n")), "Envoy: {name}");
    }
}

#[test]
fn istios_examples_are_yaml_of_the_kinds_that_they_say() {
    let Some(python) = tool("python3") else { return skipped("python3") };
    let check = "import sys, yaml\n\
                 for name in sys.argv[1:]:\n    \
                     for found in yaml.safe_load_all(open(name)):\n        \
                         assert found['apiVersion'].split('/')[0] in ('security.istio.io', 'install.istio.io'), name\n        \
                         print(found['kind'], found['metadata']['name'])\n";
    let folder = workspace_root().join("deploy/istio");
    let files = ["authorization-policy.yaml", "extension-provider.yaml", "request-authentication.yaml"];
    let mut command = Command::new(python);
    command.arg("-c").arg(check).args(files.map(|file| folder.join(file)));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("No module named 'yaml'") {
        return skipped("PyYAML");
    }
    assert!(output.status.success(), "{error}");
    let kinds = "AuthorizationPolicy token-service\nIstioOperator token-service-authorizer\n\
                 RequestAuthentication token-service\nAuthorizationPolicy token-required\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), kinds);
}
