//! A scripted recogniser under every order of arrival.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::stt::pieces::Cutting;
use crate::stt::{Piece, Recognized, Refused};

/// Says what the test scripts: the first sample is the number of the request. It reports each request it begins, and waits
/// for the test to let it go on.
struct Scripted {
    begun: mpsc::Sender<usize>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

const PANICS: usize = 99;
const SAYS_NOTHING: usize = 98;

impl Recognizer for Scripted {
    fn name(&self) -> String {
        "scripted".to_owned()
    }

    fn cutting(&self) -> Cutting {
        Cutting { shortest: Duration::from_secs(1), longest: Duration::from_secs(1) }
    }

    fn recognize(&mut self, piece: &Piece<'_>, cancelled: &Cancelled) -> Result<Recognized, EngineError> {
        let number = piece.audio[0] as usize;
        self.begun.send(number).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        assert!(number != PANICS, "as scripted");
        if cancelled.is_set() {
            return Err(EngineError::Failed { engine: "scripted", reason: "cancelled".to_owned() });
        }
        Ok(Recognized {
            text: if number == SAYS_NOTHING { "You".to_owned() } else { format!(" request number {number} ") },
            language: Some("en".to_owned()),
            mean_log_probability: -0.3,
            tokens: 3,
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
    bench_of(1, limits)
}

fn bench_of(threads: usize, limits: PoolLimits) -> Bench {
    let (begun_tx, begun) = mpsc::channel();
    let (go_on, go_on_rx) = mpsc::channel();
    let go_on_rx = Arc::new(Mutex::new(go_on_rx));
    let scripted =
        |_| Box::new(Scripted { begun: begun_tx.clone(), go_on: Arc::clone(&go_on_rx) }) as Box<dyn Recognizer>;
    let pool = RecognizerPool::start((0..threads).map(scripted).collect(), vec!["en"], limits).unwrap();
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
        let occupying = self.ask(0, Urgency::Final).unwrap();
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
async fn a_final_does_not_wait_for_a_partial_in_work() {
    let bench = bench(PoolLimits::default());
    let partial = bench.ask(1, Urgency::Partial).unwrap();
    assert_eq!(bench.begun.recv(), Ok(1));
    let person = bench.ask(2, Urgency::Final).unwrap();
    // The engine looks at the flag at its next step, which the test lets it make.
    assert_eq!(bench.order_of(1), [2]);
    assert!(matches!(partial.finished().await, Err(EngineError::Overloaded { .. })));
    bench.go_on.send(()).unwrap();
    assert_eq!(person.finished().await.unwrap().text, "request number 2");
}

#[tokio::test]
async fn a_file_in_work_makes_way_for_a_person_and_is_done_afterwards() {
    let bench = bench(PoolLimits::default());
    let file = bench.ask(1, Urgency::Background).unwrap();
    assert_eq!(bench.begun.recv(), Ok(1));
    let person = bench.ask(2, Urgency::Final).unwrap();
    assert_eq!(bench.order_of(2), [2, 1]);
    bench.go_on.send(()).unwrap();
    assert_eq!(person.finished().await.unwrap().text, "request number 2");
    assert_eq!(file.finished().await.unwrap().text, "request number 1");
}

#[tokio::test]
async fn a_final_in_work_is_never_stopped_and_one_partial_is_enough() {
    let bench = bench_of(2, PoolLimits::default());
    let person = bench.ask(1, Urgency::Final).unwrap();
    assert_eq!(bench.begun.recv(), Ok(1));
    let partial = bench.ask(2, Urgency::Partial).unwrap();
    assert_eq!(bench.begun.recv(), Ok(2));
    let finals = [3, 4].map(|number| bench.ask(number, Urgency::Final).unwrap());
    for _ in 0..4 {
        bench.go_on.send(()).unwrap();
    }
    assert_eq!(person.finished().await.unwrap().text, "request number 1");
    assert!(matches!(partial.finished().await, Err(EngineError::Overloaded { .. })));
    for (number, person) in finals.into_iter().enumerate() {
        assert_eq!(person.finished().await.unwrap().text, format!("request number {}", number + 3));
    }
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

#[tokio::test]
async fn who_waits_and_who_is_heard_can_be_seen() {
    let bench = bench(PoolLimits::default());
    assert_eq!(bench.pool.queue(), Some(QueueDepth::default()));
    let occupying = bench.occupy();
    let _waiting = [1, 2].map(|number| bench.ask(number, Urgency::Background).unwrap());
    drop(bench.ask(3, Urgency::Background).unwrap());
    assert_eq!(bench.pool.queue(), Some(QueueDepth { waiting: 2, busy: 1 }));
    assert_eq!(bench.order_of(2), [1, 2]);
    occupying.finished().await.unwrap();
    assert_eq!(bench.pool.queue(), Some(QueueDepth { waiting: 0, busy: 1 }));
    bench.go_on.send(()).unwrap();
}
