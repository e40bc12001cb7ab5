//! The other side of the issuer: `POST /token` of an API behind AWS_IAM, signed with the credential that this machine has.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_async::future::timeout::Timeout;
use aws_smithy_async::rt::sleep::{AsyncSleep as _, TokioSleep};
use aws_smithy_http_client::tls::{Provider, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpClientBuilder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use zeroize::Zeroizing;

use crate::config::{AwsConfigError, endpoint};
use crate::fault::quietly;
use crate::roots::TrustRoots;

/// How API Gateway is named in a signature.
const SERVICE: &str = "execute-api";

/// The most bytes of an answer that are read: a token is at most 16 KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// How a token endpoint is called.
#[derive(Clone, Debug)]
pub struct SignedTokenOptions {
    /// The region to sign for. `None`: the one in the host's name (`….execute-api.REGION.amazonaws.com`), else the one that
    /// the environment, the profile or the instance says.
    pub region: Option<String>,
    /// The profile of the shared files; `None` is `AWS_PROFILE`, else `default`.
    pub profile: Option<String>,
    /// Until the connection stands. Default 2 s.
    pub connect: Duration,
    /// One attempt, reading of the answer included. Default 15 s: a cold start is in it.
    pub attempt: Duration,
    /// Getting a credential. Default 20 s: a web identity may need retries.
    pub credentials: Duration,
}

impl Default for SignedTokenOptions {
    fn default() -> Self {
        Self {
            region: None,
            profile: None,
            connect: Duration::from_secs(2),
            attempt: Duration::from_secs(15),
            credentials: Duration::from_secs(20),
        }
    }
}

/// Why no answer came. Texts never hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedTokenError {
    /// The URL or a variable cannot be used.
    #[error(transparent)]
    Config(#[from] AwsConfigError),
    /// No region is known to sign for.
    #[error(
        "expected a region to sign for, found none in the URL, the environment and the profile; hint: give --region or set AWS_REGION"
    )]
    NoRegion,
    /// There is no credential, or what should give one refuses: waiting does not help.
    #[error(
        "expected an AWS credential, found none ({detail}); hint: environment, shared profile, web identity, container and instance were tried in this order"
    )]
    NoCredential {
        /// What each source of the chain said.
        detail: String,
    },
    /// What should give a credential does not answer.
    #[error("the source of AWS credentials does not answer ({detail})")]
    CredentialOutage {
        /// What happened.
        detail: String,
    },
    /// The endpoint does not answer.
    #[error("{endpoint} does not answer ({detail})")]
    Unavailable {
        /// The URL.
        endpoint: String,
        /// What happened.
        detail: String,
    },
}

impl SignedTokenError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::CredentialOutage { .. } | Self::Unavailable { .. })
    }
}

/// What the endpoint answered. `Debug` hides the body, which may hold a token.
pub struct SignedReply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds, where the answer has it in that form.
    pub retry_after_s: Option<u64>,
    /// The body; wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SignedReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedReply").field("status", &self.status).field("bytes", &self.body.len()).finish()
    }
}

/// Calls one token endpoint, each time with the credential of that moment: the chain is asked anew, so that a rotated
/// credential or service-account token is seen.
pub struct SignedTokenClient {
    url: String,
    host: String,
    region: String,
    connector: Connector,
    credentials: DefaultCredentialsChain,
    attempt: Duration,
    wait_for_credentials: Duration,
}

