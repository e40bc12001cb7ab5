//! `infrastructure/`, applied to moto: the tool, what it made, and what the functions may do by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use token_testkit::{Curl, Lambda, Moto, Process, skipped, workspace_root};

use crate::iam::{Call, read_calls};

/// Prefix of every name in the applied environment.
pub const NAME: &str = "jwt-issuer-e2e";
/// moto's account.
pub const MOTO_ACCOUNT: &str = "123456789012";
/// Where it is applied.
pub const REGION: &str = "eu-west-1";
/// Account, organization and signature are moto's to ignore: the id alone says which function called.
const SECRET_KEY: &str = "testkit-secret-access-key";

const SETTINGS: &str = "test.auto.tfvars.json";

/// How long one run of the tool may take on a busy machine.
const RUN: Duration = Duration::from_secs(300);

/// An environment of the issuer on moto, and the folder that it is applied from.
pub struct Applied {
    /// The server.
    pub moto: Moto,
    folder: TempDir,
    program: PathBuf,
    mapping: String,
}

impl Applied {
    /// A copy of `infrastructure/` that is initialized and not yet applied, with `more` settings, or says that the test is
    /// skipped.
    #[must_use]
    pub fn prepare(organization: &str, mapping: &str, more: &[(&str, Value)]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let root = workspace_root();
        let found =
            Command::new("bash").arg(root.join("scripts/tofu.sh")).arg(folder.path().join("tofurc")).output().unwrap();
        assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
        let found = String::from_utf8(found.stdout).unwrap();
        let mut found = found.lines().filter(|line| !line.is_empty());
        let (Some(program), Some(_mirror)) = (found.next(), found.next()) else {
            skipped("terraform/tofu or the provider mirror");
            return None;
        };
        let calls = folder.path().join("calls");
        std::fs::write(&calls, "").unwrap();
        let script = root.join("tests/infrastructure/moto_server.py");
        let moto = Moto::start_script(&script, &[("MOTO_RECORDER_FILEPATH", &calls)])?;

        let copy = folder.path().join("infrastructure");
        copied(&root.join("infrastructure"), &copy);
        std::fs::copy(root.join("tests/infrastructure/moto_override.tf"), copy.join("moto_override.tf")).unwrap();
        let zips = ["issuer", "jwks", "rotation", "withdraw"].map(|function| {
            let zip = folder.path().join(format!("{function}.zip"));
            // The shortest zip there is: no file in it.
            std::fs::write(&zip, [b"PK\x05\x06".as_slice(), &[0; 18]].concat()).unwrap();
            (function.to_owned(), json!({ "path": zip }))
        });
        let settings = json!({
            "name": NAME, "region": REGION, "organization_id": organization, "rotation_enabled": false,
            "secret_recovery_window_in_days": 0, "zips": serde_json::Map::from_iter(zips),
        });
        std::fs::write(copy.join(SETTINGS), settings.to_string()).unwrap();
        let applied = Self { moto, folder, program: program.into(), mapping: mapping.to_owned() };
        applied.set(more);
        applied.run(0, &["init", "-no-color"]);
        Some(applied)
    }

    /// Changes settings, for the next run.
    pub fn set(&self, more: &[(&str, Value)]) {
        let path = self.folder.path().join("infrastructure").join(SETTINGS);
        let mut settings: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for (name, value) in more {
            settings[*name] = value.clone();
        }
        std::fs::write(path, settings.to_string()).unwrap();
    }

