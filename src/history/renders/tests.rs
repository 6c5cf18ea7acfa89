#![expect(clippy::unwrap_used, reason = "tests")]

use signaling::line::{ConversationId, HqAudio, ItemId, ReplyId};
use signaling::ws_chat::{Recorded, Recordings};

use super::super::news::Heard;
use super::super::tests::turn;
use super::super::*;
use super::*;
use crate::call::record::{Amendment, Keeper};

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// Later than anything the history stamps itself.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

fn rendered() -> Rendered {
    Rendered { file: b"better".to_vec(), duration: Duration::from_millis(1_234), voice: "festival/slt-hts".to_owned() }
}

/// A history that renders, with one turn.
async fn one(folder: &Path) -> (History, ConversationId, ReplyId) {
    let history = History::open(folder).unwrap();
    history.render_replies(true);
    let conversation = ConversationId::fresh();
    let record = turn(&conversation, "What's the weather like?", 1_000);
    let reply = record.answer.as_ref().unwrap().reply.clone();
    history.keep(record).await.unwrap();
    (history, conversation, reply)
}

/// Of the conversation's first turn that has one.
fn render(history: &History, conversation: &ConversationId) -> Option<StoredRender> {
    let stored = history.conversation(&Viewer::Everyone, conversation.as_str()).unwrap()?;
    stored.turns.into_iter().find_map(|turn| turn.render)
}

fn state(history: &History, conversation: &ConversationId) -> Option<RenderState> {
    render(history, conversation).map(|render| render.state)
}

fn heard(listener: &mut news::Listener) -> Vec<HistoryNews> {
    let mut all = Vec::new();
    while let Some(Heard::News(news)) = listener.try_next() {
        all.push(news.what.clone());
    }
    all
}

