//! A jitter buffer for a machine listener.
//!
//! Nobody listens in real time, so there is no playout delay: a packet in order is released **at once**. Only a gap in the
//! sequence makes it wait, for as long as this link is known to reorder (20 to 200 ms, [`JitterStats::target`]); then the
//! gap is given up, its duration is handed out to be concealed, and what waited follows. RTP timestamps are the truth
//! about duration, the arrival clock is the bound on it: silence is never made up beyond the time that has really passed.
//!
//! - A sender that pauses (DTX, mute, a dead network) is filled with [`Release::Pause`] as time passes, so that the
//!   listener's clock goes on; what was filled is taken off the timestamp gap when packets come back.
//! - A stall whose packets arrive afterwards does add its length to the listener's clock: speech is never thrown away.
//! - An empty payload (padding) uses up a sequence number and is nothing else.
//! - A jump of the sequence number beyond anything loss can explain is a new sender (RFC 3550, A.1), believed on its
//!   second packet.
//!
//! Knows no codec: durations are told by the caller. All durations are ticks of 48 kHz.

mod arrival;
mod sequence;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::opus::{LONGEST_SAMPLES, SHORTEST_SAMPLES};
use crate::pcm::SampleRate;
use arrival::Arrival;
use sequence::{Place, Sequence};

/// How many packets may wait: five seconds of 20 ms. When full the newest is dropped and counted as late; a caller that
/// polls after each packet never has more than a gap's worth waiting.
pub const PACKETS_BOUND: usize = 256;
/// Concealment is handed out in pieces of at most this, so that no release is long.
const PIECE_TICKS: u32 = 960;
/// A link may deliver this much earlier than its own steady pace: the tolerance of the bound on made-up time.
const SLACK: Duration = Duration::from_millis(200);
/// A listener that was not polled for longer (a suspended machine) gets this much silence and no more.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(2);

/// A packet as it came from the network, with what the codec says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub sequence: u16,
    pub timestamp: u32,
    pub arrived: Instant,
    /// How long its audio lasts; zero for padding.
    pub ticks: u32,
    /// How much of what precedes it can be recovered from it.
    pub redundancy: u32,
    pub payload: Vec<u8>,
}

/// What to do next, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// Decode it. `restarted`: first of a new sender, so forget the old one's codec state.
    Packet { packet: Packet, restarted: bool },
    /// Lost, with nothing to recover it from: make up `ticks`.
    Lost { ticks: u32, due: Instant },
    /// Lost, and `following` carries a copy of it.
    Recover { ticks: u32, due: Instant, following: Vec<u8> },
    /// Nothing was sent: let `ticks` of silence pass.
    Pause { ticks: u32, due: Instant },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets that arrived for the first time, padding and late ones too.
    pub received: u64,
    /// Packets given up. One that arrives afterwards counts as late as well.
    pub lost: u64,
    /// Gaps whose last packet was recovered from the following one.
    pub recovered: u64,
    /// Arrived after having been given up, or did not fit; dropped.
    pub late: u64,
    /// Arrived again; dropped.
    pub duplicate: u64,
    /// How often a new sender took over.
    pub restarts: u64,
    /// Lost audio that had to be made up.
    pub concealed: Duration,
    /// Silence filled in for a sender that paused.
    pub paused: Duration,
    /// Interarrival jitter (RFC 3550, 6.4.1).
    pub jitter: Duration,
    /// How long a gap is waited for now.
    pub target: Duration,
}

/// What is to be made up before the first waiting packet is released.
#[derive(Debug)]
struct Bridge {
    made_up: u32,
    recover: u32,
    lost: bool,
}

#[derive(Debug, Default)]
pub struct JitterBuffer {
    sequence: Sequence,
    arrival: Arrival,
    waiting: BTreeMap<u64, (Packet, bool)>,
    /// First packet of what may be a new sender.
    suspect: Option<Packet>,
    bridge: Option<Bridge>,
    /// Where the audio released last ends, in the sender's time.
    next_timestamp: Option<u32>,
    /// When the audio released last ended, had it been played as it arrived.
    released: Option<Instant>,
    /// Silence handed out since, as time passed.
    filled: u32,
    /// Packets given up since the last one with audio.
    lost_before: u64,
    stats: JitterStats,
}

