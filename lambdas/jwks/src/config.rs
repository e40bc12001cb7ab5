//! The settings of this Lambda.

use std::sync::Arc;

use lambda_common::{Opener, log_level, one_of, seconds};
use token_http::{WellKnown, is_issuer};
use token_issuance::DocumentSource;
use token_shell::{LogLevel, Problems, Settings, Vars};

/// The longest time, in seconds, that a read key set serves without a look at its store. Key rotation counts on it.
const LONGEST_REFRESH_S: u64 = 60;

/// The longest time, in seconds, that a key set serves while its store fails, in memory and in caches alike.
const LONGEST_STALE_IF_ERROR_S: u64 = 3_600;

/// The longest `max-age`, in seconds; rotation's lead must cover it.
const LONGEST_MAX_AGE_S: u64 = 3_600;

/// `max-age` when nothing is set, in seconds: the ring policy's own default.
const DEFAULT_MAX_AGE_S: u64 = 300;

/// What the environment says. A value that could not be read is `None`; why is among the problems.
pub struct Config {
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    pub(crate) published: Option<Arc<dyn DocumentSource>>,
    pub(crate) well_known: Option<WellKnown>,
    pub(crate) refresh_s: Option<u64>,
    pub(crate) stale_if_error_s: Option<u64>,
}

impl Config {
    /// Reads `JWT_ISSUER_URL`, `JWKS` or `JWKS_SSM_PARAM`, `REFRESH_SECONDS` (at most 60), `JWKS_MAX_AGE_SECONDS` (default
    /// 300), `STALE_IF_ERROR_SECONDS` (at most 3600) and `LOG_LEVEL`. Everything wrong is added to `problems`.
    pub fn read(vars: &dyn Vars, problems: &mut Problems) -> Self {
        let mut opener = Opener::new(vars);
        let mut settings = Settings::new(vars, problems);
        let settings = &mut settings;

        let published = one_of(settings, "JWKS", "JWKS_SSM_PARAM", "ssm", "where the published key set is")
            .and_then(|text| opener.open(settings, "JWKS", &text, &["ssm", "file"]));
        let max_age_s = seconds(settings, "JWKS_MAX_AGE_SECONDS", 0..=LONGEST_MAX_AGE_S, DEFAULT_MAX_AGE_S);
        let stale_if_error_s =
            seconds(settings, "STALE_IF_ERROR_SECONDS", 0..=LONGEST_STALE_IF_ERROR_S, LONGEST_STALE_IF_ERROR_S);
        let issuer = settings.required("JWT_ISSUER_URL", "the issuer's URL, as tokens say it in iss").filter(|url| {
            let good = is_issuer(url);
            if !good {
                let expected = "an https URL (http on loopback only) without query, fragment or trailing slash";
                settings.problem("JWT_ISSUER_URL", expected, url, None);
            }
            good
        });
        let well_known = issuer
            .zip(max_age_s.zip(stale_if_error_s))
            .and_then(|(issuer, (max_age_s, stale_s))| WellKnown::new(&issuer, max_age_s, stale_s).ok());
        Self {
            log_level: log_level(settings),
            published,
            well_known,
            refresh_s: seconds(settings, "REFRESH_SECONDS", 1..=LONGEST_REFRESH_S, LONGEST_REFRESH_S),
            stale_if_error_s,
        }
    }
}
