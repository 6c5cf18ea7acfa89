//! From what was uploaded to the sample that is kept, or why it will not do.
//!
//! The limits are [`audio::voice_sample`]'s. Here is what it needs beside the samples: the decoded file, of bounded length whatever
//! it claims, and the detector's opinion of where speech is.

use std::time::Duration;

use audio::level;
use audio::pcm::{Pcm, SampleRate};
use audio::recording::{self, RecordingError};
use audio::resample::{ResampleError, resample};
use audio::voice_sample::{Activity, LONGEST, Refusal, Warning, judge, measure, prepare, stretch};
use bytes::Bytes;
use models::error::EngineError;
use models::vad::{VoiceDetector, WINDOW};

/// The longest recording that is opened; of it the first thirty seconds of speech are used.
const LONGEST_RECORDING: Duration = Duration::from_secs(120);
/// Nothing above this rate is heard.
const HIGHEST_RATE: SampleRate = SampleRate::HZ_48000;
/// The peak at which the detector is given the recording: it is to find quiet speech too, which is then refused as quiet.
const DETECTOR_PEAK: f32 = 0.7;
/// What is quieter than this at its loudest is not made louder: it is silence.
const SILENT_PEAK: f32 = 0.000_5;

/// Why a sample will not do.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("the recording is longer than {} minutes; cut out ten to thirty seconds of speech", LONGEST_RECORDING.as_secs() / 60)]
    TooLong,
    #[error(transparent)]
    NotAudio(RecordingError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Resample(#[from] ResampleError),
    #[error("the sample could not be listened to: {0}")]
    Detector(#[from] EngineError),
}

impl SampleError {
    /// One word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotAudio(_) | Self::Resample(_) => "not_audio",
            Self::Refused(refusal) => refusal.code(),
            Self::Detector(_) => "internal_error",
        }
    }
}

/// A sample that will do.
#[derive(Debug)]
pub(super) struct Checked {
    /// Trimmed and levelled.
    pub pcm: Pcm,
    pub speech: Duration,
    pub bandwidth_hz: u32,
    pub warnings: Vec<String>,
}

/// Takes about a second a minute of recording: not for a tokio worker.
pub(super) fn check(bytes: Bytes, detector: Option<&dyn VoiceDetector>) -> Result<Checked, SampleError> {
    let whole = recording::read_as_recorded(bytes, HIGHEST_RATE, LONGEST_RECORDING).map_err(|error| match error {
        RecordingError::TooLong(_) => SampleError::TooLong,
        error => SampleError::NotAudio(error),
    })?;
    let found = match detector {
        Some(detector) => detected(&whole, detector)?,
        None => Activity::by_energy(&whole),
    };
    if found.speech().is_zero() {
        return Err(Refusal::NoSpeech.into());
    }
    let used = stretch(&whole, &found, LONGEST);
    let activity = found.within(whole.rate.duration_of(used.start)..whole.rate.duration_of(used.end));
    let is_cut = activity.speech() < found.speech();
    let pcm = Pcm::new(whole.rate, whole.samples.get(used).unwrap_or_default().to_vec());
    drop(whole.samples);
    let measured = measure(&pcm, &activity)?;
    tracing::debug!(?measured, "a sample of a voice");
    let mut warnings = judge(&measured)?;
    if is_cut {
        warnings.push(Warning::Cut { used: pcm.duration() });
    }
    Ok(Checked {
        pcm: prepare(&pcm, &activity),
        speech: measured.speech,
        bandwidth_hz: measured.bandwidth_hz,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    })
}

/// Where the detector hears speech.
fn detected(pcm: &Pcm, detector: &dyn VoiceDetector) -> Result<Activity, SampleError> {
    let mut heard = resample(pcm, SampleRate::HZ_16000)?.samples;
    let peak = level::peak(&heard);
    if peak > SILENT_PEAK {
        heard.iter_mut().for_each(|sample| *sample *= DETECTOR_PEAK / peak);
    }
    let mut stream = detector.stream();
    let probabilities: Result<Vec<f32>, EngineError> = heard
        .chunks(WINDOW)
        .map(|chunk| {
            let mut window = [0.0; WINDOW];
            window.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            stream.push(&window)
        })
        .collect();
    Ok(Activity::new(SampleRate::HZ_16000.duration_of(WINDOW), &probabilities?))
}
