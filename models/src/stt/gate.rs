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
//! So probability alone cannot tell "You" from noise, but the voice activity detector can: it heard 0.00 s of speech in every
//! one of the 150, and at least 0.32 s in the shortest word. Text is therefore weighed against the seconds of speech; the
//! known phantom phrases need better evidence than other text; and repetition is refused however sure the engine is of it.
//! Where no detector listened (a file to write down) phantom phrases are believed only when almost certain.

use std::time::Duration;

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

/// Said by engines on noise, and by callers.
const SMALL_TALK: &[&str] = &[
    "you",
    "thank you",
    "thanks",
    "thank you very much",
    "thank you so much",
    "bye",
    "bye bye",
    "so",
    "谢谢",
    "謝謝",
    "谢谢大家",
    "謝謝大家",
    "嗯",
    "啊",
];

/// Learnt from captions of videos.
const VIDEO_TALK: &[&str] = &[
    "thank you for watching",
    "thanks for watching",
    "thank you for watching this video",
    "thank you so much for watching",
    "thank you very much for watching",
    "thanks for listening",
    "thank you for listening",
    "please subscribe",
    "please subscribe to my channel",
    "like and subscribe",
    "see you in the next video",
    "see you next time",
    "i'll see you in the next video",
    "谢谢观看",
    "謝謝觀看",
    "谢谢收看",
    "謝謝收看",
    "感谢观看",
    "感謝觀看",
    "感谢收看",
    "感謝收看",
    "谢谢大家观看",
    "謝謝大家觀看",
    "谢谢您的观看",
    "謝謝您的觀看",
    "多谢您的观看",
    "多謝您的觀看",
    "谢谢收听",
    "謝謝收聽",
    "我们下期再见",
    "我們下期再見",
    "下次再见",
    "下次再見",
];

/// Credits of subtitles and channels: a text with all words of a row in it is one.
const CREDITS: &[&[&str]] = &[
    &["amara.org"],
    &["subtitles by"],
    &["captions by"],
    &["字幕", "志愿"],
    &["字幕", "志願"],
    &["字幕", "提供"],
    &["字幕", "制作"],
    &["字幕", "製作"],
    &["字幕", "by"],
    &["字幕组"],
    &["字幕組"],
    &["点赞", "订阅"],
    &["點讚", "訂閱"],
    &["點贊", "訂閱"],
    &["明镜与点点"],
    &["明鏡與點點"],
    &["索兰娅"],
    &["索蘭婭"],
];

/// Why the transcript is not to be believed; `None` if it is.
pub fn refuse(evidence: &Evidence<'_>) -> Option<Refused> {
    let said = words(&without_annotations(evidence.text));
    if said.is_empty() {
        return Some(Refused::Empty);
    }
    let speech = evidence.speech.map(|speech| speech.as_secs_f32());
    if is_loop(&said, speech) {
        return Some(Refused::Repetition);
    }
    if let Some(sure_enough) = phantom(evidence.text, &said)
        && !is_believable(evidence, said.len() as u32, sure_enough)
    {
        return Some(Refused::Phantom);
    }
    let nobody_spoke = evidence.no_speech_probability.is_some_and(|probability| probability > NO_SPEECH);
    let needed = if nobody_spoke { UNSURE_IF_NO_SPEECH } else { UNSURE };
    let too_little_speech = evidence.speech.is_some_and(|speech| speech < SHORTEST_SPEECH);
    let too_many_words = speech.is_some_and(|seconds| said.len() as f32 > WORDS_FREE + WORDS_PER_SECOND * seconds);
    // Written so that a log probability that is not a number is refused.
    let sure = evidence.mean_log_probability >= needed;
    (too_little_speech || too_many_words || !sure).then_some(Refused::Unsure)
}

