//! Traces and log lines as operators get them.

use std::time::{Duration, Instant};

use token_testkit::{OtlpCollector, wait_until};

use crate::kit::{PATIENCE, get};
use crate::process::Service;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(path: &str) -> String {
    get(path).replace("Host:", &format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\nHost:"))
}

#[test]
fn spans_reach_a_collector_at_the_latest_at_the_end() {
    let Some(collector) = OtlpCollector::start() else { return };
    let endpoint = collector.endpoint();
    let mut service = Service::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "kit-under-test"),
        ("SLOW_MS", "1"),
    ]);
    assert_eq!(service.send(&traced("/slow")).status, 200);
    service.process.terminate();
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0), "{}", service.process.output());
    let received = wait_until("the span", PATIENCE, || {
        Some(collector.received()).filter(|text| text.contains("/slow") && text.contains("kit-under-test"))
    });
    assert!(received.contains(TRACE), "the span belongs to the caller's trace:\n{received}");
    assert!(service.process.stderr().contains(&format!("{{\"trace_id\":\"{TRACE}\",")), "{}", service.process.output());
}

#[test]
fn a_collector_that_is_down_or_hangs_delays_nothing() {
    // A port that nobody listens on, and one where nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9", &hanging] {
        let mut service = Service::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        let start = Instant::now();
        for _ in 0..200 {
            assert_eq!(service.send(&get("/")).status, 200);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        if endpoint.ends_with(":9") {
            let lost = || service.process.stderr().matches("the collector takes no traces").count();
            wait_until("the loss to be said", PATIENCE, || (lost() > 0).then_some(()));
            assert_eq!(lost(), 1);
        }
        let start = Instant::now();
        service.process.terminate();
        assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(8), "the flush is bounded: {:?}", start.elapsed());
    }
}

#[test]
fn a_log_line_carries_the_callers_trace_or_a_fresh_one() {
    let service = Service::start(&[("SLOW_MS", "1")]);
    service.send(&traced("/slow"));
    service.send(&get("/slow"));
    let lines: Vec<serde_json::Value> = wait_until("two decisions", PATIENCE, || {
        let lines = service.process.stderr();
        let lines: Vec<_> = lines.lines().filter(|line| line.contains("slept")).map(str::to_owned).collect();
        (lines.len() == 2).then(|| lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
    });
    assert_eq!(lines[0]["trace_id"], TRACE);
    let fresh = lines[1]["trace_id"].as_str().unwrap();
    assert!(fresh.len() == 32 && fresh != TRACE, "{fresh}");
    assert_eq!((lines[0]["message"].as_str(), lines[0]["target"].as_str()), (Some("slept"), Some("decision")));
}
