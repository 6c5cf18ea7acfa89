//! Mono PCM with its sample rate: the one shape in which audio crosses a module boundary.

use std::time::Duration;

/// Samples a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleRate(u32);

impl SampleRate {
    /// What telephones carry.
    pub const HZ_8000: Self = Self(8_000);
    /// What every listening model takes.
    pub const HZ_16000: Self = Self(16_000);
    /// The Realtime protocol's WebSocket rate.
    pub const HZ_24000: Self = Self(24_000);
    /// What Opus decodes to and the peer connection carries.
    pub const HZ_48000: Self = Self(48_000);

    /// `None` outside 1 kHz to 384 kHz: no recording has such a rate.
    pub const fn new(hertz: u32) -> Option<Self> {
        if hertz < 1_000 || hertz > 384_000 { None } else { Some(Self(hertz)) }
    }

    pub const fn hertz(self) -> u32 {
        self.0
    }

    /// How many samples last `duration`, rounded down.
    pub fn samples_in(self, duration: Duration) -> usize {
        (duration.as_micros() * u128::from(self.0) / 1_000_000) as usize
    }

    /// How long `samples` last.
    pub fn duration_of(self, samples: usize) -> Duration {
        Duration::from_nanos((samples as u128 * 1_000_000_000 / u128::from(self.0)) as u64)
    }
}

/// Mono samples in -1.0..=1.0 at one rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    pub rate: SampleRate,
    pub samples: Vec<f32>,
}

impl Pcm {
    pub fn new(rate: SampleRate, samples: Vec<f32>) -> Self {
        Self { rate, samples }
    }

    pub fn duration(&self) -> Duration {
        self.rate.duration_of(self.samples.len())
    }
}

/// One sample as 16-bit, saturating.
pub fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16
}

/// One 16-bit sample as float.
pub fn from_i16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}
