//! What of the text that a model writes is let out: not its thoughts, unless they were asked for, and nothing from a stop
//! string on.
//!
//! Tags and stop strings come in pieces, so whatever may turn out to be the beginning of one is held back until it is known.
//! What is held is never longer than the longest of them.

use crate::error::EngineError;
use crate::llm::{STOP_STRING_BYTES_BOUND, STOP_STRINGS_BOUND, Sampling};

pub(super) const THOUGHT: &str = "<think>";
pub(super) const THOUGHT_END: &str = "</think>";

pub(super) struct Outlet {
    /// `None` lets thoughts out.
    thoughts: Option<Thoughts>,
    stops: Vec<String>,
    /// What may be the beginning of a stop string.
    held: String,
}

impl Outlet {
    /// Whether the stop strings keep to their bounds.
    pub fn check(sampling: &Sampling) -> Result<(), EngineError> {
        if sampling.stop.len() > STOP_STRINGS_BOUND {
            return Err(EngineError::BadRequest(format!(
                "{} stop strings were given; at most {STOP_STRINGS_BOUND} can be watched for",
                sampling.stop.len()
            )));
        }
        if sampling.stop.iter().any(|stop| stop.is_empty() || stop.len() > STOP_STRING_BYTES_BOUND) {
            return Err(EngineError::BadRequest(format!(
                "a stop string must have 1 to {STOP_STRING_BYTES_BOUND} bytes; leave out the one that has not"
            )));
        }
        Ok(())
    }

    pub fn new(sampling: &Sampling) -> Self {
        let thoughts = (!sampling.thinking).then(Thoughts::default);
        Self { thoughts, stops: sampling.stop.clone(), held: String::new() }
    }

    /// What `text` lets out. `true`: a stop string has come, this was the last.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        match &mut self.thoughts {
            Some(thoughts) => self.held.push_str(&thoughts.push(text)),
            None => self.held.push_str(text),
        }
        self.release()
    }

    /// The model has ended: what is still held is no beginning of anything.
    pub fn finish(&mut self) -> (String, bool) {
        if let Some(thoughts) = &mut self.thoughts {
            self.held.push_str(&thoughts.finish());
        }
        let (mut text, stopped) = self.release();
        if !stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        (text, stopped)
    }

    fn release(&mut self) -> (String, bool) {
        if let Some(start) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), true);
        }
        let known = self.held.len() - undecided(&self.held, self.stops.iter().map(String::as_str));
        let rest = self.held.split_off(known);
        (std::mem::replace(&mut self.held, rest), false)
    }
}

/// Takes thoughts out of a text, and the blanks after them.
#[derive(Default)]
struct Thoughts {
    inside: bool,
    /// A thought has just ended.
    skips_blanks: bool,
    held: String,
}

impl Thoughts {
    fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        let mut out = String::new();
        loop {
            if self.inside {
                let Some(end) = self.held.find(THOUGHT_END) else {
                    let kept = undecided(&self.held, [THOUGHT_END].into_iter());
                    self.held = self.held.split_off(self.held.len() - kept);
                    return out;
                };
                self.held = self.held.split_off(end + THOUGHT_END.len());
                (self.inside, self.skips_blanks) = (false, true);
                continue;
            }
            let tags = [THOUGHT, THOUGHT_END];
            let next = tags.iter().filter_map(|tag| Some((self.held.find(tag)?, *tag))).min();
            let Some((start, tag)) = next else {
                let kept = undecided(&self.held, tags.into_iter());
                let rest = self.held.split_off(self.held.len() - kept);
                let text = std::mem::replace(&mut self.held, rest);
                self.say(&text, &mut out);
                return out;
            };
            let rest = self.held.split_off(start + tag.len());
            let mut text = std::mem::replace(&mut self.held, rest);
            text.truncate(start);
            self.say(&text, &mut out);
            // An end without a beginning was begun by the prompt.
            (self.inside, self.skips_blanks) = (tag == THOUGHT, tag == THOUGHT_END);
        }
    }

    fn say(&mut self, text: &str, out: &mut String) {
        let text = if self.skips_blanks { text.trim_start() } else { text };
        self.skips_blanks &= text.is_empty();
        out.push_str(text);
    }

    fn finish(&mut self) -> String {
        if self.inside { String::new() } else { std::mem::take(&mut self.held) }
    }
}

