//! What the model is shown of a conversation that has outgrown its context: the system prompt and the latest turns.
//!
//! Turns are dropped in fixed steps, not one by one, so that the prompt stays the same from turn to turn for a while and the
//! key-value cache goes on serving it.

use super::file::Flaw;
use crate::llm::{Message, Speaker};

/// Messages dropped at a time.
const STEP: usize = 8;
/// No tokenizer makes fewer tokens of a longer text than one for each this many bytes, on the average of a conversation.
const BYTES_PER_TOKEN: usize = 12;

#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub prompt: Vec<u32>,
    /// How many messages were left out.
    pub dropped: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Unfit {
    /// Even the last message alone is too long: it takes this many tokens, where known.
    TooLong(Option<usize>),
    Flaw(Flaw),
}

/// The longest conversation, oldest turns dropped, whose prompt takes at most `room` tokens.
pub(super) fn fit(
    messages: &[Message],
    room: usize,
    mut encode: impl FnMut(&[&Message]) -> Result<Vec<u32>, Flaw>,
) -> Result<Shown, Unfit> {
    let system = messages.iter().take_while(|message| message.speaker == Speaker::System).count();
    let turns = messages.get(system..).unwrap_or_default();
    let mut cuts: Vec<usize> = (0..turns.len()).step_by(STEP).map(|cut| next_user(turns, cut)).collect();
    cuts.push(turns.len().saturating_sub(1));
    cuts.dedup();
    let shown = |cut: usize| messages.iter().take(system).chain(turns.iter().skip(cut)).collect::<Vec<_>>();
    let is_hopeless = |cut: usize| {
        shown(cut).iter().map(|message| message.text.len()).sum::<usize>() > room.saturating_mul(BYTES_PER_TOKEN)
    };
    let Some(first) = cuts.iter().position(|&cut| !is_hopeless(cut)) else { return Err(Unfit::TooLong(None)) };
    let (mut low, mut high) = (first, cuts.len());
    let mut best = None;
    let mut length = None;
    // The whole conversation fits nearly always: try that first, then halve.
    let mut middle = low;
    while low < high {
        let Some(&cut) = cuts.get(middle) else { break };
        let prompt = encode(&shown(cut)).map_err(Unfit::Flaw)?;
        if prompt.len() <= room {
            best = Some(Shown { prompt, dropped: cut });
            high = middle;
        } else {
            length = Some(prompt.len());
            low = middle + 1;
        }
        middle = low + (high - low) / 2;
    }
    best.ok_or(Unfit::TooLong(length))
}

/// Templates want the first turn to be the user's.
fn next_user(turns: &[Message], from: usize) -> usize {
    let skipped = turns.iter().skip(from).take_while(|message| message.speaker != Speaker::User).count();
    if from == 0 { 0 } else { (from + skipped).min(turns.len().saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(speaker: Speaker, text: &str) -> Message {
        Message { speaker, text: text.into() }
    }

    /// A system prompt and `turns` questions with answers between, ten bytes each, ending in a question.
    fn talk(turns: usize) -> Vec<Message> {
        let mut messages = vec![message(Speaker::System, "0123456789")];
        for turn in 0..turns {
            messages.push(message(Speaker::User, &format!("question{turn:02}")));
            messages.push(message(Speaker::Assistant, "an answer."));
        }
        messages.pop();
        messages
    }

    /// One token for each message.
    fn encode(shown: &[&Message]) -> Result<Vec<u32>, Flaw> {
        Ok(vec![0; shown.len()])
    }

    #[test]
    fn a_conversation_that_fits_is_whole() {
        let messages = talk(5);
        assert_eq!(fit(&messages, 10, encode), Ok(Shown { prompt: vec![0; 10], dropped: 0 }));
    }

    #[test]
    fn the_system_prompt_stays_and_the_oldest_turns_go() {
        let messages = talk(20);
        let mut last = Vec::new();
        let shown = fit(&messages, 20, |shown| {
            last = shown.iter().map(|message| message.text.clone()).collect();
            encode(shown)
        });
        let shown = shown.map(|shown| (shown.prompt.len(), shown.dropped));
        assert_eq!(shown, Ok((16, 24)));
    }

    #[test]
    fn the_prompt_keeps_its_beginning_for_some_turns() {
        let first_turns: Vec<usize> =
            (10..30).filter_map(|turns| fit(&talk(turns), 20, encode).ok()).map(|shown| shown.dropped).collect();
        let changes = first_turns.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(first_turns.len(), 20);
        assert!(changes <= 5, "{first_turns:?}");
    }

    #[test]
    fn a_last_message_that_is_too_long_is_refused() {
        let wordy = |shown: &[&Message]| Ok(vec![0; shown.len() + 1]);
        assert_eq!(fit(&talk(3), 2, wordy), Err(Unfit::TooLong(Some(3))));
        let endless = [message(Speaker::User, &"a".repeat(10_000))];
        assert_eq!(fit(&endless, 20, encode), Err(Unfit::TooLong(None)));
        assert_eq!(fit(&[], 20, encode), Ok(Shown { prompt: vec![], dropped: 0 }));
    }

    #[test]
    fn what_is_left_begins_with_a_question() {
        for turns in 1..40 {
            for room in 2..30 {
                let mut first = None;
                let outcome = fit(&talk(turns), room, |shown| {
                    first = shown.get(1).map(|message| message.speaker);
                    assert_eq!(first, Some(Speaker::User));
                    encode(shown)
                });
                assert!(outcome.is_ok_and(|shown| shown.prompt.len() <= room));
            }
        }
    }
}