/// The text without what is no speech: "[BLANK_AUDIO]", "(music)", "♪ la la ♪" keeps its words.
fn without_annotations(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|character| {
            match character {
                '[' | '(' | '（' | '【' => depth += 1,
                ']' | ')' | '）' | '】' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

/// The log probability that believing the text would take, if it is a phrase engines make up.
fn phantom(text: &str, said: &[String]) -> Option<f32> {
    let lower = text.to_lowercase();
    let is_credit = CREDITS.iter().any(|all| all.iter().all(|part| lower.contains(part)));
    let is_one_of = |phrases: &[&str]| {
        phrases.iter().map(|phrase| words(phrase)).any(|phrase| {
            // "Thank you. Thank you." is the phrase, too.
            said.len().is_multiple_of(phrase.len()) && said.chunks(phrase.len()).all(|chunk| chunk == phrase)
        })
    };
    if is_credit || is_one_of(VIDEO_TALK) {
        Some(SURE_OF_VIDEO_TALK)
    } else {
        is_one_of(SMALL_TALK).then_some(SURE_OF_SMALL_TALK)
    }
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
mod tests {
    use super::*;

    /// (text, seconds of speech or -1 for no detector, log probability, expected)
    type Case = (&'static str, f32, f32, Option<Refused>);

    fn check(cases: &[Case]) {
        for (text, speech, mean_log_probability, expected) in cases.iter().copied() {
            let speech = (speech >= 0.0).then(|| Duration::from_secs_f32(speech));
            let evidence = Evidence { speech, mean_log_probability, no_speech_probability: None, text };
            assert_eq!(refuse(&evidence), expected, "{evidence:?}");
        }
    }

    #[test]
    fn what_engines_say_on_noise_never_becomes_a_turn() {
        use Refused::{Empty, Phantom, Repetition, Unsure};
        check(&[
            ("You", 0.0, -0.218, Some(Phantom)),
            ("You", 0.0, -1.185, Some(Phantom)),
            ("Thank you.", 0.0, -0.548, Some(Phantom)),
            ("Thank you for watching!", 0.0, -0.328, Some(Phantom)),
            ("Thanks for watching.", 0.1, -0.33, Some(Phantom)),
            ("Thank you. Thank you.", 0.05, -0.1, Some(Phantom)),
            ("♪", 0.0, -0.481, Some(Empty)),
            ("♪♪ ♪♪ �", 0.0, -0.094, Some(Empty)),
            ("", 0.5, -0.1, Some(Empty)),
            (" . ", 0.5, -0.1, Some(Empty)),
            ("Okay.", 0.0, -0.526, Some(Unsure)),
            ("So", 0.0, -1.607, Some(Phantom)),
            ("Mm-h", 0.0, -0.682, Some(Unsure)),
            ("2-3", 0.0, -1.432, Some(Unsure)),
            ("2-3 16/01/2266666666666666666666", 0.0, -0.767, Some(Repetition)),
            ("啊啊啊啊啊啊啊啊�", 0.0, -0.667, Some(Repetition)),
            ("You個個個個個個個個", 0.0, -0.957, Some(Repetition)),
            ("You can also use the same as the same as the same as", 0.0, -1.555, Some(Unsure)),
        ]);
    }

    #[test]
    fn a_noise_that_fooled_the_detector_for_a_moment_still_is_no_turn() {
        use Refused::{Phantom, Unsure};
        check(&[
            ("You", 0.1, -0.3, Some(Phantom)),
            ("You", 0.5, -0.6, Some(Phantom)),
            ("Thank you for watching!", 0.3, -0.1, Some(Phantom)),
            ("Thank you for watching!", 1.2, -0.45, Some(Phantom)),
            ("I don't know what you are talking about here", 0.1, -0.4, Some(Unsure)),
            ("What?", 0.3, -1.373, Some(Unsure)),
        ]);
    }

    #[test]
    fn a_caller_who_says_thank_you_is_heard() {
        check(&[
            ("Thank you.", 0.64, -0.052, None),
            ("Thank you", 0.61, -0.186, None),
            ("You.", 0.32, -0.343, None),
            ("Thanks.", 0.58, -0.31, None),
            ("Bye.", 0.38, -0.24, None),
            ("Thank you for watching.", 1.12, -0.069, None),
            ("Thanks for watching.", 1.09, -0.215, None),
            ("謝謝", 0.5, -0.2, None),
            ("Thank you. Thank you.", 1.1, -0.2, None),
        ]);
    }

    #[test]
    fn what_callers_say_is_heard() {
        check(&[
            ("What's the weather like?", 1.12, -0.019, None),
            ("No", 0.38, -0.685, None),
            ("Not.", 0.42, -0.497, None),
            ("Okay.", 0.51, -0.157, None),
            ("Stop. Stop. Stop.", 0.45, -0.69, None),
            ("No, no, no, no, no.", 1.6, -0.3, None),
            ("You know what I mean?", 0.96, -0.101, None),
            ("Thank you for the tip, what else?", 1.5, -0.3, None),
            ("Ever tried, ever failed, no matter, try again, fail again, fail better.", 4.48, -0.138, None),
            ("今天天氣怎麼樣", 1.1, -0.3, None),
            ("字幕要怎麼打開", 1.3, -0.25, None),
            ("My number is 5000000", 1.8, -0.3, None),
        ]);
    }

    #[test]
    fn endless_repetition_is_refused_however_sure_the_engine_is() {
        let jin = "Jin ".repeat(17);
        let fast = "Jin ".repeat(6);
        let phrase = "I don't know. ".repeat(5);
        let tail = format!("Well then {}", "go on ".repeat(6));
        for (text, speech) in [(&jin, 1.5), (&fast, 0.9), (&phrase, 6.0), (&tail, 8.0)] {
            let speech = Some(Duration::from_secs_f32(speech));
            let evidence = Evidence { speech, mean_log_probability: -0.01, no_speech_probability: None, text };
            assert_eq!(refuse(&evidence), Some(Refused::Repetition), "{evidence:?}");
        }
    }

    #[test]
    fn captions_of_videos_never_become_a_turn() {
        use Refused::Phantom;
        check(&[
            ("谢谢观看", 0.2, -0.1, Some(Phantom)),
            ("謝謝觀看", 0.9, -0.5, Some(Phantom)),
            ("字幕由Amara.org社区提供", 0.4, -0.2, Some(Phantom)),
            ("字幕志愿者 李宗盛", 1.5, -0.4, Some(Phantom)),
            ("请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", 9.0, -0.35, Some(Phantom)),
            ("Subtitles by the Amara.org community", 0.5, -0.1, Some(Phantom)),
        ]);
    }

    #[test]
    fn a_phantom_out_of_long_speech_is_not_what_was_said() {
        check(&[
            ("Thank you for watching.", 6.0, -0.1, Some(Refused::Phantom)),
            ("You", 4.0, -0.1, Some(Refused::Phantom)),
        ]);
    }

    #[test]
    fn without_a_detector_only_near_certainty_is_believed_of_phantoms() {
        check(&[
            ("You", -1.0, -0.218, Some(Refused::Phantom)),
            ("Thank you for watching!", -1.0, -0.328, Some(Refused::Phantom)),
            ("Thank you.", -1.0, -0.052, None),
            ("What's the weather like?", -1.0, -0.203, None),
        ]);
    }

    #[test]
    fn annotations_and_an_engine_that_heard_nobody_are_no_speech() {
        check(&[
            ("[BLANK_AUDIO]", 0.4, -0.1, Some(Refused::Empty)),
            ("(music) [laughs]", 0.4, -0.1, Some(Refused::Empty)),
        ]);
        let nobody = Evidence {
            speech: Some(Duration::from_secs(1)),
            mean_log_probability: -0.7,
            no_speech_probability: Some(0.9),
            text: "Hello there.",
        };
        assert_eq!(refuse(&nobody), Some(Refused::Unsure));
        assert_eq!(refuse(&Evidence { no_speech_probability: Some(0.1), ..nobody }), None);
        assert_eq!(refuse(&Evidence { mean_log_probability: f32::NAN, ..nobody }), Some(Refused::Unsure));
    }
}
