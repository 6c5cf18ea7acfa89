//! `GET /health`: what works, for people, load balancers and the page.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use models::remote::Standing;
use serde::Serialize;

use super::ApiState;
use crate::engines::EngineState;

#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
    models: BTreeMap<&'static str, Model>,
    calls: Calls,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct Calls {
    active: usize,
    limit: usize,
}

/// 200 when calls can be taken, 503 when an engine that a call needs is missing.
pub async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let mut models = BTreeMap::new();
    let (mut down, mut degraded) = (false, false);
    for report in state.engines.iter() {
        let (word, hint) = match &report.state {
            // Calls go on with the fallback, or wait for the server.
            EngineState::Ready => match report.standing.as_ref().and_then(Standing::trouble) {
                Some(trouble) => {
                    degraded = true;
                    ("degraded", Some(trouble))
                }
                None => ("ready", None),
            },
            EngineState::Missing { hint, needed } => {
                down |= *needed;
                degraded |= !needed;
                ("missing", Some(hint.clone()))
            }
        };
        models.insert(report.kind, Model { name: report.name.clone(), state: word, hint });
    }
    let (status, code) = match (down, degraded) {
        (true, _) => ("down", StatusCode::SERVICE_UNAVAILABLE),
        (false, true) => ("degraded", StatusCode::OK),
        (false, false) => ("ok", StatusCode::OK),
    };
    let calls = Calls { active: state.exchange.taken(), limit: state.exchange.limit() };
    (code, Json(Health { status, models, calls }))
}
