//! One reply: from tokens to sentences to audio that is queued, sent and heard.
//!
//! Pure. Text goes in as the language model writes it; sentences come out for the voice, one at a time and no further ahead of
//! the listener than [`LEAD`]; audio comes back; and the playout position says what has been heard.

use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use models::text::sentences::{Sentence, SentenceSplitter};
use signaling::line::{ItemId, ReplyId};

use super::progress::Progress;

/// How far ahead of the listener speech is made. More would be thrown away when the caller interrupts; less would starve
/// the listener when five calls share one voice.
pub const LEAD: Duration = Duration::from_secs(6);

/// One sentence of a reply.
#[derive(Debug, Clone)]
struct Spoken {
    sentence: Sentence,
    /// Where in the reply's audio it begins.
    start: Duration,
    /// Where it ends, once all of it is made.
    end: Option<Duration>,
}

/// A reply in the making.
#[derive(Debug)]
pub struct Reply {
    pub id: ReplyId,
    pub item: ItemId,
    splitter: SentenceSplitter,
    sentences: Vec<Spoken>,
    /// Still being written.
    writing: bool,
    /// Sentences before this one have been given to the voice.
    given: usize,
    /// One of them is still being made.
    making: bool,
    /// All audio made so far; what there was of it before a cut.
    audio: Option<Pcm>,
    played: Duration,
    progress: Progress,
}

impl Reply {
    pub fn new(id: ReplyId, item: ItemId) -> Self {
        Self {
            id,
            item,
            splitter: SentenceSplitter::new(),
            sentences: Vec::new(),
            writing: true,
            given: 0,
            making: false,
            audio: None,
            played: Duration::ZERO,
            progress: Progress::default(),
        }
    }

    /// The model wrote `text`; gives the text of the sentences that it completed.
    pub fn write(&mut self, text: &str) -> String {
        let sentences = self.splitter.push(text);
        self.add(sentences)
    }

    /// The model has finished; gives the text of what was left.
    pub fn finish_writing(&mut self) -> String {
        self.writing = false;
        let sentences = self.splitter.finish();
        self.add(sentences)
    }

    /// The model was stopped in mid-sentence: a sentence that breaks off is left out, unless it is all there is.
    pub fn stop_writing(&mut self) -> String {
        if self.sentences.is_empty() {
            return self.finish_writing();
        }
        self.writing = false;
        String::new()
    }

    fn add(&mut self, sentences: Vec<Sentence>) -> String {
        let mut text = String::new();
        for sentence in sentences {
            text.push_str(&sentence.written);
            self.sentences.push(Spoken { sentence, start: Duration::ZERO, end: None });
        }
        text
    }

    /// All text of the sentences so far.
    pub fn text(&self) -> String {
        self.sentences.iter().map(|spoken| spoken.sentence.written.as_str()).collect()
    }

    /// The next sentence for the voice, if it is free, there is one, and the listener needs it within [`LEAD`]. With it,
    /// when the listener runs dry.
    pub fn next_for_voice(&mut self, now: Instant) -> Option<(usize, String, Instant)> {
        if self.making || self.lead() > LEAD {
            return None;
        }
        let made = self.made();
        loop {
            let index = self.given;
            let spoken = self.sentences.get_mut(index)?;
            self.given += 1;
            spoken.start = made;
            if spoken.sentence.spoken.is_empty() {
                spoken.end = Some(made);
                continue;
            }
            self.making = true;
            let text = spoken.sentence.spoken.clone();
            return Some((index, text, now + self.lead()));
        }
    }

    /// The voice made a chunk of the sentence it was given.
    pub fn hear_chunk(&mut self, pcm: &Pcm) {
        match &mut self.audio {
            Some(audio) if audio.rate == pcm.rate => audio.samples.extend_from_slice(&pcm.samples),
            Some(_) => {}
            None => self.audio = Some(pcm.clone()),
        }
    }

    /// The voice has finished sentence `index`.
    pub fn sentence_made(&mut self, index: usize) {
        let made = self.made();
        self.making = false;
        if let Some(spoken) = self.sentences.get_mut(index) {
            spoken.end = Some(made);
        }
    }

    /// How much audio there is.
    pub fn made(&self) -> Duration {
        self.audio.as_ref().map_or(Duration::ZERO, Pcm::duration)
    }

    pub fn audio(&self) -> Option<&Pcm> {
        self.audio.as_ref()
    }

    /// Everything is written and made (not: played).
    pub fn is_made(&self) -> bool {
        !self.writing && !self.making && self.sentences.iter().skip(self.given).all(|s| s.sentence.spoken.is_empty())
    }

    pub fn set_played(&mut self, played: Duration) {
        self.played = self.played.max(played);
    }

    /// At `now`, `played` had been played.
    pub fn mark_played(&mut self, now: Instant, played: Duration) {
        self.set_played(played);
        self.progress.mark(now, played);
    }

    pub fn played(&self) -> Duration {
        self.played
    }

    /// The listener had gone at `contact`, as is known since `now`: what was played afterwards was not heard.
    pub fn rewind(&mut self, contact: Instant, now: Instant) {
        self.played = self.progress.at(contact).min(self.played);
        self.progress.restart(now, self.played);
    }

