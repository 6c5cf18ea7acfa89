//! Which web pages may use the doors.
//!
//! A browser names the page's origin in every request that could change something. A page of this server, and a page on
//! the same computer, may call; others only if they are listed. A request from any other page is refused with 403 before
//! its body is read, so that a page somewhere cannot take up call slots with requests whose answers it may not read.
//! Requests without an origin (other programs) pass: keys are what holds those back.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

const ALLOWED_METHODS: &str = "GET, POST, PATCH, DELETE, OPTIONS";
/// What pages may send: what the doors read, and what OpenAI's packages for browsers send along.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, If-Match, Last-Event-ID, Range, Avatar-Resume-Token, \
                               X-OpenAI-Agents-SDK, OpenAI-Beta, OpenAI-Organization, OpenAI-Project, X-Stainless-Arch, \
                               X-Stainless-Async, X-Stainless-Custom-Poll-Interval, X-Stainless-Helper-Method, \
                               X-Stainless-Lang, X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Poll-Helper, \
                               X-Stainless-Retry-Count, X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout";
const EXPOSED_HEADERS: &str = "Location, ETag, Link, Retry-After, Content-Range, Content-Disposition, X-Avatar-Voice";
/// How long a browser may remember what a preflight said, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// The pages that may call, beside the server's own and those on the same computer.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    any: bool,
    listed: Vec<String>,
}

impl Origins {
    /// `listed` are origins as browsers send them (`https://example.org:8443`); `*` lets every page call.
    pub fn new(listed: impl IntoIterator<Item = String>) -> Self {
        let listed: Vec<String> =
            listed.into_iter().map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { any: listed.iter().any(|origin| origin == "*"), listed }
    }

    /// Whether a page of `origin` may call the server that it addressed as `host`.
    pub fn allow(&self, origin: &str, host: Option<&str>) -> bool {
        if self.any || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Ok(origin) = origin.parse::<Uri>() else { return false };
        if !matches!(origin.scheme_str(), Some("http" | "https")) {
            return false;
        }
        let Some(authority) = origin.authority() else { return false };
        let same_origin = host.is_some_and(|host| authority.as_str().eq_ignore_ascii_case(host));
        let name = authority.host().to_ascii_lowercase();
        same_origin || matches!(name.as_str(), "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost")
    }
}

/// Guards every route of `routes`. To guard one twice changes nothing.
pub fn guard(routes: Router, origins: Origins) -> Router {
    routes.layer(middleware::from_fn_with_state(Arc::new(origins), check))
}

async fn check(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    let host = host(&request);
    if !origin.to_str().is_ok_and(|origin| origins.allow(origin, host)) {
        let message = "pages of this origin may not call this server; add it to the server's allowed origins";
        return ApiError::invalid(StatusCode::FORBIDDEN, "origin_not_allowed", message).into_response();
    }
    let preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    // A route that has nothing of its own to say to a preflight need not take it.
    if preflight && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = StatusCode::NO_CONTENT.into_response();
    }
    share(response.headers_mut(), origin, preflight);
    response
}

fn host(request: &Request) -> Option<&str> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

/// Lets the page of `origin` read the response.
fn share(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    if preflight {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        set(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let varies = headers.get_all(header::VARY).into_iter().any(|vary| vary == "Origin");
    if !varies {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_page_and_local_pages_may_call() {
        let origins = Origins::default();
        let host = Some("avatar.lan:8443");
        for origin in [
            "https://avatar.lan:8443",
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:3000",
            "http://a.localhost",
        ] {
            assert!(origins.allow(origin, host), "{origin}");
        }
    }

    #[test]
    fn a_foreign_page_may_not_call_whatever_it_calls_itself() {
        let origins = Origins::default();
        let host = Some("avatar.lan:8443");
        for origin in [
            "https://evil.example",
            "https://localhost.evil.example",
            "https://127.0.0.1.evil.example",
            "https://avatar.lan:9999",
            "null",
            "",
            "file://localhost",
            "https://evil.example/localhost",
        ] {
            assert!(!origins.allow(origin, host), "{origin}");
        }
    }

    #[test]
    fn listed_pages_may_call() {
        let origins = Origins::new(["https://Phone.Example/".to_owned()]);
        assert!(origins.allow("https://phone.example", None));
        assert!(!origins.allow("http://phone.example", None));
        assert!(Origins::new(["*".to_owned()]).allow("https://evil.example", None));
    }
}
