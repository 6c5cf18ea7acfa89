//! The tokenizer, built from the GGUF's own vocabulary: byte-level BPE, and text back from tokens as whole characters.

use std::collections::{HashMap, HashSet};

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::file::{Flaw, GgufFile};

const VOCABULARY_LIMIT: usize = 1 << 20;
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Control tokens that end a message, whatever the metadata says; chat models disagree on which of them is "EOS".
const ENDS_OF_TURN: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>"];

/// How tokens stand in `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// What each token says, as bytes; empty for control tokens.
    bytes: Vec<Box<[u8]>>,
    control: Vec<bool>,
    /// How control tokens are written.
    control_texts: Vec<String>,
    ends: HashSet<u32>,
    /// `bos_token` and `eos_token`, as the chat template calls them.
    pub bos: String,
    pub eos: String,
}

impl Tokens {
    pub fn read(file: &GgufFile) -> Result<Self, Flaw> {
        let model = file.text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(format!("its tokenizer is of the kind `{model}`; only byte-level BPE (`gpt2`) is supported"));
        }
        let pre = file.text("tokenizer.ggml.pre")?;
        let texts = file.texts("tokenizer.ggml.tokens")?;
        let kinds = file.integers("tokenizer.ggml.token_type").unwrap_or(&[]);
        if texts.is_empty() || texts.len() > VOCABULARY_LIMIT || (!kinds.is_empty() && kinds.len() != texts.len()) {
            return Err(format!("its vocabulary has {} tokens and {} token types", texts.len(), kinds.len()));
        }
        let kind = |id: usize| kinds.get(id).copied().unwrap_or(1);
        let bpe = byte_pairs(file, texts, pre)?;
        let mut tokenizer = Tokenizer::new(bpe);
        let words = |error: tokenizers::Error| format!("its tokenizer cannot be built: {error}");
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer(pre)?));
        if pre.contains("qwen2") {
            tokenizer.with_normalizer(Some(NFC)).map_err(words)?;
        }
        let added = texts.iter().enumerate().filter(|(id, text)| is_added(kind(*id)) && !text.is_empty());
        tokenizer
            .add_tokens(added.map(|(id, text)| AddedToken::from(text.clone(), kind(id) == CONTROL).normalized(false)))
            .map_err(words)?;

        let alphabet = byte_alphabet();
        let bytes = texts.iter().enumerate().map(|(id, text)| match kind(id) {
            CONTROL => Box::default(),
            USER_DEFINED => text.as_bytes().into(),
            _ => spoken_bytes(text, &alphabet),
        });
        let control: Vec<bool> = (0..texts.len()).map(|id| kind(id) == CONTROL).collect();
        let id_of = |key: &str| file.count(key, 0..=texts.len() - 1);
        let mut ends: HashSet<u32> = HashSet::new();
        for key in ["eos", "eot", "eom"] {
            ends.extend(id_of(&format!("tokenizer.ggml.{key}_token_id"))?.map(|id| id as u32));
        }
        let named = texts.iter().enumerate().filter(|(id, text)| control[*id] && ENDS_OF_TURN.contains(&text.as_str()));
        ends.extend(named.map(|(id, _)| id as u32));
        if ends.is_empty() {
            return Err("it names no token that ends a message (`tokenizer.ggml.eos_token_id`)".into());
        }
        let text_of = |key: &str| Ok::<_, Flaw>(id_of(key)?.and_then(|id| texts.get(id)).cloned().unwrap_or_default());
        Ok(Self {
            tokenizer,
            bytes: bytes.collect(),
            control_texts: texts
                .iter()
                .zip(&control)
                .filter(|(text, is)| **is && !text.is_empty())
                .map(|(text, _)| text.clone())
                .collect(),
            control,
            ends,
            bos: text_of("tokenizer.ggml.bos_token_id")?,
            eos: text_of("tokenizer.ggml.eos_token_id")?,
        })
    }

    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens of a prompt in which control tokens are written out; nothing is added to it.
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>, Flaw> {
        let encoding = self
            .tokenizer
            .encode_fast(prompt, false)
            .map_err(|error| format!("the prompt cannot be tokenised: {error}"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// `text` without anything that would be read as a control token: what somebody says must not forge a turn.
    pub fn defused(&self, text: &str) -> String {
        let mut text = text.to_owned();
        while let Some(forged) = self.control_texts.iter().find(|control| text.contains(control.as_str())) {
            text = text.replace(forged.as_str(), "");
        }
        text
    }

    pub fn is_control(&self, token: u32) -> bool {
        self.control.get(token as usize).copied().unwrap_or(false)
    }

    pub fn ends_turn(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}

/// Turns tokens into text as they come, whole characters only.
#[derive(Default)]
pub(super) struct Spelling {
    pending: Vec<u8>,
}

impl Spelling {
    /// The characters that `token` completes; what is no UTF-8 comes as U+FFFD.
    pub fn push(&mut self, tokens: &Tokens, token: u32) -> String {
        if let Some(bytes) = tokens.bytes.get(token as usize) {
            self.pending.extend_from_slice(bytes);
        }
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(broken) = error.error_len() else {
                        self.pending = rest.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending = rest[broken..].to_vec();
                }
            }
        }
    }
}

fn is_added(kind: i64) -> bool {
    matches!(kind, CONTROL | USER_DEFINED)
}

fn byte_pairs(file: &GgufFile, texts: &[String], pre: &str) -> Result<BPE, Flaw> {
    let vocabulary: HashMap<String, u32> = (0u32..).zip(texts).map(|(id, text)| (text.clone(), id)).collect();
    let merges = file
        .texts("tokenizer.ggml.merges")?
        .iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(format!("its merge `{merge}` is not a pair")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    // The cache keeps words of every caller: small, so that it is cheap to fill and forgets soon.
    BPE::builder()
        .vocab_and_merges(
            vocabulary.into_iter().collect::<Vec<_>>().into_iter().collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        )
        .ignore_merges(is_llama3(pre))
        .build()
        .map_err(|error| format!("its merges do not fit its vocabulary: {error}"))
}

fn is_llama3(pre: &str) -> bool {
    matches!(pre, "llama3" | "llama-v3" | "llama-bpe")
}

/// The rule by which text is cut before merging; llama.cpp's names for them (`llama-vocab.cpp`).
fn pre_tokenizer(pre: &str) -> Result<PreTokenizerWrapper, Flaw> {
    let by_regex = |regex: &str| {
        let split = Split::new(SplitPattern::Regex(regex.into()), SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| format!("its pre-tokenizer cannot be built: {error}"))?;
        Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into())
    };
    match pre {
        "smollm" => Ok(Sequence::new(vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()]).into()),
        "gpt-2" | "gpt2" => Ok(ByteLevel::new(false, true, true).into()),
        "qwen2" | "deepseek-r1-qwen" => by_regex(QWEN2),
        _ if is_llama3(pre) || pre == "smaug-bpe" => by_regex(LLAMA3),
        _ => Err(format!("its pre-tokenizer is `{pre}`; supported are smollm, gpt-2, qwen2 and llama-bpe")),
    }
}

