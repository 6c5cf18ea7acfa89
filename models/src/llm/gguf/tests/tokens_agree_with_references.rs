//! Texts in many scripts become the tokens that Hugging Face's `tokenizers` and Google's `sentencepiece` make of them, and come
//! back as they were (`scripts/parity/llm/tokenizers_reference.py`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::super::file::Metadata;
use super::*;

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    /// Ids of each text, by cutting rule, and by whether a space stands before texts.
    bytes: BTreeMap<String, Vec<Vec<u32>>>,
    pieces: BTreeMap<String, Vec<Vec<u32>>>,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/llm"))
}

fn reference() -> Reference {
    serde_json::from_slice(&std::fs::read(folder().join("tokens.json")).unwrap()).unwrap()
}

fn spelled(tokens: &Tokens, ids: &[u32]) -> String {
    let mut spelling = tokens.spelling();
    ids.iter().map(|&id| spelling.push(tokens, id)).collect()
}

fn compare(name: &str, tokens: &Tokens, texts: &[String], expected: &[Vec<u32>]) {
    assert_eq!(texts.len(), expected.len());
    let mut wrong = Vec::new();
    for (text, expected) in texts.iter().zip(expected) {
        let ids = tokens.encode(text).unwrap();
        if &ids != expected {
            wrong.push(format!("{text:?}: {:?}", ids.iter().zip(expected).position(|(a, b)| a != b)));
        }
    }
    assert!(wrong.is_empty(), "{name}: {} of {}: {wrong:#?}", wrong.len(), texts.len());
}

#[test]
fn bytes_are_cut_by_each_models_rule() {
    let Reference { texts, bytes, .. } = reference();
    assert_eq!(bytes.len(), 7);
    for (pre, expected) in bytes {
        let mut file = GgufFile::open(&folder().join("bytes.gguf")).unwrap();
        file.metadata.insert("tokenizer.ggml.pre".into(), Metadata::Text(pre.clone()));
        let tokens = Tokens::read(&file).unwrap();
        compare(&pre, &tokens, &texts, &expected);
        for text in texts.iter().filter(|text| pre != "qwen2" && !text.contains("<|im_")) {
            assert_eq!(&spelled(&tokens, &tokens.encode(text).unwrap()), text, "{pre}");
        }
    }
}

#[test]
fn pieces_are_merged_by_score_and_fall_back_to_bytes() {
    let Reference { texts, pieces, .. } = reference();
    assert_eq!(pieces.len(), 2);
    for (name, expected) in pieces {
        let file = GgufFile::open(&folder().join(format!("pieces-{name}.gguf"))).unwrap();
        let tokens = Tokens::read(&file).unwrap();
        compare(&name, &tokens, &texts, &expected);
        let is_kept = |text: &&String| !text.contains("<|im_") && !text.contains('\u{2581}');
        for text in texts.iter().filter(is_kept) {
            assert_eq!(&spelled(&tokens, &tokens.encode(text).unwrap()), text, "{name}");
        }
    }
}

#[test]
fn phi_3_takes_the_blanks_after_its_control_tokens_away() {
    let mut file = GgufFile::open(&folder().join("pieces-spaced.gguf")).unwrap();
    let encode = |file: &GgufFile, text: &str| Tokens::read(file).unwrap().encode(text).unwrap();
    assert_ne!(encode(&file, "<|im_start|>\nHello"), encode(&file, "<|im_start|>Hello"));
    file.metadata.insert("general.architecture".into(), Metadata::Text("phi3".into()));
    assert_eq!(encode(&file, "<|im_start|>\nHello"), encode(&file, "<|im_start|>Hello"));
}

#[test]
fn a_beginning_that_the_file_demands_stands_before_the_prompt_once() {
    let mut file = GgufFile::open(&folder().join("pieces-plain.gguf")).unwrap();
    let plain = Tokens::read(&file).unwrap().encode("Hello").unwrap();
    file.metadata.insert("tokenizer.ggml.add_bos_token".into(), Metadata::Bool(true));
    let tokens = Tokens::read(&file).unwrap();
    let demanded = tokens.encode("Hello").unwrap();
    assert_eq!(demanded[1..], plain);
    assert_eq!(tokens.encode(&format!("{}Hello", tokens.bos)).unwrap(), demanded);
}
