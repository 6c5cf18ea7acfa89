//! Text to the model's tokens: a `tokenizer.json`, or a SentencePiece model, as the reference package has either.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NFKC, NormalizerWrapper, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use super::sentencepiece::Pieces;
use super::weights::{Flaw, corrupt};
use crate::error::EngineError;

/// The largest of the released files has 400 kB.
const FILE_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Tokens {
    tokenizer: Tokenizer,
}

impl Tokens {
    /// Reads the file, which must have exactly `vocabulary` tokens.
    pub fn open(path: &Path, vocabulary: usize) -> Result<Self, EngineError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => EngineError::Missing {
                what: "the voice model's tokenizer".into(),
                path: path.into(),
                hint: "fetch it with `avatar models pull`".into(),
            },
            _ => corrupt(path, &error.to_string()),
        })?;
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| corrupt(path, &error.to_string()))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(corrupt(path, "it is far too large for a tokenizer"));
        }
        Self::read(&bytes, vocabulary).map_err(|flaw| corrupt(path, &flaw))
    }

    /// Of a file's bytes, JSON or SentencePiece.
    pub fn read(bytes: &[u8], vocabulary: usize) -> Result<Self, Flaw> {
        let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let tokenizer = if is_json {
            Tokenizer::from_bytes(bytes).map_err(|error| format!("it cannot be read as a tokenizer: {error}"))?
        } else {
            of_pieces(Pieces::read(bytes)?)?
        };
        let count = tokenizer.get_vocab_size(true);
        if count != vocabulary {
            return Err(format!("it has {count} tokens and the model {vocabulary}"));
        }
        Ok(Self { tokenizer })
    }

    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let encoded = self.tokenizer.encode(text, true).map_err(|error| EngineError::Failed {
            engine: super::ENGINE,
            reason: format!("the text could not be cut into tokens: {error}"),
        })?;
        Ok(encoded.get_ids().to_vec())
    }
}

/// SentencePiece's unigram model in the words of the `tokenizers` crate.
fn of_pieces(pieces: Pieces) -> Result<Tokenizer, Flaw> {
    let said = |error: tokenizers::Error| error.to_string();
    let spaces = |pattern: &str| {
        let pattern = ReplacePattern::Regex(pattern.into());
        Replace::new(pattern, " ").map(NormalizerWrapper::from).map_err(said)
    };
    let model = Unigram::from(pieces.vocabulary, Some(pieces.unknown), pieces.bytes).map_err(said)?;
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if pieces.compatible {
        normalizers.push(NFKC.into());
        normalizers.push(spaces(r"\s")?);
    }
    if pieces.trims {
        normalizers.push(Strip::new(true, true).into());
        normalizers.push(spaces(" {2,}")?);
    }
    let prepend = if pieces.prefix { PrependScheme::Always } else { PrependScheme::Never };
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Sequence::new(normalizers))).map_err(said)?;
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', prepend, false)));
    Ok(tokenizer)
}
