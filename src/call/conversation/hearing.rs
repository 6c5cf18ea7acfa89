//! The caller's side: speech starts, pauses, goes on, ends, and becomes text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use models::error::EngineError;
use models::stt::stream::Ending;
use models::stt::{Transcript, Urgency};
use signaling::line::{CallEvent, CallerAudio, Fault, ItemId, ItemStatus, Outcome, Role};

use super::super::dialogue::spoken;
use super::super::floor::{Change, Reads};
use super::super::record::Question;
use super::super::step::{AskId, Step};
use super::turn::{Asked, Over, Pause, Turn};
use super::{Clocked, Conversation};

impl Conversation {
    pub(super) fn hear(&mut self, now: Instant, audio: &CallerAudio, voicing: &[f32]) {
        self.utterance.hear(&audio.samples);
        self.heard += SampleRate::HZ_16000.duration_of(audio.samples.len());
        for &probability in voicing {
            if let Some(change) = self.floor.hear(audio.arrived, probability) {
                self.floor_changed(now, change);
            }
        }
        self.ask_for_partial(now);
    }

    pub(super) fn floor_changed(&mut self, now: Instant, change: Change) {
        match change {
            Change::Started => self.turn_started(now),
            Change::Paused { pause } => self.turn_paused(pause),
            Change::Resumed => self.turn_resumed(),
            Change::Over => self.turn_over(now),
        }
    }

    fn turn_started(&mut self, now: Instant) {
        self.utterance.start();
        let item = ItemId::fresh();
        let at = self.heard.saturating_sub(self.utterance.duration());
        self.turn = Some(Turn::new(item.clone(), now));
        self.tell(CallEvent::SpeechStarted { item, at });
        if self.session.interrupt_response {
            self.interrupt(Outcome::TurnDetected);
        }
    }

    fn turn_paused(&mut self, number: u64) {
        let audio = self.utterance.so_far();
        let ask = self.transcribe(Urgency::Final, audio.clone());
        if let Some(turn) = &mut self.turn {
            // The final one replaces it.
            turn.partial = None;
            turn.cadence.finished();
            turn.pause = Some(Pause { number, ask: Some(ask), transcript: None, text_at: None });
            self.steps.push_back(Step::Judge { pause: number, audio });
        }
    }

