//! Staying: renewals, signals, keys that change, health, and gating on a valid token.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use token_jose::Algorithm;
use token_testkit::{Process, free_port, wait_until};

use super::{Outcome, SECRET, Setup, parts, pyjwt};

const SOON: Duration = Duration::from_secs(30);

fn start(setup: &Setup, arguments: &[&str]) -> Process {
    Process::start("jwt-generator", setup.command(arguments))
}

fn signal(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap(), signal).unwrap();
}

fn token(setup: &Setup) -> Option<String> {
    fs::read_to_string(setup.output()).ok()
}

fn another(setup: &Setup, old: &str, why: &str) -> String {
    wait_until(why, SOON, || token(setup).filter(|token| token != old))
}

/// The status line's number and the body.
fn get(address: &str, head: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{head}\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    (status, answer)
}

#[test]
fn it_renews_before_the_token_expires() {
    let setup = Setup::new();
    let mut sidecar = start(&setup, &["--renew", "--ttl", "3s"]);
    let mut old = wait_until("the first token", SOON, || token(&setup));
    for _ in 0..2 {
        let new = another(&setup, &old, "a renewal");
        let time = |token: &str, name: &str| parts(token).1[name].as_i64().unwrap();
        assert!(time(&new, "iat") <= time(&old, "exp"), "renewed after it had expired");
        assert_ne!(parts(&new).1["jti"], parts(&old).1["jti"]);
        old = new;
    }
    sidecar.terminate();
    assert_eq!(sidecar.wait(SOON).code(), Some(0));
    assert_eq!(sidecar.stdout(), "", "standard output stays silent");
    let log = sidecar.stderr();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string());
    }
    assert!(!log.contains(&old) && !log.contains(SECRET) && log.contains("\"signal\":\"SIGTERM\""), "{log}");
    assert_eq!(setup.leftovers(), Vec::<String>::new());
}

#[test]
fn signals_renew_and_end() {
    let setup = Setup::new();
    let mut sidecar = start(&setup, &["--renew"]);
    let old = wait_until("the first token", SOON, || token(&setup));
    signal(&sidecar, Signal::HUP);
    another(&setup, &old, "the renewal of SIGHUP");
    signal(&sidecar, Signal::INT);
    assert_eq!(sidecar.wait(SOON).code(), Some(0));
    assert!(sidecar.stderr().contains("SIGINT"));
}

#[test]
fn a_removed_or_damaged_token_comes_back() {
    let setup = Setup::new();
    let _sidecar = start(&setup, &["--renew", "--ttl", "10s"]);
    let old = wait_until("the first token", SOON, || token(&setup));
    fs::remove_file(setup.output()).unwrap();
    let old = another(&setup, &old, "a token in place of the removed one");
    fs::write(setup.output(), "damaged").unwrap();
    wait_until("a token in place of the damaged one", SOON, || {
        token(&setup).filter(|token| *token != old && token.split('.').count() == 3)
    });
}

/// A mounted Kubernetes secret: `secret -> ..data/secret`, `..data -> ..1`; an update swaps `..data`.
#[test]
fn a_rotated_secret_is_taken_when_its_link_is_swapped() {
    let mut setup = Setup::new();
    let rotated = SECRET.replace('a', "e");
    for (version, secret) in [("..1", SECRET), ("..2", rotated.as_str())] {
        fs::create_dir(setup.path(version)).unwrap();
        fs::write(setup.path(version).join("secret"), secret).unwrap();
    }
    symlink("..1", setup.path("..data")).unwrap();
    symlink("..data/secret", setup.path("secret")).unwrap();
    setup.unset("JWT_SECRET_KEY").set("JWT_SECRET_KEY_FILE", "secret");
    let sidecar = start(&setup, &["--renew", "--ttl", "20s"]);
    let old = wait_until("the first token", SOON, || token(&setup));
    symlink("..2", setup.path("..data_tmp")).unwrap();
    fs::rename(setup.path("..data_tmp"), setup.path("..data")).unwrap();
    let new = another(&setup, &old, "a token of the new secret, without a signal");
    assert!(sidecar.stderr().contains("a token of another key"), "{}", sidecar.output());
    if let Some(verdict) = pyjwt(&new, &rotated, "") {
        verdict.unwrap();
    }
}

#[test]
fn a_key_that_goes_bad_keeps_the_old_token_and_one_that_comes_back_renews_it() {
    let setup = Setup::new();
    let (key, _) = setup.key("key.pem", Algorithm::Es256);
    let (other, signer) = setup.key("other.pem", Algorithm::Es256);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let sidecar = start(&setup, &["--renew", "--key-file", key.to_str().unwrap(), "--health-addr", &address]);
    let old = wait_until("the first token", SOON, || token(&setup));
    for broken in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let before = sidecar.stderr().matches("token not renewed").count();
        fs::write(&key, broken).unwrap();
        signal(&sidecar, Signal::HUP);
        wait_until("a failed renewal", SOON, || {
            (sidecar.stderr().matches("token not renewed").count() > before).then_some(())
        });
        assert_eq!(token(&setup).as_ref(), Some(&old));
        assert_eq!(get(&address, "GET /healthz HTTP/1.1").0, 200, "the token on disk is still good");
    }
    fs::rename(other, &key).unwrap();
    let new = another(&setup, &old, "a token of the new key");
    assert_eq!(parts(&new).0["kid"], signer.public_key().kid().as_str());
}

