//! `GET /health`: what works, for people, load balancers and the page.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::ApiState;
use crate::call::admission::Exchange;
use crate::engines::{EngineReport, EngineState};
use crate::readiness::{Readiness, Unready, percent};

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
pub struct Calls {
    active: usize,
    limit: usize,
}

impl Calls {
    pub fn of(exchange: &Exchange) -> Self {
        Self { active: exchange.taken(), limit: exchange.limit() }
    }
}

/// 200 when calls can be taken; 503 while engines are loading, and when one that a call needs is missing or failing.
pub async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let mut models = BTreeMap::new();
    let (mut down, mut degraded) = (false, false);
    let reports = state.readiness.reports();
    let of_all = percent(&reports);
    for report in reports {
        let Standing { word, percent, hint, is_down, is_degraded } = standing(&report, &state.readiness);
        down |= is_down;
        degraded |= is_degraded;
        models.insert(report.kind, Model { name: report.name, state: word, percent, hint });
    }
    let loading = matches!(state.readiness.calls(), Err(Unready::Loading { .. }));
    let (status, code) = match (loading, down, degraded) {
        (true, ..) => ("loading", StatusCode::SERVICE_UNAVAILABLE),
        (_, true, _) => ("down", StatusCode::SERVICE_UNAVAILABLE),
        (_, false, true) => ("degraded", StatusCode::OK),
        (_, false, false) => ("ok", StatusCode::OK),
    };
    let calls = Calls::of(&state.exchange);
    (code, Json(Health { status, percent: loading.then_some(of_all), models, calls }))
}

/// How one engine stands, in the words of the REST interface.
pub struct Standing {
    pub word: &'static str,
    pub percent: Option<u8>,
    pub hint: Option<String>,
    /// No call without it.
    pub is_down: bool,
    pub is_degraded: bool,
}

pub fn standing(report: &EngineReport, readiness: &Readiness) -> Standing {
    let well = |word, percent| Standing { word, percent, hint: None, is_down: false, is_degraded: false };
    let badly = |word, hint: &String, needed: bool| Standing {
        hint: Some(hint.clone()),
        is_down: needed,
        is_degraded: !needed,
        ..well(word, None)
    };
    match &report.state {
        EngineState::Loading { percent } => well("loading", Some(*percent)),
        EngineState::WarmingUp => well("warming_up", None),
        // Calls go on with the fallback, or wait for the server.
        EngineState::Ready => match readiness.trouble(report.kind) {
            Some(trouble) => badly("degraded", &trouble, false),
            None => well("ready", None),
        },
        EngineState::Failing { reason, needed } => badly("failed", reason, *needed),
        EngineState::Missing { hint, needed } => badly("missing", hint, *needed),
    }
}
