//! How much of an engine the service may have: so many requests at once, so many waiting, the rest told to come back.
//!
//! While calls run, one request at a time: a caller notices each further one, a program does not notice that it waits.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use signaling::http::error::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);
/// When a refused one may try again.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);

/// One engine's share.
pub struct Share {
    engine: &'static str,
    at_once: u32,
    waiting: usize,
    turns: Arc<Semaphore>,
    /// Those whose turn it is, and those who wait.
    places: Arc<Semaphore>,
}

/// A place in the queue; given back when dropped.
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The right to use the engine; given back when dropped.
pub struct Turn {
    #[expect(dead_code, reason = "held for its drop")]
    place: Place,
    #[expect(dead_code, reason = "held for its drop")]
    turn: OwnedSemaphorePermit,
}

impl Share {
    /// At most `at_once` requests use the engine, and at most `waiting` wait.
    pub fn new(engine: &'static str, at_once: u32, waiting: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once as usize + waiting));
        Self { engine, at_once, waiting, turns: Arc::new(Semaphore::new(at_once as usize)), places }
    }

    /// A place in the queue, or 429 at once.
    pub fn place(&self) -> Result<Place, ApiError> {
        Arc::clone(&self.places).try_acquire_owned().map(Place).map_err(|_| {
            let message = format!("{} requests wait for {} already; retry shortly", self.waiting, self.engine);
            ApiError::invalid(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message).retry_after(RETRY_AFTER)
        })
    }

    /// Waits for the turn, first come, first served; 503 when it does not come within a minute. Beside calls a request has the
    /// whole share to itself.
    pub async fn turn(&self, place: Place, is_calling: bool) -> Result<Turn, ApiError> {
        let wanted = if is_calling { self.at_once } else { 1 };
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_many_owned(wanted)).await {
            Ok(Ok(turn)) => Ok(Turn { place, turn }),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                let message = format!("{} was busy for {} s; retry later", self.engine, PATIENCE.as_secs());
                let error = ApiError::server(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
                Err(error.retry_after(RETRY_AFTER))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::task::Poll;

    use axum::response::IntoResponse;
    use futures_util::poll;

    use super::*;

    fn share() -> Share {
        Share::new("the engine", 2, 1)
    }

    #[tokio::test]
    async fn beyond_its_share_a_request_waits_and_beyond_the_queue_it_is_told_to_come_back() {
        let share = share();
        let first = share.turn(share.place().unwrap(), false).await.unwrap();
        let _second = share.turn(share.place().unwrap(), false).await.unwrap();
        let mut third = std::pin::pin!(share.turn(share.place().unwrap(), false));
        assert!(poll!(&mut third).is_pending());
        let refused = share.place().err().unwrap().into_response();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "2");
        drop(first);
        assert!(matches!(poll!(&mut third), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn beside_a_call_one_request_runs_at_a_time() {
        let share = share();
        let first = share.turn(share.place().unwrap(), true).await.unwrap();
        let mut second = std::pin::pin!(share.turn(share.place().unwrap(), true));
        assert!(poll!(&mut second).is_pending());
        drop(first);
        assert!(matches!(poll!(&mut second), Poll::Ready(Ok(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so_and_gives_the_place_back() {
        let share = share();
        let _first = share.turn(share.place().unwrap(), true).await.unwrap();
        let refused = share.turn(share.place().unwrap(), true).await.err().unwrap();
        assert_eq!((refused.status, refused.code), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
        assert!(share.place().is_ok());
    }
}
