//! The door `/whip`, shaped like RFC 9725, for clients that are not web pages: SIP bridges, GStreamer, telephones.
//!
//! Unlike WHIP's own, the offer is `sendrecv`: the answer brings the reply's audio back. A client that offers a data channel
//! `oai-events` gets the Realtime protocol on it.
//!
//! The `ETag` of a call names its ICE session. A `PATCH` says in `If-Match` which one its candidates are for; `*` asks for
//! an ICE restart. The header `Avatar-Resume-Token` goes on with a call that was lost, as `session.avatar.resume_token` does at
//! `/v1/realtime/calls`.

mod tags;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};

use self::tags::{Match, Tags};
use crate::http::body::{self, OFFER_LIMIT};
use crate::http::error::ApiError;
use crate::http::keys::Keys;
use crate::http::negotiator::{Answer, Negotiator, Offer};
use crate::http::{self, IceServer};
use crate::line::{CallId, SessionPatch};
use crate::negotiate::NegotiateError;
use crate::realtime::RealtimeProtocol;

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const FRAGMENT: HeaderValue = HeaderValue::from_static("application/trickle-ice-sdpfrag");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The longest SDP fragment.
const FRAGMENT_LIMIT: usize = 64 * 1024;

struct Door {
    negotiator: Arc<dyn Negotiator>,
    keys: Arc<Keys>,
    links: Vec<HeaderValue>,
    tags: Tags,
}

pub fn router(negotiator: Arc<dyn Negotiator>, keys: Arc<Keys>, ice_servers: &[IceServer]) -> Router {
    let links = ice_servers.iter().flat_map(links).collect();
    Router::new()
        .route("/whip", post(create).options(about_endpoint))
        .route("/whip/{call}", delete(hang_up).patch(patch).options(about_call))
        .with_state(Arc::new(Door { negotiator, keys, links, tags: Tags::default() }))
}

async fn about_endpoint() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(ACCEPT_POST, SDP)])
}

async fn about_call() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(ACCEPT_PATCH, FRAGMENT)])
}

async fn create(State(door): State<Arc<Door>>, request: Request) -> Result<Response, ApiError> {
    let holder = door.keys.holder(request.headers(), SystemTime::now())?;
    if body::content_type(request.headers()).as_bytes() != SDP.as_bytes() {
        let message = "the offer must be SDP; send it as application/sdp";
        return Err(unsupported_type(message).with_header(ACCEPT_POST, SDP));
    }
    let resume = http::resume_token(request.headers());
    let sdp = body::sdp(&body::read(request.into_body(), OFFER_LIMIT).await?)?;
    let grant = holder.grant().cloned();
    let base = holder.session();
    let session = SessionPatch { resume: resume.or_else(|| base.resume.clone()), ..base };
    let offer = Offer { sdp, door: "whip", session, grant, protocol: Box::new(RealtimeProtocol::new()) };
    let Answer { call, sdp } = door.negotiator.answer(offer).await?;

    let location = format!("/whip/{call}");
    let tag = door.tags.renew(call);
    let headers = [(header::CONTENT_TYPE, SDP), (header::ETAG, tag)];
    let mut response = (StatusCode::CREATED, headers, [(header::LOCATION, location)], sdp).into_response();
    for link in &door.links {
        response.headers_mut().append(header::LINK, link.clone());
    }
    Ok(response)
}

async fn hang_up(State(door): State<Arc<Door>>, Path(call): Path<String>, headers: HeaderMap) -> Result<(), ApiError> {
    door.keys.holder(&headers, SystemTime::now())?;
    let call = CallId::from_text(call);
    door.tags.forget(&call);
    if door.negotiator.hang_up(&call) { Ok(()) } else { Err(ApiError::no_such_call(&call)) }
}

/// More candidates, or an ICE restart.
async fn patch(
    State(door): State<Arc<Door>>,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    door.keys.holder(request.headers(), SystemTime::now())?;
    let call = CallId::from_text(call);
    if body::content_type(request.headers()).as_bytes() != FRAGMENT.as_bytes() {
        let message = "the change must be an SDP fragment; send it as application/trickle-ice-sdpfrag";
        return Err(unsupported_type(message).with_header(ACCEPT_PATCH, FRAGMENT));
    }
    let wanted = request.headers().get(header::IF_MATCH).cloned();
    let restart = match door.tags.compare(&call, wanted.as_ref()) {
        Match::NoSuchCall => return Err(ApiError::no_such_call(&call)),
        Match::Missing => {
            let message = "the request must say which ICE session it is for; send `If-Match` with the call's `ETag`";
            return Err(ApiError::invalid(StatusCode::PRECONDITION_REQUIRED, "if_match_needed", message));
        }
        Match::Other => {
            let message = "`If-Match` names an ICE session that is over; use the `ETag` of the last answer";
            return Err(ApiError::invalid(StatusCode::PRECONDITION_FAILED, "if_match_failed", message));
        }
        Match::Any => true,
        Match::Same => false,
    };
    let content = body::read(request.into_body(), FRAGMENT_LIMIT).await?;
    let fragment = fragment(&content)?;
    let done = if restart {
        door.negotiator.restart(&call, fragment).await.map(Some)
    } else {
        door.negotiator.add_candidates(&call, fragment).await.map(|()| None)
    };
    match done {
        Ok(None) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Some(fragment)) => {
            let headers = [(header::CONTENT_TYPE, FRAGMENT), (header::ETAG, door.tags.renew(call))];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
        Err(error) => {
            if let NegotiateError::UnknownCall(_) = error {
                door.tags.forget(&call);
            }
            Err(error.into())
        }
    }
}

fn unsupported_type(message: &str) -> ApiError {
    ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", message)
}

/// The text of a fragment, if every line of it is `x=…` and one of them is an attribute.
fn fragment(content: &[u8]) -> Result<&str, ApiError> {
    let bad = |reason: &str| ApiError::from(NegotiateError::BadFragment { why: reason.to_owned() });
    let text = std::str::from_utf8(content).map_err(|_| bad("it is not UTF-8 text"))?;
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        return Err(bad("it is empty"));
    }
    let mut attributes = 0;
    for line in lines {
        match line.as_bytes() {
            [b'a', b'=', ..] => attributes += 1,
            [b'a'..=b'z', b'=', ..] => {}
            _ => return Err(bad("it has a line that is not of the form `x=…`")),
        }
    }
    if attributes == 0 {
        return Err(bad("it has no attribute"));
    }
    Ok(text)
}

/// A `Link` for each address of an ICE server, as RFC 9725 section 4.6 has it. One that cannot be told is left out, with a
/// warning.
fn links(server: &IceServer) -> Vec<HeaderValue> {
    server.urls.iter().filter_map(|url| link(server, url)).collect()
}

fn link(server: &IceServer, url: &str) -> Option<HeaderValue> {
    let mut text = format!("<{url}>; rel=\"ice-server\"");
    if let Some(username) = &server.username {
        text += &format!("; username=\"{}\"", escape(username));
    }
    if let Some(credential) = &server.credential {
        text += &format!("; credential=\"{}\"; credential-type=\"password\"", escape(credential.reveal()));
    }
    let value = HeaderValue::from_bytes(text.as_bytes()).ok();
    let value = value.filter(|_| !url.contains(['<', '>', '"', ' ']));
    if value.is_none() {
        tracing::warn!(url, "this ICE server cannot be told to WHIP clients; correct it in the config");
    }
    value
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests;
