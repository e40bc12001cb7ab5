//! The init container: one process from spawn to exit that leaves one token in a file, beside Python and Node programs
//! that write the same file with the same care (temporary file, sync, rename, sync of the directory).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use token_jose::{Algorithm, LocalSigner};
use token_testkit::{tool, workspace_root};

use crate::peer::NODE_PEERS;
use crate::table::{Table, median};

const ROUNDS: usize = 7;
/// The kernel tells the CPU of ended children in hundredths of a second, so that a round needs several runs.
const OWN_RUNS: u32 = 100;
const PEER_RUNS: u32 = 8;
const SECRET: &str = "9b1c7d0e3f5a42c68d7e1f0a9c3b5d7e2a4c6e8f0b1d3c5a";

struct Contestant {
    name: &'static str,
    command: Vec<PathBuf>,
    runs: u32,
}

/// What a round showed, per run.
struct Sample {
    cpu_ms: f64,
    wall_ms: f64,
}

/// The static executable that `scripts/build-cli` makes is what is measured: it is what ships.
pub(crate) fn executable() -> Option<PathBuf> {
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let path = workspace_root().join(format!("dist/jwt-generator-linux-{platform}"));
    if !path.exists() {
        eprintln!("skipped: {} is not there; hint: bash scripts/build-cli dist {platform}", path.display());
        return None;
    }
    Some(path)
}

/// Runs the comparison for ES256 and HS256.
pub(crate) fn run(table: &mut Table) {
    let Some(executable) = executable() else { return };
    #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
    let size = executable.metadata().expect("it was just found").len() as f64 / 1e6;
    table.alone("jwt-generator: static executable", "MB", size, Some(3.5));
    for algorithm in ["ES256", "HS256"] {
        section(table, &executable, algorithm);
    }
}

fn section(table: &mut Table, executable: &Path, algorithm: &str) {
    eprintln!("one shot {algorithm}");
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key.pem");
    let signer = LocalSigner::generate(Algorithm::Es256).expect("a key");
    let body = base64::engine::general_purpose::STANDARD.encode(signer.to_pkcs8().as_slice());
    std::fs::write(&key, format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")).expect("written");
    let output = folder.path().join("token.jwt");
    let mut environment = vec![
        ("SERVICE_NAME", "billing".to_owned()),
        ("OUTPUT_PATH", output.to_str().expect("a path of ours").to_owned()),
    ];
    let mut own = vec![executable.to_owned()];
    if algorithm == "ES256" {
        environment.push(("KEY_FILE", key.to_str().expect("a path of ours").to_owned()));
        environment.push(("KID", signer.public_key().kid().to_string()));
        own.extend(["--key-file".into(), key.clone()]);
    } else {
        environment.push(("JWT_SECRET_KEY", SECRET.to_owned()));
    }
    let contestants = contestants(own);
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    // The first round fills the page cache and is not counted.
    for round in 0..=ROUNDS {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            let sample = measure(contestant, &environment);
            check(contestant.name, &output, algorithm);
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let Some((own, peers)) = samples.split_first() else { return };
    let what = format!("jwt-generator, one shot {algorithm}");
    let values = |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<f64>>();
    for (figure, limit) in [("CPU", 2.0), ("wall", 6.0)] {
        let of = if figure == "CPU" { |sample: &Sample| sample.cpu_ms } else { |sample: &Sample| sample.wall_ms };
        let own = values(own, of);
        table.alone(format!("{what}: {figure}"), "ms", median(own.clone()), Some(limit));
        for (contestant, peer) in contestants.iter().skip(1).zip(peers) {
            let peer = values(peer, of);
            let ratio = median(peer.iter().zip(&own).map(|(peer, own)| peer / own).collect());
            let target = (figure == "CPU").then_some(30.0);
            let name = format!("– over {}", contestant.name);
            table.versus(name, "ms", median(own.clone()), (contestant.name, median(peer)), ratio, target);
        }
    }
    let memory: Vec<Option<f64>> = contestants.iter().map(|contestant| peak_rss_mb(contestant, &environment)).collect();
    let Some((Some(own), peers)) = memory.split_first() else {
        eprintln!("skipped: GNU time not on this machine (peak RSS)");
        return;
    };
    table.alone(format!("{what}: peak RSS"), "MB", *own, Some(3.0));
    for (contestant, peer) in contestants.iter().skip(1).zip(peers) {
        if let Some(peer) = peer {
            table.versus(format!("– over {}", contestant.name), "MB", *own, (contestant.name, *peer), peer / own, None);
        }
    }
}

fn contestants(own: Vec<PathBuf>) -> Vec<Contestant> {
    let mut all = vec![Contestant { name: "jwt-generator", command: own, runs: OWN_RUNS }];
    let peers = [
        ("Python + PyJWT", tool("python3"), workspace_root().join("bench/peers/oneshot.py")),
        ("Node + jose", tool("node"), workspace_root().join(NODE_PEERS).join("oneshot.mjs")),
    ];
    for (name, program, script) in peers {
        match program.filter(|_| script.exists()) {
            Some(program) => all.push(Contestant { name, command: vec![program, script], runs: PEER_RUNS }),
            None => eprintln!("skipped: {name} not on this machine; hint: bash scripts/bench installs it"),
        }
    }
    all
}

fn command(words: &[PathBuf], environment: &[(&str, String)]) -> Command {
    let (program, arguments) = words.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn measure(contestant: &Contestant, environment: &[(&str, String)]) -> Sample {
    let before = children_cpu_ms();
    let mut wall = Vec::new();
    for _ in 0..contestant.runs {
        let mut command = command(&contestant.command, environment);
        let start = Instant::now();
        let status = command.status().unwrap_or_else(|error| panic!("cannot start {}: {error}", contestant.name));
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        assert!(status.success(), "{}: {status}", contestant.name);
    }
    Sample { cpu_ms: (children_cpu_ms() - before) / f64::from(contestant.runs), wall_ms: median(wall) }
}

/// CPU milliseconds of all children that have ended: `cutime` and `cstime` of proc(5), in ticks of ten milliseconds.
fn children_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields = stat.rsplit_once(") ").expect("a name in brackets").1;
    let ticks: f64 = fields.split(' ').skip(13).take(2).map(|field| field.parse::<f64>().expect("a number")).sum();
    ticks * 10.0
}

/// From GNU time, which is small itself: a child starts with the memory of whoever spawned it.
fn peak_rss_mb(contestant: &Contestant, environment: &[(&str, String)]) -> Option<f64> {
    let time = Path::new("/usr/bin/time");
    let mut words: Vec<PathBuf> = vec![time.to_owned(), "-f".into(), "%M".into()];
    words.extend(contestant.command.iter().cloned());
    let output = command(&words, environment).stderr(Stdio::piped()).output().ok()?;
    let text = String::from_utf8(output.stderr).ok()?;
    text.lines().last()?.trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
}

/// The file holds a token of this algorithm, whoever wrote it.
fn check(name: &str, output: &Path, algorithm: &str) {
    let token = std::fs::read_to_string(output).unwrap_or_else(|error| panic!("{name} wrote nothing: {error}"));
    let header = token.split('.').next().unwrap_or_default();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap_or_default();
    assert_eq!(header.get("alg").and_then(serde_json::Value::as_str), Some(algorithm), "{name}");
    assert_eq!(token.split('.').count(), 3, "{name}");
    std::fs::remove_file(output).expect("the next one writes its own");
}
