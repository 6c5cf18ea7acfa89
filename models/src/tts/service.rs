//! Makes blocking [`Synthesizer`]s the shared, queued, cancellable [`TextToSpeech`] of all calls.
//!
//! One thread a synthesizer, one bounded queue before them; the most urgent deadline goes first. A request whose caller has gone is
//! dropped before work, or stops within one chunk. A panic of an engine fails that request only. Engines are given words only: what is
//! written as numbers or signs is put into words here, in the voice's language. Sentences come out with their silent edges trimmed.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::trim::EdgeTrim;
use super::{CHUNKS_BOUND, SpeakRequest, Speech, Synthesizer, TextToSpeech, Voice};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::queue::QueueDepth;
use crate::text::spoken_form;

/// How many sentences may wait. When full, a request is refused at once.
pub const QUEUE_BOUND: usize = 64;
/// The longest text of one request, in characters: some five minutes of speech.
pub const TEXT_MAX: usize = 4_000;
/// How much is sent at once to a listener who has half of [`CHUNKS_BOUND`] waiting, so that one who listens in real time does not
/// hold the engine: the other half then takes over four minutes.
const BACKLOG_CHUNK: Duration = Duration::from_secs(1);
/// How often a full channel is tried again.
const FULL_WAIT: Duration = Duration::from_millis(10);

/// What a service has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Sentences that wait now.
    pub waiting: usize,
    /// Sentences that are worked on now.
    pub busy: usize,
    /// Sentences worked on, finished or not.
    pub served: u64,
    /// Sentences dropped before work since their caller had gone.
    pub dropped: u64,
    /// Time that the served ones waited, in all.
    pub queued: Duration,
    /// Time that the engines worked, in all.
    pub computed: Duration,
    /// Audio made, in all.
    pub spoken: Duration,
}

/// A speaking engine behind its queue. Dropping it stops its threads within one chunk.
pub struct SpeechService {
    engine: &'static str,
    name: String,
    voices: Vec<Voice>,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
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
}

struct Job {
    text: String,
    voice: String,
    language: &'static str,
    queued: Instant,
    chunks: mpsc::Sender<Result<Pcm, EngineError>>,
    cancelled: Cancelled,
}

impl SpeechService {
    /// Starts a thread for each of `pool`, which are alike: each has the same voices.
    pub fn start(engine: &'static str, pool: Vec<Box<dyn Synthesizer>>) -> Result<Self, EngineError> {
        let first =
            pool.first().ok_or_else(|| EngineError::BadRequest(format!("{engine} needs at least one worker")))?;
        let (name, voices) = (first.name(), first.voices());
        let queue = Arc::new(Queue { state: Mutex::default(), arrived: Condvar::new() });
        let mut service = Self { engine, name, voices, queue, threads: Vec::new() };
        for synthesizer in pool {
            let queue = Arc::clone(&service.queue);
            let thread = std::thread::Builder::new()
                .name(format!("tts-{engine}"))
                .spawn(move || work(engine, &queue, synthesizer))
                .map_err(|error| EngineError::Failed { engine, reason: format!("no thread for it: {error}") })?;
            service.threads.push(thread);
        }
        Ok(service)
    }

    pub fn load(&self) -> Load {
        let state = self.queue.lock();
        Load { waiting: state.jobs.len(), ..state.load }
    }

    fn voice(&self, wanted: &str) -> Result<&Voice, EngineError> {
        let found = if wanted.is_empty() { self.voices.first() } else { self.voices.iter().find(|v| v.id == wanted) };
        found.ok_or_else(|| super::voices::unknown(wanted, &self.voices))
    }
}

impl Load {
    pub(crate) fn queue(self) -> QueueDepth {
        QueueDepth { waiting: self.waiting, busy: self.busy }
    }
}

impl TextToSpeech for SpeechService {
    fn queue(&self) -> Option<QueueDepth> {
        Some(self.load().queue())
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let voice = self.voice(&request.voice)?;
        super::check_text(&request.text, TEXT_MAX)?;
        let (speech, chunks, cancelled) = Speech::new();
        let (queued, language, voice) = (Instant::now(), voice.language, voice.id.clone());
        let job = Job { text: request.text, voice, language, queued, chunks, cancelled };
        let mut state = self.queue.lock();
        if state.closed {
            return Err(EngineError::Stopped { engine: self.engine });
        }
        if state.jobs.len() >= QUEUE_BOUND {
            state.drop_cancelled();
        }
        if state.jobs.len() >= QUEUE_BOUND {
            return Err(EngineError::Overloaded { engine: self.engine, waiting: state.jobs.len() });
        }
        state.arrivals += 1;
        let key = (request.deadline, state.arrivals);
        state.jobs.insert(key, job);
        drop(state);
        self.queue.arrived.notify_one();
        Ok(speech)
    }
}

