//! When to send: one frame every 20 ms on a fixed grid.
//!
//! Pure: a function of when it started and of `now`. The grid never drifts, since each slot is counted from the start and
//! not from the slot before. After a stall it catches up without a burst: at most two frames a slot, so a receiver's
//! buffer grows by one frame each 20 ms. Reply audio is never dropped; silence that is owed is left out, and the RTP
//! timestamp jumps over it (the sequence number does not), as after any pause of a sender.

use std::time::{Duration, Instant};

/// One slot of the grid.
pub const SLOT: Duration = Duration::from_millis(20);
/// The most frames in one slot: the one that is due and one that is owed.
pub const FRAMES_A_SLOT: u32 = 2;

/// What to do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// Frames to leave out first: add as many timestamp steps.
    pub skipped: u32,
    /// Frames to pull and send.
    pub frames: u32,
}

#[derive(Debug, Clone)]
pub struct Pacer {
    start: Instant,
    /// Slots whose frames were sent or left out.
    done: u64,
    /// The first slot that has not been served.
    next_slot: u64,
}

impl Pacer {
    /// The first frame is due at `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, done: 0, next_slot: 0 }
    }

    /// What is due at `now`; counted as done. `idle`: nothing but silence is queued ([`crate::outbound::Outbound::idle`]).
    pub fn due(&mut self, now: Instant, idle: bool) -> Due {
        let Some(elapsed) = now.checked_duration_since(self.start) else { return Due::default() };
        let slot = u64::try_from(elapsed.as_nanos() / SLOT.as_nanos()).unwrap_or(u64::MAX - 1);
        if slot < self.next_slot {
            return Due::default();
        }
        self.next_slot = slot + 1;
        let owed = u32::try_from(self.next_slot - self.done).unwrap_or(u32::MAX);
        let skipped = if idle { owed.saturating_sub(FRAMES_A_SLOT) } else { 0 };
        let frames = (owed - skipped).min(FRAMES_A_SLOT);
        self.done += u64::from(skipped) + u64::from(frames);
        Due { skipped, frames }
    }

    /// When the next slot begins.
    pub fn next_wake(&self) -> Instant {
        let slot = u32::try_from(self.next_slot).unwrap_or(u32::MAX);
        self.start.checked_add(SLOT * slot).unwrap_or(self.start)
    }

    /// How far sending is behind.
    pub fn behind(&self) -> Duration {
        SLOT * u32::try_from(self.next_slot - self.done).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Due = Due { skipped: 0, frames: 1 };

    #[test]
    fn an_hour_of_late_wakes_does_not_drift() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        for slot in 0..180_000u32 {
            let wake = pacer.next_wake();
            assert_eq!(wake, start + SLOT * slot);
            // A timer is always a little late.
            let late = Duration::from_micros(u64::from(slot * 7_919 % 3_000));
            assert_eq!(pacer.due(wake + late, slot % 3 == 0), ONE);
        }
    }

    #[test]
    fn a_stall_is_made_good_without_a_burst_and_without_losing_speech() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(pacer.due(start, false), ONE);
        let mut now = start + Duration::from_millis(500);
        let (mut sent, mut slots) = (1, 0);
        while pacer.behind() > Duration::ZERO || slots == 0 {
            let due = pacer.due(now, false);
            assert!(due.frames <= FRAMES_A_SLOT && due.skipped == 0);
            assert_eq!(pacer.due(now, false), Due::default(), "twice in a slot is no second helping");
            sent += due.frames;
            slots += 1;
            assert!(pacer.next_wake() > now && pacer.next_wake() - now <= SLOT);
            now = pacer.next_wake();
        }
        // 25 owed at 500 ms, and one more falls due in each slot but the first.
        assert_eq!((sent, slots), (49, 24));
        assert_eq!(pacer.due(now, false), ONE);
    }

    #[test]
    fn owed_silence_is_skipped_so_that_timestamps_keep_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(pacer.due(start, true), ONE);
        assert_eq!(pacer.due(start + Duration::from_secs(10), true), Due { skipped: 498, frames: 2 });
        assert_eq!(pacer.behind(), Duration::ZERO);
        assert_eq!(pacer.due(pacer.next_wake(), false), ONE);
    }

    #[test]
    fn nothing_is_due_before_the_start() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now + Duration::from_secs(1));
        assert_eq!(pacer.due(now, false), Due::default());
        assert_eq!(pacer.next_wake(), now + Duration::from_secs(1));
    }
}
