#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use models::cancel::Cancelled;
use models::llm::{Generation, StopReason, TokenUsage};
use signaling::line::ConversationId;

use super::super::tests::turn;
use super::super::{Viewer, read};
use super::*;
use crate::call::record::Keeper;

/// What the scripted model does with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Writes(&'static str),
    Hangs,
    Fails,
}

struct Mind {
    manner: Mutex<Manner>,
    asked: watch::Sender<usize>,
    cancelled: Mutex<Vec<Cancelled>>,
    kept: Mutex<Vec<String>>,
}

impl Mind {
    fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            manner: Mutex::new(manner),
            asked: watch::Sender::new(0),
            cancelled: Mutex::default(),
            kept: Mutex::default(),
        })
    }
}

impl LanguageModel for Mind {
    fn name(&self) -> String {
        "scripted".to_owned()
    }

    fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let (generation, pieces, cancelled) = Generation::new();
        self.cancelled.lock().unwrap().push(cancelled);
        self.kept.lock().unwrap().push(request.conversation);
        let manner = *self.manner.lock().unwrap();
        match manner {
            Manner::Writes(text) => {
                pieces.try_send(Ok(Piece::Text(text.to_owned()))).unwrap();
                let done = Piece::Done { reason: StopReason::EndOfTurn, usage: TokenUsage::default() };
                pieces.try_send(Ok(done)).unwrap();
            }
            Manner::Hangs => drop(tokio::spawn(async move {
                pieces.closed().await;
            })),
            Manner::Fails => {
                self.asked.send_modify(|asked| *asked += 1);
                return Err(EngineError::Overloaded { engine: "scripted", waiting: 1 });
            }
        }
        self.asked.send_modify(|asked| *asked += 1);
        Ok(generation)
    }

    fn forget(&self, conversation: &str) {
        self.kept.lock().unwrap().retain(|kept| kept != conversation);
    }
}

struct Place {
    history: Arc<History>,
    mind: Arc<Mind>,
    #[expect(dead_code, reason = "held for its drop")]
    folder: tempfile::TempDir,
}

impl Place {
    fn new(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { history: Arc::new(History::open(folder.path()).unwrap()), mind: Mind::new(manner), folder }
    }

    async fn talk(&self) -> String {
        let conversation = ConversationId::fresh();
        let mut turn = turn(&conversation, "What's the weather like?", 1_000);
        turn.question.as_mut().unwrap().audio = None;
        turn.answer.as_mut().unwrap().audio = None;
        self.history.keep(turn).await.unwrap();
        conversation.as_str().to_owned()
    }

    fn title(&self, id: &str) -> Option<String> {
        self.history.conversation(&Viewer::Everyone, id).unwrap().unwrap().title
    }

    async fn find_one(&self, titler: &mut Titler) -> bool {
        find_one(&self.history, titler, self.mind.as_ref()).await
    }
}

#[tokio::test]
async fn a_conversation_gets_the_title_that_the_model_writes_and_the_models_cache_is_given_back() {
    let place = Place::new(Manner::Writes("Title: \"The weather today.\"\n\nIt is a nice title"));
    let id = place.talk().await;
    let mut titler = Titler::default();
    assert!(place.find_one(&mut titler).await);
    assert_eq!(place.title(&id).as_deref(), Some("The weather today"));
    assert!(place.mind.kept.lock().unwrap().is_empty(), "its cache is kept");
    assert!(!place.find_one(&mut titler).await, "there is nothing left to do");
    // It is found by it.
    let found = place.history.search(&Viewer::Everyone, &read_query("the weather tod"), 10, None).unwrap();
    assert_eq!(found.len(), 1);
}

fn read_query(typed: &str) -> super::super::Query {
    super::super::Query::read(typed)
}

#[tokio::test]
async fn a_title_that_somebody_gave_is_never_replaced() {
    let place = Place::new(Manner::Writes("Weather"));
    let id = place.talk().await;
    let renamed = place.history.rename(Viewer::Everyone, id.clone(), Some("Mine".to_owned())).await.unwrap();
    assert_eq!(renamed.map(|read::ConversationSummary { title, .. }| title), Some(Some("Mine".to_owned())));
    assert!(!place.find_one(&mut Titler::default()).await);
    assert!(!place.history.name(id.clone(), "Late".to_owned()).await.unwrap());
    assert_eq!(place.title(&id).as_deref(), Some("Mine"));
    // Taken away: the model may.
    place.history.rename(Viewer::Everyone, id.clone(), None).await.unwrap();
    assert!(place.find_one(&mut Titler::default()).await);
    assert_eq!(place.title(&id).as_deref(), Some("Weather"));
}

