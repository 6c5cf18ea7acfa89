//! The doors of calls.
#![allow(dead_code, reason = "described, never called")]

use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::Refused;

/// The STUN and TURN servers of the config, as browsers take them.
#[utoipa::path(
    get, path = "/api/ice-servers", tag = "calls",
    responses((status = 200, description = "`RTCIceServer`s", body = Vec<IceServer>), Refused)
)]
pub fn ice_servers() {}

#[derive(ToSchema)]
pub struct IceServer {
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
}

/// Calls: an offer in, an answer out.
#[utoipa::path(
    post, path = "/v1/realtime/calls", tag = "calls",
    request_body(
        content((String = "application/sdp"), (CallOffer = "application/json"), (CallForm = "multipart/form-data")),
        description = "An SDP offer with an audio section, alone or with what the session is to be",
    ),
    responses(
        (status = 201, description = "The answer; `Location` is the call", content_type = "application/sdp", body = String),
        Refused,
    )
)]
pub fn create_call() {}

#[derive(ToSchema)]
pub struct CallOffer {
    #[schema(example = "v=0\r\n")]
    sdp: String,
    /// A session as OpenAI's Realtime interface has it; `avatar.conversation_id` goes on with an earlier conversation,
    /// `avatar.resume_token` with a call that has lost its connection. `avatar.keep_on_close`: a connection that closes without a
    /// hang-up counts as lost.
    session: Option<Object>,
}

#[derive(ToSchema)]
pub struct CallForm {
    sdp: String,
    /// The same, as JSON text.
    session: Option<String>,
}

/// Restarts ICE: a whole new offer of the same client, whose network has changed.
#[utoipa::path(
    patch, path = "/v1/realtime/calls/{call}", tag = "calls", params(("call" = String, Path)),
    request_body(content = String, content_type = "application/sdp"),
    responses((status = 200, description = "The answer", content_type = "application/sdp", body = String), Refused)
)]
pub fn restart_call() {}

/// Ends a call, be it that its connection is lost and it waits for its client.
#[utoipa::path(
    delete, path = "/v1/realtime/calls/{call}", tag = "calls", params(("call" = String, Path)),
    responses((status = 200, description = "It is over"), Refused)
)]
pub fn end_call() {}

/// Ends a call, be it that its connection is lost and it waits for its client.
#[utoipa::path(
    post, path = "/v1/realtime/calls/{call}/hangup", tag = "calls", params(("call" = String, Path)),
    responses((status = 200, description = "It is over"), Refused)
)]
pub fn hang_up() {}

/// Makes a short-lived secret for a browser: it opens calls and nothing else, and dies with the key that made it.
#[utoipa::path(
    post, path = "/v1/realtime/client_secrets", tag = "calls",
    request_body(content = SecretWanted),
    responses((status = 200, description = "The secret", body = ClientSecret), Refused)
)]
pub fn client_secret() {}

#[derive(ToSchema)]
pub struct SecretWanted {
    expires_after: Option<ExpiresAfter>,
    session: Option<Object>,
}

#[derive(ToSchema)]
pub struct ExpiresAfter {
    #[schema(pattern = "^created_at$")]
    anchor: Option<String>,
    /// 600 unless given.
    #[schema(minimum = 10, maximum = 7200)]
    seconds: Option<u32>,
}

#[derive(ToSchema)]
pub struct ClientSecret {
    #[schema(example = "ek_…")]
    value: String,
    /// Seconds since 1970.
    expires_at: u64,
    session: Object,
}

/// Calls, as RFC 9725 has it but `sendrecv`.
#[utoipa::path(
    post, path = "/whip", tag = "calls",
    params(("Avatar-Resume-Token" = Option<String>, Header, description = "Goes on with a call that has lost its connection")),
    request_body(content = String, content_type = "application/sdp"),
    responses(
        (status = 201, description = "The answer; `Location` is the call", content_type = "application/sdp", body = String),
        Refused,
    )
)]
pub fn whip() {}

/// More candidates; with `If-Match: *` an ICE restart.
#[utoipa::path(
    patch, path = "/whip/{call}", tag = "calls",
    params(("call" = String, Path), ("If-Match" = Option<String>, Header, description = "The call's `ETag`, or `*`")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 200, description = "The restart's answer", content_type = "application/trickle-ice-sdpfrag", body = String),
        (status = 204, description = "The candidates are taken"),
        Refused,
    )
)]
pub fn whip_patch() {}

/// Ends a call, be it that its connection is lost and it waits for its client.
#[utoipa::path(
    delete, path = "/whip/{call}", tag = "calls", params(("call" = String, Path)),
    responses((status = 200, description = "It is over"), Refused)
)]
pub fn whip_end() {}

/// A talk over one WebSocket, in JSON messages. Where headers cannot be set the key comes as the subprotocol `avatar-key.<key>`, a
/// resume token as `avatar-resume.<token>`.
#[utoipa::path(
    get, path = "/ws/chat", tag = "calls",
    params(
        ("conversation" = Option<String>, Query, min_length = 1, max_length = 128, description = "Goes on with an earlier one"),
        ("voice" = Option<String>, Query, min_length = 1, max_length = 128),
        ("language" = Option<String>, Query, min_length = 1, max_length = 128, description = "BCP 47, or `auto`"),
        ("Avatar-Resume-Token" = Option<String>, Header, description = "Goes on with a call that has lost its connection"),
    ),
    responses((status = 101, description = "The talk begins"), Refused)
)]
pub fn chat() {}
