//! curl: an HTTP client, and a SigV4 signer, that nobody here wrote.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::gateway::GatewayPrincipal;

/// One request, built up and then [`send`](Self::send)t.
#[derive(Clone, Debug)]
#[must_use]
pub struct Curl {
    arguments: Vec<String>,
    credentials: Option<String>,
    url: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Curl {
    /// A request of this method.
    pub fn new(method: &str, url: &str) -> Self {
        let method: &[&str] = if method == "HEAD" { &["--head"] } else { &["--request", method] };
        let common = [
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "60",
            "--path-as-is",
            "--http1.1",
            "--noproxy",
            "*",
        ];
        let arguments = common.iter().chain(method).map(|argument| (*argument).to_owned()).collect();
        Self { arguments, credentials: None, url: url.to_owned() }
    }

    /// A GET.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST without a body.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Signs the request as `principal` for API Gateway in `region`.
    pub fn signed_by(self, principal: &GatewayPrincipal, region: &str) -> Self {
        let keys = (principal.access_key_id.as_str(), principal.secret_access_key.as_str());
        self.signed(keys, principal.session_token.as_deref(), region, "execute-api")
    }

    /// Signs the request with an access key (id, secret).
    pub fn signed(mut self, key: (&str, &str), session_token: Option<&str>, region: &str, service: &str) -> Self {
        self.arguments.extend(["--aws-sigv4".to_owned(), format!("aws:amz:{region}:{service}")]);
        self.credentials = Some(format!("{}:{}", key.0, key.1));
        match session_token {
            Some(token) => self.header("X-Amz-Security-Token", token),
            None => self,
        }
    }

    /// Adds a header. (curl 7 signs one with an empty value, which it takes as "do not send this".)
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
        self
    }

    /// Gives it a body of this content type.
    pub fn body(mut self, content_type: &str, body: &str) -> Self {
        self.arguments.extend(["--data-raw".to_owned(), body.to_owned()]);
        self.header("Content-Type", content_type)
    }

    /// Gives it a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", &body.to_string())
    }

    /// Any other argument of curl's.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sends it.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(&self) -> Reply {
        self.try_send().unwrap_or_else(|error| panic!("{} has no answer: {error}", self.url))
    }

    /// Sends it.
    ///
    /// # Errors
    /// What curl says when there is no answer.
    ///
    /// # Panics
    /// When curl is not on this machine, or its output is no HTTP.
    pub fn try_send(&self) -> Result<Reply, String> {
        let mut child = Command::new("curl")
            .args(["--config", "-"])
            .args(&self.arguments)
            .arg(&self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is on this machine");
        // The key goes in by the standard input: arguments can be read by every process.
        let config = self.credentials.as_ref().map(|user| format!("user = \"{user}\"\n")).unwrap_or_default();
        child.stdin.take().expect("stdin is piped").write_all(config.as_bytes()).expect("curl reads its configuration");
        let output = child.wait_with_output().expect("curl ends");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Reply::parse(&output.stdout))
    }
}

impl Reply {
    /// An HTTP/1.1 answer as it came over the wire.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends with an empty line");
        let head = String::from_utf8_lossy(&raw[..end]);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        Self {
            status: status.expect("a status line"),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
            body: raw[end + 4..].to_vec(),
        }
    }

    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every header of that name (lower case), in order.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("HTTP {} with a body that is no JSON ({error}): {}", self.status, self.text())
        })
    }
}
