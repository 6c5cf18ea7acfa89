//! Markdown, HTML and thinking, told apart from words, one character at a time.
//!
//! Every character that goes in comes out once, in order, with how a voice takes it ([`Voicing`]). What a character is may
//! depend on those after it (`[` may begin a link): such characters are held until it is clear, at most [`HOLD_MAX`] of them.
//! Decisions depend on the text alone, never on how it was chunked.
//!
//! Not spoken: `<think>` blocks (also unclosed), fenced code, tables, rules, marks of emphasis, headings, quotes and bullets, HTML tags and
//! comments, emoji, images, footnotes, the address of a link, and of a bare URL all but its host. Inline code is spoken as written.

mod lines;
mod links;
mod tags;

use super::characters::is_unspeakable;

/// Longest construct that is recognised as one: a link with its address. Longer ones are read as text.
pub(super) const HOLD_MAX: usize = 640;
const RUN_MAX: usize = 64;
const INLINE_CODE_MAX: usize = 120;

/// How a voice takes one written character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voicing {
    /// Spoken, mostly as written; may end a clause or sentence.
    Said(char),
    /// Spoken as written, inside code or an address: ends nothing.
    Verbatim(char),
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub written: char,
    pub voicing: Voicing,
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Text,
    /// Inside `` ` ``; ends at as many marks, at the line's end, or when `left` characters are used up.
    Code {
        ticks: usize,
        left: usize,
    },
    Fence {
        mark: char,
    },
    /// Inside an element of [`SILENCED`].
    Silenced {
        name: String,
    },
    Comment,
    /// The rest of the line is not spoken: a table's row, a link's definition.
    Row,
    Url {
        path: bool,
        parentheses: u32,
    },
}

/// What the held characters turned out to be.
enum Finding {
    /// More characters are needed.
    Wait,
    /// The first character is itself.
    Literal,
    /// Nothing to say in the first `usize`.
    Skip(usize),
}

/// The filter's state between characters.
#[derive(Debug)]
pub(super) struct Markup {
    held: Vec<char>,
    mode: Mode,
    line_start: bool,
    last: char,
}

impl Default for Markup {
    fn default() -> Self {
        Self { held: Vec::new(), mode: Mode::Text, line_start: true, last: '\n' }
    }
}

impl Markup {
    pub fn push(&mut self, c: char, out: &mut Vec<Unit>) {
        self.held.push(c);
        // Nothing is held for longer than this, so memory is bounded whatever the text.
        let overfull = self.held.len() > HOLD_MAX;
        while !self.held.is_empty() && self.step(overfull, out) {}
    }

    /// The text has ended: what is held is what it is.
    pub fn finish(&mut self, out: &mut Vec<Unit>) {
        while !self.held.is_empty() {
            if !self.step(true, out) {
                self.emit(1, Voicing::Said, out);
            }
        }
        *self = Self::default();
    }

    /// Decides about the first held characters; `false` if more are needed. With `end`, no more will come.
    fn step(&mut self, end: bool, out: &mut Vec<Unit>) -> bool {
        let Some(&first) = self.held.first() else { return false };
        match &mut self.mode {
            Mode::Text => self.text(first, end, out),
            Mode::Code { ticks, left } => {
                let run = run_of(&self.held, '`');
                if first == '\n' || *left == 0 {
                    self.mode = Mode::Text;
                } else if run == 0 {
                    *left -= 1;
                    self.emit(1, Voicing::Verbatim, out);
                } else if run == self.held.len() && !end {
                    return false;
                } else {
                    if run == *ticks {
                        self.mode = Mode::Text;
                    }
                    self.skip(run, out);
                }
                true
            }
            Mode::Fence { mark } => {
                let run = run_of(&self.held, *mark);
                if run > 0 && run == self.held.len() && !end && run < RUN_MAX {
                    return false;
                }
                if run >= 3 {
                    self.mode = Mode::Text;
                }
                self.skip(run.max(1), out);
                true
            }
            Mode::Silenced { name } => {
                let close = format!("</{name}>");
                self.until(&close, end, out)
            }
            Mode::Comment => self.until("-->", end, out),
            Mode::Row => {
                if first == '\n' {
                    self.mode = Mode::Text;
                } else {
                    self.skip(1, out);
                }
                true
            }
            Mode::Url { .. } => self.url(first, end, out),
        }
    }

