//! What a call takes up: a place among all calls, and one among those of its key.
//!
//! Given back when the call is over, or before, when it only waits for its caller and somebody else needs the place.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::allowance;

/// Shared by whoever holds the call's seat and whoever may give it up; given back when the last lets go.
#[derive(Clone)]
pub struct Place(Arc<Mutex<Option<Held>>>);

type Held = (OwnedSemaphorePermit, Option<allowance::Place>);

impl Place {
    pub fn new(among_all: OwnedSemaphorePermit, among_its_keys: Option<allowance::Place>) -> Self {
        Self(Arc::new(Mutex::new(Some((among_all, among_its_keys)))))
    }

    /// Gives it back now.
    pub fn give_up(&self) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(held);
    }
}
