//! HTML's elements, comments and entities, and the special tokens of models.

use super::{Finding, Markup, Match, Mode, Unit, Voicing, matches};

const TAG_MAX: usize = 300;
const SHORT_TAG_MAX: usize = 40;

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

impl Markup {
    /// Silent up to and with `close`.
    pub(super) fn until(&mut self, close: &str, end: bool, out: &mut Vec<Unit>) -> bool {
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

    pub(super) fn entity(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
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

    /// `<…>`: a tag, a comment, a model's special token, or an address in angle brackets.
    pub(super) fn tag(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
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
}
