//! `GET /health`: what works, for people, load balancers and the page.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::ApiState;
use crate::engines::EngineState;
use crate::readiness::{Unready, percent};

#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
    /// Of the way to taking calls, 0 to 100, while that is not all gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    models: BTreeMap<&'static str, Model>,
    calls: Calls,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    state: &'static str,
    /// Of a model that is loading, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct Calls {
    active: usize,
    limit: usize,
}

/// 200 when calls can be taken; 503 while engines are loading, and when one that a call needs is missing or failing.
pub async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let mut models = BTreeMap::new();
    let (mut down, mut degraded) = (false, false);
    let reports = state.readiness.reports();
    let of_all = percent(&reports);
    for report in reports {
        let (word, percent, hint) = match report.state {
            EngineState::Loading { percent } => ("loading", Some(percent), None),
            EngineState::WarmingUp => ("warming_up", None, None),
            // Calls go on with the fallback, or wait for the server.
            EngineState::Ready => match state.readiness.trouble(report.kind) {
                Some(trouble) => {
                    degraded = true;
                    ("degraded", None, Some(trouble))
                }
                None => ("ready", None, None),
            },
            EngineState::Failing { reason, needed } => {
                down |= needed;
                degraded |= !needed;
                ("failed", None, Some(reason))
            }
            EngineState::Missing { hint, needed } => {
                down |= needed;
                degraded |= !needed;
                ("missing", None, Some(hint))
            }
        };
        models.insert(report.kind, Model { name: report.name, state: word, percent, hint });
    }
    let loading = matches!(state.readiness.calls(), Err(Unready::Loading { .. }));
    let (status, code) = match (loading, down, degraded) {
        (true, ..) => ("loading", StatusCode::SERVICE_UNAVAILABLE),
        (_, true, _) => ("down", StatusCode::SERVICE_UNAVAILABLE),
        (_, false, true) => ("degraded", StatusCode::OK),
        (_, false, false) => ("ok", StatusCode::OK),
    };
    let calls = Calls { active: state.exchange.taken(), limit: state.exchange.limit() };
    (code, Json(Health { status, percent: loading.then_some(of_all), models, calls }))
}
