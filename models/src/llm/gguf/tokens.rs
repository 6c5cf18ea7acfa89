//! The tokenizer: a prompt into tokens, and text back from tokens as whole characters.
//!
//! Control tokens are read only in what the chat template writes, never in what somebody said.

use std::collections::{HashMap, HashSet};

use tokenizers::{AddedToken, Tokenizer};

use super::file::{Flaw, GgufFile};
use super::vocabulary::{SPACE, byte_level, pieces, prefixes_space};

const VOCABULARY_LIMIT: usize = 1 << 20;
/// Tokens that end a message, whatever the metadata says; chat models disagree on which of them is "EOS".
const ENDS_OF_TURN: [&str; 8] =
    ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "</s>"];
/// Phi-3's own tokenizer takes the blanks after its control tokens away, except after these.
const KEEPS_BLANKS: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// How tokens stand in `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// What each token says, as bytes; empty for control tokens.
    bytes: Vec<Box<[u8]>>,
    control: Vec<bool>,
    /// How control tokens are written.
    control_texts: Vec<String>,
    ends: HashSet<u32>,
    /// Stands before every prompt, whether the template writes it or not.
    first: Option<u32>,
    /// Texts begin with a space that nobody wrote.
    prefixes_space: bool,
    /// `bos_token` and `eos_token`, as the chat template calls them.
    pub bos: String,
    pub eos: String,
}

impl Tokens {
    pub fn read(file: &GgufFile) -> Result<Self, Flaw> {
        let model = file.text("tokenizer.ggml.model")?;
        let texts = file.texts("tokenizer.ggml.tokens")?;
        let kinds = file.integers("tokenizer.ggml.token_type").unwrap_or(&[]);
        if texts.is_empty() || texts.len() > VOCABULARY_LIMIT || (!kinds.is_empty() && kinds.len() != texts.len()) {
            return Err(format!("its vocabulary has {} tokens and {} token types", texts.len(), kinds.len()));
        }
        let kind = |id: usize| match kinds.get(id).copied() {
            Some(USER_DEFINED) if texts.get(id).is_some_and(|text| looks_like_control(text)) => CONTROL,
            kind => kind.unwrap_or(1),
        };
        let id_of = |key: &str| file.count(&format!("tokenizer.ggml.{key}_token_id"), 0..=texts.len() - 1);
        let text_of = |key: &str| Ok::<_, Flaw>(id_of(key)?.and_then(|id| texts.get(id)));
        let is_pieces = model == "llama";
        let mut tokenizer = match model {
            "gpt2" => byte_level(file, texts)?,
            "llama" => pieces(file, texts, text_of("unknown")?)?,
            other => {
                return Err(format!(
                    "its tokenizer is of the kind `{other}`; supported are byte-level BPE (`gpt2`) and SentencePiece's BPE (`llama`)"
                ));
            }
        };
        let takes_blanks = is_pieces && file.text("general.architecture") == Ok("phi3");
        let added = texts.iter().enumerate().filter_map(|(id, text)| {
            let kind = kind(id);
            let is_added = matches!(kind, CONTROL | USER_DEFINED) && !text.is_empty();
            let takes_blanks = takes_blanks && kind == CONTROL && !KEEPS_BLANKS.contains(&text.as_str());
            let token = || AddedToken::from(text.clone(), kind == CONTROL).normalized(false).rstrip(takes_blanks);
            is_added.then(token)
        });
        tokenizer.add_tokens(added).map_err(|error| format!("its tokenizer cannot be built: {error}"))?;

        let alphabet = byte_alphabet();
        let bytes = texts.iter().enumerate().map(|(id, text)| match kind(id) {
            CONTROL => Box::default(),
            UNKNOWN if is_pieces => Box::default(),
            BYTE if is_pieces => byte_of(text).into_iter().collect(),
            _ if is_pieces => text.replace(SPACE, " ").into_bytes().into(),
            USER_DEFINED => text.as_bytes().into(),
            _ => spoken_bytes(text, &alphabet),
        });
        let control: Vec<bool> = (0..texts.len()).map(|id| kind(id) == CONTROL).collect();
        let mut ends: HashSet<u32> = HashSet::new();
        for key in ["eos", "eot", "eom"] {
            ends.extend(id_of(key)?.map(|id| id as u32));
        }
        let named = texts.iter().zip(&control).enumerate();
        ends.extend(
            named
                .filter(|(_, (text, is_control))| **is_control && ENDS_OF_TURN.contains(&text.as_str()))
                .map(|(id, _)| id as u32),
        );
        if ends.is_empty() {
            return Err("it names no token that ends a message (`tokenizer.ggml.eos_token_id`)".into());
        }
        let first = id_of("bos")?.filter(|_| file.flag("tokenizer.ggml.add_bos_token") == Some(true));
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
            first: first.map(|id| id as u32),
            prefixes_space: is_pieces && prefixes_space(file),
            bos: text_of("bos")?.cloned().unwrap_or_default(),
            eos: text_of("eos")?.cloned().unwrap_or_default(),
        })
    }

    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens of a prompt in which control tokens are written out. Nothing is added to it but the beginning that the file
    /// demands, if the template has not written it.
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>, Flaw> {
        let encoding = self
            .tokenizer
            .encode_fast(prompt, false)
            .map_err(|error| format!("the prompt cannot be tokenised: {error}"))?;
        let ids = encoding.get_ids();
        let missing = self.first.filter(|first| !ids.is_empty() && ids.first() != Some(first));
        Ok(missing.into_iter().chain(ids.iter().copied()).collect())
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

    /// For the text of one reply.
    pub fn spelling(&self) -> Spelling {
        Spelling { pending: Vec::new(), skips_space: self.prefixes_space }
    }

    pub fn ends_turn(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }
}

/// Turns tokens into text as they come, whole characters only.
pub(super) struct Spelling {
    pending: Vec<u8>,
    /// The text has not begun, and the space it begins with is nobody's.
    skips_space: bool,
}

impl Spelling {
    /// The characters that `token` completes; what is no UTF-8 comes as U+FFFD.
    pub fn push(&mut self, tokens: &Tokens, token: u32) -> String {
        if let Some(bytes) = tokens.bytes.get(token as usize) {
            let skipped = usize::from(self.skips_space && bytes.starts_with(b" "));
            self.skips_space &= bytes.is_empty();
            self.pending.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
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

/// Some converters call control tokens user-defined; by their looks they are no text.
fn looks_like_control(text: &str) -> bool {
    (text.starts_with("<|") && text.ends_with("|>")) || matches!(text, "<start_of_turn>" | "<end_of_turn>")
}

/// The byte of a piece like `<0x0A>`.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
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
        let mut spelling = tokens.spelling();
        let pieces: Vec<String> = "a好😀".bytes().map(|byte| spelling.push(&tokens, byte.into())).collect();
        assert_eq!(pieces, ["a", "", "", "好", "", "", "", "😀"]);
    }

    #[test]
    fn broken_bytes_do_not_hold_up_what_follows() {
        let tokens = tokens();
        let mut spelling = tokens.spelling();
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
