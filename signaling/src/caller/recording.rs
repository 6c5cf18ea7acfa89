//! What came back, on one timeline, and the questions asked of it: how long until the answer, and is anything missing.

use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};

/// Root mean square above which 20 ms count as voice: -50 dBFS, far above coding noise and far below quiet speech.
pub const AUDIBLE: f32 = 0.003;
/// A hole longer than this is taken for a new timeline rather than filled with silence.
const LONGEST_HOLE: u32 = 60 * 48_000;

/// Packets in the order of their arrival, placed by their RTP timestamps.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    packets: Vec<Packet>,
    /// Samples, end of the latest packet on the timeline.
    end: u64,
    next_timestamp: u32,
}

#[derive(Debug, Clone)]
struct Packet {
    at: Instant,
    start: u64,
    samples: Vec<f32>,
}

/// A stretch of the timeline for which no packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// From the recording's first sample.
    pub start: Duration,
    pub length: Duration,
}

impl Recording {
    /// Adds a packet of 48 kHz samples.
    pub fn push(&mut self, at: Instant, timestamp: u32, samples: &[f32]) {
        let start = if self.packets.is_empty() {
            0
        } else {
            // Signed: a late packet belongs before the end.
            let ahead = timestamp.wrapping_sub(self.next_timestamp) as i32;
            if ahead.unsigned_abs() > LONGEST_HOLE { self.end } else { self.end.saturating_add_signed(ahead.into()) }
        };
        let end = start + samples.len() as u64;
        if self.packets.is_empty() || end > self.end {
            self.end = end;
            self.next_timestamp = timestamp.wrapping_add(samples.len() as u32);
        }
        self.packets.push(Packet { at, start, samples: samples.to_vec() });
    }

    /// Everything, silence where nothing came.
    pub fn pcm(&self) -> Pcm {
        let mut samples = vec![0.0; usize::try_from(self.end).unwrap_or(0)];
        for packet in &self.packets {
            let start = usize::try_from(packet.start).unwrap_or(usize::MAX);
            for (to, from) in samples.iter_mut().skip(start).zip(&packet.samples) {
                *to = *from;
            }
        }
        Pcm::new(SampleRate::HZ_48000, samples)
    }

    /// When the first packet with voice came at or after `from`: what voice-to-voice is measured to.
    pub fn first_audible(&self, from: Instant) -> Option<Instant> {
        self.packets.iter().find(|packet| packet.at >= from && is_audible(&packet.samples)).map(|packet| packet.at)
    }

    /// When the last packet with voice came.
    pub fn last_audible(&self) -> Option<Instant> {
        self.packets.iter().rev().find(|packet| is_audible(&packet.samples)).map(|packet| packet.at)
    }

    /// Samples no packet carried.
    pub fn holes(&self) -> Vec<Hole> {
        let mut spans: Vec<(u64, u64)> =
            self.packets.iter().map(|packet| (packet.start, packet.start + packet.samples.len() as u64)).collect();
        spans.sort_unstable();
        let mut heard = 0;
        let mut holes = Vec::new();
        for (start, end) in spans {
            if start > heard {
                holes.push(Hole { start: duration(heard), length: duration(start - heard) });
            }
            heard = heard.max(end);
        }
        holes
    }

    /// The longest time between two packets that followed each other.
    pub fn longest_wait(&self) -> Duration {
        let later = self.packets.iter().skip(1);
        self.packets
            .iter()
            .zip(later)
            .map(|(one, next)| next.at.saturating_duration_since(one.at))
            .max()
            .unwrap_or_default()
    }

    pub fn packets(&self) -> usize {
        self.packets.len()
    }
}

fn duration(samples: u64) -> Duration {
    SampleRate::HZ_48000.duration_of(usize::try_from(samples).unwrap_or(usize::MAX))
}

pub(super) fn is_audible(samples: &[f32]) -> bool {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    !samples.is_empty() && (energy / samples.len() as f32).sqrt() > AUDIBLE
}

/// Where the last audible 10 ms of 48 kHz samples end; the end of all when nothing is audible.
pub fn last_audible(samples: &[f32]) -> usize {
    const WINDOW: usize = 480;
    let last = samples.chunks(WINDOW).enumerate().rfind(|(_, window)| is_audible(window));
    last.map_or(samples.len(), |(index, window)| index * WINDOW + window.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOICE: [f32; 960] = [0.1; 960];
    const SILENCE: [f32; 960] = [0.0; 960];

    #[test]
    fn a_lost_packet_is_a_hole_of_its_length_and_a_late_one_fills_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut recording = Recording::default();
        recording.push(at(0), u32::MAX - 959, &VOICE);
        recording.push(at(20), 960, &VOICE);
        assert_eq!(recording.holes(), [Hole { start: Duration::from_millis(20), length: Duration::from_millis(20) }]);
        assert_eq!(recording.pcm().duration(), Duration::from_millis(60));
        recording.push(at(50), 0, &VOICE);
        assert!(recording.holes().is_empty());
        assert!(recording.pcm().samples.iter().all(|sample| *sample == 0.1));
        assert_eq!(recording.longest_wait(), Duration::from_millis(30));
    }

    #[test]
    fn an_answer_begins_with_voice_and_not_with_the_silence_before_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut recording = Recording::default();
        recording.push(at(0), 0, &VOICE);
        recording.push(at(20), 960, &SILENCE);
        recording.push(at(40), 1_920, &VOICE);
        recording.push(at(60), 2_880, &SILENCE);
        assert_eq!(recording.first_audible(at(10)), Some(at(40)));
        assert_eq!(recording.last_audible(), Some(at(40)));
        assert_eq!(recording.first_audible(at(50)), None);
    }

    #[test]
    fn the_pause_at_a_recordings_end_is_not_counted_as_speech() {
        let mut samples = vec![0.1; 1_000];
        samples.extend([0.0; 4_000]);
        assert_eq!(last_audible(&samples), 1_440);
        assert_eq!(last_audible(&SILENCE), 960);
    }
}
