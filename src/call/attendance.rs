//! What a call and its keeper have of each other while it runs: the keeper knows that it runs and whether it needs the engines now,
//! and the call hears of replies that can now be heard in a better voice, and of what somebody changed of what was said.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use signaling::line::{HqAudio, ItemId};
use tokio::sync::watch;

/// The calls that run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallLoad {
    pub calls: usize,
    /// Those of them in which somebody speaks, or is about to be answered: they need the engines.
    pub engaged: usize,
}

/// Counts calls; work that can wait watches it. A clone is the same count.
#[derive(Debug, Clone, Default)]
pub struct CallLoads(watch::Sender<CallLoad>);

impl CallLoads {
    pub fn watch(&self) -> watch::Receiver<CallLoad> {
        self.0.subscribe()
    }
}

/// What somebody changed of a conversation whose call runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These items say something else now.
    Corrected(Vec<(ItemId, String)>),
    /// All that was kept of it was deleted.
    Deleted,
    /// Changes were lost on the way: what was said is to be recalled.
    Missed,
}

/// What a call is told while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Changed(Change),
    /// A reply can be heard in a better voice.
    Better(HqAudio),
}

/// A running call, as its keeper knows it; dropped when the call ends.
pub struct Attendance {
    loads: CallLoads,
    is_engaged: bool,
    better: Pin<Box<dyn Stream<Item = HqAudio> + Send>>,
    changes: Pin<Box<dyn Stream<Item = Change> + Send>>,
}

impl Default for Attendance {
    /// Counted nowhere, told of nothing.
    fn default() -> Self {
        Self::new(&CallLoads::default(), stream::empty())
    }
}

impl Attendance {
    /// A call that is counted in `loads` and told of `better`.
    pub fn new(loads: &CallLoads, better: impl Stream<Item = HqAudio> + Send + 'static) -> Self {
        loads.0.send_modify(|load| load.calls += 1);
        Self { loads: loads.clone(), is_engaged: false, better: Box::pin(better), changes: Box::pin(stream::empty()) }
    }

    /// The same, told of `changes` too.
    pub fn with_changes(mut self, changes: impl Stream<Item = Change> + Send + 'static) -> Self {
        self.changes = Box::pin(changes);
        self
    }

    /// Whether the call needs the engines now.
    pub fn set_engaged(&mut self, is_engaged: bool) {
        if std::mem::replace(&mut self.is_engaged, is_engaged) == is_engaged {
            return;
        }
        self.loads.0.send_modify(|load| {
            load.engaged = if is_engaged { load.engaged + 1 } else { load.engaged.saturating_sub(1) };
        });
    }

    /// What is told next; for ever if nothing is. Better audio only where `is_heard`, and later if not. Nothing is lost if it is not
    /// waited for to the end.
    pub async fn told(&mut self, is_heard: bool) -> Told {
        tokio::select! {
            biased;
            Some(change) = self.changes.next() => Told::Changed(change),
            Some(audio) = self.better.next(), if is_heard => Told::Better(audio),
            else => std::future::pending().await,
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.set_engaged(false);
        self.loads.0.send_modify(|load| load.calls = load.calls.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_ends_in_mid_turn_is_engaged_no_more() {
        let loads = CallLoads::default();
        let watched = loads.watch();
        let mut first = Attendance::new(&loads, stream::empty());
        let second = Attendance::new(&loads, stream::empty());
        first.set_engaged(true);
        first.set_engaged(true);
        assert_eq!(*watched.borrow(), CallLoad { calls: 2, engaged: 1 });
        drop(first);
        assert_eq!(*watched.borrow(), CallLoad { calls: 1, engaged: 0 });
        drop(second);
        assert_eq!(*watched.borrow(), CallLoad::default());
    }
}
