//! Whose a call is: to everybody else it does not exist.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::keys::Keys;
use super::negotiator::Negotiator;
use crate::line::CallId;

type Known = (Arc<dyn Negotiator>, Arc<Keys>);

/// Answers every request of `routes` whose path names a call (`{call}`, `{call_id}`) with 404 where it is another's.
pub fn keep_to_owners(routes: Router, negotiator: Arc<dyn Negotiator>, keys: Arc<Keys>) -> Router {
    routes.route_layer(middleware::from_fn_with_state((negotiator, keys), check))
}

async fn check(
    State((negotiator, keys)): State<Known>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let call = params.iter().find_map(|(name, value)| name.starts_with("call").then(|| CallId::from_text(value)));
    // What a preflight asks is no secret, and it carries no key.
    let Some(call) = call.filter(|_| request.method() != Method::OPTIONS) else { return next.run(request).await };
    let holder = match keys.holder(request.headers(), SystemTime::now()) {
        Ok(holder) => holder,
        Err(refused) => return refused.into_response(),
    };
    match negotiator.owner(&call) {
        Some(owner) if !holder.may_touch(owner.as_deref()) => ApiError::no_such_call(&call).into_response(),
        _ => next.run(request).await,
    }
}
