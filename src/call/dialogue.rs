//! What has been said: the items of the conversation, and what the language model is shown of them.
//!
//! Pure. Of a reply that was cut, only what was heard is kept, so the model knows what the caller knows.

use models::llm::{Message, Speaker};
use signaling::line::{Fault, Item, ItemId, ItemStatus, Medium, Role};

/// The items of one conversation, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Dialogue {
    items: Vec<Item>,
}

/// Items kept in memory; older ones stay in the history, and are beyond any model's context.
const ITEMS_BOUND: usize = 400;

impl Dialogue {
    /// Goes on with what was said earlier.
    pub fn with_items(items: Vec<Item>) -> Self {
        let mut dialogue = Self { items };
        dialogue.drop_oldest();
        dialogue
    }

    /// Adds at the end, or after `previous`; gives the id of the item before it.
    pub fn add(&mut self, item: Item, previous: Option<&ItemId>) -> Result<Option<ItemId>, Fault> {
        if self.get(&item.id).is_some() {
            return Err(invalid(
                "item_exists",
                format!("an item {} is there already; choose another id", item.id),
                "item.id",
            ));
        }
        let at = match previous {
            None => self.items.len(),
            Some(previous) if previous.as_str() == ItemId::ROOT => 0,
            Some(previous) => self.position(previous, "previous_item_id")? + 1,
        };
        self.items.insert(at, item);
        let before = at.checked_sub(1).and_then(|before| self.items.get(before)).map(|item| item.id.clone());
        self.drop_oldest();
        Ok(before)
    }

    fn drop_oldest(&mut self) {
        let surplus = self.items.len().saturating_sub(ITEMS_BOUND);
        self.items.drain(..surplus);
    }

    pub fn last(&self) -> Option<&ItemId> {
        self.items.last().map(|item| &item.id)
    }

    pub fn get(&self, id: &ItemId) -> Option<&Item> {
        self.items.iter().find(|item| &item.id == id)
    }

    /// The item before another; `None` if that is the first, or is not there.
    pub fn before(&self, id: &ItemId) -> Option<ItemId> {
        let at = self.items.iter().position(|item| &item.id == id)?;
        at.checked_sub(1).and_then(|before| self.items.get(before)).map(|item| item.id.clone())
    }

    /// The last items, at most `count`, oldest first, each with the one before it.
    pub fn latest(&self, count: usize) -> Vec<(Item, Option<ItemId>)> {
        let from = self.items.len().saturating_sub(count);
        self.items.iter().skip(from).map(|item| (item.clone(), self.before(&item.id))).collect()
    }

    pub fn retrieve(&self, id: &ItemId) -> Result<&Item, Fault> {
        self.get(id).ok_or_else(|| unknown_item(id, "item_id"))
    }

    pub fn delete(&mut self, id: &ItemId) -> Result<(), Fault> {
        let at = self.position(id, "item_id")?;
        self.items.remove(at);
        Ok(())
    }

    /// Sets what is known of an item now: its text as heard, and whether it is whole.
    pub fn set(&mut self, id: &ItemId, text: String, status: ItemStatus) -> Option<&Item> {
        let item = self.items.iter_mut().find(|item| &item.id == id)?;
        item.text = text;
        item.status = status;
        Some(item)
    }

    /// Somebody has corrected what an item says.
    pub fn correct(&mut self, id: &ItemId, text: String) {
        if let Some(item) = self.items.iter_mut().find(|item| &item.id == id) {
            item.text = text;
        }
    }

    /// Takes out all items but those for which `stays`; gives the ids of those that were taken, oldest first.
    pub fn retain(&mut self, stays: impl Fn(&Item) -> bool) -> Vec<ItemId> {
        let (kept, taken) = std::mem::take(&mut self.items).into_iter().partition(stays);
        self.items = kept;
        taken.into_iter().map(|item: Item| item.id).collect()
    }

    fn position(&self, id: &ItemId, param: &str) -> Result<usize, Fault> {
        self.items.iter().position(|item| &item.id == id).ok_or_else(|| unknown_item(id, param))
    }

