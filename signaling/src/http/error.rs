//! How a refusal reads: `{"error":{"type","code","message","param"}}`, and a status.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::line::{CallId, Fault, Refusal};
use crate::negotiate::NegotiateError;

/// An error as an HTTP client sees it.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub kind: &'static str,
    pub code: &'static str,
    pub message: String,
    pub param: Option<String>,
    /// Further headers of the response: `Retry-After`, `Accept-Post`, …
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// The request cannot be taken as it is.
    pub fn invalid(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = "invalid_request_error";
        Self { status, kind, code, message: message.into(), param: None, headers: Vec::new() }
    }

    /// The request is fine, the server is not.
    pub fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: "server_error", ..Self::invalid(status, code, message) }
    }

    pub fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: "authentication_error", ..Self::invalid(StatusCode::UNAUTHORIZED, code, message) }
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The holder of this key, or this address, has had its share.
    pub fn limited(code: &'static str, message: impl Into<String>) -> Self {
        Self { kind: "rate_limit_error", ..Self::invalid(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }

    pub fn no_such_call(call: &CallId) -> Self {
        let shown: String = call.as_str().chars().take(64).collect();
        let message = format!("there is no call `{shown}`; it has ended, or it never was");
        Self::invalid(StatusCode::NOT_FOUND, "call_not_found", message).about("call_id")
    }

    pub fn method_not_allowed() -> Self {
        let message = "this address does not take that method; the `Allow` header lists those it takes";
        Self::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// Names the field that is wrong.
    pub fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Asks the client to come again, in whole seconds, at least one.
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, kind, code, message, param, headers } = self;
        let body = Json(json!({ "error": { "type": kind, "code": code, "message": message, "param": param } }));
        let mut response = (status, body).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

/// A field of a session was wrong.
impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let Fault { kind, code, message, param, event_id: _ } = fault;
        Self { kind, param, ..Self::invalid(StatusCode::BAD_REQUEST, code, message) }
    }
}

impl From<NegotiateError> for ApiError {
    fn from(error: NegotiateError) -> Self {
        use StatusCode as S;
        let (code, message) = (error.code(), error.to_string());
        match error {
            NegotiateError::Empty
            | NegotiateError::Malformed { .. }
            | NegotiateError::NoAudio
            | NegotiateError::AudioInactive
            | NegotiateError::NoCodec { .. }
            | NegotiateError::TooMuchMedia { .. }
            | NegotiateError::TooManyCandidates { .. }
            | NegotiateError::Rejected { .. }
            | NegotiateError::BadFragment { .. } => Self::invalid(S::BAD_REQUEST, code, message),
            NegotiateError::TooLarge { .. } => Self::invalid(S::PAYLOAD_TOO_LARGE, code, message),
            NegotiateError::Unsupported(_) => Self::invalid(S::UNPROCESSABLE_ENTITY, code, message),
            NegotiateError::UnknownCall(call) => Self::no_such_call(&call),
            NegotiateError::Refused(Refusal::Full { retry_after, .. } | Refusal::Draining { retry_after }) => {
                Self::server(S::SERVICE_UNAVAILABLE, code, message).retry_after(retry_after)
            }
            NegotiateError::Refused(Refusal::Loading { retry_after, .. }) => {
                Self::server(S::SERVICE_UNAVAILABLE, "server_loading", message).retry_after(retry_after)
            }
            NegotiateError::Refused(Refusal::EngineMissing { .. }) => {
                Self::server(S::SERVICE_UNAVAILABLE, code, message)
            }
            NegotiateError::Refused(Refusal::Quota { retry_after, .. }) => {
                Self::limited(code, message).retry_after(retry_after)
            }
            NegotiateError::Refused(Refusal::NoSuchConversation(_)) => {
                Self::invalid(S::NOT_FOUND, code, message).about("session.avatar.conversation_id")
            }
            NegotiateError::Refused(Refusal::ResumeTokenInvalid) => {
                Self::invalid(S::CONFLICT, code, message).about("session.avatar.resume_token")
            }
            NegotiateError::Internal { .. } => {
                tracing::error!(error = %message, "a call could not be negotiated");
                Self::server(S::INTERNAL_SERVER_ERROR, code, message)
            }
        }
    }
}
