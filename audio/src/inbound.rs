//! The way in: RTP payloads as they arrive, 20 ms frames of 16 kHz as they can be had.
//!
//! Composes jitter buffer, Opus and resampler. Promises frames in order and without gaps, each with the arrival time of
//! the packet that completed it, as soon as that packet is there; and that no payload, however broken, does more than be
//! concealed. Holds no clock: `now` is the caller's, and [`Inbound::next_wake`] says when to come back without a packet.

use std::collections::VecDeque;
use std::time::Instant;

use crate::frames::{FrameCutter, HEARD_FRAME};
use crate::jitter::{JitterBuffer, JitterStats, Packet, Release};
use crate::opus::{self, Decoder, FRAME_SAMPLES, OpusError};
use crate::pcm::SampleRate;
use crate::resample::{ResampleError, Resampler};

/// Made-up audio sounds like the voice for this long, and is silence afterwards.
const LONGEST_CONCEALMENT: usize = 3 * FRAME_SAMPLES;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    #[error("cannot listen to the caller: {0}")]
    Opus(#[from] OpusError),
    #[error("cannot listen to the caller: {0}")]
    Resample(#[from] ResampleError),
}

/// 20 ms of what the caller said.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardFrame {
    /// When the packet that carries its end arrived; of a concealed frame, when it was due.
    pub arrived: Instant,
    /// 320 samples of 16 kHz. They lag the packets by 2.5 ms, half the resampler's filter.
    pub samples: Vec<f32>,
    /// At least half of it was made up.
    pub concealed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboundStats {
    pub network: JitterStats,
    /// Packets that arrived but could not be decoded; concealed.
    pub corrupt: u64,
}

/// One caller's way in.
#[derive(Debug)]
pub struct Inbound {
    jitter: JitterBuffer,
    decoder: Decoder,
    resampler: Resampler,
    cutter: FrameCutter,
    /// At most the six frames of one packet of 120 ms.
    ready: VecDeque<HeardFrame>,
    decoded: Vec<f32>,
    resampled: Vec<f32>,
    /// Duration of the last good packet: what a corrupt one is taken for.
    usual_ticks: u32,
    /// Samples made up since the last good packet.
    made_up: usize,
    /// Of the samples in the cutter, how many were made up.
    made_up_pending: usize,
    latest: Option<Instant>,
    corrupt: u64,
}

impl Inbound {
    pub fn new() -> Result<Self, InboundError> {
        Ok(Self {
            jitter: JitterBuffer::new(),
            decoder: Decoder::new()?,
            resampler: Resampler::new(opus::RATE, SampleRate::HZ_16000)?,
            cutter: FrameCutter::new(HEARD_FRAME),
            ready: VecDeque::new(),
            decoded: Vec::with_capacity(opus::LONGEST_SAMPLES),
            resampled: Vec::with_capacity(opus::LONGEST_SAMPLES / 3),
            usual_ticks: FRAME_SAMPLES as u32,
            made_up: 0,
            made_up_pending: 0,
            latest: None,
            corrupt: 0,
        })
    }

    /// Takes an RTP packet's payload as it arrives, without its padding. Follow with [`Self::poll`] until `None`.
    pub fn receive(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        let mut kept = payload;
        let ticks = match opus::packet_samples(payload) {
            Ok(samples) => {
                self.usual_ticks = samples as u32;
                samples as u32
            }
            Err(_) if payload.is_empty() => 0,
            Err(_) => {
                // It won't decode: keep its place and forget its bytes.
                kept = &[];
                self.usual_ticks
            }
        };
        let redundancy = opus::redundancy_samples(kept) as u32;
        self.jitter.receive(Packet { sequence, timestamp, arrived: now, ticks, redundancy, payload: kept.to_vec() });
    }

    /// The next frame that can be had at `now`; ask again until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<HeardFrame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            let release = self.jitter.poll(now)?;
            self.hear(release);
        }
    }

    /// When to poll although nothing arrived. `None` before the first packet.
    pub fn next_wake(&self) -> Option<Instant> {
        self.jitter.next_wake()
    }

    pub fn stats(&self) -> InboundStats {
        InboundStats { network: self.jitter.stats(), corrupt: self.corrupt }
    }

    fn hear(&mut self, release: Release) {
        self.decoded.clear();
        let (at, made_up) = match release {
            Release::Packet { packet, restarted } => {
                if restarted && self.decoder.reset().is_err() {
                    self.corrupt += 1;
                }
                let good = self.decoder.decode(&packet.payload, &mut self.decoded).is_ok();
                if good {
                    self.made_up = 0;
                } else {
                    self.corrupt += 1;
                    self.make_up(packet.ticks as usize);
                }
                (packet.arrived, !good)
            }
            Release::Recover { ticks, due, following } => {
                let good = self.decoder.recover(&following, ticks as usize, &mut self.decoded).is_ok();
                if !good {
                    self.make_up(ticks as usize);
                }
                // Coarser than the packet itself, but said by the caller, not made up.
                (due, !good)
            }
            Release::Lost { ticks, due } | Release::Pause { ticks, due } => {
                self.make_up(ticks as usize);
                (due, true)
            }
        };
        self.cut(at, made_up);
    }

    /// A continuation of the voice at first, silence when it gets long.
    fn make_up(&mut self, samples: usize) {
        let start = self.decoded.len();
        let voiced = samples.min(LONGEST_CONCEALMENT.saturating_sub(self.made_up));
        self.decoder.conceal(voiced, &mut self.decoded);
        self.decoded.resize(start + samples, 0.0);
        self.made_up = self.made_up.saturating_add(samples);
    }

    fn cut(&mut self, at: Instant, made_up: bool) {
        // Arrival times never run backwards: what was due before its predecessor came is heard with it.
        let arrived = self.latest.map_or(at, |latest| latest.max(at));
        self.latest = Some(arrived);
        self.resampled.clear();
        self.resampler.push(&self.decoded, &mut self.resampled);
        if made_up {
            self.made_up_pending += self.resampled.len();
        }
        self.cutter.push(&self.resampled);
        while let Some(samples) = self.cutter.next_frame() {
            let left = self.cutter.pending();
            let made_up_left = if made_up { left.min(self.made_up_pending) } else { 0 };
            let concealed = 2 * (self.made_up_pending - made_up_left) >= HEARD_FRAME;
            self.made_up_pending = made_up_left;
            self.ready.push_back(HeardFrame { arrived, samples, concealed });
        }
    }
}

#[cfg(test)]
mod tests;
