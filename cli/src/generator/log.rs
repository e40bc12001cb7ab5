//! The sidecar's log: one JSON object per line on standard error, in the shape of the project's other logs. Standard output
//! stays for the result.

use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Info,
    /// Trouble, and the token on disk is still good.
    Warn,
    /// Trouble, and there is no good token on disk.
    Error,
}

/// Writes one line. A closed standard error does not stop the sidecar.
pub(crate) fn log<const N: usize>(now: Timestamp, level: Level, message: &str, fields: [(&str, Value); N]) {
    let mut line = line(now, level, message, fields).to_string();
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn line<const N: usize>(now: Timestamp, level: Level, message: &str, fields: [(&str, Value); N]) -> Value {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), now.to_string().into());
    line.insert("level".to_owned(), level.into());
    line.insert("message".to_owned(), message.into());
    line.insert("target".to_owned(), "jwt_generator".into());
    line.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::{Level, Timestamp, line};

    #[test]
    fn a_line_has_the_shape_of_the_other_logs() {
        let line = line(Timestamp::UNIX_EPOCH, Level::Warn, "token not renewed", [("failures", 2.into())]);
        assert_eq!(
            line,
            serde_json::json!({"timestamp": "1970-01-01T00:00:00Z", "level": "WARN", "message": "token not renewed",
                "target": "jwt_generator", "failures": 2})
        );
    }
}
