#![expect(clippy::unwrap_used, reason = "tests")]

mod changing;
mod encrypted;
mod exporting;
mod migration;
mod retaining;
mod searching;
mod viewing;

use std::time::{Duration, SystemTime};

use audio::pcm::{Pcm, SampleRate};
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings};

use super::*;
use crate::call::record::{Answer, Question};

pub(super) fn turn(conversation: &ConversationId, text: &str, started: u64) -> TurnRecord {
    let tone = |rate: SampleRate| {
        let hertz = rate.hertz() as f32;
        Pcm::new(
            rate,
            (0..rate.hertz()).map(|n| (n as f32 * 440.0 * std::f32::consts::TAU / hertz).sin() * 0.3).collect(),
        )
    };
    TurnRecord {
        conversation: conversation.clone(),
        call: CallId::fresh(),
        owner: None,
        door: "webrtc",
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(started),
        question: Some(Question {
            item: ItemId::fresh(),
            text: text.to_owned(),
            language: Some("en".to_owned()),
            audio: Some(tone(SampleRate::HZ_16000)),
        }),
        answer: Some(Answer {
            reply: ReplyId::fresh(),
            item: ItemId::fresh(),
            text: "It is sunny today.".to_owned(),
            heard: "It is sunny today.".to_owned(),
            audio: Some(tone(SampleRate::HZ_16000)),
            interrupted: false,
            failure: None,
            voice: "flite/slt".to_owned(),
            model: "smollm2".to_owned(),
        }),
        timings: Timings { first_packet: Some(Duration::from_micros(412_500)), ..Timings::default() },
    }
}

/// The same without sound, which takes time to encode.
pub(super) fn silent(conversation: &ConversationId, user: &str, assistant: &str, started: u64) -> TurnRecord {
    let mut turn = turn(conversation, user, started);
    turn.question.as_mut().unwrap().audio = None;
    let answer = turn.answer.as_mut().unwrap();
    answer.audio = None;
    (answer.text, answer.heard) = (assistant.to_owned(), assistant.to_owned());
    turn
}

/// A history in a folder of its own.
pub(super) struct Place {
    pub history: std::sync::Arc<History>,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { history: std::sync::Arc::new(History::open(folder.path()).unwrap()), folder }
    }

    /// Writes down a conversation of these turns, without sound.
    pub async fn talk(&self, turns: &[(&str, &str)]) -> String {
        let conversation = ConversationId::fresh();
        for (n, (user, assistant)) in turns.iter().enumerate() {
            self.history.keep(silent(&conversation, user, assistant, 1_000 + 10 * n as u64)).await.unwrap();
        }
        conversation.as_str().to_owned()
    }

    pub fn shown(&self, id: &str) -> StoredConversation {
        self.history.conversation(&Viewer::Everyone, id).unwrap().unwrap()
    }

    /// Ids of what is found, newest first.
    pub fn found(&self, typed: &str) -> Vec<String> {
        let found = self.history.search(&Viewer::Everyone, &Query::read(typed), 100, None).unwrap();
        found.into_iter().map(|(summary, _)| summary.id).collect()
    }

    pub fn recordings(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("audio")).unwrap().count()
    }
}

#[tokio::test]
async fn a_turn_is_there_after_a_restart_with_both_sides_audio() {
    let folder = tempfile::tempdir().unwrap();
    let conversation = ConversationId::fresh();
    let history = History::open(folder.path()).unwrap();
    history.keep(turn(&conversation, "What's the weather like?", 1_000)).await.unwrap();
    // Not dropped in an orderly way: what was confirmed must be readable by another process at once.
    let after = History::open(folder.path()).unwrap();
    let stored = after.conversation(&Viewer::Everyone, conversation.as_str()).unwrap().unwrap();
    let turns = stored.turns;
    assert_eq!(stored.created_at, 1_000_000);
    assert_eq!(turns[0].user.as_ref().unwrap().text, "What's the weather like?");
    assert_eq!(turns[0].timings["first_packet_ms"], 412.5);
    for side in [Side::User, Side::Assistant] {
        let name = after.audio(&Viewer::Everyone, conversation.as_str(), turns[0].number, side).unwrap().unwrap();
        let bytes = std::fs::read(after.audio_path(&name)).unwrap();
        let pcm = audio::ogg::read(&bytes[..]).unwrap();
        assert!((pcm.duration().as_secs_f64() - 1.0).abs() < 0.03, "{:?}", pcm.duration());
    }
    drop(history);
}

