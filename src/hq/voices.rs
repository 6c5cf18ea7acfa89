//! Which voice renders a reply.
//!
//! The call's own voice where the engine that renders has it, as one that was made of somebody's recording; else the engine's first
//! voice that speaks the reply's language. Engines that calls use are shared, never opened a second time.

use std::sync::Arc;

use models::stt::wer::is_han;
use models::tts::{TextToSpeech, Voice};

/// The engines that render, the best first.
#[derive(Clone)]
pub struct HqVoices {
    engines: Vec<Engine>,
}

/// The voices of one engine: those whose ids begin with its name. What speaks them may have others too.
#[derive(Clone)]
struct Engine {
    name: &'static str,
    speaks: Arc<dyn TextToSpeech>,
}

/// A voice that may render a reply.
#[derive(Clone)]
pub struct Candidate {
    pub voice: String,
    pub speaks: Arc<dyn TextToSpeech>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.voice)
    }
}

impl HqVoices {
    /// Of each pair, the name with which the engine's voices begin, and what speaks them. The best first.
    pub fn new(engines: impl IntoIterator<Item = (&'static str, Arc<dyn TextToSpeech>)>) -> Self {
        Self { engines: engines.into_iter().map(|(name, speaks)| Engine { name, speaks }).collect() }
    }

    /// For people.
    pub fn name(&self) -> String {
        let names = self.engines.iter().map(|engine| {
            let first = engine.voices().next();
            first.map_or_else(|| engine.name.to_owned(), |voice| format!("{} ({})", voice.name, voice.id))
        });
        names.collect::<Vec<_>>().join(", else ")
    }

    /// Who may say `text`, which a call said with `call_voice`; the best first, none if nobody speaks its language.
    pub fn candidates(&self, text: &str, call_voice: &str) -> Vec<Candidate> {
        let is_chinese = text.chars().any(is_han);
        let found = self.engines.iter().filter_map(|engine| {
            let first = engine.voices().find(|voice| speaks(voice, is_chinese))?;
            let is_own = engine.has(call_voice) && engine.speaks.has_voice(call_voice);
            let voice = if is_own { call_voice.to_owned() } else { first.id.clone() };
            Some(Candidate { voice, speaks: Arc::clone(&engine.speaks) })
        });
        found.collect()
    }
}

impl Engine {
    fn has(&self, id: &str) -> bool {
        id.split_once('/').is_some_and(|(engine, _)| engine == self.name)
    }

    fn voices(&self) -> impl Iterator<Item = &Voice> {
        self.speaks.voices().iter().filter(|voice| self.has(&voice.id))
    }
}

/// `mul` is a voice of many languages.
fn speaks(voice: &Voice, is_chinese: bool) -> bool {
    voice.language == "mul" || is_chinese == voice.language.starts_with("zh")
}

#[cfg(test)]
mod tests {
    use audio::pcm::SampleRate;
    use models::error::EngineError;
    use models::tts::{SpeakRequest, Speech};

    use super::*;

    struct Named(Vec<Voice>, Option<&'static str>);

    impl TextToSpeech for Named {
        fn name(&self) -> String {
            "named".to_owned()
        }

        fn voices(&self) -> &[Voice] {
            &self.0
        }

        fn has_voice(&self, id: &str) -> bool {
            self.1 == Some(id) || self.0.iter().any(|voice| voice.id == id)
        }

        fn speak(&self, _: SpeakRequest) -> Result<Speech, EngineError> {
            Err(EngineError::Stopped { engine: "named" })
        }
    }

    fn named(voices: &[(&str, &'static str)], cloned: Option<&'static str>) -> Arc<dyn TextToSpeech> {
        let voice = |(id, language): &(&str, &'static str)| Voice {
            id: (*id).to_owned(),
            name: (*id).to_owned(),
            language,
            rate: SampleRate::HZ_24000,
        };
        Arc::new(Named(voices.iter().map(voice).collect(), cloned))
    }

    fn chosen(voices: &HqVoices, text: &str, call_voice: &str) -> Vec<String> {
        voices.candidates(text, call_voice).into_iter().map(|candidate| candidate.voice).collect()
    }

    #[test]
    fn a_cloned_voice_renders_its_own_replies_and_another_voice_is_bettered() {
        let all = [("flite/slt", "en-US"), ("pocket-tts/alba", "en"), ("festival/slt-hts", "en-US")];
        let live = named(&all, Some("pocket-tts/grandma"));
        let voices = HqVoices::new([("pocket-tts", Arc::clone(&live)), ("festival", live)]);
        assert_eq!(chosen(&voices, "Hi.", "flite/slt"), ["pocket-tts/alba", "festival/slt-hts"]);
        assert_eq!(chosen(&voices, "Hi.", "pocket-tts/grandma"), ["pocket-tts/grandma", "festival/slt-hts"]);
        assert_eq!(chosen(&voices, "Hi.", "pocket-tts/deleted"), ["pocket-tts/alba", "festival/slt-hts"]);
    }

    #[test]
    fn chinese_goes_to_who_speaks_it_and_to_nobody_where_nobody_does() {
        let english = named(&[("festival/slt-hts", "en-US")], None);
        let any = named(&[("remote/alloy", "mul")], None);
        let both = HqVoices::new([("festival", Arc::clone(&english)), ("remote", any)]);
        assert_eq!(chosen(&both, "你好。", "flite/slt"), ["remote/alloy"]);
        assert_eq!(chosen(&both, "Hello.", "flite/slt"), ["festival/slt-hts", "remote/alloy"]);
        assert!(chosen(&HqVoices::new([("festival", english)]), "你好。", "flite/slt").is_empty());
    }
}
