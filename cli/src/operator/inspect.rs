//! `inspect`: what a token says about itself. Nothing of it is believed.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use token_jose::strict_json::{self, Limits};
use token_jose::{MAX_TOKEN_BYTES, sha256_hex};

use super::span::shown;
use super::token_input::TokenArgs;
use super::{Failure, Report, Shell};

/// Show what a token says about itself, WITHOUT verifying anything
///
/// Everything printed is whatever the token's author wrote. The signature is not printed: with it, what is shown could be
/// used as a token again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jwt-operator inspect --file /var/run/token/token.jwt")]
pub(super) struct Args {
    #[command(flatten)]
    token: TokenArgs,
}

/// Claims that are times (RFC 7519 section 4.1, OpenID Connect Core section 2).
const TIMES: [&str; 4] = ["iat", "nbf", "exp", "auth_time"];

pub(super) fn run(args: &Args, shell: &mut Shell<'_>) -> Result<Report, Failure> {
    let token = args.token.read(shell)?;
    let now = shell.clock.now();
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let found = token.split('.').count();
        return Err(Failure::data(format!(
            "expected a compact JWS of three parts, found {found}; hint: an encrypted token (JWE) has five, an opaque one has one"
        )));
    };
    let header = object("header", header)?;
    let claims = object("payload", payload)?;
    let signature_bytes = decoded("signature", signature)?.len();
    let times = times(&claims, now);
    let json = json!({
        "verified": false,
        "header": header,
        "claims": claims,
        "times": times.iter().map(|(name, at, from_now)| json!({"claim": name, "at": at.to_string(), "from_now_s": from_now})).collect::<Vec<_>>(),
        "signature_bytes": signature_bytes,
        "token_sha256": sha256_hex(token.as_bytes()),
    });
    let mut human =
        String::from("UNVERIFIED: anybody may have written what follows; use `jwt-operator verify` to decide\n");
    for (title, members) in [("header", &header), ("claims", &claims)] {
        human.push_str(&format!("{title}:\n"));
        for (name, value) in members {
            // JSON text escapes control characters, so that a token cannot drive the terminal.
            let mut line = format!("  {}: {}", plain(name), plain(&value.to_string()));
            if title == "claims"
                && let Some((_, at, from_now)) = times.iter().find(|(time, ..)| time == name)
            {
                line.push_str(&format!("  ({at}, {})", relative(*from_now)));
            }
            human.push_str(&line);
            human.push('\n');
        }
    }
    human.push_str(&format!("signature: {signature_bytes} bytes, not shown, not checked\n"));
    human.push_str(&format!("sha256 of the token: {}", sha256_hex(token.as_bytes())));
    Ok(Report::yes(human, json))
}

/// Text that cannot move the cursor: serde_json leaves DEL and the C1 controls as they are.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn times(claims: &Map<String, Value>, now: Timestamp) -> Vec<(String, Timestamp, i64)> {
    TIMES
        .iter()
        .filter_map(|name| {
            let seconds = claims.get(*name)?.as_i64()?;
            let at = Timestamp::from_second(seconds).ok()?;
            let from_now: SignedDuration = at.duration_since(now);
            Some(((*name).to_owned(), at, from_now.as_secs()))
        })
        .collect()
}

/// `in 15m`, `2h ago`.
pub(super) fn relative(from_now_s: i64) -> String {
    let seconds = from_now_s.unsigned_abs();
    // Nobody reads the seconds of a day.
    let span = shown(match seconds {
        86_400.. => seconds - seconds % 3_600,
        3_600.. => seconds - seconds % 60,
        _ => seconds,
    });
    if from_now_s >= 0 { format!("in {span}") } else { format!("{span} ago") }
}

fn object(what: &str, part: &str) -> Result<Map<String, Value>, Failure> {
    let bytes = decoded(what, part)?;
    strict_json::parse_object(&bytes, Limits::new(MAX_TOKEN_BYTES, 16))
        .map_err(|error| Failure::data(format!("{what}: {error}")))
}

fn decoded(what: &str, part: &str) -> Result<Vec<u8>, Failure> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).map_err(|_| {
        Failure::data(format!("{what}: expected canonical base64url without padding, found another encoding"))
    })
}