    /// Runs the tool, which must end with this code, and gives what it writes to standard output.
    pub fn run(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.folder.path().join("output");
        // Through a file: it is whole when the process has ended.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" > \"$OUTPUT\"", "sh"]).arg(&self.program).args(arguments);
        for foreign in ["TF_DATA_DIR", "TF_WORKSPACE", "TF_CLI_ARGS", "TF_LOG", "AWS_PROFILE", "AWS_SESSION_TOKEN"] {
            command.env_remove(foreign);
        }
        command
            .current_dir(self.folder.path().join("infrastructure"))
            .env("OUTPUT", &output)
            .env("TF_CLI_CONFIG_FILE", self.folder.path().join("tofurc"))
            .envs([("TF_IN_AUTOMATION", "1"), ("TF_INPUT", "0"), ("CHECKPOINT_DISABLE", "1")])
            .envs([("AWS_ACCESS_KEY_ID", "AKIADEPLOYER"), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)])
            .env("AWS_ENDPOINT_URL", self.moto.url())
            .env("TF_VAR_mapping", &self.mapping);
        let mut process = Process::start(&format!("{} {}", self.program.display(), arguments.join(" ")), command);
        let status = process.wait(RUN);
        let text = std::fs::read_to_string(&output).unwrap();
        let tail = text.lines().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        assert_eq!(status.code(), Some(code), "{arguments:?}\n{tail}\n{}", process.output());
        text
    }

    /// Plans anew, which must find nothing to change, and gives plan and state as JSON.
    #[must_use]
    pub fn empty_plan(&self) -> String {
        self.run(0, &["plan", "-no-color", "-detailed-exitcode", "-out=plan.bin"]);
        let state = std::fs::read_to_string(self.folder.path().join("infrastructure/terraform.tfstate")).unwrap();
        self.run(0, &["show", "-no-color", "-json", "plan.bin"]) + &state
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> BTreeMap<String, Value> {
        let outputs: BTreeMap<String, Value> = serde_json::from_str(&self.run(0, &["output", "-json"])).unwrap();
        outputs.into_iter().map(|(name, output)| (name, output["value"].clone())).collect()
    }

    /// The applied function as AWS describes it.
    #[must_use]
    pub fn function(&self, function: &str) -> Value {
        let path = format!("/2015-03-31/functions/{NAME}-{function}/configuration");
        let reply = signed(Curl::get(&format!("{}{path}", self.moto.url())), "lambda").send();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The workspace's `binary`, with exactly the environment that the applied `function` carries, what Lambda itself sets,
    /// moto's endpoint, and `more`.
    #[must_use]
    pub fn start(&self, function: &str, binary: &str, more: &[(String, String)]) -> Lambda {
        let lambda = self.launch(function, binary, more);
        if let Err(failure) = lambda.started() {
            panic!("{function} does not start: {:?}\n{}", failure.reported, failure.output);
        }
        lambda
    }

    /// [`start`](Self::start) that does not wait for the function.
    #[must_use]
    pub fn launch(&self, function: &str, binary: &str, more: &[(String, String)]) -> Lambda {
        let variables = self.function(function)["Environment"]["Variables"].as_object().cloned().unwrap();
        let mut environment: Vec<(String, String)> =
            variables.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned())).collect();
        for (name, value) in self.moto.environment() {
            assert!(environment.iter().all(|(given, _)| *given != name), "{name} is Lambda's own to set");
            environment.push((name.clone(), if name == "AWS_ACCESS_KEY_ID" { access_key(function) } else { value }));
        }
        environment.extend(more.iter().cloned());
        Lambda::start(binary, environment)
    }

    /// From now on moto writes every call down.
    pub fn record(&self) {
        let reply = Curl::post(&format!("{}/moto-api/recorder/start-recording", self.moto.url())).send();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// The calls of `function` since [`record`](Self::record).
    #[must_use]
    pub fn calls(&self, function: &str) -> BTreeSet<Call> {
        let text = std::fs::read_to_string(self.folder.path().join("calls")).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = format!("Credential={}/", access_key(function));
        let own =
            entries.filter(|entry| entry["headers"]["Authorization"].as_str().is_some_and(|by| by.contains(&own)));
        own.flat_map(|entry| read_calls(&entry, &|key| self.key_context(key))).collect()
    }

    /// What KMS says of a key.
    #[must_use]
    pub fn key(&self, arn: &str) -> Value {
        self.json_call("kms", "TrentService.DescribeKey", &json!({ "KeyId": arn })).json()["KeyMetadata"].clone()
    }

    /// A key's tags.
    #[must_use]
    pub fn key_tags(&self, arn: &str) -> BTreeMap<String, String> {
        let reply = self.json_call("kms", "TrentService.ListResourceTags", &json!({ "KeyId": arn }));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = |tag: &Value, name: &str| tag[name].as_str().unwrap().to_owned();
        let tags = reply.json()["Tags"].as_array().unwrap().clone();
        tags.iter().map(|tag| (text(tag, "TagKey"), text(tag, "TagValue"))).collect()
    }

    /// What conditions can ask of a key.
    fn key_context(&self, arn: &str) -> BTreeMap<String, Vec<String>> {
        let key = self.key(arn);
        let of = |condition: &str, member: &str| (condition.to_owned(), vec![key[member].as_str().unwrap().to_owned()]);
        let tags = self.key_tags(arn).into_iter().map(|(tag, value)| (format!("aws:ResourceTag/{tag}"), vec![value]));
        tags.chain([of("kms:KeySpec", "KeySpec"), of("kms:KeyUsage", "KeyUsage")]).collect()
    }

    /// Whatever moto still has of this environment, by service; keys that are being deleted are gone.
    #[must_use]
    pub fn left(&self) -> BTreeSet<&'static str> {
        let url = self.moto.url();
        let query = |action: &str| format!("Action={action}");
        let form = "application/x-www-form-urlencoded";
        let mut lists = vec![
            ("lambda", signed(Curl::get(&format!("{url}/2015-03-31/functions/")), "lambda").send()),
            ("apigateway", signed(Curl::get(&format!("{url}/restapis")), "apigateway").send()),
            ("iam", signed(Curl::post(&url).body(form, &query("ListRoles&Version=2010-05-08")), "iam").send()),
            (
                "cloudwatch",
                signed(Curl::post(&url).body(form, &query("DescribeAlarms&Version=2010-08-01")), "monitoring").send(),
            ),
        ];
        for (service, target, body) in [
            ("secretsmanager", "secretsmanager.ListSecrets", json!({})),
            ("ssm", "AmazonSSM.DescribeParameters", json!({})),
            ("wafv2", "AWSWAF_20190729.ListWebACLs", json!({ "Scope": "REGIONAL" })),
            ("logs", "Logs_20140328.DescribeLogGroups", json!({})),
            ("events", "AWSEvents.ListRules", json!({})),
            ("kms", "TrentService.ListAliases", json!({})),
        ] {
            lists.push((service, self.json_call(service, target, &body)));
        }
        let named = lists.into_iter().filter(|(service, reply)| {
            assert_eq!(reply.status, 200, "{service}: {}", reply.text());
            reply.text().contains(NAME)
        });
        let mut left: BTreeSet<_> = named.map(|(service, _)| service).collect();
        for key in self.json_call("kms", "TrentService.ListKeys", &json!({})).json()["Keys"].as_array().unwrap() {
            let key = self.json_call("kms", "TrentService.DescribeKey", &json!({ "KeyId": key["KeyId"] })).json();
            let key = &key["KeyMetadata"];
            if key["Description"].as_str().unwrap_or_default().contains(NAME) && key["KeyState"] != "PendingDeletion" {
                left.insert("kms key");
            }
        }
        left
    }

    fn json_call(&self, service: &str, target: &str, body: &Value) -> token_testkit::Reply {
        let call = Curl::post(&self.moto.url()).header("X-Amz-Target", target);
        signed(call.body("application/x-amz-json-1.1", &body.to_string()), service).send()
    }
}

