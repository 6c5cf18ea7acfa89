//! Markdown, HTML and thinking, told apart from words, one character at a time.
//!
//! Every character that goes in comes out once, in order, with how a voice takes it ([`Voicing`]). What a character is may
//! depend on those after it (`[` may begin a link): such characters are held until it is clear, at most [`HOLD_MAX`] of them.
//! Decisions depend on the text alone, never on how it was chunked.
//!
//! Not spoken: `<think>` blocks (also unclosed), fenced code, tables, rules, marks of emphasis, headings, quotes and bullets, HTML tags and
//! comments, emoji, images, footnotes, the address of a link, and of a bare URL all but its host. Inline code is spoken as written.

use super::characters::is_unspeakable;

/// Longest construct that is recognised as one: a link with its address. Longer ones are read as text.
pub(super) const HOLD_MAX: usize = 640;
const LINK_TEXT_MAX: usize = 120;
const TAG_MAX: usize = 300;
const SHORT_TAG_MAX: usize = 40;
const LINE_MARK_MAX: usize = 80;
const RUN_MAX: usize = 64;
const INLINE_CODE_MAX: usize = 120;

/// Elements whose content is not for the listener.
const SILENCED: &[&str] = &["think", "thinking", "thought", "reasoning", "script", "style"];
/// Elements that begin a new line, at either end.
const BREAKS: &[&str] = &["br", "p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "table", "hr"];
const OTHER_TAGS: &[&str] = &[
    "a",
    "b",
    "i",
    "u",
    "s",
    "q",
    "em",
    "strong",
    "span",
    "code",
    "pre",
    "small",
    "big",
    "sub",
    "sup",
    "mark",
    "del",
    "ins",
    "img",
    "font",
    "blockquote",
    "details",
    "summary",
    "td",
    "th",
    "kbd",
    "center",
    "section",
    "audio",
    "video",
];
const ENTITIES: &[(&str, char)] = &[
    ("&amp;", '&'),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&apos;", '\''),
    ("&#39;", '\''),
    ("&nbsp;", ' '),
    ("&mdash;", '—'),
    ("&ndash;", '–'),
    ("&hellip;", '…'),
];

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

    /// Silent up to and with `close`.
    fn until(&mut self, close: &str, end: bool, out: &mut Vec<Unit>) -> bool {
        match matches(&self.held, close) {
            Match::Whole => {
                self.mode = Mode::Text;
                self.skip(close.chars().count(), out);
            }
            Match::Partly if !end => return false,
            _ => self.skip(1, out),
        }
        true
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

    /// Marks that mean something only where a line begins.
    fn line_mark(&mut self, end: bool) -> Finding {
        let held = &self.held;
        let indent = held.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let Some(&mark) = held.get(indent) else {
            return if end || indent > LINE_MARK_MAX { Finding::Literal } else { Finding::Wait };
        };
        let run = run_of(held.get(indent..).unwrap_or_default(), mark);
        let after = held.get(indent + run).copied();
        match mark {
            '#' if run > 6 => Finding::Literal,
            '#' => match after {
                None if !end => Finding::Wait,
                Some(' ' | '\t') => Finding::Skip(indent + run + 1),
                None | Some('\n') => Finding::Skip(indent + run),
                Some(_) => Finding::Literal,
            },
            '>' => Finding::Skip(indent + 1),
            '|' => {
                self.mode = Mode::Row;
                Finding::Skip(indent + 1)
            }
            '~' if run >= 3 => {
                self.mode = Mode::Fence { mark };
                self.line_start = false;
                Finding::Skip(indent + run)
            }
            '~' if after.is_none() && !end => Finding::Wait,
            '•' | '‣' | '⁃' | '●' | '■' | '▪' | '○' | '□' | '◦' | '·' | '∙' => {
                Finding::Skip(indent + 1)
            }
            '-' | '*' | '+' | '_' | '=' => self.rule_or_bullet(indent, mark, end),
            _ => Finding::Literal,
        }
    }

    /// `---`, `* * *`, `---|---`, or `- ` and `* ` before a list's item.
    fn rule_or_bullet(&self, indent: usize, mark: char, end: bool) -> Finding {
        let line = self.held.get(indent..).unwrap_or_default();
        let ruled = |c: &char| *c == mark || matches!(c, ' ' | '\t') || (mark == '-' && matches!(c, '|' | ':'));
        let length = line.iter().take_while(|c| ruled(c)).count();
        let is_rule = line.iter().filter(|c| **c == mark).count() >= 3;
        let bullet = match line.get(1) {
            Some(' ' | '\t') if matches!(mark, '-' | '*' | '+') => Finding::Skip(indent + 2),
            _ => Finding::Literal,
        };
        match line.get(length) {
            Some('\n') if is_rule => Finding::Skip(indent + length),
            Some(_) => bullet,
            None if end && is_rule => Finding::Skip(indent + length),
            None if end || length > LINE_MARK_MAX => bullet,
            None => Finding::Wait,
        }
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

    fn entity(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
        let mut partly = false;
        for (name, meant) in ENTITIES {
            match matches(&self.held, name) {
                Match::Whole => {
                    self.emit(1, |_| Voicing::Said(*meant), out);
                    return Finding::Skip(name.len() - 1);
                }
                Match::Partly => partly = true,
                Match::Not => {}
            }
        }
        if partly && !end { Finding::Wait } else { Finding::Literal }
    }

    /// `https://…` or `www.…`.
    fn address(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
        let mut partly = false;
        for prefix in ["https://", "http://", "www."] {
            match matches(&self.held, prefix) {
                Match::Whole => {
                    self.mode = Mode::Url { path: false, parentheses: 0 };
                    if prefix == "www." {
                        self.emit(prefix.len() - 1, Voicing::Verbatim, out);
                        return Finding::Literal;
                    }
                    return Finding::Skip(prefix.len());
                }
                Match::Partly => partly = true,
                Match::Not => {}
            }
        }
        if partly && !end { Finding::Wait } else { Finding::Literal }
    }

    fn url(&mut self, first: char, end: bool, out: &mut Vec<Unit>) -> bool {
        let Mode::Url { path, parentheses } = &mut self.mode else { return false };
        let ends = |c: char| !c.is_ascii_graphic() || "<>\"`|{}\\^*]".contains(c);
        if ends(first) || (first == ')' && *parentheses == 0) {
            self.mode = Mode::Text;
            return true;
        }
        if ".,!?;:'".contains(first) {
            let after = self.held.iter().position(|c| !".,!?;:'".contains(*c));
            match after.and_then(|at| self.held.get(at).copied()) {
                None if !end && self.held.len() < RUN_MAX => return false,
                Some(c) if !(ends(c) || c == ')' && *parentheses == 0) => {}
                _ => {
                    self.mode = Mode::Text;
                    return true;
                }
            }
        }
        match first {
            '(' => *parentheses += 1,
            ')' => *parentheses = parentheses.saturating_sub(1),
            '/' | '?' | '#' | ':' => *path = true,
            _ => {}
        }
        if *path {
            self.skip(1, out)
        } else {
            self.emit(1, Voicing::Verbatim, out)
        }
        true
    }

    /// `<…>`: a tag, a comment, a model's special token, or an address in angle brackets.
    fn tag(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
        let unclear = |longest: usize| if end || self.held.len() > longest { Finding::Literal } else { Finding::Wait };
        let inside = match self.held.get(1) {
            None => return unclear(1),
            Some('!') => {
                return match matches(&self.held, "<!--") {
                    Match::Whole => {
                        self.mode = Mode::Comment;
                        Finding::Skip(4)
                    }
                    Match::Partly => unclear(4),
                    Match::Not => Finding::Literal,
                };
            }
            Some('|') => {
                let close = self.held.windows(2).position(|pair| pair == ['|', '>']);
                return match close {
                    Some(at) if at > 1 => Finding::Skip(at + 2),
                    _ if self.held.contains(&'\n') => Finding::Literal,
                    _ => unclear(SHORT_TAG_MAX),
                };
            }
            Some('/') => self.held.get(2..).unwrap_or_default(),
            Some(_) => self.held.get(1..).unwrap_or_default(),
        };
        let name: String = inside.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '-').collect();
        let name = name.to_ascii_lowercase();
        let closing = self.held.get(1) == Some(&'/');
        let after = inside.get(name.len()).copied();
        let Some(after) = after else { return unclear(SHORT_TAG_MAX) };
        let known = [SILENCED, BREAKS, OTHER_TAGS].iter().any(|list| list.contains(&name.as_str()));
        let address = matches!(after, ':' | '@' | '.' | '+');
        if !name.starts_with(|c: char| c.is_ascii_alphabetic())
            || !(matches!(after, '>' | '/') || address || (known && after.is_whitespace()))
        {
            return Finding::Literal;
        }
        let stop = self.held.iter().skip(1).position(|c| matches!(c, '<' | '>' | '\n')).map(|at| at + 1);
        let Some(stop) = stop else { return unclear(if known || address { TAG_MAX } else { SHORT_TAG_MAX }) };
        let content: String = self.held.get(1..stop).unwrap_or_default().iter().collect();
        if self.held.get(stop) != Some(&'>') {
            return Finding::Literal;
        }
        if address {
            if !content.contains("://") && !content.contains('@') {
                return Finding::Literal;
            }
            self.skip(1, out);
            self.label(stop - 1, out);
            return Finding::Skip(1);
        }
        if SILENCED.contains(&name.as_str()) && !closing && !content.ends_with('/') {
            self.mode = Mode::Silenced { name: name.clone() };
        }
        if BREAKS.contains(&name.as_str()) {
            self.skip(stop, out);
            self.emit(1, |_| Voicing::Said('\n'), out);
            self.line_start = true;
            return Finding::Skip(0);
        }
        Finding::Skip(stop + 1)
    }

    /// `[text](address)`, `![alt](address)`, `[text][reference]`, `[^1]`, `[1]`, `[ ]`. `offset` is where the bracket is.
    fn link(&mut self, offset: usize, end: bool, out: &mut Vec<Unit>) -> Finding {
        let open = offset + 1;
        let find = |from: usize, wanted: &[char]| {
            self.held.iter().skip(from).position(|c| wanted.contains(c)).map(|at| at + from)
        };
        let unclear = |longest: usize| if end || self.held.len() > longest { Finding::Literal } else { Finding::Wait };
        let Some(close) = find(open, &[']', '[', '\n']) else { return unclear(open + LINK_TEXT_MAX) };
        if self.held.get(close) != Some(&']') {
            return Finding::Literal;
        }
        let Some(text) = self.held.get(open..close) else { return Finding::Literal };
        let footnote = text.first() == Some(&'^');
        let citation = !text.is_empty() && text.len() <= 3 && text.iter().all(char::is_ascii_digit);
        let task_box = matches!(text, [' ' | 'x' | 'X']);
        let whole = match self.held.get(close + 1) {
            None if !end => return Finding::Wait,
            Some('(') => {
                let mut depth = 0_i32;
                let stop = self.held.iter().enumerate().skip(close + 1).find(|(_, c)| {
                    depth += i32::from(**c == '(') - i32::from(**c == ')');
                    depth == 0 || **c == '\n'
                });
                match stop {
                    Some((at, ')')) => at + 1,
                    Some(_) => return Finding::Literal,
                    // An address that never ends is still not for the voice.
                    None if end && self.held.len() <= HOLD_MAX => self.held.len(),
                    None if end => return Finding::Literal,
                    None => return Finding::Wait,
                }
            }
            Some('[') => match find(close + 2, &[']', '\n']) {
                Some(at) if self.held.get(at) == Some(&']') => at + 1,
                Some(_) => return Finding::Literal,
                None => return unclear(close + LINK_TEXT_MAX),
            },
            Some(':') if self.last == '\n' => {
                self.mode = Mode::Row;
                return Finding::Skip(close + 1);
            }
            _ if footnote || citation || task_box => return Finding::Skip(close + 1),
            _ => return Finding::Literal,
        };
        if offset == 1 || footnote {
            return Finding::Skip(whole);
        }
        self.skip(1, out);
        self.label(close - open, out);
        Finding::Skip(whole - 1 - (close - open))
    }

    /// The first `count` held characters are the text of a link, or an address as such.
    fn label(&mut self, count: usize, out: &mut Vec<Unit>) {
        let text: String = self.held.iter().take(count).collect();
        let host = text.find("://").map(|at| text.get(..at + 3).unwrap_or_default().chars().count());
        let mut path = false;
        for at in 0..count {
            let voicing: fn(char) -> Voicing = match (host, self.held.first().copied().unwrap_or_default()) {
                (Some(from), _) if at < from || path => |_| Voicing::Silent,
                (_, c) if "*`~".contains(c) || is_unspeakable(c) => |_| Voicing::Silent,
                (Some(_), '/' | '?' | '#' | ':') => {
                    path = true;
                    |_| Voicing::Silent
                }
                (Some(_), _) => Voicing::Verbatim,
                (None, _) if text.contains('@') => Voicing::Verbatim,
                (None, _) => Voicing::Said,
            };
            self.emit(1, voicing, out);
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
