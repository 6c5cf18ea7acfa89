//! Speech of any length over a recogniser of pieces, each complete piece of it transcribed once.
//!
//! Promises that the text of speech that has grown begins with the texts of the pieces that were complete before, letter for
//! letter, so that no word is lost or doubled where they meet; that a piece which is nobody's speech (music in a pause, a
//! decoder's loop) is left out and the rest kept.

use super::gate;
use super::memory::Memory;
use super::pieces::pieces;
use super::wer::is_han;
use super::{Piece, Recognized, Recognizer};
use crate::cancel::Cancelled;
use crate::error::EngineError;

/// So much of what was said before is of use to an engine.
const BEFORE_BYTES: usize = 600;

/// Transcribes `audio`, 16 kHz mono, however long, with nothing known of it.
pub fn whole(
    recognizer: &mut dyn Recognizer,
    audio: &[f32],
    language: Option<&str>,
    cancelled: &Cancelled,
) -> Result<Recognized, EngineError> {
    transcribe(recognizer, audio, language, &Memory::default(), cancelled)
}

/// Transcribes `audio`, 16 kHz mono, however long, but for the pieces that are remembered.
pub(super) fn transcribe(
    recognizer: &mut dyn Recognizer,
    audio: &[f32],
    language: Option<&str>,
    memory: &Memory,
    cancelled: &Cancelled,
) -> Result<Recognized, EngineError> {
    let ranges = pieces(audio, recognizer.cutting());
    let alone = ranges.len() == 1;
    let mut whole = Whole::default();
    let mut language = language.map(str::to_owned);
    let mut last = ranges.len();
    for range in ranges {
        last -= 1;
        let piece = Piece {
            audio: audio.get(range).unwrap_or_default(),
            language: language.as_deref(),
            before: whole.end(BEFORE_BYTES),
        };
        let recognized = if last == 0 {
            recognizer.recognize(&piece, cancelled)?
        } else {
            let key = memory.key(&piece);
            match memory.recall(key) {
                Some(recognized) => recognized,
                None => {
                    let recognized = recognizer.recognize(&piece, cancelled)?;
                    memory.keep(key, recognized.clone());
                    recognized
                }
            }
        };
        let is_said = alone || gate::refuse_piece(&recognized).is_none();
        if is_said && language.is_none() && !recognized.text.is_empty() {
            // What was detected in the first words holds for the rest.
            language.clone_from(&recognized.language);
        }
        whole.add(recognized, is_said);
    }
    Ok(whole.recognized())
}

/// The pieces so far.
#[derive(Default)]
struct Whole {
    said: Sum,
    /// Of the pieces that were left out: what the gate is shown if there is nothing else.
    left_out: Sum,
}

#[derive(Default)]
struct Sum {
    text: String,
    language: Option<String>,
    log_probability: f32,
    tokens: u32,
    /// The least: one piece with speech in it is speech.
    no_speech_probability: Option<f32>,
}

impl Whole {
    fn add(&mut self, recognized: Recognized, is_said: bool) {
        let sum = if is_said { &mut self.said } else { &mut self.left_out };
        sum.text = join(std::mem::take(&mut sum.text), &recognized.text);
        sum.language = sum.language.take().or(recognized.language);
        sum.log_probability += recognized.mean_log_probability * recognized.tokens as f32;
        sum.tokens += recognized.tokens;
        sum.no_speech_probability = match (sum.no_speech_probability, recognized.no_speech_probability) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// The last of what was said, at most so many bytes, from the beginning of a word.
    fn end(&self, most: usize) -> &str {
        let text = &self.said.text;
        let from = (text.len().saturating_sub(most)..text.len()).find(|at| text.is_char_boundary(*at));
        let end = from.and_then(|from| text.get(from..)).unwrap_or_default();
        if end.len() == text.len() { end } else { end.split_once(' ').map_or(end, |(_, rest)| rest) }
    }

    fn recognized(self) -> Recognized {
        let sum = if self.said.text.is_empty() { self.left_out } else { self.said };
        Recognized {
            text: sum.text,
            language: sum.language,
            mean_log_probability: if sum.tokens == 0 { 0.0 } else { sum.log_probability / sum.tokens as f32 },
            tokens: sum.tokens,
            no_speech_probability: sum.no_speech_probability,
        }
    }
}

/// With a space between, except where Chinese meets Chinese.
fn join(mut text: String, more: &str) -> String {
    let more = more.trim();
    let is_chinese = |character: char| is_han(character) || "，。！？；：、）」』（「『".contains(character);
    let chinese = text.chars().next_back().is_some_and(is_chinese) && more.chars().next().is_some_and(is_chinese);
    if !text.is_empty() && !more.is_empty() && !chinese {
        text.push(' ');
    }
    text.push_str(more);
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::super::pieces::Cutting;
    use super::super::recordings::{SECOND, white_noise};
    use super::*;

    /// Says what loudness tells it to, and counts.
    #[derive(Default)]
    struct Scripted {
        calls: usize,
        samples: usize,
        before: Vec<String>,
        languages: Vec<Option<String>>,
    }

    impl Recognizer for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn cutting(&self) -> Cutting {
            Cutting { shortest: Duration::from_secs(2), longest: Duration::from_secs(6) }
        }

        fn recognize(&mut self, piece: &Piece<'_>, _: &Cancelled) -> Result<Recognized, EngineError> {
            self.calls += 1;
            self.samples += piece.audio.len();
            self.before.push(piece.before.to_owned());
            self.languages.push(piece.language.map(str::to_owned));
            let loudest = piece.audio.iter().fold(0.0_f32, |most, sample| most.max(*sample));
            let text = match (loudest * 10.0).round() as u32 {
                0 => "Thank you for watching!",
                1 => "one",
                2 => "two,",
                _ => "three.",
            };
            Ok(Recognized {
                text: text.to_owned(),
                language: Some("en".to_owned()),
                mean_log_probability: -0.25,
                tokens: 4,
                no_speech_probability: Some(loudest),
            })
        }
    }

