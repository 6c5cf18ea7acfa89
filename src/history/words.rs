//! What a text is searched by: words where there are spaces, single characters where a script has none. Pure.
//!
//! The index and every query go through [`words`], so that they agree; a query is made of nothing but what comes out of it, in
//! quotes, and none of the index's own syntax can be reached.

use std::ops::Range;

use models::text::han::simplified;
use unicode_normalization::UnicodeNormalization;

/// More words of a query are not looked at.
const MOST_WORDS: usize = 16;
/// Characters of a text that are shown before its first hit, and in all.
const SHOWN_BEFORE: usize = 40;
const SHOWN: usize = 160;

/// One word: where it stands in the text, and how it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub at: Range<usize>,
    /// Without case, accents and width; Chinese in simplified characters.
    pub folded: String,
}

/// A piece of a text, and whether it is what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub hit: bool,
}

/// What is looked for: phrases, all of which must be there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    phrases: Vec<Vec<String>>,
    /// The last word may go on.
    is_open: bool,
}

/// Scripts that are written without spaces: each character is a word.
fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
        | '\u{1780}'..='\u{17FF}' // Khmer
        | '\u{3040}'..='\u{31FF}' // kana, bopomofo
        | '\u{3400}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7AF}' // hangul
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}')
}

/// The words of a text, in order.
pub fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if stands_alone(c) && c.is_alphanumeric() {
            words.extend(current.take());
            words.push(Word { at: at..end, folded: simplified(c).to_string() });
        } else if c.is_alphanumeric() || is_mark(c) {
            let word = current.get_or_insert_with(|| Word { at: at..at, folded: String::new() });
            word.at.end = end;
            let plain = std::iter::once(c).nfkd().filter(|c| c.is_alphanumeric() && !is_mark(*c));
            word.folded.extend(plain.flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()));
        } else {
            words.extend(current.take());
        }
    }
    words.extend(current);
    words.retain(|word| !word.folded.is_empty());
    words
}

/// A text as the index is given it.
pub fn spaced(text: &str) -> String {
    words(text).into_iter().map(|word| word.folded).collect::<Vec<_>>().join(" ")
}

impl Query {
    /// What a person typed; nothing to look for if there is no word in it.
    pub fn read(typed: &str) -> Self {
        let phrases: Vec<Vec<String>> = typed
            .split_whitespace()
            .map(|chunk| words(chunk).into_iter().map(|word| word.folded).collect::<Vec<_>>())
            .filter(|phrase| !phrase.is_empty())
            .take(MOST_WORDS)
            .collect();
        // A single character of a script without spaces is whole; so is a word that something follows.
        let last = typed.chars().next_back();
        let is_open = last.is_some_and(|c| c.is_alphanumeric() && !stands_alone(c));
        Self { phrases, is_open }
    }

    pub fn is_empty(&self) -> bool {
        self.phrases.is_empty()
    }

    /// In the words of FTS5: `"天 气" AND "tom"*`.
    pub fn to_match(&self) -> String {
        let quoted = self.phrases.iter().map(|phrase| format!("\"{}\"", phrase.join(" ")));
        let mut expression = quoted.collect::<Vec<_>>().join(" AND ");
        if self.is_open {
            expression.push('*');
        }
        expression
    }

