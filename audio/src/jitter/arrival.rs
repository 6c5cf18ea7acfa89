//! How regularly packets arrive: how long a missing one is worth waiting for, and when a quiet sender is overdue.

use std::time::{Duration, Instant};

use super::duration;

/// Nobody retransmits, so waiting only helps against reordering; a link that never reorders costs a loss this much.
const SHORTEST_TARGET: Duration = Duration::from_millis(20);
/// A listener that waits longer is slower than a caller who says it again.
const LONGEST_TARGET: Duration = Duration::from_millis(200);
/// How far over the target an overdue packet is still expected.
const OVERDUE_MARGIN: Duration = Duration::from_millis(40);
/// How far the expected time of the next packet may run ahead of the last arrival, after a burst.
const LONGEST_LEAD: Duration = Duration::from_millis(200);
/// A difference in transit beyond this is a clock that was set, not jitter.
const CLOCK_STEP: f64 = 2.0;
/// The memory of how far packets were reordered fades by this part with each packet: to half in seven seconds.
const FADING: f64 = 1.0 / 512.0;

#[derive(Debug, Default)]
pub(super) struct Arrival {
    last: Option<(Instant, u32)>,
    /// Seconds.
    jitter: f64,
    /// Seconds by which packets were overtaken lately.
    reordered: f64,
    /// When the gap that was given up last had been noticed.
    gave_up: Option<Instant>,
    /// When the next packet should come.
    due: Option<Instant>,
}

impl Arrival {
    pub(super) fn jitter(&self) -> Duration {
        Duration::try_from_secs_f64(self.jitter).unwrap_or_default()
    }

    /// How long a gap is waited for: three times the jitter, or a quarter more than packets were overtaken by lately.
    pub(super) fn target(&self) -> Duration {
        let seconds = (3.0 * self.jitter).max(1.25 * self.reordered);
        Duration::try_from_secs_f64(seconds).unwrap_or_default().clamp(SHORTEST_TARGET, LONGEST_TARGET)
    }

    /// A packet further on than all before it.
    pub(super) fn in_order(&mut self, arrived: Instant, timestamp: u32, ticks: u32) {
        if ticks == 0 {
            // Padding repeats a timestamp: it says nothing of transit. But it does say that the sender is alive.
            return;
        }
        if let Some((last_arrived, last_timestamp)) = self.last {
            let by_clock = arrived.saturating_duration_since(last_arrived).as_secs_f64();
            let by_sender = f64::from(timestamp.wrapping_sub(last_timestamp).cast_signed()) / 48_000.0;
            let difference = (by_clock - by_sender).abs();
            if difference < CLOCK_STEP {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
        self.last = Some((arrived, timestamp));
        self.reordered -= self.reordered * FADING;

        // The next is due when this one's audio ends. A burst's packets end one after the other, and the lead that gives
        // leaks away, so that a sender whose clock is fast does not build one up.
        let length = duration(ticks);
        let at_once = arrived + length;
        let lead = self.due.map_or(Duration::ZERO, |due| (due + length).saturating_duration_since(at_once));
        self.due = Some(at_once + (lead - lead / 64).min(LONGEST_LEAD));
    }

    /// A packet that filled a gap this long after it was noticed.
    pub(super) fn reordered(&mut self, by: Duration) {
        self.reordered = self.reordered.max(by.as_secs_f64().min(LONGEST_TARGET.as_secs_f64()));
    }

    pub(super) fn gave_up(&mut self, opened: Instant) {
        self.gave_up = Some(opened);
    }

    /// A packet that came after its gap was given up: next time wait that long, if such waiting is allowed at all.
    pub(super) fn late(&mut self, arrived: Instant) {
        let by = self.gave_up.map(|opened| arrived.saturating_duration_since(opened));
        if let Some(by) = by.filter(|by| *by <= 2 * LONGEST_TARGET) {
            self.reordered(by);
        }
    }

    pub(super) fn restart(&mut self) {
        self.last = None;
    }

    pub(super) fn silent_for(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::MAX, |(arrived, _)| now.saturating_duration_since(arrived))
    }

    /// When a sender that stays silent counts as pausing.
    pub(super) fn missed_at(&self) -> Option<Instant> {
        Some(self.due? + self.target() + OVERDUE_MARGIN)
    }

    /// If a sender is pausing at `now`: when the next `piece` of its silence was due, which moves on by that.
    pub(super) fn missed(&mut self, now: Instant, longest: Duration, piece: Duration) -> Option<Instant> {
        if now < self.missed_at()? {
            return None;
        }
        let due = self.due?;
        let due = if now.saturating_duration_since(due) > longest + LONGEST_TARGET + OVERDUE_MARGIN {
            now.checked_sub(longest)?
        } else {
            due
        };
        self.due = Some(due + piece);
        Some(due)
    }
}
