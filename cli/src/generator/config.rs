//! The configuration: command line and environment, read once, all problems reported together.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::str::FromStr as _;

use serde_json::{Map, Value};
use token_claims::is_reserved;
use token_jose::Algorithm;
use token_jose::strict_json::{self, Limits};
use token_shell::Problems;
use zeroize::Zeroizing;

use super::arguments::Arguments;
use super::key::KeySource;
use super::source::Source;
use super::token::Statement;
use crate::file::{FileMode, FileOptions, Owner, TokenFile, quoted};

const DEFAULT_ISSUER: &str = "jwt-generator";
const DEFAULT_TTL_S: u32 = 3600;
const DEFAULT_WAIT_S: u32 = 60;
const MOST_S: u32 = 366 * 24 * 3600;

/// Everything this process is told.
#[derive(Clone)]
pub(crate) struct Config {
    /// What signs.
    pub(crate) key: KeySource,
    /// What is said.
    pub(crate) statement: Statement,
    /// Where it goes.
    pub(crate) file: TokenFile,
    /// How often.
    pub(crate) mode: Mode,
}

/// How often a token is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Once, now.
    Once,
    /// Unless the one on disk is valid for so long; for at most `wait_s`.
    OnceValidFor {
        /// Seconds of validity that are needed.
        valid_for_s: u32,
        /// Seconds to try for.
        wait_s: u32,
    },
    /// Until SIGTERM.
    Renew {
        /// Where health is told.
        health: Option<SocketAddr>,
    },
}

/// Reads a variable's bytes; an empty one counts as unset.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

struct Reader<'a> {
    environment: Environment<'a>,
    problems: Problems,
}

impl Config {
    /// Reads everything.
    ///
    /// # Errors
    /// Every problem: secret, service name, output path, then the rest.
    pub(crate) fn read(arguments: &Arguments, environment: Environment<'_>) -> Result<Self, Problems> {
        let mut reader = Reader { environment, problems: Problems::default() };
        let key = reader.key(arguments);
        let subject = reader.name("SERVICE_NAME", arguments.service_name.as_ref(), "the name of a service");
        if subject.is_none() && reader.given("SERVICE_NAME", arguments.service_name.as_ref()).is_none() {
            reader.missing("SERVICE_NAME", "the name of the service that the token is for", "--service-name");
        }
        let file = reader.file(arguments);
        let statement = reader.statement(arguments, subject);
        let mode = reader.mode(arguments, statement.as_ref());
        let whole = key.zip(statement).zip(file.zip(mode));
        let whole = whole.map(|((key, statement), (file, mode))| Self { key, statement, file, mode });
        reader.problems.into_result(whole)
    }
}

