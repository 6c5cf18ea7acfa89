//! Engines in a row: the first that can do it does it, in mid-conversation and for each request anew.
//!
//! Promises that an engine which refuses, is broken, has no memory left or says nothing in time costs the caller at most that time,
//! as long as a later one of the row works; and that nothing is said twice: once the first piece of an answer has been passed on,
//! nobody else is asked. What then? Of a reply in writing, what has come is all there is: it ends as [`StopReason::BrokenOff`], and the
//! call speaks it to its last whole sentence and tells of it. (Another model could not go on with it: it would begin a message of
//! its own.) A sentence that breaks off while it is spoken is an error, for half a sentence is no answer.
//!
//! A line in the log tells when the row goes over to another engine, and when it comes back; [`Switch`] counts.
//!
//! [`StopReason::BrokenOff`]: crate::llm::StopReason::BrokenOff

mod llm;
mod stt;
mod tts;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use llm::FallbackLlm;
pub use stt::FallbackStt;
pub use tts::FallbackTts;

use crate::error::EngineError;

/// Which engine of a row answers now.
#[derive(Debug)]
pub struct Switch {
    kind: &'static str,
    active: AtomicUsize,
    switched: AtomicU64,
}

impl Switch {
    fn new(kind: &'static str) -> Self {
        Self { kind, active: AtomicUsize::new(0), switched: AtomicU64::new(0) }
    }

    /// Which of the row answered last, from 0.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// How often it was another than before.
    pub fn switched(&self) -> u64 {
        self.switched.load(Ordering::Relaxed)
    }

    /// The engine at `index` answers, and this is why the ones before it did not.
    fn answers(&self, index: usize, name: impl FnOnce() -> String, because: Option<&EngineError>) {
        let before = self.active.swap(index, Ordering::Relaxed);
        if before == index {
            return;
        }
        let switched = self.switched.fetch_add(1, Ordering::Relaxed) + 1;
        match because {
            Some(error) => {
                tracing::warn!(kind = self.kind, to = name(), switched, %error, "another engine takes over");
            }
            None => tracing::info!(kind = self.kind, to = name(), switched, "the first engine answers again"),
        }
    }
}

/// Engines by preference; the last error if none of them takes the request.
fn first_to_take<E: ?Sized, T>(
    row: &[std::sync::Arc<E>],
    from: usize,
    mut error: Option<EngineError>,
    ask: impl Fn(&E) -> Result<T, EngineError>,
) -> Result<(usize, T, Option<EngineError>), EngineError> {
    for (index, engine) in row.iter().enumerate().skip(from) {
        match ask(engine) {
            Ok(taken) => return Ok((index, taken, error)),
            Err(refused) => error = Some(refused),
        }
    }
    Err(error.unwrap_or(EngineError::BadRequest("there is no engine to ask".into())))
}

#[cfg(test)]
mod tests;
