//! Voices in a row.
//!
//! Another engine speaks with its own default voice, since the one that was asked for is not there; its sound comes at the rate of the
//! first, for a reply is kept as one recording of one rate. A voice that only a later engine has is asked for there at once.

use std::sync::Arc;

use audio::pcm::{Pcm, SampleRate};
use audio::resample::Resampler;
use tokio::sync::mpsc::Sender;

use super::{Switch, first_to_take};
use crate::error::EngineError;
use crate::queue::QueueDepth;
use crate::remote::IoThread;
use crate::tts::{SpeakRequest, Speech, TextToSpeech, Voice};

/// See the module and [`super`].
pub struct FallbackTts {
    row: Arc<[Arc<dyn TextToSpeech>]>,
    /// Of all, the first engine's first.
    voices: Vec<Voice>,
    switch: Arc<Switch>,
    io: Arc<IoThread>,
}

impl FallbackTts {
    /// The preferred first.
    pub fn new(io: Arc<IoThread>, row: Vec<Arc<dyn TextToSpeech>>) -> Self {
        let voices = row.iter().flat_map(|engine| engine.voices().iter().cloned()).collect();
        Self { row: row.into(), voices, switch: Arc::new(Switch::new("tts")), io }
    }

    pub fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }
}

impl TextToSpeech for FallbackTts {
    fn queue(&self) -> Option<QueueDepth> {
        QueueDepth::of_all(self.row.iter().map(|engine| engine.queue()))
    }

    fn name(&self) -> String {
        self.row.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", else ")
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn has_voice(&self, id: &str) -> bool {
        self.row.iter().any(|engine| engine.has_voice(id))
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        self.row.iter().find_map(|engine| engine.added_voice(wanted))
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let wanted = request.voice.as_str();
        let has_it = |engine: &Arc<dyn TextToSpeech>| engine.has_voice(wanted);
        // Empty is the first engine's default; what nobody has is the first engine's to refuse or to understand.
        let at = self.row.iter().position(has_it).unwrap_or(0);
        let first = self.row.get(at).ok_or_else(|| EngineError::BadRequest("there is no voice".into()));
        let first = match first?.speak(request.clone()) {
            Err(wrong @ EngineError::BadRequest(_)) => return Err(wrong),
            Ok(speech) => (at, speech, None),
            Err(error) => next(&self.row, at, &request, error)?,
        };
        let (speech, chunks, _) = Speech::new();
        let (row, switch) = (Arc::clone(&self.row), Arc::clone(&self.switch));
        let voice = self.voices.iter().find(|voice| voice.id == wanted).or_else(|| self.voices.first());
        let rate = voice.map(|voice| voice.rate);
        self.io.spawn(async move {
            tokio::select! {
                biased;
                () = chunks.closed() => {}
                () = relay(&row, &switch, &request, first, rate, at, &chunks) => {}
            }
        });
        Ok(speech)
    }
}

type Taken = (usize, Speech, Option<EngineError>);

/// Asks those after `index`, each for its own voice.
fn next(
    row: &[Arc<dyn TextToSpeech>],
    index: usize,
    request: &SpeakRequest,
    error: EngineError,
) -> Result<Taken, EngineError> {
    first_to_take(row, index + 1, Some(error), |engine| {
        engine.speak(SpeakRequest { voice: String::new(), ..request.clone() })
    })
}

async fn relay(
    row: &[Arc<dyn TextToSpeech>],
    switch: &Switch,
    request: &SpeakRequest,
    first: Taken,
    rate: Option<SampleRate>,
    preferred: usize,
    chunks: &Sender<Result<Pcm, EngineError>>,
) {
    let (mut index, mut speech, mut because) = first;
    let mut is_begun = false;
    let mut converter = Converter { to: rate.filter(|_| index != preferred), resampler: None };
    loop {
        match speech.next().await {
            Some(Ok(pcm)) => {
                if !is_begun {
                    is_begun = true;
                    // Asked for a later engine's own voice, nothing took over.
                    let answering = if index == preferred { 0 } else { index };
                    let name = || row.get(index).map_or_else(String::new, |engine| engine.name());
                    switch.answers(answering, name, because.as_ref());
                }
                if chunks.send(converter.convert(pcm)).await.is_err() {
                    return;
                }
            }
            None => {
                if let Some(rest) = converter.finish() {
                    let _ = chunks.send(Ok(rest)).await;
                }
                return;
            }
            Some(Err(error)) if is_begun => {
                let _ = chunks.send(Err(error)).await;
                return;
            }
            Some(Err(error)) => match next(row, index, request, error) {
                Ok(taken) => {
                    (index, speech, because) = taken;
                    converter.to = rate.filter(|_| index != preferred);
                }
                Err(error) => {
                    let _ = chunks.send(Err(error)).await;
                    return;
                }
            },
        }
    }
}

/// Brings another engine's sound to the rate of the first.
struct Converter {
    to: Option<SampleRate>,
    resampler: Option<Resampler>,
}

impl Converter {
    fn convert(&mut self, pcm: Pcm) -> Result<Pcm, EngineError> {
        let Some(to) = self.to.filter(|to| *to != pcm.rate) else { return Ok(pcm) };
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            None => {
                let made = Resampler::aligned(pcm.rate, to)
                    .map_err(|error| EngineError::Failed { engine: "text to speech", reason: error.to_string() })?;
                self.resampler.insert(made)
            }
        };
        let mut samples = Vec::new();
        resampler.push(&pcm.samples, &mut samples);
        Ok(Pcm::new(to, samples))
    }

    fn finish(&mut self) -> Option<Pcm> {
        let resampler = self.resampler.as_mut()?;
        let mut samples = Vec::new();
        resampler.flush(&mut samples);
        (!samples.is_empty()).then(|| Pcm::new(resampler.to(), samples))
    }
}
