//! The renderer with a voice that does as it is told, and with Festival. Nothing is timed: each step waits for the one before it, at
//! most [`PATIENCE`].
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audio::level::{longest_clipping, peak};
use audio::pcm::{Pcm, SampleRate};
use futures_util::stream;
use models::cancel::Cancelled;
use models::error::EngineError;
use models::tts::festival::Festival;
use models::tts::service::SpeechService;
use models::tts::{SpeakRequest, Speech, TextToSpeech, Voice};
use signaling::line::{CallId, ConversationId, ItemId, ReplyId, Timings};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::master::{CEILING_DBTP, TARGET_LUFS, loudness};
use super::voices::HqVoices;
use super::*;
use crate::call::attendance::Told;
use crate::call::attendance::{Attendance, CallLoads};
use crate::call::record::{Answer, Keeper, TurnRecord};
use crate::config::{BesideCalls, KeepFast};
use crate::history::news::{Heard, HistoryNews, Listener, RenderNews};
use crate::history::renders::RenderState;
use crate::history::renders::StoredRender;
use crate::history::{Side, Viewer};

const PATIENCE: Duration = Duration::from_secs(60);

/// Says nothing until it may: one permit a sentence.
struct Booth {
    voices: Vec<Voice>,
    asked: mpsc::UnboundedSender<(String, String, Cancelled)>,
    may: Arc<Semaphore>,
    /// Refuses everything so.
    refuses: Mutex<Option<EngineError>>,
}

impl TextToSpeech for Booth {
    fn name(&self) -> String {
        "booth".to_owned()
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let (speech, chunks, cancelled) = Speech::new();
        // Not every test looks at what is asked.
        let _ = self.asked.send((request.text, request.voice, cancelled));
        if let Some(error) = self.refuses.lock().unwrap().clone() {
            return Err(error);
        }
        let may = Arc::clone(&self.may);
        tokio::spawn(async move {
            let permit = tokio::select! {
                () = chunks.closed() => return,
                permit = may.acquire_owned() => permit.unwrap(),
            };
            permit.forget();
            let tone = (0..8_000).map(|n| (n as f32 * 0.2).sin() * 0.1).collect();
            let _ = chunks.send(Ok(Pcm::new(SampleRate::HZ_16000, tone))).await;
        });
        Ok(speech)
    }
}

type Asked = mpsc::UnboundedReceiver<(String, String, Cancelled)>;

/// A booth of one voice.
fn booth(voice: &str, permits: usize) -> (Arc<Booth>, Asked) {
    let (asked, asks) = mpsc::unbounded_channel();
    let voice = Voice { id: voice.to_owned(), name: voice.to_owned(), language: "en", rate: SampleRate::HZ_16000 };
    let may = Arc::new(Semaphore::new(permits));
    (Arc::new(Booth { voices: vec![voice], asked, may, refuses: Mutex::default() }), asks)
}

async fn next_asked(asked: &mut Asked) -> (String, Cancelled) {
    let (text, _, cancelled) = timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
    (text, cancelled)
}

/// A renderer at work on a history.
struct Studio {
    history: Arc<History>,
    news: Listener,
    stopping: watch::Sender<bool>,
    /// Milliseconds that the clock is ahead.
    ahead: Arc<AtomicU64>,
    running: JoinHandle<()>,
}

impl Studio {
    fn open(folder: &Path, voices: HqVoices, quiet: Option<Quiet>, keep_fast: KeepFast) -> Self {
        let history = Arc::new(History::open(folder).unwrap());
        history.render_replies(true);
        let news = history.news().listen().unwrap();
        let stopping = watch::Sender::new(false);
        let ahead = Arc::new(AtomicU64::new(0));
        let offset = Arc::clone(&ahead);
        let renderer = Renderer {
            history: Arc::clone(&history),
            voices,
            quiet: quiet.unwrap_or_else(|| Quiet::new(history.calls(), BesideCalls::Always)),
            settings: RenderSettings { bitrate: 64_000, keep_fast },
            clock: Arc::new(move || SystemTime::now() + Duration::from_millis(offset.load(Ordering::SeqCst))),
            stopping: stopping.subscribe(),
        };
        Self { history, news, stopping, ahead, running: tokio::spawn(renderer.run()) }
    }

    /// Writes down a turn that was answered with `text`.
    async fn keep(&self, text: &str) -> ConversationId {
        let conversation = ConversationId::fresh();
        let tone = (0..16_000).map(|n| (n as f32 * 0.2).sin() * 0.1).collect();
        let answer = Answer {
            reply: ReplyId::fresh(),
            item: ItemId::fresh(),
            text: text.to_owned(),
            heard: text.to_owned(),
            audio: Some(Pcm::new(SampleRate::HZ_16000, tone)),
            interrupted: false,
            failure: None,
            voice: "flite/slt".to_owned(),
            model: "smollm2".to_owned(),
        };
        let record = TurnRecord {
            conversation: conversation.clone(),
            call: CallId::fresh(),
            owner: None,
            door: "webrtc",
            started: SystemTime::now(),
            question: None,
            answer: Some(answer),
            timings: Timings::default(),
        };
        self.history.keep(record).await.unwrap();
        conversation
    }

