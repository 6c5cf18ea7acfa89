//! Whisper's greedy decoder, step by step, over whisper.cpp's encoder and decoder passes.
//!
//! It goes as openai-whisper's does at temperature 0 without timestamps: the same start, the same tokens never taken, the same
//! limit of the prompt. Driving it here rather than through whisper.cpp's whole transcription gives what that does not have: a
//! look at the cancellation before every step, the probability that nobody spoke (which whisper.cpp takes from a row it did
//! not write), and a detected language without a second encoder pass.

use std::ffi::c_int;
use std::ops::Range;

use whisper_rs::{WhisperContext, WhisperError, WhisperState};

use super::ffi::{self, Backends};
use super::ggml::Header;
use crate::cancel::Cancelled;

/// Tokens that are no speech: openai-whisper never takes these, alone or after a space (`non_speech_tokens`).
const NON_SPEECH: &[&str] = &[
    "\"",
    "#",
    "(",
    ")",
    "*",
    "+",
    "/",
    ":",
    ";",
    "<",
    "=",
    ">",
    "@",
    "[",
    "\\",
    "]",
    "^",
    "_",
    "`",
    "{",
    "|",
    "}",
    "~",
    "「",
    "」",
    "『",
    "』",
    "<<",
    ">>",
    "<<<",
    ">>>",
    "--",
    "---",
    "-(",
    "-[",
    "('",
    "(\"",
    "((",
    "))",
    "(((",
    ")))",
    "[[",
    "]]",
    "{{",
    "}}",
    "♪♪",
    "♪♪♪",
    "♩",
    "♪",
    "♫",
    "♬",
    "♭",
    "♮",
    "♯",
];
/// Never taken with the space before: within a word they may stand.
const NON_SPEECH_AFTER_SPACE: &[&[u8]] = &[b" -", b" '"];
/// The first two bytes of the note signs, which have no token of their own.
const NOTE_SIGNS: &[u8] = b"\xe2\x99";
/// Exponentials of less than this are nothing beside the largest, 1.
const NEGLIGIBLE: f32 = -25.0;

/// The tokens that steer the decoder.
pub struct Tokens {
    start: c_int,
    end: c_int,
    transcribe: c_int,
    no_timestamps: c_int,
    previous: c_int,
    no_speech: c_int,
    /// In whisper.cpp's order of languages. Empty for an English-only model.
    languages: Range<c_int>,
    /// Text tokens that are never taken.
    never: Vec<c_int>,
    /// Never the first.
    blank: Option<c_int>,
    /// Positions of the decoder.
    window: usize,
}

/// What to decode, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// whisper.cpp's number of the language, `None` to detect.
    pub language: Option<c_int>,
    /// Text that came before, and names to expect, as tokens. Of a longer one than fits the end is taken.
    pub prompt: &'a [c_int],
    pub most_tokens: usize,
}

/// What a piece of speech was decoded to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Text tokens, without the end.
    pub tokens: Vec<c_int>,
    /// Mean natural-log probability of the tokens and of the end, and how many those are.
    pub mean_log_probability: f32,
    pub steps: u32,
    pub no_speech_probability: f32,
    /// whisper.cpp's number of the language; `None` for an English-only model.
    pub language: Option<c_int>,
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the request was cancelled")]
    Cancelled,
    #[error("{0}")]
    Whisper(#[from] WhisperError),
    #[error("the decoder gives no finite numbers; the model is damaged")]
    NotFinite,
}

