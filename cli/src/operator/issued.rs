//! A token that was obtained, and the file it goes to: once, or again and again as the sidecar does.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use token_jose::MAX_TOKEN_BYTES;
use token_shell::IdSource;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::inspect::relative;
use super::retry::fraction;
use super::span::Span;
use super::{Ending, Failure, Report, Shell};
use crate::file::{FileMode, FileOptions, Owner, TokenFile};

/// The earliest renewal, as a part of the lifetime, and how much of it is added by chance: 70 % in the middle, as the
/// sidecar's.
const EARLIEST: f64 = 0.65;
const SPREAD: f64 = 0.10;

/// The longest sleep at a stretch: a sleep does not notice that the machine was suspended or its clock set.
const LOOK: Duration = Duration::from_secs(10);

/// The longest pause between two attempts of a renewal.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest lifetime that is planned with, and the shortest time between two tokens, whatever the server says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
const SHORTEST_STAY: Duration = Duration::from_secs(1);

/// The lifetime that counts when the server does not say one.
const UNKNOWN_LIFETIME_S: u64 = 300;

/// Where the token goes.
#[derive(Debug, clap::Args)]
pub(super) struct WriteArgs {
    /// The file to write; replaced as a whole
    #[arg(long, value_name = "PATH")]
    output_path: PathBuf,
    /// Permissions of the file
    #[arg(long, value_name = "OCTAL", default_value_t = FileMode::default())]
    mode: FileMode,
    /// Owner of the file, as numbers; needs CAP_CHOWN
    #[arg(long, value_name = "UID[:GID]")]
    owner: Option<Owner>,
    /// How long to try, with back-off, while the server is down or asks to wait
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub(super) deadline: Span,
    /// Write one token and end (the default)
    #[arg(long, conflicts_with = "renew")]
    once: bool,
    /// Stay, and renew at 70 % of the lifetime: SIGHUP renews now, SIGTERM ends
    #[arg(long)]
    renew: bool,
}

/// A token as its server issued it. `Debug` hides it.
pub(super) struct Obtained {
    token: Zeroizing<String>,
    expires_in_s: Option<u64>,
    /// What else the server said: scope, decision id.
    more: Map<String, Value>,
}

impl std::fmt::Debug for Obtained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Obtained").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

impl Obtained {
    /// What a server gave, if it can be a token: a reader of the file gets visible ASCII and nothing else.
    pub(super) fn new(token: &str, expires_in_s: Option<u64>, more: Map<String, Value>) -> Result<Self, Failure> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::try_again(format!(
                "expected a token of 1 to {MAX_TOKEN_BYTES} visible ASCII characters in the answer, found something else"
            )));
        }
        Ok(Self { token: Zeroizing::new(token.to_owned()), expires_in_s, more })
    }
}

/// Writes what `obtain` gets: once, or with `--renew` until a signal ends it.
pub(super) async fn deliver<F>(
    args: &WriteArgs,
    shell: &mut Shell<'_>,
    mut obtain: impl FnMut(Timestamp) -> F,
) -> Result<Report, Failure>
where
    F: Future<Output = Result<Obtained, Failure>>,
{
    let file = TokenFile::open(&args.output_path, &FileOptions { mode: args.mode.0, owner: args.owner })?;
    if !args.renew {
        let now = shell.clock.now();
        let obtained = obtain(now).await?;
        file.write(obtained.token.as_bytes(), shell.ids)?;
        return Ok(written(&file, &obtained, now));
    }
    let mut signals =
        Signals::new().map_err(|error| Failure::try_again(format!("expected to hear signals, found: {error}")))?;
    let mut failures = 0_u32;
    let mut valid_until: Option<Timestamp> = None;
    loop {
        let now = shell.clock.now();
        let outcome = tokio::select! {
            outcome = obtain(now) => outcome,
            name = signals.end() => return Ok(ended(name)),
        };
        let outcome =
            outcome.and_then(|obtained| Ok(file.write(obtained.token.as_bytes(), shell.ids).map(|()| obtained)?));
        let due = match outcome {
            Ok(obtained) => {
                failures = 0;
                let lifetime =
                    Duration::from_secs(obtained.expires_in_s.unwrap_or(UNKNOWN_LIFETIME_S)).min(LONGEST_LIFETIME);
                let expires = after(now, lifetime);
                valid_until = Some(expires);
                let mut fields = obtained.more.clone();
                fields.insert("path".to_owned(), file.path().to_string_lossy().into());
                fields.insert("expires_at".to_owned(), expires.to_string().into());
                log(shell, "INFO", "token written", fields);
                // Never at once, even if the server gives tokens of no lifetime.
                after(now, lifetime.mul_f64(EARLIEST + SPREAD * fraction(shell.ids)).max(SHORTEST_STAY))
            }
            // The old token stays as it is: it may be good for long.
            Err(failure) => {
                failures = failures.saturating_add(1);
                let now = shell.clock.now();
                let still = valid_until.filter(|until| *until > now);
                let mut fields = Map::new();
                fields.insert("error".to_owned(), failure.message.into());
                fields.insert("code".to_owned(), failure.ending.code().into());
                fields.insert("failures".to_owned(), failures.into());
                fields.insert("valid_until".to_owned(), still.map_or(Value::Null, |until| until.to_string().into()));
                log(shell, if still.is_some() { "WARN" } else { "ERROR" }, "token not renewed", fields);
                after(now, pause(failures, shell.ids))
            }
        };
        while shell.clock.now() < due {
            let left = Duration::try_from(due.duration_since(shell.clock.now())).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                heard = signals.next() => match heard {
                    Heard::Renew => break,
                    Heard::End(name) => return Ok(ended(name)),
                },
            }
        }
    }
}

