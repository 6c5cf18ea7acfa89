//! `GET /api/events`: what changes in the history, as server-sent events, so that a page need not ask again and again.
//!
//! Each event says what changed and where; the rest is read. A client that falls behind is told `lagged` and reads all again. A comment
//! every 15 s shows both ends that the connection lives.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use signaling::http::error::ApiError;

use super::ApiState;
use super::conversations::By;
use crate::history::Viewer;
use crate::history::news::{Heard, HistoryNews, Listener};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that lost the connection comes back.
const RETRY: Duration = Duration::from_secs(2);

/// 503 when too many listen already.
pub async fn events(
    State(state): State<ApiState>,
    By(viewer): By,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let listener = state.history.news().listen().map_err(|crowded| {
        let refused = ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", crowded.to_string());
        refused.retry_after(KEEP_ALIVE)
    })?;
    // Sent at once, so that a client knows that it misses nothing from now on.
    let hello = stream::iter([Ok(Event::default().comment("listening").retry(RETRY))]);
    let told = stream::unfold((listener, viewer), |(mut listener, viewer)| async move {
        let event = next(&mut listener, &viewer).await?;
        Some((Ok(event), (listener, viewer)))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    Ok(Sse::new(futures_util::StreamExt::chain(hello, told)).keep_alive(keep_alive))
}

/// The next that concerns the viewer; `None` when the history is closed.
async fn next(listener: &mut Listener, viewer: &Viewer) -> Option<Event> {
    loop {
        let (name, data) = match listener.next().await? {
            Heard::Lagged(_) => ("lagged", json!({})),
            Heard::News(news) if news.is_for(viewer) => worded(&news.what),
            Heard::News(_) => continue,
        };
        return Some(Event::default().event(name).data(data.to_string()));
    }
}

fn worded(news: &HistoryNews) -> (&'static str, Value) {
    match news {
        HistoryNews::Turn { conversation, turn } => ("turn", json!({ "conversation": conversation, "turn": turn })),
        // What a turn says now is read, as for one that is new.
        HistoryNews::Edit { conversation, turn, .. } => ("turn", json!({ "conversation": conversation, "turn": turn })),
        HistoryNews::Deleted { conversation } => ("conversation", json!({ "id": conversation, "state": "deleted" })),
        HistoryNews::Render(render) => {
            let mut data = json!({
                "conversation": render.conversation,
                "turn": render.turn,
                "reply": render.reply,
                "state": render.state,
            });
            if let Some(reason) = &render.reason {
                data["reason"] = json!(reason);
            }
            ("render", data)
        }
        HistoryNews::Title { conversation, title } => {
            ("title", json!({ "conversation": conversation, "title": title }))
        }
        HistoryNews::Voice { id, state } => ("voice", json!({ "id": id, "state": state })),
    }
}
