//! A process on this kit, from its start to its exit code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use token_testkit::{Process, Reply, wait_until};

use crate::kit::{PATIENCE, get};

pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) addr: String,
}

/// The example beside this test: TARGET/PROFILE/examples/, built with the tests.
fn start_with(vars: &[(&str, &str)]) -> Process {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/minimal_service");
    assert!(program.is_file(), "expected {}; hint: cargo build -p token-server --examples", program.display());
    let mut command = Command::new(program);
    command.envs(vars.iter().copied());
    Process::start("minimal_service", command)
}

impl Service {
    pub(crate) fn start(vars: &[(&str, &str)]) -> Self {
        let mut process = start_with(vars);
        let addr = wait_until("the ready line", PATIENCE, || {
            assert!(process.ended().is_none(), "{}", process.output());
            let line = process.stdout();
            Some(line.split_once("http://")?.1.split_once('"')?.0.to_owned())
        });
        Self { process, addr }
    }

    pub(crate) fn open(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(&self.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client
    }

    pub(crate) fn send(&self, request: &str) -> Reply {
        Reply::parse(&rest(self.open(request)))
    }

    fn is_in_flight(&self, shown: &str) {
        wait_until("the request to be in flight", PATIENCE, || {
            self.send(&get("/metrics")).text().contains(shown).then_some(())
        });
    }
}

fn rest(mut client: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn sigterm_lets_a_request_end_and_exits_0() {
    let mut service = Service::start(&[("SLOW_MS", "1500")]);
    let slow = service.open("GET /slow HTTP/1.1\r\nHost: kit\r\n\r\n");
    // The scrape itself is the second one.
    service.is_in_flight("http_server_requests_in_flight 2.0");
    service.process.terminate();
    let reply = Reply::parse(&rest(slow));
    assert_eq!((reply.status, reply.text().as_str()), (200, "done\n"));
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0), "{}", service.process.output());
    assert!(TcpStream::connect(&service.addr).is_err());
}

#[test]
fn during_the_grace_requests_are_served_and_readiness_says_ending() {
    let mut service = Service::start(&[("GRACE_MS", "2000")]);
    assert_eq!(service.send(&get("/readyz")).json()["status"], "ready");
    service.process.terminate();
    let ending = wait_until("readiness to turn", PATIENCE, || {
        let reply = service.send(&get("/readyz"));
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(ending.json()["status"], "ending");
    assert_eq!(service.send(&get("/")).status, 200);
    assert_eq!(service.send(&get("/healthz")).status, 200);
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
}

#[test]
fn a_stream_gets_its_farewell_and_ends() {
    let mut service = Service::start(&[]);
    let mut stream = service.open("GET /events HTTP/1.1\r\nHost: kit\r\n\r\n");
    let mut first = [0; 1024];
    assert!(stream.read(&mut first).unwrap() > 0);
    service.process.terminate();
    let all = String::from_utf8(rest(stream)).unwrap();
    assert!(all.contains("event: shutdown\ndata: {}\n\n"), "{all}");
    assert!(all.ends_with("0\r\n\r\n"), "the stream ends in good order: {all:?}");
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
}

#[test]
fn idle_and_half_open_connections_do_not_hold_the_end_up() {
    let mut service = Service::start(&[("DRAIN_MS", "60000")]);
    let _silent = TcpStream::connect(&service.addr).unwrap();
    let _half = service.open("GET / HT");
    let mut kept = service.open("GET / HTTP/1.1\r\nHost: kit\r\n\r\n");
    assert!(kept.read(&mut [0; 1024]).unwrap() > 0);
    let start = Instant::now();
    service.process.terminate();
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn the_drain_has_a_deadline_and_a_second_signal_hurries() {
    let mut service = Service::start(&[("SLOW_MS", "60000"), ("DRAIN_MS", "300")]);
    let _slow = service.open("GET /slow HTTP/1.1\r\nHost: kit\r\n\r\n");
    service.is_in_flight("http_server_requests_in_flight 2.0");
    service.process.terminate();
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));

    let mut service = Service::start(&[("GRACE_MS", "60000")]);
    service.process.terminate();
    wait_until("readiness to turn", PATIENCE, || (service.send(&get("/readyz")).status == 503).then_some(()));
    service.process.terminate();
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
}

#[test]
fn a_part_that_fails_ends_the_process_and_not_with_success() {
    let mut service = Service::start(&[]);
    service.send("POST /fail HTTP/1.1\r\nHost: kit\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(service.process.wait(PATIENCE).code(), Some(1));
    let stderr = service.process.stderr();
    assert!(
        stderr.contains("worker: expected to run until the process is told to end, found: told to fail"),
        "{stderr}"
    );
}

#[test]
fn a_port_that_is_taken_is_said_and_is_no_success() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let mut process = start_with(&[("LISTEN", &addr)]);
    assert_eq!(process.wait(PATIENCE).code(), Some(1));
    let stderr = wait_until("the reason", PATIENCE, || Some(process.stderr()).filter(|text| !text.is_empty()));
    assert!(stderr.starts_with(&format!("expected to listen on {addr}, found: ")), "{stderr}");
}

#[test]
fn all_configuration_problems_are_plain_lines_on_stderr() {
    let mut process = start_with(&[
        ("LISTEN", "eighty"),
        ("LOG_LEVEL", "loud"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:password@collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]);
    assert_eq!(process.wait(PATIENCE).code(), Some(1));
    let stderr =
        wait_until("four problems", PATIENCE, || Some(process.stderr()).filter(|text| text.lines().count() == 4));
    for (line, start) in
        stderr.lines().zip(["1. LISTEN: expected ", "2. LOG_LEVEL: ", "3. OTEL_EXPORTER_OTLP_ENDPOINT: ", "4. OTEL_"])
    {
        assert!(line.starts_with(start) && line.contains(", found "), "{line}");
    }
    assert!(!stderr.contains("password") && process.stdout().is_empty(), "{}", process.output());
}
