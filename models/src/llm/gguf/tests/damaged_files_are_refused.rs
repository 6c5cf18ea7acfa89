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
    assert!(with("general.architecture", text("mamba")).contains("supported are llama, qwen2, qwen3, gemma3, phi3"));
    assert!(with("tokenizer.ggml.model", text("t5")).contains("byte-level BPE"));
    assert!(with("tokenizer.ggml.model", text("llama")).contains("tokenizer.ggml.scores"));
    assert!(with("llama.attn_logit_softcapping", float(50.0)).contains("caps the scores"));
    assert!(with("llama.rope.dimension_count", whole(6)).contains("rotates 6 of the 8"));
    assert!(with("llama.rope.freq_base", float(0.5)).contains("rope base"));
    assert!(with("llama.rope.freq_base", float(f32::NAN)).contains("not a finite number"));
    assert!(with("tokenizer.ggml.pre", text("klingon")).contains("klingon"));
    assert!(with("tokenizer.chat_template", text("{% for %}")).contains("chat template"));
    assert!(with("llama.attention.head_count", whole(0)).contains("head_count"));
    assert!(with("llama.attention.head_count_kv", whole(3)).contains("heads"));
    assert!(with("llama.embedding_length", whole(48)).contains("shape"));
    assert!(with("llama.block_count", whole(400)).contains("blk.2."));
    assert!(with("general.alignment", whole(0)).contains("alignment"));
    assert!(with("llama.rope.scaling.type", text("dynamic")).contains("dynamic"));
    assert!(with("llama.block_count", text("two")).contains("not a whole number"));
}

#[test]
fn what_the_model_would_have_to_leave_out_is_refused() {
    let mut draft = Draft::new("llama");
    draft.tensors.push(("blk.0.attn_q.bias".into(), vec![32]));
    assert!(refusal(&draft.bytes()).contains("blk.0.attn_q.bias"));
    draft.tensors.last_mut().unwrap().0 = "blk.0.attn_rot_embd".into();
    assert!(load(&draft.bytes()).is_ok(), "some old files hold what follows from the metadata");
}

#[test]
fn what_is_there_twice_or_overlaps_is_refused() {
    let mut draft = Draft::new("llama");
    draft.metadata.push(draft.metadata[0].clone());
    assert!(refusal(&draft.bytes()).contains("`general.architecture` twice"));
    let mut draft = Draft::new("llama");
    draft.tensors.push(draft.tensors[1].clone());
    assert!(refusal(&draft.bytes()).contains("`output_norm.weight` twice"));
    let sound = Draft::new("llama").bytes();
    let name = b"output_norm.weight";
    let at = sound.windows(name.len()).position(|window| window == name).unwrap();
    let mut bytes = sound.clone();
    // After the name: dimensions, one size, type, then where it lies.
    let place = at + name.len() + 4 + 8 + 4;
    bytes[place..place + 8].copy_from_slice(&32u64.to_le_bytes());
    assert!(refusal(&bytes).contains("overlap"));
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
            let sizes = Sizes::read(&file, tokens.vocabulary())?;
            Network::load(&file, sizes, 4096, &Device::Cpu, &|_| {}).map(|_| ())
        });
        assert!(outcome.is_ok());
    }
}

#[test]
fn random_damage_to_a_vocabulary_never_panics() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/llm"));
    let mut random = Random(5);
    for name in ["bytes.gguf", "pieces-plain.gguf", "pieces-spaced.gguf"] {
        let sound = std::fs::read(folder.join(name)).unwrap();
        for _ in 0..60 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random.next() % 30 {
                let at = random.next() as usize % bytes.len();
                bytes[at] = random.next() as u8;
            }
            let file = on_disk(&bytes);
            let outcome = std::panic::catch_unwind(|| {
                let tokens = Tokens::read(&GgufFile::open(file.path()).map_err(|error| error.to_string())?)?;
                tokens.encode("Hello there, 你好 😀\u{0}").map(|ids| {
                    let mut spelling = tokens.spelling();
                    ids.iter().map(|&id| spelling.push(&tokens, id)).collect::<String>()
                })
            });
            assert!(outcome.is_ok(), "{name}");
        }
    }
}