/// How many bytes at the end of `text` may be the beginning of one of `needles`.
fn undecided<'a>(text: &str, needles: impl Iterator<Item = &'a str>) -> usize {
    let longest_beginning = |needle: &str| {
        (1..needle.len()).rev().find(|&length| needle.get(..length).is_some_and(|start| text.ends_with(start)))
    };
    needles.filter_map(longest_beginning).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet(stop: &[&str], thinking: bool) -> Outlet {
        let stop = stop.iter().map(ToString::to_string).collect();
        Outlet::new(&Sampling { stop, thinking, ..Sampling::default() })
    }

    /// What comes out of `text`, cut into pieces of `size` characters, and whether it was stopped.
    fn through(outlet: &mut Outlet, text: &str, size: usize) -> (String, bool) {
        let characters: Vec<char> = text.chars().collect();
        let mut all = String::new();
        for piece in characters.chunks(size) {
            let (text, stopped) = outlet.push(&piece.iter().collect::<String>());
            all.push_str(&text);
            if stopped {
                return (all, true);
            }
        }
        let (text, stopped) = outlet.finish();
        (all + &text, stopped)
    }

    #[test]
    fn nothing_of_a_stop_string_is_let_out_however_it_is_cut() {
        for size in 1..12 {
            let mut outlet = outlet(&["\nUser:", "再見"], false);
            assert_eq!(through(&mut outlet, "well\nUse it.\nUser: no", size), ("well\nUse it.".into(), true));
            let mut outlet = self::outlet(&["\nUser:", "再見"], false);
            assert_eq!(through(&mut outlet, "好，再來，再見！", size), ("好，再來，".into(), true));
        }
    }

    #[test]
    fn what_only_looked_like_a_stop_string_comes_in_the_end() {
        let mut outlet = outlet(&["STOP"], false);
        assert_eq!(outlet.push("a ST"), ("a ".into(), false));
        assert_eq!(outlet.push("A"), ("STA".into(), false));
        assert_eq!(outlet.push("ND STO"), ("ND ".into(), false));
        assert_eq!(outlet.finish(), ("STO".into(), false));
    }

    #[test]
    fn the_stop_string_that_begins_first_counts() {
        let mut outlet = outlet(&["later", "first"], false);
        assert_eq!(outlet.push("one first two later"), ("one ".into(), true));
    }

    #[test]
    fn thoughts_are_kept_back_however_they_are_cut() {
        for size in 1..12 {
            let text = "<think>\nhe wants <b>tea</b>\n</think>\n\nTea, then. 1 < 2 <think>or</think> yes";
            assert_eq!(through(&mut outlet(&[], false), text, size), ("Tea, then. 1 < 2 yes".into(), false), "{size}");
            assert_eq!(through(&mut outlet(&[], true), text, size), (text.into(), false));
        }
    }

    #[test]
    fn thoughts_without_an_end_or_a_beginning_are_kept_back_too() {
        assert_eq!(through(&mut outlet(&[], false), "Hm. <think>what if", 3), ("Hm. ".into(), false));
        assert_eq!(through(&mut outlet(&[], false), "</think>\n\nYes.", 3), ("Yes.".into(), false));
        assert_eq!(through(&mut outlet(&[], false), "a <thi", 3), ("a <thi".into(), false));
    }

    #[test]
    fn a_stop_string_inside_a_thought_stops_nothing() {
        assert_eq!(through(&mut outlet(&["END"], false), "<think>END</think>a END b", 2), ("a ".into(), true));
    }

    #[test]
    fn impossible_stop_strings_are_refused() {
        for stop in [vec![String::new()], vec!["x".repeat(257)], vec!["x".into(); 17]] {
            assert!(Outlet::check(&Sampling { stop, ..Sampling::default() }).is_err());
        }
    }
}
