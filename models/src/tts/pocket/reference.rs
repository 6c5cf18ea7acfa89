//! The recording that a voice is cloned from: what is refused, and how it is made ready to be heard.

use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};

use crate::error::EngineError;

/// Less does not show how someone speaks.
const SHORTEST: Duration = Duration::from_secs(3);
/// What is longer is cut off: more does not make the voice better.
const LONGEST: Duration = Duration::from_secs(30);
/// Of that much there must be speech.
const SPOKEN_LEAST: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_millis(20);
/// A window this far below the loudest one is silent, in decibels.
const QUIETER: f32 = 35.0;
/// Root mean square of the loudest window of a recording that is silence: -50 dB of full scale.
const SILENCE: f32 = 0.003_2;
/// The recording ends on a pause of exactly this: one that ends on speech makes the model go on with it.
const PAUSE: Duration = Duration::from_millis(80);
const FADE: Duration = Duration::from_millis(20);

/// The samples of `audio` at `rate` as the model is to hear them, or why they will not do.
pub(super) fn prepare(audio: &Pcm, rate: SampleRate) -> Result<Vec<f32>, EngineError> {
    if audio.samples.iter().any(|sample| !sample.is_finite()) {
        return refuse("the recording has samples that are not numbers; record it again");
    }
    let length = audio.duration();
    if length < SHORTEST {
        return refuse(&format!(
            "the recording lasts {:.1} s; a voice needs at least {} s of speech",
            length.as_secs_f64(),
            SHORTEST.as_secs()
        ));
    }
    let cut = audio.samples.len().min(audio.rate.samples_in(LONGEST));
    let samples = audio.samples.get(..cut).unwrap_or_default();
    let mut heard = Vec::new();
    let mut resampler = audio::resample::Resampler::aligned(audio.rate, rate)
        .map_err(|error| EngineError::BadRequest(error.to_string()))?;
    resampler.push(samples, &mut heard);
    resampler.flush(&mut heard);
    end_on_pause(heard, rate)
}

/// Cuts the silence at the end, fades out, and puts a pause there.
fn end_on_pause(mut samples: Vec<f32>, rate: SampleRate) -> Result<Vec<f32>, EngineError> {
    let window = rate.samples_in(WINDOW).max(1);
    let levels: Vec<f32> = samples
        .chunks_exact(window)
        .map(|window| (window.iter().map(|sample| sample * sample).sum::<f32>() / window.len() as f32).sqrt())
        .collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    let floor = loudest * 10.0_f32.powf(-QUIETER / 20.0);
    let loud = || levels.iter().enumerate().filter(|(_, level)| **level > floor).map(|(at, _)| at);
    if loudest < SILENCE {
        return refuse("the recording is silent; check the microphone and record again");
    }
    if rate.duration_of(loud().count() * window) < SPOKEN_LEAST {
        return refuse("there is less than a second of speech in the recording; speak for at least three seconds");
    }
    let end = loud().next_back().map_or(0, |last| (last + 1) * window);
    samples.truncate(end);
    let fade = rate.samples_in(FADE).min(end);
    let last = (fade.max(2) - 1) as f32;
    for (at, sample) in samples.iter_mut().skip(end - fade).enumerate() {
        *sample *= 1.0 - at as f32 / last;
    }
    samples.resize(end + rate.samples_in(PAUSE), 0.0);
    Ok(samples)
}

fn refuse<T>(why: &str) -> Result<T, EngineError> {
    Err(EngineError::BadRequest(why.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn tone(seconds: f32, level: f32) -> Pcm {
        let samples = (0..(seconds * 16_000.0) as usize).map(|at| level * (at as f32 * 0.1).sin()).collect();
        Pcm::new(SampleRate::HZ_16000, samples)
    }

    fn why(audio: &Pcm) -> String {
        prepare(audio, SampleRate::HZ_24000).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn recording_that_shows_no_voice_is_refused_with_the_reason() {
        assert!(why(&tone(2.9, 0.5)).contains("at least 3 s"));
        assert!(why(&Pcm::new(SampleRate::HZ_16000, Vec::new())).contains("at least 3 s"));
        assert!(why(&tone(5.0, 0.000_1)).contains("silent"));
        assert!(why(&Pcm::new(SampleRate::HZ_16000, vec![f32::NAN; 64_000])).contains("not numbers"));
        let mut click = tone(5.0, 0.0);
        click.samples[40_000..40_100].fill(0.9);
        assert!(why(&click).contains("less than a second"));
    }

    #[test]
    fn trailing_silence_becomes_a_short_pause_and_long_recordings_are_cut() {
        let mut audio = tone(4.0, 0.5);
        audio.samples.resize(9 * 16_000, 0.0);
        let heard = prepare(&audio, SampleRate::HZ_24000).unwrap();
        let seconds = heard.len() as f32 / 24_000.0;
        assert!((4.06..4.14).contains(&seconds), "{seconds}");
        assert!(heard.iter().rev().take(1_920).all(|sample| *sample == 0.0));
        let long = prepare(&tone(100.0, 0.5), SampleRate::HZ_24000).unwrap();
        assert!((30.0..30.2).contains(&(long.len() as f32 / 24_000.0)));
    }
}
