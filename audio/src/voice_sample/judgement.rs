//! The limits: which recordings are refused, with what to do about it, and which are taken with a warning.

use std::time::Duration;

use super::Measures;

/// A voice needs this much speech.
pub const SHORTEST: Duration = Duration::from_secs(3);
/// More does not make it better: what is longer is cut.
pub const LONGEST: Duration = Duration::from_secs(30);
/// Less than this is no speech at all.
const ANY_SPEECH: Duration = Duration::from_millis(500);
/// Shorter than this a voice comes out less like itself.
const AMPLE: Duration = Duration::from_secs(6);
const QUIETEST_DBFS: f32 = -45.0;
const QUIET_DBFS: f32 = -36.0;
/// An undistorted voice is at its greatest amplitude for less than 0.004 of its loud samples; one that is overdriven by 6 dB for 0.02.
const MOST_CLIPPED: f32 = 0.01;
const CLIPPED: f32 = 0.005;
const LEAST_ABOVE_NOISE: f32 = 12.0;
const ABOVE_NOISE: f32 = 20.0;
const BANDWIDTH_HZ: u32 = 5_000;
/// See [`super::change`] for how often this is right.
const TWO_VOICES: f32 = 470.0;
const PERHAPS_TWO_VOICES: f32 = 430.0;

/// Why a recording will not do, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("no speech is heard in the recording; check the microphone, and read the text aloud")]
    NoSpeech,
    #[error(
        "only {:.1} s of speech are heard and at least {} s are needed; read on for about ten seconds",
        speech.as_secs_f32(), SHORTEST.as_secs()
    )]
    TooShort { speech: Duration },
    #[error(
        "the voice is too quiet ({level:.0} dBFS); go nearer to the microphone, or raise its level, and record again"
    )]
    TooQuiet { level: f32 },
    #[error(
        "the recording is distorted: {:.1} % of its loud samples are at the limit; lower the microphone's level and record again",
        share * 100.0
    )]
    Clipped { share: f32 },
    #[error(
        "the voice is only {above:.0} dB above the noise around it; record in a quieter room or nearer to the microphone, \
         with noise suppression off"
    )]
    TooNoisy { above: f32 },
    #[error("more than one person seems to speak; record one voice alone, without a change of place or microphone")]
    SeveralVoices,
}

impl Refusal {
    /// One word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoSpeech => "no_speech",
            Self::TooShort { .. } => "too_short",
            Self::TooQuiet { .. } => "too_quiet",
            Self::Clipped { .. } => "clipped",
            Self::TooNoisy { .. } => "too_noisy",
            Self::SeveralVoices => "several_voices",
        }
    }
}

/// What is not good about a recording that is taken all the same.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Warning {
    #[error("{:.0} s of speech are enough, but ten or more make the voice more like itself", speech.as_secs_f32())]
    Short { speech: Duration },
    #[error("the voice is quiet ({level:.0} dBFS); it was made louder, and the noise with it")]
    Quiet { level: f32 },
    #[error("some loud words are distorted; a lower microphone level would make a clearer voice")]
    SomeClipping,
    #[error("there is noise in the pauses ({above:.0} dB below the voice); the voice may carry some of it")]
    SomeNoise { above: f32 },
    #[error("the recording ends at {hertz} Hz, as a telephone does; a better microphone would make a clearer voice")]
    Narrow { hertz: u32 },
    #[error("the voice changes within the recording; if somebody else speaks in it, record one voice alone")]
    PerhapsTwoVoices,
    #[error("only the first {} s are used", used.as_secs())]
    Cut { used: Duration },
}

/// Taken with these warnings, or refused.
pub type Judgement = Result<Vec<Warning>, Refusal>;

/// The first refusal that applies, in the order in which a person would mend them.
pub fn judge(measured: &Measures) -> Judgement {
    let Measures { speech, clipped, level_dbfs: level, above_noise: above, bandwidth_hz: hertz, change, .. } =
        *measured;
    let refusals = [
        (speech < ANY_SPEECH, Refusal::NoSpeech),
        (level < QUIETEST_DBFS, Refusal::TooQuiet { level }),
        (speech < SHORTEST, Refusal::TooShort { speech }),
        (clipped >= MOST_CLIPPED, Refusal::Clipped { share: clipped }),
        (above < LEAST_ABOVE_NOISE, Refusal::TooNoisy { above }),
        (change >= TWO_VOICES, Refusal::SeveralVoices),
    ];
    if let Some((_, refusal)) = refusals.into_iter().find(|(applies, _)| *applies) {
        return Err(refusal);
    }
    let warnings = [
        (speech < AMPLE, Warning::Short { speech }),
        (level < QUIET_DBFS, Warning::Quiet { level }),
        (clipped >= CLIPPED, Warning::SomeClipping),
        (above < ABOVE_NOISE, Warning::SomeNoise { above }),
        (hertz < BANDWIDTH_HZ, Warning::Narrow { hertz }),
        (change >= PERHAPS_TWO_VOICES, Warning::PerhapsTwoVoices),
    ];
    Ok(warnings.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning).collect())
}
