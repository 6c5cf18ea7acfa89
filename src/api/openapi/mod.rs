//! `GET /api/openapi.json`: every HTTP route, for programs that write clients, and for those that try to break the server.
//!
//! Each route is one function here that is described and never called, so that the doors and the service need know nothing of it. A
//! test holds this list against the router's own.

mod doors;
mod history;
mod service;
mod voices;

use std::collections::BTreeMap;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Object, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(title = "Avatar", description = "A self-hosted, real-time voice server."),
    servers((url = "/")),
    security(("key" = [])),
    modifiers(&Keys),
    components(schemas(Refusal)),
    tags(
        (name = "history", description = "What was said"),
        (name = "voices", description = "Voices to talk with"),
        (name = "calls", description = "Doors that calls come in by"),
        (name = "service", description = "The engines by themselves, in the words of OpenAI's HTTP API"),
        (name = "server", description = "The server itself"),
    ),
    paths(
        history::list,
        history::show,
        history::rename,
        history::delete,
        history::edit,
        history::export,
        history::export_audio,
        history::audio,
        history::render,
        history::events,
        voices::list,
        voices::add,
        voices::show,
        voices::rename,
        voices::remove,
        voices::audio,
        voices::cloning,
        doors::ice_servers,
        doors::create_call,
        doors::restart_call,
        doors::end_call,
        doors::hang_up,
        doors::client_secret,
        doors::whip,
        doors::whip_patch,
        doors::whip_end,
        doors::chat,
        service::complete,
        service::transcribe,
        service::speak,
        service::models,
        service::model,
        health,
        status,
        document,
    )
)]
struct Document;

/// The key as every route but `/health` wants it.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let described = "One of the server's `api_keys`, one of `avatar keys create`, or for calls a client secret. A server that \
                         has no keys takes any, or none.";
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(described)).build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// How every refusal reads.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Refusal {
    error: Reason,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Reason {
    #[schema(example = "invalid_request_error")]
    r#type: String,
    /// One word that a program can match on.
    #[schema(example = "invalid_value")]
    code: String,
    /// What happened and what to do, for a person.
    message: String,
    /// Which field was wrong.
    param: Option<String>,
}

/// What any guarded route may answer beside what it is for.
struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let told = |description: &str| {
            let content = Content::new(Some(Ref::from_schema_name("Refusal")));
            RefOr::T(ResponseBuilder::new().description(description).content("application/json", content).build())
        };
        BTreeMap::from([
            ("401".to_owned(), told("No key, or one that opens nothing")),
            ("429".to_owned(), told("The key or the address has had its share; `Retry-After` says when to come again")),
            ("4XX".to_owned(), told("The request cannot be taken as it is")),
            ("5XX".to_owned(), told("The server cannot do it, or not now")),
        ])
    }
}

/// Whether calls can be taken, and what is known of each engine.
#[utoipa::path(
    get, path = "/health", tag = "server", security(()),
    responses(
        (status = 200, description = "Calls can be taken", body = Health),
        (status = 503, description = "Loading, or something that a call needs is missing", body = Health),
    )
)]
#[allow(dead_code, reason = "described, never called")]
fn health() {}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Health {
    /// `ok`, `degraded`, `loading` or `down`.
    status: String,
    /// Of the way to taking calls, while that is not all gone.
    percent: Option<u8>,
    models: BTreeMap<String, Engine>,
    calls: CallCount,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Engine {
    name: String,
    /// `ready`, `degraded`, `loading`, `warming_up`, `failed` or `missing`.
    state: String,
    percent: Option<u8>,
    hint: Option<String>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct CallCount {
    active: u32,
    limit: u32,
}

/// The server at a glance.
#[utoipa::path(
    get, path = "/api/status", tag = "server",
    responses((status = 200, description = "Engines, calls, memory, how much is remembered", body = Status), Refused)
)]
#[allow(dead_code, reason = "described, never called")]
fn status() {}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Status {
    version: String,
    uptime_s: u64,
    engines: Vec<EngineStatus>,
    calls: CallCount,
    memory: Object,
    hq: Object,
    history: Object,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct EngineStatus {
    /// `stt`, `llm`, `tts`, `hq`, …
    role: String,
    name: String,
    /// As in `/health`.
    state: String,
    percent: Option<u8>,
    hint: Option<String>,
    /// Left out where the engine has none here, and until it is there.
    queue: Option<Queue>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "described, never made")]
struct Queue {
    /// Requests that were taken and are not begun; of `hq`, replies that wait for their better audio.
    waiting: u64,
    busy: u64,
}

/// This document.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Refused)
)]
#[allow(dead_code, reason = "described, never called")]
fn document() {}

/// The route of the document.
pub fn router() -> Router {
    // It holds nothing but what is written here.
    let text = Document::openapi().to_json().unwrap_or_default();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    Router::new().route("/api/openapi.json", get(answer)).method_not_allowed_fallback(super::method_not_allowed)
}
