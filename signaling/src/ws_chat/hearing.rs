//! What the client's chunks sound like to the call: 20 ms frames of 16 kHz, whose clock goes on when the client stops sending.
//!
//! Pure; time is an argument. A chunk holds some 300 ms and comes when its last sample has been recorded, so that a client which
//! still speaks is silent on the line for the length of a chunk. Silence is made up once the next chunk is overdue, as
//! WebRTC's jitter buffer does it: a client that sends only while somebody speaks still gets its turns ended.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use audio::frames::{FrameCutter, HEARD_FRAME};
use audio::pcm::SampleRate;
use audio::resample::{ResampleError, Resampler};

use crate::line::CallerAudio;

/// How much later than expected a chunk may come before silence is made up in its place.
const PATIENCE: Duration = Duration::from_millis(400);
/// What the first chunk after a pause is taken for, however long it is: it may be the only one.
const FIRST_CHUNK: Duration = Duration::from_millis(400);
/// How far ahead of real time a client may send: a whole recording at once, say. What goes beyond is refused.
pub const AHEAD_BOUND: Duration = Duration::from_secs(30);
/// Frames that may wait for the call: as many as a client may be ahead, 2 MB. At the bound chunks are refused.
const WAITING_BOUND: usize = 1_500;
/// Silence made up in one go, after the process has been asleep.
const CATCH_UP_BOUND: Duration = Duration::from_secs(2);
const FRAME: Duration = Duration::from_millis(20);

/// Why a chunk was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("audio is sent faster than it is spoken; at most {} s may be ahead", AHEAD_BOUND.as_secs())]
    Ahead,
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// One client's way in.
#[derive(Debug)]
pub struct Hearing {
    resampler: Option<Resampler>,
    cutter: FrameCutter,
    /// Samples in the cutter that were recorded and not made up.
    recorded: usize,
    ready: VecDeque<CallerAudio>,
    resampled: Vec<f32>,
    /// The last chunk's arrival, and how long after it the next is expected.
    last: Option<(Instant, Duration)>,
    /// Up to when silence has been made up since.
    filled: Option<Instant>,
    /// How much more has been sent than time has passed, as of the last chunk.
    ahead: Duration,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            resampler: None,
            cutter: FrameCutter::new(HEARD_FRAME),
            recorded: 0,
            ready: VecDeque::new(),
            resampled: Vec::new(),
            last: None,
            filled: None,
            ahead: Duration::ZERO,
        }
    }
}

impl Hearing {
    /// Takes a chunk as it arrives. The rate may change from chunk to chunk.
    pub fn receive(&mut self, now: Instant, rate: SampleRate, samples: &[f32]) -> Result<(), ChunkError> {
        self.fill(now);
        let length = rate.duration_of(samples.len());
        let since = self.last.map(|(last, _)| now.saturating_duration_since(last));
        let ahead = self.ahead.saturating_sub(since.unwrap_or_default()) + length;
        if ahead > AHEAD_BOUND || self.ready.len() >= WAITING_BOUND {
            return Err(ChunkError::Ahead);
        }
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from() != rate) {
            self.resampler = Some(Resampler::new(rate, SampleRate::HZ_16000)?);
        }
        self.ahead = ahead;
        let streams = since.is_some_and(|since| since <= length.mul_f32(1.5) + PATIENCE);
        let expected = if streams { length } else { length.min(FIRST_CHUNK) };
        (self.last, self.filled) = (Some((now, expected)), None);
        self.resampled.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.push(samples, &mut self.resampled);
        }
        self.recorded += self.resampled.len();
        self.cutter.push(&self.resampled);
        self.cut(now);
        Ok(())
    }

    /// Makes up the silence that is due at `now`.
    pub fn fill(&mut self, now: Instant) {
        let Some((last, expected)) = self.last else { return };
        let mut filled = match self.filled {
            Some(filled) => filled,
            None if now >= last + expected + PATIENCE => last,
            None => return,
        };
        if let Some(earliest) = now.checked_sub(CATCH_UP_BOUND) {
            filled = filled.max(earliest);
        }
        while filled + FRAME <= now && self.ready.len() < WAITING_BOUND {
            filled += FRAME;
            self.cutter.push(&[0.0; HEARD_FRAME]);
            self.cut(filled);
        }
        self.filled = Some(filled);
    }

    /// When [`Self::fill`] has something to do. `None` before the first chunk.
    pub fn next_wake(&self) -> Option<Instant> {
        let (last, expected) = self.last?;
        Some(self.filled.map_or(last + expected + PATIENCE, |filled| filled + FRAME))
    }

    /// The next frame for the call.
    pub fn frame(&mut self) -> Option<CallerAudio> {
        self.ready.pop_front()
    }

    pub fn has_frame(&self) -> bool {
        !self.ready.is_empty()
    }

    fn cut(&mut self, arrived: Instant) {
        while let Some(samples) = self.cutter.next_frame() {
            let recorded = self.recorded.min(HEARD_FRAME);
            self.recorded -= recorded;
            self.ready.push_back(CallerAudio { arrived, samples, concealed: recorded < HEARD_FRAME / 2 });
        }
    }
}
