//! Calls to Vault's HTTP API: which token goes with them, and what an answer means.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use token_issuance::SourceError;
use token_jose::SignError;
use tracing::{debug, warn};

use super::token::{Due, Lease, NoToken, Token, TokenFile};
use crate::client::{Body, HttpsClient, Reply};
use crate::error::RemoteError;
use crate::url::RemoteUrl;

/// A failed call, classified. Texts are ours: what the server says is never passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Denied,
    /// HTTP 500: an outage, or what the server also says to a version that may not sign.
    Internal,
    /// A request that is wrong (4xx), or an answer that is.
    Malformed,
    NotFound,
    Throttled {
        retry_after_s: u64,
    },
    Unavailable,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Malformed, detail)
    }

    pub(crate) fn into_source_error(self, source_name: String) -> SourceError {
        let detail = self.detail;
        match self.kind {
            FaultKind::Denied => SourceError::Denied { source_name, detail },
            FaultKind::Malformed => SourceError::Malformed { source_name, detail },
            FaultKind::NotFound => SourceError::NotFound { source_name, detail },
            FaultKind::Throttled { .. } => SourceError::Throttled { source_name, detail },
            FaultKind::Internal | FaultKind::Unavailable => SourceError::Unavailable { source_name, detail },
        }
    }

    pub(crate) fn into_sign_error(self) -> SignError {
        let detail = self.detail;
        match self.kind {
            FaultKind::Throttled { retry_after_s } => SignError::Throttled { retry_after_s },
            FaultKind::Internal | FaultKind::Unavailable => SignError::Unavailable { detail },
            FaultKind::Denied | FaultKind::Malformed | FaultKind::NotFound => SignError::Refused { detail },
        }
    }
}

impl From<NoToken> for Fault {
    fn from(problem: NoToken) -> Self {
        // An agent that has not written yet, or is about to write, mends this by itself.
        Self::new(FaultKind::Unavailable, problem.to_string())
    }
}

impl From<RemoteError> for Fault {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Json { .. } | RemoteError::Malformed { .. } | RemoteError::TooLarge { .. } => {
                Self::malformed(error.to_string())
            }
            error => Self::new(FaultKind::Unavailable, error.to_string()),
        }
    }
}

/// One server of the Vault API, and the token for it.
#[derive(Debug)]
pub(crate) struct Api {
    client: Arc<HttpsClient>,
    /// `ADDRESS/v1`.
    base: RemoteUrl,
    namespace: Option<String>,
    token: TokenFile,
}

impl Api {
    pub(crate) fn new(client: Arc<HttpsClient>, base: RemoteUrl, namespace: Option<String>, token: TokenFile) -> Self {
        Self { client, base, namespace, token }
    }

    /// Reads `path`: the answer's `data`.
    pub(crate) async fn read(&self, path: &str) -> Result<Map<String, Value>, Fault> {
        self.call(path, None).await
    }

    /// Writes `body` to `path`: the answer's `data`, empty when it has none.
    pub(crate) async fn write(&self, path: &str, body: &Value) -> Result<Map<String, Value>, Fault> {
        self.call(path, Some(body)).await
    }

    /// Makes the call, and beside it whatever is due for the token. A refused call is made once more if the token's file
    /// holds another one by then.
    async fn call(&self, path: &str, body: Option<&Value>) -> Result<Map<String, Value>, Fault> {
        let token = self.token.current()?;
        let (answer, ()) = tokio::join!(self.send(path, body, &token), self.keep_alive(&token));
        let mut answer = answer?;
        if answer.status == 403 {
            match self.token.other_than(&token) {
                Ok(Some(other)) => {
                    debug!("transit: refused with the token held, asked again with the file's new one");
                    answer = self.send(path, body, &other).await?;
                }
                Ok(None) => {}
                Err(problem) => return Err(Fault::new(FaultKind::Denied, format!("HTTP 403, and {problem}"))),
            }
        }
        member(judged(&answer, self.token.path())?, "data")
    }

