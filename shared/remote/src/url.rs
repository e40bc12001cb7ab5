//! Where a request may go.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

use crate::text::quoted;

/// The longest URL that is read, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// An address that secrets may be sent to and keys fetched from: `https:`, or `http:` on a loopback address literal
/// (`127.0.0.1`, `[::1]`; not `localhost`, which a resolver decides). No user name, no password, no fragment.
///
/// It is written as it was meant: the leniencies of browsers (backslashes, dropped tabs, `https:host`, dot segments, an empty
/// user name) are refused, so that what an operator reads is what is called.
///
/// ```
/// use token_remote::RemoteUrl;
///
/// let url: RemoteUrl = "https://issuer.example/realm".parse()?;
/// assert_eq!(url.join("oauth2/token")?.as_str(), "https://issuer.example/realm/oauth2/token");
/// assert!("http://issuer.example".parse::<RemoteUrl>().is_err());
/// # Ok::<(), token_remote::RemoteUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteUrl(Url);

/// An address that nothing is sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an https: URL, or an http: URL on a loopback address, found {found}; hint: {hint}")]
pub struct RemoteUrlError {
    found: String,
    hint: &'static str,
}

impl RemoteUrl {
    /// The URL as it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same server with `path` appended to this URL's path, one `/` between. A query of this URL is dropped.
    ///
    /// # Errors
    /// When `path` could lead elsewhere or mean something else: dot segments, empty segments, a query, a fragment, anything
    /// that a URL spells differently.
    pub fn join(&self, path: &str) -> Result<Self, RemoteUrlError> {
        let refuse = |hint| Err(RemoteUrlError { found: quoted(path), hint });
        let appended = path.strip_prefix('/').unwrap_or(path);
        if appended.is_empty() || appended.split('/').rev().skip(1).any(str::is_empty) {
            return refuse("append a path without empty segments");
        }
        let whole = format!("{}/{appended}", self.0.path().trim_end_matches('/'));
        self.with_path(&whole)
    }

    /// The same server with exactly this path and no query.
    pub(crate) fn with_path(&self, path: &str) -> Result<Self, RemoteUrlError> {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_path(path);
        if url.path() != path || url.as_str().len() > MAX_URL_BYTES {
            let hint = "write the path in its plain form, without dot segments, queries or spaces";
            return Err(RemoteUrlError { found: quoted(path), hint });
        }
        Ok(Self(url))
    }

    /// The path, with its leading `/`.
    pub(crate) fn path(&self) -> &str {
        self.0.path()
    }

    /// As messages show it: without the query, which may hold what its owner calls a key.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        let mut shown: String = url.as_str().chars().take(200).collect();
        if url.as_str().len() > shown.len() {
            shown.push('…');
        }
        shown
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    pub(crate) fn has_query(&self) -> bool {
        self.0.query().is_some()
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteUrlError;

    fn from_str(text: &str) -> Result<Self, RemoteUrlError> {
        let refuse = |hint| Err(RemoteUrlError { found: quoted(text), hint });
        if text.len() > MAX_URL_BYTES {
            return refuse("at most 2048 bytes");
        }
        // A URL parser would drop tabs and line ends and turn a backslash into a slash.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
            return refuse("plain printable characters only; write a host name beyond ASCII in its xn-- form");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("write https://HOST[:PORT][/PATH]");
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            // Not echoed: what stands before the "@" is a credential.
            return Err(RemoteUrlError {
                found: "one with a user name".to_owned(),
                hint: "remove the part before the @",
            });
        }
        if text.contains('#') {
            return refuse("remove the fragment");
        }
        let Ok(url) = Url::parse(text) else { return refuse("write https://HOST[:PORT][/PATH]") };
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() || !authority.to_ascii_lowercase().starts_with(host) {
            return refuse("write the host in its plain form, without percent signs or numbers that mean an address");
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => return refuse("tokens and keys must not travel in clear"),
            _ => return refuse("write https://HOST[:PORT][/PATH]"),
        }
        // What the parser made of the path is what was written, or it was written in a form that hides something.
        let written = rest.get(authority.len()..).unwrap_or_default();
        let parsed = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        if written != parsed && !(written.is_empty() && parsed == "/") {
            return refuse("write the path in its plain form, without dot segments");
        }
        Ok(Self(url))
    }
}

