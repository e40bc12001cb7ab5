//! A whole service on this kit, and what the tests of the kit start as a process of its own.
//!
//! `LISTEN=127.0.0.1:8080 cargo run -p token-server --example minimal_service`, then `curl -i 127.0.0.1:8080/slow`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::{get, post};
use token_server::{
    Bound, Limits, Listen, Metrics, Parts, Readiness, Server, Shutdown, Streaming, Telemetry, TelemetryConfig,
    health_router, refuse_to_start,
};
use token_shell::{Clock as _, Problems, ProcessVars, Settings, SystemClock};

struct Config {
    listen: SocketAddr,
    grace: Duration,
    drain: Duration,
    slow: Duration,
    telemetry: TelemetryConfig,
}

fn config() -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut settings = Settings::new(&ProcessVars, &mut problems);
    let listen = settings.parsed("LISTEN", "an address and port", SocketAddr::from(([127, 0, 0, 1], 0)));
    let grace = settings.parsed("GRACE_MS", "milliseconds", 0);
    let drain = settings.parsed("DRAIN_MS", "milliseconds", 10_000);
    let slow = settings.parsed("SLOW_MS", "milliseconds", 500);
    let telemetry = TelemetryConfig::from_settings(&mut settings, "minimal-service");
    let milliseconds = |value: Option<u64>| value.map(Duration::from_millis);
    let config = (|| {
        Some(Config {
            listen: listen?,
            grace: milliseconds(grace)?,
            drain: milliseconds(drain)?,
            slow: milliseconds(slow)?,
            telemetry: telemetry?,
        })
    })();
    problems.into_result(config)
}

fn router(slow: Duration, parts_fail: tokio::sync::mpsc::Sender<()>) -> Router {
    Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route(
            "/slow",
            get(move || async move {
                tokio::time::sleep(slow).await;
                tracing::info!(target: "decision", "slept");
                "done\n"
            }),
        )
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/fail", post(move || async move { parts_fail.send(()).await.map_err(|_| http::StatusCode::GONE) }))
        .route("/events", get(events))
}

async fn events() -> Response {
    let stream = futures_util::stream::unfold(0_u32, |sent| async move {
        if sent > 0 {
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        Some((Ok::<_, std::convert::Infallible>(format!("id: {sent}\ndata: {{}}\n\n")), sent + 1))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/event-stream"));
    response.extensions_mut().insert(Streaming::with_farewell("event: shutdown\ndata: {}\n\n"));
    response
}

async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let telemetry = Telemetry::start(&config.telemetry);
    let shutdown = Shutdown::new(config.grace, config.drain);
    shutdown.on_signals()?;
    let metrics = Metrics::new(SystemClock.now());
    let server = Server::new(Limits::default(), shutdown.clone(), &metrics);
    let (fail, mut told_to_fail) = tokio::sync::mpsc::channel(1);
    let router = router(config.slow, fail).merge(health_router(Readiness::new(shutdown.clone()), metrics));
    let bound = Bound::bind(&Listen::plain(config.listen)).await?;
    writeln!(std::io::stdout(), "{{\"http\":\"http://{}\"}}", bound.local_addr())?;
    let mut parts = Parts::new(shutdown.clone());
    parts.spawn("http", async move { bound.serve(router, &server).await });
    parts.spawn("worker", async move {
        tokio::select! {
            () = shutdown.closing() => Ok(()),
            Some(()) = told_to_fail.recv() => Err("told to fail"),
        }
    });
    let outcome = parts.run().await;
    telemetry.finish(Duration::from_secs(3)).await;
    Ok(outcome?)
}

fn main() -> ExitCode {
    let config = match config() {
        Ok(config) => config,
        Err(problems) => return refuse_to_start(&problems),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse_to_start(&error),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse_to_start(&error),
    }
}
