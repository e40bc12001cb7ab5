//! The clients: built once, sharing one HTTP client, one credential and one set of bounds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::config::{AwsConfigError, Config, Endpoint};
use crate::issuers::IssuerFunction;
use crate::names::{NameError, alias_name, function_name, parameter_name, secret_id};
use crate::parameter::ParameterDocument;
use crate::published::SsmPublishedStore;
use crate::secret::SecretDocument;
use crate::versions::SecretsManagerVersions;

/// How long one call may take. The defaults fit a request path: a caller waits for at most [`operation`](Self::operation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Until the connection stands (TCP and TLS). Default 1 s.
    pub connect: Duration,
    /// One attempt, reading of the answer included. Default 2 s.
    pub attempt: Duration,
    /// The whole call with its retries and pauses. Default 5 s.
    pub operation: Duration,
    /// Attempts in all, with exponential back-off and jitter between them. Default 3.
    pub attempts: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            attempt: Duration::from_secs(2),
            operation: Duration::from_secs(5),
            attempts: 3,
        }
    }
}

/// KMS, Secrets Manager and SSM, ready to call, and Lambda for who asks. Cheap to clone; build one per process, so that connections are reused.
#[derive(Clone)]
pub struct AwsClients {
    inner: Arc<Inner>,
}

struct Inner {
    region: String,
    /// What a client of Lambda is made of: few processes need one, and none pays for it at its start.
    lambda: (SdkConfig, Option<String>),
    kms: aws_sdk_kms::Client,
    secrets_manager: aws_sdk_secretsmanager::Client,
    ssm: aws_sdk_ssm::Client,
}

impl AwsClients {
    /// Clients as the environment describes them, with the default [`Bounds`].
    ///
    /// Read are `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` (all set by Lambda),
    /// `AWS_ENDPOINT_URL` with its forms `…_KMS`, `…_LAMBDA`, `…_SECRETS_MANAGER` and `…_SSM`, `AWS_CA_BUNDLE`, `AWS_USE_FIPS_ENDPOINT` and
    /// `AWS_USE_DUALSTACK_ENDPOINT`. Nothing else decides: no profile files, no instance metadata, no proxy variables.
    /// No call is made.
    ///
    /// # Errors
    /// [`AwsConfigError`] with every variable that is missing or unusable.
    pub fn from_vars(vars: impl Fn(&str) -> Option<String>) -> Result<Self, AwsConfigError> {
        Self::with_bounds(vars, Bounds::default())
    }

