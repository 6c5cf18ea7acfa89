//! Smart Turn v3.2 (pipecat-ai, BSD-2): does the speaker sound finished? A Whisper-tiny encoder with a classifying head, int8,
//! through ONNX Runtime, over the last eight seconds of sound; it knows no words and many languages.
//!
//! Owns one thread and its queue. Promises: a judgement nobody waits for any more is dropped before it costs anything (one
//! that has begun runs to its end, about 30 ms). Refuses when [`WAITING`] judgements wait: the turn's end must then be decided
//! by silence alone, which is how to take any error of this model. It is a hint: never let it decide alone. Its int8 arithmetic
//! is unsteady: a change of a millionth in the features moves the probability by 0.1, of a ten-thousandth by up to 0.5.

mod features;
#[cfg(test)]
mod fixture;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ort::session::Session;
use ort::value::TensorRef;
use tokio::sync::oneshot;

use self::features::{BANDS, FRAMES, Features};
use super::TurnModel;
use crate::cancel::{CancelOnDrop, Cancelled};
use crate::error::EngineError;
use crate::onnx::{OnnxRuntime, expect_names};

const ENGINE: &str = "the turn model";

/// Judgements that may wait, those given up included: at 30 ms each the last is served within 0.25 s, later it is worthless.
pub const WAITING: usize = 8;

/// The loaded model and its thread.
pub struct SmartTurn {
    /// `None` only while it is being dropped.
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    utterance: Vec<f32>,
    answer: oneshot::Sender<Result<f32, EngineError>>,
    cancelled: Cancelled,
}

impl SmartTurn {
    /// Loads `smart-turn-v3.2-cpu.onnx` to run on `intra_threads` threads.
    pub fn load(runtime: &OnnxRuntime, model: &Path, intra_threads: usize) -> Result<Self, EngineError> {
        let session = runtime.session(model, intra_threads)?;
        expect_names(&session, model, &["input_features"], &["logits"])?;
        let mut judge = Judge { session, features: Features::new() };
        // The first run pays for allocations, and shows that the model takes these features.
        judge.judge(&[])?;
        Self::start(move |utterance| judge.judge(utterance))
    }

    fn start(judge: impl FnMut(&[f32]) -> Result<f32, EngineError> + Send + 'static) -> Result<Self, EngineError> {
        let (queue, jobs) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("turn-model".to_owned())
            .spawn(move || serve(&jobs, judge))
            .map_err(|error| EngineError::Failed { engine: ENGINE, reason: format!("no thread: {error}") })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }
}

impl TurnModel for SmartTurn {
    fn name(&self) -> &'static str {
        "smart-turn-v3.2"
    }

    fn judge(&self, utterance: Vec<f32>) -> Pin<Box<dyn Future<Output = Result<f32, EngineError>> + Send>> {
        let (answer, judgement) = oneshot::channel();
        let guard = CancelOnDrop::default();
        let job = Job { utterance, answer, cancelled: guard.watch() };
        // Queued now and not at the first poll: the caller's silence is already running.
        let refused = match self.queue.as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => None,
            Some(Err(TrySendError::Full(_))) => Some(EngineError::Overloaded { engine: ENGINE, waiting: WAITING }),
            Some(Err(TrySendError::Disconnected(_))) | None => Some(EngineError::Stopped { engine: ENGINE }),
        };
        Box::pin(async move {
            if let Some(error) = refused {
                return Err(error);
            }
            let judgement = judgement.await.unwrap_or(Err(EngineError::Stopped { engine: ENGINE }));
            drop(guard);
            judgement
        })
    }
}

impl Drop for SmartTurn {
    /// Waits for the judgement in work, so that no thread is inside the runtime when the process ends.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // Panics are caught inside; nothing else is worth failing a shutdown for.
            let _ = thread.join();
        }
    }
}

fn serve(jobs: &Receiver<Job>, mut judge: impl FnMut(&[f32]) -> Result<f32, EngineError>) {
    while let Ok(job) = jobs.recv() {
        if job.cancelled.is_set() {
            continue;
        }
        let judgement = catch_unwind(AssertUnwindSafe(|| judge(&job.utterance)))
            .unwrap_or_else(|_| Err(EngineError::Failed { engine: ENGINE, reason: "it panicked".to_owned() }));
        // If the caller has gone meanwhile there is nobody to tell.
        let _ = job.answer.send(judgement);
    }
}

struct Judge {
    session: Session,
    features: Features,
}

