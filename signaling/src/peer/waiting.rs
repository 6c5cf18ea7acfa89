//! What a call's task waits for, each as a future that may never come.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use crate::line::{FromCaller, HangUp};

/// The remote track's next event; never, while there is none.
pub(super) async fn heard(track: Option<&dyn TrackRemote>) -> Option<TrackRemoteEvent> {
    match track {
        Some(track) => track.poll().await,
        None => std::future::pending().await,
    }
}

/// Why the host ends the call, once it does. Gone with its host: the server is stopping.
pub(super) async fn ended(ending: &mut watch::Receiver<Option<HangUp>>) -> HangUp {
    ending.wait_for(Option::is_some).await.ok().and_then(|why| *why).unwrap_or(HangUp::ByServer)
}

/// Until the call can take one more word, or none any more.
pub(super) async fn room(incoming: &mpsc::Sender<FromCaller>) {
    let _room = incoming.reserve().await;
}

/// Sleeps until then; for ever, when there is no then.
pub(super) async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
