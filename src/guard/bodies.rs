//! What of a request's body any route may be given: so much, within such a time, and not compressed.
//!
//! Each route has limits of its own, which are smaller; these hold for one that forgot.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{StreamExt, stream};
use signaling::http::error::ApiError;
use tokio::time::{Instant, timeout_at};

/// The largest that any route takes: a recording of 25 MiB in a form.
const LARGEST: u64 = 32 * 1024 * 1024;
/// How long the next piece of a body may take.
const PAUSE: Duration = Duration::from_secs(15);
/// How long a whole body may take.
const WHOLE: Duration = Duration::from_secs(180);

/// Refuses by the headers what would not be read.
pub fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    // A few bytes can unpack to gigabytes; no client has a need for it.
    if headers.get_all(header::CONTENT_ENCODING).into_iter().any(|encoding| encoding != "identity") {
        let message = "compressed requests are not taken; send the body as it is, without `Content-Encoding`";
        return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", message));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > LARGEST) {
        let message = format!("the request has more than {LARGEST} bytes, which is the most that is taken anywhere");
        return Err(ApiError::invalid(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    Ok(())
}

/// Whether a body was read to its end.
#[derive(Debug, Clone)]
pub struct Whole(Arc<AtomicBool>);

impl Whole {
    pub fn is_read(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The same body, and whether it has been read; it breaks off with an error where it is too large or too slow.
pub fn bounded(body: Body) -> (Body, Whole) {
    let whole = Whole(Arc::new(AtomicBool::new(body.is_end_stream())));
    if whole.is_read() {
        return (body, whole);
    }
    let state = (body.into_data_stream(), Instant::now() + WHOLE, 0_u64);
    let end = whole.clone();
    let body = Body::from_stream(stream::unfold(Some(state), move |state| {
        let end = end.clone();
        async move { next(state?, &end).await }
    }));
    (body, whole)
}

type Reading = (BodyDataStream, Instant, u64);

async fn next((mut pieces, deadline, seen): Reading, end: &Whole) -> Option<(io::Result<Bytes>, Option<Reading>)> {
    let broken = |kind, why: &str| Some((Err(io::Error::new(kind, why.to_owned())), None));
    match timeout_at(deadline.min(Instant::now() + PAUSE), pieces.next()).await {
        Ok(None) => {
            end.0.store(true, Ordering::Relaxed);
            None
        }
        Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
        Ok(Some(Ok(piece))) => {
            let seen = seen.saturating_add(piece.len() as u64);
            if seen > LARGEST {
                return broken(io::ErrorKind::FileTooLarge, "it is too large");
            }
            // One whose length was told is at its end with its last piece.
            if HttpBody::is_end_stream(&pieces) {
                end.0.store(true, Ordering::Relaxed);
            }
            Some((Ok(piece), Some((pieces, deadline, seen))))
        }
        Err(_) => broken(io::ErrorKind::TimedOut, "it did not arrive in time"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::body::to_bytes;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_or_dribbles_breaks_off() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
        assert!(to_bytes(bounded(stalled).0, usize::MAX).await.is_err());
        let dribble = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(14)).await;
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        let begun = Instant::now();
        assert!(to_bytes(bounded(Body::from_stream(dribble)).0, usize::MAX).await.is_err());
        assert_eq!(begun.elapsed(), WHOLE);
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_not_kept() {
        let piece = Bytes::from(vec![0; 1024 * 1024]);
        let mut taken = 0;
        let flood = stream::repeat_with(move || {
            taken += 1;
            assert!(taken < 40, "it goes on reading");
            Ok::<_, io::Error>(piece.clone())
        });
        assert!(to_bytes(bounded(Body::from_stream(flood)).0, usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn an_honest_body_comes_through_whole() {
        let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]);
        assert_eq!(to_bytes(bounded(Body::from_stream(pieces)).0, 10).await.unwrap(), "abc");
        assert!(to_bytes(bounded(Body::empty()).0, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_body_counts_as_read_once_its_end_was_seen() {
        let pieces = || Body::from_stream(stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab"))]));
        let (body, whole) = bounded(pieces());
        drop(body);
        assert!(!whole.is_read());
        let (body, whole) = bounded(pieces());
        to_bytes(body, 10).await.unwrap();
        assert!(whole.is_read());
        assert!(bounded(Body::empty()).1.is_read());
    }
}
