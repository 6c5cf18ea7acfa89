//! The caches of conversations that nobody is answering just now: found by name, reused by their common beginning, dropped
//! oldest first when all caches together would take more than the budget. What was dropped is read again when it is wanted.

use std::collections::HashMap;

use candle_core::Result;

use super::cache::{CacheShape, KvCache};

/// A stranger's cache is copied from only if it saves this many tokens over the conversation's own.
const WORTH_COPYING: usize = 8;

pub(super) struct CacheStore {
    shape: CacheShape,
    /// Bytes that all caches may take, those in use included.
    budget: usize,
    /// Bytes that caches in use take.
    busy: usize,
    held: HashMap<String, Held>,
    /// What every conversation is likely to begin with; never dropped.
    common: Option<KvCache>,
    clock: u64,
}

struct Held {
    cache: KvCache,
    used: u64,
}

impl CacheStore {
    pub fn new(shape: CacheShape, budget: usize) -> Self {
        Self { shape, budget, busy: 0, held: HashMap::new(), common: None, clock: 0 }
    }

    /// Keeps a cache that new conversations begin from.
    pub fn set_common(&mut self, cache: KvCache) {
        self.common = Some(cache);
    }

    /// A cache for `conversation` that holds the longest known beginning of `prompt`, its last token excepted: that one is to be
    /// read again for its logits. The beginning may come from another conversation: equal tokens have equal keys and values.
    pub fn take(&mut self, conversation: &str, prompt: &[u32]) -> Result<KvCache> {
        let prompt = prompt.get(..prompt.len().saturating_sub(1)).unwrap_or_default();
        let mut own =
            self.held.remove(conversation).map_or_else(|| KvCache::new(self.shape.clone()), |held| held.cache);
        let own_length = own.common_prefix(prompt);
        let strangers = self.held.values().map(|held| &held.cache).chain(&self.common);
        let best = strangers.map(|cache| (cache.common_prefix(prompt), cache)).max_by_key(|(length, _)| *length);
        if let Some((length, stranger)) = best
            && length >= own_length + WORTH_COPYING
        {
            return stranger.prefix(length);
        }
        own.truncate(own_length);
        Ok(own)
    }

    pub fn put(&mut self, conversation: String, cache: KvCache) {
        self.clock += 1;
        self.held.insert(conversation, Held { cache, used: self.clock });
        self.drop_oldest();
    }

    /// Caches in use take `busy` bytes now: idle ones give way.
    pub fn make_room(&mut self, busy: usize) {
        self.busy = busy;
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        let kept = self.busy + self.common.as_ref().map_or(0, KvCache::bytes);
        let mut taken = kept + self.held.values().map(|held| held.cache.bytes()).sum::<usize>();
        while taken > self.budget {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.used).map(|(name, _)| name.clone());
            let Some(gone) = oldest.and_then(|oldest| self.held.remove(&oldest)) else { break };
            taken -= gone.cache.bytes();
            tracing::debug!("a conversation's key-value cache was dropped to stay within the memory budget");
        }
    }

    pub fn forget(&mut self, conversation: &str) {
        self.held.remove(conversation);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::llm::gguf::kernels::Precision;

    const SHAPE: CacheShape = CacheShape {
        layers: 1,
        heads: 1,
        head_width: 2,
        device: candle_core::Device::Cpu,
        precision: Precision::Single,
    };

    fn cache(tokens: &[u32]) -> KvCache {
        let mut cache = KvCache::new(SHAPE);
        cache.reserve(tokens.len()).unwrap();
        cache.advance(tokens);
        cache
    }

    #[test]
    fn a_reply_that_was_cut_costs_the_difference() {
        let mut store = CacheStore::new(SHAPE, 1 << 20);
        store.put("a".into(), cache(&[1, 2, 3, 4, 5, 6]));
        assert_eq!(store.take("a", &[1, 2, 3, 9, 9]).unwrap().tokens(), [1, 2, 3]);
    }

    #[test]
    fn the_last_token_is_always_read_again() {
        let mut store = CacheStore::new(SHAPE, 1 << 20);
        store.put("a".into(), cache(&[1, 2, 3]));
        assert_eq!(store.take("a", &[1, 2, 3]).unwrap().tokens(), [1, 2]);
        assert_eq!(store.take("b", &[]).unwrap().tokens(), [0u32; 0]);
    }

    #[test]
    fn a_new_conversation_begins_from_what_all_share() {
        let mut store = CacheStore::new(SHAPE, 1 << 20);
        store.set_common(cache(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(store.take("new", &[1, 2, 3, 4, 5, 6, 7, 8, 50, 51]).unwrap().len(), 8);
        assert_eq!(store.take("new", &[1, 2, 3, 4, 50, 51]).unwrap().len(), 0, "too short to be worth it");
    }

    #[test]
    fn memory_stays_within_its_budget_and_the_latest_survive() {
        let one = cache(&[1]).bytes();
        let mut store = CacheStore::new(SHAPE, 2 * one);
        for name in ["a", "b", "c"] {
            store.put(name.into(), cache(&[1, 2, 3]));
        }
        assert_eq!(store.take("a", &[1, 2, 3]).unwrap().len(), 0);
        let latest = store.take("c", &[1, 2, 3]).unwrap();
        assert_eq!(latest.len(), 2);
        store.put("c".into(), latest);
        assert_eq!(store.take("c", &[1, 2, 3]).unwrap().len(), 2);
        store.forget("b");
        assert_eq!(store.take("b", &[1, 2, 3]).unwrap().len(), 0);
    }

    #[test]
    fn idle_caches_give_way_to_those_in_use() {
        let one = cache(&[1]).bytes();
        let mut store = CacheStore::new(SHAPE, 3 * one);
        for name in ["a", "b"] {
            store.put(name.into(), cache(&[1, 2, 3]));
        }
        store.make_room(one);
        assert_eq!(store.held.len(), 2);
        store.make_room(2 * one);
        assert_eq!(store.held.keys().collect::<Vec<_>>(), ["b"]);
        store.make_room(9 * one);
        assert!(store.held.is_empty());
    }
}
