//! Voices of the user's own: samples that were uploaded, and the voices that a cloning engine makes of them.
//!
//! A profile is a row in the history's database and three files in `data/voices/`: the levelled sample (`.wav`), the same to listen to
//! (`.ogg`), and what the engine computed of it (`.voice`). It is accepted only with consent, and only if the sample will do
//! ([`check`]). Its voice is computed once, by one background task ([`maker`]) that stays out of the way of calls, and is given to the
//! engine again at each start; computed again only if the engine's weights have changed. Whatever kills the process, the next start
//! goes on: a row is written after its files, and what no row names is removed.
//!
//! Knows no HTTP. Refuses more than [`PROFILES_MAX`] profiles.

mod check;
mod files;
mod maker;
mod presets;
mod reading;
mod store;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use models::tts::Voice;
use tokio::sync::{Notify, Semaphore, watch};

use self::files::Files;
use self::store::Store;
use crate::data_folder::DataFolder;
use crate::engines::Cloning;
use crate::history::{History, HistoryError, Viewer, milliseconds, open_database};
use crate::readiness::{Readiness, Unready};

pub use self::check::SampleError;
pub use self::presets::{Preset, PresetError};
pub use self::reading::READING;
pub use self::store::{Profile, Stage};

/// As many as an engine holds in memory.
pub const PROFILES_MAX: usize = 32;
/// Characters of a name.
pub const NAME_MAX: usize = 60;
/// Characters of a transcript: thirty seconds of speech have some five hundred.
pub const TRANSCRIPT_MAX: usize = 2_000;
/// Samples that are looked at at once, of some 60 MB each while it lasts; another is refused.
const CHECKS_AT_ONCE: usize = 2;
/// What every profile's id begins with.
const ID_PREFIX: &str = "voice_";
/// Of a voice that is yet to be made: what the engines that clone speak.
const USUAL_LANGUAGE: &str = "en-US";

/// Why a profile is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    #[error("a name of 1 to {NAME_MAX} characters is needed; send it in `name`")]
    Name,
    #[error("there is a voice called {0:?} already; choose another name")]
    NameTaken(String),
    #[error(
        "a transcript of at most {TRANSCRIPT_MAX} characters is taken; send what is said in the sample, or leave it out"
    )]
    Transcript,
    #[error(
        "a voice is made only of somebody who agrees: send `consent` as true once the speaker has said yes, or is yourself"
    )]
    Consent,
    #[error(transparent)]
    Sample(#[from] SampleError),
    #[error("there are {PROFILES_MAX} voices already; delete one first")]
    TooMany,
    #[error("{CHECKS_AT_ONCE} samples are being looked at already; try again in a few seconds")]
    Busy,
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error("the voice's files cannot be written: {0}; make room in the data folder, or mend its permissions")]
    Files(#[from] std::io::Error),
    #[error("the sample could not be written: {0}")]
    Encoding(#[from] audio::ogg::OggError),
    #[error("the server is stopping")]
    Stopped,
}

impl From<rusqlite::Error> for VoiceError {
    fn from(error: rusqlite::Error) -> Self {
        Self::History(error.into())
    }
}

/// What somebody sends to make a profile.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    pub name: String,
    /// A recording in any format that [`audio::recording`] reads.
    pub recording: Bytes,
    /// What is said in it; found out if not given.
    pub transcript: Option<String>,
    /// That the speaker agrees.
    pub consent: bool,
}

/// A profile that was made, and what could be better about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    pub profile: Profile,
    pub warnings: Vec<String>,
}

/// Where a profile stands, as people are shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// For an engine, for a call to end, for its turn.
    Waiting,
    Computing,
    /// It can be spoken with.
    Ready,
    Failed,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Computing => "computing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// A profile was added, renamed or deleted, or has come into another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub id: String,
    /// Whose it is, as [`Viewer::Owner`] has it; none is the whole house's.
    pub owner: Option<String>,
    /// None where it was deleted.
    pub state: Option<State>,
}

impl Change {
    /// Its state as the list of voices has it, or that it is gone.
    pub fn word(&self) -> &'static str {
        self.state.map_or("deleted", State::word)
    }
}

/// Whether voices can be made here.
#[derive(Clone)]
pub enum Workshop {
    /// The engines are being loaded.
    Opening,
    /// There is no engine that can; what to do.
    Missing(String),
    Open(Cloning),
}

type Listener = Box<dyn Fn(Change) + Send + Sync>;

/// All profiles; shared by whoever needs them.
pub struct Voices {
    store: Mutex<Store>,
    files: Files,
    readiness: Arc<Readiness>,
    /// Whether a call runs, which making voices would disturb.
    is_calling: Box<dyn Fn() -> bool + Send + Sync>,
    listener: OnceLock<Listener>,
    /// A profile is due.
    due: Notify,
    /// The maker waits for calls to end.
    held: AtomicBool,
    /// Those that the engine has, by the profile's id.
    spoken: Mutex<HashMap<String, Voice>>,
    checks: Arc<Semaphore>,
    /// One preset voice at a time says its sentence.
    sampling: tokio::sync::Mutex<()>,
}

