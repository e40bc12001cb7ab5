//! The settings of this Lambda.

use std::sync::Arc;

use lambda_common::{Opener, kms_budget, log_level, one_of, seconds};
use token_aws::KmsKeys;
use token_claims::SsoPath;
use token_http::{is_issuer, is_organization_id};
use token_issuance::{DocumentSource, SignerSource};
use token_jose::Htu;
use token_shell::{LogLevel, Problems, Settings, Vars};

/// The longest time, in seconds, that keys and mapping are used without a look at their store: contracts say five minutes,
/// and the inequalities of key rotation count on it.
const LONGEST_REFRESH_S: u64 = 300;

/// What the environment says. A value that could not be read is `None`; why is among the problems.
pub struct Config {
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    pub(crate) issuer: Option<String>,
    /// Where clients call us, as a proof's `htu` names it.
    pub(crate) token_endpoint: Option<Htu>,
    pub(crate) ring: Option<Arc<dyn DocumentSource>>,
    pub(crate) published: Option<Arc<dyn DocumentSource>>,
    pub(crate) mapping: Option<Arc<dyn DocumentSource>>,
    pub(crate) audience: Option<String>,
    pub(crate) organization_id: Option<String>,
    pub(crate) sso_path: SsoPath,
    pub(crate) api_id: Option<String>,
    pub(crate) stage: Option<String>,
    pub(crate) refresh_s: Option<u64>,
    pub(crate) signers: Option<Arc<dyn SignerSource>>,
}

impl Config {
    /// Reads `JWT_ISSUER_URL`, `TOKEN_ENDPOINT_URL`, `KEY_RING` or `SIGNING_KEY_SECRET_ARN`, `JWKS` or `JWKS_SSM_PARAM`,
    /// `MAPPING`, `AUDIENCE`, `ORGANIZATION_ID`, `SSO_PATH_ENFORCED`, `API_ID`, `STAGE`, `REFRESH_SECONDS`,
    /// `KMS_SIGNS_PER_SECOND` and `LOG_LEVEL`, and opens the documents (without reading them). Everything wrong is added to
    /// `problems`.
    pub fn read(vars: &dyn Vars, problems: &mut Problems) -> Self {
        let mut opener = Opener::new(vars);
        let mut settings = Settings::new(vars, problems);
        let settings = &mut settings;

        let issuer = settings.required("JWT_ISSUER_URL", "the issuer's URL, as tokens say it in iss");
        let issuer = issuer.filter(|url| {
            let good = is_issuer(url);
            if !good {
                let expected = "an https URL (http on loopback only) without query, fragment or trailing slash";
                settings.problem("JWT_ISSUER_URL", expected, url, None);
            }
            good
        });
        let (setting, endpoint) = match settings.optional("TOKEN_ENDPOINT_URL") {
            Some(url) => ("TOKEN_ENDPOINT_URL", Some(url)),
            None => ("JWT_ISSUER_URL", issuer.as_ref().map(|issuer| format!("{issuer}/token"))),
        };
        let token_endpoint = endpoint.and_then(|url| {
            let endpoint = Htu::parse(&url).ok().filter(|_| is_issuer(&url));
            if endpoint.is_none() {
                let expected = "an https URL (http on loopback only) that RFC 3986 knows, without query, fragment or trailing slash";
                settings.problem(setting, expected, &url, None);
            }
            endpoint
        });
        let ring = one_of(settings, "KEY_RING", "SIGNING_KEY_SECRET_ARN", "secretsmanager", "where the key ring is")
            .and_then(|text| opener.open(settings, "KEY_RING", &text, &["secretsmanager", "ssm", "file"]));
        let published = one_of(settings, "JWKS", "JWKS_SSM_PARAM", "ssm", "where the published key set is")
            .and_then(|text| opener.open(settings, "JWKS", &text, &["ssm", "file"]));
        let mapping = settings
            .required("MAPPING", "where the mapping document is")
            .and_then(|text| opener.open(settings, "MAPPING", &text, &["ssm", "file", "inline"]));
        let organization_id = settings.optional("ORGANIZATION_ID").filter(|id| {
            let good = is_organization_id(id);
            if !good {
                settings.problem("ORGANIZATION_ID", "an organization id such as o-exampleorg1", id, None);
            }
            good
        });
        let sso_path = match settings.parsed("SSO_PATH_ENFORCED", "true or false", false) {
            Some(true) => SsoPath::Enforced,
            Some(false) | None => SsoPath::Unproven,
        };
        // Keys in KMS can only be where a document of ours is in AWS.
        let signers = opener.opened_clients().zip(kms_budget(settings));
        let signers = signers.map(|(clients, budget)| Arc::new(KmsKeys::new(clients, budget)) as Arc<dyn SignerSource>);
        Self {
            signers,
            log_level: log_level(settings),
            issuer,
            token_endpoint,
            ring,
            published,
            mapping,
            audience: settings.optional("AUDIENCE"),
            organization_id,
            sso_path,
            api_id: settings.optional("API_ID"),
            stage: settings.optional("STAGE"),
            refresh_s: seconds(settings, "REFRESH_SECONDS", 1..=LONGEST_REFRESH_S, LONGEST_REFRESH_S),
        }
    }
}
