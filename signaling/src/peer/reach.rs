//! Whether the client is out of reach, as far as its packets tell.
//!
//! Pure; time is an argument. A reply that plays on while the network is away is lost to the caller, so the call's task holds it
//! back. A client that was sending all the time and from which nothing at all comes any more is out of reach; one that merely
//! stopped sending audio (muted, say) still answers connectivity checks every second.

use std::time::{Duration, Instant};

/// Nothing comes for so long: the reply is held. What was sent in this time is what an outage costs.
const HOLD_AFTER: Duration = Duration::from_millis(600);
/// Packets that come so soon after one another are a steady stream.
const STEADY_GAP: Duration = Duration::from_millis(100);
/// So many of them: half a second of 20 ms packets. A gap halves what has been counted, so that a network which stutters before it
/// breaks is not taken for a client with pauses.
const STEADY: u32 = 25;
const STEADIEST: u32 = 8 * STEADY;
/// Other packets than audio may come so long after the last audio and mean nothing: they were sent together.
const TOGETHER: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Reach {
    audio: Option<Instant>,
    steady: u32,
}

impl Reach {
    /// An audio packet came.
    pub(super) fn heard(&mut self, now: Instant) {
        let gap = self.audio.map(|last| now.saturating_duration_since(last));
        let follows = gap.is_some_and(|gap| gap <= STEADY_GAP);
        self.steady = if follows { (self.steady + 1).min(STEADIEST) } else { self.steady / 2 };
        self.audio = Some(now);
    }

    /// `seen`: when the last datagram of any kind came.
    pub(super) fn is_lost(&self, now: Instant, seen: Option<Instant>) -> bool {
        let Some(audio) = self.audio.filter(|_| self.steady >= STEADY) else { return false };
        let silent = now.saturating_duration_since(audio) >= HOLD_AFTER;
        silent && seen.is_none_or(|seen| seen <= audio + TOGETHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A client that has been sending every `gap` for two seconds, and when its last packet came.
    fn sending(start: Instant, gap: Duration) -> (Reach, Instant) {
        let mut reach = Reach::default();
        let mut now = start;
        while now < start + 2_000 * MS {
            now += gap;
            reach.heard(now);
        }
        (reach, now)
    }

    #[test]
    fn a_client_that_falls_silent_altogether_is_out_of_reach_until_it_is_heard_again() {
        let (mut reach, last) = sending(Instant::now(), 20 * MS);
        assert!(!reach.is_lost(last + 599 * MS, Some(last)));
        assert!(reach.is_lost(last + 600 * MS, Some(last + 15 * MS)));
        assert!(reach.is_lost(last + 60_000 * MS, Some(last)));
        reach.heard(last + 5_000 * MS);
        assert!(!reach.is_lost(last + 5_000 * MS, Some(last + 5_000 * MS)));
        assert!(reach.is_lost(last + 6_000 * MS, Some(last + 5_000 * MS)), "it was for one packet");
    }

    #[test]
    fn a_client_that_stopped_its_microphone_still_hears() {
        let (reach, last) = sending(Instant::now(), 20 * MS);
        assert!(!reach.is_lost(last + 1_400 * MS, Some(last + 1_000 * MS)), "it answers connectivity checks");
    }

    #[test]
    fn a_client_with_pauses_between_its_packets_is_never_held_for_them() {
        // Discontinuous transmission sends every 400 ms in silence.
        let (reach, last) = sending(Instant::now(), 400 * MS);
        assert!(!reach.is_lost(last + 5_000 * MS, Some(last)));
        assert!(!Reach::default().is_lost(last, None));
    }
}
