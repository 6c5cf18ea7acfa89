//! Conversations brought into the order that a chat template takes.
//!
//! Calls have several system prompts, begin with the avatar's greeting, and put two turns of one speaker side by side when a reply
//! was cut before anything was heard. Some templates refuse that, or have no place for a system prompt.

use crate::llm::{Message, Speaker};

/// The system prompts at the beginning as one: templates look at the first message only.
pub(super) fn one_system_prompt(messages: &[Message]) -> Vec<Message> {
    let system = messages.iter().take_while(|message| message.speaker == Speaker::System).count();
    let mut arranged = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        append(&mut arranged, message, index < system);
    }
    arranged
}

/// User and assistant in turn, the user first; what the system says becomes part of the user's next message.
pub(super) fn alternating(messages: &[Message]) -> Vec<Message> {
    let mut arranged: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    for message in messages {
        let speaker = if message.speaker == Speaker::Assistant { Speaker::Assistant } else { Speaker::User };
        if speaker == Speaker::Assistant && arranged.is_empty() {
            arranged.push(Message { speaker: Speaker::User, text: String::new() });
        }
        append(&mut arranged, &Message { speaker, text: message.text.clone() }, true);
    }
    arranged
}

/// Adds `message`, to the last one if that is the same speaker's and they may be `joined`.
fn append(arranged: &mut Vec<Message>, message: &Message, joined: bool) {
    match arranged.last_mut().filter(|last| joined && last.speaker == message.speaker) {
        Some(last) if last.text.is_empty() => last.text.clone_from(&message.text),
        Some(last) => {
            last.text.push_str("\n\n");
            last.text.push_str(&message.text);
        }
        None => arranged.push(message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Speaker::{Assistant, System, User};

    fn talk(turns: &[(Speaker, &str)]) -> Vec<Message> {
        turns.iter().map(|(speaker, text)| Message { speaker: *speaker, text: (*text).into() }).collect()
    }

    #[test]
    fn several_system_prompts_are_read_as_one() {
        let said = talk(&[(System, "a"), (System, "b"), (User, "c"), (User, "d"), (System, "e")]);
        let arranged = talk(&[(System, "a\n\nb"), (User, "c"), (User, "d"), (System, "e")]);
        assert_eq!(one_system_prompt(&said), arranged);
    }

    #[test]
    fn speakers_take_turns_and_no_word_is_lost() {
        let said = talk(&[(System, "a"), (User, "b"), (Assistant, "c"), (Assistant, "d"), (System, "e"), (User, "f")]);
        assert_eq!(alternating(&said), talk(&[(User, "a\n\nb"), (Assistant, "c\n\nd"), (User, "e\n\nf")]));
        let greeted = talk(&[(Assistant, "hi"), (User, "b")]);
        assert_eq!(alternating(&greeted), talk(&[(User, ""), (Assistant, "hi"), (User, "b")]));
        assert_eq!(alternating(&talk(&[(System, "a"), (Assistant, "hi")])), talk(&[(User, "a"), (Assistant, "hi")]));
    }
}