#[tokio::test]
async fn a_reply_is_told_of_as_it_is_kept_begun_and_made() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    history.render_replies(true);
    let mut listener = history.news().listen().unwrap();
    let conversation = ConversationId::fresh();
    let mut record = turn(&conversation, "What's the weather like?", 1_000);
    record.owner = Some("key_1".to_owned());
    history.keep(record).await.unwrap();
    let work = history.next_render(later()).await.unwrap().unwrap();
    assert_eq!((work.turn, work.text.as_str(), work.voice.as_str()), (1, "It is sunny today.", "flite/slt"));
    assert_eq!(state(&history, &conversation), Some(RenderState::Rendering));
    assert!(history.render_made(1, rendered(), later()).await.unwrap());
    let render = render(&history, &conversation).unwrap();
    assert_eq!((render.state, render.duration_ms, render.reason), (RenderState::Ready, Some(1_234), None));
    let name = history.better_audio(&Viewer::Everyone, conversation.as_str(), 1).unwrap().unwrap();
    assert_eq!(std::fs::read(history.audio_path(&name)).unwrap(), b"better");
    assert!(
        history.audio(&Viewer::Everyone, conversation.as_str(), 1, Side::Assistant).unwrap().is_some(),
        "the fast one is still there"
    );
    let mut told = Vec::new();
    while let Some(Heard::News(news)) = listener.try_next() {
        assert_eq!(news.owner.as_deref(), Some("key_1"));
        told.push(match &news.what {
            HistoryNews::Turn { turn, .. } => format!("turn {turn}"),
            HistoryNews::Render(render) => format!("{} {:?}", render.state.as_str(), render.duration_ms),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ["turn 1", "pending None", "rendering None", "ready Some(1234)"]);
    assert_eq!(history.next_render_due().unwrap(), None);
}

#[tokio::test]
async fn a_process_killed_in_mid_render_renders_again_and_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, _) = one(folder.path()).await;
    history.next_render(later()).await.unwrap().unwrap();
    // As a kill leaves it: nothing is closed, and half a file lies there.
    let half = history.audio_path("half.hq.partial");
    std::fs::write(&half, b"be").unwrap();
    let after = History::open(folder.path()).unwrap();
    assert_eq!(state(&after, &conversation), Some(RenderState::Rendering));
    assert_eq!(after.recover_renders(later()).await.unwrap(), 1);
    assert_eq!(state(&after, &conversation), Some(RenderState::Pending));
    let again = after.next_render(later()).await.unwrap().unwrap();
    assert!(after.render_made(again.turn, rendered(), later()).await.unwrap());
    // What the dead process had in hand is out of date.
    assert!(!after.render_made(again.turn, rendered(), later()).await.unwrap());
    let better: Vec<_> =
        std::fs::read_dir(folder.path().join("audio")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(better.iter().filter(|name| name.to_string_lossy().ends_with(".hq.ogg")).count(), 1);
    assert_eq!(render(&after, &conversation).unwrap().attempts, 0, "it is ready: nothing is counted any more");
    assert_eq!(after.recover_renders(later()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_reply_without_words_or_with_rendering_off_is_never_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let conversation = ConversationId::fresh();
    history.keep(turn(&conversation, "Off.", 1_000)).await.unwrap();
    history.render_replies(true);
    let mut mute = turn(&conversation, "Smile.", 1_001);
    mute.answer.as_mut().unwrap().text = "😀 **…**".to_owned();
    history.keep(mute).await.unwrap();
    let mut unanswered = turn(&conversation, "Hello?", 1_002);
    unanswered.answer = None;
    history.keep(unanswered).await.unwrap();
    assert_eq!(history.next_render(later()).await.unwrap(), None);
    assert_eq!(state(&history, &conversation), None);
    let asked = |turn| history.ask_render(Viewer::Everyone, conversation.as_str().to_owned(), turn, at(0));
    assert_eq!(asked(2).await.unwrap(), AskedAnew::NothingToSay);
    assert_eq!(asked(3).await.unwrap(), AskedAnew::NothingToSay);
    assert_eq!(asked(9).await.unwrap(), AskedAnew::NoTurn);
    assert_eq!(
        history.ask_render(Viewer::Everyone, "conv_other".to_owned(), 1, at(0)).await.unwrap(),
        AskedAnew::NoTurn
    );
    // Of the one that was kept without, a person may want it.
    assert_eq!(asked(1).await.unwrap(), AskedAnew::Pending);
    assert_eq!(history.next_render(at(0)).await.unwrap().unwrap().turn, 1);
}

#[tokio::test]
async fn of_a_reply_that_was_cut_only_what_was_heard_is_rendered() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    history.render_replies(true);
    let conversation = ConversationId::fresh();
    let mut cut = turn(&conversation, "Tell me.", 1_000);
    let answer = cut.answer.as_mut().unwrap();
    (answer.heard, answer.interrupted) = ("It is".to_owned(), true);
    history.keep(cut).await.unwrap();
    assert_eq!(history.next_render(later()).await.unwrap().unwrap().text, "It is");
}

#[tokio::test]
async fn a_reply_found_cut_after_it_was_rendered_is_rendered_anew_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, reply) = one(folder.path()).await;
    history.next_render(later()).await.unwrap().unwrap();
    let amendment = |heard: &str| {
        let (reply, heard) = (reply.clone(), heard.to_owned());
        history.amend(Amendment { reply, heard, interrupted: true, played: Duration::ZERO })
    };
    amendment("It is").await.unwrap();
    assert!(!history.render_made(1, rendered(), later()).await.unwrap(), "that was of the older text");
    assert_eq!(history.better_audio(&Viewer::Everyone, conversation.as_str(), 1).unwrap(), None);
    assert_eq!(history.next_render(later()).await.unwrap().unwrap().text, "It is");
    assert!(history.render_made(1, rendered(), later()).await.unwrap());
    let name = history.better_audio(&Viewer::Everyone, conversation.as_str(), 1).unwrap().unwrap();
    amendment("").await.unwrap();
    assert_eq!(state(&history, &conversation), None);
    assert!(!history.audio_path(&name).exists(), "nobody heard anything of it");
}