    /// What the language model is shown: the instructions, then who said what, neighbours of one speaker joined (a caller who
    /// was cut off goes on with the same thought). `pending` is what the caller is saying and may have finished.
    pub fn messages(&self, instructions: &str, pending: Option<&str>) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::with_capacity(self.items.len() + 2);
        let said = self.items.iter().map(|item| (speaker(item.role), item.text.as_str()));
        let system = std::iter::once((Speaker::System, instructions));
        let pending = pending.map(|text| (Speaker::User, text));
        for (speaker, text) in system.chain(said).chain(pending) {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            match messages.last_mut() {
                Some(last) if last.speaker == speaker => {
                    last.text.push(' ');
                    last.text.push_str(text);
                }
                _ => messages.push(Message { speaker, text: text.to_owned() }),
            }
        }
        messages
    }
}

fn speaker(role: Role) -> Speaker {
    match role {
        Role::System => Speaker::System,
        Role::User => Speaker::User,
        Role::Assistant => Speaker::Assistant,
    }
}

fn unknown_item(id: &ItemId, param: &str) -> Fault {
    invalid("item_not_found", format!("there is no item {id} in this conversation"), param)
}

/// A fault of the client's making.
pub fn invalid(code: &'static str, message: impl Into<String>, param: &str) -> Fault {
    Fault {
        kind: "invalid_request_error",
        code,
        message: message.into(),
        param: Some(param.to_owned()),
        event_id: None,
    }
}

/// A new item of spoken words.
pub fn spoken(id: ItemId, role: Role, text: impl Into<String>, status: ItemStatus) -> Item {
    Item { id, role, medium: Medium::Voice, text: text.into(), status }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn item(id: &str, role: Role, text: &str) -> Item {
        spoken(ItemId::from_text(id), role, text, ItemStatus::Completed)
    }

    fn dialogue() -> Dialogue {
        let mut dialogue = Dialogue::default();
        dialogue.add(item("a", Role::User, "My name is Ada."), None).unwrap();
        dialogue.add(item("b", Role::Assistant, "Hello Ada."), None).unwrap();
        dialogue
    }

    #[test]
    fn the_model_sees_instructions_then_turns_in_order() {
        let messages = dialogue().messages("Be brief.", Some("What is my name?"));
        let shown: Vec<_> = messages.iter().map(|m| (m.speaker, m.text.as_str())).collect();
        assert_eq!(
            shown,
            [
                (Speaker::System, "Be brief."),
                (Speaker::User, "My name is Ada."),
                (Speaker::Assistant, "Hello Ada."),
                (Speaker::User, "What is my name?"),
            ]
        );
    }

    #[test]
    fn the_model_sees_only_what_was_heard_of_a_cut_reply() {
        let mut dialogue = dialogue();
        dialogue.set(&ItemId::from_text("b"), "Hello".to_owned(), ItemStatus::Incomplete);
        assert_eq!(dialogue.messages("", None)[1].text, "Hello");
        dialogue.set(&ItemId::from_text("b"), String::new(), ItemStatus::Incomplete);
        assert_eq!(dialogue.messages("", Some("And yours?"))[0].text, "My name is Ada. And yours?");
    }

    #[test]
    fn an_item_goes_where_the_client_put_it() {
        let mut dialogue = dialogue();
        let before = dialogue.add(item("c", Role::User, "first"), Some(&ItemId::from_text(ItemId::ROOT))).unwrap();
        assert_eq!(before, None);
        let before = dialogue.add(item("d", Role::User, "middle"), Some(&ItemId::from_text("a"))).unwrap();
        assert_eq!(before, Some(ItemId::from_text("a")));
        assert_eq!(dialogue.last(), Some(&ItemId::from_text("b")));
    }

    #[test]
    fn an_unknown_or_double_item_is_refused_and_nothing_changes() {
        let mut dialogue = dialogue();
        assert_eq!(dialogue.add(item("a", Role::User, "again"), None).unwrap_err().code, "item_exists");
        let nowhere = ItemId::from_text("nowhere");
        assert_eq!(dialogue.add(item("c", Role::User, "x"), Some(&nowhere)).unwrap_err().code, "item_not_found");
        assert_eq!(dialogue.delete(&nowhere).unwrap_err().code, "item_not_found");
        assert_eq!(dialogue.messages("", None).len(), 2);
    }

    #[test]
    fn a_talk_of_days_does_not_grow_without_end() {
        let mut dialogue = Dialogue::default();
        for n in 0..2_000 {
            dialogue.add(item(&n.to_string(), Role::User, "word"), None).unwrap();
        }
        assert_eq!(dialogue.items.len(), ITEMS_BOUND);
        assert_eq!(dialogue.last(), Some(&ItemId::from_text("1999")));
    }
}
