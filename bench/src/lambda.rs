//! The `jwt-issuer` Lambda from spawn to first response, and warm, beside Node and Python handlers that do the same work
//! over the same Runtime API.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{AUDIENCE, Documents, ISSUER, Signed, answer, rest_event};
use serde_json::{Value, json};
use token_jose::Algorithm;
use token_testkit::{tool, workspace_root};

use crate::peer::NODE_PEERS;
use crate::process::Measured;
use crate::runtime_api::RuntimeApi;
use crate::store::Store;
use crate::table::{Table, median};

const ROUNDS: usize = 7;
/// Warm invocations per start, after as many that are not counted (the virtual machines compile what is hot).
const WARM: usize = 150;

/// One rule, so that the peers' rule table is as simple as it can be.
const MAPPING: &str = r#"
[defaults]
audience = "https://acme.snowflakecomputing.com"

[[rule]]
name = "etl workers"
principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
subject = "{account}/{role|upper}"
scopes = ["session:role:ETL"]
"#;

/// Targets over one peer; `None` where none is promised.
struct Targets {
    first_file: Option<f64>,
    first_aws: Option<f64>,
    warm: Option<f64>,
}

struct Contestant {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<PathBuf>,
    targets: Targets,
}

/// What one start showed.
struct Sample {
    first_ms: f64,
    first_cpu_ms: f64,
    warm_ms: f64,
    warm_cpu_ms: f64,
    peak_rss_mb: f64,
}

/// Runs the comparisons: key from a file, then everything from the store; RS256, then ES256.
pub(crate) fn run(table: &mut Table) {
    let contestants = contestants();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let documents = Documents::new(&[algorithm], MAPPING);
        std::fs::write(documents.path("rules.json"), rules().to_string()).expect("a writable folder");
        let mut files = documents.environment();
        files.push(("RULES".to_owned(), format!("file:{}", documents.path("rules.json").display())));
        section(table, &format!("{algorithm}, key from file"), &contestants, &documents, &files, false);
        // The algorithm changes nothing in what the store costs.
        if algorithm == Algorithm::Rs256
            && let Some(store) = Store::start(documents.folder.path())
        {
            let mut environment = store.environment();
            let same = ["JWT_ISSUER_URL", "ORGANIZATION_ID"];
            environment.extend(files.iter().filter(|(name, _)| same.contains(&name.as_str())).cloned());
            section(table, &format!("{algorithm}, moto over TLS"), &contestants, &documents, &environment, true);
        }
    }
}

/// The mapping above, as the peers read it.
fn rules() -> Value {
    json!([{
        "kind": "assumed-role", "account": "111122223333", "role_prefix": "etl-", "scopes": ["session:role:ETL"],
        "audience": AUDIENCE, "ttl": 900,
    }])
}

fn contestants() -> Vec<Contestant> {
    let mut all = vec![Contestant {
        name: "jwt-issuer",
        program: built().join("jwt-issuer"),
        arguments: Vec::new(),
        targets: Targets { first_file: None, first_aws: None, warm: None },
    }];
    let bundle = workspace_root().join(NODE_PEERS).join("handler.cjs");
    let peers = [
        ("Node + jose", "node", bundle, Targets { first_file: Some(25.0), first_aws: Some(8.0), warm: Some(5.0) }),
        (
            "Python + PyJWT",
            "python3",
            workspace_root().join("bench/peers/handler.py"),
            Targets { first_file: None, first_aws: Some(14.0), warm: Some(2.5) },
        ),
    ];
    for (name, program, script, targets) in peers {
        match tool(program).filter(|_| script.exists()) {
            Some(program) => all.push(Contestant { name, program, arguments: vec![script], targets }),
            None => eprintln!("skipped: {name} not on this machine; hint: bash scripts/bench installs it"),
        }
    }
    all
}

/// The folder with `jwt-issuer` as it is built for release, from the sources as they are now. Cargo is asked for the same
/// packages as are already built, so that only the executable is left to link.
fn built() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its executable");
    let folder = own.parent().expect("an executable lies in a folder").to_owned();
    let target = folder.parent().expect("PROFILE lies in TARGET");
    eprintln!("building jwt-issuer (profile release)");
    let status = Command::new("cargo")
        .args(["build", "--package", "bench", "--package", "jwt-issuer", "--release", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(workspace_root())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "jwt-issuer does not build");
    folder
}