#[tokio::test]
async fn a_render_that_fails_waits_and_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, _) = one(folder.path()).await;
    let now = later();
    history.next_render(now).await.unwrap().unwrap();
    let mut listener = history.news().listen().unwrap();
    history.render_failed(1, "the voice is gone".to_owned(), false, now, 0.0).await.unwrap();
    assert_eq!(history.next_render(now).await.unwrap(), None, "not at once");
    let due = history.next_render_due().unwrap().unwrap();
    assert_eq!(due - milliseconds(now), stage::FIRST_WAIT_MS / 2);
    history.next_render(now + Duration::from_secs(10)).await.unwrap().unwrap();
    history.render_failed(1, "no voice knows its language".to_owned(), true, now, 0.0).await.unwrap();
    let told: Vec<_> = heard(&mut listener)
        .into_iter()
        .filter_map(
            |news| if let HistoryNews::Render(render) = news { Some((render.state, render.reason)) } else { None },
        )
        .collect();
    let reason = |words: &str| Some(words.to_owned());
    assert_eq!(
        told,
        [
            (RenderState::Pending, reason("the voice is gone")),
            (RenderState::Rendering, None),
            (RenderState::Failed, reason("no voice knows its language")),
        ]
    );
    assert_eq!(history.render_counts(&Viewer::Everyone).unwrap(), RenderCounts { pending: 0, rendering: 0, failed: 1 });
    let tally = history.conversations(&Viewer::Everyone, 1, None).unwrap().remove(0).renders;
    assert_eq!(tally, RenderTally { pending: 0, ready: 0, failed: 1 });
    let stranger = Viewer::Owner("key_1".to_owned());
    assert_eq!(history.render_counts(&stranger).unwrap(), RenderCounts::default());
    assert_eq!(
        history.ask_render(stranger, conversation.as_str().to_owned(), 1, now).await.unwrap(),
        AskedAnew::NoTurn
    );
    assert_eq!(
        history.ask_render(Viewer::Everyone, conversation.as_str().to_owned(), 1, now).await.unwrap(),
        AskedAnew::Pending
    );
    assert_eq!(history.render_counts(&Viewer::Everyone).unwrap().pending, 1);
}

#[tokio::test]
async fn the_fast_audio_goes_once_the_better_one_has_been_there_for_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, _) = one(folder.path()).await;
    history.keep(turn(&conversation, "And tomorrow?", 1_001)).await.unwrap();
    let now = later();
    for _ in 0..2 {
        let work = history.next_render(now).await.unwrap().unwrap();
        assert!(history.render_made(work.turn, rendered(), now).await.unwrap());
    }
    assert_eq!(history.drop_fast_audio(now - Duration::from_secs(1)).await.unwrap(), 0);
    // Somebody took the second one's better file away.
    let taken = history.better_audio(&Viewer::Everyone, conversation.as_str(), 2).unwrap().unwrap();
    std::fs::remove_file(history.audio_path(&taken)).unwrap();
    let fast = |turn| history.audio(&Viewer::Everyone, conversation.as_str(), turn, Side::Assistant).unwrap();
    let first = history.audio_path(&fast(1).unwrap());
    let bytes = || history.size(&Viewer::Everyone).unwrap().bytes;
    let (before, length) = (bytes(), std::fs::metadata(&first).unwrap().len() as i64);
    assert_eq!(history.drop_fast_audio(now).await.unwrap(), 2);
    assert_eq!(before - bytes(), length, "what recordings take is kept count of");
    assert!(fast(1).is_none() && !first.exists());
    assert!(history.audio_path(&fast(2).unwrap()).exists(), "it is all there is");
    assert_eq!(history.drop_fast_audio(now).await.unwrap(), 0, "each is looked at once");
}