impl SignedTokenClient {
    /// A client of the endpoint `url`. `vars` answers for `AWS_CA_BUNDLE`; the chain itself reads the process's own
    /// environment and files, as every AWS tool does. Finding the region may ask the instance.
    ///
    /// # Errors
    /// [`SignedTokenError::Config`] for a URL that is not `https:` (or `http:` on loopback) or has a query;
    /// [`SignedTokenError::NoRegion`].
    pub async fn open(
        url: &str,
        options: &SignedTokenOptions,
        vars: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SignedTokenError> {
        let endpoint = endpoint("URL", url.to_owned()).map_err(AwsConfigError::new)?;
        let uri: http::Uri = endpoint.url.parse().map_err(|_| AwsConfigError::new("URL: expected a URL".to_owned()))?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let host = match (uri.scheme_str(), uri.port_u16()) {
            // As the HTTP client sends it: without the port that the scheme implies.
            (Some("https"), Some(443)) | (Some("http"), Some(80)) => uri.host().unwrap_or_default().to_owned(),
            _ => authority,
        };
        let roots = roots(&vars)?;
        let in_host = region_of(uri.host().unwrap_or_default());
        let wanted = options.region.clone().or(in_host);
        // STS is called where this machine is, the API where it is: a private network may reach no other STS.
        let here = region_variable(&vars).or_else(|| wanted.clone());
        let Chain { credentials, region } = Chain::open(options.profile.as_deref(), here.as_deref(), &roots).await?;
        let region = wanted.or(region).ok_or(SignedTokenError::NoRegion)?;
        let settings = HttpConnectorSettings::builder().connect_timeout(options.connect).build();
        let connector = Connector::builder().connector_settings(settings).sleep_impl(TokioSleep::new());
        let connector = if endpoint.in_clear {
            connector.build_http()
        } else {
            connector.tls_provider(tls_provider()).tls_context(tls_context(&roots)?).build()
        };
        Ok(Self {
            url: endpoint.url,
            host,
            region,
            connector,
            credentials,
            attempt: options.attempt,
            wait_for_credentials: options.credentials,
        })
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends `json` once, signed at `now`. Every answer of the endpoint is a reply, whatever its status; nothing is tried
    /// again here.
    ///
    /// # Errors
    /// [`SignedTokenError`] when there is no credential or no answer.
    pub async fn post(&self, json: &[u8], now: SystemTime) -> Result<SignedReply, SignedTokenError> {
        let request = self.signed(json, now).await?;
        let exchange = async {
            let answer = self.connector.call(request).await.map_err(|error| {
                self.unavailable(if error.is_timeout() { "timed out".to_owned() } else { texts(&error) })
            })?;
            let (status, retry_after) = (answer.status().as_u16(), answer.headers().get("retry-after"));
            let retry_after_s = retry_after.and_then(|value| value.trim().parse().ok());
            let mut stream = ByteStream::new(answer.into_body());
            let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|_| self.unavailable("the answer was cut off".to_owned()))?;
                if body.len() + chunk.len() > MAX_ANSWER {
                    return Err(
                        self.unavailable(format!("expected an answer of at most {MAX_ANSWER} bytes, found more"))
                    );
                }
                body.extend_from_slice(&chunk);
            }
            Ok(SignedReply { status, retry_after_s, body })
        };
        let bounded = Timeout::new(Box::pin(quietly(exchange)), TokioSleep::new().sleep(self.attempt));
        bounded.await.unwrap_or_else(|_| Err(self.unavailable("timed out".to_owned())))
    }

    async fn signed(&self, json: &[u8], now: SystemTime) -> Result<HttpRequest, SignedTokenError> {
        let identity = provided(&self.credentials, self.wait_for_credentials).await?.into();
        let refused = |error: &(dyn std::error::Error + 'static)| AwsConfigError::new(format!("URL: {}", texts(error)));
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| refused(&error))?
            .into();
        let headers = [("host", self.host.as_str()), ("content-type", "application/json")];
        let signable = SignableRequest::new("POST", &self.url, headers.into_iter(), SignableBody::Bytes(json))
            .map_err(|error| refused(&error))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| refused(&error))?.into_parts();
        let mut request = http::Request::post(&self.url)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(SdkBody::from(json))
            .map_err(|error| refused(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| refused(&error).into())
    }

    fn unavailable(&self, detail: String) -> SignedTokenError {
        SignedTokenError::Unavailable { endpoint: self.url.clone(), detail }
    }
}

