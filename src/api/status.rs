//! `GET /api/status`: the server at a glance, for the page. Engines, calls, memory, and how much there is to remember.

use std::sync::LazyLock;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use models::queue::QueueDepth;
use serde::Serialize;
use signaling::http::error::ApiError;

use super::ApiState;
use super::conversations::{By, read};
use super::health::{Calls, Standing, standing};
use crate::history::renders::RenderCounts;
use crate::history::{History, Viewer};
use crate::readiness::{HQ, Readiness};

/// When the server began, which is when its routes were put together.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Starts the clock.
pub fn begin() {
    LazyLock::force(&BEGAN);
}

#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    uptime_s: u64,
    engines: Vec<Engine>,
    calls: Calls,
    memory: Memory,
    /// Replies of all conversations on their way to better audio.
    hq: RenderCounts,
    history: Remembered,
}

#[derive(Debug, Serialize)]
struct Engine {
    role: &'static str,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Where the engine has one here, once it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
}

#[derive(Debug, Serialize)]
struct Queue {
    waiting: usize,
    busy: usize,
}

#[derive(Debug, Serialize)]
struct Memory {
    /// `null` where the system does not say.
    rss_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Remembered {
    conversations: i64,
    turns: i64,
    /// Of recordings.
    bytes: i64,
}

pub async fn status(State(state): State<ApiState>, By(viewer): By) -> Result<Json<Status>, ApiError> {
    let counts = move |history: &History| {
        let all = history.render_counts(&Viewer::Everyone)?;
        Ok((history.size(&viewer)?, history.render_counts(&viewer)?, all))
    };
    let (size, hq, renders) = read(&state.history, counts).await?;
    let engines = state.readiness.reports().into_iter().map(|report| {
        let Standing { word, percent, hint, .. } = standing(&report, &state.readiness);
        let queue = queue(report.kind, &state.readiness, &renders);
        Engine { role: report.kind, name: report.name, state: word, percent, hint, queue }
    });
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: BEGAN.elapsed().as_secs(),
        engines: engines.collect(),
        calls: Calls::of(&state.exchange),
        memory: Memory { rss_bytes: resident() },
        hq,
        history: Remembered { conversations: size.conversations, turns: size.turns, bytes: size.bytes },
    }))
}

/// How much the engine of that role has to do for everybody.
fn queue(role: &str, readiness: &Readiness, renders: &RenderCounts) -> Option<Queue> {
    let depth = match role {
        "stt" => readiness.stt().ok()?.queue(),
        "llm" => readiness.llm().ok()?.queue(),
        "tts" => readiness.tts().ok()?.queue(),
        HQ => {
            let count = |count: i64| usize::try_from(count).unwrap_or(0);
            Some(QueueDepth { waiting: count(renders.pending), busy: count(renders.rendering) })
        }
        _ => None,
    };
    depth.map(|QueueDepth { waiting, busy }| Queue { waiting, busy })
}

/// What the process has in memory, as the kernel says.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
