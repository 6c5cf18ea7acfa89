//! When work that can wait may go on: a live call goes first, and at once.

use std::time::Duration;

use tokio::sync::watch;

use crate::call::attendance::CallLoad;
use crate::config::BesideCalls;

/// How long it must have been quiet before work goes on: between a question and its answer nothing is begun.
const SETTLED: Duration = Duration::from_millis(500);

/// Watches the calls. A clone watches for itself.
#[derive(Debug, Clone)]
pub struct Quiet {
    calls: watch::Receiver<CallLoad>,
    beside: BesideCalls,
}

impl Quiet {
    pub fn new(calls: watch::Receiver<CallLoad>, beside: BesideCalls) -> Self {
        Self { calls, beside }
    }

    pub fn is_now(&self) -> bool {
        is_quiet(self.beside, *self.calls.borrow())
    }

    /// Waits until it has been quiet for half a second.
    pub async fn settled(&mut self) {
        while self.beside != BesideCalls::Always {
            let beside = self.beside;
            if self.calls.wait_for(|load| is_quiet(beside, *load)).await.is_err() {
                // The history is closed, and with it all calls.
                return;
            }
            if tokio::time::timeout(SETTLED, self.broken()).await.is_err() {
                return;
            }
        }
    }

    /// Waits until it is quiet no more.
    pub async fn broken(&mut self) {
        let beside = self.beside;
        if self.calls.wait_for(|load| !is_quiet(beside, *load)).await.is_err() {
            std::future::pending().await
        }
    }
}

fn is_quiet(beside: BesideCalls, load: CallLoad) -> bool {
    match beside {
        BesideCalls::Never => load.calls == 0,
        BesideCalls::Quiet => load.engaged == 0,
        BesideCalls::Always => true,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::task::Poll;

    use futures_util::{poll, stream};
    use tokio::time::advance;

    use super::*;
    use crate::call::attendance::{Attendance, CallLoads};

    #[tokio::test(start_paused = true)]
    async fn work_goes_on_only_once_nobody_has_spoken_for_half_a_second() {
        let loads = CallLoads::default();
        let mut call = Attendance::new(&loads, stream::empty());
        call.set_engaged(true);
        let mut quiet = Quiet::new(loads.watch(), BesideCalls::Quiet);
        let mut settled = std::pin::pin!(quiet.settled());
        assert_eq!(poll!(&mut settled), Poll::Pending);
        call.set_engaged(false);
        assert_eq!(poll!(&mut settled), Poll::Pending);
        advance(Duration::from_millis(400)).await;
        call.set_engaged(true);
        assert_eq!(poll!(&mut settled), Poll::Pending, "an answer follows a question");
        call.set_engaged(false);
        assert_eq!(poll!(&mut settled), Poll::Pending);
        advance(Duration::from_millis(499)).await;
        assert_eq!(poll!(&mut settled), Poll::Pending);
        advance(Duration::from_millis(2)).await;
        assert_eq!(poll!(&mut settled), Poll::Ready(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_as_quiet_is_as_configured() {
        let loads = CallLoads::default();
        let quiet = |beside| Quiet::new(loads.watch(), beside).is_now();
        let all = || [BesideCalls::Never, BesideCalls::Quiet, BesideCalls::Always].map(quiet);
        assert_eq!(all(), [true, true, true]);
        let mut call = Attendance::new(&loads, stream::empty());
        assert_eq!(all(), [false, true, true], "a call in which nobody speaks");
        call.set_engaged(true);
        assert_eq!(all(), [false, false, true]);
        let mut watcher = Quiet::new(loads.watch(), BesideCalls::Never);
        tokio::time::timeout(Duration::from_secs(1), watcher.broken()).await.unwrap();
    }
}