#[tokio::test]
async fn a_turn_that_is_deleted_takes_its_render_along() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, _) = one(folder.path()).await;
    history.next_render(later()).await.unwrap().unwrap();
    let gone = conversation.as_str().to_owned();
    let delete =
        move |scribe: &mut Scribe| Ok(scribe.connection.execute("DELETE FROM conversations WHERE id = ?1", [gone])?);
    assert_eq!(history.writer.submit(delete).await.unwrap(), 1);
    assert!(!history.render_made(1, rendered(), later()).await.unwrap());
    assert_eq!(history.render_counts(&Viewer::Everyone).unwrap(), RenderCounts::default());
    assert_eq!(state(&history, &conversation), None);
}

#[tokio::test]
async fn better_audio_is_named_after_an_item_that_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    history.render_replies(true);
    let mut record = turn(&ConversationId::fresh(), "hello", 1_000);
    record.answer.as_mut().unwrap().item = ItemId::from_text("../../escaped");
    let conversation = record.conversation.clone();
    history.keep(record).await.unwrap();
    history.next_render(later()).await.unwrap().unwrap();
    assert!(history.render_made(1, rendered(), later()).await.unwrap());
    let name = history.better_audio(&Viewer::Everyone, conversation.as_str(), 1).unwrap().unwrap();
    assert!(!name.contains('/') && !name.contains(".."), "{name}");
}

#[tokio::test]
async fn better_audio_belongs_to_its_turn_for_who_checks_deletes_and_mends() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, _) = one(folder.path()).await;
    history.next_render(later()).await.unwrap().unwrap();
    assert!(history.render_made(1, Rendered { file: b"OggS".to_vec(), ..rendered() }, later()).await.unwrap());
    let name = history.better_audio(&Viewer::Everyone, conversation.as_str(), 1).unwrap().unwrap();
    let path = history.audio_path(&name);
    let others = Viewer::Owner("key_1".to_owned());
    assert_eq!(history.better_audio(&others, conversation.as_str(), 1).unwrap(), None);
    drop(history);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let sound = check::examine(folder.path(), tomorrow).unwrap().unwrap();
    assert!(sound.is_sound() && sound.recordings == 3, "{sound:?}");
    // Somebody removes it: once that is mended, it is made again.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check::examine(folder.path(), tomorrow).unwrap().unwrap().missing, [name]);
    assert!(check::repair(folder.path(), tomorrow).unwrap().is_sound());
    let history = History::open(folder.path()).unwrap();
    history.recover_renders(later()).await.unwrap();
    assert_eq!(state(&history, &conversation), Some(RenderState::Pending));
    history.next_render(later() + Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(history.render_made(1, rendered(), later()).await.unwrap());
    assert!(path.exists());
    assert!(history.delete(Viewer::Everyone, conversation.as_str().to_owned()).await.unwrap());
    assert_eq!(std::fs::read_dir(folder.path().join("audio")).unwrap().count(), 0);
}

#[tokio::test]
async fn better_audio_is_read_whole_for_who_is_told_of_it_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (history, conversation, reply) = one(folder.path()).await;
    let told = |turn| HqAudio {
        conversation: conversation.clone(),
        turn,
        reply: reply.clone(),
        item: ItemId::from_text("item_1"),
        duration: Duration::from_millis(1_234),
    };
    assert_eq!(history.better(&told(1), 100).await, None, "it is yet to be made");
    assert!(history.next_render(later()).await.unwrap().is_some());
    assert!(history.render_made(1, rendered(), later()).await.unwrap());
    let recorded = Recorded { file: b"better".to_vec(), mime: "audio/ogg" };
    assert_eq!(history.better(&told(1), 6).await, Some(recorded));
    assert_eq!(history.better(&told(1), 5).await, None, "longer than is sent");
    assert_eq!(history.better(&told(2), 100).await, None);
}