impl Tokens {
    pub fn of(context: &WhisperContext, header: &Header) -> Self {
        let end = context.token_eot();
        let first_language = context.token_sot() + 1;
        let text = |token| context.token_to_bytes(token).unwrap_or_default();
        let is_non_speech = |bytes: &[u8]| {
            let bare = bytes.strip_prefix(b" ").unwrap_or(bytes);
            let is_symbol = NON_SPEECH.iter().any(|symbol| bare == symbol.as_bytes()) || bare == NOTE_SIGNS;
            is_symbol || NON_SPEECH_AFTER_SPACE.contains(&bytes)
        };
        Self {
            start: context.token_sot(),
            end,
            transcribe: context.token_transcribe(),
            no_timestamps: context.token_not(),
            previous: context.token_prev(),
            no_speech: context.token_nosp(),
            languages: first_language..first_language + header.languages(),
            never: (0..end).filter(|token| is_non_speech(text(*token))).collect(),
            blank: (0..end).find(|token| text(*token) == b" "),
            window: usize::try_from(header.text_context).unwrap_or(0),
        }
    }

    /// Half of the window is for what came before, less the mark that says so.
    pub fn longest_prompt(&self) -> usize {
        (self.window / 2).saturating_sub(1)
    }

    pub fn knows(&self, language: c_int) -> bool {
        language >= 0 && (language as usize) < self.languages.len()
    }

    /// The token to take next, and its log probability among those that may be taken. `logits` of the whole vocabulary.
    fn choose(&self, logits: &[f32], first: bool, allowed: &mut Vec<f32>) -> Result<(c_int, f32), DecodeError> {
        allowed.clear();
        allowed.extend_from_slice(logits.get(..=self.end as usize).ok_or(DecodeError::NotFinite)?);
        let blank = self.blank.iter().chain(std::iter::once(&self.end)).filter(|_| first);
        for token in self.never.iter().chain(blank) {
            if let Some(logit) = allowed.get_mut(*token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let (token, largest) = largest(allowed).ok_or(DecodeError::NotFinite)?;
        let beside = allowed.iter().map(|logit| logit - largest).filter(|below| *below > NEGLIGIBLE).map(f32::exp);
        let log_sum = beside.sum::<f32>().ln();
        log_sum.is_finite().then_some((token as c_int, -log_sum)).ok_or(DecodeError::NotFinite)
    }

    fn likeliest_language(&self, logits: &[f32]) -> Option<c_int> {
        let of_languages = logits.get(self.languages.start as usize..self.languages.end as usize)?;
        largest(of_languages).map(|(language, _)| language as c_int)
    }
}

/// One state at work on one piece of speech.
pub struct Pass<'a> {
    pub state: &'a mut WhisperState,
    pub backends: &'a Backends,
    pub tokens: &'a Tokens,
    pub threads: usize,
    pub cancelled: &'a Cancelled,
}

impl Pass<'_> {
    /// Encodes `audio` (16 kHz, at least 0.1 s), of whose encoding the decoder sees the first `frames`.
    pub fn encode(&mut self, audio: &[f32], frames: c_int) -> Result<(), DecodeError> {
        self.go_on()?;
        ffi::prepare(self.state, audio, frames, c_int::try_from(self.threads).unwrap_or(1))?;
        self.go_on()?;
        let encoded = self.backends.stoppable(self.state, self.cancelled, |state| state.encode(0, self.threads));
        // A pass that was stopped fails, and says no more than that.
        self.go_on()?;
        Ok(encoded?)
    }

