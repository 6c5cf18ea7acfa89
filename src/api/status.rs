//! `GET /api/status`: the server at a glance, for the page. Engines, calls, memory, and how much there is to remember.

use std::sync::LazyLock;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use signaling::http::error::ApiError;

use super::ApiState;
use super::conversations::{By, read};
use super::health::{Calls, Standing, standing};
use crate::history::renders::RenderCounts;

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
    let (size, hq) =
        read(&state.history, move |history| Ok((history.size(&viewer)?, history.render_counts(&viewer)?))).await?;
    let engines = state.readiness.reports().into_iter().map(|report| {
        let Standing { word, percent, hint, .. } = standing(&report, &state.readiness);
        Engine { role: report.kind, name: report.name, state: word, percent, hint }
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

/// What the process has in memory, as the kernel says.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
