//! Whatever is logged at whatever level: content and credentials are not in it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use token_aws::ParameterKind;
use token_issuance::DocumentSource as _;
use token_testkit::{Behaviour, Moto, ScriptedAws, Target};

use crate::{IMPATIENT, PATIENT, clients};

const VALUE: &str = "value-that-no-log-may-show";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `task` with every event and span of this thread captured down to TRACE.
fn log_of(task: impl Future<Output = ()>) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::trace!("the capture works");
        runtime.block_on(task);
    });
    String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
}

fn assert_silent(log: &str) {
    assert!(log.contains("the capture works"));
    let base64 = "dmFsdWUtdGhhdC1uby1sb2ctbWF5LXNob3";
    for secret in [VALUE, base64, "testkit-secret-access-key", "testkit-session-token"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[test]
fn reading_logs_neither_content_nor_credentials() {
    let aws = ScriptedAws::start();
    aws.put_secret("ring", VALUE);
    aws.put_parameter("/ring", VALUE);
    let clients = clients(&aws.environment(), IMPATIENT);
    let log = log_of(async {
        let (secret, parameter) = (clients.secret("ring").unwrap(), clients.parameter("/ring").unwrap());
        for fault in [Behaviour::Value, Behaviour::Error("AccessDeniedException"), Behaviour::MalformedJson] {
            aws.always(Target::GetSecretValue, fault.clone());
            aws.always(Target::GetParameter, fault);
            let _ = secret.read().await;
            let _ = parameter.read().await;
        }
    });
    assert_silent(&log);
}

#[test]
fn writing_logs_neither_content_nor_credentials() {
    let Some(moto) = Moto::start() else { return };
    let clients = clients(&moto.environment(), PATIENT);
    let log = log_of(async {
        for _ in 0..2 {
            clients.put_secret("ring", VALUE.as_bytes()).await.unwrap();
            clients.put_parameter("/ring", VALUE, ParameterKind::Secure).await.unwrap();
        }
    });
    assert_silent(&log);
}
