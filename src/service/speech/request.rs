//! What a speech request asks for.

use models::text::sentences::SentenceSplitter;
use models::tts::Voice;
use serde_json::Value;
use signaling::line::Fault;
use signaling::realtime::fields::{Fields, fault, invalid, quoted, unsupported};

use super::sound::Format;

/// The longest text, as OpenAI has it.
const INPUT_LIMIT: usize = 4096;
/// OpenAI's voices: programs have one of them written in. They stand for the default voice.
const FOREIGN_VOICES: [&str; 13] =
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"];

#[derive(Debug, PartialEq)]
pub struct Asked {
    pub model: Option<String>,
    /// Speakable, in order, at least one.
    pub sentences: Vec<String>,
    /// One of the engine's.
    pub voice: String,
    pub format: Format,
    /// As events (`stream_format: sse`) instead of plain sound.
    pub as_events: bool,
}

impl Asked {
    /// `voices`: the engine's, the first is its default; `added`: the id of one that was added, by what it may be called. `usual`: what
    /// calls use, empty for that default.
    pub fn read(
        value: &Value,
        voices: &[Voice],
        added: &dyn Fn(&str) -> Option<String>,
        usual: &str,
    ) -> Result<Self, Fault> {
        let fields = Fields::of(value, "")?;
        let format = match fields.text("response_format")? {
            None => Format::Wav,
            Some(name) => Format::of(name).ok_or_else(|| {
                let message =
                    format!("`response_format` is `{}`, which is not made here; use wav, pcm or opus", quoted(name));
                unsupported("response_format", message)
            })?,
        };
        if fields.number("speed", 0.25..=4.0)?.is_some_and(|speed| speed != 1.0) {
            let message = "`speed` must be 1: the voices here speak at their own pace";
            return Err(unsupported("speed", message.to_owned()));
        }
        let as_events = match fields.text("stream_format")? {
            None | Some("audio") => false,
            Some("sse") => true,
            Some(other) => {
                let message = format!("`stream_format` is `{}`; use audio or sse", quoted(other));
                return Err(unsupported("stream_format", message));
            }
        };
        Ok(Self {
            model: fields.text("model")?.map(str::to_owned),
            sentences: sentences(fields.required_text("input")?)?,
            voice: voice(&fields, voices, added, usual)?,
            format,
            as_events,
        })
    }
}

fn sentences(input: &str) -> Result<Vec<String>, Fault> {
    let length = input.chars().count();
    if length > INPUT_LIMIT {
        let message = format!("`input` has {length} characters, and at most {INPUT_LIMIT} are said at once; split it");
        return Err(fault("string_above_max_length", Some("input"), message));
    }
    let mut splitter = SentenceSplitter::new();
    let mut pieces = splitter.push(input);
    pieces.extend(splitter.finish());
    let sentences: Vec<_> = pieces.into_iter().map(|piece| piece.spoken).filter(|spoken| !spoken.is_empty()).collect();
    if sentences.is_empty() {
        return Err(invalid("input", "`input` has nothing that can be spoken".to_owned()));
    }
    Ok(sentences)
}

/// The voice's name, or an object with its `id`.
fn voice(
    fields: &Fields<'_>,
    voices: &[Voice],
    added: &dyn Fn(&str) -> Option<String>,
    usual: &str,
) -> Result<String, Fault> {
    let asked = match fields.get("voice") {
        Some(Value::Object(_)) => fields.object("voice")?.map(|voice| voice.required_text("id")).transpose()?,
        _ => fields.text("voice")?,
    };
    let asked = asked.filter(|asked| !FOREIGN_VOICES.contains(asked)).unwrap_or(usual);
    let engine = |voice: &&Voice| voice.id.split_once('/').is_some_and(|(engine, _)| engine == asked);
    let found = match asked {
        "" => voices.first(),
        _ => voices.iter().find(|voice| voice.id == asked).or_else(|| voices.iter().find(engine)),
    };
    let found = found.map(|voice| voice.id.clone()).or_else(|| added(asked));
    // What calls use may be a voice that is still being made.
    let found = found.or_else(|| voices.first().filter(|_| asked == usual).map(|voice| voice.id.clone()));
    found.ok_or_else(|| {
        let known: Vec<_> = voices.iter().map(|voice| voice.id.as_str()).collect();
        invalid("voice", format!("there is no voice `{}`; use one of {}", quoted(asked), known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use audio::pcm::SampleRate;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Asked, Fault> {
        let voice =
            |id: &str| Voice { id: id.to_owned(), name: id.to_owned(), language: "en", rate: SampleRate::HZ_16000 };
        let added = |wanted: &str| (wanted == "voice_1").then(|| "pocket-tts/voice_1".to_owned());
        Asked::read(value, &[voice("flite/slt"), voice("flite/rms"), voice("festival/slt")], &added, "")
    }

    #[test]
    fn a_program_with_one_of_openais_voices_written_in_gets_the_default() {
        for (voice, found) in [
            (json!("alloy"), "flite/slt"),
            (json!(null), "flite/slt"),
            (json!("festival"), "festival/slt"),
            (json!("flite/rms"), "flite/rms"),
            (json!({"id": "festival/slt"}), "festival/slt"),
            (json!("voice_1"), "pocket-tts/voice_1"),
        ] {
            assert_eq!(read(&json!({"input": "Hi.", "voice": voice})).unwrap().voice, found);
        }
        let fault = read(&json!({"input": "Hi.", "voice": "robot"})).unwrap_err();
        assert!(fault.param.as_deref() == Some("voice") && fault.message.contains("flite/rms"), "{fault:?}");
    }

    #[test]
    fn markup_is_not_spoken_and_a_text_of_nothing_else_is_refused() {
        let asked = read(&json!({"input": "# Hello **there**. 😀 Go on: `now`."})).unwrap();
        assert_eq!(asked.sentences.join(" "), "Hello there. Go on: now.");
        for input in ["", "   ", "😀😀", "***"] {
            assert_eq!(read(&json!({"input": input})).unwrap_err().param.as_deref(), Some("input"), "{input:?}");
        }
    }

    #[test]
    fn what_would_sound_otherwise_than_asked_is_refused_by_name() {
        for (field, value, code) in [
            ("response_format", json!("mp3"), "unsupported"),
            ("speed", json!(1.5), "unsupported"),
            ("speed", json!(9), "invalid_value"),
            ("stream_format", json!("chunks"), "unsupported"),
            ("input", json!("a".repeat(4097)), "string_above_max_length"),
            ("input", json!(7), "invalid_type"),
        ] {
            let mut asked = json!({"input": "Hi."});
            asked[field] = value;
            let fault = read(&asked).unwrap_err();
            assert_eq!((fault.param.as_deref(), fault.code), (Some(field), code), "{fault:?}");
        }
        assert!(read(&json!({"input": "a".repeat(4096), "speed": 1.0, "response_format": "opus"})).is_ok());
    }
}
