//! The first gate behind every recogniser: is this what a person said, or what the engine makes up when nobody speaks?
//!
//! Pure. A recogniser gives text for any sound. Moonshine tiny, over 150 clips of silence, white, pink and brown noise, tones,
//! chords, clicks and room noise of 0.6 to 8 s, said "You" 99 times, "Thank you for watching!" or "Thank you." 9 times, rows
//! of "♪" 19 times, nothing 5 times, and "So", "Okay." or endless repetition for the rest. Measured mean log probabilities:
//!
//! | text | on noise | when said |
//! |---|---|---|
//! | "You" | −0.22 to −1.61 | −0.34 |
//! | "Thank you." | −0.55 to −0.61 | −0.05 to −0.19 |
//! | "Thank you for watching" | −0.33 to −0.51 | −0.07 to −0.25 |
//! | "Okay." | −0.53 to −0.61 | −0.16 to −0.26 |
//! | whole sentences, clean or in noise of 5 dB | – | −0.01 to −0.63 |
//! | single words cut from sentences, in noise | – | −0.10 to −0.83 |
//! | Mandarin to the English model: "Jin Jin Jin…" | – | −0.23 |
//!
//! Whisper gives a probability that nobody spoke, besides; and where it loops its text packs well: openai-whisper refuses what
//! zlib packs to less than 1 in 2.4.
//!
//! So probability alone cannot tell "You" from noise, but the voice activity detector can: it heard 0.00 s of speech in every
//! one of the 150, and at least 0.32 s in the shortest word. Text is therefore weighed against the seconds of speech; the
//! known phantom phrases need better evidence than other text; and repetition is refused however sure the engine is of it.
//! Where no detector listened (a file to write down) phantom phrases are believed only when almost certain.

mod phrases;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use self::phrases::{CREDITS, SMALL_TALK, VIDEO_TALK};
use super::wer::{is_han, words};
use super::{Recognized, Refused};

/// What speaks for and against a transcript.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence<'a> {
    /// Speech in the audio by the voice activity detector; `None` where none listened.
    pub speech: Option<Duration>,
    /// Natural logarithm, mean a token.
    pub mean_log_probability: f32,
    pub no_speech_probability: Option<f32>,
    pub text: &'a str,
}

impl<'a> Evidence<'a> {
    pub fn of(recognized: &'a Recognized, speech: Option<Duration>) -> Self {
        Self {
            speech,
            mean_log_probability: recognized.mean_log_probability,
            no_speech_probability: recognized.no_speech_probability,
            text: &recognized.text,
        }
    }
}

/// Less than this is a click, not a word; the shortest words measured 0.32 s.
const SHORTEST_SPEECH: Duration = Duration::from_millis(100);
/// Below this an engine guesses (whisper's own threshold, and under every word that was really said above).
const UNSURE: f32 = -1.0;
/// Where the engine says itself that nobody spoke, it must be surer.
const NO_SPEECH: f32 = 0.6;
const UNSURE_IF_NO_SPEECH: f32 = -0.5;
/// Nobody speaks more words, or Chinese characters, a second of detected speech; with room for what the detector misses.
const WORDS_PER_SECOND: f32 = 10.0;
const WORDS_FREE: f32 = 2.0;

/// A single word or syllable this often in a row is a decoder's loop.
const LOOP_OF_WORD: usize = 8;
/// Already this often, if it comes faster than people repeat themselves.
const FAST_LOOP_OF_WORD: usize = 5;
const FAST_WORDS_PER_SECOND: f32 = 5.0;
/// A phrase of several words this often in a row is a loop.
const LOOP_OF_PHRASE: usize = 4;
/// Longer phrases are not looked for.
const LONGEST_LOOPED_PHRASE: usize = 8;
/// The same letter or digit this often inside a word ("226666666666").
const LOOP_OF_CHARACTER: usize = 8;

/// Text that packs better than this is repetition (openai-whisper's `compression_ratio_threshold`).
const COMPRESSION_RATIO: f32 = 2.4;

/// A phantom phrase takes at least this much speech a word to be said, and at most [`SLOWEST_START`] + [`SLOWEST_WORD`] each.
const FASTEST_WORD: Duration = Duration::from_millis(120);
const SLOWEST_START: Duration = Duration::from_secs(1);
const SLOWEST_WORD: Duration = Duration::from_millis(500);
/// What a caller may well say: believed at this log probability if the speech fits.
const SURE_OF_SMALL_TALK: f32 = -0.45;
/// What belongs under a video, and is hardly ever said on a call.
const SURE_OF_VIDEO_TALK: f32 = -0.3;
/// Either, where no detector listened.
const SURE_WITHOUT_DETECTOR: f32 = -0.2;

/// Why the transcript is not to be believed; `None` if it is.
pub fn refuse(evidence: &Evidence<'_>) -> Option<Refused> {
    let said = words(&without_annotations(evidence.text));
    if said.is_empty() {
        return Some(Refused::Empty);
    }
    let speech = evidence.speech.map(|speech| speech.as_secs_f32());
    if is_loop(&said, speech) || packs_well(evidence.text) {
        return Some(Refused::Repetition);
    }
    if let Some(sure_enough) = phantom(evidence.text, &said)
        && !is_believable(evidence, said.len() as u32, sure_enough)
    {
        return Some(Refused::Phantom);
    }
    let needed = log_probability_needed(evidence.no_speech_probability);
    let too_little_speech = evidence.speech.is_some_and(|speech| speech < SHORTEST_SPEECH);
    let too_many_words = speech.is_some_and(|seconds| said.len() as f32 > WORDS_FREE + WORDS_PER_SECOND * seconds);
    // Written so that a log probability that is not a number is refused.
    let sure = evidence.mean_log_probability >= needed;
    (too_little_speech || too_many_words || !sure).then_some(Refused::Unsure)
}

