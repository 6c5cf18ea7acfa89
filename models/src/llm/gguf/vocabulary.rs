//! The two kinds of tokenizer that chat models come with, built from the vocabulary in the file: byte-level BPE with the merges
//! and the cutting rule of its model, and SentencePiece's BPE, whose merges follow from scores.

use std::collections::HashMap;

use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers, unicode::NFC};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::file::{Flaw, GgufFile, Metadata};

/// How SentencePiece writes a space.
pub(super) const SPACE: &str = "\u{2581}";
/// Pieces longer than this, in bytes, are made of no merges: no real one is, and splitting them takes the square of it.
const PIECE_LIMIT: usize = 256;

const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A rule by which text is cut before merging.
struct Rule {
    /// llama.cpp's names for it (`llama-vocab.cpp`).
    names: &'static [&'static str],
    cut: Cut,
    /// A word that is a token as a whole is not merged up to.
    ignores_merges: bool,
    composes: bool,
}

enum Cut {
    Words,
    DigitsThenWords,
    Regex(&'static str),
}

const RULES: [Rule; 7] = [
    Rule { names: &["gpt-2", "gpt2", "phi-2", "olmo"], cut: Cut::Words, ignores_merges: false, composes: false },
    Rule {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        cut: Cut::DigitsThenWords,
        ignores_merges: false,
        composes: false,
    },
    Rule { names: &["qwen2", "deepseek-r1-qwen"], cut: Cut::Regex(QWEN2), ignores_merges: false, composes: true },
    Rule {
        names: &["llama3", "llama-v3", "llama-bpe", "falcon3"],
        cut: Cut::Regex(LLAMA3),
        ignores_merges: true,
        composes: false,
    },
    Rule { names: &["dbrx", "smaug-bpe"], cut: Cut::Regex(LLAMA3), ignores_merges: false, composes: false },
    Rule { names: &["gpt-4o", "llama4"], cut: Cut::Regex(GPT4O), ignores_merges: false, composes: false },
    Rule { names: &["tekken"], cut: Cut::Regex(TEKKEN), ignores_merges: true, composes: false },
];

fn unbuilt(error: impl std::fmt::Display) -> Flaw {
    format!("its tokenizer cannot be built: {error}")
}

fn vocabulary(texts: &[String]) -> Vocab {
    (0u32..).zip(texts).map(|(id, text)| (text.clone(), id)).collect()
}

/// Byte-level BPE, without its added tokens.
pub(super) fn byte_level(file: &GgufFile, texts: &[String]) -> Result<Tokenizer, Flaw> {
    let pre = file.text("tokenizer.ggml.pre")?;
    let rule = RULES.iter().find(|rule| rule.names.contains(&pre)).ok_or_else(|| {
        let known: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
        format!("its pre-tokenizer is `{pre}`; supported are {}", known.join(", "))
    })?;
    let merges = file
        .texts("tokenizer.ggml.merges")?
        .iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(format!("its merge `{merge}` is not a pair")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary(texts), merges)
        .ignore_merges(rule.ignores_merges)
        .build()
        .map_err(|error| format!("its merges do not fit its vocabulary: {error}"))?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(&rule.cut)?));
    if rule.composes {
        tokenizer.with_normalizer(Some(NFC)).map_err(unbuilt)?;
    }
    Ok(tokenizer)
}

fn pre_tokenizer(cut: &Cut) -> Result<PreTokenizerWrapper, Flaw> {
    let words = || ByteLevel::new(false, true, true);
    Ok(match cut {
        Cut::Words => words().into(),
        Cut::DigitsThenWords => Sequence::new(vec![Digits::new(true).into(), words().into()]).into(),
        Cut::Regex(regex) => {
            let split = Split::new(SplitPattern::Regex((*regex).into()), Isolated, false).map_err(unbuilt)?;
            Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into()
        }
    })
}

/// SentencePiece's BPE, without its added tokens: `unknown` stands for what has no piece and no byte.
pub(super) fn pieces(file: &GgufFile, texts: &[String], unknown: Option<&String>) -> Result<Tokenizer, Flaw> {
    let scores = match file.metadata.get("tokenizer.ggml.scores") {
        Some(Metadata::Floats(scores)) if scores.len() == texts.len() => scores,
        Some(_) => return Err("`tokenizer.ggml.scores` is not a number for each token".into()),
        None => return Err("it has no `tokenizer.ggml.scores`".into()),
    };
    let mut bpe =
        BPE::builder().vocab_and_merges(vocabulary(texts), merges(texts, scores)).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = unknown {
        bpe = bpe.unk_token(unknown.clone());
    }
    let mut tokenizer = Tokenizer::new(bpe.build().map_err(unbuilt)?);
    let spaces = Replace::new(" ", SPACE).map_err(unbuilt)?;
    let mut steps: Vec<NormalizerWrapper> = vec![spaces.into()];
    if prefixes_space(file) {
        steps.insert(0, Prepend::new(SPACE.into()).into());
    }
    tokenizer.with_normalizer(Some(Normalizers::new(steps))).map_err(unbuilt)?;
    Ok(tokenizer)
}

/// Whether a text is read as if a space stood before it.
pub(super) fn prefixes_space(file: &GgufFile) -> bool {
    file.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true)
}

/// The pairs that make up pieces, best score first; the order among equals is that of `transformers`' converter.
fn merges(texts: &[String], scores: &[f32]) -> Vec<(String, String)> {
    let ids: HashMap<&str, usize> = texts.iter().enumerate().map(|(id, text)| (text.as_str(), id)).collect();
    let mut merges: Vec<(f32, &str, &str)> = Vec::new();
    for (text, score) in texts.iter().zip(scores).filter(|(text, _)| text.len() <= PIECE_LIMIT) {
        let splits = text.char_indices().skip(1).filter_map(|(at, _)| text.split_at_checked(at));
        let mut pairs: Vec<_> =
            splits.filter_map(|(left, right)| Some((ids.get(left)?, ids.get(right)?, left, right))).collect();
        pairs.sort_by_key(|(left, right, _, _)| (*left, *right));
        merges.extend(pairs.into_iter().map(|(_, _, left, right)| (*score, left, right)));
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(length(b.1).cmp(&length(a.1))).then(length(b.2).cmp(&length(a.2))));
    merges.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}
