//! Whatever a file holds, loading it ends in a model or in an error that says what to do; never in a panic or a huge allocation.

use super::super::{GgufModel, GgufOptions};
use super::*;
use crate::error::EngineError;

fn load(bytes: &[u8]) -> Result<GgufModel, EngineError> {
    let file = on_disk(bytes);
    GgufModel::load(file.path(), &GgufOptions::default(), &|_| {})
}

fn refusal(bytes: &[u8]) -> String {
    load(bytes).err().expect("the file should be refused").to_string()
}

#[test]
fn a_sound_file_loads() {
    assert!(load(&Draft::new("llama").bytes()).is_ok());
}

#[test]
fn a_file_that_is_not_there_says_how_to_get_it() {
    let error = GgufModel::load(std::path::Path::new("/nowhere/model.gguf"), &GgufOptions::default(), &|_| {});
    assert!(error.err().is_some_and(|error| error.to_string().contains("models pull")));
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let bytes = Draft::new("llama").bytes();
    for length in (0..bytes.len()).step_by(997).chain([bytes.len() - 40]) {
        assert!(load(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let sound = || Draft::new("llama");
    assert!(refusal(&sound().without("tokenizer.ggml.tokens").bytes()).contains("tokenizer.ggml.tokens"));
    assert!(refusal(&sound().without("tokenizer.chat_template").bytes()).contains("tokenizer.chat_template"));
    let with = |key: &str, value: Vec<u8>| {
        let mut draft = sound();
        draft.set(key, value);
        refusal(&draft.bytes())
    };
    assert!(with("general.architecture", text("mamba")).contains("supported are llama, qwen2, qwen3"));
    assert!(with("tokenizer.ggml.model", text("llama")).contains("byte-level BPE"));
    assert!(with("tokenizer.ggml.pre", text("klingon")).contains("klingon"));
    assert!(with("tokenizer.chat_template", text("{% for %}")).contains("chat template"));
    assert!(with("llama.attention.head_count", whole(0)).contains("head_count"));
    assert!(with("llama.attention.head_count_kv", whole(3)).contains("heads"));
    assert!(with("llama.embedding_length", whole(48)).contains("shape"));
    assert!(with("llama.block_count", whole(400)).contains("blk.2."));
    assert!(with("general.alignment", whole(0)).contains("alignment"));
    assert!(with("llama.rope.scaling.type", text("yarn")).contains("yarn"));
    assert!(with("llama.block_count", text("two")).contains("not a whole number"));
}

#[test]
fn claims_larger_than_the_file_allocate_nothing() {
    let huge = u64::MAX / 4;
    let list = [&9u32.to_le_bytes()[..], &8u32.to_le_bytes(), &huge.to_le_bytes()].concat();
    let long = [&8u32.to_le_bytes()[..], &huge.to_le_bytes()].concat();
    let nested = [9u32.to_le_bytes(), 9u32.to_le_bytes()].concat();
    for value in [list, long, nested] {
        let mut draft = Draft::new("llama");
        draft.set("tokenizer.ggml.merges", value);
        assert!(load(&draft.bytes()).is_err());
    }
    let mut counts = Draft::new("llama").bytes();
    counts[8..16].copy_from_slice(&huge.to_le_bytes());
    assert!(refusal(&counts).contains("claims"));
    let mut draft = Draft::new("llama");
    draft.tensors[0].1 = vec![1 << 30, 1 << 30];
    let head = draft.metadata.iter().map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>();
    let mut bytes = Draft::new("llama").bytes();
    let dimension = 24 + head + 8 + "token_embd.weight".len() + 4;
    bytes[dimension..dimension + 8].copy_from_slice(&(1u64 << 62).to_le_bytes());
    assert!(refusal(&bytes).contains("token_embd.weight"));
}

#[test]
fn random_damage_never_panics() {
    let sound = Draft::new("llama").bytes();
    let head = sound.len() - 60_000;
    let mut random = Random(99);
    for _ in 0..400 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random.next() % 4 {
            let at = random.next() as usize % head;
            bytes[at] = random.next() as u8;
        }
        let file = on_disk(&bytes);
        let outcome = std::panic::catch_unwind(|| {
            let file = GgufFile::open(file.path()).map_err(|error| error.to_string())?;
            let tokens = Tokens::read(&file)?;
            super::super::template::ChatTemplate::new(file.text("tokenizer.chat_template")?, &tokens.bos, &tokens.eos)?;
            Network::load(&file, Sizes::read(&file, tokens.vocabulary())?, &|_| {}).map(|_| ())
        });
        assert!(outcome.is_ok());
    }
}
