//! Foreign text in messages: escaped and cut, since whoever answers on the other end chooses it.

/// A foreign string as a message may show it: escaped, and cut at 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// The innermost cause, which says what happened on the wire ("connection refused", "invalid peer certificate …"): written on
/// this side of the connection, and still cut.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().chars().take(160).flat_map(char::escape_default).collect()
}