#[tokio::test]
async fn a_history_that_is_closed_has_written_what_it_was_given_and_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let conversations: Vec<_> = (0..5).map(|_| ConversationId::fresh()).collect();
    // Nobody waits for the answers.
    let unanswered: Vec<_> = conversations.iter().map(|id| history.keep(turn(id, "Goodbye.", 1_000))).collect();
    drop(unanswered);
    drop(history);
    let mut left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["audio", "history.sqlite3"]);
    assert_eq!(History::open(folder.path()).unwrap().conversations(&Viewer::Everyone, 10, None).unwrap().len(), 5);
}

#[tokio::test]
async fn what_was_heard_of_a_cut_reply_is_what_is_recalled() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let conversation = ConversationId::fresh();
    let record = turn(&conversation, "Tell me a story.", 1_000);
    let reply = record.answer.as_ref().unwrap().reply.clone();
    history.keep(record).await.unwrap();
    let played = Duration::from_millis(300);
    history.amend(Amendment { reply, heard: "It is".to_owned(), interrupted: true, played }).await.unwrap();
    let items = history.recall(&conversation).await.unwrap();
    let said: Vec<_> = items.iter().map(|item| item.text.as_str()).collect();
    assert_eq!(said, ["Tell me a story.", "It is"]);
    assert_eq!(items[1].status, signaling::line::ItemStatus::Incomplete);
}

#[tokio::test]
async fn the_list_is_newest_first_and_pages_without_loss_or_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let ids: Vec<_> = (0..7).map(|_| ConversationId::fresh()).collect();
    for (n, id) in ids.iter().enumerate() {
        // Two begin in the same millisecond.
        history.keep(turn(id, &format!("Question {n}"), 1_000 + n as u64 / 2)).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = history.conversations(&Viewer::Everyone, 3, before.as_deref()).unwrap();
        let short = page.len() < 3;
        before = page.last().map(|c| c.id.clone());
        listed.extend(page);
        if short {
            break;
        }
    }
    let expected: Vec<_> = ids.iter().rev().map(|id| id.as_str().to_owned()).collect();
    assert_eq!(listed.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(listed[0].preview, "Question 6");
    assert_eq!(listed[0].turns, 1);
}

#[tokio::test]
async fn a_client_chosen_item_id_cannot_leave_the_audio_folder() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let conversation = ConversationId::fresh();
    let mut record = turn(&conversation, "hello", 1_000);
    record.question.as_mut().unwrap().item = ItemId::from_text("../../escaped");
    history.keep(record).await.unwrap();
    let name = history.audio(&Viewer::Everyone, conversation.as_str(), 1, Side::User).unwrap().unwrap();
    assert!(!name.contains('/') && !name.contains(".."), "{name}");
    assert!(history.audio_path(&name).exists());
}

#[test]
fn a_history_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(History::open(folder.path()).unwrap());
    let path = folder.path().join("history.sqlite3");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(History::open(folder.path()), Err(HistoryError::Newer { found: 99, .. })));
}

#[test]
fn an_unwritable_or_damaged_data_folder_says_which_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    let error = History::open(&file).err().unwrap().to_string();
    assert!(error.contains("--data-dir") && error.contains("file"), "{error}");
    let damaged = folder.path().join("damaged");
    std::fs::create_dir_all(&damaged).unwrap();
    std::fs::write(damaged.join("history.sqlite3"), vec![7; 8192]).unwrap();
    let error = History::open(&damaged).err().unwrap().to_string();
    assert!(error.contains("move it away"), "{error}");
}
