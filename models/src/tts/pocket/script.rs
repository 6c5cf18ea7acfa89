//! A text as the model wants it: one or a few sentences at a time, begun with a capital and ended with a stop, in the characters that
//! its training texts had.

use super::config::Config;
use super::tokens::Tokens;
use crate::error::EngineError;
use crate::tts::check_text;

/// Tokens of one piece; the model was trained on single sentences and skips words of longer ones.
const PIECE_TOKENS: usize = 50;
/// Longest text, in characters: some twenty minutes of speech.
pub(super) const TEXT_MAX: usize = 20_000;
/// Ends of sentences.
const STOPS: [char; 4] = ['.', '!', '?', '…'];
const PAUSES: [char; 3] = [',', ';', ':'];
const DASHES: [char; 6] = [',', ';', ':', '-', '–', '—'];
const CLOSERS: [char; 7] = ['"', '\'', '”', '’', ')', ']', '»'];
/// Frames spoken on after the end is heard, to let the last sound fade: more after a few words than after many.
const FRAMES_AFTER_FEW_WORDS: usize = 5;
const FRAMES_AFTER_WORDS: usize = 3;
const FEW_WORDS: usize = 4;

/// One piece of a text, ready to be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub text: String,
    /// Frames to go on for after the end is heard.
    pub frames_after_end: usize,
}

/// Refuses what this model has no sounds for; `voice` is named in the error.
pub(super) fn check(text: &str, voice: &str) -> Result<(), EngineError> {
    check_text(text, TEXT_MAX)?;
    let spoken = text.chars().filter(|c| c.is_alphanumeric()).count();
    let latin = text.chars().filter(|c| c.is_alphanumeric() && is_latin(*c)).count();
    if 2 * latin <= spoken {
        return Err(EngineError::BadRequest(format!(
            "the voice {voice} speaks English only and cannot say this text; choose a voice for its language"
        )));
    }
    Ok(())
}

/// Letters up to the end of Latin Extended-B, and digits.
fn is_latin(c: char) -> bool {
    c < '\u{250}'
}

/// `text` in pieces of at most [`PIECE_TOKENS`], cut at sentences, else at pauses, else between words, else anywhere.
pub(super) fn pieces(text: &str, tokens: &Tokens, config: &Config) -> Result<Vec<String>, EngineError> {
    let text = clean(text, config);
    let mut parts = Vec::new();
    for sentence in cut_after(&text, &STOPS) {
        if tokens.encode(sentence)?.len() <= PIECE_TOKENS {
            parts.push(sentence);
            continue;
        }
        for clause in cut_after(sentence, &PAUSES) {
            if tokens.encode(clause)?.len() <= PIECE_TOKENS {
                parts.push(clause);
                continue;
            }
            for word in clause.split_inclusive(' ') {
                if tokens.encode(word)?.len() <= PIECE_TOKENS {
                    parts.push(word);
                } else {
                    parts.extend(shreds(word));
                }
            }
        }
    }
    let mut pieces: Vec<String> = Vec::new();
    let mut held = 0;
    for part in parts {
        let count = tokens.encode(part)?.len();
        match pieces.last_mut() {
            Some(piece) if held + count <= PIECE_TOKENS => {
                piece.push_str(part);
                held += count;
            }
            _ => {
                pieces.push(part.to_owned());
                held = count;
            }
        }
    }
    pieces.retain(|piece| piece.chars().any(char::is_alphanumeric));
    Ok(pieces)
}

/// What nobody can say as one word, in bits that are surely short enough: a character is at most four tokens.
fn shreds(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(PIECE_TOKENS / 4).map_or(rest.len(), |(at, _)| at);
        let (shred, others) = rest.split_at(end);
        rest = others;
        (!shred.is_empty()).then_some(shred)
    })
}

/// `text` cut after each of `marks` that a space follows; the parts make up the whole.
fn cut_after<'a>(text: &'a str, marks: &[char]) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(space) = rest.get(from..).and_then(|tail| tail.find(' ')).map(|at| from + at) {
        let (head, tail) = rest.split_at(space + 1);
        if head.trim_end().trim_end_matches(CLOSERS).ends_with(marks) {
            parts.push(head);
            rest = tail;
            from = 0;
        } else {
            from = space + 1;
        }
    }
    if !rest.trim().is_empty() {
        parts.push(rest);
    }
    parts
}

/// The characters the model knows, single spaces between words.
fn clean(text: &str, config: &Config) -> String {
    let mut replaced = String::with_capacity(text.len());
    for c in text.chars() {
        match config.replace_characters.get(&c) {
            Some(other) => replaced.push_str(other),
            None if config.remove_semicolons && c == ';' => replaced.push(','),
            None => replaced.push(c),
        }
    }
    let mut cleaned = String::with_capacity(replaced.len());
    for word in replaced.split_whitespace() {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
    }
    if config.replace_characters.is_empty() { cleaned } else { without_stray_pauses(&cleaned) }
}

/// A comma right after the end of a sentence is what is left of a quotation; the end says more.
fn without_stray_pauses(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        if PAUSES.contains(&c) && kept.trim_end().ends_with(STOPS) {
            kept.truncate(kept.trim_end().len());
        } else {
            kept.push(c);
        }
    }
    kept
}

/// One of [`pieces`] in its final form; `None` if nothing is left of it.
pub(super) fn finish(piece: &str, config: &Config) -> Option<Piece> {
    let text = clean(piece, config);
    let words = text.split_whitespace().count();
    let first = text.chars().next()?;
    let mut text = match first.is_uppercase() {
        true => text,
        false => first.to_uppercase().chain(text.chars().skip(1)).collect(),
    };
    end_with_a_stop(&mut text);
    if config.pad_with_spaces_for_short_inputs && words <= FEW_WORDS {
        text.insert_str(0, "        ");
    }
    let usual = if words <= FEW_WORDS { FRAMES_AFTER_FEW_WORDS } else { FRAMES_AFTER_WORDS };
    Some(Piece { text, frames_after_end: config.model_recommended_frames_after_eos.unwrap_or(usual) })
}

fn end_with_a_stop(text: &mut String) {
    let is_closing = |c: char| c == ' ' || CLOSERS.contains(&c);
    let core = text.trim_end_matches(is_closing);
    if core.is_empty() || core.ends_with(STOPS) {
        return;
    }
    if !core.ends_with(DASHES) {
        text.push('.');
        return;
    }
    let closers = text.get(core.len()..).unwrap_or_default().trim().to_owned();
    let kept = core.trim_end_matches(|c: char| c == ' ' || DASHES.contains(&c)).len();
    text.truncate(kept);
    text.push('.');
    text.push_str(&closers);
}