    /// The audio made so far that has not been played; `None` if there is none.
    pub fn rest(&self) -> Option<Pcm> {
        let audio = self.audio.as_ref()?;
        let rest = audio.samples.get(audio.rate.samples_in(self.played)..).filter(|rest| !rest.is_empty())?;
        Some(Pcm::new(audio.rate, rest.to_vec()))
    }

    /// How long the listener can go on with what is made.
    fn lead(&self) -> Duration {
        self.made().saturating_sub(self.played)
    }

    /// The text that had been heard when `played` had been played: whole sentences, and of the one that was cut the words
    /// that fit its share of the time.
    pub fn heard(&self, played: Duration) -> String {
        let mut heard = String::new();
        for spoken in self.sentences.iter().take(self.given) {
            let written = &spoken.sentence.written;
            match spoken.end {
                Some(end) if end <= played => heard.push_str(written),
                end => {
                    let end = end.unwrap_or_else(|| self.made()).max(spoken.start);
                    let share = ratio(played.saturating_sub(spoken.start), end - spoken.start);
                    heard.push_str(whole_words(written, share));
                    break;
                }
            }
        }
        heard.trim_end().to_owned()
    }
}

fn ratio(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (part.as_secs_f64() / whole.as_secs_f64()).min(1.0) }
}

/// The first `share` of a text, cut back to a whole word (or Chinese character).
fn whole_words(text: &str, share: f64) -> &str {
    let wanted = (text.chars().count() as f64 * share).floor() as usize;
    let mut cut = 0;
    for (n, (at, c)) in text.char_indices().enumerate() {
        if c.is_whitespace() || is_cjk(c) {
            cut = at;
        }
        if n >= wanted {
            break;
        }
    }
    if share >= 1.0 { text } else { &text[..cut] }
}

fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use audio::pcm::SampleRate;

    use super::*;

    fn seconds(seconds: usize) -> Pcm {
        Pcm::new(SampleRate::HZ_16000, vec![0.1; 16_000 * seconds])
    }

    fn reply() -> Reply {
        Reply::new(ReplyId::fresh(), ItemId::fresh())
    }

    #[test]
    fn the_first_sentence_is_spoken_while_the_second_is_written() {
        let mut reply = reply();
        reply.write("The sky is clear today. And tomorr");
        let (index, text, _) = reply.next_for_voice(Instant::now()).expect("a sentence is ready");
        assert_eq!((index, text.as_str()), (0, "The sky is clear today."));
        assert!(reply.next_for_voice(Instant::now()).is_none(), "one at a time");
        reply.hear_chunk(&seconds(2));
        reply.sentence_made(0);
        assert!(!reply.is_made());
        reply.write("ow it rains.");
        reply.finish_writing();
        assert_eq!(reply.next_for_voice(Instant::now()).expect("the second").0, 1);
        reply.sentence_made(1);
        assert!(reply.is_made());
    }

    #[test]
    fn speech_is_not_made_far_ahead_of_the_listener() {
        let mut reply = reply();
        reply.write("The first sentence is long. The second one follows it. The third one too. ");
        reply.next_for_voice(Instant::now());
        reply.hear_chunk(&seconds(10));
        reply.sentence_made(0);
        assert!(reply.next_for_voice(Instant::now()).is_none());
        reply.set_played(Duration::from_secs(5));
        assert!(reply.next_for_voice(Instant::now()).is_some());
    }

    #[test]
    fn heard_text_follows_the_playout_word_by_word() {
        let mut reply = reply();
        reply.write("One two three four five six seven eight. Nine ten. ");
        reply.next_for_voice(Instant::now());
        reply.hear_chunk(&seconds(4));
        reply.sentence_made(0);
        assert_eq!(reply.heard(Duration::ZERO), "");
        assert_eq!(reply.heard(Duration::from_secs(2)), "One two three four");
        assert_eq!(reply.heard(Duration::from_secs(4)), "One two three four five six seven eight.");
    }

    #[test]
    fn a_chinese_reply_is_cut_between_characters() {
        assert_eq!(whole_words("今天天氣很好。", 0.5), "今天天");
        assert_eq!(whole_words("今天天氣很好。", 1.0), "今天天氣很好。");
    }

    #[test]
    fn what_cannot_be_spoken_does_not_stop_the_reply() {
        let mut reply = reply();
        reply.write("😀😀\n\nThen there are words here. ");
        reply.finish_writing();
        let (_, text, _) = reply.next_for_voice(Instant::now()).expect("words");
        assert_eq!(text, "Then there are words here.");
        assert!(!reply.is_made());
    }

    #[test]
    fn a_listener_who_was_lost_hears_on_from_what_had_reached_them() {
        let start = Instant::now();
        let mut reply = reply();
        reply.write("One two three four. ");
        reply.next_for_voice(start);
        reply.hear_chunk(&seconds(8));
        let mark = Duration::from_millis(100);
        (0..60).for_each(|n| reply.mark_played(start + mark * n, mark * n));
        reply.rewind(start + Duration::from_millis(2_050), start + Duration::from_secs(6));
        assert_eq!(reply.played(), Duration::from_millis(2_050));
        assert_eq!(reply.rest().expect("more").duration(), Duration::from_millis(5_950));
        reply.rewind(start + Duration::from_secs(9), start + Duration::from_secs(9));
        assert_eq!(reply.played(), Duration::from_millis(2_050), "what was not played in between is not heard");
        reply.set_played(Duration::from_secs(8));
        assert_eq!(reply.rest(), None);
    }
}
