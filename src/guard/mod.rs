//! Who gets through to the routes, and with how much: applied once to all of them, so that a new route is guarded without further
//! thought.
//!
//! [`Guard::protect`] asks for a key, keeps each key to its share, and tells the handlers who asks: [`Holder`] and
//! [`Viewer`](crate::history::Viewer) are extensions of every request that gets through. A client secret opens the doors of calls and
//! nothing else. [`Guard::receive`] stands before everything, the page too: a server without keys answers to this computer's names
//! alone, and no request is read that is compressed, larger than any route takes, or slower than any honest client.

mod bodies;
mod headers;
mod hosts;
mod limits;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use signaling::http::error::ApiError;
use signaling::http::keys::{self, Holder, Keys};

pub use self::headers::{with_safe_headers, with_strict_transport};
use self::hosts::Hosts;
use self::limits::Limits;
use crate::config;
use crate::history::Viewer;

/// Longest path with query.
const LONGEST_URI: usize = 24 * 1024;
/// What the holder of a client secret may use: the doors of calls, and what a browser must know before it calls.
const OF_CALLS: [&str; 4] = ["/v1/realtime", "/whip", "/ws/", "/api/ice-servers"];

/// One a server.
pub struct Guard {
    keys: Arc<Keys>,
    limits: Limits,
    hosts: Hosts,
}

impl Guard {
    pub fn new(keys: Arc<Keys>, limits: &config::Limits, security: &config::Security) -> Arc<Self> {
        Arc::new(Self { keys, limits: Limits::new(limits), hosts: Hosts::new(&security.hosts) })
    }

    /// Lets only those pass to `routes` who hold a key, where there are keys, and have some of their share left.
    pub fn protect(self: &Arc<Self>, routes: Router) -> Router {
        routes.layer(from_fn_with_state(Arc::clone(self), admit))
    }

    /// Refuses what no route takes.
    pub fn receive(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(self), receive))
    }

    fn holder(&self, request: &Request, now: SystemTime) -> Result<Holder, ApiError> {
        let token = keys::token(request.headers());
        let held = self.keys.holder(request.headers(), now);
        match (&held, token) {
            (Ok(Holder::Owner), Some(token)) => self.limits.own_key(address(request), token)?,
            (Err(refused), Some(_)) if refused.status == StatusCode::UNAUTHORIZED => {
                self.limits.wrong_key(address(request))?;
            }
            _ => {}
        }
        let holder = held?;
        if let Some(grant) = holder.grant() {
            self.limits.request(grant)?;
        }
        if matches!(holder, Holder::Client { .. }) && !is_of_calls(request.uri().path()) {
            let message = "a client secret opens a call and nothing else; use an API key";
            return Err(ApiError::invalid(StatusCode::FORBIDDEN, "api_key_needed", message));
        }
        Ok(holder)
    }
}

fn is_of_calls(path: &str) -> bool {
    OF_CALLS.iter().any(|prefix| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
    })
}

async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    // A preflight carries no key, and does nothing.
    if request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let holder = match guard.holder(&request, SystemTime::now()) {
        Ok(holder) => holder,
        Err(refused) => return refused.into_response(),
    };
    let viewer = holder.owner().map_or(Viewer::Everyone, |owner| Viewer::Owner(owner.to_owned()));
    request.extensions_mut().insert(viewer);
    request.extensions_mut().insert(holder);
    next.run(request).await
}

async fn receive(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let checked = guard.check(&request);
    let (head, body) = request.into_parts();
    let (body, whole) = bodies::bounded(body);
    let mut response = match checked {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(refused) => refused.into_response(),
    };
    // What was not read stands before the next request, so the connection ends here: a client must know, or it sends its next one
    // into the void.
    if !whole.is_read() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl Guard {
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let named = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        let named = named.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        if let Some(named) = named.filter(|named| !self.hosts.are_ours(named))
            && self.keys.are_none()?
        {
            let named: String = named.chars().take(100).collect();
            let message = format!(
                "a server without API keys answers to localhost alone, and not to `{named}`: set AVATAR_API_KEYS, or list the \
                 name in security.hosts if whatever stands in front lets in only whom it knows"
            );
            return Err(ApiError::invalid(StatusCode::FORBIDDEN, "host_not_allowed", message));
        }
        let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        if length > LONGEST_URI {
            let message = format!("the address has {length} bytes; at most {LONGEST_URI} are read");
            return Err(ApiError::invalid(StatusCode::URI_TOO_LONG, "uri_too_long", message));
        }
        bodies::check(request.headers())
    }
}

/// Where a request comes from; for one that came by no socket, as in tests, one address for all.
fn address(request: &Request) -> IpAddr {
    let connected = request.extensions().get::<ConnectInfo<SocketAddr>>();
    connected.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests;
