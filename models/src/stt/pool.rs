//! Recognisers on threads of their own behind one bounded priority queue.
//!
//! Owns the threads. Promises: a final goes before a partial and a partial before background work, each first come, first
//! served; a final that finds no thread free stops a partial in work (which is told that the pool is overloaded), or else
//! background work (which waits for its turn again and keeps what it has); a request whose caller has gone costs nothing once
//! the engine's current step is over; an engine that panics fails that request and goes on with the next; what the gate refuses
//! never has text. Refuses, at once and not after a wait, what does not fit in the queue.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::gate::{self, Evidence};
use super::memory::Memory;
use super::script::Script;
use super::sliding;
use super::{Recognizer, SpeechToText, TranscribeRequest, Transcript, Transcription, Urgency};
use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;
use crate::queue::QueueDepth;

const ENGINE: &str = "speech to text";

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Requests in the queue, whatever their urgency. When it is full a final takes the place of the youngest request of the
    /// lowest urgency, which is told so; anything else is refused. Costs the requests' audio: 64 kB a second of speech.
    pub waiting: usize,
    /// A partial is refused while more than this many requests wait: it would be stale by the time it was its turn.
    pub waiting_for_partial: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { waiting: 32, waiting_for_partial: 4 }
    }
}

/// See the module.
pub struct RecognizerPool {
    name: String,
    languages: Vec<&'static str>,
    limits: PoolLimits,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    memory: Memory,
    script: Script,
}

struct Queue {
    /// In the order of arrival.
    waiting: VecDeque<Entry>,
    /// What each thread is at.
    in_work: Vec<Option<Work>>,
    stopping: bool,
}

struct Entry {
    request: TranscribeRequest,
    answer: oneshot::Sender<Result<Transcript, EngineError>>,
    cancelled: Cancelled,
    queued_at: Instant,
}

/// A request in work.
struct Work {
    urgency: Urgency,
    since: Instant,
    /// Its caller has gone.
    cancelled: Cancelled,
    /// Dropped to stop it for a more urgent one.
    stop: Option<CancelOnDrop>,
}

impl Work {
    /// Whether its thread is about to be free.
    fn is_ending(&self) -> bool {
        self.stop.is_none() || self.cancelled.is_set()
    }
}

impl RecognizerPool {
    /// Starts a thread for each of `recognizers`, which are of one kind. `languages` as in [`SpeechToText::languages`].
    pub fn start(
        recognizers: Vec<Box<dyn Recognizer>>,
        languages: Vec<&'static str>,
        limits: PoolLimits,
    ) -> Result<Self, EngineError> {
        Self::start_writing(recognizers, languages, limits, Script::default())
    }

    /// As [`Self::start`], writing Chinese as `script` says.
    pub fn start_writing(
        recognizers: Vec<Box<dyn Recognizer>>,
        languages: Vec<&'static str>,
        limits: PoolLimits,
        script: Script,
    ) -> Result<Self, EngineError> {
        let Some(name) = recognizers.first().map(|recognizer| recognizer.name()) else {
            return Err(EngineError::BadRequest("speech to text needs at least one recogniser".to_owned()));
        };
        let in_work = recognizers.iter().map(|_| None).collect();
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), in_work, stopping: false });
        let shared = Arc::new(Shared { queue, changed: Condvar::new(), memory: Memory::default(), script });
        let mut pool = Self { name, languages, limits, shared, threads: Vec::new() };
        for (index, mut recognizer) in recognizers.into_iter().enumerate() {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("stt-{index}"))
                .spawn(move || {
                    while let Some((entry, stop)) = shared.next(index) {
                        shared.serve(entry, &stop, recognizer.as_mut());
                    }
                })
                .map_err(|error| EngineError::Failed { engine: ENGINE, reason: format!("no thread: {error}") })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

impl SpeechToText for RecognizerPool {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn languages(&self) -> &[&'static str] {
        &self.languages
    }

    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError> {
        let (transcription, answer, cancelled) = Transcription::new();
        let entry = Entry { request, answer, cancelled, queued_at: Instant::now() };
        self.shared.lock().admit(entry, self.limits)?;
        self.shared.changed.notify_one();
        Ok(transcription)
    }

    fn queue(&self) -> Option<QueueDepth> {
        let queue = self.shared.lock();
        let waiting = queue.waiting.iter().filter(|entry| !entry.cancelled.is_set()).count();
        Some(QueueDepth { waiting, busy: queue.in_work.iter().flatten().count() })
    }
}

