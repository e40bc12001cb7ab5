//! The documents are true: commands run as pasted, samples compile, quoted errors are the real ones, links lead somewhere,
//! every setting, flag and metric is described, and every test that the security model names exists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use token_claims::{CallerIdentity, CompileOptions, Principal, SsoPath, SubjectMapping, TokenRequest};
use token_testkit::{Gateway, GatewayOptions, binaries, skipped, tool, workspace_root};

/// Where the README says the gateway is.
const README_URL: &str = "http://127.0.0.1:9000";

/// The folders of `examples`.
const EXAMPLES: [&str; 7] = ["", "curl/", "python/", "node/", "go/", "java/", "github-actions/"];

fn read(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages for people: the README and its neighbours, all of docs/, and the examples'.
fn pages() -> Vec<String> {
    let root = workspace_root();
    let mut pages: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for folder in ["docs", "docs/adr"] {
        let mut found: Vec<String> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()))
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"))
            .collect();
        found.sort();
        pages.extend(found);
    }
    for folder in EXAMPLES {
        pages.push(format!("examples/{folder}README.md"));
    }
    pages
}

/// A fenced block with the marker that stands before it as a comment: `<!-- MARK -->`, then the fence.
#[derive(Debug)]
struct Block {
    mark: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut mark = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            comment.clone_into(&mut mark);
        } else if line.starts_with("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push(Block { mark: std::mem::take(&mut mark), text: text.join("\n") + "\n" });
        }
    }
    blocks
}

/// A folder like the one a reader works in, and the README's commands for it.
struct Reader {
    folder: tempfile::TempDir,
    blocks: Vec<Block>,
    gateway: Gateway,
}

impl Reader {
    fn new() -> Self {
        let gateway = Gateway::start(&GatewayOptions::default());
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(workspace_root().join("examples"), folder.path().join("examples")).unwrap();
        let mut blocks = blocks(&read("README.md"));
        for block in &mut blocks {
            block.text = block.text.replace(README_URL, gateway.url());
            if let Some(file) = block.mark.strip_prefix("file: ") {
                fs::write(folder.path().join(file), &block.text).unwrap();
            }
        }
        Self { folder, blocks, gateway }
    }

    /// Runs the blocks with these marks, one after the other in one shell, as a reader pastes them.
    fn paste(&self, marks: &[&str]) -> String {
        let mut script = String::from("set -euo pipefail\n");
        for mark in marks {
            let found: Vec<&Block> = self.blocks.iter().filter(|block| block.mark == *mark).collect();
            assert!(!found.is_empty(), "README.md has no block marked {mark:?}");
            script.extend(found.iter().map(|block| block.text.as_str()));
        }
        let tools = tool("python3").and_then(|python| python.parent().map(Path::to_owned)).unwrap_or_default();
        let path = format!("{}:{}", tools.display(), variable("PATH"));
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .output()
            .expect("bash runs");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}\n{script}\n{shown}\n{errors}", output.status);
        shown
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no shell that reads the environment for them")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn python_has(module: &str) -> bool {
    tool("python3").is_some_and(|python| {
        Command::new(python).args(["-c", &format!("import {module}")]).output().is_ok_and(|run| run.status.success())
    })
}

fn node_modules() -> Option<PathBuf> {
    let root = PathBuf::from(variable("TOKEN_TOOLS"));
    let own = [root.join("node"), workspace_root().join(".tools/node")];
    own.map(|folder| folder.join("node_modules")).into_iter().find(|folder| folder.join("jose").is_dir())
}

#[test]
fn the_readmes_commands_work_as_pasted() {
    if tool("curl").is_none() {
        return skipped("curl");
    }
    let reader = Reader::new();
    let shown = reader.paste(&["run: curl"]);
    assert!(shown.contains("\"access_token\":\"ey"), "{shown}");
    assert!(shown.contains("no rule admits this caller") && shown.contains("\"decision_id\""), "{shown}");
    assert!(shown.contains("\"keys\":["), "{shown}");
    assert!(shown.contains("\"expires_in\":600"), "{shown}");
    for principal in reader.gateway.principals() {
        assert!(read("README.md").contains(&principal.access_key_id), "the README has the sample {}", principal.name);
    }
}

#[test]
fn the_readmes_python_works_as_pasted() {
    for module in ["jwt", "botocore"] {
        if tool("curl").is_none() || !python_has(module) {
            return skipped(&format!("curl or Python's {module}"));
        }
    }
    let reader = Reader::new();
    let shown = reader.paste(&["run: python"]);
    assert!(shown.contains("'sub': '111122223333/ETL-NIGHTLY'"), "{shown}");
    assert!(shown.contains("'scp': ['session:role:ETL']"), "{shown}");
}