fn written(file: &TokenFile, obtained: &Obtained, now: Timestamp) -> Report {
    let path = file.path().display();
    let expires = obtained.expires_in_s.map(|seconds| (after(now, Duration::from_secs(seconds)), seconds));
    let mut json = json!({
        "path": path.to_string(),
        "expires_in": obtained.expires_in_s,
        "expires_at": expires.map(|(at, _)| at.to_string()),
    });
    if let Some(members) = json.as_object_mut() {
        members.extend(obtained.more.clone());
    }
    let until = expires.map_or(String::new(), |(at, seconds)| {
        format!(", valid until {at} ({})", relative(i64::try_from(seconds).unwrap_or(i64::MAX)))
    });
    Report::yes(format!("token written to {path}{until}"), json)
}

fn ended(name: &str) -> Report {
    Report::yes(format!("ended by {name}"), json!({ "ended_by": name }))
}

fn after(time: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// After the `failures`th failure in a row, from 1: a second, doubled up to half a minute, half of it by chance.
fn pause(failures: u32, ids: &dyn IdSource) -> Duration {
    let full = Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
    full.mul_f64(0.5 + 0.5 * fraction(ids))
}

/// One JSON object per line on standard error, in the shape of the project's other logs.
fn log(shell: &mut Shell<'_>, level: &str, message: &str, fields: Map<String, Value>) {
    let mut line = json!({
        "timestamp": shell.clock.now().to_string(), "level": level, "message": message, "target": "jwt_operator",
    });
    if let Some(members) = line.as_object_mut() {
        members.extend(fields);
    }
    // A closed standard error does not stop the renewal.
    let _ = shell.err.write_all(format!("{line}\n").as_bytes());
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

enum Heard {
    Renew,
    End(&'static str),
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.hangup.recv() => Heard::Renew,
            _ = self.terminate.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
        }
    }

    async fn end(&mut self) -> &'static str {
        loop {
            if let Heard::End(name) = self.next().await {
                return name;
            }
        }
    }
}

/// What a server says when it refuses or fails, whoever of them answered: the issuer (RFC 6749 section 5.2 and its
/// decision id) or API Gateway in front of it. Its texts are escaped and cut.
pub(super) fn refusal(status: u16, body: &[u8]) -> (String, Value) {
    let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| members.get(*name)?.as_str());
        found.map(|text| text.chars().take(300).flat_map(char::escape_debug).collect::<String>())
    };
    let (error, description) = (text(&["error"]), text(&["error_description", "message", "Message"]));
    let decision_id = text(&["decision_id"]);
    let mut message = format!("the server answered {status}");
    for part in [&error, &description].into_iter().flatten() {
        message.push_str(": ");
        message.push_str(part);
    }
    if let Some(id) = &decision_id {
        message.push_str(&format!(" (decision {id})"));
    }
    let more = json!({"status": status, "error": error, "error_description": description, "decision_id": decision_id});
    (message, more)
}

/// Whether a status may pass by itself: throttled, or the server's own trouble.
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// How a command ends that was answered with this status.
pub(super) fn ending(status: u16) -> Ending {
    if may_pass(status) { Ending::TryAgain } else { Ending::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_shell::OsIds;

    #[test]
    fn both_servers_are_understood_and_their_texts_are_bounded() {
        let body = br#"{"error":"access_denied","error_description":"no rule","decision_id":"ab12"}"#;
        let (message, more) = refusal(403, body);
        assert_eq!(message, "the server answered 403: access_denied: no rule (decision ab12)");
        assert_eq!(more["decision_id"], "ab12");
        let (message, _) = refusal(403, br#"{"message":"Signature expired: \u001b[31m"}"#);
        assert_eq!(message, "the server answered 403: Signature expired: \\u{1b}[31m");
        let (message, _) = refusal(502, b"<html>");
        assert_eq!(message, "the server answered 502");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
        assert!(refusal(500, long.as_bytes()).0.len() < 400);
    }

    #[test]
    fn what_is_written_is_visible_ascii() {
        assert!(Obtained::new("a.b.c", Some(60), Map::new()).is_ok());
        for bad in ["", "a b", "a\nb", "tökén", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(Obtained::new(bad, None, Map::new()).is_err());
        }
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        for failures in [1, 2, 5, 6, 100] {
            let pause = pause(failures, &OsIds);
            assert!(pause >= Duration::from_millis(500) && pause <= LONGEST_PAUSE, "{failures}: {pause:?}");
        }
    }
}