/// Why one piece of a longer utterance is to be left out of it; `None` if it may stay. Nobody has told how much speech is in
/// the piece: what belongs under a video is believed only when almost certain. Small talk is common at the end of what is said,
/// and needs to be as sure as when it is said alone.
pub fn refuse_piece(recognized: &Recognized) -> Option<Refused> {
    let said = words(&without_annotations(&recognized.text));
    if said.is_empty() {
        return Some(Refused::Empty);
    }
    if is_loop(&said, None) || packs_well(&recognized.text) {
        return Some(Refused::Repetition);
    }
    let log_probability = recognized.mean_log_probability;
    let needed_of_phantom = phantom(&recognized.text, &said)
        .map(|sure_enough| if sure_enough > SURE_OF_SMALL_TALK { SURE_WITHOUT_DETECTOR } else { sure_enough });
    if needed_of_phantom.is_some_and(|needed| log_probability.is_nan() || log_probability < needed) {
        return Some(Refused::Phantom);
    }
    // Written so that a log probability that is not a number is refused.
    let sure = log_probability >= log_probability_needed(recognized.no_speech_probability);
    (!sure).then_some(Refused::Unsure)
}

fn log_probability_needed(no_speech_probability: Option<f32>) -> f32 {
    let nobody_spoke = no_speech_probability.is_some_and(|probability| probability > NO_SPEECH);
    if nobody_spoke { UNSURE_IF_NO_SPEECH } else { UNSURE }
}

/// Whether the text is so regular that only a decoder's loop can have written it.
fn packs_well(text: &str) -> bool {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = packer.write_all(text.as_bytes()).and_then(|()| packer.finish());
    packed.is_ok_and(|packed| text.len() as f32 > COMPRESSION_RATIO * packed.len() as f32)
}

/// The text without what is no speech: "[BLANK_AUDIO]", "(music)", "♪ la la ♪" keeps its words.
fn without_annotations(text: &str) -> String {
    let (mut depth, mut starred) = (0_usize, false);
    text.chars()
        .filter(|character| {
            match character {
                '[' | '(' | '（' | '【' | '［' | '〔' | '{' => depth += 1,
                ']' | ')' | '）' | '】' | '］' | '〕' | '}' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                // "*sighs*"
                '*' => {
                    starred = !starred;
                    return false;
                }
                _ => {}
            }
            depth == 0 && !starred
        })
        .collect()
}

/// The log probability that believing the text would take, if it is a phrase engines make up.
fn phantom(text: &str, said: &[String]) -> Option<f32> {
    let lower = text.to_lowercase();
    let is_credit = CREDITS.iter().any(|all| all.iter().all(|part| lower.contains(part)));
    // "Thank you. Thank you." is the phrase, too, and so are two of them one after the other.
    let is_made_of = |phrases: &[&[&str]]| {
        let phrases: Vec<Vec<String>> = phrases.iter().copied().flatten().map(|phrase| words(phrase)).collect();
        let mut rest = said;
        while !rest.is_empty() {
            let longest = phrases.iter().filter(|phrase| rest.starts_with(phrase)).map(Vec::len).max();
            let Some(after) = longest.and_then(|length| rest.get(length..)) else { return false };
            rest = after;
        }
        true
    };
    if is_made_of(&[SMALL_TALK]) {
        return Some(SURE_OF_SMALL_TALK);
    }
    (is_credit || is_made_of(&[SMALL_TALK, VIDEO_TALK])).then_some(SURE_OF_VIDEO_TALK)
}

/// Whether a person said the phantom phrase of so many words after all: as sure as real ones are, in the time it takes.
fn is_believable(evidence: &Evidence<'_>, words: u32, sure_enough: f32) -> bool {
    let Some(speech) = evidence.speech else {
        return evidence.mean_log_probability >= SURE_WITHOUT_DETECTOR;
    };
    let fits = speech >= FASTEST_WORD * words && speech <= SLOWEST_START + SLOWEST_WORD * words;
    fits && evidence.mean_log_probability >= sure_enough
}

/// Whether at least half of the words are one unit said over and over.
fn is_loop(said: &[String], speech: Option<f32>) -> bool {
    let fast = speech.is_some_and(|seconds| said.len() as f32 > FAST_WORDS_PER_SECOND * seconds);
    let longest = LONGEST_LOOPED_PHRASE.min(said.len());
    let of_words = (1..=longest).any(|unit| {
        let repeats = most_repeats(said, unit);
        let limit = match unit {
            1 if fast => FAST_LOOP_OF_WORD,
            1 => LOOP_OF_WORD,
            _ => LOOP_OF_PHRASE,
        };
        repeats >= limit && 2 * repeats * unit >= said.len()
    });
    of_words || said.iter().any(|word| longest_run(word) >= LOOP_OF_CHARACTER)
}

/// How often at most some `unit` words in a row come one after the other.
fn most_repeats(said: &[String], unit: usize) -> usize {
    let mut most = 1;
    let mut matching = 0;
    for (word, before) in said.iter().skip(unit).zip(said) {
        matching = if word == before { matching + 1 } else { 0 };
        most = most.max(1 + matching / unit);
    }
    most
}

/// The longest run of one character in `word`; Chinese characters are words of their own and counted there.
fn longest_run(word: &str) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for character in word.chars().filter(|character| !is_han(*character)) {
        run = if last == Some(character) { run + 1 } else { 1 };
        last = Some(character);
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests;
