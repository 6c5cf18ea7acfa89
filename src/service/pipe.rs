//! An answer that is sent while it is made.
//!
//! A task makes it and a bounded pipe carries it, so that a client that hangs up ends the task at its next wait, and one that stops
//! reading does not hold an engine for ever.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::mpsc;

/// Pieces that may wait for the client; when full, whoever makes them waits.
const BOUND: usize = 64;
/// How long a client may take nothing before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody reads any more.
#[derive(Debug)]
pub struct Gone;

/// Where the pieces go in.
pub struct Inlet<T>(mpsc::Sender<T>);

impl<T> Inlet<T> {
    pub async fn send(&self, piece: T) -> Result<(), Gone> {
        match tokio::time::timeout(PATIENCE, self.0.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// Runs `work` on a task of its own, and gives what it sends. Dropping the stream drops the work.
pub fn pipe<T, W>(work: impl FnOnce(Inlet<T>) -> W) -> impl Stream<Item = T> + Send + 'static
where
    T: Send + 'static,
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (inlet, pieces) = mpsc::channel(BOUND);
    let watch = inlet.clone();
    let work = work(Inlet(inlet));
    tokio::spawn(async move {
        tokio::select! {
            () = watch.closed() => {}
            _ = work => {}
        }
    });
    unfold(pieces, |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::StreamExt;

    use super::*;

    struct SetOnDrop(Arc<AtomicBool>);

    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn everything_sent_arrives_in_order_and_then_it_ends() {
        let pieces = pipe(|inlet| async move {
            for number in 0..200 {
                inlet.send(number).await?;
            }
            Ok(())
        });
        assert_eq!(pieces.collect::<Vec<_>>().await, (0..200).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_hangs_up_ends_work_that_is_waiting_for_something_else() {
        let ended = Arc::new(AtomicBool::new(false));
        let held = SetOnDrop(ended.clone());
        let mut pieces = Box::pin(pipe(|inlet| async move {
            let _held = held;
            inlet.send(1).await?;
            std::future::pending().await
        }));
        assert_eq!(pieces.next().await, Some(1));
        drop(pieces);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(ended.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_given_up() {
        let ended = Arc::new(AtomicBool::new(false));
        let held = SetOnDrop(ended.clone());
        let _unread = Box::pin(pipe(|inlet| async move {
            let _held = held;
            loop {
                inlet.send(()).await?;
            }
        }));
        tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
        assert!(ended.load(Ordering::Relaxed));
    }
}
