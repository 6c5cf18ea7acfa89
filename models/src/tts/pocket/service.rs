//! Pocket TTS as calls use it: one thread that serves every speech frame by frame.
//!
//! The thread owns all speeches under way and gives each step to those whose listeners run dry first ([`super::rota`]); a caller who has gone
//! costs at most the frame that is being made. Voices can be added while it runs.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};

use super::model::Model;
use super::speech::{Job, Progress, Speaking, failed};
use super::tokens::Tokens;
use super::voice::VoiceState;
use super::weights::{SafeFile, corrupt};
use super::{ENGINE, LANGUAGE, reference, rota, script};
use crate::error::EngineError;
use crate::queue::QueueDepth;
use crate::tts::service::{Load, QUEUE_BOUND};
use crate::tts::{ClonedVoice, SpeakRequest, Speech, TextToSpeech, Voice, VoiceCloner};

/// Speeches under way at once; the others wait in the queue, of [`QUEUE_BOUND`]. Each has up to some 20 MB of its own. One whose caller
/// does not listen keeps its place.
const UNDER_WAY_MAX: usize = 8;
/// Voices in memory at once, each of up to 20 MB. When there are more, a preset one is read again when it is next asked for, and another
/// cloned one is refused.
const VOICES_MAX: usize = 32;
/// How often it is looked whether callers who had enough unread audio have read some.
const FULL_WAIT: Duration = Duration::from_millis(10);

/// A Pocket TTS model behind its queue. Dropping it stops its thread within one frame.
pub struct PocketTts {
    name: String,
    voices: Vec<Voice>,
    rate: SampleRate,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    model: Model,
    tokens: Tokens,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// By deadline, then by arrival. At most [`QUEUE_BOUND`].
    jobs: BTreeMap<(Instant, u64), Job>,
    arrivals: u64,
    closed: bool,
    load: Load,
    /// Those in memory, by id. At most [`VOICES_MAX`].
    voices: HashMap<String, Arc<VoiceState>>,
    /// Files of the preset ones.
    presets: HashMap<String, PathBuf>,
}

impl PocketTts {
    /// Of a loaded model. `presets` are names and files of voices; the first is the default.
    pub(super) fn start(
        name: &str,
        model: Model,
        tokens: Tokens,
        presets: Vec<(String, PathBuf)>,
    ) -> Result<Self, EngineError> {
        let rate = SampleRate::new(model.config.mimi.sample_rate).ok_or_else(|| failed("its sample rate is absurd"))?;
        let voice = |name: &String| Voice { id: id(name), name: name.clone(), language: LANGUAGE, rate };
        let voices = presets.iter().map(|(name, _)| voice(name)).collect();
        let presets = presets.into_iter().map(|(name, path)| (id(&name), path)).collect();
        let state = Mutex::new(State { presets, ..State::default() });
        let shared = Arc::new(Shared { model, tokens, state, arrived: Condvar::new() });
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("tts-pocket".into())
            .spawn(move || serve(&serving, rate))
            .map_err(|error| failed(format!("no thread for it: {error}")))?;
        Ok(Self { name: name.into(), voices, rate, shared, thread: Some(thread) })
    }

    pub fn load(&self) -> Load {
        let state = self.shared.lock();
        Load { waiting: state.jobs.len(), ..state.load }
    }
}

fn id(name: &str) -> String {
    format!("{ENGINE}/{name}")
}

impl TextToSpeech for PocketTts {
    fn queue(&self) -> Option<QueueDepth> {
        Some(self.load().queue())
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    /// The preset ones.
    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn has_voice(&self, id: &str) -> bool {
        let state = self.shared.lock();
        state.voices.contains_key(id) || state.presets.contains_key(id)
    }

    fn added_voice(&self, wanted: &str) -> Option<String> {
        let state = self.shared.lock();
        let added = |id: &String| state.voices.contains_key(id) && !state.presets.contains_key(id);
        [wanted.to_owned(), id(wanted)].into_iter().find(added)
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let wanted = match (request.voice.as_str(), self.voices.first()) {
            ("", Some(first)) => &first.id,
            (wanted, _) => wanted,
        };
        script::check(&request.text, wanted)?;
        let (speech, chunks, cancelled) = Speech::new();
        let mut state = self.shared.lock();
        let loaded = state.voices.get(wanted).cloned();
        if loaded.is_none() && !state.presets.contains_key(wanted) {
            return Err(crate::tts::voices::unknown(wanted, &self.voices));
        }
        if state.closed {
            return Err(EngineError::Stopped { engine: ENGINE });
        }
        if state.jobs.len() >= QUEUE_BOUND {
            state.drop_cancelled();
        }
        if state.jobs.len() >= QUEUE_BOUND {
            return Err(EngineError::Overloaded { engine: ENGINE, waiting: state.jobs.len() });
        }
        state.arrivals += 1;
        let key = (request.deadline, state.arrivals);
        let (deadline, queued, voice) = (request.deadline, Instant::now(), wanted.to_owned());
        state.jobs.insert(key, Job { text: request.text, voice, loaded, deadline, queued, chunks, cancelled });
        drop(state);
        self.shared.arrived.notify_one();
        Ok(speech)
    }
}

impl VoiceCloner for PocketTts {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn fingerprint(&self) -> &str {
        &self.shared.model.fingerprint
    }

