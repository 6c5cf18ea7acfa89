//! Cancelling by dropping: the one who asks holds a guard, the engine looks at a flag once a step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets the flag that its [`Cancelled`] watch when dropped.
#[derive(Debug, Default)]
pub struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    pub fn watch(&self) -> Cancelled {
        Cancelled { flag: Arc::clone(&self.0), other: None }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether whoever asked has gone.
#[derive(Debug, Clone, Default)]
pub struct Cancelled {
    flag: Arc<AtomicBool>,
    /// See [`Self::or`].
    other: Option<Arc<AtomicBool>>,
}

impl Cancelled {
    pub fn is_set(&self) -> bool {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        is_set(&self.flag) || self.other.as_deref().is_some_and(is_set)
    }

    /// Set as soon as this or `other` is. Of two that were joined already only the own flag of `other` counts.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self { flag: Arc::clone(&self.flag), other: Some(Arc::clone(&other.flag)) }
    }
}