impl Drop for SpeechService {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.queue.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        for job in waiting.into_values() {
            // The channel of a job that has not begun is empty.
            let _ = job.chunks.try_send(Err(EngineError::Stopped { engine: self.engine }));
        }
        self.queue.arrived.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and its data is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most urgent job whose caller still waits; `None` when the service is closed.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.jobs.pop_first() {
                Some((_, job)) if job.cancelled.is_set() => state.load.dropped += 1,
                Some((_, job)) => {
                    state.load.busy += 1;
                    return Some(job);
                }
                None => state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl State {
    fn drop_cancelled(&mut self) {
        let before = self.jobs.len();
        self.jobs.retain(|_, job| !job.cancelled.is_set());
        self.load.dropped += (before - self.jobs.len()) as u64;
    }
}

fn work(engine: &'static str, queue: &Queue, mut synthesizer: Box<dyn Synthesizer>) {
    // A language's rules are compiled when they are first needed: now, and not while somebody waits.
    for voice in synthesizer.voices() {
        spoken_form("0", voice.language);
    }
    while let Some(job) = queue.next() {
        let began = Instant::now();
        let queued = began.saturating_duration_since(job.queued);
        let mut outlet = Outlet::new(engine, &job, queue);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let spoken = spoken_form(&job.text, job.language);
            synthesizer.synthesize(&spoken, &job.voice, &mut |pcm| outlet.take(&pcm))
        }));
        let outcome = match ended {
            Ok(Ok(())) => outlet.finish(),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(EngineError::Failed { engine, reason: format!("it panicked: {}", panic_text(&*panic)) }),
        };
        let computed = began.elapsed();
        let (first_chunk, spoken) = (outlet.first_chunk, outlet.spoken);
        tracing::debug!(
            engine,
            ?queued,
            ?first_chunk,
            ?computed,
            ?spoken,
            gone = job.cancelled.is_set(),
            "sentence spoken"
        );
        // Counted before the listener is told, by the end of the channel or an error.
        {
            let mut state = queue.lock();
            state.load.busy = state.load.busy.saturating_sub(1);
            state.load.served += 1;
            state.load.queued += queued;
            state.load.computed += computed;
            state.load.spoken += spoken;
        }
        if let Err(error) = outcome {
            tracing::warn!(engine, %error, "sentence not spoken");
            let _ = deliver(&job, queue, Err(error));
        }
    }
}

/// Trims what an engine makes and hands it to the caller.
struct Outlet<'a> {
    engine: &'static str,
    job: &'a Job,
    queue: &'a Queue,
    trim: EdgeTrim,
    rate: Option<SampleRate>,
    /// Trimmed, not yet sent.
    ready: Vec<f32>,
    began: Instant,
    first_chunk: Option<Duration>,
    spoken: Duration,
    gone: bool,
}

impl<'a> Outlet<'a> {
    fn new(engine: &'static str, job: &'a Job, queue: &'a Queue) -> Self {
        Self {
            engine,
            job,
            queue,
            trim: EdgeTrim::new(),
            rate: None,
            ready: Vec::new(),
            began: Instant::now(),
            first_chunk: None,
            spoken: Duration::ZERO,
            gone: false,
        }
    }

    fn take(&mut self, pcm: &Pcm) -> ControlFlow<()> {
        self.gone |= self.job.cancelled.is_set() || self.queue.lock().closed;
        if self.gone {
            return ControlFlow::Break(());
        }
        self.rate = Some(pcm.rate);
        let audible = self.trim.push(pcm);
        self.ready.extend(audible);
        let enough = if self.job.chunks.capacity() > CHUNKS_BOUND / 2 { 1 } else { pcm.rate.samples_in(BACKLOG_CHUNK) };
        if self.ready.len() >= enough { self.send() } else { ControlFlow::Continue(()) }
    }

    /// Sends the end of the sentence; an error if the service stopped in the middle of it.
    fn finish(&mut self) -> Result<(), EngineError> {
        if !self.gone {
            let rest = self.trim.finish();
            self.ready.extend(rest);
            let _ = self.send();
        }
        if self.gone && !self.job.cancelled.is_set() {
            return Err(EngineError::Stopped { engine: self.engine });
        }
        Ok(())
    }

    fn send(&mut self) -> ControlFlow<()> {
        let Some(rate) = self.rate.filter(|_| !self.ready.is_empty()) else { return ControlFlow::Continue(()) };
        let pcm = Pcm::new(rate, std::mem::take(&mut self.ready));
        self.first_chunk.get_or_insert_with(|| self.began.elapsed());
        self.spoken += pcm.duration();
        self.gone |= !deliver(self.job, self.queue, Ok(pcm));
        if self.gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Sends, waiting for room if need be; `false` if the caller has gone or the service is closed.
fn deliver(job: &Job, queue: &Queue, mut chunk: Result<Pcm, EngineError>) -> bool {
    loop {
        match job.chunks.try_send(chunk) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(_)) if job.cancelled.is_set() || queue.lock().closed => return false,
            Err(TrySendError::Full(back)) => {
                chunk = back;
                std::thread::sleep(FULL_WAIT);
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests;