#[test]
fn the_readmes_node_works_as_pasted() {
    let (Some(modules), Some(_), Some(_)) = (node_modules(), tool("node"), tool("curl")) else {
        return skipped("curl, node or npm's jose");
    };
    let reader = Reader::new();
    std::os::unix::fs::symlink(modules, reader.folder.path().join("node_modules")).unwrap();
    let shown = reader.paste(&["run: token", "run: node"]);
    assert!(shown.contains("111122223333/ETL-NIGHTLY"), "{shown}");
}

/// The block about pods; `jwt-generator` is on the reader's PATH.
#[test]
fn the_readmes_generator_works_as_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let script: String = blocks(&read("README.md"))
        .into_iter()
        .filter(|block| block.mark == "run: generator")
        .map(|block| block.text)
        .collect();
    assert!(script.contains("jwt-generator"), "README.md has the block");
    let path = format!("{}:{}", binaries().display(), variable("PATH"));
    let script = format!("set -euo pipefail\n{script}");
    let run = Command::new("bash").args(["-c", &script]).current_dir(folder.path()).env("PATH", path).output().unwrap();
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && shown.contains("JWT successfully written to token/token.jwt"), "{run:?}");
    assert!(shown.contains("-rw-------"), "{shown}");
}

/// What an operator's issuer would know: the API enforces the SSO path, the ring signs RS256.
fn options() -> CompileOptions {
    let algorithms = vec!["RS256".to_owned()];
    CompileOptions { sso_path: SsoPath::Enforced, algorithms, ..CompileOptions::default() }
}

fn caller(arn: &str, caller: &str) -> Principal {
    Principal::from_caller(&CallerIdentity {
        user_arn: arn,
        account_id: arn.split(':').nth(4),
        caller: Some(caller),
        user: Some(caller),
        sso_path: SsoPath::Enforced,
    })
    .unwrap()
}