/// The access key id of a function's role, by which its calls are told apart.
fn access_key(function: &str) -> String {
    format!("AKIA{}", function.to_uppercase())
}

fn signed(curl: Curl, service: &str) -> Curl {
    curl.signed(("AKIAOPERATOR", SECRET_KEY), None, REGION, service)
}

/// Copies a folder without what a run of the tool leaves in it.
fn copied(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(".terraform") || name.contains(".tfstate")) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// A clock for real binaries that a test moves on: see `tests/infrastructure/clock.c`.
pub struct FastClock {
    folder: TempDir,
    ahead: i64,
}

impl FastClock {
    /// One that shows the wall clock's time, or says that there is no C compiler.
    #[must_use]
    pub fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("clock.so"));
        let Ok(output) = command.arg(workspace_root().join("tests/infrastructure/clock.c")).output() else {
            skipped("a C compiler (days that pass for the functions)");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let clock = Self { folder, ahead: 0 };
        clock.write();
        Some(clock)
    }

    /// What a function's environment needs to go by it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        vec![("LD_PRELOAD".to_owned(), file("clock.so")), ("TEST_CLOCK".to_owned(), file("ahead"))]
    }

    /// Lets `seconds` pass at once.
    pub fn advance(&mut self, seconds: i64) {
        self.ahead += seconds;
        self.write();
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        crate::now() + jiff::SignedDuration::from_secs(self.ahead)
    }

    fn write(&self) {
        // In place: the functions have mapped this very file.
        let path = self.folder.path().join("ahead");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
        file.write_all(&self.ahead.to_ne_bytes()).unwrap();
    }
}