    async fn send(&self, path: &str, body: Option<&Value>, token: &Token) -> Result<Reply, Fault> {
        let url = self.base.join(path).map_err(|error| Fault::malformed(error.to_string()))?;
        // Vault wants this header from callers on the same machine, against requests that a browser was talked into.
        let mut headers = vec![("x-vault-token", token.as_str()), ("x-vault-request", "true")];
        if let Some(namespace) = &self.namespace {
            headers.push(("x-vault-namespace", namespace));
        }
        Ok(match body {
            None => self.client.get(&url, &headers).await?,
            Some(body) => self.client.post(&url, &headers, Body::Json(body)).await?,
        })
    }

    /// Asks once how long the token lives, and renews it when less than half is left. One caller at a time does it; a failure
    /// is that of nobody's call.
    async fn keep_alive(&self, token: &Arc<Token>) {
        let Some((mut due, mut lease, _flight)) = self.token.due(token, Instant::now()) else { return };
        if due == Due::Ask {
            let answer = self.send("auth/token/lookup-self", None, token).await;
            let data = answer.and_then(|answer| member(judged(&answer, self.token.path())?, "data"));
            let found = data.and_then(|data| {
                Lease::of_lookup(&data, Instant::now()).ok_or_else(|| Fault::malformed("expected ttl, found none"))
            });
            match found {
                Ok(found) => lease = found,
                Err(fault) => {
                    warn!(detail = %fault.detail, "transit: the token's time to live is not known");
                    self.token.note(token, lease.after_failure(Instant::now()));
                    return;
                }
            }
            self.token.note(token, lease);
            due = lease.due(Instant::now());
        }
        if due == Due::Renew {
            let empty = Value::Object(Map::new());
            let answer = self.send("auth/token/renew-self", Some(&empty), token).await;
            let auth = answer.and_then(|answer| member(judged(&answer, self.token.path())?, "auth"));
            let renewed = auth.and_then(|auth| {
                Lease::of_renewal(&auth, Instant::now())
                    .ok_or_else(|| Fault::malformed("expected lease_duration, found none"))
            });
            let lease = match renewed {
                Ok(renewed) => renewed,
                Err(fault) => {
                    warn!(detail = %fault.detail, "transit: the token could not be renewed");
                    lease.after_failure(Instant::now())
                }
            };
            self.token.note(token, lease);
        }
    }
}

/// What the status means. Never repeats the body.
fn judged<'a>(answer: &'a Reply, token_file: &std::path::Path) -> Result<&'a Reply, Fault> {
    let status = answer.status;
    let fault = |kind, text: &str| Err(Fault::new(kind, format!("{}: HTTP {status}{text}", answer.at())));
    match status {
        200..300 => Ok(answer),
        300..400 => fault(FaultKind::Unavailable, ", a standby that points elsewhere; hint: configure the active node"),
        403 => {
            let text = format!(" with the token of {}", token_file.display());
            fault(FaultKind::Denied, &text)
        }
        404 => fault(FaultKind::NotFound, ""),
        429 => fault(FaultKind::Throttled { retry_after_s: answer.retry_after_s().unwrap_or(1).max(1) }, ""),
        // A replica that is behind, and the health codes of standbys.
        412 | 472 | 473 => fault(FaultKind::Unavailable, ""),
        500 => fault(FaultKind::Internal, ""),
        503 => fault(FaultKind::Unavailable, ", sealed or in maintenance"),
        400..500 => fault(FaultKind::Malformed, ""),
        _ => fault(FaultKind::Unavailable, ""),
    }
}

/// The object `name` of the answer; an empty one where there is none.
fn member(answer: &Reply, name: &str) -> Result<Map<String, Value>, Fault> {
    if answer.body.is_empty() {
        return Ok(Map::new());
    }
    match answer.json()? {
        Value::Object(mut members) => match members.remove(name) {
            Some(Value::Object(found)) => Ok(found),
            None | Some(Value::Null) => Ok(Map::new()),
            Some(_) => Err(Fault::malformed(format!("{}: expected {name} as an object, found another", answer.at()))),
        },
        _ => Err(Fault::malformed(format!("{}: expected a JSON object, found another value", answer.at()))),
    }
}