    /// As [`from_vars`](Self::from_vars), with other bounds.
    ///
    /// # Errors
    /// [`AwsConfigError`] with every variable that is missing or unusable.
    pub fn with_bounds(vars: impl Fn(&str) -> Option<String>, bounds: Bounds) -> Result<Self, AwsConfigError> {
        let config = Config::from_vars(vars)?;
        let sdk = sdk_config(&config, bounds)?;

        let mut kms = aws_sdk_kms::config::Builder::from(&sdk);
        kms.set_endpoint_url(config.kms.map(|endpoint| endpoint.url));
        let mut secrets_manager = aws_sdk_secretsmanager::config::Builder::from(&sdk);
        secrets_manager.set_endpoint_url(config.secrets_manager.map(|endpoint| endpoint.url));
        let mut ssm = aws_sdk_ssm::config::Builder::from(&sdk);
        ssm.set_endpoint_url(config.ssm.map(|endpoint| endpoint.url));

        let inner = Inner {
            region: config.region,
            lambda: (sdk, config.lambda.map(|endpoint| endpoint.url)),
            kms: aws_sdk_kms::Client::from_conf(kms.build()),
            secrets_manager: aws_sdk_secretsmanager::Client::from_conf(secrets_manager.build()),
            ssm: aws_sdk_ssm::Client::from_conf(ssm.build()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The secret with this ARN or name, as a document. No call is made.
    ///
    /// # Errors
    /// [`NameError`] when no secret of this region can have that name.
    pub fn secret(&self, id: &str) -> Result<SecretDocument, NameError> {
        Ok(SecretDocument::new(self.clone(), secret_id(id, self.region())?))
    }

    /// The parameter with this name or ARN, as a document. No call is made.
    ///
    /// # Errors
    /// [`NameError`] when no parameter of this region can have that name, or when it pins a version.
    pub fn parameter(&self, name: &str) -> Result<ParameterDocument, NameError> {
        Ok(ParameterDocument::new(self.clone(), parameter_name(name, self.region())?))
    }

    /// The versions of the secret with this ARN or name, for a rotation. No call is made.
    ///
    /// # Errors
    /// [`NameError`] when no secret of this region can have that name.
    pub fn secret_versions(&self, id: &str) -> Result<SecretsManagerVersions, NameError> {
        Ok(SecretsManagerVersions::new(self.clone(), secret_id(id, self.region())?))
    }

    /// The parameter with this name or ARN, as the store of the published key set. No call is made.
    ///
    /// # Errors
    /// [`NameError`] when no parameter of this region can have that name, or when it pins a version.
    pub fn published_store(&self, name: &str) -> Result<SsmPublishedStore, NameError> {
        Ok(SsmPublishedStore::new(self.clone(), parameter_name(name, self.region())?))
    }

    /// The Lambda function that issues tokens, behind this alias, for a withdrawal. No call is made.
    ///
    /// # Errors
    /// [`NameError`] when no function or alias can have that name.
    pub fn issuer_function(&self, function: &str, alias: &str) -> Result<IssuerFunction, NameError> {
        let (sdk, endpoint) = &self.inner.lambda;
        let mut config = aws_sdk_lambda::config::Builder::from(sdk).timeout_config(IssuerFunction::timeouts(sdk));
        config.set_endpoint_url(endpoint.clone());
        let client = aws_sdk_lambda::Client::from_conf(config.build());
        Ok(IssuerFunction::new(client, function_name(function)?, alias_name(alias)?))
    }

    /// The region that is called.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    pub(crate) fn kms(&self) -> &aws_sdk_kms::Client {
        &self.inner.kms
    }

    pub(crate) fn secrets_manager(&self) -> &aws_sdk_secretsmanager::Client {
        &self.inner.secrets_manager
    }

    pub(crate) fn ssm(&self) -> &aws_sdk_ssm::Client {
        &self.inner.ssm
    }
}

impl fmt::Debug for AwsClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsClients").field("region", &self.inner.region).finish_non_exhaustive()
    }
}

/// What the clients share. Built by hand and not by `aws_config`'s loader, which would look for profile files.
fn sdk_config(config: &Config, bounds: Bounds) -> Result<SdkConfig, AwsConfigError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(bounds.connect)
        .operation_attempt_timeout(bounds.attempt)
        .operation_timeout(bounds.operation)
        .build();
    // Standard mode: exponential back-off with full jitter, throttling included, under a retry budget per process.
    let retries = RetryConfig::standard()
        .with_max_attempts(bounds.attempts)
        .with_initial_backoff(Duration::from_millis(200))
        .with_max_backoff(Duration::from_secs(1));
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(config.credentials.clone()))
        .http_client(http_client(config)?)
        .timeout_config(timeouts)
        .retry_config(retries)
        .sleep_impl(TokioSleep::new())
        .time_source(SystemTimeSource::new())
        // Documents are at most 64 KB and every attempt is bounded as a whole.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .use_fips(config.use_fips)
        .use_dual_stack(config.use_dual_stack)
        .build();
    Ok(sdk)
}

/// One HTTP client for all services, hence one connection pool.
fn http_client(config: &Config) -> Result<SharedHttpClient, AwsConfigError> {
    let in_clear = |endpoint: &Option<Endpoint>| endpoint.as_ref().is_some_and(|endpoint| endpoint.in_clear);
    let all = [&config.kms, &config.lambda, &config.secrets_manager, &config.ssm];
    if all.into_iter().all(in_clear) {
        // An emulator on loopback: no roots are parsed for nothing.
        return Ok(HttpClientBuilder::new().build_http());
    }
    let context = TlsContext::builder()
        .with_trust_store(config.roots.trust_store())
        .build()
        .map_err(|error| AwsConfigError::new(format!("AWS_CA_BUNDLE: expected usable TLS roots, found {error}")))?;
    Ok(HttpClientBuilder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}
