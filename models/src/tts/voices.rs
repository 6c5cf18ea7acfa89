//! All the voices there are, of several engines, as one [`TextToSpeech`].

use std::sync::Arc;

use super::{SpeakRequest, Speech, TextToSpeech, Voice};
use crate::error::EngineError;
use crate::queue::QueueDepth;

/// Routes each request to the engine that has its voice. An empty voice means the default; an engine's name alone (`flite`) means that
/// engine's first voice.
pub struct Voices {
    engines: Vec<Arc<dyn TextToSpeech>>,
    /// The default first.
    voices: Vec<Voice>,
}

impl Voices {
    /// `default` is a voice's id, or an engine's name; `None` takes the first engine's first voice.
    pub fn new(engines: Vec<Arc<dyn TextToSpeech>>, default: Option<&str>) -> Result<Self, EngineError> {
        let mut voices: Vec<Voice> = engines.iter().flat_map(|engine| engine.voices().iter().cloned()).collect();
        if voices.is_empty() {
            return Err(EngineError::NotInstalled {
                what: "a voice".into(),
                hint: "install one: apt-get install libflite1".into(),
            });
        }
        let first = match default {
            Some(wanted) => position(&voices, wanted).ok_or_else(|| unknown(wanted, &voices))?,
            None => 0,
        };
        voices[..=first].rotate_right(1);
        Ok(Self { engines, voices })
    }

    /// The voice that speaks when none is asked for.
    pub fn default_voice(&self) -> Option<&Voice> {
        self.voices.first()
    }
}

impl TextToSpeech for Voices {
    fn queue(&self) -> Option<QueueDepth> {
        QueueDepth::of_all(self.engines.iter().map(|engine| engine.queue()))
    }

    fn name(&self) -> String {
        self.engines.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", ")
    }

    /// The default first.
    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let wanted = request.voice.as_str();
        let at = if wanted.is_empty() { Some(0) } else { position(&self.voices, wanted) };
        // One that is not in the list may have been added since.
        let id = at.and_then(|at| self.voices.get(at)).map_or(wanted, |voice| voice.id.as_str());
        let has_it = |engine: &&Arc<dyn TextToSpeech>| engine.has_voice(id);
        let engine = self.engines.iter().find(has_it).ok_or_else(|| unknown(wanted, &self.voices))?;
        engine.speak(SpeakRequest { voice: id.to_owned(), ..request })
    }

    fn has_voice(&self, id: &str) -> bool {
        self.engines.iter().any(|engine| engine.has_voice(id))
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        self.engines.iter().find_map(|engine| engine.added_voice(wanted))
    }
}

fn position(voices: &[Voice], wanted: &str) -> Option<usize> {
    let engine = |voice: &Voice| voice.id.split_once('/').is_some_and(|(engine, _)| engine == wanted);
    voices.iter().position(|voice| voice.id == wanted).or_else(|| voices.iter().position(engine))
}

/// What to say when nobody has the voice `wanted`.
pub(crate) fn unknown(wanted: &str, voices: &[Voice]) -> EngineError {
    let known: Vec<&str> = voices.iter().map(|voice| voice.id.as_str()).collect();
    EngineError::BadRequest(format!("there is no voice {wanted:?}; choose one of {}", known.join(", ")))
}
