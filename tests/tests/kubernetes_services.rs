//! deploy/kubernetes/token-service: the manifests build, validate, keep their promises, and name settings that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::process::Command;

use serde_json::{Value, json};
use token_testkit::{skipped, tool, workspace_root};

const VERSIONS: [&str; 2] = ["1.29", "1.34"];

fn built() -> Option<String> {
    let kubectl = tool("kubectl")?;
    let folder = workspace_root().join("deploy/kubernetes/token-service");
    let output = Command::new(kubectl).arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn documents() -> Option<Vec<Value>> {
    let yaml = built()?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, yaml).unwrap();
    let script = "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = Command::new(tool("python3")?).args(["-c", script]).arg(file).output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

fn of(documents: &[Value], kind: &str) -> Value {
    let found: Vec<&Value> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "one {kind}");
    found[0].clone()
}

fn missing() {
    skipped("kubectl or Python's yaml");
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    let Some(validator) = tool("kubernetes-validate") else { return skipped("kubernetes-validate") };
    let Some(yaml) = built() else { return missing() };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, yaml).unwrap();
    for version in VERSIONS {
        let output =
            Command::new(&validator).args(["--strict", "--kubernetes-version", version]).arg(&file).output().unwrap();
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !shown.contains("ERROR"), "{version}: {shown}");
    }
}

/// **INV** What Pod Security calls `restricted`, no token of the cluster, and a root file system that cannot be written.
#[test]
fn nothing_has_more_rights_than_it_needs() {
    let Some(documents) = documents() else { return missing() };
    let pod = of(&documents, "Deployment")["spec"]["template"]["spec"].clone();
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    assert_eq!(pod["automountServiceAccountToken"], false);
    let [container] = pod["containers"].as_array().unwrap().as_slice() else { panic!("one container") };
    let expected =
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    assert_eq!(container["securityContext"], expected);
    assert!(container["volumeMounts"].as_array().unwrap().iter().all(|mount| mount["readOnly"] == true));
    for variable in container["env"].as_array().unwrap() {
        assert_eq!(variable["valueFrom"], Value::Null, "secrets are files: {}", variable["name"]);
    }
    assert!(documents.iter().all(|document| document["kind"] != "Secret"), "no secret is generated here");
}

#[test]
fn a_node_that_goes_and_a_store_that_is_away_stop_nobody() {
    let Some(documents) = documents() else { return missing() };
    let deployment = of(&documents, "Deployment");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(of(&documents, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    assert_eq!(of(&documents, "HorizontalPodAutoscaler")["spec"]["minReplicas"], deployment["spec"]["replicas"]);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    // Alive must not depend on Redis: its outage would restart every replica.
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
}

/// **INV** Only labelled namespaces reach the service; it never reaches the node's credentials.
#[test]
fn the_network_is_closed_but_for_what_it_needs() {
    let Some(documents) = documents() else { return missing() };
    let policy = of(&documents, "NetworkPolicy")["spec"].clone();
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    for rule in policy["ingress"].as_array().unwrap() {
        assert!(rule["from"][0]["namespaceSelector"]["matchLabels"].is_object());
    }
    for rule in policy["egress"].as_array().unwrap() {
        assert!(rule["ports"].is_array());
        let block = &rule["to"][0]["ipBlock"];
        assert!(block.is_null() || block["except"] == json!(["169.254.169.254/32"]));
    }
}

/// The variables and the document of the manifests are ones that the service takes: it is started with them, and complains
/// about the missing Redis alone.
#[test]
fn the_service_takes_the_settings_of_the_manifests() {
    let Some(documents) = documents() else { return missing() };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let callers = workspace_root().join("deploy/kubernetes/token-service/callers.toml");
    std::fs::copy(callers, path("callers.toml")).unwrap();
    std::fs::write(path("shared-secret"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    std::fs::write(path("redis-password"), "hunter2\n").unwrap();
    let policy = token_jose::RingPolicy {
        max_token_ttl_s: 30 * 86_400,
        retention_s: 32 * 86_400,
        ..token_jose::RingPolicy::default()
    };
    let now = token_testkit::at("2026-11-22T12:00:00Z");
    let ring = token_jose::KeyRing::first(&[token_jose::Algorithm::Es256], policy, now).unwrap();
    std::fs::write(path("ring.json"), &*ring.to_json().unwrap()).unwrap();
    std::fs::write(path("jwks.json"), ring.published(now).to_stored_json()).unwrap();

    let mut command = Command::new(token_testkit::binaries().join("token-service"));
    command.env_clear();
    let settings =
        documents.iter().find(|document| document["kind"] == "ConfigMap" && document["data"]["JWT_ISSUER"].is_string());
    for (name, value) in settings.unwrap()["data"].as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    let deployment = of(&documents, "Deployment");
    for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap() {
        let here = folder.path().to_str().unwrap();
        let value = variable["value"].as_str().unwrap();
        let value = ["/config/", "/secret/", "/keys/"]
            .iter()
            .fold(value.to_owned(), |value, mount| value.replace(mount, &format!("{here}/")));
        command.env(variable["name"].as_str().unwrap(), value);
    }
    let port = token_testkit::free_port().to_string();
    let grpc = token_testkit::free_port().to_string();
    command.env("HOST", "127.0.0.1").env("PORT", port).env("GRPC_PORT", grpc);
    command.env("REDIS_ADDR", format!("127.0.0.1:{}", token_testkit::free_port()));
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let problems: Vec<&str> =
        complaint.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect();
    assert_eq!(problems.len(), 1, "{complaint}");
    assert!(!complaint.contains("hunter2"));
}
