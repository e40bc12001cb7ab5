//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::principals::DEFAULT_ORGANIZATION;

/// The whole issuer on a laptop: API Gateway with real SigV4, the Lambda runtime and the real Lambda binaries.
///
/// A development tool. It listens on the loopback interface only, and its keys and secrets protect nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "local-gateway")]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 9000)]
    pub port: u16,

    /// The organization whose principals may call POST /token; the built-in principals are in it
    #[arg(long, value_name = "ID", default_value = DEFAULT_ORGANIZATION)]
    pub organization_id: String,

    /// Use the binaries jwt-issuer and jwks in this directory and build nothing
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    pub bin_dir: Option<PathBuf>,

    /// Principals instead of the built-in three: a JSON array of {name, arn, caller, account_id, organization_id,
    /// access_key_id, secret_access_key, session_token?, role_path?}
    #[arg(long, value_name = "FILE")]
    pub principals: Option<PathBuf>,

    /// A mapping instead of the built-in one (TOML)
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,

    /// What the ring signs with
    #[arg(long, value_name = "ALG", default_value = "RS256", ignore_case = true)]
    pub algorithm: SigningAlgorithm,

    /// The cargo profile the Lambda binaries are built with
    #[arg(long, default_value = "dev")]
    pub profile: BuildProfile,

    /// Save each event there, for replay
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,

    /// Keep ring, key set and mapping in Secrets Manager and SSM at this endpoint (an emulator) instead of in files
    #[arg(long, value_name = "URL")]
    pub aws_endpoint: Option<String>,

    /// Print exactly one line of JSON on standard output once ready
    #[arg(long)]
    pub json: bool,
}

/// `--algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256
    #[value(name = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256
    #[value(name = "PS256")]
    Ps256,
    /// ECDSA with P-256
    #[value(name = "ES256")]
    Es256,
    /// ECDSA with P-384
    #[value(name = "ES384")]
    Es384,
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
}

/// `--profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BuildProfile {
    /// Quick to build
    Dev,
    /// As shipped, but for the size options
    Release,
}

impl BuildProfile {
    /// Cargo's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Options, SigningAlgorithm};

    #[test]
    fn the_defaults_are_the_contracts() {
        Options::command().debug_assert();
        let options = Options::parse_from(["local-gateway"]);
        assert_eq!((options.port, options.organization_id.as_str()), (9000, "o-exampleorg1"));
        assert_eq!((options.algorithm, options.profile.name(), options.json), (SigningAlgorithm::Rs256, "dev", false));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for arguments in [["--stage", "v1"], ["--algorithm", "HS256"], ["--profile", "lambda"], ["--port", "65536"]] {
            assert!(
                Options::try_parse_from([["local-gateway"].as_slice(), &arguments].concat()).is_err(),
                "{arguments:?}"
            );
        }
        for name in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
            assert!(Options::try_parse_from(["local-gateway", "--algorithm", name]).is_ok(), "{name}");
        }
    }
}
