//! What the client asks of the call.

use std::time::{Duration, Instant};

use signaling::line::{Ask, CallEvent, Command, Fault, Item, ItemId, ItemStatus, Medium, Outcome, Role, SessionPatch};

use super::super::dialogue::invalid;
use super::super::record::Question;
use super::turn::Asked;
use super::{Clocked, Conversation, choose_voice};

impl Conversation {
    pub(super) fn obey(&mut self, now: Instant, command: Command) {
        let Command { event_id, ask } = command;
        if let Err(mut fault) = self.try_obey(now, ask) {
            fault.event_id = fault.event_id.or(event_id);
            self.tell(CallEvent::Failed(fault));
        }
    }

    fn try_obey(&mut self, now: Instant, ask: Ask) -> Result<(), Fault> {
        match ask {
            Ask::UpdateSession(patch) => self.update_session(patch),
            Ask::CreateItem { item, previous } => return self.create_item(now, item, previous.as_ref()),
            Ask::RetrieveItem(id) => {
                let item = self.dialogue.retrieve(&id)?.clone();
                self.tell(CallEvent::ItemRetrieved(item));
            }
            Ask::TruncateItem { item, heard } => return self.truncate_item(item, heard),
            Ask::DeleteItem(id) => {
                self.dialogue.delete(&id)?;
                self.tell(CallEvent::ItemDeleted(id));
            }
            Ask::CreateReply { instructions } => return self.create_reply(now, instructions),
            Ask::CancelReply { reply } => {
                if !self.is_replying(reply.as_ref()) {
                    return Err(invalid("response_cancel_not_active", "no such response is active", "response_id"));
                }
                self.interrupt(Outcome::ClientCancelled);
            }
            Ask::ClearPlayout => {
                if self.is_replying(None) {
                    self.interrupt(Outcome::ClientCancelled);
                }
            }
            Ask::CommitInput => match self.floor.commit() {
                Some(change) => self.floor_changed(now, change),
                None => {
                    let message = "nothing has been said since the last commit";
                    return Err(invalid("input_audio_buffer_commit_empty", message, "input_audio_buffer"));
                }
            },
            Ask::ClearInput => {
                self.floor.clear();
                self.turn = None;
                self.utterance.finish();
                self.discard_prepared();
                self.tell(CallEvent::InputCleared);
            }
            Ask::Unintelligible(fault) => return Err(fault),
        }
        Ok(())
    }

    fn update_session(&mut self, patch: SessionPatch) {
        self.apply(patch);
        let updated = CallEvent::SessionUpdated(self.session.clone());
        self.tell(updated);
        self.keep_session();
    }

    pub(super) fn apply(&mut self, patch: SessionPatch) {
        let SessionPatch {
            instructions,
            voice,
            language,
            turn_end,
            create_response,
            interrupt_response,
            conversation: _,
            resume: _,
            keep_on_close: _,
        } = patch;
        let session = &mut self.session;
        if let Some(instructions) = instructions {
            session.instructions = instructions;
        }
        if let Some(voice) = voice {
            session.voice = choose_voice(&self.voices, &voice);
        }
        if let Some(language) = language {
            session.language = language;
        }
        if let Some(turn_end) = turn_end {
            session.turn_end = turn_end;
            self.floor.set_turn_end(turn_end);
        }
        session.create_response = create_response.unwrap_or(session.create_response);
        session.interrupt_response = interrupt_response.unwrap_or(session.interrupt_response);
    }

    fn create_item(&mut self, now: Instant, item: Item, previous: Option<&ItemId>) -> Result<(), Fault> {
        let previous = self.dialogue.add(item.clone(), previous)?;
        if item.role == Role::User {
            let question = Question { item: item.id.clone(), text: item.text.clone(), language: None, audio: None };
            self.typed = Some(Asked { started: now, question });
        }
        self.tell(CallEvent::ItemAdded { item: item.clone(), previous: previous.clone() });
        self.tell(CallEvent::ItemDone { item, previous });
        Ok(())
    }

    fn create_reply(&mut self, now: Instant, instructions: Option<String>) -> Result<(), Fault> {
        if self.is_replying(None) {
            let message = "a response is in progress; cancel it first";
            return Err(invalid("conversation_already_has_active_response", message, "response"));
        }
        self.discard_prepared();
        let standing = instructions.map(|once| std::mem::replace(&mut self.session.instructions, once));
        let clocked = Clocked { voice_end: Some(now), ..Clocked::default() };
        let asked = self.typed.take();
        self.answer(now, asked, clocked);
        if let Some(standing) = standing {
            self.session.instructions = standing;
        }
        Ok(())
    }

    /// Somebody corrected what was said: the next reply is to what it says now.
    pub(super) fn correct(&mut self, items: Vec<(ItemId, String)>) {
        self.discard_prepared();
        for (id, text) in items {
            self.dialogue.correct(&id, text);
        }
    }

    /// What the history had of this conversation was deleted: it is not spoken of any more. What the client put there beside the
    /// talk stays, and turns that are not over. Clients are told, as of items that they delete themselves.
    pub(super) fn forget_what_was_kept(&mut self) {
        self.discard_prepared();
        let replies = self.reply.iter().chain(&self.closing);
        let asked = replies.clone().filter_map(|live| live.asked.as_ref()).chain(&self.typed);
        let asked = asked.map(|asked| asked.question.item.clone());
        let unfinished: Vec<ItemId> = replies.map(|live| live.reply.item.clone()).chain(asked).collect();
        let stays = |item: &Item| {
            let is_beside = item.role == Role::System || (item.role == Role::Assistant && item.medium == Medium::Text);
            is_beside || unfinished.contains(&item.id)
        };
        for id in self.dialogue.retain(stays) {
            self.tell(CallEvent::ItemDeleted(id));
        }
    }

    /// The client's account of what was heard; ours, which follows the playout, is used where there is one.
    fn truncate_item(&mut self, id: ItemId, heard: Duration) -> Result<(), Fault> {
        self.dialogue.retrieve(&id)?;
        if let Some(text) = self.heard_of(&id, heard) {
            let _ = self.dialogue.set(&id, text, ItemStatus::Incomplete);
        }
        self.tell(CallEvent::ItemTruncated { item: id, heard });
        Ok(())
    }
}
