//! The avatar's side: a reply is begun, held, released, spoken, cut, and written down.

use std::time::{Duration, Instant};

use models::error::EngineError;
use models::llm::{Piece, StopReason};
use signaling::line::{CallEvent, Fault, ItemId, ItemStatus, Outcome, Playout, ReplyId, Role, Usage};

use super::super::dialogue::spoken;
use super::super::record::{Amendment, Answer};
use super::super::reply::Reply;
use super::super::step::{Made, Step};
use super::hearing::engine_fault;
use super::turn::{Asked, Ledger};
use super::{Clocked, Conversation};

/// Where a reply's sound stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sound {
    /// Begun before the turn's end is certain: nothing of the reply may be seen or heard yet.
    Held,
    /// Being made or played.
    Playing,
    /// Told to stop; the line has yet to say what was played.
    Cutting,
    /// Played to its end, or cut.
    Silent,
}

/// Where its record in the history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Not,
    /// Handed to the history, which has not confirmed it.
    Handed,
    /// Safe, and reported to the client as done.
    Done,
}

/// A reply with what surrounds it.
pub struct LiveReply {
    pub(super) reply: Reply,
    pub(super) sound: Sound,
    /// What had been played of it before the line that it plays on now.
    pub(super) offset: Duration,
    written: Written,
    outcome: Outcome,
    /// The turn it answers; taken when the turn is written down.
    pub(super) asked: Option<Asked>,
    clocked: Clocked,
    usage: Usage,
    /// The line has been told that no more audio comes.
    pub(super) finished: bool,
}

impl LiveReply {
    fn is_over(&self) -> bool {
        self.sound == Sound::Silent && self.written == Written::Done
    }

    /// How it ended, once that is written down.
    pub(super) fn done(&self) -> Option<(Outcome, Usage)> {
        (self.written == Written::Done).then(|| (self.outcome.clone(), self.usage))
    }

    fn text(&self) -> String {
        self.reply.text().trim().to_owned()
    }
}

impl Conversation {
    /// Begins a reply to the dialogue, and to `pending` which is not yet in it. It is held back until [`Self::answer`].
    pub(super) fn begin_reply(&mut self, pending: Option<&str>, voice_end: Option<Instant>) {
        let messages = self.dialogue.messages(&self.session.instructions, pending);
        let reply = Reply::new(ReplyId::fresh(), ItemId::fresh());
        self.steps.push_back(Step::Generate { reply: reply.id.clone(), messages });
        self.reply = Some(LiveReply {
            reply,
            sound: Sound::Held,
            offset: Duration::ZERO,
            written: Written::Not,
            outcome: Outcome::Completed,
            asked: None,
            clocked: Clocked { voice_end, ..Clocked::default() },
            usage: Usage::default(),
            finished: false,
        });
    }

    /// Answers what has been said: with the reply that was prepared for it, or a new one.
    pub(super) fn answer(&mut self, now: Instant, asked: Option<Asked>, clocked: Clocked) {
        if !self.reply.as_ref().is_some_and(|live| live.sound == Sound::Held) {
            self.interrupt(Outcome::TurnDetected);
            self.begin_reply(None, clocked.voice_end);
        }
        let Some(live) = &mut self.reply else { return };
        let prepared = std::mem::replace(&mut live.clocked, clocked).timings;
        let timings = &mut live.clocked.timings;
        timings.reply = Some(live.reply.id.clone());
        timings.first_token = prepared.first_token;
        timings.first_sentence = prepared.first_sentence;
        timings.first_audio = prepared.first_audio;
        live.asked = asked;
        self.release(now);
    }

