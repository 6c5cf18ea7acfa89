//! A stream of text cut into pieces that a voice can say, as early as they are safe to say.
//!
//! The first piece may be a clause, so that the voice begins while the model still writes; it is cut at a comma, colon or dash
//! once it has four words or six Chinese characters ([`FIRST_CLAUSE`]): about one second of speech, enough for natural intonation and
//! for the next piece to be ready before it ends. Later pieces are whole sentences, except that a run-on is cut at a clause mark, or else at
//! a space, before it keeps the voice waiting.
//!
//! Each decision is taken at one character, from the characters up to it: how the text was chunked changes nothing. What may yet turn out to be an
//! abbreviation, a decimal or a quotation that goes on waits for the characters that tell.

use std::collections::VecDeque;

use super::abbreviations::{self, Stop};
use super::characters::{is_cjk, is_cjk_letter, is_clause_mark, is_closer, is_opener, joins_previous};
use super::markup::{Markup, Unit, Voicing};
use super::speakable;

/// Weight at which a first clause is long enough to speak: a word weighs 3, a Chinese character 2.
const FIRST_CLAUSE: usize = 12;
/// Weight at which a first clause that no mark ends may be cut before a conjunction: some three seconds of speech, and a place
/// where people breathe.
const FIRST_PHRASE: usize = 24;
const CONJUNCTIONS: [&str; 12] =
    ["and", "as", "because", "but", "if", "or", "since", "so", "unless", "when", "where", "while"];
const WORD_WEIGHT: usize = 3;
const CJK_WEIGHT: usize = 2;
/// Widths in columns (a Chinese character counts 2) beyond which a piece is cut at its last clause mark, and at its last space or anywhere.
/// For the first piece less, since the listener waits for it.
const SOFT_WIDTH: usize = 180;
const HARD_WIDTH: usize = 260;
const FIRST_SOFT_WIDTH: usize = 90;
const FIRST_HARD_WIDTH: usize = 140;
/// Silent characters in a row (code, thinking) after which what there is goes out: bounds memory.
const SILENT_MAX: usize = 256;
/// Characters of any kind after which a piece goes out: only text made to confuse gets there.
const UNITS_MAX: usize = 1_024;
/// Longest word that is looked at after an abbreviation.
const NEXT_WORD_MAX: usize = 12;
/// Longest word before a full stop that can be an abbreviation.
const TOKEN_MAX: usize = 16;

/// A piece of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What goes to the voice; empty if there is nothing to say in `written`, which then needs no voice but still counts as passed.
    pub spoken: String,
    /// The source text that it covers. All pieces' `written` one after the other are the input, exactly.
    pub written: String,
}

/// Cuts one reply. Holds at most one unfinished piece and one unfinished mark of markup, at most 1,664 characters.
#[derive(Debug, Default)]
pub struct SentenceSplitter {
    markup: Markup,
    piece: Piece,
    /// Something of the reply has been given to the voice.
    speaking: bool,
}

impl SentenceSplitter {
    pub fn new() -> Self {
        Self::default()
    }

    /// For a voice that nobody waits for: the first piece is a whole sentence too.
    pub fn patient() -> Self {
        Self { speaking: true, ..Self::default() }
    }

    /// Takes more text; gives the pieces that are now certain.
    pub fn push(&mut self, text: &str) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        let mut units = Vec::new();
        for c in text.chars() {
            self.markup.push(c, &mut units);
            self.accept(&mut units, &mut sentences);
        }
        sentences
    }

    /// The text has ended: gives what is left. The splitter is then as new.
    pub fn finish(&mut self) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        let mut units = Vec::new();
        self.markup.finish(&mut units);
        self.accept(&mut units, &mut sentences);
        let rest = self.piece.units.len();
        self.cut(rest, &mut sentences);
        *self = Self::default();
        sentences
    }

    fn accept(&mut self, units: &mut Vec<Unit>, sentences: &mut Vec<Sentence>) {
        let mut waiting: VecDeque<Unit> = units.drain(..).collect();
        while let Some(unit) = waiting.pop_front() {
            if let Some(at) = self.piece.add(unit, !self.speaking) {
                // What was looked at beyond the cut is looked at again as the beginning of the next piece.
                for unit in self.cut(at, sentences).into_iter().rev() {
                    waiting.push_front(unit);
                }
            }
        }
    }

    /// Gives the first `at` units as a piece; returns those after.
    fn cut(&mut self, at: usize, sentences: &mut Vec<Sentence>) -> Vec<Unit> {
        let mut units = std::mem::take(&mut self.piece).units;
        let rest = units.split_off(at.min(units.len()));
        if !units.is_empty() {
            let spoken = speakable::spoken(&units);
            self.speaking |= !spoken.is_empty();
            sentences.push(Sentence { spoken, written: units.iter().map(|unit| unit.written).collect() });
        }
        rest
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.piece.units.len()
    }
}