    /// Waits until a render is in that state.
    async fn until(&mut self, state: RenderState) -> RenderNews {
        let found = async {
            loop {
                match self.news.next().await {
                    Some(Heard::News(news)) => match &news.what {
                        HistoryNews::Render(render) if render.state == state => return render.clone(),
                        _ => {}
                    },
                    other => panic!("{other:?}"),
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("nothing is {state:?}"))
    }

    /// As a killed process leaves it.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    async fn stop(self) {
        self.stopping.send_replace(true);
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

/// Of the conversation's only turn.
fn render(history: &History, conversation: &ConversationId) -> StoredRender {
    let stored = history.conversation(&Viewer::Everyone, conversation.as_str()).unwrap().unwrap();
    stored.turns[0].render.clone().unwrap()
}

fn one(name: &'static str, booth: &Arc<Booth>) -> HqVoices {
    HqVoices::new([(name, Arc::clone(booth) as Arc<dyn TextToSpeech>)])
}

#[tokio::test]
async fn replies_are_rendered_in_the_order_they_were_given_sentence_by_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (booth, mut asked) = booth("festival/slt-hts", 3);
    let mut studio = Studio::open(folder.path(), one("festival", &booth), None, KeepFast::Days(30));
    let first = studio.keep("The first sentence, of the first reply. **Its** second 😀.").await;
    let second = studio.keep("The other reply.").await;
    for conversation in [&first, &second] {
        let ready = studio.until(RenderState::Ready).await;
        assert_eq!(ready.conversation, conversation.as_str());
        let name = studio.history.better_audio(&Viewer::Everyone, conversation.as_str(), ready.turn).unwrap().unwrap();
        let heard = audio::ogg::read_file(&studio.history.audio_path(&name)).unwrap();
        assert_eq!(Some(heard.duration().as_millis() as i64), ready.duration_ms);
        assert!(peak(&heard.samples) > 0.05);
    }
    let texts: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).map(|(text, ..)| text).collect();
    assert_eq!(texts, ["The first sentence, of the first reply.", "Its second.", "The other reply."]);
    studio.stop().await;
}

#[tokio::test]
async fn a_call_stops_the_sentence_in_work_at_once_and_what_was_made_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let loads = CallLoads::default();
    let mut call = Attendance::new(&loads, stream::empty());
    let (booth, mut asked) = booth("festival/slt-hts", 1);
    let quiet = Quiet::new(loads.watch(), BesideCalls::Quiet);
    let mut studio = Studio::open(folder.path(), one("festival", &booth), Some(quiet), KeepFast::Days(30));
    studio.keep("One is said. Two is cut. Three is last.").await;
    assert_eq!(next_asked(&mut asked).await.0, "One is said.");
    let (text, cancelled) = next_asked(&mut asked).await;
    assert_eq!((text.as_str(), cancelled.is_set()), ("Two is cut.", false));
    call.set_engaged(true);
    let gone = async {
        while !cancelled.is_set() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(PATIENCE, gone).await.is_ok(), "the engine goes on beside a call");
    booth.may.add_permits(10);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(asked.try_recv().is_err(), "nothing is said while the call is engaged");
    call.set_engaged(false);
    studio.until(RenderState::Ready).await;
    let rest: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).map(|(text, ..)| text).collect();
    assert_eq!(rest, ["Two is cut.", "Three is last."]);
    studio.stop().await;
}

#[tokio::test]
async fn killed_in_mid_render_it_is_rendered_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (held, mut asked) = booth("festival/slt-hts", 0);
    let studio = Studio::open(folder.path(), one("festival", &held), None, KeepFast::UntilReady);
    let conversation = studio.keep("It is sunny today.").await;
    next_asked(&mut asked).await;
    assert_eq!(studio.history.render_counts(&Viewer::Everyone).unwrap().rendering, 1);
    studio.kill().await;
    let (booth, _asked) = booth("festival/slt-hts", 1);
    let mut studio = Studio::open(folder.path(), one("festival", &booth), None, KeepFast::UntilReady);
    let ready = studio.until(RenderState::Ready).await;
    assert_eq!(ready.conversation, conversation.as_str());
    let history = Arc::clone(&studio.history);
    studio.stop().await;
    assert!(history.better_audio(&Viewer::Everyone, conversation.as_str(), ready.turn).unwrap().is_some());
    // The policy here lets go of the fast audio as soon as the better one is there.
    assert_eq!(history.audio(&Viewer::Everyone, conversation.as_str(), ready.turn, Side::Assistant).unwrap(), None);
    let files: Vec<_> =
        std::fs::read_dir(folder.path().join("audio")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn told_to_stop_it_puts_back_what_it_has_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (booth, mut asked) = booth("festival/slt-hts", 0);
    let studio = Studio::open(folder.path(), one("festival", &booth), None, KeepFast::Always);
    let conversation = studio.keep("It is sunny today.").await;
    next_asked(&mut asked).await;
    let history = Arc::clone(&studio.history);
    studio.stop().await;
    let render = render(&history, &conversation);
    assert_eq!((render.state, render.attempts), (RenderState::Pending, 0));
}