    /// Where the phrases stand in a text, in order, none over another.
    fn hits(&self, words: &[Word]) -> Vec<Range<usize>> {
        let mut hits: Vec<Range<usize>> = Vec::new();
        for (n, phrase) in self.phrases.iter().enumerate() {
            let is_open = self.is_open && n + 1 == self.phrases.len();
            for window in words.windows(phrase.len()) {
                let fits = window.iter().zip(phrase).enumerate().all(|(place, (word, wanted))| {
                    let may_go_on = is_open && place + 1 == phrase.len();
                    word.folded == *wanted || may_go_on && word.folded.starts_with(wanted.as_str())
                });
                if let (true, Some(first), Some(last)) = (fits, window.first(), window.last()) {
                    hits.push(first.at.start..last.at.end);
                }
            }
        }
        hits.sort_by_key(|hit| (hit.start, hit.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(hits.len());
        for hit in hits {
            match merged.last_mut() {
                Some(last) if hit.start <= last.end => last.end = last.end.max(hit.end),
                _ => merged.push(hit),
            }
        }
        merged
    }

    /// The part of a text around its first hit, cut into what was looked for and what was not; empty if nothing of it is there.
    pub fn pieces(&self, text: &str) -> Vec<Piece> {
        let hits = self.hits(&words(text));
        let Some(first) = hits.first() else { return Vec::new() };
        let before = text.get(..first.start).unwrap_or_default();
        let begin = before.char_indices().rev().nth(SHOWN_BEFORE - 1).map_or(0, |(at, _)| at);
        let rest = text.get(begin..).unwrap_or_default();
        let end = rest.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| begin + at);
        let mut pieces = Vec::new();
        let mut push = |range: Range<usize>, hit: bool| {
            let text = text.get(range).unwrap_or_default();
            if !text.is_empty() {
                pieces.push(Piece { text: text.to_owned(), hit });
            }
        };
        let mut at = begin;
        for hit in hits {
            if hit.start >= end {
                break;
            }
            let until = hit.end.min(end);
            push(at..hit.start, false);
            push(hit.start..until, true);
            at = until;
        }
        push(at..end, false);
        let ellipsis = || Piece { text: "…".to_owned(), hit: false };
        if begin > 0 {
            pieces.insert(0, ellipsis());
        }
        if end < text.len() {
            pieces.push(ellipsis());
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(query: &str, text: &str) -> String {
        let pieces = Query::read(query).pieces(text);
        pieces.iter().map(|piece| if piece.hit { format!("[{}]", piece.text) } else { piece.text.clone() }).collect()
    }

    #[test]
    fn words_are_compared_without_case_accents_and_width() {
        assert_eq!(spaced("Café, ＧＰＵ-3 naïve e\u{301}t\u{e9}!"), "cafe gpu 3 naive ete");
        assert_eq!(spaced("今天天氣好。GPU卡"), "今 天 天 气 好 gpu 卡");
        assert_eq!(spaced("电话"), spaced("電話"));
        assert_eq!(spaced("😀 — …"), "");
    }

    #[test]
    fn a_query_is_quoted_phrases_and_its_last_word_may_go_on() {
        let cases = [
            ("weather tom", "\"weather\" AND \"tom\"*"),
            ("天氣", "\"天 气\""),
            ("氣", "\"气\""),
            ("天氣 GPU卡x", "\"天 气\" AND \"gpu 卡 x\"*"),
            ("whole ", "\"whole\""),
            ("don't", "\"don t\"*"),
            ("\" OR * NEAR(a) {b}: c-d ^e", "\"or\" AND \"near a\" AND \"b\" AND \"c d\" AND \"e\"*"),
            ("\0\"\0", ""),
        ];
        for (typed, expected) in cases {
            assert_eq!(Query::read(typed).to_match(), expected, "{typed:?}");
        }
        assert!(Query::read(" …😀\t").is_empty());
    }

    #[test]
    fn a_query_of_a_thousand_words_looks_for_the_first_few() {
        assert_eq!(Query::read(&"word ".repeat(1_000)).phrases.len(), MOST_WORDS);
    }

    #[test]
    fn what_was_looked_for_is_marked_as_it_is_written() {
        assert_eq!(shown("cafe", "At the Café."), "At the [Café].");
        assert_eq!(shown("天氣", "今天天氣真好，明天天氣也好"), "今天[天氣]真好，明天[天氣]也好");
        assert_eq!(shown("天气", "今天天氣真好，明天天气也好"), "今天[天氣]真好，明天[天气]也好");
        assert_eq!(shown("good wea", "Good, the weather is good"), "[Good], the [weather] is [good]");
        assert_eq!(shown("rain", "It is sunny."), "");
    }

    #[test]
    fn a_long_text_is_shown_around_its_first_hit() {
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let shown = shown("needle", &text);
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("[needle]"), "{shown}");
        assert!(shown.chars().count() < SHOWN + 10, "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_and_query_give_pieces_of_the_text_and_never_a_panic(text in "\\PC{0,300}", typed in "\\PC{0,40}") {
            prop_assume!(!text.contains('…'));
            let query = Query::read(&typed);
            let expression = query.to_match();
            prop_assert!(expression.chars().all(|c| c.is_alphanumeric() || "\" *".contains(c)), "{}", expression);
            let pieces: String =
                query.pieces(&text).into_iter().map(|piece| piece.text).filter(|piece| piece != "…").collect();
            prop_assert!(text.contains(&pieces));
        }
    }
}
