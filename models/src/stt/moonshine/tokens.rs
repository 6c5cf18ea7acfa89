//! Moonshine's vocabulary: `tokenizer.bin`, one entry a token in order of its number.
//!
//! An entry is a length and so many bytes. The length is one byte, or two when the first is 128 or more: low + 128 × (next − 1).
//! The bytes are UTF-8 in which U+2581 stands for a space, or a single raw byte of a character that has no token of its own.

use std::path::Path;

use crate::error::EngineError;
use crate::onnx::{corrupt, readable};

/// Begins every transcript.
pub const START: i64 = 1;
/// Ends every transcript.
pub const END: i64 = 2;
/// `<unk>`, `<s>`, `</s>`.
const CONTROL_TOKENS: usize = 3;

pub struct Vocabulary(Vec<Box<[u8]>>);

impl Vocabulary {
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let found = readable(path, "the tokenizer of Moonshine")?;
        let bytes = std::fs::read(&found).map_err(|error| corrupt(&found, error))?;
        Self::parse(&bytes).ok_or_else(|| corrupt(&found, "it is not a tokenizer, or it is cut short"))
    }

    /// Reads the whole file; `None` if it is not one.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut tokens: Vec<Box<[u8]>> = Vec::new();
        while let Some((&low, rest)) = bytes.split_first() {
            let (length, rest) = match low {
                0..=127 => (usize::from(low), rest),
                _ => {
                    let (&high, rest) = rest.split_first()?;
                    ((usize::from(low) + 128 * usize::from(high)).checked_sub(128)?, rest)
                }
            };
            let (token, rest) = rest.split_at_checked(length)?;
            tokens.push(token.into());
            bytes = rest;
        }
        let is = |token: i64, text: &[u8]| tokens.get(token as usize).is_some_and(|found| **found == *text);
        (is(START, b"<s>") && is(END, b"</s>")).then_some(Self(tokens))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of `tokens`, trimmed. Control and style tokens (`<<ST_n>>`) have none.
    pub fn text(&self, tokens: &[i64]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .filter_map(|token| usize::try_from(*token).ok().filter(|token| *token >= CONTROL_TOKENS))
            .filter_map(|token| self.0.get(token))
            .filter(|token| !token.starts_with(b"<<ST_"))
            .flat_map(|token| token.iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).replace('\u{2581}', " ").trim().to_owned()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SMALL: &[u8] = b"\x05<unk>\x03<s>\x04</s>\x04\xe2\x96\x81a\x02bc\x01\xc3\x01\xa9\x08<<ST_1>>";

    #[test]
    fn words_are_joined_and_spaces_are_spaces() {
        let vocabulary = Vocabulary::parse(SMALL).unwrap();
        assert_eq!(vocabulary.text(&[START, 3, 4, 3, END]), "abc a");
    }

    #[test]
    fn a_character_made_of_raw_bytes_is_whole() {
        assert_eq!(Vocabulary::parse(SMALL).unwrap().text(&[5, 6]), "é");
    }

    #[test]
    fn a_token_that_does_not_exist_is_skipped() {
        assert_eq!(Vocabulary::parse(SMALL).unwrap().text(&[-1, 4, 7, 99_999]), "bc");
    }

    #[test]
    fn a_long_token_has_a_length_of_two_bytes() {
        let mut bytes = SMALL.to_vec();
        bytes.extend([130, 2]);
        bytes.extend([b'x'; 258]);
        assert_eq!(Vocabulary::parse(&bytes).unwrap().text(&[8]).len(), 258);
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        assert!(Vocabulary::parse(&SMALL[..SMALL.len() - 1]).is_none());
        assert!(Vocabulary::parse(b"").is_none());
        assert!(Vocabulary::parse(&[0x80]).is_none());
        assert!(Vocabulary::parse(&[0x80, 0]).is_none());
    }
}