/// The unfinished piece.
#[derive(Debug, Default)]
struct Piece {
    units: Vec<Unit>,
    /// A letter or digit was said.
    sayable: bool,
    /// Words and Chinese characters so far, weighed.
    weight: usize,
    width: usize,
    /// Silent units at the end.
    silent: usize,
    /// The last said character.
    last: Option<char>,
    /// A stop that waits for what follows.
    stop: Option<Ending>,
    /// A clause mark that waits for what follows.
    mark: Option<ClauseMark>,
    /// Just after the last clause mark, and after the last white space.
    clause_end: Option<usize>,
    gap: Option<usize>,
}

/// A run of stops and closers that may end the sentence.
#[derive(Debug)]
struct Ending {
    kind: Kind,
    /// What the full stop means, by the word before it.
    meaning: Stop,
    closed: bool,
    /// Where the sentence would end: after stops, closers, adjacent marks and white space.
    end: usize,
    spaced: bool,
    /// The word after the white space, as far as it has come.
    next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `。！？；……`: ends wherever it stands.
    Wide,
    /// `!`, `?` and runs with one.
    Bang,
    Period,
    /// `...`, `…`
    Dots,
}

#[derive(Debug)]
struct ClauseMark {
    kind: char,
    end: usize,
    /// Long enough to be the first piece.
    enough: bool,
}

enum Verdict {
    Cut(usize),
    Wait,
    /// The stop ends nothing; the character is to be looked at for itself.
    Reject,
}

impl Piece {
    /// Adds a unit; `Some(at)` if the piece ends before unit `at`.
    fn add(&mut self, unit: Unit, first: bool) -> Option<usize> {
        self.units.push(unit);
        let at = self.units.len();
        if at >= UNITS_MAX {
            return Some(at);
        }
        let (c, verbatim) = match unit.voicing {
            Voicing::Said(c) => (c, false),
            Voicing::Verbatim(c) => (c, true),
            Voicing::Silent => return self.add_silent(at),
        };
        self.silent = 0;
        if c == '\n' && !verbatim {
            self.stop = None;
            self.mark = None;
            self.gap = Some(at);
            if self.sayable {
                return Some(at);
            }
            self.measure(c);
            return self.overlong(at, first);
        }
        if let Some(stop) = &mut self.stop {
            match stop.follow(c, verbatim, at) {
                Verdict::Cut(end) if self.sayable => return Some(end),
                Verdict::Wait => {
                    self.measure(c);
                    self.gap = if c.is_whitespace() { Some(at) } else { self.gap };
                    return self.overlong(at, first);
                }
                Verdict::Cut(_) | Verdict::Reject => self.stop = None,
            }
        }
        if let Some(end) = self.follow_mark(c, at, first) {
            return Some(end);
        }
        let token_end = at - 1;
        let before = self.last;
        self.measure(c);
        if verbatim {
            return self.overlong(at, first);
        }
        if c.is_whitespace() {
            let phrase_end = self.gap.filter(|gap| first && self.is_conjunction(*gap, token_end));
            self.gap = Some(at);
            if phrase_end.is_some() {
                return phrase_end;
            }
        } else if let Some(kind) = stop_kind(c, before) {
            let meaning = if kind == Kind::Period { self.meaning(token_end) } else { Stop::Ends };
            self.stop = Some(Ending { kind, meaning, closed: false, end: at, spaced: false, next: String::new() });
        } else if self.mark.is_none() && is_clause_mark(c) {
            self.mark = Some(ClauseMark { kind: c, end: at, enough: self.weight >= FIRST_CLAUSE });
        }
        self.overlong(at, first)
    }