#[test]
fn each_sample_mapping_compiles_and_gives_what_its_comments_say() {
    let expected = [
        (
            "minimal",
            "arn:aws:sts::111122223333:assumed-role/billing/s1",
            "AROAEXAMPLEEXAMPLE123:s1",
            "111122223333/billing",
        ),
        (
            "snowflake-sso",
            "arn:aws:sts::444455556666:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@example.com",
            "AROAEXAMPLEEXAMPLE123:alice@example.com",
            "ALICE",
        ),
        (
            "snowflake-sso",
            "arn:aws:sts::111122223333:assumed-role/etl-nightly/s1",
            "AROAEXAMPLEEXAMPLE123:s1",
            "111122223333/ETL-NIGHTLY",
        ),
        (
            "accounts-and-api",
            "arn:aws:sts::777788889999:assumed-role/deploy-web/s1",
            "AROAEXAMPLEEXAMPLE123:s1",
            "deploy:777788889999/deploy-web",
        ),
        (
            "accounts-and-api",
            "arn:aws:sts::111122223333:assumed-role/break-glass/s1",
            "AROAEXAMPLEEXAMPLE123:s1",
            "break-glass",
        ),
        (
            "accounts-and-api",
            "arn:aws:iam::444455556666:user/ci/builder",
            "AIDAEXAMPLEEXAMPLE123",
            "ci:444455556666/builder",
        ),
    ];
    let samples: BTreeSet<String> = fs::read_dir(workspace_root().join("docs/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    for name in &samples {
        assert!(
            expected.iter().any(|(file, ..)| file == name),
            "docs/config/{name}.toml: expected a row here, found none"
        );
    }
    for (file, arn, id, subject) in expected {
        let mapping = SubjectMapping::compile(&read(&format!("docs/config/{file}.toml")), &options())
            .unwrap_or_else(|problems| panic!("docs/config/{file}.toml\n{problems}"));
        let grant = mapping.resolve(&caller(arn, id), &TokenRequest::default()).unwrap();
        assert_eq!(grant.subject(), subject, "{file}: {arn}");
    }
}

/// A block marked `compiles` does; one marked `refused` gives exactly the text of the block after it.
#[test]
fn the_mapping_examples_compile_or_are_refused_as_shown() {
    let (mut seen, mut wrong) = ((0, 0), Vec::new());
    for page in ["README.md", "docs/MAPPING.md"] {
        let blocks = blocks(&read(page));
        for (n, block) in blocks.iter().enumerate() {
            let outcome = || SubjectMapping::compile(&block.text, &options());
            match block.mark.as_str() {
                "compiles" => {
                    outcome().unwrap_or_else(|problems| panic!("{page}:\n{}\n{problems}", block.text));
                    seen.0 += 1;
                }
                "refused" => {
                    let problems = outcome().err().unwrap_or_else(|| panic!("{page} compiles:\n{}", block.text));
                    let (found, shown) = (problems.to_string(), blocks[n + 1].text.trim());
                    if found.trim() != shown {
                        wrong.push(format!(
                            "{page} shows\n{shown}\nfor\n{}\nand the compiler says\n{found}\n",
                            block.text
                        ));
                    }
                    seen.1 += 1;
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.0 >= 2 && seen.1 >= 3, "expected the examples to be marked, found {seen:?}");
}

/// GitHub's name of a heading.
fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
        .map(|character| if character == ' ' { '-' } else { character.to_ascii_lowercase() })
        .collect()
}

/// The text outside fenced blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut fenced = false;
    page.lines()
        .filter(|line| {
            fenced ^= line.starts_with("```");
            !fenced
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for name in pages() {
        let page = read(&name);
        let folder = Path::new(&name).parent().unwrap();
        for line in prose(&page) {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.starts_with("https://") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let to = if file.is_empty() { PathBuf::from(&name) } else { folder.join(file) };
                let Ok(found) = fs::canonicalize(workspace_root().join(&to)) else {
                    broken.push(format!("{name}: {target}"));
                    continue;
                };
                if !anchor.is_empty() {
                    let text = fs::read_to_string(found).unwrap();
                    if !prose(&text).iter().any(|line| line.starts_with('#') && slug(line) == anchor) {
                        broken.push(format!("{name}: {target} (no such heading)"));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Names of variables that a source quotes: capitals and underscores.
fn settings(source: &str) -> BTreeSet<&str> {
    let name = |text: &&str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    source.split('"').skip(1).step_by(2).filter(name).collect()
}

#[test]
fn every_setting_flag_and_metric_is_described() {
    let (api, logging) = (read("docs/API.md"), read("docs/LOGGING.md"));
    let mut missing = Vec::new();
    for file in [
        "lambdas/jwt-issuer/src/config.rs",
        "lambdas/jwks/src/config.rs",
        "lambdas/key-rotation/src/config.rs",
        "lambdas/common/src/lib.rs",
        "shared/aws/src/config.rs",
        "cli/src/generator/config.rs",
    ] {
        let source = read(file);
        let product = source.split("#[cfg(test)]").next().unwrap();
        for name in settings(product) {
            if !matches!(name, "LAMBDA" | "SECRETS_MANAGER") && !api.contains(&format!("`{name}`")) {
                missing.push(format!("docs/API.md: {name} of {file}"));
            }
        }
    }
    let (service, source) = (read("docs/TOKEN-SERVICE.md"), read("services/token-service/src/config.rs"));
    for name in settings(source.split("#[cfg(test)]").next().unwrap()) {
        if !service.contains(&format!("`{name}`")) {
            missing.push(format!("docs/TOKEN-SERVICE.md: {name} of services/token-service/src/config.rs"));
        }
    }
    for (program, least) in [("local-gateway", 9), ("jwt-generator", 16)] {
        let help = Command::new(binaries().join(program)).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let flags: Vec<&str> = help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2 && *word != "--help")
            .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
            .collect();
        assert!(flags.len() >= least, "{help}");
        for flag in flags {
            if !api.contains(&format!("`{flag}")) {
                missing.push(format!("docs/API.md: {flag} of {program}"));
            }
        }
    }
    for file in ["lambdas/jwt-issuer/src/audit.rs", "lambdas/jwks/src/app.rs"] {
        for name in read(file).split(".metric(\"").skip(1).filter_map(|rest| rest.split('"').next().map(str::to_owned))
        {
            if !logging.contains(&format!("`{name}`")) {
                missing.push(format!("docs/LOGGING.md: the metric {name} of {file}"));
            }
        }
    }
    let codes = [
        ("lambdas/jwt-issuer/src/app.rs", "fn code"),
        ("shared/issuance/src/issuer.rs", "fn code"),
        ("shared/claims/src/mapping/resolve.rs", "fn code"),
    ];
    for (file, from) in codes {
        let source = read(file);
        let body = source.split(from).nth(1).and_then(|rest| rest.split("\n    }").next()).unwrap();
        for arm in body.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !logging.contains(&format!("`{arm}`")) {
                missing.push(format!("docs/LOGGING.md: the code {arm} of {file}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// `path/file.rs::name` in a page is a function of that file.
#[test]
fn every_test_that_a_page_names_exists() {
    let mut missing = Vec::new();
    let mut seen = 0;
    for name in pages() {
        let page = read(&name);
        for code in prose(&page).join("\n").split('`').skip(1).step_by(2) {
            let Some((file, function)) = code.split_once(".rs::") else { continue };
            seen += 1;
            let found = fs::read_to_string(workspace_root().join(format!("{file}.rs"))).unwrap_or_default();
            if !found.contains(&format!("fn {function}(")) {
                missing.push(format!("{name}: {code}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(seen > 20, "{seen}");
}
