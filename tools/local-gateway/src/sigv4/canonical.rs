//! The canonical request of Signature Version 4, from the server's side: what a client must have signed, computed from
//! what arrived.

use std::fmt::Write as _;

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but `A-Z a-z 0-9 - . _ ~` (RFC 3986's unreserved characters) is encoded.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`NAME`], with the separator of a path kept.
const PATH: &AsciiSet = &NAME.remove(b'/');

/// The canonical path: dot segments and doubled slashes removed, then encoded once more (every service but S3 signs the
/// path as sent, encoded again).
pub(super) fn path(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut normal = format!("/{}", segments.join("/"));
    if !normal.ends_with('/') && ["/", "/.", "/.."].iter().any(|end| raw.ends_with(end)) {
        normal.push('/');
    }
    utf8_percent_encode(&normal, PATH).to_string()
}

/// The canonical query: every name and value encoded the one way, sorted by encoded name, then value. `+` is a space, as
/// in the event: were it a plus here, `%2B` could be turned into `+` under a valid signature and mean something else.
pub(super) fn query(raw: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(&text.replace('+', " ")).collect();
        percent_encoding::percent_encode(&decoded, NAME).to_string()
    };
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (encode(name), encode(value))
        })
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// The canonical headers (`name:value\n` each) for `names`, which are sorted. Several lines of one name are joined with a
/// comma, white space runs become one space. `None` when a named header did not arrive.
pub(super) fn headers(names: &[&str], headers: &HeaderMap) -> Option<String> {
    let mut out = String::new();
    for name in names {
        let mut values = Vec::new();
        for value in headers.get_all(*name) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            values.push(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        }
        if values.is_empty() {
            return None;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name}:{}", values.join(","));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{headers, path, query};

    /// Pairs from AWS's published Signature Version 4 test suite (normalize-path, get-utf8, get-space, get-slashes …).
    #[test]
    fn paths_as_in_the_published_suite() {
        for (raw, canonical) in [
            ("/", "/"),
            ("//", "/"),
            ("/./", "/"),
            ("/example/..", "/"),
            ("/example1/example2/../..", "/"),
            ("//example//", "/example/"),
            ("/./example", "/example"),
            ("/example%20space/", "/example%2520space/"),
            ("/-._~0123456789abcXYZ", "/-._~0123456789abcXYZ"),
            ("/token", "/token"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
        ] {
            assert_eq!(path(raw), canonical, "{raw}");
        }
    }

    /// get-vanilla-query-order-key-case, -order-value, -unreserved, get-vanilla-empty-query-key.
    #[test]
    fn queries_as_in_the_published_suite() {
        for (raw, canonical) in [
            ("", ""),
            ("Param2=value2&Param1=value1", "Param1=value1&Param2=value2"),
            ("Param1=value2&Param1=value1", "Param1=value1&Param1=value2"),
            ("Param1", "Param1="),
            ("a=%2f&b=x%20y", "a=%2F&b=x%20y"),
            ("-._~=-._~", "-._~=-._~"),
            ("a=1+2&b=1%2B2", "a=1%202&b=1%2B2"),
        ] {
            assert_eq!(query(raw), canonical, "{raw}");
        }
    }

    /// get-header-key-duplicate, get-header-value-trim, get-header-value-order.
    #[test]
    fn headers_as_in_the_published_suite() {
        let mut map = HeaderMap::new();
        map.append("my-header1", " value4 ".parse().unwrap());
        map.append("my-header1", "value1".parse().unwrap());
        map.append("my-header2", "\"a   b   c\"".parse().unwrap());
        assert_eq!(
            headers(&["my-header1", "my-header2"], &map).unwrap(),
            "my-header1:value4,value1\nmy-header2:\"a b c\"\n"
        );
        assert_eq!(headers(&["absent"], &map), None);
    }
}