/// Whether the host is a loopback address.
fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Somebody else may choose the path (a key's name in a ring).
        #[test]
        fn no_path_leaves_its_base(path in "[a-zA-Z0-9./%?#\\\\@: \t\u{e9}-]{0,24}|.{0,12}") {
            let base: RemoteUrl = "https://bao.example/proxy".parse().unwrap();
            if let Ok(joined) = base.join(&path) {
                let below = joined.as_str().strip_prefix("https://bao.example/proxy/");
                prop_assert_eq!(below, Some(path.strip_prefix('/').unwrap_or(&path)));
                prop_assert_eq!(joined.as_str().parse::<RemoteUrl>().unwrap(), joined);
            }
        }

        #[test]
        fn what_parses_is_called_as_it_was_written(text in "(https?|HTTPS)://[a-zA-Z0-9.%@:\\[\\]-]{0,12}[/?#a-z.%@]{0,12}|.{0,30}") {
            if let Ok(url) = text.parse::<RemoteUrl>() {
                let written = text.to_ascii_lowercase();
                // The default port and the empty path may be left out.
                let host = url.url().host_str().unwrap();
                prop_assert!(written.starts_with(&format!("{}://{host}", url.url().scheme())), "{}", url);
                prop_assert!(url.url().username().is_empty() && url.url().password().is_none());
                prop_assert!(url.url().scheme() == "https" || host.starts_with("127.") || host == "[::1]");
            }
        }
    }

    #[test]
    fn https_anywhere_and_http_on_loopback_literals_only() {
        for good in [
            "https://issuer.example",
            "https://issuer.example:8443/realm/keys?p=B2C_1",
            "http://127.0.0.1:8200",
            "http://127.9.9.9/",
            "http://[::1]:1/v1",
            "https://xn--bcher-kva.example/",
        ] {
            let url: RemoteUrl = good.parse().unwrap_or_else(|error| panic!("{good}: {error}"));
            assert_eq!(url.as_str().trim_end_matches('/'), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "issuer.example",
            "https:issuer.example",
            "https:///issuer.example",
            "https://",
            "http://issuer.example",
            "http://localhost:8200",
            "http://127.0.0.1.evil.example",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "https://2130706433/",
            "https://%69ssuer.example/",
            "https://[0:0::1]/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://169.254.169.254/",
            "http://127.0.0.1@evil.example",
            "https://@issuer.example/",
            "https://user:hunter2@issuer.example/",
            "https://issuer.example/#keys",
            "https://issuer.example/a/../b",
            "https://issuer.example/%2e%2e/b",
            "https://issuer.example\\evil",
            "https://issuer.example/a b",
            "https://issuer.example/\ta",
            "https://b\u{fc}cher.example/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "unix://127.0.0.1/x",
        ] {
            let error = bad.parse::<RemoteUrl>().expect_err(bad).to_string();
            assert!(error.contains("; hint: ") && !error.contains("hunter2"), "{bad}: {error}");
        }
        assert!(format!("https://issuer.example/{}", "x".repeat(2_048)).parse::<RemoteUrl>().is_err());
    }

    #[test]
    fn a_joined_path_stays_below_its_base() {
        let base: RemoteUrl = "https://bao.example/proxy/?x=1".parse().unwrap();
        assert_eq!(base.join("v1/transit/keys/a").unwrap().as_str(), "https://bao.example/proxy/v1/transit/keys/a");
        assert_eq!(base.join("/v1/x/").unwrap().as_str(), "https://bao.example/proxy/v1/x/");
        for bad in ["", "/", "//evil.example/x", "a//b", "../x", "a/../../x", "%2e%2e/x", "a?b", "a#b", "a b", "a\\b"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_and_debug_show_no_query() {
        let url: RemoteUrl = "https://issuer.example/keys?code=top-secret".parse().unwrap();
        assert_eq!(url.shown(), "https://issuer.example/keys");
        assert!(!format!("{url:?}").contains("top-secret"));
    }
}
