//! What a model will take of memory, read from the head of its file alone: no weights are read and no tokenizer is built.

use std::path::Path;

use super::file::{Flaw, GgufFile};
use super::scheduler::RUNNING_BOUND;
use crate::error::EngineError;

/// Activations of a step and the libraries' work buffers: an allowance, not a measurement.
const WORKING: u64 = 256 << 20;

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Of all tensors as the file holds them, which is how they are kept.
    pub weights: u64,
    /// Keys and values of one token in all layers, in single precision as cards keep them; the processor takes half of it beside
    /// quantised weights.
    pub per_token: u64,
    /// Activations and logits, whatever the number of conversations.
    pub working: u64,
    /// Tokens the model was trained for.
    pub trained_context: usize,
}

/// Reads the head of the GGUF file at `path`; the errors are those of [`super::GgufModel::load`].
pub fn footprint(path: &Path) -> Result<Footprint, EngineError> {
    let file = GgufFile::open(path)?;
    of(&file).map_err(|flaw| file.corrupt(&flaw))
}

fn of(file: &GgufFile) -> Result<Footprint, Flaw> {
    let architecture = file.text("general.architecture")?;
    let key = |name: &str| format!("{architecture}.{name}");
    let count = |name: &str, most: usize| file.count(&key(name), 1..=most);
    let needed = |name: &str, most: usize| count(name, most)?.ok_or_else(|| format!("it has no `{}`", key(name)));

    let layers = needed("block_count", 1 << 12)?;
    let heads = needed("attention.head_count", 1 << 12)?;
    // Some architectures give a number for each layer; the most there can be is safe.
    let kv_heads = count("attention.head_count_kv", heads).ok().flatten().unwrap_or(heads);
    let width = needed("embedding_length", 1 << 20)?;
    let key_width = count("attention.key_length", 1 << 16)?.unwrap_or(width / heads);
    let value_width = count("attention.value_length", 1 << 16)?.unwrap_or(key_width);
    let vocabulary =
        file.tensors.get("token_embd.weight").and_then(|tensor| tensor.shape.first()).copied().unwrap_or(0);
    let product = |factors: &[usize]| factors.iter().map(|factor| *factor as u64).fold(1, u64::saturating_mul);
    Ok(Footprint {
        weights: file.tensors.values().map(|tensor| tensor.bytes as u64).fold(0, u64::saturating_add),
        per_token: product(&[layers, kv_heads, key_width + value_width, size_of::<f32>()]),
        working: WORKING.saturating_add(product(&[vocabulary, RUNNING_BOUND, size_of::<f32>()])),
        trained_context: needed("context_length", 1 << 24)?,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::tests::{Draft, on_disk, text, whole};
    use super::*;

    fn of_draft(draft: &Draft) -> Result<Footprint, EngineError> {
        footprint(on_disk(&draft.bytes()).path())
    }

    #[test]
    fn the_cache_is_planned_as_large_as_the_file_says() {
        let draft = Draft::new("llama");
        let found = of_draft(&draft).unwrap();
        // Two layers, two key heads of eight, keys and values, four bytes.
        assert_eq!(found.per_token, 2 * 2 * (8 + 8) * 4);
        assert_eq!(found.trained_context, 512);
        let elements: usize = draft.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(found.weights, 4 * elements as u64);
        assert_eq!(found.working, WORKING + 260 * RUNNING_BOUND as u64 * 4);
    }

    #[test]
    fn a_file_that_leaves_sizes_out_is_planned_with_the_most_they_can_be() {
        let draft = Draft::new("llama").without("llama.attention.head_count_kv").without("llama.attention.key_length");
        let draft = draft.without("llama.attention.value_length");
        assert_eq!(of_draft(&draft).unwrap().per_token, 2 * 4 * (8 + 8) * 4);
    }

    #[test]
    fn absurd_or_missing_sizes_are_refused_and_not_planned_with() {
        let with = |key: &str, value: Vec<u8>| {
            let mut draft = Draft::new("llama");
            draft.set(key, value);
            of_draft(&draft).unwrap_err().to_string()
        };
        assert!(with("llama.block_count", whole(u32::MAX)).contains("block_count"));
        assert!(with("llama.attention.head_count", whole(0)).contains("head_count"));
        assert!(with("general.architecture", text("mamba")).contains("mamba.block_count"));
        assert!(footprint(Path::new("/nowhere.gguf")).is_err());
    }
}