    fn can_clone(&self) -> Result<(), EngineError> {
        if self.shared.model.clones {
            return Ok(());
        }
        let why = "these weights of Pocket TTS cannot clone voices; those of kyutai/pocket-tts can, after a login";
        Err(EngineError::BadRequest(why.into()))
    }

    fn condition(&self, audio: &Pcm) -> Result<ClonedVoice, EngineError> {
        self.can_clone()?;
        let model = &self.shared.model;
        let samples = reference::prepare(audio, self.rate)?;
        let voice = catch_unwind(AssertUnwindSafe(|| model.hear(&samples)))
            .map_err(|panic| failed(format!("it panicked: {}", panic_text(&*panic))))?
            .map_err(failed)?;
        let bytes = voice.write(&model.fingerprint).map_err(failed)?;
        Ok(ClonedVoice { engine: ENGINE, bytes })
    }

    fn add_voice(&self, name: &str, voice: &ClonedVoice) -> Result<Voice, EngineError> {
        let refuse = |why: String| EngineError::BadRequest(why);
        if voice.engine != ENGINE {
            return Err(refuse(format!("the voice was made by {}, not by {ENGINE}; make it again", voice.engine)));
        }
        let id = id(name);
        if name.is_empty() || name.contains('/') || self.shared.lock().presets.contains_key(&id) {
            return Err(refuse(format!("a voice cannot be called {name:?}; choose another name")));
        }
        let model = &self.shared.model;
        let read = SafeFile::read(Cursor::new(voice.bytes.as_slice()))
            .and_then(|mut file| VoiceState::read(&mut file, &model.config, Some(&model.fingerprint)));
        let state = read.map_err(|flaw| refuse(format!("the voice {name:?} cannot be used: {flaw}")))?;
        self.shared.keep(id.clone(), Arc::new(state))?;
        Ok(Voice { id, name: name.into(), language: LANGUAGE, rate: self.rate })
    }

    fn remove_voice(&self, id: &str) -> bool {
        let mut state = self.shared.lock();
        !state.presets.contains_key(id) && state.voices.remove(id).is_some()
    }
}

impl Drop for PocketTts {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        for job in waiting.into_values() {
            let _ = job.chunks.try_send(Err(EngineError::Stopped { engine: ENGINE }));
        }
        self.shared.arrived.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and its data is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The voice of a request, from memory or from its file.
    fn voice(&self, job: &Job) -> Result<Arc<VoiceState>, EngineError> {
        let path = {
            let state = self.lock();
            if let Some(voice) = job.loaded.as_ref().or_else(|| state.voices.get(&job.voice)) {
                return Ok(Arc::clone(voice));
            }
            state.presets.get(&job.voice).cloned().ok_or_else(|| failed("its voice is gone"))?
        };
        let voice = Arc::new(read_voice(&path, &self.model)?);
        self.keep(job.voice.clone(), Arc::clone(&voice))?;
        Ok(voice)
    }

    /// Keeps a voice in memory. A preset one makes room; where there is none, a preset is not kept and a cloned one refused.
    fn keep(&self, id: String, voice: Arc<VoiceState>) -> Result<(), EngineError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.voices.len() >= VOICES_MAX && !state.voices.contains_key(&id) {
            let other = state.voices.keys().find(|known| state.presets.contains_key(*known)).cloned();
            match other {
                Some(other) => drop(state.voices.remove(&other)),
                None if state.presets.contains_key(&id) => return Ok(()),
                None => {
                    let why = format!("there are {VOICES_MAX} cloned voices already; remove one first");
                    return Err(EngineError::BadRequest(why));
                }
            }
        }
        state.voices.insert(id, voice);
        Ok(())
    }
}

fn read_voice(path: &Path, model: &Model) -> Result<VoiceState, EngineError> {
    let mut file = SafeFile::open(path, "the voice")?;
    VoiceState::read(&mut file, &model.config, Some(&model.fingerprint)).map_err(|flaw| corrupt(path, &flaw))
}

impl State {
    fn drop_cancelled(&mut self) {
        let before = self.jobs.len();
        self.jobs.retain(|_, job| !job.cancelled.is_set());
        self.load.dropped += (before - self.jobs.len()) as u64;
    }
}

