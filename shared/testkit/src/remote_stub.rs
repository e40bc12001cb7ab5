//! A server that answers as the test says, properly or not.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::http_stub::{Answer, HttpStub};

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl StubRequest {
    /// The first header `name` (lower case), if any.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StubAnswer {
    /// Status, headers, body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The head promises this body, half of it is sent, and the connection ends.
    Truncated(Vec<u8>),
    /// The head promises this body, half of it is sent, and then nothing more.
    StalledBody(Vec<u8>),
    /// A body that never ends.
    Endless,
    /// Exactly these bytes, and the connection ends.
    Raw(Vec<u8>),
    /// Exactly these bytes, and the connection stays open.
    RawThenStall(Vec<u8>),
    /// Nothing, and the connection stays open.
    Stall,
    /// The connection is reset.
    Reset,
}

impl StubAnswer {
    /// 200 with this JSON.
    #[must_use]
    pub fn json(body: &serde_json::Value) -> Self {
        Self::Full(200, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
    }

    /// This status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Full(status, Vec::new(), Vec::new())
    }
}

/// A plain HTTP/1.1 server on a free port of 127.0.0.1.
pub struct RemoteStub {
    server: HttpStub,
    requests: Arc<Mutex<Vec<StubRequest>>>,
}

impl RemoteStub {
    /// Starts one that answers with what `answer` says; each connection has a thread of its own.
    #[must_use]
    pub fn start(answer: impl Fn(&StubRequest) -> StubAnswer + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let server = HttpStub::start(move |request, _| {
            let request = StubRequest {
                method: request.method,
                path: request.path,
                headers: request.headers,
                body: request.body,
            };
            seen.lock().unwrap().push(request.clone());
            match answer(&request) {
                StubAnswer::Full(status, headers, body) => Answer::Full(status, headers, body),
                StubAnswer::Truncated(body) => Answer::Truncated(body),
                StubAnswer::StalledBody(body) => Answer::StalledBody(body),
                StubAnswer::Endless => Answer::Endless,
                StubAnswer::Raw(bytes) => Answer::Raw(bytes),
                StubAnswer::RawThenStall(bytes) => Answer::RawThenStall(bytes),
                StubAnswer::Stall => Answer::Stall,
                StubAnswer::Reset => Answer::Reset,
            }
        });
        Self { server, requests }
    }

    /// Its address, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What has come so far.
    #[must_use]
    pub fn requests(&self) -> Vec<StubRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl fmt::Debug for RemoteStub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStub").field("server", &self.server).finish_non_exhaustive()
    }
}