#[test]
fn a_secret_file_may_appear_later_and_health_says_when() {
    let mut setup = Setup::new();
    setup.unset("JWT_SECRET_KEY").set("JWT_SECRET_FILE", "secret");
    let address = format!("127.0.0.1:{}", free_port());
    let sidecar = start(&setup, &["--renew", "--health-addr", &address]);
    wait_until("a failed attempt", SOON, || sidecar.stderr().contains("token not renewed").then_some(()));
    let (status, body) = get(&address, "GET /healthz HTTP/1.1");
    assert!(status == 503 && body.contains("no readable file"), "{body}");
    fs::write(setup.path("secret"), SECRET).unwrap();
    wait_until("a token", SOON, || token(&setup));
    let (status, body) = get(&address, "GET /healthz HTTP/1.1");
    assert!(status == 200 && !body.contains(&token(&setup).unwrap()), "{body}");
    assert_eq!(get(&address, "HEAD /healthz?probe=1 HTTP/1.0").0, 200);
    assert_eq!(get(&address, "POST /healthz HTTP/1.1").0, 405);
    assert_eq!(get(&address, "GET /token.jwt HTTP/1.1").0, 404);
    assert_eq!(get(&address, "nonsense").0, 400);
    assert_eq!(get(&address, &format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(8000))).0, 431);
    fs::write(setup.output(), "a.b.c").unwrap();
    assert_eq!(get(&address, "GET /healthz HTTP/1.1").0, 503);
}

#[test]
fn a_slow_probe_does_not_block_another() {
    let setup = Setup::new();
    let address = format!("127.0.0.1:{}", free_port());
    let _sidecar = start(&setup, &["--renew", "--health-addr", &address]);
    wait_until("a token", SOON, || token(&setup));
    let silent: Vec<_> = (0..8).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "GET /healthz HTTP/1.1").0, 200);
    drop(silent);
}

#[test]
fn a_health_address_that_is_taken_is_75() {
    let setup = Setup::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    setup.run(&["--renew", "--health-addr", &address]).failed(75, &["--health-addr", "in use"]);
}

/// The sidecar's own loop against a reader that never rests: SIGHUP after SIGHUP.
#[test]
fn a_busy_reader_sees_only_whole_valid_tokens_while_the_sidecar_renews() {
    let setup = Setup::new();
    let mut sidecar = start(&setup, &["--renew"]);
    let mut last = wait_until("the first token", SOON, || token(&setup));
    let (mut renewed, deadline) = (0, Instant::now() + 2 * SOON);
    signal(&sidecar, Signal::HUP);
    while renewed < 200 {
        assert!(Instant::now() < deadline, "{renewed} renewals\n{}", sidecar.output());
        let found = token(&setup).expect("the file is always there");
        if found != last {
            assert_eq!(parts(&found).1["sub"], "billing");
            (last, renewed) = (found, renewed + 1);
            signal(&sidecar, Signal::HUP);
        }
    }
    sidecar.terminate();
    assert_eq!(sidecar.wait(SOON).code(), Some(0));
    assert_eq!(setup.leftovers(), Vec::<String>::new());
}

#[test]
fn once_valid_for_leaves_a_good_token_alone_and_replaces_any_other() {
    let mut setup = Setup::new();
    let once = ["--once-valid-for", "30m"];
    setup.run(&once).succeeded(&setup.output());
    let first = setup.token();
    let outcome = setup.run(&once);
    assert_eq!(outcome.stdout, format!("JWT still valid at {}\n", setup.output().display()));
    assert_eq!(setup.token(), first);
    // Too short a rest, another audience, another key, no token: each is replaced.
    setup.run(&["--ttl", "20m"]);
    setup.run(&once).succeeded(&setup.output());
    setup.run(&["--audience", "https://other.example"]);
    setup.run(&once).succeeded(&setup.output());
    setup.set("JWT_SECRET_KEY", &SECRET.replace('a', "e"));
    setup.run(&once).succeeded(&setup.output());
    fs::write(setup.output(), "").unwrap();
    setup.run(&once).succeeded(&setup.output());
    setup.run(&["--legacy-claims"]);
    setup.run(&once).succeeded(&setup.output());
}

#[test]
fn once_valid_for_waits_and_then_says_why_not() {
    let mut setup = Setup::new();
    setup.unset("JWT_SECRET_KEY").set("JWT_SECRET_FILE", "secret");
    let outcome = setup.run(&["--once-valid-for", "1m", "--wait", "1s"]);
    outcome.failed(65, &["secret", "No such file"]);
    let mut waiting = start(&setup, &["--once-valid-for", "1m"]);
    wait_until("its first failure", SOON, || waiting.stderr().contains("no valid token yet").then_some(()));
    fs::write(setup.path("secret"), SECRET).unwrap();
    assert_eq!(waiting.wait(SOON).code(), Some(0));
    fs::remove_file(setup.path("secret")).unwrap();
    fs::remove_file(setup.output()).unwrap();
    let mut waiting = start(&setup, &["--once-valid-for", "1m"]);
    wait_until("its first failure", SOON, || waiting.stderr().contains("no valid token yet").then_some(()));
    waiting.terminate();
    assert_eq!(waiting.wait(SOON).code(), Some(75));
}

/// Neither core files nor `/proc` of the same user give the secret away.
#[test]
fn memory_is_private() {
    let setup = Setup::new();
    let sidecar = start(&setup, &["--renew"]);
    wait_until("a token", SOON, || token(&setup));
    let line = fs::read(format!("/proc/{}/cmdline", sidecar.id())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(SECRET));
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidecar.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    if rustix::process::geteuid().is_root() {
        // Another user's process must not see it in any case; the same user's neither, which root can only ask by
        // looking at who owns the entry.
        let mut stat = Command::new("stat");
        stat.args(["--format", "%u", &format!("/proc/{}/environ", sidecar.id())]);
        assert_eq!(Outcome::of(&stat.output().unwrap()).stdout, "0\n");
    }
}
