//! The walk over a text, and what a rule is.
//!
//! A rule is a pattern that is tried where a word, a number or a mark begins, and a function that says what was found or declines. It sees the
//! text before and after, but takes only what its pattern matched.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::super::characters::is_cjk;

/// How far ahead a rule looks, in bytes. Longer runs of letters or digits are taken whole, by the walk itself.
pub(super) const WINDOW: usize = 320;
/// Digits in a row beyond which nobody follows a number: said one by one.
pub(super) const DIGITS_MAX: usize = 40;

/// Where a rule may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Digit,
    Letter,
    /// Anything else: a sign, a bracket, white space, a Chinese character.
    Mark,
    /// Anywhere.
    Any,
}

pub(super) type Say<D> = fn(&Found<'_, D>) -> Option<String>;

/// One thing that is not said as it is written.
pub(super) struct Rule<D> {
    at: At,
    pattern: Regex,
    say: Say<D>,
}

impl<D> Rule<D> {
    fn new(at: At, pattern: &str, say: Say<D>, parts: &[(&str, &str)]) -> Option<Self> {
        let common = [("{num}", NUMBER), ("{end}", r"(?-u:\b)")];
        let whole =
            parts.iter().chain(&common).fold(pattern.to_owned(), |whole, (name, part)| whole.replace(name, part));
        Regex::new(&format!("^(?:{whole})")).ok().map(|pattern| Self { at, pattern, say })
    }
}

/// An unsigned number: "1", "1,234.5", "0.25".
const NUMBER: &str = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?-u:\b)|[0-9]+)(?:\.[0-9]+)?";

/// One row of a language's table: where, what, how it is said.
pub(super) type Row<D> = (At, &'static str, Say<D>);

/// Compiles a language's table. In patterns, which are anchored at their beginning, `{num}` stands for an unsigned number, `{end}` for the end
/// of a word, and the names in `parts` for those.
pub(super) fn table<D>(rows: &[Row<D>], parts: &[(&str, &str)]) -> Vec<Rule<D>> {
    let rules: Vec<_> = rows.iter().filter_map(|(at, pattern, say)| Rule::new(*at, pattern, *say, parts)).collect();
    // The patterns are ours: one that does not compile is found by every test.
    debug_assert_eq!(rules.len(), rows.len(), "a pattern does not compile");
    rules
}

/// What a rule's pattern matched, and where.
pub(super) struct Found<'t, D> {
    captures: Captures<'t>,
    /// All the text before and after.
    pub before: &'t str,
    pub after: &'t str,
    pub dialect: D,
}

impl<'t, D> Found<'t, D> {
    /// The `n`th group; empty if it took no part.
    pub fn group(&self, n: usize) -> &'t str {
        self.captures.get(n).map_or("", |group| group.as_str())
    }

    pub fn whole(&self) -> &'t str {
        self.group(0)
    }

    pub fn last_before(&self) -> Option<char> {
        self.before.chars().next_back()
    }

    pub fn next_after(&self) -> Option<char> {
        self.after.chars().next()
    }

    /// The word before, without the white space between.
    pub fn word_before(&self) -> &'t str {
        let text = self.before.trim_end();
        let text = tail(text, 40);
        let start = text.rfind(|c: char| !c.is_alphanumeric() && c != '\'').map_or(0, |at| at + width_at(text, at));
        text.get(start..).unwrap_or_default()
    }

    /// The word after, without the white space between.
    pub fn word_after(&self) -> &'t str {
        let text = head(self.after, 40).trim_start();
        text.get(..text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len())).unwrap_or_default()
    }
}

fn width_at(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
}

/// At most the first `limit` bytes, whole characters.
pub(super) fn head(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

/// At most the last `limit` bytes, whole characters.
pub(super) fn tail(text: &str, limit: usize) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(limit))..).unwrap_or_default()
}

/// Says `text` by `rules`. `digits` says those that are too many for a number.
pub(super) fn walk<D: Copy>(
    text: &str,
    rules: &LazyLock<Vec<Rule<D>>>,
    dialect: D,
    digits: fn(&str) -> String,
) -> String {
    let mut speech = Speech { text: String::with_capacity(text.len() * 2), said: false };
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let (before, rest) = text.split_at(at);
        if first.is_ascii_digit() {
            let run = run(rest, first);
            if run > DIGITS_MAX {
                speech.say(&digits(rest.get(..run).unwrap_or_default()));
                at += run;
                continue;
            }
        }
        let window = head(rest, WINDOW);
        let found = rules.iter().filter(|rule| rule.at == At::Any || rule.at == kind(first)).find_map(|rule| {
            let captures = rule.pattern.captures(window)?;
            let length = captures.get(0).map_or(0, |whole| whole.len());
            let after = rest.get(length..).unwrap_or_default();
            // A pattern's word ends at a letter that is not ASCII; the word does not.
            let (last, next) = (captures.get(0)?.as_str().chars().next_back()?, after.chars().next());
            if last.is_ascii_alphabetic() && next.is_some_and(|c| !c.is_ascii() && is_word(c)) {
                return None;
            }
            let words = (rule.say)(&Found { captures, before, after, dialect })?;
            Some((length, words))
        });
        match found {
            Some((length, words)) => {
                speech.say(&words);
                at += length;
            }
            None => {
                let run = run(rest, first);
                speech.copy(rest.get(..run).unwrap_or_default());
                at += run;
            }
        }
    }
    speech.text
}

fn kind(c: char) -> At {
    match c {
        _ if c.is_ascii_digit() => At::Digit,
        _ if is_word(c) => At::Letter,
        _ => At::Mark,
    }
}

/// A letter of a word that is written with spaces around it.
fn is_word(c: char) -> bool {
    c.is_alphabetic() && !is_cjk(c)
}

/// Length in bytes of the run of characters like `first` that `rest` begins with; marks and Chinese characters stand alone.
fn run(rest: &str, first: char) -> usize {
    let same = |c: &char| match kind(first) {
        At::Digit => c.is_ascii_digit(),
        At::Letter => is_word(*c) || matches!(*c, '\'' | '’' | '\u{300}'..='\u{36F}'),
        _ => false,
    };
    first.len_utf8() + rest.chars().skip(1).take_while(same).map(char::len_utf8).sum::<usize>()
}

/// The text as it grows: words that were said and words that were kept never run together.
struct Speech {
    text: String,
    /// The last piece was said by a rule.
    said: bool,
}

impl Speech {
    fn say(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        self.part(words);
        self.text.push_str(words);
        self.said = true;
    }

    fn copy(&mut self, piece: &str) {
        if self.said {
            self.part(piece);
        }
        self.text.push_str(piece);
        self.said = false;
    }

    /// A space between two words; none between Chinese characters, and never two.
    fn part(&mut self, next: &str) {
        let (Some(last), Some(first)) = (self.text.chars().next_back(), next.chars().next()) else { return };
        let joins = |c: char| c.is_alphanumeric() && !is_cjk(c);
        let opens = last == ',' && first.is_alphanumeric() && !is_cjk(first);
        if (joins(last) && joins(first)) || opens {
            self.text.push(' ');
        } else if last == ' ' && first == ' ' {
            self.text.pop();
        }
    }
}
