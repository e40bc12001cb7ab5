//! The issuer's Lambda function behind its alias: the warm processes that a withdrawal replaces.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput as Configuration;
use aws_sdk_lambda::operation::publish_version::PublishVersionOutput;
use aws_sdk_lambda::types::{AliasRoutingConfiguration, LastUpdateStatus, State};
use aws_smithy_async::future::timeout::Timeout;
use aws_smithy_async::rt::sleep::{AsyncSleep as _, TokioSleep};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use token_issuance::SourceError;
use token_issuance::rotation::{Recycled, WarmIssuers};

use crate::fault::{Fault, quietly};

/// What follows the function's own description after a run.
const MARK: &str = " (issuers replaced, run ";

/// Lambda's longest description.
const MAX_DESCRIPTION: usize = 256;

/// Between two looks at an update that Lambda still works on.
const PAUSE: Duration = Duration::from_millis(500);

/// The Lambda function that issues tokens, behind the alias that its API invokes.
///
/// Lambda cannot end a warm process. A new version has none: the description is changed, since Lambda publishes nothing
/// that has not changed; a version of it is published; the alias moves there. Needed are `lambda:GetFunctionConfiguration`
/// (of function and alias), `lambda:UpdateFunctionConfiguration`, `lambda:PublishVersion` and `lambda:UpdateAlias`.
///
/// What is published is the function's unpublished state (`$LATEST`), which somebody may be changing, or have changed
/// without the right to move the alias. So it is compared with what the alias serves: other code, role, environment or
/// anything else that decides what runs, and nothing is published; and Lambda itself refuses when it changes meanwhile.
#[derive(Clone)]
pub struct IssuerFunction {
    client: Client,
    function: String,
    alias: String,
}

impl IssuerFunction {
    pub(crate) fn new(client: Client, function: String, alias: String) -> Self {
        Self { client, function, alias }
    }

    /// Changes of a function take longer than reading a document.
    pub(crate) fn timeouts(sdk: &SdkConfig) -> TimeoutConfig {
        let shared = sdk.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let longer = |bound: Option<Duration>| bound.unwrap_or_default().saturating_mul(3);
        shared
            .to_builder()
            .operation_attempt_timeout(longer(shared.operation_attempt_timeout()))
            .operation_timeout(longer(shared.operation_timeout()))
            .build()
    }

    fn name(&self) -> String {
        format!("lambda:{}:{}", self.function, self.alias)
    }

    fn failed<E: ProvideErrorMetadata>(&self, call: &str, error: &SdkError<E, HttpResponse>) -> SourceError {
        Fault::of(error).into_source_error(format!("{} ({call})", self.name()))
    }

    fn malformed(&self, detail: String) -> SourceError {
        SourceError::Malformed { source_name: self.name(), detail }
    }

    async fn replace(&self, run: &str) -> Result<Recycled, SourceError> {
        let serving = self.configuration(Some(&self.alias)).await?;
        let from = serving.version.clone().filter(|version| is_number(version)).ok_or_else(|| {
            self.malformed("expected an alias of a published version, found another; hint: publish one".to_owned())
        })?;
        let latest = self.settled().await?;
        self.check_same(&serving, &latest)?;
        let request = self
            .client
            .update_function_configuration()
            .function_name(&self.function)
            .description(described(latest.description.as_deref().unwrap_or_default(), run))
            .set_revision_id(latest.revision_id);
        quietly(request.send()).await.map_err(|error| self.failed("UpdateFunctionConfiguration", &error))?;
        let changed = self.settled().await?;
        self.check_same(&serving, &changed)?;
        let published = self.publish(&changed).await?;
        let to = published.version.filter(|version| is_number(version) && *version != from).ok_or_else(|| {
            self.malformed(
                "expected a new version, found none; hint: another change was faster, run it again".to_owned(),
            )
        })?;
        // Weights to another version would keep that one's processes.
        let alone = AliasRoutingConfiguration::builder().set_additional_version_weights(Some(HashMap::new())).build();
        let request = self
            .client
            .update_alias()
            .function_name(&self.function)
            .name(&self.alias)
            .function_version(&to)
            .routing_config(alone);
        quietly(request.send()).await.map_err(|error| self.failed("UpdateAlias", &error))?;
        Ok(Recycled { from, to })
    }

    async fn configuration(&self, qualifier: Option<&str>) -> Result<Configuration, SourceError> {
        let request = self.client.get_function_configuration().function_name(&self.function);
        let request = request.set_qualifier(qualifier.map(str::to_owned));
        quietly(request.send()).await.map_err(|error| self.failed("GetFunctionConfiguration", &error))
    }

    /// The unpublished state, once no update is at work on it.
    async fn settled(&self) -> Result<Configuration, SourceError> {
        loop {
            let latest = self.configuration(None).await?;
            match (&latest.last_update_status, &latest.state) {
                (Some(LastUpdateStatus::InProgress), _) | (_, Some(State::Pending)) => {
                    TokioSleep::new().sleep(PAUSE).await;
                }
                (Some(LastUpdateStatus::Failed), _) | (_, Some(State::Failed)) => {
                    return Err(self.malformed(
                        "expected a function whose last update succeeded, found one whose update failed; hint: deploy it"
                            .to_owned(),
                    ));
                }
                _ => return Ok(latest),
            }
        }
    }

