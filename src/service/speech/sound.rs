//! PCM into what a client asked for, piece by piece.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use audio::ogg::{OggError, OggOpusWriter};
use audio::pcm::{Pcm, SampleRate, to_i16};
use audio::resample::Resampler;

/// `response_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 16 bits, mono, at the voice's own rate. Its length is not known when it begins, so that the header says "until the end".
    Wav,
    /// The same without header, always at 24 kHz: as OpenAI has it.
    Pcm,
    /// In Ogg, 28 kbit/s.
    Opus,
}

impl Format {
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "wav" => Some(Self::Wav),
            "pcm" => Some(Self::Pcm),
            "opus" => Some(Self::Opus),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
            Self::Opus => "audio/ogg",
        }
    }
}

/// A sound being written.
pub struct Sound {
    format: Format,
    /// To the rate of what has gone out.
    resampler: Option<Resampler>,
    /// Pages of [`Format::Opus`] that are whole.
    pages: Pages,
    opus: Option<OggOpusWriter<Pages>>,
}

impl Sound {
    pub fn new(format: Format) -> Self {
        Self { format, resampler: None, pages: Pages::default(), opus: None }
    }

    /// What can be sent of it now; empty if nothing yet.
    pub fn push(&mut self, pcm: &Pcm) -> Result<Vec<u8>, OggError> {
        if self.format == Format::Opus {
            let writer = match &mut self.opus {
                Some(writer) => writer,
                None => self.opus.insert(OggOpusWriter::new(self.pages.clone())?),
            };
            writer.push(pcm)?;
            return Ok(self.pages.take());
        }
        let mut bytes = Vec::new();
        let mut samples = Vec::new();
        let rate = match &self.resampler {
            Some(resampler) => resampler.to(),
            None if self.format == Format::Pcm => SampleRate::HZ_24000,
            None => pcm.rate,
        };
        if self.resampler.is_none() && self.format == Format::Wav {
            bytes = wav_header(rate);
        }
        if self.resampler.as_ref().is_none_or(|resampler| resampler.from() != pcm.rate)
            && let Some(mut former) = self.resampler.replace(Resampler::aligned(pcm.rate, rate)?)
        {
            former.flush(&mut samples);
        }
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&pcm.samples, &mut samples);
        }
        bytes.extend(samples.iter().flat_map(|sample| to_i16(*sample).to_le_bytes()));
        Ok(bytes)
    }

    /// The rest of it; empty if nothing was ever pushed.
    pub fn finish(&mut self) -> Result<Vec<u8>, OggError> {
        if let Some(writer) = self.opus.take() {
            writer.finish()?;
            return Ok(self.pages.take());
        }
        let mut samples = Vec::new();
        if let Some(resampler) = &mut self.resampler {
            resampler.flush(&mut samples);
        }
        Ok(samples.iter().flat_map(|sample| to_i16(*sample).to_le_bytes()).collect())
    }
}

/// Of a file that goes on until it ends.
fn wav_header(rate: SampleRate) -> Vec<u8> {
    const UNKNOWN: u32 = u32::MAX;
    let (hertz, mut header) = (rate.hertz(), Vec::with_capacity(44));
    header.extend(b"RIFF");
    header.extend(UNKNOWN.to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    header.extend([1, 0, 1, 0]);
    header.extend(hertz.to_le_bytes());
    header.extend((hertz * 2).to_le_bytes());
    // Two bytes a frame, 16 bits a sample.
    header.extend([2, 0, 16, 0]);
    header.extend(b"data");
    header.extend(UNKNOWN.to_le_bytes());
    header
}

/// Takes what a writer writes until it is taken away.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Pages {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A tone of three seconds in chunks, the last second at another rate, as when another engine takes over.
    fn written(format: Format) -> (Vec<u8>, usize) {
        let mut sound = Sound::new(format);
        let tone = |rate: SampleRate| {
            (0..rate.hertz() / 10)
                .map(move |n| (n as f32 * 440.0 * std::f32::consts::TAU / rate.hertz() as f32).sin() * 0.5)
        };
        let mut bytes = Vec::new();
        let mut early = 0;
        for chunk in 0..30 {
            let rate = SampleRate::new(if chunk < 20 { 16_000 } else { 32_000 }).unwrap();
            bytes.extend(sound.push(&Pcm::new(rate, tone(rate).collect())).unwrap());
            if chunk == 14 {
                early = bytes.len();
            }
        }
        bytes.extend(sound.finish().unwrap());
        (bytes, early)
    }

    #[test]
    fn each_format_lasts_as_long_as_what_was_said_and_begins_before_its_end() {
        let (wav, early) = written(Format::Wav);
        let read = audio::wav::read(&wav[..]).unwrap();
        assert_eq!((read.rate.hertz(), read.samples.len()), (16_000, 48_000));
        assert!(early > wav.len() / 3);

        let (pcm, early) = written(Format::Pcm);
        assert_eq!(pcm.len(), 3 * 24_000 * 2);
        assert!(early > pcm.len() / 3);

        let (opus, early) = written(Format::Opus);
        let read = audio::ogg::read(&opus[..]).unwrap();
        assert!((read.duration().as_secs_f64() - 3.0).abs() < 0.001, "{:?}", read.duration());
        assert!(early > 500, "{early} bytes after 1.5 s");
    }

    #[test]
    fn nothing_said_is_nothing_sent() {
        for format in [Format::Wav, Format::Pcm, Format::Opus] {
            assert!(Sound::new(format).finish().unwrap().is_empty());
        }
    }
}