#[tokio::test]
async fn a_voice_that_fails_is_tried_again_later_and_at_last_another_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, mut asked) = booth("remote/alloy", 0);
    *broken.refuses.lock().unwrap() = Some(EngineError::Stopped { engine: "the remote voice" });
    let (works, _) = booth("festival/slt-hts", 1);
    let voices = HqVoices::new([("remote", Arc::clone(&broken) as Arc<dyn TextToSpeech>), ("festival", works as _)]);
    let mut studio = Studio::open(folder.path(), voices, None, KeepFast::Always);
    let conversation = studio.keep("It is sunny today.").await;
    for _ in 1..crate::history::renders::ATTEMPTS_MAX {
        next_asked(&mut asked).await;
        // The first pending is the beginning, the others follow a failure.
        while studio.until(RenderState::Pending).await.reason.is_none() {}
        studio.ahead.fetch_add(3_600_000, Ordering::SeqCst);
        // Any news wake it up.
        studio.history.news().title_changed(None, "conv_other", None);
    }
    studio.until(RenderState::Ready).await;
    assert_eq!(render(&studio.history, &conversation).voice.as_deref(), Some("festival/slt-hts"));
    studio.stop().await;
}

#[tokio::test]
async fn what_no_voice_can_say_fails_with_its_reason_and_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (booth, _asked) = booth("festival/slt-hts", 1);
    let mut studio = Studio::open(folder.path(), one("festival", &booth), None, KeepFast::Always);
    studio.keep("今天天氣很好。").await;
    let english = studio.keep("It is sunny today.").await;
    let failed = studio.until(RenderState::Failed).await;
    assert!(failed.reason.is_some_and(|reason| reason.contains("speaks its language")));
    assert_eq!(studio.until(RenderState::Ready).await.conversation, english.as_str());
    studio.stop().await;
}

#[tokio::test]
async fn a_call_hears_of_its_own_conversations_better_audio_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (booth, _asked) = booth("festival/slt-hts", 0);
    let mut studio = Studio::open(folder.path(), one("festival", &booth), None, KeepFast::Always);
    studio.keep("Somebody else's reply.").await;
    let mine = studio.keep("My own reply.").await;
    let mut attendance = studio.history.attend(&mine);
    booth.may.add_permits(2);
    let told = timeout(PATIENCE, attendance.told(true)).await.unwrap();
    let Told::Better(audio) = told else { panic!("{told:?}") };
    assert_eq!((audio.conversation.as_str(), audio.turn), (mine.as_str(), 2));
    let ready = studio.until(RenderState::Ready).await;
    assert_eq!(ready.turn, 1);
    let ready = studio.until(RenderState::Ready).await;
    assert_eq!((ready.reply.as_str(), ready.item.as_str()), (audio.reply.as_str(), audio.item.as_str()));
    assert_eq!(audio.url(), format!("/api/conversations/{mine}/turns/2/audio/assistant?quality=hq"));
    studio.stop().await;
}

#[tokio::test]
async fn festival_renders_a_reply_at_full_bandwidth_and_the_target_loudness() {
    let folder = tempfile::tempdir().unwrap();
    let festival = Festival::open().unwrap_or_else(|error| panic!("{error}"));
    let service: Arc<dyn TextToSpeech> = Arc::new(SpeechService::start("festival", vec![Box::new(festival)]).unwrap());
    let mut studio = Studio::open(folder.path(), HqVoices::new([("festival", service)]), None, KeepFast::Always);
    let conversation = studio.keep("The sun rises at 6:05 in the east. It sets in the west, of course!").await;
    let ready = studio.until(RenderState::Ready).await;
    let name = studio.history.better_audio(&Viewer::Everyone, conversation.as_str(), ready.turn).unwrap().unwrap();
    let heard = audio::ogg::read_file(&studio.history.audio_path(&name)).unwrap();
    let found = loudness(&heard.samples).unwrap();
    assert!((found.integrated - TARGET_LUFS).abs() < 0.5 && found.true_peak <= CEILING_DBTP, "{found:?}");
    assert!(longest_clipping(&heard.samples) < 2);
    // What Flite, at 16 kHz, has nothing of.
    let low = audio::resample::resample(&heard, SampleRate::HZ_16000).unwrap();
    let low = audio::resample::resample(&low, heard.rate).unwrap();
    let high: Vec<f32> = heard.samples.iter().zip(&low.samples).map(|(whole, low)| whole - low).collect();
    let share = audio::level::rms_dbfs(&high) - audio::level::rms_dbfs(&heard.samples);
    assert!(share > -45.0, "{share} dB above 8 kHz");
    studio.stop().await;
}
