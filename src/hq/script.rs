//! A reply's text as a voice is to say it: whole sentences without markup, and the pause after each.

use std::time::Duration;

use models::text::SentenceSplitter;

/// After a sentence; people pause for as long when they read aloud.
const SENTENCE: Duration = Duration::from_millis(320);
/// After a piece that a comma, a colon or the like ends: a run-on sentence was cut there.
const CLAUSE: Duration = Duration::from_millis(160);
/// After a paragraph, or an item of a list.
const PARAGRAPH: Duration = Duration::from_millis(560);
/// Where nothing but length ended the piece.
const BREATH: Duration = Duration::from_millis(80);

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// Silence before the next.
    pub pause: Duration,
}

/// The lines of a reply, in order; none if there is nothing to say.
pub fn script(reply: &str) -> Vec<Line> {
    let mut splitter = SentenceSplitter::patient();
    let mut sentences = splitter.push(reply);
    sentences.extend(splitter.finish());
    let mut lines: Vec<Line> = Vec::new();
    for sentence in sentences {
        let is_paragraph = sentence.written.contains('\n');
        if sentence.spoken.chars().any(char::is_alphanumeric) {
            let pause = if is_paragraph && sentence.written.trim_end() != sentence.written {
                PARAGRAPH
            } else {
                pause_after(&sentence.spoken)
            };
            lines.push(Line { text: sentence.spoken, pause });
        } else if let Some(last) = lines.last_mut().filter(|_| is_paragraph) {
            last.pause = PARAGRAPH;
        }
    }
    lines
}

fn pause_after(spoken: &str) -> Duration {
    let is_closer = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '」' | '』' | '）');
    match spoken.trim_end().trim_end_matches(is_closer).chars().last() {
        Some('.' | '!' | '?' | '…' | '。' | '！' | '？') => SENTENCE,
        Some(',' | ';' | ':' | '–' | '—' | '，' | '、' | '；' | '：') => CLAUSE,
        _ => BREATH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reply: &str) -> Vec<(String, u128)> {
        script(reply).into_iter().map(|line| (line.text, line.pause.as_millis())).collect()
    }

    fn line(text: &str, pause: u128) -> (String, u128) {
        (text.to_owned(), pause)
    }

    #[test]
    fn the_first_sentence_is_not_cut_at_a_clause_as_a_live_one_is() {
        let reply = "If the weather is nice tomorrow, and it may well be, we go for a walk. \"Really?\" Yes!";
        let lines = said(reply);
        assert_eq!(lines[0], line("If the weather is nice tomorrow, and it may well be, we go for a walk.", 320));
        assert_eq!(lines.last(), Some(&line("Yes!", 320)));
    }

    #[test]
    fn markup_is_not_said_and_a_list_is_read_with_pauses() {
        let lines = said("**Three** things:\n\n- milk\n- bread 😀\n- `tea`\n\n😀\n");
        let texts: Vec<_> = lines.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["Three things:", "milk", "bread", "tea"]);
        assert!(lines.iter().all(|(_, pause)| *pause == 560), "{lines:?}");
    }

    #[test]
    fn chinese_is_read_sentence_by_sentence() {
        let lines = said("今天天氣很好，我們去散步。你要一起來嗎？");
        assert_eq!(lines, [line("今天天氣很好，我們去散步。", 320), line("你要一起來嗎？", 320)]);
    }

    #[test]
    fn what_has_no_words_has_no_lines() {
        assert!(script("😀 … **—**").is_empty());
        assert!(script("").is_empty());
    }
}