    fn add_silent(&mut self, at: usize) -> Option<usize> {
        self.silent += 1;
        if let Some(stop) = self.stop.as_mut().filter(|stop| !stop.spaced) {
            stop.end = at;
        }
        if let Some(mark) = self.mark.as_mut().filter(|mark| mark.end + 1 == at) {
            mark.end = at;
        }
        (self.silent >= SILENT_MAX).then_some(at)
    }

    fn measure(&mut self, c: char) {
        let in_word =
            self.last.is_some_and(|last| last.is_alphanumeric() && !is_cjk(last) || last == '\'' || last == '’');
        if is_cjk_letter(c) {
            self.weight += CJK_WEIGHT;
        } else if c.is_alphanumeric() && !in_word {
            self.weight += WORD_WEIGHT;
        }
        self.width += if is_cjk(c) { 2 } else { 1 };
        self.sayable |= c.is_alphanumeric();
        self.last = Some(c);
    }

    /// Whether the clause mark before `c` ends a clause, and the first clause is worth speaking.
    fn follow_mark(&mut self, c: char, at: usize, first: bool) -> Option<usize> {
        let mark = self.mark.as_mut()?;
        let tight = matches!(mark.kind, ',' | ':' | ';' | '–' | '-');
        if is_closer(c) || (c == mark.kind && !tight) {
            mark.end = at;
            return None;
        }
        // "1,000" and "10:30" go on; a Chinese mark or a dash needs no space.
        let ends = !tight || c.is_whitespace() || (is_cjk(c) && mark.kind != '-');
        if ends {
            if c.is_whitespace() {
                mark.end = at;
            }
            self.clause_end = Some(mark.end);
        }
        let speak = ends && first && mark.enough && mark.kind != '、' && self.sayable;
        let end = mark.end;
        self.mark = None;
        speak.then_some(end)
    }

    /// Whether the word at `from..to` is a conjunction after a phrase that is worth speaking.
    fn is_conjunction(&self, from: usize, to: usize) -> bool {
        if self.weight < FIRST_PHRASE + WORD_WEIGHT {
            return false;
        }
        let word: String = self.units.get(from..to).unwrap_or_default().iter().map(|unit| unit.written).collect();
        CONJUNCTIONS.contains(&word.as_str())
    }

    /// What the full stop at `stop` means by the word before it.
    fn meaning(&self, stop: usize) -> Stop {
        let mut token: Vec<char> = Vec::new();
        let mut alone = true;
        for unit in self.units.get(..stop).unwrap_or_default().iter().rev() {
            let (Voicing::Said(c) | Voicing::Verbatim(c)) = unit.voicing else { continue };
            let part = (c.is_alphanumeric() && !is_cjk(c)) || matches!(c, '.' | '-' | '\'' | '’' | '@' | '_');
            if !part {
                alone = !self.said_before(c);
                break;
            }
            if token.len() == TOKEN_MAX {
                return Stop::Ends;
            }
            token.push(c);
        }
        let token: String = token.iter().rev().collect();
        abbreviations::stop_after(&token, alone)
    }

    /// Whether the piece has words before the one that `boundary` is in front of.
    fn said_before(&self, boundary: char) -> bool {
        !boundary.is_whitespace() && is_cjk_letter(boundary) || self.weight > WORD_WEIGHT
    }

    /// A piece that has grown too long is cut where it hurts least.
    fn overlong(&self, at: usize, first: bool) -> Option<usize> {
        let (soft, hard) = if first { (FIRST_SOFT_WIDTH, FIRST_HARD_WIDTH) } else { (SOFT_WIDTH, HARD_WIDTH) };
        if self.width <= soft {
            return None;
        }
        if let Some(end) = self.clause_end.filter(|end| *end >= at / 4) {
            return Some(end);
        }
        if self.width <= hard {
            return None;
        }
        let joined = self.last.is_some_and(joins_previous) && self.width < 2 * hard;
        match (&self.stop, self.gap) {
            (Some(stop), _) if self.sayable => Some(stop.end),
            (_, Some(gap)) => Some(gap),
            _ if joined => None,
            _ => Some(at - 1),
        }
    }
}