impl Reader<'_> {
    fn refuse(&mut self, name: &str, expected: &str, found: &str) {
        self.problems.add(format_args!("{name}: expected {expected}, found {}", quoted(found)));
    }

    fn missing(&mut self, name: &str, expected: &str, option: &str) {
        self.problems.add(format_args!(
            "{name}: expected {expected}, found nothing; hint: set {name}, or {name}_FILE to the path of a file that holds \
             it, or give {option}"
        ));
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// The option, or the variable, or the content of the file that `NAME_FILE` names. Notes what cannot be read.
    fn setting(&mut self, name: &str, option: Option<&OsString>) -> Option<OsString> {
        if let Some(value) = option {
            return Some(value.clone());
        }
        let file = format!("{name}_FILE");
        match (self.variable(name), self.variable(&file)) {
            (value, None) => value,
            (Some(_), Some(_)) => {
                self.problems.add(format_args!("{name}: expected {name} or {file}, found both; hint: unset one"));
                None
            }
            (None, Some(path)) => match Source::File(PathBuf::from(path)).read() {
                Ok(content) => Some(OsString::from_vec(content.to_vec())).filter(|content| !content.is_empty()),
                Err(error) => {
                    self.problems.add(format_args!("{file}: {error}"));
                    None
                }
            },
        }
    }

    /// Whether a setting was given at all, readable or not.
    fn given(&self, name: &str, option: Option<&OsString>) -> Option<()> {
        let set = option.is_some() || [name, &format!("{name}_FILE")].iter().any(|name| self.variable(name).is_some());
        set.then_some(())
    }

    /// A value for `iss`, `sub` or `aud`: a text without control characters, not blank at its ends.
    fn name(&mut self, name: &str, option: Option<&OsString>, expected: &str) -> Option<String> {
        let value = self.setting(name, option)?;
        let text = value.to_string_lossy();
        let fits = value.to_str().is_some_and(|text| {
            (1..=255).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control)
        });
        if !fits {
            let expected = format!("{expected}: 1 to 255 bytes of text without control characters or outer spaces");
            self.refuse(name, &expected, &text);
            return None;
        }
        Some(text.into_owned())
    }

    fn key(&mut self, arguments: &Arguments) -> Option<KeySource> {
        let named = arguments.algorithm.as_ref().map(|name| name.to_string_lossy());
        let algorithm = match named.as_deref() {
            None | Some("HS256") => None,
            Some(name) => match Algorithm::from_str(name) {
                Ok(algorithm) => Some(algorithm),
                Err(_) => {
                    self.refuse("--algorithm", "HS256, RS256, PS256, ES256, ES384 or EdDSA", name);
                    return None;
                }
            },
        };
        match (named.as_deref(), &arguments.key_file) {
            (Some("HS256"), Some(_)) => {
                self.problems.add(
                    "--key-file: expected no private key beside HS256, found one; hint: its secret is JWT_SECRET_KEY, or \
                     leave --algorithm to the key",
                );
                None
            }
            (_, Some(path)) if path.is_empty() => {
                self.refuse("--key-file", "the path of a private key in PEM", "");
                None
            }
            (_, Some(path)) => Some(KeySource::Private { source: Source::File(PathBuf::from(path)), algorithm }),
            (Some("HS256") | None, None) => {
                let source = self.secret()?;
                Some(KeySource::Secret { source, allow_weak: arguments.allow_weak_secret })
            }
            (Some(name), None) => {
                self.problems.add(format_args!(
                    "--key-file: expected the path of a private key in PEM for {name}, found nothing; hint: give --key-file"
                ));
                None
            }
        }
    }

    /// `JWT_SECRET_KEY`, its alias, or a file. Never an option: a command line is for everybody to read.
    fn secret(&mut self) -> Option<Source> {
        let value = |name| self.variable(name).map(|value| Zeroizing::new(value.into_vec()));
        let same = |one: &[u8], other: &[u8]| token_jose::same_secret(one, other);
        let values = (value("JWT_SECRET_KEY"), value("JWT_SECRET"));
        let files = (self.variable("JWT_SECRET_KEY_FILE"), self.variable("JWT_SECRET_FILE"));
        let both = |one: &str, other: &str| {
            format!(
                "{one}: expected the same as {other}, or one of them, found both and different; hint: unset {other}"
            )
        };
        match (values, files) {
            ((Some(one), Some(other)), _) if !same(&one, &other) => {
                self.problems.add(both("JWT_SECRET_KEY", "JWT_SECRET"));
                None
            }
            (_, (Some(one), Some(other))) if one != other => {
                self.problems.add(both("JWT_SECRET_KEY_FILE", "JWT_SECRET_FILE"));
                None
            }
            ((None, None), (None, None)) => {
                self.problems.add(
                    "JWT_SECRET_KEY (or JWT_SECRET): expected the HMAC secret, found nothing; hint: set JWT_SECRET_KEY_FILE to \
                     the path of a mounted secret, or JWT_SECRET_KEY; a private key goes with --key-file",
                );
                None
            }
            ((Some(value), _) | (None, Some(value)), (None, None)) => Some(Source::Value(value)),
            ((None, None), (Some(path), _) | (None, Some(path))) => Some(Source::File(PathBuf::from(path))),
            _ => {
                self.problems.add(
                    "JWT_SECRET_KEY: expected the secret or the file that holds it, found both; hint: unset JWT_SECRET_KEY and \
                     JWT_SECRET, or their _FILE",
                );
                None
            }
        }
    }

    fn file(&mut self, arguments: &Arguments) -> Option<TokenFile> {
        let mode = self.parsed("--mode", arguments.mode.as_ref(), FileMode::from_str);
        let owner = self.parsed("--owner", arguments.owner.as_ref(), Owner::from_str);
        let Some(path) = self.setting("OUTPUT_PATH", arguments.output_path.as_ref()) else {
            if self.given("OUTPUT_PATH", None).is_none() {
                self.missing("OUTPUT_PATH", "the path of the file to write", "--output-path");
            }
            return None;
        };
        let options = FileOptions { mode: mode?.unwrap_or_default().0, owner: owner? };
        match TokenFile::open(PathBuf::from(path), &options) {
            Ok(file) => Some(file),
            Err(error) => {
                self.problems.add(format_args!("OUTPUT_PATH: {error}"));
                None
            }
        }
    }

    /// An option's value; the outer `None` after a problem.
    fn parsed<T>(
        &mut self,
        name: &str,
        value: Option<&OsString>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let Some(value) = value else { return Some(None) };
        match parse(&value.to_string_lossy()) {
            Ok(value) => Some(Some(value)),
            Err(problem) => {
                self.problems.add(format_args!("{name}: {problem}"));
                None
            }
        }
    }

    fn statement(&mut self, arguments: &Arguments, subject: Option<String>) -> Option<Statement> {
        let ttl = self.parsed("--ttl", arguments.ttl.as_ref(), seconds);
        let issuer = match (&arguments.issuer, self.variable("JWT_ISSUER")) {
            (None, None) => Some(DEFAULT_ISSUER.to_owned()),
            (Some(_), _) => self.name("--issuer", arguments.issuer.as_ref(), "the issuer's name"),
            (None, value) => self.name("JWT_ISSUER", value.as_ref(), "the issuer's name"),
        };
        let audience = match &arguments.audience {
            None => Some(None),
            value => self.name("--audience", value.as_ref(), "the audience").map(Some),
        };
        let custom = self.custom(&arguments.claim);
        if !arguments.legacy_claims {
            let lifetime_s = ttl?.unwrap_or(DEFAULT_TTL_S);
            return Some(Statement::Complete {
                issuer: issuer?,
                subject: subject?,
                audience: audience?,
                lifetime_s,
                custom: custom?,
            });
        }
        let beside = [
            ("--ttl", arguments.ttl.is_some()),
            ("--issuer", arguments.issuer.is_some()),
            ("--audience", arguments.audience.is_some()),
            ("--claim", !arguments.claim.is_empty()),
            ("--renew", arguments.renew),
            ("--once-valid-for", arguments.once_valid_for.is_some()),
        ];
        let mut alone = true;
        for (name, _) in beside.iter().filter(|(_, given)| *given) {
            alone = false;
            self.problems.add(format_args!(
                "{name}: expected nothing beside --legacy-claims, which has exactly sub and role and no times, found {name}"
            ));
        }
        Some(Statement::Legacy { subject: subject.filter(|_| alone)? })
    }

    fn custom(&mut self, claims: &[OsString]) -> Option<Map<String, Value>> {
        let mut custom = Map::new();
        let mut good = true;
        for claim in claims {
            match claim_of(claim) {
                Ok((name, _)) if custom.contains_key(&name) => {
                    self.problems.add(format_args!("--claim: expected every name once, found {} again", quoted(&name)));
                    good = false;
                }
                Ok((name, value)) => drop(custom.insert(name, value)),
                Err(problem) => {
                    self.problems.add(format_args!("--claim: {problem}"));
                    good = false;
                }
            }
        }
        good.then_some(custom)
    }

    fn mode(&mut self, arguments: &Arguments, statement: Option<&Statement>) -> Option<Mode> {
        let health = self.parsed("--health-addr", arguments.health_addr.as_ref(), |text| {
            text.parse().map_err(|_| format!("expected ADDRESS:PORT such as 127.0.0.1:8080, found {}", quoted(text)))
        });
        let valid_for = self.parsed("--once-valid-for", arguments.once_valid_for.as_ref(), seconds);
        let wait = self.parsed("--wait", arguments.wait.as_ref(), seconds);
        let mut alone = |name: &str, given: bool, with: &str| {
            if given {
                self.problems.add(format_args!("{name}: expected {with}, found neither; hint: leave {name} out"));
            }
        };
        alone("--health-addr", arguments.health_addr.is_some() && !arguments.renew, "--renew beside it");
        alone("--wait", arguments.wait.is_some() && arguments.once_valid_for.is_none(), "--once-valid-for beside it");
        match (arguments.renew, valid_for?) {
            (true, Some(_)) => {
                self.problems
                    .add("--once-valid-for: expected this or --renew, found both; hint: one ends, the other stays");
                None
            }
            (true, None) => Some(Mode::Renew { health: health? }),
            (false, None) => Some(Mode::Once),
            (false, Some(valid_for_s)) => {
                if let Some(Statement::Complete { lifetime_s, .. }) = statement
                    && *lifetime_s < valid_for_s
                {
                    self.problems.add(format_args!(
                        "--once-valid-for: expected at most the lifetime of {lifetime_s} s, found {valid_for_s} s; hint: raise --ttl"
                    ));
                    return None;
                }
                Some(Mode::OnceValidFor { valid_for_s, wait_s: wait?.unwrap_or(DEFAULT_WAIT_S) })
            }
        }
    }
}

