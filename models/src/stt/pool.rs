//! Recognisers on threads of their own behind one bounded priority queue.
//!
//! Owns the threads. Promises: a final goes before a partial and a partial before background work, each first come, first
//! served; a request whose caller has gone costs nothing once the engine's current step is over; an engine that panics
//! fails that request and goes on with the next; what the gate refuses never has text. Refuses, at once and not after a wait,
//! what does not fit in the queue.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::gate::{self, Evidence};
use super::{Recognizer, SpeechToText, TranscribeRequest, Transcript, Transcription, Urgency};
use crate::cancel::Cancelled;
use crate::error::EngineError;

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

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// In the order of arrival.
    waiting: VecDeque<Entry>,
    stopping: bool,
}

struct Entry {
    request: TranscribeRequest,
    answer: oneshot::Sender<Result<Transcript, EngineError>>,
    cancelled: Cancelled,
    queued_at: Instant,
}

impl RecognizerPool {
    /// Starts a thread for each of `recognizers`, which are of one kind. `languages` as in [`SpeechToText::languages`].
    pub fn start(
        recognizers: Vec<Box<dyn Recognizer>>,
        languages: Vec<&'static str>,
        limits: PoolLimits,
    ) -> Result<Self, EngineError> {
        let Some(name) = recognizers.first().map(|recognizer| recognizer.name()) else {
            return Err(EngineError::BadRequest("speech to text needs at least one recogniser".to_owned()));
        };
        let mut pool = Self { name, languages, limits, shared: Arc::default(), threads: Vec::new() };
        for (index, mut recognizer) in recognizers.into_iter().enumerate() {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("stt-{index}"))
                .spawn(move || {
                    while let Some(entry) = shared.next() {
                        entry.serve(recognizer.as_mut());
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

    /// The most urgent request, when there is one; `None` when the pool stops.
    fn next(&self) -> Option<Entry> {
        let mut queue = self.lock();
        loop {
            if queue.stopping {
                return None;
            }
            if let Some(entry) = queue.take_most_urgent() {
                return Some(entry);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
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
        self.waiting.push_back(entry);
        Ok(())
    }

    fn take_most_urgent(&mut self) -> Option<Entry> {
        self.waiting.retain(|entry| !entry.cancelled.is_set());
        // `max_by_key` gives the last of equals, so from the back it gives the oldest.
        let (index, _) = self.waiting.iter().enumerate().rev().max_by_key(|(_, entry)| entry.request.urgency)?;
        self.waiting.remove(index)
    }
}

impl Entry {
    fn serve(self, recognizer: &mut dyn Recognizer) {
        let Self { request, answer, cancelled, queued_at } = self;
        let started = Instant::now();
        let recognized = catch_unwind(AssertUnwindSafe(|| {
            recognizer.recognize(&request.audio, request.language.as_deref(), &cancelled)
        }))
        .unwrap_or_else(|panic| Err(EngineError::Failed { engine: ENGINE, reason: panic_message(panic.as_ref()) }));
        let computed = started.elapsed();
        let transcript = recognized.map(|recognized| {
            let evidence = Evidence::of(&recognized, request.speech);
            let refused = gate::refuse(&evidence);
            if let Some(reason) = refused {
                // The text itself is the caller's and stays out of the log.
                tracing::debug!(?reason, log_probability = recognized.mean_log_probability, "transcript refused");
            }
            let text = if refused.is_some() { String::new() } else { recognized.text.trim().to_owned() };
            Transcript {
                text,
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
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", message.unwrap_or("without a message"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::stt::{Recognized, Refused};

    /// Says what the test scripts: the first sample is the number of the request. It reports each request it begins, and waits
    /// for the test to let it go on.
    struct Scripted {
        begun: mpsc::Sender<usize>,
        go_on: mpsc::Receiver<()>,
    }

    const PANICS: usize = 99;
    const SAYS_NOTHING: usize = 98;

    impl Recognizer for Scripted {
        fn name(&self) -> String {
            "scripted".to_owned()
        }

        fn recognize(
            &mut self,
            audio: &[f32],
            _: Option<&str>,
            cancelled: &Cancelled,
        ) -> Result<Recognized, EngineError> {
            let number = audio[0] as usize;
            self.begun.send(number).unwrap();
            self.go_on.recv().unwrap();
            assert!(number != PANICS, "as scripted");
            if cancelled.is_set() {
                return Err(EngineError::Failed { engine: "scripted", reason: "cancelled".to_owned() });
            }
            Ok(Recognized {
                text: if number == SAYS_NOTHING { "You".to_owned() } else { format!(" request number {number} ") },
                language: Some("en".to_owned()),
                mean_log_probability: -0.3,
                no_speech_probability: None,
            })
        }
    }

    struct Bench {
        pool: RecognizerPool,
        begun: mpsc::Receiver<usize>,
        go_on: mpsc::Sender<()>,
    }

    fn bench(limits: PoolLimits) -> Bench {
        let (begun_tx, begun) = mpsc::channel();
        let (go_on, go_on_rx) = mpsc::channel();
        let scripted = Scripted { begun: begun_tx, go_on: go_on_rx };
        let pool = RecognizerPool::start(vec![Box::new(scripted)], vec!["en"], limits).unwrap();
        Bench { pool, begun, go_on }
    }

    fn request(number: usize, urgency: Urgency) -> TranscribeRequest {
        let audio = Arc::from([number as f32]);
        TranscribeRequest { audio, language: None, urgency, speech: Some(Duration::from_secs(1)) }
    }

    impl Bench {
        fn ask(&self, number: usize, urgency: Urgency) -> Result<Transcription, EngineError> {
            self.pool.transcribe(request(number, urgency))
        }

        /// Occupies the engine with request 0, so that what follows waits.
        fn occupy(&self) -> Transcription {
            let occupying = self.ask(0, Urgency::Background).unwrap();
            assert_eq!(self.begun.recv(), Ok(0));
            occupying
        }

        /// Lets the engine finish what it is at, and `more` further requests; gives the order in which those began.
        fn order_of(&self, more: usize) -> Vec<usize> {
            (0..more)
                .map(|_| {
                    self.go_on.send(()).unwrap();
                    self.begun.recv().unwrap()
                })
                .collect()
        }
    }

    #[tokio::test]
    async fn a_person_who_waits_is_served_before_partials_and_files() {
        let bench = bench(PoolLimits::default());
        let _occupying = bench.occupy();
        let _waiting: Vec<_> = [
            (1, Urgency::Background),
            (2, Urgency::Partial),
            (3, Urgency::Final),
            (4, Urgency::Partial),
            (5, Urgency::Final),
        ]
        .map(|(number, urgency)| bench.ask(number, urgency).unwrap())
        .into();
        assert_eq!(bench.order_of(5), [3, 5, 2, 4, 1]);
        bench.go_on.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_request_whose_caller_has_gone_costs_nothing() {
        let bench = bench(PoolLimits { waiting: 2, waiting_for_partial: 1 });
        let _occupying = bench.occupy();
        drop(bench.ask(1, Urgency::Final).unwrap());
        drop(bench.ask(2, Urgency::Final).unwrap());
        // Nor does it hold a place in the queue.
        let _third = bench.ask(3, Urgency::Partial).unwrap();
        assert_eq!(bench.order_of(1), [3]);
        bench.go_on.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_partial_that_would_come_too_late_is_refused_at_once() {
        let bench = bench(PoolLimits { waiting: 8, waiting_for_partial: 1 });
        let occupying = bench.occupy();
        let waiting = [1, 2].map(|number| bench.ask(number, Urgency::Partial).unwrap());
        assert!(matches!(bench.ask(3, Urgency::Partial), Err(EngineError::Overloaded { waiting: 2, .. })));
        let person = bench.ask(4, Urgency::Final).unwrap();
        for _ in 0..4 {
            bench.go_on.send(()).unwrap();
        }
        assert_eq!(person.finished().await.unwrap().text, "request number 4");
        drop((occupying, waiting));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_files_and_makes_room_for_a_person() {
        let bench = bench(PoolLimits { waiting: 2, waiting_for_partial: 8 });
        let _occupying = bench.occupy();
        let _first = bench.ask(1, Urgency::Background).unwrap();
        let youngest = bench.ask(2, Urgency::Background).unwrap();
        assert!(matches!(bench.ask(3, Urgency::Background), Err(EngineError::Overloaded { .. })));
        let _person = bench.ask(4, Urgency::Final).unwrap();
        assert!(matches!(youngest.finished().await, Err(EngineError::Overloaded { .. })));
        let _another = bench.ask(5, Urgency::Final).unwrap();
        assert!(matches!(bench.ask(6, Urgency::Final), Err(EngineError::Overloaded { .. })));
        assert_eq!(bench.order_of(2), [4, 5]);
        bench.go_on.send(()).unwrap();
    }

    #[tokio::test]
    async fn an_engine_that_panics_fails_one_request_and_goes_on() {
        let bench = bench(PoolLimits::default());
        let failing = bench.ask(PANICS, Urgency::Final).unwrap();
        bench.go_on.send(()).unwrap();
        let failure = failing.finished().await.unwrap_err();
        assert!(matches!(&failure, EngineError::Failed { reason, .. } if reason.contains("as scripted")), "{failure}");
        let next = bench.ask(7, Urgency::Final).unwrap();
        bench.go_on.send(()).unwrap();
        assert_eq!(next.finished().await.unwrap().text, "request number 7");
    }

    #[tokio::test]
    async fn a_phantom_phrase_is_withheld_with_its_reason() {
        let bench = bench(PoolLimits::default());
        bench.go_on.send(()).unwrap();
        let asked = TranscribeRequest { speech: Some(Duration::ZERO), ..request(SAYS_NOTHING, Urgency::Final) };
        let transcript = bench.pool.transcribe(asked).unwrap().finished().await.unwrap();
        assert_eq!((transcript.text.as_str(), transcript.refused), ("", Some(Refused::Phantom)));
    }

    #[tokio::test]
    async fn a_server_that_stops_answers_those_who_wait() {
        let bench = bench(PoolLimits::default());
        let occupying = bench.occupy();
        let waiting = bench.ask(1, Urgency::Final).unwrap();
        // Stops while the thread is still occupied, or the thread might take up the request that waits.
        let stopping = std::thread::spawn(move || drop(bench.pool));
        assert!(matches!(waiting.finished().await, Err(EngineError::Stopped { .. })));
        bench.go_on.send(()).unwrap();
        assert_eq!(occupying.finished().await.unwrap().text, "request number 0");
        stopping.join().unwrap();
    }

    #[test]
    fn a_pool_of_nobody_is_refused() {
        assert!(RecognizerPool::start(Vec::new(), Vec::new(), PoolLimits::default()).is_err());
    }
}