    /// Three seconds of speech as loud as asked for, and a pause.
    fn speech(loudness: &[f32]) -> Vec<f32> {
        let mut audio = Vec::new();
        for loudness in loudness {
            audio.extend(white_noise(3 * SECOND, 1.0).iter().map(|sample| sample * loudness));
            audio.extend([0.0; SECOND / 2]);
        }
        audio
    }

    #[test]
    fn only_the_tail_is_left_to_do_at_the_end() {
        let (mut engine, memory) = (Scripted::default(), Memory::default());
        let audio = speech(&[0.1, 0.2, 0.3]);
        for end in (SECOND..audio.len()).step_by(SECOND) {
            transcribe(&mut engine, &audio[..end], None, &memory, &Cancelled::default()).unwrap();
        }
        (engine.calls, engine.samples) = (0, 0);
        let audio = &audio[..audio.len() - SECOND / 2];
        let whole = transcribe(&mut engine, audio, None, &memory, &Cancelled::default()).unwrap();
        assert_eq!(whole.text, "one two, three.");
        assert_eq!(engine.calls, 1, "two pieces were known");
        assert!(engine.samples < 4 * SECOND, "{}", engine.samples);
    }

    #[test]
    fn what_was_settled_is_the_prompt_and_its_language_holds() {
        let mut engine = Scripted::default();
        let audio = speech(&[0.1, 0.2, 0.3]);
        transcribe(&mut engine, &audio, None, &Memory::default(), &Cancelled::default()).unwrap();
        assert_eq!(engine.before[..3], ["", "one", "one two,"]);
        let en = Some("en".to_owned());
        assert_eq!(engine.languages[..3], [None, en.clone(), en]);
    }

    #[test]
    fn a_phantom_in_a_long_pause_is_left_out_and_the_speech_kept() {
        let audio = speech(&[0.1, 0.0, 0.3]);
        let heard = |audio: &[f32]| {
            transcribe(&mut Scripted::default(), audio, None, &Memory::default(), &Cancelled::default()).unwrap()
        };
        let whole = heard(&audio);
        assert_eq!(whole.text, "one three.");
        assert!((whole.mean_log_probability + 0.25).abs() < 1e-6);
        // With nothing else it is the gate's to name.
        assert_eq!(heard(&speech(&[0.0])[..SECOND]).text, "Thank you for watching!");
    }

    #[test]
    fn chinese_is_joined_without_spaces_and_english_with_one() {
        let joined = |parts: &[&str]| parts.iter().fold(String::new(), |text, part| join(text, part));
        assert_eq!(joined(&["今天天氣", "很好。", "走吧"]), "今天天氣很好。走吧");
        assert_eq!(joined(&["Good ", " day.", "", "Sir"]), "Good day. Sir");
        assert_eq!(joined(&["用", "Rust", "寫"]), "用 Rust 寫");
    }

    #[test]
    fn the_prompt_is_cut_at_a_word() {
        let mut whole = Whole::default();
        whole.said.text = "one two three".to_owned();
        assert_eq!(whole.end(7), "three");
        assert_eq!(whole.end(100), "one two three");
        whole.said.text = "天氣很好".to_owned();
        assert_eq!(whole.end(7), "很好");
    }

    #[test]
    fn nothing_is_said_in_nothing() {
        let none = transcribe(&mut Scripted::default(), &[], None, &Memory::default(), &Cancelled::default()).unwrap();
        assert_eq!((none.text.as_str(), none.tokens), ("", 0));
    }
}