impl Judge {
    fn judge(&mut self, utterance: &[f32]) -> Result<f32, EngineError> {
        let features = self.features.of(utterance);
        self.run(&features).map_err(|error| EngineError::Failed { engine: ENGINE, reason: error.to_string() })
    }

    /// The output is named logits, but a sigmoid is already in it.
    fn run(&mut self, features: &[f32]) -> ort::Result<f32> {
        let input = TensorRef::from_array_view(([1, BANDS, FRAMES], features))?;
        let outputs = self.session.run(ort::inputs! { "input_features" => input })?;
        let probability = outputs.get("logits").map(|logits| logits.try_extract_tensor::<f32>()).transpose()?;
        let probability = probability.and_then(|(_, values)| values.first().copied());
        probability
            .filter(|probability| (0.0..=1.0).contains(probability))
            .ok_or_else(|| ort::Error::new("the model gave no probability"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::fixture::Judged;
    use super::*;
    use crate::stt::recordings;

    #[tokio::test]
    async fn judgements_are_those_of_the_reference() {
        let model = recordings::model("smart-turn-v3/smart-turn-v3.2-cpu.onnx");
        let smart_turn = SmartTurn::load(&recordings::runtime(), &model, 1).unwrap();
        // Measured: twelve of the thirteen are the reference's to four places, the other is 0.018 off. Processors whose int8
        // arithmetic rounds differently may differ more; that the features are right is the features' own test.
        for Judged(name, seconds, expected, low, high) in &fixture::read().probabilities {
            let mut utterance = if name == "chirp" { fixture::chirp(*seconds) } else { recordings::speech(name) };
            utterance.truncate((seconds * 16_000.0) as usize);
            let found = smart_turn.judge(utterance).await.unwrap();
            let (low, high) = (low.min(*expected) - 0.05, high.max(*expected) + 0.05);
            assert!((low..=high).contains(&found), "{name} {seconds} s: {found}, expected {expected}");
        }
    }

    #[test]
    fn a_model_file_of_another_kind_is_refused_at_start() {
        let wrong = recordings::model("silero-vad/silero_vad_16k_op15.onnx");
        let refused = SmartTurn::load(&recordings::runtime(), &wrong, 1).err().unwrap();
        assert!(matches!(refused, EngineError::Corrupt { .. }), "{refused}");
    }

    /// A judge that reports the length of each utterance it begins with and waits to be let on.
    fn scripted() -> (SmartTurn, Receiver<usize>, Sender<()>) {
        let (begun, begins) = channel();
        let (go_on, may_go_on) = channel();
        let smart_turn = SmartTurn::start(move |utterance| {
            begun.send(utterance.len()).unwrap();
            may_go_on.recv().unwrap();
            assert!(utterance.len() != 99, "as scripted");
            Ok(0.5)
        });
        (smart_turn.unwrap(), begins, go_on)
    }

    #[tokio::test]
    async fn a_judgement_nobody_waits_for_is_not_made() {
        let (smart_turn, begins, go_on) = scripted();
        let occupying = smart_turn.judge(vec![0.0; 1]);
        assert_eq!(begins.recv(), Ok(1));
        drop(smart_turn.judge(vec![0.0; 2]));
        let wanted = smart_turn.judge(vec![0.0; 3]);
        go_on.send(()).unwrap();
        assert_eq!(begins.recv(), Ok(3));
        go_on.send(()).unwrap();
        assert_eq!((occupying.await.unwrap(), wanted.await.unwrap()), (0.5, 0.5));
    }

    #[tokio::test]
    async fn a_flood_of_judgements_is_refused_and_not_queued() {
        let (smart_turn, begins, go_on) = scripted();
        let occupying = smart_turn.judge(vec![0.0; 1]);
        assert_eq!(begins.recv(), Ok(1));
        let waiting: Vec<_> = (0..WAITING).map(|_| smart_turn.judge(Vec::new())).collect();
        assert!(matches!(smart_turn.judge(Vec::new()).await, Err(EngineError::Overloaded { .. })));
        drop(waiting);
        go_on.send(()).unwrap();
        assert_eq!(occupying.await.unwrap(), 0.5);
    }

    #[tokio::test]
    async fn a_judge_that_panics_fails_one_judgement_and_goes_on() {
        let (smart_turn, _begins, go_on) = scripted();
        go_on.send(()).unwrap();
        assert!(matches!(smart_turn.judge(vec![0.0; 99]).await, Err(EngineError::Failed { .. })));
        go_on.send(()).unwrap();
        assert_eq!(smart_turn.judge(Vec::new()).await.unwrap(), 0.5);
    }
}
