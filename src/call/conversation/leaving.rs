//! The line is lost, and perhaps another takes its place.
//!
//! Meanwhile the caller's last words are still understood and answered, as far ahead as speech is made for any listener; nothing
//! is told or played. Where a reply had been cut off by the loss, it goes on from what had reached the caller.

use std::time::{Duration, Instant};

use signaling::line::{CallEvent, CallId, Item, ItemStatus, ResumedFrom, SessionPatch, TurnEnd};
use signaling::secret::Secret;

use super::super::step::Step;
use super::super::utterance::Utterance;
use super::Conversation;
use super::replying::Sound;

/// A caller may be gone for so long before anybody notices: beyond it, silence is no sign of it. WebRTC's paths are given up after
/// ten seconds.
const LONGEST_UNNOTICED: Duration = Duration::from_secs(12);
/// Items that are told again to a line that takes over: what was said while nobody could be told, and what may have been lost.
const TOLD_AGAIN: usize = 6;

/// How the next line may take over.
#[derive(Debug, Clone, PartialEq)]
pub struct Resumable {
    pub token: Secret,
    pub expires_after: Duration,
}

/// A line that has taken over.
#[derive(Debug, Clone)]
pub struct Return {
    pub call: CallId,
    pub door: &'static str,
    /// What its client asks for beyond what was in force.
    pub patch: SessionPatch,
    pub next: Resumable,
}

impl Conversation {
    /// The line is gone, and another may come.
    pub fn leave(&mut self, now: Instant) {
        if self.away {
            return;
        }
        self.away = true;
        let unnoticed = now.checked_sub(LONGEST_UNNOTICED).unwrap_or(now);
        let contact = self.contact.unwrap_or(now).clamp(unnoticed, now);
        if let Some(live) = &mut self.reply {
            live.reply.rewind(contact, now);
        }
        self.settle_cuts();
        // What the caller was saying is a turn, cut off or not: it is written down and answered.
        if self.session.turn_end != TurnEnd::Manual
            && let Some(change) = self.floor.commit()
        {
            self.floor_changed(now, change);
        }
        self.keep_session();
    }

    /// Another line takes over, be it that the one before was missed or not.
    pub fn resume(&mut self, now: Instant, line: Return) {
        self.leave(now);
        let Return { call, door, patch, next } = line;
        self.away = false;
        self.door = door;
        self.session.call = call;
        self.apply(patch);
        // Another microphone, with a clock of its own.
        self.contact = Some(now);
        self.heard = Duration::ZERO;
        if !self.floor.caller_has_it() {
            self.utterance = Utterance::default();
        }

        let spoken = self.reply.as_ref().filter(|live| live.sound != Sound::Held);
        let reply = spoken.map(|live| live.reply.id.clone());
        let replying = spoken.map(|live| live.reply.item.clone());
        self.tell(CallEvent::SessionCreated(self.session.clone()));
        let conversation = self.session.conversation.clone();
        self.tell(CallEvent::SessionResumed { conversation, from: ResumedFrom::Memory, reply });
        self.tell_resumable(next);
        for (item, previous) in self.dialogue.latest(TOLD_AGAIN) {
            if Some(&item.id) != replying.as_ref() {
                self.tell(CallEvent::ItemAdded { item: item.clone(), previous: previous.clone() });
                self.tell(CallEvent::ItemDone { item, previous });
            }
        }
        self.reply_again(now);
        self.keep_session();
    }

    /// Tells of the reply that is not over, and plays what has not been heard of it.
    fn reply_again(&mut self, now: Instant) {
        let Some(live) = self.reply.as_mut().filter(|live| live.sound != Sound::Held) else { return };
        let (id, item, text) = (live.reply.id.clone(), live.reply.item.clone(), live.reply.text());
        let (finished, sounds) = (live.finished, live.sound == Sound::Playing);
        let rest = live.reply.rest().filter(|_| sounds);
        live.offset = live.reply.played();
        let done = live.done();
        let previous = self.dialogue.before(&item);
        let begun = self.dialogue.get(&item).map(|item| Item {
            text: String::new(),
            status: ItemStatus::InProgress,
            ..item.clone()
        });
        self.tell(CallEvent::ReplyStarted { reply: id.clone() });
        if let Some(begun) = begun {
            self.tell(CallEvent::ReplyItem { reply: id.clone(), item: begun, previous });
        }
        if !text.is_empty() {
            self.tell(CallEvent::ReplyText { reply: id.clone(), item: item.clone(), delta: text.clone() });
        }
        if let Some(pcm) = rest {
            self.steps.push_back(Step::Play { reply: id.clone(), pcm });
        }
        if finished {
            if sounds {
                self.steps.push_back(Step::FinishPlayout { reply: id.clone() });
            }
            self.tell(CallEvent::ReplySpoken { reply: id.clone(), item: item.clone(), text: text.trim().to_owned() });
        }
        if let Some((outcome, usage)) = done {
            let item = self.dialogue.get(&item).cloned();
            self.tell(CallEvent::ReplyDone { reply: id, item, outcome, usage });
        }
        self.advance(now);
    }

    /// The session as it is now is to be kept.
    pub(super) fn keep_session(&mut self) {
        self.steps.push_back(Step::KeepSession(Box::new(self.session.clone())));
    }

    pub(super) fn tell_resumable(&mut self, next: Resumable) {
        let Resumable { token, expires_after } = next;
        let conversation = self.session.conversation.clone();
        self.tell(CallEvent::SessionResumable { conversation, token, expires_after });
    }
}
