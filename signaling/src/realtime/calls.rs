//! The door `/v1/realtime/calls`: an offer in, an answer out, and the end of a call.
//!
//! The offer comes as `application/sdp`, as `multipart/form-data` with the fields `sdp` and `session`, or as JSON
//! `{sdp, session}`. What the session says goes over what the client's secret said.
//!
//! `PATCH` of a call with a whole new offer restarts ICE: the way of a client whose network has changed to keep its call.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use bytes::Bytes;
use serde_json::Value;

use super::fields::{Fields, missing};
use super::{RealtimeProtocol, session};
use crate::http::body::{self, OFFER_LIMIT};
use crate::http::error::ApiError;
use crate::http::keys::Keys;
use crate::http::negotiator::{Answer, Negotiator, Offer};
use crate::line::{CallId, SessionPatch};

const SDP: &str = "application/sdp";

#[derive(Clone)]
struct Door {
    negotiator: Arc<dyn Negotiator>,
    keys: Arc<Keys>,
}

pub fn router(negotiator: Arc<dyn Negotiator>, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/v1/realtime/calls", post(create).options(preflight))
        .route("/v1/realtime/calls/{call}", delete(hang_up).patch(restart).options(preflight))
        .route("/v1/realtime/calls/{call}/hangup", post(hang_up).options(preflight))
        .with_state(Door { negotiator, keys })
}

/// What there is to say is in the headers that the origin guard adds.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn create(State(door): State<Door>, request: Request) -> Result<Response, ApiError> {
    let holder = door.keys.holder(request.headers(), SystemTime::now())?;
    let (sdp, patch) = read(request).await?;
    let grant = holder.grant().cloned();
    let session = session::over(patch, holder.session());
    let offer = Offer { sdp, door: "webrtc", session, grant, protocol: Box::new(RealtimeProtocol::new()) };
    let Answer { call, sdp } = door.negotiator.answer(offer).await?;
    let headers = [(header::CONTENT_TYPE, SDP.to_owned()), (header::LOCATION, format!("/v1/realtime/calls/{call}"))];
    Ok((StatusCode::CREATED, headers, sdp).into_response())
}

async fn restart(State(door): State<Door>, Path(call): Path<String>, request: Request) -> Result<Response, ApiError> {
    door.keys.holder(request.headers(), SystemTime::now())?;
    if body::content_type(request.headers()) != SDP {
        let message = "a new offer must be SDP; send it as application/sdp";
        return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message));
    }
    let offer = body::sdp(&body::read(request.into_body(), OFFER_LIMIT).await?)?;
    let sdp = door.negotiator.answer_again(&CallId::from_text(call), &offer).await?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, SDP)], sdp).into_response())
}

async fn hang_up(State(door): State<Door>, Path(call): Path<String>, headers: HeaderMap) -> Result<(), ApiError> {
    door.keys.holder(&headers, SystemTime::now())?;
    let call = CallId::from_text(call);
    if door.negotiator.hang_up(&call) { Ok(()) } else { Err(ApiError::no_such_call(&call)) }
}

/// The offer's SDP and what it says of the session.
async fn read(request: Request) -> Result<(String, SessionPatch), ApiError> {
    let kind = body::content_type(request.headers());
    let (parts, content) = request.into_parts();
    match kind.as_str() {
        SDP => {
            let content = body::read(content, OFFER_LIMIT).await?;
            Ok((body::sdp(&content)?, SessionPatch::default()))
        }
        "application/json" => {
            let value = json(&body::read(content, OFFER_LIMIT).await?, "the request")?;
            let fields = Fields::of(&value, "")?;
            let sdp = body::sdp(fields.required_text("sdp")?.as_bytes())?;
            Ok((sdp, fields.get("session").map(session::patch).transpose()?.unwrap_or_default()))
        }
        "multipart/form-data" => {
            let content = body::read(content, OFFER_LIMIT).await?;
            form(Request::from_parts(parts, Body::from(content))).await
        }
        other => {
            let message = format!(
                "the content type `{}` is not accepted; send application/sdp, multipart/form-data with `sdp` and \
                 `session`, or application/json with the same",
                super::fields::quoted(other)
            );
            Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message))
        }
    }
}

async fn form(request: Request) -> Result<(String, SessionPatch), ApiError> {
    let broken = |reason: String| {
        let message = format!("the multipart form cannot be read: {reason}");
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_form", message)
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(error.body_text()))?;
    let (mut sdp, mut patch) = (None, SessionPatch::default());
    while let Some(field) = form.next_field().await.map_err(|error| broken(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let content: Bytes = field.bytes().await.map_err(|error| broken(error.body_text()))?;
        match name.as_str() {
            "sdp" => sdp = Some(body::sdp(&content)?),
            "session" => patch = session::patch(&json(&content, "the field `session`")?)?,
            _ => {}
        }
    }
    Ok((sdp.ok_or_else(|| missing("sdp"))?, patch))
}

/// `what` names the text in the error.
pub(super) fn json(content: &[u8], what: &str) -> Result<Value, ApiError> {
    serde_json::from_slice(content).map_err(|error| {
        let message = format!("{what} is not JSON: {error}");
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_json", message)
    })
}