    /// Lets a held reply be seen and heard.
    fn release(&mut self, now: Instant) {
        let previous = self.dialogue.last().cloned();
        let Some(live) = &mut self.reply else { return };
        live.sound = Sound::Playing;
        let (id, item) = (live.reply.id.clone(), live.reply.item.clone());
        let text = live.reply.text();
        let audio = live.reply.audio().cloned();
        let begun = spoken(item.clone(), Role::Assistant, String::new(), ItemStatus::InProgress);
        self.tell(CallEvent::ReplyStarted { reply: id.clone() });
        self.tell(CallEvent::ReplyItem { reply: id.clone(), item: begun.clone(), previous });
        // A fresh id is never there already.
        let _ = self.dialogue.add(begun, None);
        if !text.is_empty() {
            self.tell(CallEvent::ReplyText { reply: id.clone(), item, delta: text });
        }
        if let Some(pcm) = audio {
            self.on_the_line(Step::Play { reply: id, pcm });
        }
        self.advance(now);
    }

    /// The caller goes on: what was prepared was for nothing.
    pub(super) fn discard_prepared(&mut self) {
        if let Some(live) = self.reply.take_if(|live| live.sound == Sound::Held) {
            self.steps.push_back(Step::Abandon { reply: live.reply.id });
        }
    }

    /// Whether a reply is being made or played; with `wanted`, whether it is that one.
    pub(super) fn is_replying(&self, wanted: Option<&ReplyId>) -> bool {
        let playing = self.reply.as_ref().filter(|live| live.sound == Sound::Playing);
        playing.is_some_and(|live| wanted.is_none_or(|wanted| &live.reply.id == wanted))
    }

    /// What had been heard of a reply when `played` had been played; `None` if it is not at hand any more.
    pub(super) fn heard_of(&self, item: &ItemId, played: Duration) -> Option<String> {
        let mut known = self.reply.iter().chain(&self.closing);
        known.find(|live| &live.reply.item == item).map(|live| live.reply.heard(played))
    }

    fn live(&mut self, id: &ReplyId) -> Option<&mut LiveReply> {
        self.reply.as_mut().filter(|live| &live.reply.id == id)
    }

    pub(super) fn wrote(&mut self, now: Instant, id: &ReplyId, piece: Result<Piece, EngineError>) {
        let Some(live) = self.live(id) else { return };
        let delta = match piece {
            Ok(Piece::Text(text)) => {
                live.clocked.mark(now, |timings| &mut timings.first_token);
                live.reply.write(&text)
            }
            // Nobody has seen it; the turn's end will try again.
            Ok(Piece::Done { reason: StopReason::BrokenOff, .. }) if live.sound == Sound::Held => {
                return self.discard_prepared();
            }
            Ok(Piece::Done { usage, reason }) => {
                live.usage = Usage {
                    input_tokens: usage.prompt_tokens,
                    cached_tokens: usage.cached_tokens,
                    output_tokens: usage.generated_tokens,
                    dropped_messages: usage.dropped_messages,
                };
                match reason {
                    StopReason::EndOfTurn | StopReason::StopString => live.reply.finish_writing(),
                    StopReason::Length => live.reply.stop_writing(),
                    StopReason::BrokenOff => {
                        let delta = live.reply.stop_writing();
                        self.tell(CallEvent::Failed(broken_off()));
                        delta
                    }
                }
            }
            Err(error) => return self.fail_reply(&error),
        };
        let Some(live) = self.live(id) else { return };
        if !delta.is_empty() && live.sound != Sound::Held {
            let item = live.reply.item.clone();
            self.tell(CallEvent::ReplyText { reply: id.clone(), item, delta });
        }
        self.advance(now);
    }

    pub(super) fn voiced(&mut self, now: Instant, id: &ReplyId, sentence: usize, made: Made) {
        let Some(live) = self.live(id) else { return };
        match made {
            Made::Chunk(pcm) => {
                live.clocked.mark(now, |timings| &mut timings.first_audio);
                live.reply.hear_chunk(&pcm);
                if live.sound != Sound::Held {
                    self.on_the_line(Step::Play { reply: id.clone(), pcm });
                }
            }
            Made::All => {
                live.reply.sentence_made(sentence);
                self.advance(now);
            }
            Made::Failed(error) => self.fail_reply(&error),
        }
    }