#[tokio::test]
async fn a_conversation_in_which_nothing_was_answered_is_not_named() {
    let place = Place::new(Manner::Writes("Nothing"));
    let mut turn = turn(&ConversationId::fresh(), "Hello?", 1_000);
    turn.answer = None;
    place.history.keep(turn).await.unwrap();
    assert!(!place.find_one(&mut Titler::default()).await);
}

#[tokio::test]
async fn a_model_that_fails_or_writes_nonsense_leaves_no_title_and_is_not_asked_again_at_once() {
    for manner in [Manner::Fails, Manner::Writes("\"…\"\n"), Manner::Writes("")] {
        let place = Place::new(manner);
        let id = place.talk().await;
        let mut titler = Titler::default();
        assert!(place.find_one(&mut titler).await);
        assert_eq!(place.title(&id), None, "{manner:?}");
        assert!(!place.find_one(&mut titler).await, "{manner:?}");
    }
}

#[test]
fn each_failure_is_followed_by_a_longer_pause_and_others_are_not_held_up() {
    let now = Instant::now();
    let mut titler = Titler::default();
    let both = ["a".to_owned(), "b".to_owned()];
    titler.failed(now, "a");
    assert_eq!(titler.choose(now, &both).as_deref(), Some("b"));
    assert_eq!(titler.choose(now + FIRST_PAUSE, &both).as_deref(), Some("a"));
    titler.failed(now, "a");
    assert_eq!(titler.choose(now + FIRST_PAUSE, &both[..1]), None);
    assert_eq!(titler.choose(now + 2 * FIRST_PAUSE, &both[..1]).as_deref(), Some("a"));
    for _ in 0..100 {
        titler.failed(now, "a");
    }
    assert!(titler.choose(now + LONGEST_PAUSE, &both[..1]).is_some());
    for n in 0..10 * FAILURES_BOUND {
        titler.failed(now, &n.to_string());
    }
    assert!(titler.failed.len() <= FAILURES_BOUND);
}

#[tokio::test]
async fn a_call_that_comes_stops_the_title_at_once() {
    let place = Place::new(Manner::Hangs);
    place.talk().await;
    let calls = watch::Sender::new(1);
    let mind = Arc::clone(&place.mind);
    let model = move || Some(Arc::clone(&mind) as Arc<dyn LanguageModel>);
    let running = tokio::spawn(run(Arc::clone(&place.history), calls.subscribe(), model));
    // No real second is waited for: the clock jumps whenever nothing else is to be done.
    tokio::time::pause();
    let mut asked = place.mind.asked.subscribe();
    tokio::time::sleep(2 * EVERY).await;
    assert_eq!(*asked.borrow(), 0, "asked while a call was up");
    calls.send_replace(0);
    asked.wait_for(|asked| *asked == 1).await.unwrap();
    assert!(!place.mind.cancelled.lock().unwrap()[0].is_set());
    calls.send_replace(1);
    while !place.mind.cancelled.lock().unwrap()[0].is_set() {
        tokio::task::yield_now().await;
    }
    assert!(place.mind.kept.lock().unwrap().is_empty(), "its cache is kept");
    running.abort();
}

#[test]
fn what_a_model_writes_is_made_fit_for_a_title() {
    let cases = [
        ("Weather in Taipei", Some("Weather in Taipei")),
        ("\n\n**\"Weather in Taipei.\"**\nMore", Some("Weather in Taipei")),
        ("標題：「台北的天氣」。", Some("台北的天氣")),
        ("Title: Title", Some("Title")),
        ("  a \t b\u{7} c  ", Some("a b c")),
        ("...", None),
        ("", None),
        ("Title:", None),
    ];
    for (written, title) in cases {
        assert_eq!(title_of(written).as_deref(), title, "{written:?}");
    }
    let long = title_of(&"many words ".repeat(50)).unwrap();
    assert!(long.ends_with("words…") || long.ends_with("many…"), "{long}");
    for long in [long, title_of(&"天".repeat(500)).unwrap(), title_of(&"x".repeat(500)).unwrap()] {
        assert!((50..=LONGEST).contains(&long.chars().count()), "{long}");
    }
}
