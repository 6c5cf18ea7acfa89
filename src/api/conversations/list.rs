//! The list of conversations, a page at a time; all of them, or those in which something was said.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use signaling::http::error::ApiError;

use super::{By, read, rfc3339, side_name};
use crate::api::ApiState;
use crate::api::error::bad_parameter;
use crate::history::{self, ConversationSummary, Match};

/// Conversations a page shows when it does not say.
const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;
/// Characters of what is looked for.
const LONGEST_QUERY: usize = 200;

#[derive(Debug, Deserialize)]
pub struct Paging {
    limit: Option<String>,
    /// Id of the last conversation of the page before.
    before: Option<String>,
    /// What was said.
    q: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ListedConversation {
    id: String,
    title: Option<String>,
    turns: i64,
    created_at: String,
    updated_at: String,
    preview: String,
    duration_ms: i64,
    door: String,
    voice: Option<String>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matched: Option<ShownMatch>,
}

#[derive(Debug, Serialize)]
struct ShownMatch {
    turn: i64,
    side: &'static str,
    pieces: Vec<ShownPiece>,
}

#[derive(Debug, Serialize)]
struct ShownPiece {
    text: String,
    hit: bool,
}

impl ListedConversation {
    pub fn new(summary: ConversationSummary, matched: Option<Match>) -> Self {
        let ConversationSummary { id, title, turns, created_at, updated_at, preview, duration_ms, door, voice } =
            summary;
        let (created_at, updated_at) = (rfc3339(created_at), rfc3339(updated_at));
        let matched = matched.map(|matched| ShownMatch {
            turn: matched.turn,
            side: side_name(matched.side),
            pieces: matched.pieces.into_iter().map(|p| ShownPiece { text: p.text, hit: p.hit }).collect(),
        });
        Self { id, title, turns, created_at, updated_at, preview, duration_ms, door, voice, matched }
    }
}

/// `GET /api/conversations?limit=20&before=ID&q=TEXT`: newest first. Where there is more a `Link` header says how to get it.
pub async fn list(
    State(state): State<ApiState>,
    By(viewer): By,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<(HeaderMap, Json<Vec<ListedConversation>>), ApiError> {
    let Query(Paging { limit, before, q }) =
        paging.map_err(|rejection| bad_parameter("query", rejection.body_text()))?;
    let limit = match limit.as_deref().map(str::parse::<usize>) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit @ 1..=LARGEST_LIMIT)) => limit,
        Some(_) => {
            let message = format!("limit must be a number from 1 to {LARGEST_LIMIT}");
            return Err(bad_parameter("limit", message));
        }
    };
    let q = q.filter(|q| !q.trim().is_empty());
    if q.as_ref().is_some_and(|q| q.chars().count() > LONGEST_QUERY) {
        return Err(bad_parameter("q", format!("at most {LONGEST_QUERY} characters can be looked for")));
    }
    let sought = q.as_deref().map(history::Query::read);
    // One more than asked for: whether there is more.
    let mut listed = read(&state.history, move |history| match &sought {
        Some(query) => history.search(&viewer, query, limit + 1, before.as_deref()),
        None => {
            let all = history.conversations(&viewer, limit + 1, before.as_deref())?;
            Ok(all.into_iter().map(|summary| (summary, None)).collect())
        }
    })
    .await?;
    let has_more = listed.len() > limit;
    listed.truncate(limit);
    let mut headers = HeaderMap::new();
    if let Some((last, _)) = listed.last().filter(|_| has_more) {
        let link = HeaderValue::from_str(&next_page(limit, &last.id, q.as_deref()));
        headers.extend(link.ok().map(|link| (header::LINK, link)));
    }
    let listed = listed.into_iter().map(|(summary, matched)| ListedConversation::new(summary, matched)).collect();
    Ok((headers, Json(listed)))
}

/// RFC 8288.
fn next_page(limit: usize, before: &str, q: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string()).append_pair("before", before);
    if let Some(q) = q {
        query.append_pair("q", q);
    }
    format!("</api/conversations?{}>; rel=\"next\"", query.finish())
}