impl JitterBuffer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn stats(&self) -> JitterStats {
        JitterStats { jitter: self.arrival.jitter(), target: self.arrival.target(), ..self.stats }
    }

    /// Takes a packet as it arrives. Follow with [`Self::poll`] until `None`.
    pub fn receive(&mut self, packet: Packet) {
        match self.sequence.place(packet.sequence) {
            Place::New(number) => {
                self.suspect = None;
                self.stats.received += 1;
                self.admit(number, packet, false);
            }
            Place::Late => {
                self.stats.received += 1;
                self.stats.late += 1;
                self.arrival.late(packet.arrived);
            }
            Place::Duplicate => self.stats.duplicate += 1,
            Place::Elsewhere => self.elsewhere(packet),
        }
    }

    /// A sequence number that loss and reordering don't explain.
    fn elsewhere(&mut self, packet: Packet) {
        let silent = self.arrival.silent_for(packet.arrived) > LONGEST_CATCH_UP;
        match self.suspect.take() {
            Some(first) if first.sequence.wrapping_add(1) == packet.sequence => {
                self.restart(first);
                self.receive(packet);
            }
            Some(first) if first.sequence == packet.sequence => {
                self.stats.duplicate += 1;
                self.suspect = Some(first);
            }
            _ if silent => self.restart(packet),
            _ => self.suspect = Some(packet),
        }
    }

    fn restart(&mut self, packet: Packet) {
        self.stats.received += 1;
        self.stats.restarts += 1;
        self.arrival.restart();
        let number = self.sequence.restart(packet.sequence);
        self.admit(number, packet, true);
    }

    fn admit(&mut self, number: u64, packet: Packet, restarted: bool) {
        if self.waiting.last_key_value().is_none_or(|(last, _)| number > *last) {
            self.arrival.in_order(packet.arrived, packet.timestamp, packet.ticks);
        } else if let Some(opened) = self.gap_opened() {
            self.arrival.reordered(packet.arrived.saturating_duration_since(opened));
        }
        if self.waiting.len() >= PACKETS_BOUND {
            self.stats.late += 1;
            return;
        }
        self.sequence.arrived(number);
        self.waiting.insert(number, (packet, restarted));
    }

    /// When it was noticed that a packet is missing before those that wait.
    fn gap_opened(&self) -> Option<Instant> {
        let (first, _) = self.waiting.first_key_value()?;
        if self.sequence.is_next(*first) {
            return None;
        }
        self.waiting.values().map(|(packet, _)| packet.arrived).min()
    }

    /// What to do at `now`; ask again until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Release> {
        loop {
            if self.bridge.is_some() {
                return self.cross();
            }
            let Some((&first, (packet, _))) = self.waiting.first_key_value() else {
                return self.pause(now);
            };
            let padding = packet.ticks == 0;
            if let Some(opened) = self.gap_opened() {
                if now < opened + self.arrival.target() {
                    return None;
                }
                self.arrival.gave_up(opened);
            }
            let lost = self.sequence.advance_to(first);
            self.stats.lost += lost;
            self.lost_before += lost;
            if padding {
                self.waiting.pop_first();
                self.sequence.released();
                continue;
            }
            self.bridge = self.plan();
            if self.lost_before > 0 {
                // It was no pause that was filled while these were awaited.
                let filled = duration(self.filled).min(self.stats.paused);
                self.stats.paused -= filled;
                self.stats.concealed += filled;
            }
        }
    }

    /// When [`Self::poll`] has something to do if no packet arrives before.
    pub fn next_wake(&self) -> Option<Instant> {
        if let Some(opened) = self.gap_opened().filter(|_| self.bridge.is_none()) {
            return Some(opened + self.arrival.target());
        }
        match self.waiting.first_key_value() {
            Some((_, (packet, _))) => Some(packet.arrived),
            None => self.next_timestamp.and_then(|_| self.arrival.missed_at()),
        }
    }

    /// How much must be made up before the first packet that waits.
    fn plan(&self) -> Option<Bridge> {
        let (_, (packet, restarted)) = self.waiting.first_key_value()?;
        let nothing = Bridge { made_up: 0, recover: 0, lost: false };
        let (Some(expected), Some(released), false) = (self.next_timestamp, self.released, restarted) else {
            return Some(nothing);
        };
        // Backwards is a sender that set its clock: nothing is missing.
        let missing = u32::try_from(packet.timestamp.wrapping_sub(expected).cast_signed()).unwrap_or(0);
        let passed = ticks(packet.arrived.saturating_duration_since(released).saturating_add(SLACK));
        let shortest = SHORTEST_SAMPLES as u32;
        let made_up = missing.min(passed).saturating_sub(self.filled) / shortest * shortest;
        let lost = self.lost_before > 0;
        let recover = if lost && made_up >= packet.redundancy { packet.redundancy } else { 0 };
        Some(Bridge { made_up: made_up - recover, recover, lost })
    }

    /// One piece of the bridge, or the packet on its far side.
    fn cross(&mut self) -> Option<Release> {
        let bridge = self.bridge.as_mut()?;
        let (_, (packet, _)) = self.waiting.first_key_value()?;
        let due = |left: u32| packet.arrived.checked_sub(duration(left)).unwrap_or(packet.arrived);
        if bridge.made_up > 0 {
            let piece = bridge.made_up.min(PIECE_TICKS);
            let due = due(bridge.made_up + bridge.recover);
            bridge.made_up -= piece;
            return Some(if bridge.lost {
                self.stats.concealed += duration(piece);
                Release::Lost { ticks: piece, due }
            } else {
                self.stats.paused += duration(piece);
                Release::Pause { ticks: piece, due }
            });
        }
        if bridge.recover > 0 {
            let piece = std::mem::take(&mut bridge.recover);
            self.stats.recovered += 1;
            return Some(Release::Recover { ticks: piece, due: due(piece), following: packet.payload.clone() });
        }
        self.bridge = None;
        let (_, (packet, restarted)) = self.waiting.pop_first()?;
        self.sequence.released();
        self.next_timestamp = Some(packet.timestamp.wrapping_add(packet.ticks));
        self.released = Some(packet.arrived + duration(packet.ticks));
        (self.filled, self.lost_before) = (0, 0);
        Some(Release::Packet { packet, restarted })
    }

    /// Silence for a sender that has not been heard when it was due.
    fn pause(&mut self, now: Instant) -> Option<Release> {
        self.next_timestamp?;
        let due = self.arrival.missed(now, LONGEST_CATCH_UP, duration(PIECE_TICKS))?;
        self.filled = self.filled.saturating_add(PIECE_TICKS);
        self.stats.paused += duration(PIECE_TICKS);
        Some(Release::Pause { ticks: PIECE_TICKS, due })
    }
}

fn duration(ticks: u32) -> Duration {
    SampleRate::HZ_48000.duration_of(ticks as usize)
}

/// Saturating: an hour and more is all the same here.
fn ticks(duration: Duration) -> u32 {
    u32::try_from(SampleRate::HZ_48000.samples_in(duration)).unwrap_or(u32::MAX)
}

const _: () = assert!(PIECE_TICKS as usize <= LONGEST_SAMPLES);

#[cfg(test)]
mod tests;
