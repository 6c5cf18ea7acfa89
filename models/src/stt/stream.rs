//! Partial transcripts of an utterance that is still being spoken.
//!
//! Pure: no clock, no queue. A recogniser that takes whole utterances is run over the growing audio again and again;
//! [`Cadence`] says when, [`PrefixAgreement`] says which words may be published. Words on which two passes in a row agree are
//! published once and never taken back ("LocalAgreement-2": Macháček, Dabre, Bojar, "Turning Whisper into Real-Time
//! Transcription System", 2023).

use std::time::{Duration, Instant};

use super::wer::{is_han, words};

/// Decides when the growing utterance is transcribed once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// The first pass needs this much speech: less than two words is a guess.
    pub first_after: Duration,
    /// Between the starts of two passes.
    pub every: Duration,
    state: CadenceState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CadenceState {
    /// No pass of this utterance has been started.
    Fresh,
    Running {
        since: Instant,
    },
    Resting {
        last_start: Instant,
    },
}

impl Default for Cadence {
    /// The first after 600 ms, then every 500 ms: on two cores a pass over two seconds takes 30 ms, over ten seconds 130 ms.
    fn default() -> Self {
        Self::new(Duration::from_millis(600), Duration::from_millis(500))
    }
}

impl Cadence {
    pub fn new(first_after: Duration, every: Duration) -> Self {
        Self { first_after, every, state: CadenceState::Fresh }
    }

    /// Whether to start a pass now, `spoken` into the utterance; if so it counts as started, and [`Self::finished`] must follow
    /// whatever becomes of it.
    pub fn start(&mut self, now: Instant, spoken: Duration) -> bool {
        let due = match self.state {
            CadenceState::Fresh => spoken >= self.first_after,
            CadenceState::Running { .. } => false,
            CadenceState::Resting { last_start } => now.saturating_duration_since(last_start) >= self.every,
        };
        if due {
            self.state = CadenceState::Running { since: now };
        }
        due
    }

    /// The pass has answered, failed, or was refused. A machine that is slower than the cadence is not pressed: the next pass
    /// is due `every` after the last one's start, but not before its end.
    pub fn finished(&mut self) {
        if let CadenceState::Running { since } = self.state {
            self.state = CadenceState::Resting { last_start: since };
        }
    }

    /// Another utterance begins.
    pub fn reset(&mut self) {
        self.state = CadenceState::Fresh;
    }
}

/// Publishes the words that two passes in a row agree on.
///
/// Words are compared without case and punctuation, since a pass that hears more often turns a full stop into a comma; what is
/// published is the wording of the earlier pass less the punctuation at its end, which the next words may change. A Chinese
/// character is a word by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixAgreement {
    last: String,
    published: String,
}

/// What the final transcript adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The published words are its beginning: published deltas and this one together are the final text, letter for letter but
    /// for the case and the punctuation of what was already published.
    Delta(String),
    /// The final text disagrees with words that were published: it stands alone and replaces them.
    Replaced,
}

impl PrefixAgreement {
    /// Takes the text of a pass; gives what is new and certain, to be appended to the deltas before. Empty text (a pass that
    /// the gate refused) says nothing and is passed over.
    pub fn pass(&mut self, text: &str) -> Option<String> {
        if text.trim().is_empty() {
            return None;
        }
        let last = std::mem::replace(&mut self.last, text.trim().to_owned());
        let agreed = common_words(&last, text);
        let already = pieces(&self.published).len();
        // A pass that takes back published words can add nothing until it comes back to them.
        if agreed <= already || common_words(&self.published, text) < already {
            return None;
        }
        let delta = after_words(&last, already, agreed)?;
        self.published.push_str(&delta);
        Some(delta)
    }

    /// What has been published so far: the deltas, joined.
    pub fn published(&self) -> &str {
        &self.published
    }

    /// The utterance is over and `text` is its final transcript. Starts afresh for the next utterance.
    pub fn finish(&mut self, text: &str) -> Ending {
        let published = std::mem::take(self).published;
        let already = pieces(&published).len();
        let text = text.trim();
        if common_words(&published, text) < already {
            return Ending::Replaced;
        }
        // From the end of the published words: their punctuation, which was held back, and the rest.
        let from = already.checked_sub(1).and_then(|last| pieces(text).get(last).map(|piece| piece.end)).unwrap_or(0);
        Ending::Delta(text.get(from..).unwrap_or_default().to_owned())
    }
}

/// A word's place in a text, in bytes, without punctuation round it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: usize,
    end: usize,
}

/// The words of `text`, in order.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open = false;
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        match pieces.last_mut().filter(|_| open) {
            _ if is_han(character) => {
                pieces.push(Piece { start, end });
                open = false;
            }
            Some(piece) if character.is_alphanumeric() => piece.end = end,
            // Inside a word; if nothing follows, the word has ended before it.
            Some(_) if is_joint(character) => {}
            None if character.is_alphanumeric() => {
                pieces.push(Piece { start, end });
                open = true;
            }
            _ => open = false,
        }
    }
    pieces
}

/// What may stand inside a word or number: "don't", "3.5", "U.S", "well-known".
fn is_joint(character: char) -> bool {
    matches!(character, '\'' | '’' | '-' | '.' | ',' | ':' | '/' | '@' | '_')
}