impl fmt::Debug for SignedTokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedTokenClient")
            .field("url", &self.url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The credential chain of this machine, and the region that it names.
struct Chain {
    credentials: DefaultCredentialsChain,
    region: Option<String>,
}

impl Chain {
    /// `known` is the region that is known already; else the environment, the profile and the instance are asked.
    async fn open(profile: Option<&str>, known: Option<&str>, roots: &TrustRoots) -> Result<Self, SignedTokenError> {
        let client =
            HttpClientBuilder::new().tls_provider(tls_provider()).tls_context(tls_context(roots)?).build_https();
        let config = ProviderConfig::default().with_http_client(client).with_sleep_impl(TokioSleep::new());
        let mut regions = DefaultRegionChain::builder();
        if let Some(profile) = profile {
            regions = regions.profile_name(profile);
        }
        let region = match known {
            Some(known) => Some(Region::new(known.to_owned())),
            None => quietly(regions.build().region()).await,
        };
        let mut chain = DefaultCredentialsChain::builder().configure(config);
        if let Some(profile) = profile {
            chain = chain.profile_name(profile);
        }
        if let Some(region) = &region {
            chain = chain.region(region.clone());
        }
        let credentials = quietly(chain.build()).await;
        Ok(Self { credentials, region: region.map(|region| region.to_string()) })
    }
}

async fn provided(chain: &DefaultCredentialsChain, within: Duration) -> Result<Credentials, SignedTokenError> {
    let bounded = Timeout::new(Box::pin(quietly(chain.provide_credentials())), TokioSleep::new().sleep(within));
    match bounded.await {
        Ok(answer) => answer.map_err(|error| no_credential(&error)),
        Err(_) => Err(SignedTokenError::CredentialOutage { detail: "timed out".to_owned() }),
    }
}

/// The variables that [`AwsClients`](crate::AwsClients) reads, with a credential and a region of this machine's chain in
/// them: for a tool in an operator's hands. The credential is the one of this moment and is not renewed.
///
/// # Errors
/// [`SignedTokenError`] when there is no credential or no region.
pub async fn chain_variables(
    profile: Option<&str>,
    vars: impl Fn(&str) -> Option<String>,
) -> Result<impl Fn(&str) -> Option<String>, SignedTokenError> {
    let roots = roots(&vars)?;
    let chain = Chain::open(profile, region_variable(&vars).as_deref(), &roots).await?;
    let region = chain.region.ok_or(SignedTokenError::NoRegion)?;
    let credentials = provided(&chain.credentials, SignedTokenOptions::default().credentials).await?;
    Ok(move |name: &str| match name {
        "AWS_REGION" => Some(region.clone()),
        "AWS_ACCESS_KEY_ID" => Some(credentials.access_key_id().to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(credentials.secret_access_key().to_owned()),
        "AWS_SESSION_TOKEN" => credentials.session_token().map(str::to_owned),
        _ => vars(name),
    })
}

fn region_variable(vars: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let set = |name: &str| vars(name).filter(|region| !region.is_empty());
    set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"))
}

fn roots(vars: &impl Fn(&str) -> Option<String>) -> Result<TrustRoots, AwsConfigError> {
    match vars("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        None => Ok(TrustRoots::Embedded),
        Some(path) => TrustRoots::from_bundle(&path).map_err(AwsConfigError::new),
    }
}

fn tls_context(roots: &TrustRoots) -> Result<TlsContext, AwsConfigError> {
    let context = TlsContext::builder().with_trust_store(roots.trust_store()).build();
    context.map_err(|error| AwsConfigError::new(format!("AWS_CA_BUNDLE: expected usable TLS roots, found {error}")))
}

fn tls_provider() -> Provider {
    Provider::Rustls(CryptoMode::AwsLc)
}

/// The region in a host of API Gateway: `ID.execute-api.REGION.amazonaws.com`, its forms for VPC endpoints and partitions.
fn region_of(host: &str) -> Option<String> {
    let labels: Vec<&str> = host.split('.').collect();
    let own = labels.last().is_some_and(|last| ["com", "cn"].contains(last)) && labels.contains(&"amazonaws");
    let after = labels.iter().position(|label| *label == SERVICE)?.checked_add(1)?;
    labels.get(after).filter(|_| own).map(|region| (*region).to_owned())
}

/// Whether there is none to be had, or who has it does not answer.
fn no_credential(error: &CredentialsError) -> SignedTokenError {
    let detail = texts(error);
    match error {
        CredentialsError::ProviderTimedOut(_) => SignedTokenError::CredentialOutage { detail },
        // STS and the metadata services: their answer is in the chain of causes.
        CredentialsError::ProviderError(_) if !detail.contains("AccessDenied") => {
            SignedTokenError::CredentialOutage { detail }
        }
        _ => SignedTokenError::NoCredential { detail },
    }
}

/// An error with its causes, escaped and cut: who answers chooses some of it.
fn texts(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    let mut shown: String = text.chars().take(400).flat_map(char::escape_debug).collect();
    if text.chars().nth(400).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_in_the_host_of_an_api() {
        for (host, region) in [
            ("a1b2c3.execute-api.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("a1b2c3.execute-api.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("a1b2c3-vpce-0a1b.execute-api.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("vpce-0a1b.execute-api.eu-west-1.vpce.amazonaws.com", Some("eu-west-1")),
            ("auth.example.com", None),
            ("execute-api.us-east-1.example.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }

    #[tokio::test]
    async fn only_https_or_loopback_is_called() {
        for bad in ["http://auth.example.com/token", "https://u:p@h/token", "https://h/token?x=1", "h/token"] {
            let error = SignedTokenClient::open(bad, &SignedTokenOptions::default(), |_| None).await.unwrap_err();
            assert!(matches!(error, SignedTokenError::Config(_)), "{bad}: {error:?}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
    }
}
