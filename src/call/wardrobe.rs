//! Which voices of users' own a caller may speak with: those of its own key. Another's are as if they were not there.

use std::sync::Arc;

use models::tts::TextToSpeech;

use super::record::Keeper;

/// Shared by whatever gives out voices.
#[derive(Clone)]
pub struct Wardrobe {
    keeper: Arc<dyn Keeper>,
    /// What calls speak with unless they ask for another: the server's owner has chosen it for everybody.
    usual: Arc<str>,
}

impl Wardrobe {
    pub fn new(keeper: Arc<dyn Keeper>, usual: &str) -> Self {
        Self { keeper, usual: usual.into() }
    }

    /// The id of the added voice that `wanted` calls, where `owner` may use it. `None` for `owner` is the server's own keys, which may
    /// use all. Whose it is is asked first, so that the time tells nothing of a voice that is another's.
    pub fn added_voice(&self, voices: &dyn TextToSpeech, owner: Option<&str>, wanted: &str) -> Option<String> {
        let may = |owner| *self.usual == *wanted || self.keeper.voice_is_open_to(wanted, owner);
        if owner.is_none_or(may) {
            return voices.added_voice(wanted);
        }
        // A session that was kept has the usual voice by its id.
        let usual = Some(&*self.usual).filter(|usual| !usual.is_empty()).and_then(|usual| voices.added_voice(usual));
        usual.filter(|usual| usual == wanted)
    }
}
