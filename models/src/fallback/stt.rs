//! Recognisers in a row.
//!
//! A partial that the first one has no room for is not worth another's time: the next one of that call comes soon.

use std::sync::Arc;

use super::{Switch, first_to_take};
use crate::error::EngineError;
use crate::queue::QueueDepth;
use crate::remote::IoThread;
use crate::stt::{SpeechToText, TranscribeRequest, Transcription, Urgency};

/// See [`super`].
pub struct FallbackStt {
    row: Arc<[Arc<dyn SpeechToText>]>,
    switch: Arc<Switch>,
    io: Arc<IoThread>,
}

impl FallbackStt {
    /// The preferred first.
    pub fn new(io: Arc<IoThread>, row: Vec<Arc<dyn SpeechToText>>) -> Self {
        Self { row: row.into(), switch: Arc::new(Switch::new("stt")), io }
    }

    pub fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }
}

impl SpeechToText for FallbackStt {
    fn queue(&self) -> Option<QueueDepth> {
        QueueDepth::of_all(self.row.iter().map(|engine| engine.queue()))
    }

    fn name(&self) -> String {
        self.row.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", else ")
    }

    /// Those of the preferred one.
    fn languages(&self) -> &[&'static str] {
        self.row.first().map_or(&[], |engine| engine.languages())
    }

    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError> {
        let is_partial = request.urgency == Urgency::Partial;
        if let (true, Some(first)) = (is_partial, self.row.first()) {
            match first.transcribe(request.clone()) {
                Err(busy @ EngineError::Overloaded { .. }) => return Err(busy),
                Ok(transcription) => return Ok(self.relay(request, (0, transcription, None))),
                Err(_) => {}
            }
        }
        let first = first_to_take(&self.row, 0, None, |engine| engine.transcribe(request.clone()))?;
        Ok(self.relay(request, first))
    }
}

impl FallbackStt {
    fn relay(&self, request: TranscribeRequest, first: (usize, Transcription, Option<EngineError>)) -> Transcription {
        let (transcription, mut answer, _) = Transcription::new();
        let (row, switch) = (Arc::clone(&self.row), Arc::clone(&self.switch));
        self.io.spawn(async move {
            let work = async {
                let (mut index, mut transcription, mut because) = first;
                loop {
                    let error = match transcription.finished().await {
                        Ok(transcript) => {
                            let name = || row.get(index).map_or_else(String::new, |engine| engine.name());
                            switch.answers(index, name, because.as_ref());
                            return Ok(transcript);
                        }
                        Err(error) => error,
                    };
                    let next = first_to_take(&row, index + 1, Some(error), |engine| engine.transcribe(request.clone()));
                    (index, transcription, because) = next?;
                }
            };
            let ended = tokio::select! {
                biased;
                () = answer.closed() => return,
                ended = work => ended,
            };
            let _ = answer.send(ended);
        });
        transcription
    }
}
