//! A network by itself, without tokenizer, sampler, scheduler and thread: what is left to compare with another engine's bare
//! network on the same file. For measuring only; calls are answered by [`super::GgufModel`].

use std::path::Path;

use candle_core::Device;

use super::ENGINE;
use super::architecture::Sizes;
use super::cache::KvCache;
use super::file::GgufFile;
use super::network::{Network, Segment};
use super::pace::FIRST_SHARE;
use super::tokens::Tokens;
use crate::error::EngineError;

/// Tokens of a conversation at most.
const CONTEXT: usize = 8192;

/// A network and the conversations it has read, by number.
pub struct BareNetwork {
    network: Network,
    caches: Vec<KvCache>,
    vocabulary: usize,
}

impl BareNetwork {
    /// Reads the model from a GGUF file onto the processor.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let file = GgufFile::open(path)?;
        let corrupt = |flaw: String| file.corrupt(&flaw);
        let vocabulary = Tokens::read(&file).map_err(corrupt)?.vocabulary();
        let sizes = Sizes::read(&file, vocabulary).map_err(corrupt)?;
        let network = Network::load(&file, sizes, CONTEXT, &Device::Cpu, &|_| {}).map_err(corrupt)?;
        Ok(Self { network, caches: Vec::new(), vocabulary })
    }

    /// Tokens that the model knows.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Cuts a conversation back to its first `length` tokens.
    pub fn keep(&mut self, conversation: usize, length: usize) {
        self.cache(conversation).truncate(length);
    }

    /// Reads `tokens` into a conversation, as many at a time as the scheduler does at first; gives the likeliest next token.
    pub fn read(&mut self, conversation: usize, tokens: &[u32]) -> Result<u32, EngineError> {
        let mut best = 0;
        self.cache(conversation);
        let shares = tokens.chunks(FIRST_SHARE).count();
        for (index, tokens) in tokens.chunks(FIRST_SHARE).enumerate() {
            let Some(cache) = self.caches.get_mut(conversation) else { break };
            let segment = Segment { cache, tokens, wants_logits: index + 1 == shares };
            let logits = self.network.forward(&mut [segment]).map_err(failed)?;
            best = logits.into_iter().flatten().next().map_or(best, |logits| likeliest(&logits));
        }
        Ok(best)
    }

    /// One step of the first conversations together: each reads its token and gives the likeliest next one.
    pub fn step(&mut self, tokens: &[u32]) -> Result<Vec<u32>, EngineError> {
        self.cache(tokens.len().saturating_sub(1));
        let mut segments: Vec<Segment<'_>> = self
            .caches
            .iter_mut()
            .zip(tokens)
            .map(|(cache, token)| Segment { cache, tokens: std::slice::from_ref(token), wants_logits: true })
            .collect();
        let logits = self.network.forward(&mut segments).map_err(failed)?;
        Ok(logits.into_iter().map(|logits| logits.map_or(0, |logits| likeliest(&logits))).collect())
    }

    /// The conversation's cache, made if it is new.
    fn cache(&mut self, conversation: usize) -> &mut KvCache {
        while self.caches.len() <= conversation {
            self.caches.push(KvCache::new(self.network.cache_shape()));
        }
        &mut self.caches[conversation]
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    (0u32..).zip(logits).max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(token, _)| token)
}

fn failed(error: candle_core::Error) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason: error.to_string() }
}
