//! What the driver asks of the engines and of the history, each on a small task that carries the answers back.

use std::time::SystemTime;

use models::llm::{GenerateRequest, Message, Piece};
use models::stt::{TranscribeRequest, Urgency};
use models::tts::SpeakRequest;
use signaling::line::ReplyId;
use tracing::{debug, warn};

use super::Driver;
use crate::call::record::{SessionRecord, SessionSettings};
use crate::call::step::{AskId, Input, Made, Step};

impl Driver {
    pub(super) fn transcribe(&mut self, ask: AskId, urgency: Urgency, request: TranscribeRequest) {
        let answers = self.answers.clone();
        let transcription = self.engines.stt.transcribe(request);
        self.tasks.transcribe(ask, urgency, async move {
            let result = match transcription {
                Ok(transcription) => transcription.finished().await,
                Err(error) => Err(error),
            };
            let _ = answers.send(Input::Transcribed { ask, result }).await;
        });
    }

    pub(super) fn judge(&mut self, pause: u64, utterance: Vec<f32>) {
        let Some(turn_model) = &self.engines.turn else { return };
        let judgement = turn_model.judge(utterance);
        let answers = self.answers.clone();
        self.tasks.judge(async move {
            match judgement.await {
                Ok(sounds_finished) => {
                    let _ = answers.send(Input::Judged { pause, sounds_finished }).await;
                }
                Err(error) => debug!(%error, "the turn model gave no opinion; silence and words decide"),
            }
        });
    }

    pub(super) fn generate(&mut self, reply: ReplyId, messages: Vec<Message>) {
        let request = GenerateRequest {
            conversation: self.conversation.id().as_str().to_owned(),
            messages,
            sampling: self.writing.sampling(),
        };
        let generation = self.engines.llm.generate(request);
        let answers = self.answers.clone();
        let id = reply.clone();
        self.tasks.reply(&reply, async move {
            let send = |piece| answers.send(Input::Wrote { reply: id.clone(), piece });
            let mut generation = match generation {
                Ok(generation) => generation,
                Err(error) => {
                    let _ = send(Err(error)).await;
                    return;
                }
            };
            let mut done = false;
            while let Some(piece) = generation.next().await {
                done = matches!(piece, Ok(Piece::Done { .. }) | Err(_));
                if send(piece).await.is_err() {
                    return;
                }
            }
            if !done {
                let _ = send(Err(models::error::EngineError::Stopped { engine: "language model" })).await;
            }
        });
    }

    pub(super) fn synthesize(&mut self, reply: ReplyId, sentence: usize, request: SpeakRequest) {
        let speech = self.engines.tts.speak(request);
        let answers = self.answers.clone();
        let id = reply.clone();
        self.tasks.reply(&reply, async move {
            let send = |made| answers.send(Input::Voiced { reply: id.clone(), sentence, made });
            let mut speech = match speech {
                Ok(speech) => speech,
                Err(error) => {
                    let _ = send(Made::Failed(error)).await;
                    return;
                }
            };
            while let Some(chunk) = speech.next().await {
                let failed = chunk.is_err();
                if send(chunk.map_or_else(Made::Failed, Made::Chunk)).await.is_err() || failed {
                    return;
                }
            }
            let _ = send(Made::All).await;
        });
    }

    pub(super) fn keep(&mut self, step: Step) {
        match step {
            Step::Keep(record) => {
                let reply = record.answer.as_ref().map(|answer| answer.reply.clone());
                let kept = self.keeper.keep(*record);
                let answers = self.answers.clone();
                self.tasks.keep(async move {
                    let result = kept.await.map_err(|error| error.to_string());
                    if let Err(error) = &result {
                        warn!(%error, "a turn could not be written down");
                    }
                    if let Some(reply) = reply {
                        let _ = answers.send(Input::Kept { reply, result }).await;
                    }
                });
            }
            Step::KeepSession(_) if self.ticket.kept_for.is_zero() => {}
            Step::KeepSession(session) => {
                let kept = self.keeper.keep_session(SessionRecord {
                    conversation: session.conversation.clone(),
                    owner: self.ticket.owner.clone(),
                    token: self.ticket.hash,
                    settings: SessionSettings::of(&session),
                    expires_at: SystemTime::now() + self.ticket.kept_for,
                });
                self.tasks.keep(async move {
                    if let Err(error) = kept.await {
                        warn!(%error, "a session could not be kept; it cannot be resumed after a restart");
                    }
                });
            }
            Step::Amend(amendment) => {
                let kept = self.keeper.amend(*amendment);
                self.tasks.keep(async move {
                    if let Err(error) = kept.await {
                        warn!(%error, "what was heard of a reply could not be written down");
                    }
                });
            }
            _ => {}
        }
    }
}
