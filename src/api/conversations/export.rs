//! A conversation to take away: everything as JSON, or the whole talk as one recording.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use signaling::http::error::ApiError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::show::ShownConversation;
use super::{By, named};
use crate::api::ApiState;

/// Pieces of a recording that may wait for the client, 32 KiB each; when full the mixing waits.
const PIECES_BOUND: usize = 8;
const PIECE_BYTES: usize = 32 * 1024;
/// A client that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// When one that finds others at it may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// `GET /api/conversations/{id}/export`: the conversation as it is shown, as a file.
pub async fn document(
    State(state): State<ApiState>,
    By(viewer): By,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let found = named(&state, viewer, id).await?;
    Ok(([attachment(&found.id, "json")], Json(ShownConversation::new(found))).into_response())
}

/// `GET /api/conversations/{id}/export/audio`: stereo Ogg Opus on the conversation's time line, the caller left, the avatar right.
/// Sent as it is mixed.
pub async fn audio(
    State(state): State<ApiState>,
    By(viewer): By,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let found = named(&state, viewer, id).await?;
    let Some(mixdown) = state.history.mixdown(&found) else {
        let message = "other talks are being mixed; retry shortly";
        let busy = ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
        return Err(busy.retry_after(RETRY_AFTER));
    };
    let (sender, pieces) = mpsc::channel::<io::Result<Bytes>>(PIECES_BOUND);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe { sender: sender.clone(), runtime };
        // The client is told by the stream's breaking off.
        if let Err(error) = mixdown.write(BufWriter::with_capacity(PIECE_BYTES, pipe)) {
            tracing::debug!(%error, "a mix was not sent to its end");
            let _ = sender.try_send(Err(io::Error::other(error.to_string())));
        }
    });
    let body = Body::from_stream(unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|p| (p, pieces)) }));
    Ok(([(header::CONTENT_TYPE, "audio/ogg".to_owned()), attachment(&found.id, "ogg")], body).into_response())
}

/// An id can be any text: only what is safe in a file's name is taken of it.
fn attachment(id: &str, extension: &str) -> (HeaderName, String) {
    let name: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(80).collect();
    (header::CONTENT_DISPOSITION, format!("attachment; filename=\"conversation-{name}.{extension}\""))
}

/// Where the mix goes in, from a thread that may wait.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.sender.send(piece)).await });
        match sent {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