    fn turn_resumed(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.pause = None;
        }
        self.discard_prepared();
    }

    fn turn_over(&mut self, now: Instant) {
        // Cut in mid-speech (too long, or committed by hand), or the pause's transcription failed: the text is still to be asked for.
        let ask = match self.turn.as_ref().and_then(|turn| turn.pause.as_ref()?.ask) {
            Some(ask) => ask,
            None => self.transcribe(Urgency::Final, self.utterance.so_far()),
        };
        let audio = self.utterance.finish();
        let voice_end = self.floor.voice_end();
        let Some(mut turn) = self.turn.take() else { return };
        turn.over = Some(Over { at: now, voice_end, audio, ask });
        let silence = voice_end.map_or(Duration::ZERO, |end| now.saturating_duration_since(end));
        let at = self.heard.saturating_sub(silence);
        self.tell(CallEvent::SpeechStopped { item: turn.item.clone(), at });
        let ready = turn.pause.as_mut().and_then(|pause| pause.transcript.take().zip(pause.text_at));
        match ready {
            Some((transcript, text_at)) => self.turn_has_text(now, turn, transcript, text_at),
            None => self.awaiting_text.push(turn),
        }
    }

    fn transcribe(&mut self, urgency: Urgency, audio: Arc<[f32]>) -> AskId {
        let ask = self.next_ask();
        self.steps.push_back(Step::Transcribe {
            ask,
            audio,
            language: self.session.language.clone(),
            urgency,
            speech: self.floor.voiced(),
        });
        ask
    }

    fn ask_for_partial(&mut self, now: Instant) {
        let voiced = self.floor.voiced();
        let due = self.floor.caller_speaks() && self.turn.as_mut().is_some_and(|turn| turn.cadence.start(now, voiced));
        if due {
            let ask = self.transcribe(Urgency::Partial, self.utterance.so_far());
            if let Some(turn) = &mut self.turn {
                turn.partial = Some(ask);
            }
        }
    }

    pub(super) fn judged(&mut self, now: Instant, number: u64, sounds_finished: f32) {
        if let Some(change) = self.floor.judged(number, sounds_finished) {
            self.floor_changed(now, change);
        }
    }

    pub(super) fn transcribed(&mut self, now: Instant, ask: AskId, result: Result<Transcript, EngineError>) {
        if let Some(at) =
            self.awaiting_text.iter().position(|turn| turn.over.as_ref().is_some_and(|over| over.ask == ask))
        {
            let turn = self.awaiting_text.remove(at);
            match result {
                Ok(transcript) => self.turn_has_text(now, turn, transcript, now),
                Err(error) => self.turn_has_no_text(turn, &error),
            }
        } else if let Some(pause) = self.current_pause(|pause| pause.ask == Some(ask)) {
            let Ok(transcript) = result else {
                pause.ask = None;
                return;
            };
            // What was refused has no text, which leads on.
            let reads = Reads::of(&transcript.text);
            let number = pause.number;
            pause.transcript = Some(transcript);
            pause.text_at = Some(now);
            match self.floor.read(number, reads) {
                Some(change) => self.floor_changed(now, change),
                None => self.prepare_reply(),
            }
        } else if let Some(turn) = self.turn.as_mut().filter(|turn| turn.partial == Some(ask)) {
            turn.partial = None;
            turn.cadence.finished();
            let Ok(transcript) = result else { return };
            if transcript.refused.is_none()
                && let Some(delta) = turn.partials.pass(&transcript.text)
            {
                let item = turn.item.clone();
                self.tell(CallEvent::TranscriptDelta { item, delta });
            }
        }
    }

    fn current_pause(&mut self, is: impl FnOnce(&Pause) -> bool) -> Option<&mut Pause> {
        self.turn.as_mut()?.pause.as_mut().filter(|pause| is(pause))
    }

    /// Begins a reply to what may be the whole turn, and holds it back, unless the words lead on. What is prepared for nothing
    /// costs a tenth of a second of computing; what is not prepared costs the caller's time at every real end.
    fn prepare_reply(&mut self) {
        if self.reply.is_some() || !self.session.create_response || !self.awaiting_text.is_empty() {
            return;
        }
        let Some(pause) = self.turn.as_ref().and_then(|turn| turn.pause.as_ref()) else { return };
        let Some(transcript) = pause.transcript.as_ref().filter(|transcript| transcript.refused.is_none()) else {
            return;
        };
        if Reads::of(&transcript.text) != Reads::LeadingOn {
            let text = transcript.text.clone();
            let voice_end = self.floor.voice_end();
            self.begin_reply(Some(&text), voice_end);
        }
    }

    fn turn_has_text(&mut self, now: Instant, mut turn: Turn, transcript: Transcript, text_at: Instant) {
        let item = turn.item.clone();
        if transcript.refused.is_some() || transcript.text.is_empty() {
            self.discard_prepared();
            self.tell(CallEvent::InputCleared);
            return;
        }
        let text = transcript.text;
        let previous = self.dialogue.last().cloned();
        let said = spoken(item.clone(), Role::User, text.clone(), ItemStatus::Completed);
        self.tell(CallEvent::InputCommitted { item: item.clone(), previous: previous.clone() });
        self.tell(CallEvent::ItemAdded { item: said.clone(), previous: previous.clone() });
        self.tell(CallEvent::ItemDone { item: said.clone(), previous });
        if let Ending::Delta(delta) = turn.partials.finish(&text)
            && !delta.is_empty()
        {
            self.tell(CallEvent::TranscriptDelta { item: item.clone(), delta });
        }
        self.tell(CallEvent::TranscriptDone { item: item.clone(), text: text.clone() });
        // A fresh id is never there already.
        let _ = self.dialogue.add(said, None);

        let Some(over) = turn.over.take() else { return };
        let mut clocked = Clocked { voice_end: over.voice_end, ..Clocked::default() };
        clocked.timings.item = Some(item.clone());
        clocked.mark(over.at, |timings| &mut timings.turn_commit);
        clocked.mark(text_at, |timings| &mut timings.text_final);
        let audio = Some(Pcm::new(SampleRate::HZ_16000, over.audio));
        let question = Question { item, text, language: transcript.language, audio };
        let asked = Asked { started: turn.started, question };
        if !self.session.create_response || self.floor.caller_has_it() {
            // The caller is speaking again: one reply will answer both.
            self.keep_question(asked, clocked);
        } else {
            self.answer(now, Some(asked), clocked);
        }
    }

    fn turn_has_no_text(&mut self, turn: Turn, error: &EngineError) {
        self.discard_prepared();
        let item = turn.item.clone();
        self.tell(CallEvent::TranscriptFailed { item, fault: engine_fault(error) });
        self.keep_without_text(turn);
    }

    /// The call ends before these turns have become text: their audio is kept.
    pub(super) fn keep_awaiting(&mut self) {
        for turn in std::mem::take(&mut self.awaiting_text) {
            self.keep_without_text(turn);
        }
    }

    fn keep_without_text(&mut self, turn: Turn) {
        let Some(over) = turn.over else { return };
        let audio = Some(Pcm::new(SampleRate::HZ_16000, over.audio));
        let question = Question { item: turn.item, text: String::new(), language: None, audio };
        let clocked = Clocked { voice_end: over.voice_end, ..Clocked::default() };
        self.keep_question(Asked { started: turn.started, question }, clocked);
    }

    /// Writes down a turn that gets no reply of its own.
    fn keep_question(&mut self, asked: Asked, clocked: Clocked) {
        let record = self.ledger().keep(asked.started, Some(asked.question), None, clocked.timings);
        self.steps.push_back(record);
    }
}

/// An engine's error as the client is told of it.
pub(super) fn engine_fault(error: &EngineError) -> Fault {
    let code = match error {
        EngineError::Overloaded { .. } => "overloaded",
        EngineError::BadRequest(_) => "bad_request",
        EngineError::Missing { .. } | EngineError::Corrupt { .. } | EngineError::NotInstalled { .. } => {
            "engine_missing"
        }
        EngineError::OutOfMemory { .. } => "out_of_memory",
        EngineError::Failed { .. } | EngineError::Remote { .. } | EngineError::Stopped { .. } => "engine_failed",
    };
    Fault { kind: "server_error", code, message: error.to_string(), param: None, event_id: None }
}
