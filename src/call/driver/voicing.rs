//! The caller's frames as the voice detector takes them.

use models::vad::{VoiceStream, WINDOW};
use tracing::warn;

/// Cuts the caller's frames into voice-activity windows and asks for each.
pub(super) struct Voicing {
    stream: Box<dyn VoiceStream>,
    rest: Vec<f32>,
    failed: bool,
}

impl Voicing {
    pub(super) fn new(stream: Box<dyn VoiceStream>) -> Self {
        Self { stream, rest: Vec::with_capacity(2 * WINDOW), failed: false }
    }

    /// The speech probability of each window that `samples` complete.
    pub(super) fn hear(&mut self, samples: &[f32]) -> Vec<f32> {
        self.rest.extend_from_slice(samples);
        let mut probabilities = Vec::new();
        let mut windows = self.rest.chunks_exact(WINDOW);
        for window in &mut windows {
            let Ok(window) = <&[f32; WINDOW]>::try_from(window) else { break };
            let probability = self.stream.push(window).unwrap_or_else(|error| {
                if !std::mem::replace(&mut self.failed, true) {
                    warn!(%error, "voice activity cannot be told; hearing silence");
                }
                0.0
            });
            probabilities.push(probability);
        }
        let rest = windows.remainder().to_vec();
        self.rest = rest;
        probabilities
    }
}
