//! Readiness and metrics.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use token_server::{CheckState, LATENCY_BUCKETS, Limits, Metrics, Readiness, Shutdown, health_router};
use token_testkit::{at, skipped, tool};
use tokio::time::Instant;

use crate::kit::{get, serve};

const BOUND: Duration = Duration::from_secs(2);

async fn hangs() -> Result<(), String> {
    std::future::pending().await
}

async fn fine() -> Result<(), String> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_hanging_soft_check_is_not_waited_for() {
    let readiness = Readiness::new(Shutdown::default()).soft("issuer", BOUND, hangs).hard("store", BOUND, fine);
    let start = Instant::now();
    let report = readiness.report().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(report.ready);
    assert_eq!(report.checks, [("issuer", false, CheckState::Pending), ("store", true, CheckState::Ok)]);
    tokio::time::sleep(BOUND * 2).await;
    let report = readiness.report().await;
    assert!(report.ready);
    assert_eq!(report.checks[0], ("issuer", false, CheckState::Failing));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_hard_check_is_waited_for_up_to_its_bound() {
    let readiness = Readiness::new(Shutdown::default()).hard("store", BOUND, hangs);
    let start = Instant::now();
    let report = readiness.report().await;
    assert!(start.elapsed() <= BOUND + Duration::from_millis(10), "{:?}", start.elapsed());
    assert_eq!((report.ready, report.checks[0].2), (false, CheckState::Failing));
}

#[tokio::test(start_paused = true)]
async fn a_check_runs_once_at_a_time_and_its_answer_stands_for_a_moment() {
    let (runs, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let (counts, says) = (Arc::clone(&runs), Arc::clone(&good));
    let readiness = Readiness::new(Shutdown::default()).hard("store", BOUND, move || {
        counts.fetch_add(1, Ordering::Relaxed);
        let good = says.load(Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if good { Ok(()) } else { Err("down".to_owned()) }
        }
    });
    let all = futures_util::future::join_all((0..100).map(|_| readiness.report())).await;
    assert!(all.iter().all(|report| report.ready));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    good.store(false, Ordering::Relaxed);
    assert!(readiness.report().await.ready, "the answer stands");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!readiness.report().await.ready);
    good.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(readiness.report().await.ready, "it recovers");
}

#[tokio::test]
async fn a_check_that_panics_fails_and_the_routes_say_so_without_its_words() {
    async fn broken() -> Result<(), String> {
        panic!("a password")
    }
    let metrics = Metrics::new(at("2026-11-22T00:00:00Z"));
    let readiness = Readiness::new(Shutdown::default())
        .hard("store", BOUND, broken)
        .soft("issuer", BOUND, || async { Err("cannot reach 10.0.0.1".to_owned()) });
    let kit = serve(Limits::default(), health_router(readiness, metrics)).await;
    let reply = kit.send(&get("/readyz")).await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (503, Some("not_ready")));
    assert_eq!(reply.json()["checks"]["store"], serde_json::json!({"status": "failing", "required": true}));
    assert!(!reply.text().contains("password") && !reply.text().contains("10.0.0.1"), "{}", reply.text());
    let reply = kit.send(&get("/healthz")).await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some("ok")));
}

#[tokio::test]
async fn promtool_has_nothing_against_our_metrics() {
    let Some(promtool) = tool("promtool") else { return skipped("promtool") };
    let kit = serve(Limits::default(), Router::new().route("/", on_get(|| async { "hello" }))).await;
    let issued =
        kit.metrics.counters("token_service_tokens_issued_total", "Tokens issued.", ["token_type", "algorithm"]);
    issued.inc(["child", "RS256"]);
    kit.metrics.counter("token_service_crypto_rate_limited_total", "Requests\nrefused").inc_by(3);
    // Gauges of an existing system, with the names of counters.
    kit.metrics.gauge("jwt_parent_tokens_active_total", "Live parent tokens").set(2.0);
    kit.metrics.gauges("kit_state", "State by name", ["name"]).set(["open"], 1.0);
    let latency = ["method"];
    kit.metrics
        .histograms("token_service_grpc_latency_seconds", "Latency by method", latency, &LATENCY_BUCKETS)
        .observe(["IssueTokenPair"], 0.02);
    kit.metrics.histograms("kit_seconds", "Without labels", [], &LATENCY_BUCKETS).observe([], 0.1);
    kit.send(&get("/")).await;
    let text = kit.metrics.text();
    for line in [
        "# TYPE token_service_tokens_issued_total counter",
        "token_service_tokens_issued_total{token_type=\"child\",algorithm=\"RS256\"} 1",
        "token_service_crypto_rate_limited_total 3",
        "# TYPE jwt_parent_tokens_active_total untyped",
        "jwt_parent_tokens_active_total 2.0",
        "kit_state{name=\"open\"} 1.0",
        "token_service_grpc_latency_seconds_bucket{le=\"0.025\",method=\"IssueTokenPair\"} 1",
        "kit_seconds_bucket{le=\"0.1\"} 1",
        "kit_seconds_count 1",
        "process_start_time_seconds 1795305600.0",
    ] {
        assert!(text.lines().any(|found| found == line), "expected {line:?} in\n{text}");
    }
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
