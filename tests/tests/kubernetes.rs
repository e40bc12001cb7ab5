//! deploy/kubernetes: the manifests build, validate, and keep their promises: nothing runs as root, nothing writes but the
//! token, and the secret is only where the token is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use token_testkit::{skipped, tool, workspace_root};

/// Versions whose schemas the manifests must fit: the oldest with native sidecars on by default, and a current one.
const VERSIONS: [&str; 2] = ["1.29", "1.34"];

fn overlay(name: &str) -> PathBuf {
    workspace_root().join("deploy/kubernetes/jwt-generator").join(name)
}

/// The manifests of an overlay as YAML; none without kubectl.
fn built(name: &str) -> Option<String> {
    let kubectl = tool("kubectl")?;
    let output = Command::new(kubectl).arg("kustomize").arg(overlay(name)).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The one Deployment's pod; none without kubectl or Python's yaml, which kubernetes-validate brings.
fn pod(name: &str) -> Option<Value> {
    let yaml = built(name)?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, yaml).unwrap();
    let script = "import json, sys, yaml\nprint(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = Command::new(tool("python3")?).args(["-c", script]).arg(file).output().unwrap();
    let documents: Vec<Value> = output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())?;
    assert_eq!(documents.len(), 1, "{name}: one Deployment and no secret");
    assert_eq!(documents[0]["kind"], "Deployment");
    Some(documents[0]["spec"]["template"]["spec"].clone())
}

fn containers<'a>(pod: &'a Value, kind: &str) -> &'a [Value] {
    pod[kind].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn missing() {
    skipped("kubectl or Python's yaml");
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    let Some(validator) = tool("kubernetes-validate") else { return skipped("kubernetes-validate") };
    for name in ["base", "init-container", "sidecar"] {
        let Some(yaml) = built(name) else { return missing() };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("manifest.yaml");
        std::fs::write(&file, yaml).unwrap();
        for version in VERSIONS {
            let output = Command::new(&validator)
                .args(["--strict", "--kubernetes-version", version])
                .arg(&file)
                .output()
                .unwrap();
            let shown =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && !shown.contains("ERROR"), "{name} on {version}: {shown}");
        }
    }
}

/// **INV** What Pod Security calls `restricted`, and a root file system that cannot be written.
#[test]
fn nothing_has_more_rights_than_it_needs() {
    for name in ["base", "init-container", "sidecar"] {
        let Some(pod) = pod(name) else { return missing() };
        let context = &pod["securityContext"];
        assert_eq!((&context["runAsNonRoot"], &context["runAsUser"]), (&json!(true), &json!(65532)));
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
        assert_eq!(pod["automountServiceAccountToken"], false);
        for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert_eq!(pod[field], Value::Null, "{name}: {field}");
        }
        let all = containers(&pod, "containers").iter().chain(containers(&pod, "initContainers"));
        for container in all {
            let context = &container["securityContext"];
            let expected = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
            assert_eq!(context, &expected, "{name}: {}", container["name"]);
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}: {}", container["name"]);
            assert!(!container["image"].as_str().unwrap().ends_with(":latest"));
        }
    }
}

/// **INV** The secret is mounted where the token is made and nowhere else; no container has it as a variable.
#[test]
fn the_secret_is_only_in_the_init_container() {
    for name in ["init-container", "sidecar"] {
        let Some(pod) = pod(name) else { return missing() };
        let secret_volumes: Vec<&Value> =
            containers(&pod, "volumes").iter().filter(|volume| volume["secret"] != Value::Null).collect();
        assert_eq!(secret_volumes.len(), 1);
        let volume = secret_volumes[0]["name"].as_str().unwrap();
        let mounts = |container: &Value| -> Vec<String> {
            let mounts = container["volumeMounts"].as_array().unwrap();
            mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned()).collect()
        };
        for container in containers(&pod, "containers") {
            assert!(!mounts(container).contains(&volume.to_owned()), "{name}: {}", container["name"]);
            assert!(container["volumeMounts"].as_array().unwrap().iter().all(|mount| mount["readOnly"] == true));
        }
        let [init] = containers(&pod, "initContainers") else { panic!("{name}: one init container") };
        assert!(mounts(init).contains(&volume.to_owned()));
        for container in containers(&pod, "containers").iter().chain([init]) {
            assert_eq!(container["envFrom"], Value::Null, "{name}: {}", container["name"]);
            for variable in containers(container, "env") {
                assert_eq!(variable["valueFrom"]["secretKeyRef"], Value::Null, "{name}: {}", variable["name"]);
                assert_ne!(variable["name"], "JWT_SECRET_KEY");
            }
        }
    }
}

#[test]
fn the_token_is_in_memory_and_bounded() {
    for name in ["base", "init-container", "sidecar"] {
        let Some(pod) = pod(name) else { return missing() };
        let token = containers(&pod, "volumes").iter().find(|volume| volume["name"] == "token").unwrap();
        assert_eq!(token["emptyDir"]["medium"], "Memory");
        assert!(token["emptyDir"]["sizeLimit"].is_string());
    }
}

#[test]
fn only_the_sidecar_stays_and_its_probes_ask_where_it_listens() {
    let (Some(once), Some(stays)) = (pod("init-container"), pod("sidecar")) else { return missing() };
    assert_eq!(once["initContainers"][0]["restartPolicy"], Value::Null);
    let sidecar = &stays["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always");
    let arguments: Vec<&str> = containers(sidecar, "args").iter().map(|argument| argument.as_str().unwrap()).collect();
    assert!(arguments.contains(&"--renew") && arguments.contains(&"--health-addr=0.0.0.0:8081"), "{arguments:?}");
    assert_eq!(sidecar["ports"][0], json!({"name": "health", "containerPort": 8081}));
    for probe in ["startupProbe", "readinessProbe"] {
        assert_eq!(sidecar[probe]["httpGet"], json!({"path": "/healthz", "port": "health"}), "{probe}");
    }
    assert_eq!(sidecar["livenessProbe"], Value::Null);
}

/// The arguments and variables of the manifests are ones that the program takes: it is run with them.
#[test]
fn the_program_takes_the_arguments_of_the_manifests() {
    for name in ["init-container", "sidecar"] {
        let Some(pod) = pod(name) else { return missing() };
        let container = &pod["initContainers"][0];
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("JWT_SECRET_KEY"), "7Zr1sVnq0yTtLwM3kX8cFhJ5bPdGaUeR9iQoYvN2").unwrap();
        let mut command = Command::new(token_testkit::binaries().join("jwt-generator"));
        command.env_clear();
        // The sidecar's arguments end when the token is there, instead of staying.
        for argument in containers(container, "args").iter().map(|argument| argument.as_str().unwrap()) {
            match argument {
                "--renew" => drop(command.arg("--once-valid-for=1m")),
                argument if argument.starts_with("--health-addr=") => {}
                argument => drop(command.arg(argument)),
            }
        }
        for variable in containers(container, "env") {
            let value = variable["value"].as_str().unwrap_or("billing");
            let here = value.replace("/secret", folder.path().to_str().unwrap());
            command.env(
                variable["name"].as_str().unwrap(),
                here.replace("/token/", &format!("{}/", folder.path().display())),
            );
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(folder.path().join("token.jwt").exists(), "{name}");
    }
}