    fn text(&mut self, first: char, end: bool, out: &mut Vec<Unit>) -> bool {
        if first == '\n' {
            self.emit(1, Voicing::Said, out);
            self.line_start = true;
            return true;
        }
        if self.line_start {
            match self.line_mark(end) {
                Finding::Wait => return false,
                Finding::Skip(count) => {
                    self.skip(count, out);
                    return true;
                }
                Finding::Literal => self.line_start = false,
            }
        }
        match self.inline(first, end, out) {
            Finding::Wait => return false,
            Finding::Skip(count) => self.skip(count, out),
            Finding::Literal => self.emit(1, Voicing::Said, out),
        }
        true
    }

    /// Marks inside a line.
    fn inline(&mut self, first: char, end: bool, out: &mut Vec<Unit>) -> Finding {
        let second = self.held.get(1).copied();
        let pending = second.is_none() && !end;
        match first {
            '`' => {
                let run = run_of(&self.held, '`');
                if run == self.held.len() && !end && run < RUN_MAX {
                    return Finding::Wait;
                }
                self.mode =
                    if run >= 3 { Mode::Fence { mark: '`' } } else { Mode::Code { ticks: run, left: INLINE_CODE_MAX } };
                Finding::Skip(run)
            }
            '*' | '_' | '~' | '\\' | '!' if pending => Finding::Wait,
            '*' => {
                let beside = |test: fn(char) -> bool| test(self.last) && second.is_some_and(test);
                let product = beside(|c| c == ' ') || beside(|c| c.is_ascii_digit());
                if product { Finding::Literal } else { Finding::Skip(1) }
            }
            '_' => {
                let inside_word = self.last.is_alphanumeric() && second.is_some_and(char::is_alphanumeric);
                if inside_word { Finding::Literal } else { Finding::Skip(1) }
            }
            '~' => {
                let run = run_of(&self.held, '~');
                if run >= 2 { Finding::Skip(run) } else { Finding::Literal }
            }
            '\\' if second.is_some_and(|c| c.is_ascii_punctuation()) => {
                self.skip(1, out);
                Finding::Literal
            }
            '!' if second == Some('[') => self.link(1, end, out),
            '[' => self.link(0, end, out),
            '<' => self.tag(end, out),
            '&' => self.entity(end, out),
            'h' | 'H' | 'w' | 'W' if !self.last.is_ascii_alphanumeric() => self.address(end, out),
            c if is_unspeakable(c) => Finding::Skip(1),
            _ => Finding::Literal,
        }
    }

    fn skip(&mut self, count: usize, out: &mut Vec<Unit>) {
        self.emit(count, |_| Voicing::Silent, out);
    }

    fn emit(&mut self, count: usize, voicing: impl Fn(char) -> Voicing, out: &mut Vec<Unit>) {
        for written in self.held.drain(..count.min(self.held.len())) {
            self.last = written;
            out.push(Unit { written, voicing: voicing(written) });
        }
    }
}

enum Match {
    Whole,
    Partly,
    Not,
}

/// How `held` begins compared with `wanted`, in any case of letters.
fn matches(held: &[char], wanted: &str) -> Match {
    let mut length = 0;
    for (c, w) in held.iter().zip(wanted.chars()) {
        if !c.eq_ignore_ascii_case(&w) {
            return Match::Not;
        }
        length += 1;
    }
    if length == wanted.chars().count() { Match::Whole } else { Match::Partly }
}

fn run_of(held: &[char], mark: char) -> usize {
    held.iter().take_while(|c| **c == mark).count()
}
