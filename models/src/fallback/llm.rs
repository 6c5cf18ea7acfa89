//! Language models in a row.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::{Switch, first_to_take};
use crate::error::EngineError;
use crate::llm::{GenerateRequest, Generation, LanguageModel, Piece, StopReason, TokenUsage};
use crate::queue::QueueDepth;
use crate::remote::IoThread;

/// See [`super`].
pub struct FallbackLlm {
    row: Arc<[Arc<dyn LanguageModel>]>,
    switch: Arc<Switch>,
    io: Arc<IoThread>,
}

impl FallbackLlm {
    /// The preferred first. One alone is a row too: it then breaks off as rows do.
    pub fn new(io: Arc<IoThread>, row: Vec<Arc<dyn LanguageModel>>) -> Self {
        Self { row: row.into(), switch: Arc::new(Switch::new("llm")), io }
    }

    pub fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }
}

impl LanguageModel for FallbackLlm {
    fn queue(&self) -> Option<QueueDepth> {
        QueueDepth::of_all(self.row.iter().map(|engine| engine.queue()))
    }

    fn name(&self) -> String {
        self.row.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", else ")
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let first = first_to_take(&self.row, 0, None, |engine| engine.generate(request.clone()))?;
        let (generation, pieces, _) = Generation::new();
        let (row, switch) = (Arc::clone(&self.row), Arc::clone(&self.switch));
        self.io.spawn(async move {
            tokio::select! {
                biased;
                () = pieces.closed() => {}
                () = relay(&row, &switch, &request, first, &pieces) => {}
            }
        });
        Ok(generation)
    }

    fn forget(&self, conversation: &str) {
        for engine in self.row.iter() {
            engine.forget(conversation);
        }
    }
}

/// Passes on what comes; before the first piece, from whoever in the row can.
async fn relay(
    row: &[Arc<dyn LanguageModel>],
    switch: &Switch,
    request: &GenerateRequest,
    first: (usize, Generation, Option<EngineError>),
    pieces: &Sender<Result<Piece, EngineError>>,
) {
    let (mut index, mut generation, mut because) = first;
    let mut passed = 0;
    loop {
        let piece = match generation.next().await {
            Some(Err(error)) => Err(error),
            None => Err(EngineError::Stopped { engine: "language model" }),
            Some(Ok(piece)) => Ok(piece),
        };
        let error = match piece {
            Ok(piece) => {
                if passed == 0 {
                    switch.answers(index, || name(row, index), because.as_ref());
                }
                passed += 1;
                let is_last = matches!(piece, Piece::Done { .. });
                if pieces.send(Ok(piece)).await.is_err() || is_last {
                    return;
                }
                continue;
            }
            Err(error) => error,
        };
        if passed > 0 {
            tracing::warn!(%error, "a reply breaks off");
            let usage = TokenUsage { generated_tokens: passed, ..TokenUsage::default() };
            let _ = pieces.send(Ok(Piece::Done { reason: StopReason::BrokenOff, usage })).await;
            return;
        }
        match first_to_take(row, index + 1, Some(error), |engine| engine.generate(request.clone())) {
            Ok(next) => (index, generation, because) = next,
            Err(error) => {
                let _ = pieces.send(Err(error)).await;
                return;
            }
        }
    }
}

fn name(row: &[Arc<dyn LanguageModel>], index: usize) -> String {
    row.get(index).map_or_else(String::new, |engine| engine.name())
}