    /// A version of exactly `state`, ready to be invoked. To publish again what is unchanged gives the same version.
    async fn publish(&self, state: &Configuration) -> Result<PublishVersionOutput, SourceError> {
        loop {
            let request = self
                .client
                .publish_version()
                .function_name(&self.function)
                .set_code_sha256(state.code_sha256.clone())
                .set_revision_id(state.revision_id.clone());
            let published = quietly(request.send()).await.map_err(|error| self.failed("PublishVersion", &error))?;
            if published.code_sha256 != state.code_sha256 {
                return Err(
                    self.malformed("expected the code that was checked to be published, found other".to_owned())
                );
            }
            match published.state {
                Some(State::Pending) => TokioSleep::new().sleep(PAUSE).await,
                Some(State::Failed) => {
                    return Err(self.malformed("expected a usable new version, found a failed one".to_owned()));
                }
                _ => return Ok(published),
            }
        }
    }

    fn check_same(&self, serving: &Configuration, latest: &Configuration) -> Result<(), SourceError> {
        let unread = |one: &Configuration| one.environment.as_ref().is_some_and(|found| found.error.is_some());
        let differs = differences(serving, latest);
        if differs.is_empty() && !unread(latest) {
            return Ok(());
        }
        let found =
            if differs.is_empty() { "an environment that cannot be read".to_owned() } else { differs.join(", ") };
        Err(self.malformed(format!(
            "expected the unpublished state to be what the alias serves, found another {found}; hint: a deployment is \
             under way, or somebody changed it: see who, and deploy, which replaces warm processes too"
        )))
    }
}

/// What decides what runs and differs, by its name: never by its value.
fn differences(serving: &Configuration, latest: &Configuration) -> Vec<&'static str> {
    let layers = |one: &Configuration| {
        let all = one.layers.iter().flatten();
        all.map(|layer| layer.arn.clone()).collect::<Vec<_>>()
    };
    let files = |one: &Configuration| one.file_system_configs.clone().unwrap_or_default();
    let variables = |one: &Configuration| one.environment.as_ref().and_then(|found| found.variables.clone());
    let network = |one: &Configuration| {
        let found = one.vpc_config.as_ref();
        let texts = |texts: Option<&Vec<String>>| texts.cloned().unwrap_or_default();
        let groups = texts(found.and_then(|found| found.security_group_ids.as_ref()));
        (texts(found.and_then(|found| found.subnet_ids.as_ref())), groups)
    };
    [
        ("code", serving.code_sha256 == latest.code_sha256 && serving.package_type == latest.package_type),
        ("role", serving.role == latest.role),
        ("environment", variables(serving).unwrap_or_default() == variables(latest).unwrap_or_default()),
        ("handler", serving.handler == latest.handler && serving.runtime == latest.runtime),
        ("image configuration", serving.image_config_response == latest.image_config_response),
        ("layers", layers(serving) == layers(latest)),
        ("file systems", files(serving) == files(latest)),
        ("network", network(serving) == network(latest)),
        ("time limit", serving.timeout == latest.timeout),
        ("memory", serving.memory_size == latest.memory_size),
        ("architecture", serving.architectures == latest.architectures),
        ("log", serving.logging_config == latest.logging_config),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect()
}

fn is_number(version: &str) -> bool {
    !version.is_empty() && version.len() <= 20 && version.bytes().all(|byte| byte.is_ascii_digit())
}

/// The function's own description, and the run: another text at every run.
fn described(description: &str, run: &str) -> String {
    let own = description.split(MARK).next().unwrap_or_default();
    let run: String = run.chars().take(64).collect();
    let room = MAX_DESCRIPTION.saturating_sub(MARK.len() + run.len() + 1);
    // Lambda counts characters; bytes are never fewer.
    let own: String =
        own.char_indices().take_while(|(at, one)| at + one.len_utf8() <= room).map(|(_, one)| one).collect();
    format!("{own}{MARK}{run})")
}

#[async_trait]
impl WarmIssuers for IssuerFunction {
    async fn recycle(&self, run: &str, within: Duration) -> Result<Recycled, SourceError> {
        let bounded = Timeout::new(Box::pin(self.replace(run)), TokioSleep::new().sleep(within));
        bounded.await.unwrap_or_else(|_| {
            let detail = format!("not done within {} s", within.as_secs());
            Err(SourceError::Unavailable { source_name: self.name(), detail })
        })
    }
}

impl fmt::Debug for IssuerFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IssuerFunction").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::types::EnvironmentResponse;

    #[test]
    fn the_own_description_stays_and_each_run_differs() {
        assert_eq!(described("Issues tokens", "r1"), "Issues tokens (issuers replaced, run r1)");
        assert_eq!(described(&described("Issues tokens", "r1"), "r2"), "Issues tokens (issuers replaced, run r2)");
        let long = described(&"ü".repeat(300), &"r".repeat(80));
        assert!(long.len() <= MAX_DESCRIPTION && long.ends_with(&format!("{})", "r".repeat(64))), "{long}");
    }

    #[test]
    fn what_decides_what_runs_is_compared_and_the_description_is_not() {
        let base = || Configuration::builder().code_sha256("a").role("r").timeout(10).description("d");
        let serving = base().revision_id("1").version("7").build();
        assert_eq!(differences(&serving, &base().description("e").revision_id("2").build()), Vec::<&str>::new());
        let environment = EnvironmentResponse::builder().variables("JWT_ISSUER_URL", "https://evil.example").build();
        let other = base().code_sha256("b").role("s").environment(environment).build();
        assert_eq!(differences(&serving, &other), ["code", "role", "environment"]);
    }
}