    /// Gives the voice its next sentence, and finishes what is finished.
    pub(super) fn advance(&mut self, now: Instant) {
        let voice = self.session.voice.clone();
        let Some(live) = &mut self.reply else { return };
        let id = live.reply.id.clone();
        if let Some((sentence, text, deadline)) = live.reply.next_for_voice(now) {
            live.clocked.mark(now, |timings| &mut timings.first_sentence);
            self.steps.push_back(Step::Synthesize { reply: id, sentence, text, voice, deadline });
        } else if live.sound != Sound::Held && live.reply.is_made() && !live.finished {
            live.finished = true;
            let (item, text) = (live.reply.item.clone(), live.text());
            self.dialogue.set(&item, text.clone(), ItemStatus::Completed);
            self.on_the_line(Step::FinishPlayout { reply: id.clone() });
            self.tell(CallEvent::ReplySpoken { reply: id, item, text });
            self.record_if_whole();
        }
    }

    /// Writes the turn down once everything is made and it is known when it began to be heard.
    fn record_if_whole(&mut self) {
        let ledger =
            Ledger { session: &self.session, door: self.door, owner: self.owner.as_deref(), epoch: self.epoch };
        let Some(live) = &mut self.reply else { return };
        let began = live.clocked.timings.first_packet.is_some() || live.sound == Sound::Silent;
        if live.finished && began && live.written == Written::Not {
            let heard = live.text();
            let record = record_of(ledger, live, heard, false);
            self.steps.push_back(record);
        }
    }

    /// Stops the reply: nothing more of it is written, made or played.
    pub(super) fn interrupt(&mut self, outcome: Outcome) {
        self.discard_prepared();
        let Some(mut live) = self.reply.take() else { return };
        let id = live.reply.id.clone();
        if live.sound == Sound::Playing {
            live.sound = Sound::Cutting;
            if live.written == Written::Not {
                live.outcome = outcome;
            }
            self.steps.push_back(Step::Abandon { reply: id.clone() });
            self.on_the_line(Step::CutPlayout { reply: id });
        }
        self.closing.push(live);
        if self.away {
            self.settle_cuts();
        }
    }

    fn fail_reply(&mut self, error: &EngineError) {
        if self.reply.as_ref().is_some_and(|live| live.sound == Sound::Held) {
            // Nobody has seen it; the turn's end will try again.
            return self.discard_prepared();
        }
        let fault = engine_fault(error);
        self.tell(CallEvent::Failed(fault.clone()));
        self.interrupt(Outcome::Failed(fault));
    }

    pub(super) fn played(&mut self, now: Instant, playout: Playout) {
        match playout {
            Playout::Started { reply, at } => {
                let Some(live) = self.live(&reply) else { return };
                live.reply.mark_played(at, live.offset);
                let first = live.clocked.timings.first_packet.is_none();
                live.clocked.mark(at, |timings| &mut timings.first_packet);
                let timings = live.clocked.timings.clone();
                self.tell(CallEvent::PlayoutStarted { reply });
                if first {
                    self.tell(CallEvent::Timings(timings));
                }
                self.record_if_whole();
            }
            Playout::Position { reply, played } => {
                if let Some(live) = self.live(&reply) {
                    live.reply.mark_played(now, live.offset + played);
                    self.advance(now);
                }
            }
            Playout::Starved { .. } => {}
            Playout::Drained { reply, played } => self.drained(&reply, played),
            Playout::Cut { reply, played } => {
                let live = self.closing.iter().find(|live| live.reply.id == reply);
                let offset = live.map_or(Duration::ZERO, |live| live.offset);
                self.was_cut(&reply, offset + played);
            }
        }
    }

    fn drained(&mut self, id: &ReplyId, played: Duration) {
        let Some(live) = self.live(id) else { return };
        live.reply.set_played(live.offset + played);
        live.sound = Sound::Silent;
        if live.clocked.timings.first_packet.is_some() {
            self.tell(CallEvent::PlayoutStopped { reply: id.clone() });
        }
        self.record_if_whole();
        self.reply.take_if(|live| live.is_over());
    }

