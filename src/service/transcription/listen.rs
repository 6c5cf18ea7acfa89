//! Goes through a recording: detector, stretches, recogniser.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use audio::pcm::SampleRate;
use models::error::EngineError;
use models::stt::{SpeechToText, TranscribeRequest, Transcript, Urgency};
use models::vad::{VoiceStream, WINDOW};
use signaling::http::error::ApiError;

use super::segment::{Segmenter, Stretch};
use crate::call::allowance::Bill;
use crate::service::failure;

const RATE: SampleRate = SampleRate::HZ_16000;
/// Windows that the detector looks at in one go: 16 s, some 50 ms of work, after which calls get a turn of the processor.
const STRIDE: usize = 500;
/// How often, and how long after each other, a full queue is tried again.
const TRIES: u32 = 50;
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// What was said in one stretch.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub from: Duration,
    pub to: Duration,
    pub text: String,
    pub language: Option<String>,
    pub mean_log_probability: f32,
}

/// A recording, as far as it has been heard.
pub struct Listening {
    samples: Arc<[f32]>,
    /// Samples that the detector has seen.
    at: usize,
    /// Taken while it works on another thread.
    detector: Option<Box<dyn VoiceStream>>,
    segmenter: Segmenter,
    found: VecDeque<Stretch>,
    is_over: bool,
    stt: Arc<dyn SpeechToText>,
    language: Option<String>,
    /// For as much as has been listened to.
    bill: Bill,
}

impl Listening {
    /// `samples` at 16 kHz.
    pub fn new(
        samples: Vec<f32>,
        detector: Box<dyn VoiceStream>,
        stt: Arc<dyn SpeechToText>,
        language: Option<String>,
        bill: Bill,
    ) -> Self {
        Self {
            samples: samples.into(),
            at: 0,
            detector: Some(detector),
            segmenter: Segmenter::default(),
            found: VecDeque::new(),
            is_over: false,
            stt,
            language,
            bill,
        }
    }

    /// The next passage in which something was said; none at the end.
    pub async fn next(&mut self) -> Result<Option<Passage>, ApiError> {
        loop {
            if let Some(stretch) = self.found.pop_front() {
                let heard = recognise(Arc::clone(&self.stt), self.request(&stretch)).await;
                let heard = heard.map_err(|error| failure::engine(&error, "file"))?;
                if heard.text.is_empty() {
                    continue;
                }
                let Stretch { samples, .. } = stretch;
                let (from, to) =
                    (RATE.duration_of(samples.start), RATE.duration_of(samples.end.min(self.samples.len())));
                let Transcript { text, language, mean_log_probability, .. } = heard;
                return Ok(Some(Passage { from, to, text, language, mean_log_probability }));
            }
            if self.is_over {
                return Ok(None);
            }
            self.detect().await?;
        }
    }

    /// Lets the detector look at the next windows.
    async fn detect(&mut self) -> Result<(), ApiError> {
        let failed = |reason: String| {
            failure::engine(&EngineError::Failed { engine: "voice activity detection", reason }, "file")
        };
        let Some(mut detector) = self.detector.take() else { return Err(failed("it is gone".to_owned())) };
        let (samples, from) = (Arc::clone(&self.samples), self.at);
        let looked = tokio::task::spawn_blocking(move || {
            let fresh = samples.get(from..).unwrap_or_default().chunks(WINDOW).take(STRIDE);
            let probabilities: Result<Vec<f32>, EngineError> = fresh
                .map(|samples| {
                    let mut window = [0.0; WINDOW];
                    window.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
                    detector.push(&window)
                })
                .collect();
            (detector, probabilities)
        });
        let (detector, probabilities) = looked.await.map_err(|_| failed("it panicked".to_owned()))?;
        self.detector = Some(detector);
        let probabilities = probabilities.map_err(|error| failure::engine(&error, "file"))?;
        self.at += probabilities.len() * WINDOW;
        self.bill.usage.transcribed = RATE.duration_of(self.at.min(self.samples.len()));
        self.found.extend(probabilities.into_iter().filter_map(|probability| self.segmenter.push(probability)));
        if self.at >= self.samples.len() {
            self.is_over = true;
            self.found.extend(self.segmenter.finish());
        }
        Ok(())
    }

    fn request(&self, stretch: &Stretch) -> TranscribeRequest {
        let end = stretch.samples.end.min(self.samples.len());
        TranscribeRequest {
            audio: self.samples.get(stretch.samples.start..end).unwrap_or_default().into(),
            language: self.language.clone(),
            urgency: Urgency::Background,
            speech: Some(stretch.speech),
        }
    }
}

/// Calls fill the queue before files do: then it is tried again for a while.
async fn recognise(stt: Arc<dyn SpeechToText>, request: TranscribeRequest) -> Result<Transcript, EngineError> {
    let mut tries = 0;
    loop {
        let heard = match stt.transcribe(request.clone()) {
            Ok(transcription) => transcription.finished().await,
            Err(error) => Err(error),
        };
        tries += 1;
        match heard {
            Err(EngineError::Overloaded { .. }) if tries < TRIES => tokio::time::sleep(TRY_AGAIN).await,
            heard => return heard,
        }
    }
}
