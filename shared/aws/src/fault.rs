//! From an SDK error to what the reader can do about it. The store's message never passes: only its code, the HTTP
//! status and the request id do, cut and escaped, since whoever answers on the endpoint chooses them.

use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use token_issuance::SourceError;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

/// Makes a call with the SDK's own log and trace output switched off, whatever the process's log level: at TRACE the SDK
/// writes error messages of the store in full, and with `LOG_SENSITIVE_BODIES` set also documents.
pub(crate) async fn quietly<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::default()).await
}

/// A failed call, classified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Denied,
    Malformed,
    NotFound,
    Throttled,
    Unavailable,
}

impl Fault {
    pub(crate) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let unavailable = |detail: String| Self { kind: FaultKind::Unavailable, detail };
        match error {
            SdkError::ConstructionFailure(_) => unavailable("the request could not be built".to_owned()),
            SdkError::TimeoutError(_) => unavailable("timed out".to_owned()),
            SdkError::DispatchFailure(failure) => {
                // Resolver, socket and TLS texts: written on this side of the connection, before any answer.
                let cause = failure.as_connector_error().map(deepest).unwrap_or_default();
                unavailable(match cause.as_str() {
                    _ if failure.is_timeout() => "timed out while connecting or sending".to_owned(),
                    "" => "no connection".to_owned(),
                    cause => format!("no connection: {cause}"),
                })
            }
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().map(token).unwrap_or_default();
                let mut detail = if code.is_empty() { "no error code".to_owned() } else { code.clone() };
                detail.push_str(&format!(", HTTP {status}"));
                if let Some(id) = error.request_id().map(token).filter(|id| !id.is_empty()) {
                    detail.push_str(&format!(", request {id}"));
                }
                Self { kind: kind_of(&code, status), detail }
            }
            // The cause may quote the answer.
            SdkError::ResponseError(_) => unavailable("the answer was cut off or could not be read".to_owned()),
            _ => unavailable("the call failed".to_owned()),
        }
    }

    pub(crate) fn into_source_error(self, source_name: String) -> SourceError {
        let detail = self.detail;
        match self.kind {
            FaultKind::Denied => SourceError::Denied { source_name, detail },
            FaultKind::Malformed => SourceError::Malformed { source_name, detail },
            FaultKind::NotFound => SourceError::NotFound { source_name, detail },
            FaultKind::Throttled => SourceError::Throttled { source_name, detail },
            FaultKind::Unavailable => SourceError::Unavailable { source_name, detail },
        }
    }

    pub(crate) fn into_write_error(self, target: String) -> WriteError {
        let detail = self.detail;
        match self.kind {
            FaultKind::Denied => WriteError::Denied { target, detail },
            FaultKind::Malformed => WriteError::Refused { target, detail },
            FaultKind::NotFound => WriteError::NotFound { target, detail },
            FaultKind::Throttled | FaultKind::Unavailable => WriteError::Unavailable { target, detail },
        }
    }
}

/// Why a document was not written. Texts never contain the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The store refused us.
    #[error("{target}: access denied ({detail}); hint: grant this principal write access to exactly this document")]
    Denied {
        /// Where to.
        target: String,
        /// The store's error code.
        detail: String,
    },
    /// It was there a moment ago: somebody deleted it.
    #[error("{target}: not found ({detail}); hint: it was deleted meanwhile, or is about to be; try again")]
    NotFound {
        /// Where to.
        target: String,
        /// The store's error code.
        detail: String,
    },
    /// The document or its name is not acceptable.
    #[error("{target}: {detail}")]
    Refused {
        /// Where to.
        target: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The store did not answer, or asked us to slow down. Whether it was written is not known.
    #[error(
        "{target}: unavailable ({detail}); hint: it may or may not have been written: read it back, or write again"
    )]
    Unavailable {
        /// Where to.
        target: String,
        /// What happened.
        detail: String,
    },
}

/// The code decides; the status only where AWS has no code we know.
fn kind_of(code: &str, status: u16) -> FaultKind {
    match code {
        "NotFoundException" | "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
            FaultKind::NotFound
        }
        "AccessDenied"
        | "AccessDeniedException"
        | "DecryptionFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidKeyId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => FaultKind::Denied,
        "BandwidthLimitExceeded"
        | "EC2ThrottledException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "Throttling"
        | "ThrottledException"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "TooManyUpdates" => FaultKind::Throttled,
        // What Secrets Manager answers for a secret that is marked for deletion, and both services for a name or a value
        // that they do not accept.
        // What KMS answers for a key that is disabled, to be deleted, or of another kind.
        "DisabledException"
        | "InvalidKeyUsageException"
        | "KMSInvalidStateException"
        | "InvalidParameterException"
        | "InvalidRequestException"
        | "ValidationException" => FaultKind::Malformed,
        _ => match status {
            401 | 403 => FaultKind::Denied,
            429 => FaultKind::Throttled,
            _ => FaultKind::Unavailable,
        },
    }
}

/// A foreign identifier (error code, request id): its plain characters, at most 64.
fn token(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(64).collect()
}

/// The innermost cause, which says what happened on the wire ("connection refused", "invalid peer certificate …").
fn deepest(error: &(impl std::error::Error + 'static)) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().chars().take(160).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ssm::error::ErrorMetadata;
    use aws_sdk_ssm::operation::get_parameter::GetParameterError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    fn answered(code: &str, message: &str, status: u16) -> Fault {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let status = StatusCode::try_from(status).unwrap();
        let raw = HttpResponse::new(status, SdkBody::empty());
        Fault::of(&SdkError::service_error(GetParameterError::generic(metadata), raw))
    }

    #[test]
    fn the_code_decides_and_the_status_only_where_the_code_is_unknown() {
        for (code, status, kind) in [
            ("ResourceNotFoundException", 400, FaultKind::NotFound),
            ("AccessDeniedException", 400, FaultKind::Denied),
            ("ThrottlingException", 400, FaultKind::Throttled),
            ("InvalidRequestException", 400, FaultKind::Malformed),
            ("InternalServiceError", 500, FaultKind::Unavailable),
            ("Whatever", 403, FaultKind::Denied),
            ("Whatever", 429, FaultKind::Throttled),
            ("", 503, FaultKind::Unavailable),
            ("ResourceNotFoundExceptionX", 400, FaultKind::Unavailable),
        ] {
            assert_eq!(answered(code, "", status).kind, kind, "{code} {status}");
        }
    }

    #[test]
    fn the_message_of_the_store_never_passes_and_its_code_is_cut() {
        let fault = answered(&format!("Throttling\r\n\"{}", "x".repeat(500)), "the-secret-value", 400);
        assert!(!fault.detail.contains("the-secret-value"), "{}", fault.detail);
        assert!(fault.detail.len() < 100 && !fault.detail.contains(['\r', '\n', '"']), "{}", fault.detail);
    }

    #[test]
    fn an_unreadable_answer_is_not_quoted() {
        let raw = HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from("the-secret-value"));
        let error: SdkError<GetParameterError, _> = SdkError::response_error("the-secret-value", raw);
        let fault = Fault::of(&error);
        assert_eq!(fault.kind, FaultKind::Unavailable);
        assert!(!fault.detail.contains("the-secret-value"), "{}", fault.detail);
    }
}