impl Drop for RecognizerPool {
    /// Waits for the requests in work, so that no thread is inside a native library when the process ends; those that wait are
    /// answered [`EngineError::Stopped`].
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.shared.lock();
            queue.stopping = true;
            std::mem::take(&mut queue.waiting)
        };
        self.shared.changed.notify_all();
        drop(waiting);
        for thread in self.threads.drain(..) {
            // Panics of the engine are caught inside; nothing else is worth failing a shutdown for.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most urgent request, when there is one, for thread `index`, and what stops it; `None` when the pool stops.
    fn next(&self, index: usize) -> Option<(Entry, Cancelled)> {
        let mut queue = self.lock();
        queue.set_work(index, None);
        loop {
            if queue.stopping {
                return None;
            }
            if let Some(entry) = queue.take_most_urgent() {
                let stop = CancelOnDrop::default();
                let stopped = stop.watch();
                let work = Work {
                    urgency: entry.request.urgency,
                    since: Instant::now(),
                    cancelled: entry.cancelled.clone(),
                    stop: Some(stop),
                };
                queue.set_work(index, Some(work));
                return Some((entry, stopped));
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn serve(&self, entry: Entry, stop: &Cancelled, recognizer: &mut dyn Recognizer) {
        let Entry { request, answer, cancelled, queued_at } = entry;
        let started = Instant::now();
        let either = cancelled.or(stop);
        let language = request.language.as_deref();
        let recognized = catch_unwind(AssertUnwindSafe(|| {
            sliding::transcribe(recognizer, &request.audio, language, &self.memory, &either)
        }))
        .unwrap_or_else(|panic| Err(EngineError::Failed { engine: ENGINE, reason: panic_message(panic.as_ref()) }));
        if recognized.is_err() && stop.is_set() && !cancelled.is_set() {
            self.stopped(Entry { request, answer, cancelled, queued_at });
            return;
        }
        let computed = started.elapsed();
        let transcript = recognized.map(|recognized| {
            let evidence = Evidence::of(&recognized, request.speech);
            let refused = gate::refuse(&evidence);
            if let Some(reason) = refused {
                // The text itself is the caller's and stays out of the log.
                tracing::debug!(?reason, log_probability = recognized.mean_log_probability, "transcript refused");
            }
            let text = if refused.is_some() { "" } else { recognized.text.trim() };
            Transcript {
                text: self.script.write(text, language, recognized.language.as_deref()),
                language: recognized.language,
                mean_log_probability: recognized.mean_log_probability,
                refused,
                queued: started.saturating_duration_since(queued_at),
                computed,
            }
        });
        // A caller who has gone needs no answer.
        let _ = answer.send(transcript);
    }

    /// A request that was stopped for a more urgent one.
    fn stopped(&self, entry: Entry) {
        let mut queue = self.lock();
        if entry.request.urgency == Urgency::Background && !queue.stopping {
            // Before its equals; the pieces that it has are remembered.
            queue.waiting.push_front(entry);
        } else {
            let waiting = queue.waiting.len();
            let _ = entry.answer.send(Err(EngineError::Overloaded { engine: ENGINE, waiting }));
        }
    }
}

impl Queue {
    fn admit(&mut self, entry: Entry, limits: PoolLimits) -> Result<(), EngineError> {
        self.waiting.retain(|entry| !entry.cancelled.is_set());
        let waiting = self.waiting.len();
        let overloaded = || EngineError::Overloaded { engine: ENGINE, waiting };
        if entry.request.urgency == Urgency::Partial && waiting > limits.waiting_for_partial {
            return Err(overloaded());
        }
        if waiting >= limits.waiting {
            let least_urgent = self.waiting.iter().enumerate().rev().min_by_key(|(_, entry)| entry.request.urgency);
            let victim = least_urgent
                .filter(|(_, victim)| {
                    entry.request.urgency == Urgency::Final && victim.request.urgency < Urgency::Final
                })
                .map(|(index, _)| index)
                .and_then(|index| self.waiting.remove(index));
            let Some(victim) = victim else { return Err(overloaded()) };
            // If the caller has gone meanwhile there is nobody to tell.
            let _ = victim.answer.send(Err(overloaded()));
        }
        let is_final = entry.request.urgency == Urgency::Final;
        self.waiting.push_back(entry);
        if is_final {
            self.make_way();
        }
        Ok(())
    }

    /// Stops a request in work if more finals wait than threads are free or about to be: the partial begun last, which loses
    /// least, or else a file.
    fn make_way(&mut self) {
        let finals = self.waiting.iter().filter(|entry| entry.request.urgency == Urgency::Final).count();
        let free = self.in_work.iter().filter(|work| work.as_ref().is_none_or(Work::is_ending)).count();
        if finals <= free {
            return;
        }
        let stoppable =
            self.in_work.iter_mut().flatten().filter(|work| !work.is_ending() && work.urgency < Urgency::Final);
        if let Some(work) = stoppable.max_by_key(|work| (work.urgency, work.since)) {
            work.stop = None;
        }
    }

    fn set_work(&mut self, index: usize, work: Option<Work>) {
        if let Some(slot) = self.in_work.get_mut(index) {
            *slot = work;
        }
    }

    fn take_most_urgent(&mut self) -> Option<Entry> {
        self.waiting.retain(|entry| !entry.cancelled.is_set());
        // `max_by_key` gives the last of equals, so from the back it gives the oldest.
        let (index, _) = self.waiting.iter().enumerate().rev().max_by_key(|(_, entry)| entry.request.urgency)?;
        self.waiting.remove(index)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", message.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests;