    /// A cut reply has fallen silent: what was heard of it is now known.
    fn was_cut(&mut self, id: &ReplyId, played: Duration) {
        let ledger =
            Ledger { session: &self.session, door: self.door, owner: self.owner.as_deref(), epoch: self.epoch };
        let Some(live) = self.closing.iter_mut().find(|live| &live.reply.id == id && live.sound == Sound::Cutting)
        else {
            return;
        };
        live.sound = Sound::Silent;
        live.reply.set_played(played);
        let item = live.reply.item.clone();
        let whole = live.finished && played >= live.reply.made();
        let heard = if whole { live.text() } else { live.reply.heard(played) };
        let status = if whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        let was_done = live.finished;
        let was_audible = live.clocked.timings.first_packet.is_some();
        if live.written == Written::Not {
            let record = record_of(ledger, live, heard.clone(), !whole);
            self.steps.push_back(record);
        }
        if !whole {
            // Also of one that is only now written down: how much of its sound was sent is not in the record.
            let amendment = Amendment { reply: id.clone(), heard: heard.clone(), interrupted: true, played };
            self.steps.push_back(Step::Amend(Box::new(amendment)));
        }
        self.dialogue.set(&item, heard, status);
        if was_audible {
            self.tell(CallEvent::PlayoutCleared { reply: id.clone() });
            self.tell(CallEvent::ItemTruncated { item: item.clone(), heard: played });
        }
        // The client took the item for whole: what was heard of it is news.
        if let Some(item) = self.dialogue.get(&item).filter(|_| was_done && !whole).cloned() {
            self.tell(CallEvent::ItemRetrieved(item));
        }
        self.closing.retain(|live| !live.is_over());
    }

    /// The history has written the turn: now it may be called done.
    pub(super) fn kept(&mut self, id: &ReplyId, result: Result<(), String>) {
        if let Err(message) = result {
            let fault = Fault { kind: "server_error", code: "history_failed", message, param: None, event_id: None };
            self.tell(CallEvent::Failed(fault));
        }
        let Some(live) = self.reply.iter_mut().chain(&mut self.closing).find(|live| &live.reply.id == id) else {
            return;
        };
        live.written = Written::Done;
        let done = CallEvent::ReplyDone {
            reply: id.clone(),
            item: self.dialogue.get(&live.reply.item).cloned(),
            outcome: live.outcome.clone(),
            usage: live.usage,
        };
        self.tell(done);
        self.reply.take_if(|live| live.is_over());
        self.closing.retain(|live| !live.is_over());
    }

    /// The call ends: what is still playing has been heard as far as the last known position.
    pub(super) fn cut_everything(&mut self) {
        self.interrupt(Outcome::ClientCancelled);
        self.settle_cuts();
    }

    /// No line will say what was played of the replies that are being cut: it is what is known already.
    pub(super) fn settle_cuts(&mut self) {
        let cutting: Vec<_> = self.closing.iter().map(|live| (live.reply.id.clone(), live.reply.played())).collect();
        for (id, played) in cutting {
            self.was_cut(&id, played);
        }
    }
}

/// What is told of a reply whose writing failed in its middle; what is whole of it is spoken all the same.
fn broken_off() -> Fault {
    let message = "the language model broke off; the reply ends with its last whole sentence".to_owned();
    Fault { kind: "server_error", code: "engine_failed", message, param: None, event_id: None }
}

/// A reply and its question as the history is to keep them.
fn record_of(ledger: Ledger<'_>, live: &mut LiveReply, heard: String, interrupted: bool) -> Step {
    live.written = Written::Handed;
    let asked = live.asked.take();
    let started = asked.as_ref().map(|asked| asked.started).or(live.clocked.voice_end).unwrap_or(ledger.epoch.0);
    let failure = match &live.outcome {
        Outcome::Failed(fault) => Some(fault.message.clone()),
        Outcome::Completed | Outcome::TurnDetected | Outcome::ClientCancelled => None,
    };
    let answer = Answer {
        reply: live.reply.id.clone(),
        item: live.reply.item.clone(),
        text: live.text(),
        heard,
        audio: live.reply.audio().cloned(),
        interrupted,
        failure,
        voice: ledger.session.voice.clone(),
        model: ledger.session.model.clone(),
    };
    ledger.keep(started, asked.map(|asked| asked.question), Some(answer), live.clocked.timings.clone())
}