/// How many words at the start of both are the same, but for case and punctuation.
fn common_words(one: &str, other: &str) -> usize {
    let word = |text: &str, piece: Piece| words(text.get(piece.start..piece.end).unwrap_or_default());
    pieces(one).into_iter().zip(pieces(other)).take_while(|(a, b)| word(one, *a) == word(other, *b)).count()
}

/// The text from the end of the word `from` to the end of the word `to` (counted from 1; 0 is the start of the text).
fn after_words(text: &str, from: usize, to: usize) -> Option<String> {
    let pieces = pieces(text);
    let start = match from.checked_sub(1) {
        Some(last) => pieces.get(last)?.end,
        None => pieces.first()?.start,
    };
    let end = pieces.get(to.checked_sub(1)?)?.end;
    text.get(start..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn deltas(agreement: &mut PrefixAgreement, passes: &[&str]) -> Vec<String> {
        passes.iter().filter_map(|text| agreement.pass(text)).collect()
    }

    #[test]
    fn a_word_heard_once_is_not_published() {
        let mut agreement = PrefixAgreement::default();
        assert_eq!(agreement.pass("What's"), None);
        assert_eq!(agreement.pass("What's the whether"), Some("What's".to_owned()));
        assert_eq!(agreement.pass("What's the weather like?"), Some(" the".to_owned()));
        assert_eq!(agreement.published(), "What's the");
    }

    #[test]
    fn deltas_and_the_ending_together_are_the_final_text() {
        for passes in [
            [
                "Ask not",
                "Ask not what your",
                "Ask not, what your country can do.",
                "Ask not what your country can do for you.",
            ],
            ["我想", "我想知道", "我想知道今天", "我想知道今天天氣怎麼樣？"],
            ["It is 3", "It is 3.5", "It is 3.5 degrees", "It is 3.5 degrees outside."],
            ["用 Rust", "用 Rust 寫", "用 Rust 寫程式", "用 Rust 寫程式。"],
            ["", "", "", "Yes."],
        ] {
            let mut agreement = PrefixAgreement::default();
            let mut joined = deltas(&mut agreement, &passes[..3]).concat();
            let Ending::Delta(rest) = agreement.finish(passes[3]) else { unreachable!("{passes:?}") };
            joined.push_str(&rest);
            assert_eq!(words(&joined), words(passes[3]));
            assert_eq!(joined, passes[3]);
        }
    }

    #[test]
    fn punctuation_that_was_published_differently_is_no_disagreement() {
        let mut agreement = PrefixAgreement::default();
        assert_eq!(deltas(&mut agreement, &["So. my", "So. my friend"]), ["So. my"]);
        assert_eq!(agreement.finish("So, my friend."), Ending::Delta(" friend.".to_owned()));
    }

    #[test]
    fn what_was_published_is_never_published_again() {
        let mut agreement = PrefixAgreement::default();
        let passes = ["go on", "go on", "go on", "go", "go on", "go on then", "go on then"];
        assert_eq!(deltas(&mut agreement, &passes), ["go on", " then"]);
    }

    #[test]
    fn a_pass_that_changes_its_mind_publishes_nothing_on_top_of_the_old_words() {
        let mut agreement = PrefixAgreement::default();
        let passes = ["I scream now", "I scream now", "Ice cream now please", "Ice cream now please"];
        assert_eq!(deltas(&mut agreement, &passes), ["I scream now"]);
        assert_eq!(agreement.finish("Ice cream now please."), Ending::Replaced);
        assert_eq!(agreement, PrefixAgreement::default());
    }

    #[test]
    fn a_final_that_is_shorter_than_what_was_published_stands_alone() {
        let mut agreement = PrefixAgreement::default();
        deltas(&mut agreement, &["one two three", "one two three"]);
        assert_eq!(agreement.finish("one two"), Ending::Replaced);
    }

    #[test]
    fn a_refused_pass_in_between_does_not_undo_agreement() {
        let mut agreement = PrefixAgreement::default();
        assert_eq!(deltas(&mut agreement, &["hello there", " ", "hello there you"]), ["hello there"]);
    }

    #[test]
    fn partials_start_late_enough_to_be_words_and_never_overlap() {
        let mut cadence = Cadence::new(600 * MS, 500 * MS);
        let start = Instant::now();
        assert!(!cadence.start(start, 599 * MS));
        assert!(cadence.start(start, 600 * MS));
        assert!(!cadence.start(start + 900 * MS, 1500 * MS), "the first still runs");
        cadence.finished();
        assert!(cadence.start(start + 900 * MS, 1500 * MS));
        cadence.finished();
        assert!(!cadence.start(start + 1399 * MS, 2000 * MS));
        assert!(cadence.start(start + 1400 * MS, 2000 * MS));
    }

    #[test]
    fn the_next_utterance_waits_for_its_own_words() {
        let mut cadence = Cadence::default();
        let start = Instant::now();
        assert!(cadence.start(start, 700 * MS));
        cadence.reset();
        // The old pass answers late: it must not let the new utterance start early.
        cadence.finished();
        assert!(!cadence.start(start + 1000 * MS, 300 * MS));
        assert!(cadence.start(start + 1300 * MS, 600 * MS));
    }
}
