//! The examples do what their pages say: each page's commands run as pasted, against the gateway in place of
//! `https://issuer.example`. What cannot run on this machine is at least parsed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::local::{claims, gateway_with, principal};
use e2e::{AUDIENCE, clients::Script};
use serde_json::{Value, json};
use tempfile::TempDir;
use token_claims::{CompileOptions, SubjectMapping};
use token_testkit::{Gateway, GatewayPrincipal, node_modules, skipped, tool, workspace_root};

/// A workload with long-lived keys, one with a session token, and one that no rule admits.
fn gateway() -> Gateway {
    let token = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCWV1LXdlc3QtMSJHMEUCIQ==";
    gateway_with(&json!([
        principal(1, "etl-nightly", "s1", &json!({})),
        principal(2, "etl-nightly", "s2", &json!({ "session_token": token })),
        principal(3, "intern", "s3", &json!({})),
    ]))
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first fenced block of a page in that language, its indentation taken off.
fn block(page: &str, language: &str) -> String {
    let text = read(page);
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("```{language}"));
    lines.next().unwrap_or_else(|| panic!("{page} has no block of {language}"));
    lines.take_while(|line| line.trim() != "```").map(|line| format!("{line}\n")).collect()
}

/// A folder with the files of an example, as somebody has them who copied it.
fn copied(example: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(workspace_root().join("examples").join(example)).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    folder
}

#[expect(clippy::disallowed_methods, reason = "tests have no shell that reads the environment for them")]
fn search_path() -> String {
    let python = tool("python3").and_then(|python| python.parent().map(Path::to_owned)).unwrap_or_default();
    format!("{}:{}", python.display(), std::env::var("PATH").unwrap_or_default())
}

