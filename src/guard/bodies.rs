//! What of a request's body any route may be given: so much, within such a time, and not compressed.
//!
//! Each route has limits of its own, which are smaller; these hold for one that forgot.

use std::io;
use std::time::Duration;

use axum::body::{Body, HttpBody};
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

/// The same body; it breaks off with an error where it is too large or too slow.
pub fn bounded(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let state = (body.into_data_stream(), Instant::now() + WHOLE, 0_u64);
    Body::from_stream(stream::unfold(Some(state), |state| async move {
        let (mut pieces, deadline, seen) = state?;
        let broken = |kind, why: &str| Some((Err(io::Error::new(kind, why.to_owned())), None));
        match timeout_at(deadline.min(Instant::now() + PAUSE), pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Ok(Some(Ok(piece))) => {
                let seen = seen.saturating_add(piece.len() as u64);
                if seen > LARGEST {
                    return broken(io::ErrorKind::FileTooLarge, "it is too large");
                }
                Some((Ok(piece), Some((pieces, deadline, seen))))
            }
            Err(_) => broken(io::ErrorKind::TimedOut, "it did not arrive in time"),
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::body::{Bytes, to_bytes};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_or_dribbles_breaks_off() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
        assert!(to_bytes(bounded(stalled), usize::MAX).await.is_err());
        let dribble = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(14)).await;
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        let begun = Instant::now();
        assert!(to_bytes(bounded(Body::from_stream(dribble)), usize::MAX).await.is_err());
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
        assert!(to_bytes(bounded(Body::from_stream(flood)), usize::MAX).await.is_err());
    }

    #[tokio::test]
    async fn an_honest_body_comes_through_whole() {
        let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]);
        assert_eq!(to_bytes(bounded(Body::from_stream(pieces)), 10).await.unwrap(), "abc");
        assert!(to_bytes(bounded(Body::empty()), 10).await.unwrap().is_empty());
    }
}
