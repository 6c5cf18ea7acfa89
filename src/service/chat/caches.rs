//! Whose key-value cache a request uses.
//!
//! A request carries its whole conversation, so that any cache will do that begins alike. A client that names its user gets that
//! user's own. Whoever does not gets a fresh one, which begins from whichever known one has most in common. The service holds so
//! many at most, the longest unused goes first: it must not crowd out the caches of calls.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use models::llm::LanguageModel;
use uuid::Uuid;

/// Caches that are kept.
const KEPT: usize = 16;

/// The names that are in use, the latest used last.
#[derive(Default)]
pub struct Caches(Mutex<VecDeque<String>>);

impl Caches {
    /// The name of the cache for a client's `key`. A name may stand for two keys: that costs time, nothing else.
    pub fn name(&self, key: Option<&str>, llm: &dyn LanguageModel) -> String {
        // Never the name of a call's conversation, whatever the client says.
        let name = match key {
            Some(key) => {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                format!("service-{:016x}", hasher.finish())
            }
            None => format!("service-{}", Uuid::new_v4().simple()),
        };
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|known| *known != name);
        names.push_back(name.clone());
        if names.len() > KEPT
            && let Some(oldest) = names.pop_front()
        {
            llm.forget(&oldest);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use models::error::EngineError;
    use models::llm::{GenerateRequest, Generation};

    use super::*;

    #[derive(Default)]
    struct Forgetful(Mutex<Vec<String>>);

    impl LanguageModel for Forgetful {
        fn name(&self) -> String {
            "forgetful".to_owned()
        }

        fn generate(&self, _: GenerateRequest) -> Result<Generation, EngineError> {
            Err(EngineError::Stopped { engine: "forgetful" })
        }

        fn forget(&self, conversation: &str) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(conversation.to_owned());
        }
    }

    #[test]
    fn a_user_comes_back_to_the_own_cache_and_to_no_calls() {
        let (caches, llm) = (Caches::default(), Forgetful::default());
        let name = caches.name(Some("conv_0197"), &llm);
        assert_eq!(caches.name(Some("conv_0197"), &llm), name);
        assert!(name.starts_with("service-") && !name.contains("conv_"), "{name}");
        assert_ne!(caches.name(Some("another"), &llm), name);
        assert_ne!(caches.name(None, &llm), caches.name(None, &llm));
    }

    #[test]
    fn caches_of_the_service_are_bounded_and_the_longest_unused_goes() {
        let (caches, llm) = (Caches::default(), Forgetful::default());
        let (faithful, once) = (caches.name(Some("faithful"), &llm), caches.name(Some("once"), &llm));
        for _ in 0..2 * KEPT {
            caches.name(None, &llm);
            caches.name(Some("faithful"), &llm);
        }
        let forgotten = llm.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(forgotten.first(), Some(&once));
        assert!(!forgotten.contains(&faithful));
        assert_eq!(forgotten.len(), 2 + 2 * KEPT - KEPT);
    }
}