/// The thread: takes up requests, lets the most urgent speeches take a step, and so on.
fn serve(shared: &Shared, rate: SampleRate) {
    let mut speeches: Vec<Speaking> = Vec::new();
    while take_up(shared, &mut speeches, rate) {
        let began = Instant::now();
        let before: Duration = speeches.iter().map(|speech| speech.spoken).sum();
        let stepped = step(shared, &mut speeches);
        let after: Duration = speeches.iter().map(|speech| speech.spoken).sum();
        let over = end(&mut speeches, stepped);
        // Counted before their listeners are told, by the end of the channel or an error.
        {
            let mut state = shared.lock();
            state.load.served += over.len() as u64;
            state.load.computed += began.elapsed();
            state.load.spoken += after.saturating_sub(before);
        }
        for (speech, error) in over {
            if let Some(error) = error {
                speech.fail(error);
            }
        }
    }
    for speech in speeches {
        speech.fail(EngineError::Stopped { engine: ENGINE });
    }
}

/// Drops who has gone, takes up who waits, and waits if there is nothing to do. Whether to go on.
fn take_up(shared: &Shared, speeches: &mut Vec<Speaking>, rate: SampleRate) -> bool {
    loop {
        let jobs = {
            let mut state = shared.lock();
            loop {
                if state.closed {
                    return false;
                }
                let under_way = speeches.len();
                speeches.retain(|speech| !speech.is_gone());
                state.load.served += (under_way - speeches.len()) as u64;
                state.drop_cancelled();
                state.load.busy = speeches.len();
                let mut jobs = Vec::new();
                while speeches.len() + jobs.len() < UNDER_WAY_MAX
                    && let Some((_, job)) = state.jobs.pop_first()
                {
                    state.load.queued += job.queued.elapsed();
                    jobs.push(job);
                    state.load.busy += 1;
                }
                if !jobs.is_empty() || speeches.iter().any(Speaking::has_room) {
                    break jobs;
                }
                state = if speeches.is_empty() {
                    shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner)
                } else {
                    let waited = shared.arrived.wait_timeout(state, FULL_WAIT);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                };
            }
        };
        for job in jobs {
            let chunks = job.chunks.clone();
            let voice = shared.voice(&job);
            match voice.and_then(|voice| Speaking::begin(job, voice, &shared.model, &shared.tokens, rate)) {
                Ok(speech) => speeches.push(speech),
                Err(error) => {
                    tracing::warn!(engine = ENGINE, %error, "sentence not spoken");
                    shared.lock().load.served += 1;
                    let _ = chunks.try_send(Err(error));
                }
            }
        }
        if speeches.iter().any(Speaking::has_room) {
            return true;
        }
    }
}

/// One step of those who are next: what became of each, by its place.
fn step(shared: &Shared, speeches: &mut [Speaking]) -> Vec<(usize, Result<Progress, EngineError>)> {
    let able: Vec<usize> =
        speeches.iter().enumerate().filter(|(_, speech)| speech.has_room()).map(|(at, _)| at).collect();
    let dry: Vec<Instant> = able.iter().filter_map(|at| speeches.get(*at)).map(Speaking::dry).collect();
    let chosen: Vec<usize> = rota::next(&dry).into_iter().filter_map(|at| able.get(at).copied()).collect();
    let mut parts: Vec<(usize, &mut Speaking)> =
        speeches.iter_mut().enumerate().filter(|(at, _)| chosen.contains(at)).collect();
    let caught = |work: &mut dyn FnMut() -> Result<Progress, EngineError>| {
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|panic| Err(failed(format!("it panicked: {}", panic_text(&*panic)))))
    };
    let mut latents = Vec::new();
    let thought = caught(&mut || {
        let mut batch: Vec<_> = parts.iter_mut().map(|(_, speech)| speech.thinking()).collect();
        latents = shared.model.think(&mut batch).map_err(failed)?;
        Ok(Progress::Going)
    });
    if let Err(error) = thought {
        return parts.into_iter().map(|(at, _)| (at, Err(error.clone()))).collect();
    }
    let mut done = Vec::with_capacity(parts.len());
    let now = Instant::now();
    for ((at, speech), latent) in parts.iter_mut().zip(latents) {
        let mut latent = Some(latent);
        let progress = caught(&mut || speech.take(latent.take().flatten(), now, &shared.model, &shared.tokens));
        done.push((*at, progress));
    }
    done
}

/// Takes out the speeches that are over or have failed, and why.
fn end(
    speeches: &mut Vec<Speaking>,
    mut stepped: Vec<(usize, Result<Progress, EngineError>)>,
) -> Vec<(Speaking, Option<EngineError>)> {
    // From the back, so that places stay true.
    stepped.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut over = Vec::new();
    for (at, progress) in stepped {
        if matches!(progress, Ok(Progress::Going)) || at >= speeches.len() {
            continue;
        }
        let speech = speeches.swap_remove(at);
        let (computed, first_chunk, spoken) = (speech.began.elapsed(), speech.first_chunk, speech.spoken);
        let queued = speech.began.saturating_duration_since(speech.job().queued);
        tracing::debug!(engine = ENGINE, ?queued, ?first_chunk, ?computed, ?spoken, "sentence spoken");
        let error = progress.err();
        if let Some(error) = &error {
            tracing::warn!(engine = ENGINE, %error, "sentence not spoken");
        }
        over.push((speech, error));
    }
    over
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
