//! Voice activity and turn ends: is somebody speaking, and have they finished?

pub mod silero;
pub mod smart_turn;

use std::future::Future;
use std::pin::Pin;

use crate::error::EngineError;

/// Samples in one window of a [`VoiceStream`]: 32 ms at 16 kHz.
pub const WINDOW: usize = 512;

/// Detects speech; shared by all calls.
pub trait VoiceDetector: Send + Sync {
    fn name(&self) -> &'static str;
    /// A call's own state, all silence so far.
    fn stream(&self) -> Box<dyn VoiceStream>;
}

/// One caller's voice activity. Takes about 0.1 ms a window, so it is called in place, not queued.
pub trait VoiceStream: Send {
    /// Speech probability, 0.0 to 1.0, of the next window of 512 samples at 16 kHz.
    fn push(&mut self, window: &[f32; WINDOW]) -> Result<f32, EngineError>;
    /// Forget the past, as after a long pause of the line.
    fn reset(&mut self);
}

/// Judges whether an utterance sounds finished; shared by all calls, runs on its own thread.
pub trait TurnModel: Send + Sync {
    fn name(&self) -> &'static str;
    /// Probability, 0.0 to 1.0, that the speaker has finished, from the utterance so far (16 kHz mono, the last 8 s count),
    /// ending in the pause in question. Dropping the future cancels.
    fn judge(&self, utterance: Vec<f32>) -> Pin<Box<dyn Future<Output = Result<f32, EngineError>> + Send>>;
}