impl Ending {
    /// What `c`, unit number `at`, tells about the stop before it.
    fn follow(&mut self, c: char, verbatim: bool, at: usize) -> Verdict {
        if self.spaced { self.after_space(c, at) } else { self.adjacent(c, verbatim, at) }
    }

    fn adjacent(&mut self, c: char, verbatim: bool, at: usize) -> Verdict {
        if let Some(kind) = stop_kind(c, None).filter(|_| !verbatim) {
            self.kind = match (self.kind, kind) {
                (Kind::Wide, _) | (_, Kind::Wide) => Kind::Wide,
                (Kind::Dots, Kind::Dots) if c == '…' => Kind::Wide,
                (Kind::Bang, _) | (_, Kind::Bang) => Kind::Bang,
                _ => Kind::Dots,
            };
            self.end = at;
            return Verdict::Wait;
        }
        if is_closer(c) && !verbatim {
            self.closed = true;
            self.end = at;
            return Verdict::Wait;
        }
        if c.is_whitespace() {
            self.spaced = true;
            self.end = at;
            let clear = match self.kind {
                Kind::Wide => true,
                Kind::Bang => !self.closed,
                Kind::Period => !self.closed && self.meaning == Stop::Ends,
                Kind::Dots => false,
            };
            return match self.meaning {
                Stop::Never if self.kind == Kind::Period && !self.closed => Verdict::Reject,
                _ if clear => Verdict::Cut(at),
                _ => Verdict::Wait,
            };
        }
        match self.kind {
            // "「好！」，他說": the comma stays with what it follows.
            Kind::Wide if "，、：,".contains(c) => {
                self.end = at;
                Verdict::Wait
            }
            Kind::Wide => Verdict::Cut(self.end),
            Kind::Bang if is_cjk(c) && !"，、：".contains(c) => Verdict::Cut(self.end),
            Kind::Period if is_cjk(c) && !"，、：".contains(c) && self.meaning == Stop::Ends => {
                Verdict::Cut(self.end)
            }
            _ => Verdict::Reject,
        }
    }

    fn after_space(&mut self, c: char, at: usize) -> Verdict {
        if c.is_whitespace() && self.next.is_empty() {
            self.end = at;
            return Verdict::Wait;
        }
        if self.kind == Kind::Period && !self.closed {
            return self.by_next_word(c);
        }
        let ends = match self.kind {
            Kind::Dots => c.is_uppercase() || is_cjk(c) || c.is_numeric() || is_opener(c),
            _ => !c.is_lowercase(),
        };
        if ends { Verdict::Cut(self.end) } else { Verdict::Reject }
    }

    fn by_next_word(&mut self, c: char) -> Verdict {
        if is_cjk(c) {
            return Verdict::Cut(self.end);
        }
        match self.meaning {
            Stop::Never => Verdict::Reject,
            Stop::Ends => Verdict::Cut(self.end),
            Stop::UnlessNumber if c.is_numeric() => Verdict::Reject,
            Stop::UnlessNumber => Verdict::Cut(self.end),
            Stop::IfCapital if c.is_uppercase() || is_opener(c) => Verdict::Cut(self.end),
            Stop::IfCapital => Verdict::Reject,
            Stop::IfStarter if self.next.is_empty() && is_opener(c) => Verdict::Cut(self.end),
            Stop::IfStarter if c.is_alphanumeric() && self.next.chars().count() < NEXT_WORD_MAX => {
                self.next.push(c);
                if self.next.starts_with(char::is_uppercase) { Verdict::Wait } else { Verdict::Reject }
            }
            Stop::IfStarter => {
                let initial = c == '.' && self.next.chars().count() == 1;
                let starts = abbreviations::is_starter(&self.next) && !initial;
                if starts { Verdict::Cut(self.end) } else { Verdict::Reject }
            }
        }
    }
}

/// `before` is the last said character, which tells a Chinese ellipsis from an English one.
fn stop_kind(c: char, before: Option<char>) -> Option<Kind> {
    Some(match c {
        '。' | '！' | '？' | '；' | '｡' | '．' => Kind::Wide,
        '!' | '?' | '‼' | '⁉' | '⁇' => Kind::Bang,
        '.' => Kind::Period,
        '…' if before.is_some_and(is_cjk) => Kind::Wide,
        '…' => Kind::Dots,
        _ => return None,
    })
}
