//! A SentencePiece model file: the few fields of its protocol buffer that say how text is cut.
//!
//! Source: `sentencepiece_model.proto` of the SentencePiece project. Unigram models only; unknown fields are skipped, and every length
//! is checked against what is left of the file.

use super::weights::Flaw;

/// The largest vocabulary that is read.
const PIECES_MAX: usize = 1 << 18;
/// Longest piece, in bytes.
const PIECE_BYTES_MAX: usize = 512;

const KIND_UNKNOWN: u64 = 2;
const KIND_CONTROL: u64 = 3;

/// What a model file says.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Pieces with their log probabilities, by id. Control pieces, which no text becomes, are behind a NUL.
    pub vocabulary: Vec<(String, f64)>,
    pub unknown: usize,
    /// Unknown characters become the pieces of their bytes.
    pub bytes: bool,
    /// A space is put before the text.
    pub prefix: bool,
    /// Runs of spaces, and spaces at the edges, are dropped.
    pub trims: bool,
    /// Characters are replaced by their compatible forms (NFKC).
    pub compatible: bool,
}

impl Pieces {
    pub fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        // Defaults of the format.
        let mut pieces =
            Self { vocabulary: Vec::new(), unknown: 0, bytes: false, prefix: true, trims: true, compatible: false };
        let mut unknown = None;
        let mut kind = 1;
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => {
                    let (text, score, kind) = read_piece(piece)?;
                    if pieces.vocabulary.len() >= PIECES_MAX {
                        return Err(format!("it has more than {PIECES_MAX} pieces"));
                    }
                    if kind == KIND_UNKNOWN {
                        unknown = Some(pieces.vocabulary.len());
                    }
                    let text = if kind == KIND_CONTROL { format!("\0{text}") } else { text };
                    pieces.vocabulary.push((text, score));
                }
                (2, Value::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        match field? {
                            (3, Value::Number(number)) => kind = number,
                            (35, Value::Number(number)) => pieces.bytes = number != 0,
                            _ => {}
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => pieces.read_normalizer(normalizer)?,
                _ => {}
            }
        }
        if kind != 1 {
            return Err("it is a SentencePiece model, but not of the unigram kind".into());
        }
        pieces.unknown = unknown.ok_or("it has no piece for what is unknown; it is no SentencePiece model")?;
        Ok(pieces)
    }

    fn read_normalizer(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(name)) => {
                    self.compatible = match name {
                        b"identity" | b"" => false,
                        b"nmt_nfkc" | b"nfkc" => true,
                        other => {
                            let other = String::from_utf8_lossy(other);
                            return Err(format!("its text normalisation {other:?} is not supported"));
                        }
                    }
                }
                (3, Value::Number(number)) => self.prefix = number != 0,
                (4, Value::Number(number)) => self.trims = number != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Text, log probability and kind of one piece.
fn read_piece(bytes: &[u8]) -> Result<(String, f64, u64), Flaw> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) if bytes.len() <= PIECE_BYTES_MAX => {
                text = std::str::from_utf8(bytes).map_err(|_| "one of its pieces is not text")?;
            }
            (1, _) => return Err("one of its pieces is no text, or far too long".into()),
            (2, Value::Word(word)) => score = f32::from_bits(word),
            (3, Value::Number(number)) => kind = number,
            _ => {}
        }
    }
    if !score.is_finite() {
        return Err("one of its pieces has a score that is not finite".into());
    }
    Ok((text.to_owned(), f64::from(score), kind))
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Word(u32),
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => {
                self.take(8)?;
                Value::Number(0)
            }
            2 => {
                let count = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(count)?)
            }
            5 => Value::Word(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| "it is truncated, or no SentencePiece model".to_owned());
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