/// GPT-2's way of writing bytes as printable characters, backwards.
fn byte_alphabet() -> HashMap<char, u8> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut stand_ins = (0x100u32..).filter_map(char::from_u32);
    (0..=u8::MAX)
        .filter_map(|byte| {
            let written = if is_printable(byte) { Some(char::from(byte)) } else { stand_ins.next() };
            written.map(|character| (character, byte))
        })
        .collect()
}

fn spoken_bytes(text: &str, alphabet: &HashMap<char, u8>) -> Box<[u8]> {
    let mut buffer = [0; 4];
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match alphabet.get(&character) {
            Some(byte) => bytes.push(*byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{Draft, END, START, on_disk};
    use super::*;

    fn tokens() -> Tokens {
        let file = on_disk(&Draft::new("llama").bytes());
        Tokens::read(&GgufFile::open(file.path()).unwrap()).unwrap()
    }

    #[test]
    fn a_character_comes_whole_or_not_yet() {
        let tokens = tokens();
        let mut spelling = Spelling::default();
        let pieces: Vec<String> = "a好😀".bytes().map(|byte| spelling.push(&tokens, byte.into())).collect();
        assert_eq!(pieces, ["a", "", "", "好", "", "", "", "😀"]);
    }

    #[test]
    fn broken_bytes_do_not_hold_up_what_follows() {
        let tokens = tokens();
        let mut spelling = Spelling::default();
        assert_eq!(spelling.push(&tokens, 0xE5), "");
        assert_eq!(spelling.push(&tokens, b'x'.into()), "\u{FFFD}x");
        assert_eq!(spelling.push(&tokens, 0xFF), "\u{FFFD}");
        assert_eq!(spelling.push(&tokens, START), "", "control tokens are not text");
        assert_eq!(spelling.push(&tokens, 999_999), "");
        assert_eq!(spelling.push(&tokens, 259), "<think>", "the text filter decides about this one");
    }

    #[test]
    fn control_tokens_are_read_in_the_prompt_but_not_in_what_was_said() {
        let tokens = tokens();
        assert_eq!(tokens.encode("<|im_start|>he<|im_end|>").unwrap(), [START, 258, END]);
        assert_eq!(tokens.defused("a<|im_end|>b"), "ab");
        assert_eq!(tokens.defused("<|im_<|im_end|>end|>"), "", "also when it only comes about by cutting");
        assert!(tokens.ends_turn(END) && !tokens.ends_turn(START));
    }

    #[test]
    fn every_byte_has_its_letter() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet.get(&'Ġ'), Some(&b' '));
        assert_eq!(alphabet.get(&'Ċ'), Some(&b'\n'));
    }
}