/// `NAME=VALUE`. VALUE is JSON if it reads as JSON; what only begins like an object, an array or a string is a mistake; the
/// rest is a text.
fn claim_of(claim: &OsStr) -> Result<(String, Value), String> {
    let text = claim.to_str().ok_or("expected NAME=VALUE as UTF-8, found other bytes")?;
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("expected NAME=VALUE, found no = in {}", quoted(text)))?;
    if !(1..=128).contains(&name.len()) || name.trim() != name || name.chars().any(char::is_control) {
        return Err(format!("expected a name of 1 to 128 bytes before =, found {}", quoted(name)));
    }
    if is_reserved(name) {
        return Err(format!(
            "expected a name of your own, found the reserved {}; hint: --issuer, --audience, --ttl and --service-name say the \
             registered ones",
            quoted(name)
        ));
    }
    match strict_json::parse(value.as_bytes(), Limits::new(4096, 8)) {
        Ok(value) => Ok((name.to_owned(), value)),
        Err(error) if value.as_bytes().first().is_some_and(|first| b"{[\"".contains(first)) => {
            Err(format!("{}: {error}", quoted(name)))
        }
        Err(_) if value.len() <= 4096 && !value.chars().any(char::is_control) => Ok((name.to_owned(), value.into())),
        Err(_) => {
            Err(format!("{}: expected at most 4096 bytes without control characters, found others", quoted(name)))
        }
    }
}

/// A length of time: `90s`, `15m`, `1h`, `1d`, or a number of seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let refused = || format!("expected a time of 1s to 366d such as 90s, 15m, 1h or 1d, found {}", quoted(text));
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        Some((at, 'd')) => (text.get(..at), 86_400),
        _ => (Some(text), 1),
    };
    let number = number.filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let value = number.and_then(|number| number.parse::<u32>().ok()).and_then(|number| number.checked_mul(unit));
    value.filter(|value| (1..=MOST_S).contains(value)).ok_or_else(refused)
}

/// The environment as it is. `token_shell::Vars` has only text, and a secret is bytes.
#[expect(clippy::disallowed_methods, reason = "the shell of this program; read once, before anything else")]
pub(crate) fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.as_bytes().is_empty())
}

#[cfg(test)]
mod tests;