/// Runs `script` in `folder` with the keys of `caller` and nothing else of this machine's AWS settings.
fn shell(script: &str, folder: &Path, caller: &GatewayPrincipal) -> Output {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -euo pipefail\n{script}")]).current_dir(folder).stdin(Stdio::null());
    command.env_clear().envs([("PATH", search_path().as_str()), ("NO_PROXY", "*"), ("no_proxy", "*")]);
    command.env("HOME", folder).env("PYTHONWARNINGS", "ignore");
    command.env("AWS_ACCESS_KEY_ID", &caller.access_key_id).env("AWS_SECRET_ACCESS_KEY", &caller.secret_access_key);
    command.envs(caller.session_token.as_ref().map(|token| ("AWS_SESSION_TOKEN", token)));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The commands of an example's page, without those that install, for this gateway.
fn commands(example: &str, gateway: &Gateway) -> String {
    let commands = block(&format!("examples/{example}/README.md"), "sh");
    let kept: Vec<&str> = commands.lines().filter(|line| !line.contains(" install")).collect();
    assert!(!kept.is_empty() && kept.len() < 3, "{commands}");
    let commands = kept.join("\n").replace("https://issuer.example", gateway.url());
    commands.replace("https://audience.example", AUDIENCE)
}

/// What the example's verifier prints of a token that its other program got.
fn gets_and_verifies(example: &str, folder: &Path) {
    let gateway = gateway();
    let commands = commands(example, &gateway);
    let [long_lived, session, refused] = gateway.principals() else { panic!("three principals") };
    for caller in [long_lived, session] {
        let ran = shell(&commands, folder, caller);
        assert!(ran.status.success(), "{example}: {}\n{}", text(&ran.stdout), text(&ran.stderr));
        let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(shown["claims"]["sub"], "111122223333/ETL-NIGHTLY", "{example}: {shown}");
        assert_eq!(shown["claims"]["iss"], gateway.issuer(), "{example}: {shown}");
    }
    let why = text(&shell(&commands, folder, refused).stderr);
    assert!(why.contains("no token: HTTP 403") && why.contains("decision_id"), "{example}: {why}");

    let other = commands.replace(AUDIENCE, "https://other.example");
    let ran = shell(&other, folder, long_lived);
    assert!(!ran.status.success() && text(&ran.stderr).contains("refused: "), "{example}: {}", text(&ran.stderr));
}

#[test]
fn curl_gets_a_token_as_its_page_says() {
    if tool("curl").is_none() {
        return skipped("curl");
    }
    let (gateway, folder) = (gateway(), copied("curl"));
    let commands = commands("curl", &gateway);
    let [long_lived, session, refused] = gateway.principals() else { panic!("three principals") };
    for caller in [long_lived, session] {
        let ran = shell(&commands, folder.path(), caller);
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        let said = verified(&gateway, &text(&ran.stdout));
        assert_eq!(said["sub"], "111122223333/ETL-NIGHTLY", "{said}");
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
    }
    let ran = shell(&commands, folder.path(), refused);
    let why = text(&ran.stderr);
    assert!(!ran.status.success() && why.contains("no token: ") && why.contains("decision_id"), "{why}");
    assert_eq!(text(&ran.stdout), "");
}

/// The claims of `token`, by our own verifier and the keys that the gateway publishes.
fn verified(gateway: &Gateway, token: &str) -> Value {
    let body = json!({ "access_token": token }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    claims(gateway, &token_testkit::Reply::parse(format!("{head}{body}").as_bytes()))
}

#[test]
fn python_gets_and_verifies_a_token_as_its_page_says() {
    for (script, library) in [("get_token.py", "botocore"), ("verify.py", "jwt")] {
        if Script::find(script, library).is_none() {
            return;
        }
    }
    gets_and_verifies("python", copied("python").path());
}

#[test]
fn node_gets_and_verifies_a_token_as_its_page_says() {
    let (Some(_), Some(packages), Some(_)) = (tool("node"), node_modules("aws4"), node_modules("jose")) else {
        return skipped("node or npm's aws4 and jose");
    };
    let folder = copied("node");
    std::os::unix::fs::symlink(packages, folder.path().join("node_modules")).unwrap();
    gets_and_verifies("node", folder.path());
}

/// The step of the workflow runs with what `configure-aws-credentials` would have set; only the API that it calls in the
/// end is another.
#[test]
fn the_github_workflow_gets_a_token_and_masks_it() {
    if tool("curl").is_none() || tool("jq").is_none() {
        return skipped("curl or jq");
    }
    let workflow = read("examples/github-actions/token.yml");
    let (_, script) = workflow.split_once("        run: |\n").unwrap();
    let (gateway, folder) = (gateway(), tempfile::tempdir().unwrap());
    assert!(script.contains("https://your.api.example/whoami"), "{script}");
    let script = script.replace("https://your.api.example/whoami", gateway.jwks_uri());
    let script = format!("AWS_REGION={} JWT_ISSUER_URL={}\n{script}", gateway.region(), gateway.url());

    let ran = shell(&script, folder.path(), &gateway.principals()[1]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let shown = text(&ran.stdout);
    let (mask, rest) = shown.split_once('\n').unwrap();
    let token = mask.strip_prefix("::add-mask::").expect("the mask comes first");
    assert_eq!(verified(&gateway, token)["sub"], "111122223333/ETL-NIGHTLY");
    assert!(!rest.contains(token), "the token is shown after its mask");

    let ran = shell(&script, folder.path(), &gateway.principals()[2]);
    assert!(!ran.status.success(), "a refusal fails the step: {}", text(&ran.stdout));
}

#[test]
fn the_github_pages_rule_compiles() {
    let rule = block("examples/github-actions/README.md", "toml");
    let lines: String = rule.lines().map(|line| format!("{}\n", line.trim())).collect();
    let document = format!("[defaults]\naudience = \"https://audience.example\"\n\n{lines}");
    SubjectMapping::compile(&document, &CompileOptions::default()).unwrap_or_else(|problems| panic!("{problems}"));
}

fn sources(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace_root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 2, "{found:?}");
    found
}

#[test]
fn the_go_sources_are_well_formed() {
    let Some(gofmt) = tool("gofmt") else { return skipped("gofmt") };
    let ran = Command::new(gofmt).args(["-l", "-e"]).args(sources("examples/go", "go")).output().unwrap();
    assert!(ran.status.success() && ran.stdout.is_empty(), "{}{}", text(&ran.stdout), text(&ran.stderr));
}

/// Java's own compiler parses them; what they import is in no registry that this machine reaches.
#[test]
fn the_java_sources_are_well_formed() {
    let (Some(java), Some(_)) = (tool("java"), tool("javac")) else { return skipped("a JDK") };
    let folder = tempfile::tempdir().unwrap();
    let parser = folder.path().join("Parse.java");
    let source = r"
        import com.sun.source.util.JavacTask;
        import java.util.List;
        import javax.tools.*;
        public class Parse {
          public static void main(String[] files) throws Exception {
            var compiler = ToolProvider.getSystemJavaCompiler();
            var manager = compiler.getStandardFileManager(null, null, null);
            var found = new DiagnosticCollector<JavaFileObject>();
            var task = compiler.getTask(null, manager, found, null, null, manager.getJavaFileObjects(files));
            ((JavacTask) task).parse();
            found.getDiagnostics().forEach(System.err::println);
            System.exit(found.getDiagnostics().isEmpty() ? 0 : 1);
          }
        }";
    fs::write(&parser, source).unwrap();
    let ran = Command::new(java).arg(&parser).args(sources("examples/java/src", "java")).output().unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
}
