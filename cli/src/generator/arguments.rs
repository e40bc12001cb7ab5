//! The command line. Values stay as they were typed; `config` judges them together with the environment.

use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::file::quoted;

/// Writes a signed JSON Web Token into a file: once (init container), or again and again (sidecar).
#[derive(Debug, Default, Parser)]
#[command(
    name = "jwt-generator",
    version,
    max_term_width = 100,
    after_help = "Environment: JWT_SECRET_KEY (alias JWT_SECRET), SERVICE_NAME, OUTPUT_PATH, each also with _FILE: the path of a \
                  file that holds the value; JWT_ISSUER. Options go before the environment.\n\
                  Exit codes: 0 done, 64 usage, 65 bad key material, 73 cannot write, 75 try again."
)]
pub(crate) struct Arguments {
    /// The service that the token is for: `sub` [env: SERVICE_NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) service_name: Option<OsString>,
    /// The file to write; replaced as a whole [env: OUTPUT_PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) output_path: Option<OsString>,
    /// HS256, RS256, PS256, ES256, ES384 or EdDSA [default: HS256, or what the key of --key-file is]
    #[arg(long, value_name = "ALG")]
    pub(crate) algorithm: Option<OsString>,
    /// Private key in PEM: PKCS#8, PKCS#1 or SEC 1; its thumbprint is the header's `kid`
    #[arg(long, value_name = "PATH")]
    pub(crate) key_file: Option<OsString>,
    /// Lifetime, such as 90s, 15m, 1h, 1d [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<OsString>,
    /// `iss` [env: JWT_ISSUER] [default: jwt-generator]
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<OsString>,
    /// `aud` [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: Option<OsString>,
    /// One more claim, repeatable. VALUE is JSON, or else a text; registered names are refused
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) claim: Vec<OsString>,
    /// Exactly the claims `sub` and `role: service`; such a token never expires
    #[arg(long)]
    pub(crate) legacy_claims: bool,
    /// Permissions of the file [default: 0600]
    #[arg(long, value_name = "OCTAL")]
    pub(crate) mode: Option<OsString>,
    /// Owner of the file, as numbers; needs CAP_CHOWN
    #[arg(long, value_name = "UID[:GID]")]
    pub(crate) owner: Option<OsString>,
    /// Take an HMAC secret that is short or published (for tests)
    #[arg(long)]
    pub(crate) allow_weak_secret: bool,
    /// Stay, and renew at 70 % of the lifetime: SIGHUP renews now, SIGTERM ends
    #[arg(long)]
    pub(crate) renew: bool,
    /// With --renew: answer GET /healthz here, 200 while the token on disk is valid, else 503
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) health_addr: Option<OsString>,
    /// Leave a token alone that is valid for this long; else issue, and end only once one is on disk
    #[arg(long, value_name = "TIME")]
    pub(crate) once_valid_for: Option<OsString>,
    /// With --once-valid-for: how long to try [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<OsString>,
}

/// What a command line asks for.
pub(crate) enum Asked {
    /// A token.
    Token(Box<Arguments>),
    /// `--help` or `--version`: this text.
    Text(String),
}

/// Reads a command line, program name first.
///
/// # Errors
/// What is wrong. Values are not repeated: one may be a secret that was put in the wrong place.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let error = match Arguments::try_parse_from(line) {
        Ok(arguments) => return Ok(Asked::Token(Box::new(arguments))),
        Err(error) => error,
    };
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => name.as_str(),
        _ => "",
    };
    // What begins with two dashes is a name, up to its value or the `=` before it.
    let name = argument.split([' ', '=']).next().filter(|name| name.starts_with("--")).map(quoted);
    let name = name.unwrap_or_else(|| "something else".to_owned());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Asked::Text(error.render().to_string())),
        ErrorKind::ArgumentConflict => Err(format!("command line: expected {name} at most once, found it again")),
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues => {
            Err(format!("command line: expected a value after {name}, found none"))
        }
        ErrorKind::TooManyValues => Err(format!("command line: expected no value after {name}, found one")),
        _ => Err(format!("command line: expected only options that --help lists, found {name}")),
    }
}
