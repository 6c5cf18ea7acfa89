//! Links, images, footnotes and bare addresses: said by their text, or by their host.

use super::{Finding, HOLD_MAX, Markup, Match, Mode, RUN_MAX, Unit, Voicing, is_unspeakable, matches};

const LINK_TEXT_MAX: usize = 120;

impl Markup {
    /// `https://…` or `www.…`.
    pub(super) fn address(&mut self, end: bool, out: &mut Vec<Unit>) -> Finding {
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

    pub(super) fn url(&mut self, first: char, end: bool, out: &mut Vec<Unit>) -> bool {
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

    /// `[text](address)`, `![alt](address)`, `[text][reference]`, `[^1]`, `[1]`, `[ ]`. `offset` is where the bracket is.
    pub(super) fn link(&mut self, offset: usize, end: bool, out: &mut Vec<Unit>) -> Finding {
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
    pub(super) fn label(&mut self, count: usize, out: &mut Vec<Unit>) {
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
}