fn section(
    table: &mut Table,
    what: &str,
    contestants: &[Contestant],
    documents: &Documents,
    environment: &[(String, String)],
    remote: bool,
) {
    eprintln!("lambda {what}");
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    // The first round fills the page cache and is not counted.
    for round in 0..=ROUNDS {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            let sample = measure(contestant, documents, environment);
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let Some((ours, peers)) = samples.split_first() else { return };
    let values = |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<f64>>();
    let mut rows = |figure: &str, unit, of: fn(&Sample) -> f64, target: &dyn Fn(&Targets) -> Option<f64>, limit| {
        let own = values(ours, of);
        table.alone(format!("jwt-issuer, {what}: {figure}"), unit, median(own.clone()), limit);
        for (contestant, peer) in contestants.iter().skip(1).zip(peers) {
            let peer = values(peer, of);
            let ratio = median(peer.iter().zip(&own).map(|(peer, own)| peer / own).collect());
            let name = format!("– over {}", contestant.name);
            table.versus(
                name,
                unit,
                median(own.clone()),
                (contestant.name, median(peer)),
                ratio,
                target(&contestant.targets),
            );
        }
    };
    let first = |targets: &Targets| if remote { targets.first_aws } else { targets.first_file };
    let none = |_: &Targets| None;
    rows("spawn to first response", "ms", |sample| sample.first_ms, &first, None);
    rows("process CPU to first response", "ms", |sample| sample.first_cpu_ms, &none, Some(15.0));
    rows("warm invoke, CPU", "ms", |sample| sample.warm_cpu_ms, &|targets| targets.warm, None);
    rows("warm invoke, wall", "ms", |sample| sample.warm_ms, &none, None);
    rows("peak RSS", "MB", |sample| sample.peak_rss_mb, &none, Some(12.0));
}

fn measure(contestant: &Contestant, documents: &Documents, environment: &[(String, String)]) -> Sample {
    let event = rest_event(&Signed::session("etl-nightly", "run-1")).to_string();
    let api = RuntimeApi::start();
    api.send(event.as_bytes());
    let process = Measured::spawn(command(contestant, &api.address(), environment));
    let first = api.answer();
    api.idle(2);
    let first_cpu_ms = process.cpu_ms();
    verify(contestant.name, &first.body, documents);

    let invoke = |number: usize| {
        let start = std::time::Instant::now();
        api.send(event.as_bytes());
        let answered = api.answer();
        api.idle(number + 2);
        ((answered.at - start).as_secs_f64() * 1e3, answered.body)
    };
    (1..=WARM).for_each(|number| drop(invoke(number)));
    let before = process.cpu_ms();
    let mut warm = Vec::new();
    for number in WARM + 1..=2 * WARM {
        let (wall_ms, body) = invoke(number);
        warm.push(wall_ms);
        if number == 2 * WARM {
            verify(contestant.name, &body, documents);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let warm_cpu_ms = (process.cpu_ms() - before) / WARM as f64;
    Sample {
        first_ms: (first.at - process.started).as_secs_f64() * 1e3,
        first_cpu_ms,
        warm_ms: median(warm),
        warm_cpu_ms,
        peak_rss_mb: process.peak_rss_mb(),
    }
}

fn command(contestant: &Contestant, api: &str, environment: &[(String, String)]) -> Command {
    let mut command = Command::new(&contestant.program);
    let home = contestant.program.parent().unwrap_or(Path::new("/"));
    command.args(&contestant.arguments).env_clear().env("PATH", home).envs([
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_LAMBDA_RUNTIME_API", api),
        ("NODE_NO_WARNINGS", "1"),
    ]);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// The answer is a good token for the right subject, whoever gave it.
fn verify(name: &str, body: &[u8], documents: &Documents) {
    let response: Value =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{name} answers no JSON: {error}"));
    let (status, body) = answer(&response);
    assert_eq!(status, 200, "{name}: {response}");
    let token =
        body.get("access_token").and_then(Value::as_str).unwrap_or_else(|| panic!("{name}: no token: {response}"));
    let claims = documents.verified(token);
    assert_eq!(claims.get("sub"), Some(&json!("111122223333/ETL-NIGHTLY")), "{name}");
    assert_eq!(claims.get("iss"), Some(&json!(ISSUER)), "{name}");
    assert!(claims.contains_key("jti") && body.get("expires_in").is_some(), "{name}: {response}");
}
