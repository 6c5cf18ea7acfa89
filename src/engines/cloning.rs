//! What makes voices of recordings, as it was found at start.

use std::sync::Arc;

use models::tts::VoiceCloner;

/// An engine that makes voices of recordings, and speaks with them.
#[derive(Clone)]
pub struct Cloning {
    pub cloner: Arc<dyn VoiceCloner>,
    /// Time it takes for a second of speech here, in seconds.
    pub real_time_factor: f32,
}

impl Cloning {
    /// Whether speech with its voices is made as fast as it is heard.
    pub fn keeps_up(&self) -> bool {
        self.real_time_factor < super::KEEPS_UP
    }
}