impl Voices {
    /// Opens what is kept beside `history`, and clears away what a killed process left half made.
    pub fn open(
        history: &History,
        readiness: Arc<Readiness>,
        is_calling: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Self, VoiceError> {
        let files = Files::open(history.folder())?;
        let store = Store::open(open_database(history.folder())?)?;
        files.keep_only(&store.ids()?)?;
        Ok(Self {
            store: Mutex::new(store),
            files,
            readiness,
            is_calling: Box::new(is_calling),
            listener: OnceLock::new(),
            due: Notify::new(),
            held: AtomicBool::new(false),
            spoken: Mutex::default(),
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            sampling: tokio::sync::Mutex::default(),
        })
    }

    /// Is told of every change from now on; the first listener stays. It must not block.
    pub fn on_change(&self, listener: impl Fn(Change) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// Makes the voices that are due, for as long as the server runs.
    pub async fn make(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => {}
            () = maker::run(&self) => {}
        }
    }

    /// Checks a sample and keeps it as a new profile of `viewer`'s. Its voice is made later.
    pub async fn add(self: &Arc<Self>, viewer: &Viewer, upload: Upload) -> Result<Added, VoiceError> {
        let name = named(&upload.name)?;
        if !upload.consent {
            return Err(VoiceError::Consent);
        }
        let transcript = upload.transcript.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if transcript.as_ref().is_some_and(|text| text.chars().count() > TRANSCRIPT_MAX) {
            return Err(VoiceError::Transcript);
        }
        let place = Arc::clone(&self.checks).try_acquire_owned().map_err(|_| VoiceError::Busy)?;
        let (voices, owner) = (Arc::clone(self), owner(viewer));
        let added = blocking(move || {
            let _place = place;
            // Before the work is done; the row's own index decides in the end.
            voices.store().room_for(owner.as_deref(), &name)?;
            let detector = voices.readiness.vad().ok();
            let checked = check::check(upload.recording, detector.as_deref())?;
            let id = format!("{ID_PREFIX}{}", uuid::Uuid::new_v4().simple());
            let profile = Profile {
                id,
                owner,
                name,
                created_at: milliseconds(SystemTime::now()),
                duration_ms: checked.pcm.duration().as_millis() as i64,
                bandwidth_hz: checked.bandwidth_hz,
                is_transcribed: transcript.is_some(),
                transcript,
                stage: Stage::Waiting,
            };
            voices.files.write_sample(&profile.id, &checked.pcm)?;
            {
                // Held until it is told, so that nothing is told of what becomes of it before.
                let store = voices.store();
                if let Err(error) = store.insert(&profile) {
                    voices.files.remove(&profile.id);
                    return Err(error);
                }
                voices.tell(&profile, Some(State::Waiting));
            }
            tracing::info!(id = profile.id, speech = ?checked.speech, "a voice profile was added");
            Ok(Added { profile, warnings: checked.warnings })
        });
        let added = added.await?;
        self.due.notify_one();
        Ok(added)
    }

    /// Those that `viewer` may see, oldest first.
    pub async fn list(self: &Arc<Self>, viewer: &Viewer) -> Result<Vec<Profile>, VoiceError> {
        let (voices, viewer) = (Arc::clone(self), viewer.clone());
        blocking(move || Ok(voices.store().list(&viewer)?)).await
    }

    pub async fn profile(self: &Arc<Self>, viewer: &Viewer, id: &str) -> Result<Option<Profile>, VoiceError> {
        let (voices, viewer, id) = (Arc::clone(self), viewer.clone(), id.to_owned());
        blocking(move || Ok(voices.store().profile(&viewer, &id)?)).await
    }

    /// The renamed profile; `None` if there is none of that id.
    pub async fn rename(
        self: &Arc<Self>,
        viewer: &Viewer,
        id: &str,
        name: &str,
    ) -> Result<Option<Profile>, VoiceError> {
        let (voices, viewer, id, name) = (Arc::clone(self), viewer.clone(), id.to_owned(), named(name)?);
        blocking(move || {
            let renamed = {
                let store = voices.store();
                store.rename(&viewer, &id, &name)?;
                store.profile(&viewer, &id)?
            };
            if let Some(profile) = &renamed {
                voices.tell(profile, Some(voices.standing(profile).0));
            }
            Ok(renamed)
        })
        .await
    }

    /// Removes the row, the voice in the engine and the files. Whether there was such a profile.
    pub async fn remove(self: &Arc<Self>, viewer: &Viewer, id: &str) -> Result<bool, VoiceError> {
        let (voices, viewer, id) = (Arc::clone(self), viewer.clone(), id.to_owned());
        blocking(move || {
            let removed = {
                let store = voices.store();
                let profile = store.profile(&viewer, &id)?;
                store.remove(&viewer, &id)?;
                profile
            };
            let Some(profile) = removed else { return Ok(false) };
            voices.hush(&id);
            voices.files.remove(&id);
            voices.tell(&profile, None);
            tracing::info!(id, "a voice profile was deleted");
            Ok(true)
        })
        .await
    }

    /// Where recordings of voices lie, and how.
    pub fn folder(&self) -> &DataFolder {
        self.files.data()
    }

    /// Where a profile's sample is, to listen to.
    pub fn sample(&self, profile: &Profile) -> PathBuf {
        self.files.listening(&profile.id)
    }

    /// Whether voices can be made here.
    pub fn workshop(&self) -> Workshop {
        match self.readiness.cloning() {
            Ok(cloning) => match cloning.cloner.can_clone() {
                Ok(()) => Workshop::Open(cloning),
                Err(error) => Workshop::Missing(error.to_string()),
            },
            Err(Unready::Loading { .. }) => Workshop::Opening,
            Err(Unready::Missing(_)) => Workshop::Missing(NO_ENGINE.to_owned()),
        }
    }

    /// Where a profile stands, and why, where there is something to say.
    pub fn standing(&self, profile: &Profile) -> (State, Option<String>) {
        let is_spoken = self.spoken().contains_key(&profile.id);
        standing(&profile.stage, &self.workshop(), is_spoken, self.held.load(Ordering::Relaxed))
    }

    /// The id that a session asks for the profile's voice by, and the language that it speaks.
    pub fn voice(&self, profile: &Profile) -> (String, &'static str) {
        match self.spoken().get(&profile.id) {
            Some(voice) => (voice.id.clone(), voice.language),
            None => (profile.id.clone(), USUAL_LANGUAGE),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A transaction that panicked was rolled back.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spoken(&self) -> MutexGuard<'_, HashMap<String, Voice>> {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a voice out of the engine.
    fn hush(&self, id: &str) {
        let voice = self.spoken().remove(id);
        if let (Some(voice), Workshop::Open(cloning)) = (voice, self.workshop()) {
            cloning.cloner.remove_voice(&voice.id);
        }
    }

    /// Writes down how far the profile is and tells of it, both before anybody can read it. Whether it was still there.
    fn come_to(&self, profile: &Profile, stage: &Stage, state: State) -> rusqlite::Result<bool> {
        let store = self.store();
        let is_there = store.set_stage(&profile.id, stage)?;
        if is_there {
            self.tell(profile, Some(state));
        }
        Ok(is_there)
    }

    fn tell(&self, profile: &Profile, state: Option<State>) {
        if let Some(listener) = self.listener.get() {
            listener(Change { id: profile.id.clone(), owner: profile.owner.clone(), state });
        }
    }
}

const NO_ENGINE: &str = "no engine that clones voices is here: run `avatar models pull pocket-tts`, put the `model.safetensors` of kyutai/pocket-tts in its \
     place (it wants a login, and that its terms are accepted), leave `engines.tts` at `auto` or set it to `pocket-tts`, and start again";

/// See [`Voices::standing`].
fn standing(stage: &Stage, workshop: &Workshop, is_spoken: bool, is_held: bool) -> (State, Option<String>) {
    match (stage, workshop) {
        (Stage::Failed { reason, .. }, _) => (State::Failed, Some(reason.clone())),
        (_, Workshop::Opening) => (State::Waiting, Some("the engines are being loaded".to_owned())),
        (_, Workshop::Missing(hint)) => (State::Waiting, Some(hint.clone())),
        (Stage::Ready { .. }, Workshop::Open(cloning)) if is_spoken => {
            let slow = format!(
                "this machine needs {:.1} s for a second of speech in this voice: replies come with pauses",
                cloning.real_time_factor
            );
            (State::Ready, (!cloning.keeps_up()).then_some(slow))
        }
        (Stage::Computing, _) => (State::Computing, None),
        (Stage::Waiting, _) if is_held => {
            (State::Waiting, Some("a call is going on; the voice is made when it ends".to_owned()))
        }
        (Stage::Waiting | Stage::Ready { .. }, _) => (State::Waiting, None),
    }
}

/// Whether `voice` is, or could be, what a profile is called.
pub fn is_profile_id(voice: &str) -> bool {
    let name = voice.rsplit('/').next().unwrap_or_default();
    name.strip_prefix(ID_PREFIX)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A name without what cannot be seen.
fn named(name: &str) -> Result<String, VoiceError> {
    let name: String = name.trim().chars().filter(|character| !character.is_control()).collect();
    if (1..=NAME_MAX).contains(&name.chars().count()) { Ok(name) } else { Err(VoiceError::Name) }
}

fn owner(viewer: &Viewer) -> Option<String> {
    match viewer {
        Viewer::Everyone => None,
        Viewer::Owner(owner) => Some(owner.clone()),
    }
}

/// Work that takes a while, off the async workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VoiceError> + Send + 'static,
) -> Result<T, VoiceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(VoiceError::Stopped))
}

#[cfg(test)]
pub(crate) mod tests;
