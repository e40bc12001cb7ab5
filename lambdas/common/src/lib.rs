//! What every Lambda of this project does at start, and nothing of what it is for: read the settings they share, open the
//! documents they name, and fail the init with every problem listed.
//!
//! A misconfigured function must never answer a request: an init that fails is visible in the console, in the log and to
//! the deployment, an error answered per request is not.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lambda_runtime_api_client::{Client, body::Body};
use serde_json::json;
use token_aws::{AwsClients, KmsBudget};
use token_issuance::{DocumentSource, Location};
use token_shell::{LogLevel, Problems, Settings, Vars};
use tracing::error;

/// How long the report of a failed init may take before the process ends anyway.
const REPORT_DEADLINE: Duration = Duration::from_secs(2);

/// Opens documents; the clients of AWS are built at most once, and only when a document lives there.
pub struct Opener<'a> {
    vars: &'a dyn Vars,
    clients: Option<Result<AwsClients, ()>>,
}

impl<'a> Opener<'a> {
    /// An opener that takes region, credentials and endpoints from `vars`.
    #[must_use]
    pub fn new(vars: &'a dyn Vars) -> Self {
        Self { vars, clients: None }
    }

    /// The document that the setting `name` locates, or nothing after noting why. `schemes` are the ones this setting may
    /// have: a private key, for example, must not stand in the environment.
    pub fn open(
        &mut self,
        settings: &mut Settings<'_>,
        name: &str,
        text: &str,
        schemes: &[&str],
    ) -> Option<Arc<dyn DocumentSource>> {
        let expected = || schemes.iter().map(|scheme| format!("{scheme}:…")).collect::<Vec<_>>().join(" or ");
        let location = text.parse::<Location>().ok().filter(|location| schemes.contains(&location.scheme()));
        let Some(location) = location else {
            // The value itself may be a key that somebody pasted: only its scheme is shown.
            let scheme = text.split(':').next().filter(|scheme| scheme.len() < 20 && *scheme != text);
            settings.problem(name, &expected(), scheme.map_or("a text without scheme", |scheme| scheme), None);
            return None;
        };
        if let Some(source) = location.open_local() {
            return Some(source);
        }
        let clients = self.clients(settings)?;
        let opened: Result<Arc<dyn DocumentSource>, _> = match &location {
            // A ring holds private keys: a plain String parameter may not.
            Location::Ssm(parameter) if name == "KEY_RING" => {
                clients.parameter(parameter).map(|source| Arc::new(source.secure_only()) as _)
            }
            Location::Ssm(parameter) => clients.parameter(parameter).map(|source| Arc::new(source) as _),
            Location::SecretsManager(secret) => clients.secret(secret).map(|source| Arc::new(source) as _),
            Location::File(_) | Location::Inline(_) => return location.open_local(),
        };
        opened.map_err(|problem| settings.note(format_args!("{name}: {problem}"))).ok()
    }

    /// The clients of AWS, if a document that was opened lives there.
    #[must_use]
    pub fn opened_clients(&self) -> Option<AwsClients> {
        self.clients.as_ref().and_then(|clients| clients.as_ref().ok().cloned())
    }

    /// The clients of AWS, for what is no document; or nothing after noting why.
    pub fn clients(&mut self, settings: &mut Settings<'_>) -> Option<AwsClients> {
        let vars = self.vars;
        self.clients
            .get_or_insert_with(|| {
                AwsClients::from_vars(|name| vars.get(name)).map_err(|problems| settings.note(problems))
            })
            .clone()
            .ok()
    }
}

/// The one location that a document has: `long` (any of `schemes`) or its older name `short`, whose value is the bare
/// `scheme`'s name. Both set is a problem: one of them would silently lose.
pub fn one_of(settings: &mut Settings<'_>, long: &str, short: &str, scheme: &str, expected: &str) -> Option<String> {
    match (settings.optional(long), settings.optional(short)) {
        (Some(_), Some(_)) => {
            settings.note(format_args!("{long}, {short}: expected one of them, found both; hint: unset {short}"));
            None
        }
        (Some(location), None) => Some(location),
        (None, Some(name)) => Some(format!("{scheme}:{name}")),
        (None, None) => {
            settings.note(format_args!("{long}: expected {expected}, found nothing; hint: set {long} or {short}"));
            None
        }
    }
}

/// `LOG_LEVEL`, `info` when unset.
pub fn log_level(settings: &mut Settings<'_>) -> LogLevel {
    settings.parsed("LOG_LEVEL", "error, warn, info, debug or trace", LogLevel::default()).unwrap_or_default()
}

/// A whole number of seconds within bounds.
pub fn seconds(
    settings: &mut Settings<'_>,
    name: &str,
    bounds: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Option<u64> {
    let expected = format!("a whole number of seconds from {} to {}", bounds.start(), bounds.end());
    let value = settings.parsed(name, &expected, default)?;
    if !bounds.contains(&value) {
        settings.problem(name, &expected, &value.to_string(), None);
        return None;
    }
    Some(value)
}

/// `KMS_SIGNS_PER_SECOND`, what this process may ask of KMS, 20 when unset: times the number of processes it should stay
/// below the account's quota.
pub fn kms_budget(settings: &mut Settings<'_>) -> Option<Arc<KmsBudget>> {
    let expected = "a whole number from 1 to 1000";
    let rate = settings.parsed("KMS_SIGNS_PER_SECOND", expected, 20_u32)?;
    if !(1..=1_000).contains(&rate) {
        settings.problem("KMS_SIGNS_PER_SECOND", expected, &rate.to_string(), None);
        return None;
    }
    Some(Arc::new(KmsBudget::new(rate)))
}

/// Reports a failed init: one log line per problem, the Runtime API's init error with all of them, and the exit code for
/// `main` to return. Lambda shows the text to whoever deploys.
pub async fn fail_init(vars: &dyn Vars, problems: &Problems) -> ExitCode {
    let text = problems.to_string();
    for problem in text.lines() {
        error!(problem, "init failed");
    }
    if let Some(api) = vars.get("AWS_LAMBDA_RUNTIME_API") {
        match tokio::time::timeout(REPORT_DEADLINE, report(&api, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => error!(%failure, "the init error could not be reported"),
            Err(_) => error!("the runtime API did not take the init error in time"),
        }
    }
    ExitCode::FAILURE
}

/// The exit code of a `main` whose runtime has ended, with the reason in the log when it was none of Lambda's own.
#[must_use]
pub fn ended(served: Result<(), impl std::fmt::Display>) -> ExitCode {
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

async fn report(api: &str, text: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const ERROR_TYPE: &str = "Runtime.InvalidConfiguration";
    let body = json!({ "errorType": ERROR_TYPE, "errorMessage": text, "stackTrace": [] });
    let request = http::Request::post("/2018-06-01/runtime/init/error")
        .header("content-type", "application/json")
        .header("lambda-runtime-function-error-type", ERROR_TYPE)
        .body(Body::from(body.to_string()))?;
    let client = Client::builder().with_endpoint(format!("http://{api}").parse()?).build()?;
    client.call(request).await?;
    Ok(())
}