    /// Decodes what was encoded. `see` is shown the logits of every step, whole, from the one after the start on.
    pub fn decode(&mut self, wanted: &Wanted<'_>, mut see: impl FnMut(&[f32])) -> Result<Decoded, DecodeError> {
        let tokens = self.tokens;
        let mut language = wanted.language.filter(|language| tokens.knows(*language));
        let detects = language.is_none() && !tokens.languages.is_empty();
        let skipped = wanted.prompt.len().saturating_sub(tokens.longest_prompt());
        let prompt = wanted.prompt.get(skipped..).unwrap_or_default();
        let mut beginning = Vec::new();
        if !prompt.is_empty() {
            if detects {
                // The prompt's language must have no say in it.
                language = tokens.likeliest_language(self.step(&[tokens.start], 0)?);
            }
            beginning.push(tokens.previous);
            beginning.extend_from_slice(prompt);
        }
        beginning.push(tokens.start);
        let logits = self.step(&beginning, 0)?;
        let no_speech_probability = probability(logits, tokens.no_speech).ok_or(DecodeError::NotFinite)?;
        if detects && language.is_none() {
            language = tokens.likeliest_language(logits);
        }

        let mut next: Vec<c_int> = language.map(|language| tokens.languages.start + language).into_iter().collect();
        next.extend((!tokens.languages.is_empty()).then_some(tokens.transcribe));
        next.push(tokens.no_timestamps);
        let (mut past, mut allowed) = (beginning.len(), Vec::new());
        let (mut text, mut log_probability, mut steps) = (Vec::new(), 0.0, 0_u32);
        while text.len() < wanted.most_tokens && past + next.len() <= tokens.window {
            let logits = self.step(&next, past)?;
            see(logits);
            let (token, log) = tokens.choose(logits, steps == 0, &mut allowed)?;
            past += next.len();
            log_probability += log;
            steps += 1;
            if token == tokens.end {
                break;
            }
            text.push(token);
            next.clear();
            next.push(token);
        }
        let mean_log_probability = if steps == 0 { 0.0 } else { log_probability / steps as f32 };
        Ok(Decoded { tokens: text, mean_log_probability, steps, no_speech_probability, language })
    }

    fn step(&mut self, tokens: &[c_int], past: usize) -> Result<&[f32], DecodeError> {
        self.go_on()?;
        Ok(ffi::decode(self.state, tokens, past, self.tokens.window, self.threads)?)
    }

    fn go_on(&self) -> Result<(), DecodeError> {
        if self.cancelled.is_set() { Err(DecodeError::Cancelled) } else { Ok(()) }
    }
}

/// The first of the largest; nothing if one is not a number, or all are −∞.
fn largest(logits: &[f32]) -> Option<(usize, f32)> {
    let (mut at, mut largest) = (None, f32::NEG_INFINITY);
    for (index, logit) in logits.iter().copied().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if logit > largest {
            (at, largest) = (Some(index), logit);
        }
    }
    at.filter(|_| largest.is_finite()).map(|at| (at, largest))
}

/// The softmax of one logit.
fn probability(logits: &[f32], token: c_int) -> Option<f32> {
    let (_, largest) = largest(logits)?;
    let wanted = logits.get(usize::try_from(token).ok()?)?;
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    Some((wanted - largest).exp() / sum)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            start: 5,
            end: 4,
            transcribe: 6,
            no_timestamps: 7,
            previous: 8,
            no_speech: 9,
            languages: 0..0,
            never: vec![1],
            blank: Some(0),
            window: 10,
        }
    }

    #[test]
    fn a_transcript_never_begins_with_silence_nor_has_signs_that_are_no_speech() {
        let mut room = Vec::new();
        let logits = [9.0, 8.0, 1.0, 2.0, 7.0, 50.0, 50.0];
        assert_eq!(tokens().choose(&logits, true, &mut room).unwrap().0, 3);
        assert_eq!(tokens().choose(&logits, false, &mut room).unwrap().0, 0);
    }

    #[test]
    fn the_probability_is_among_what_may_be_taken() {
        let (_, log) = tokens().choose(&[0.0, 99.0, 3.0, 3.0, 0.0], true, &mut Vec::new()).unwrap();
        assert!((log + 2_f32.ln()).abs() < 1e-6, "{log}");
    }

    #[test]
    fn logits_that_are_no_numbers_are_an_error_and_no_token() {
        let mut room = Vec::new();
        for logits in [[f32::NAN; 5], [f32::NEG_INFINITY; 5], [f32::INFINITY; 5]] {
            assert!(tokens().choose(&logits, false, &mut room).is_err());
        }
        assert!(tokens().choose(&[1.0; 3], false, &mut room).is_err());
        assert_eq!(probability(&[f32::NAN, 1.0], 1), None);
        assert_eq!(probability(&[1.0, 1.0], 7), None);
        assert_eq!(probability(&[1.0, 1.0], 1), Some(0.5));
    }
}
