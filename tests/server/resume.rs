//! A caller whose machine dies in the middle of a reply calls again; then the server dies, and the talk goes on all the same.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use audio::pcm::Pcm;
use models::stt::wer::word_error_rate;
use serde_json::{Value, json};
use signaling::caller::{Caller, CallerEvent, CallerEventKind, CallerSettings, Recording};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::server::Server;
use super::speech::transcribe;

const NEVER: Duration = Duration::from_secs(120);
const INSTRUCTIONS: &str = "Tell stories of at least four sentences.";

/// One call, on a runtime of its own, so that it can be stopped dead.
struct Call {
    runtime: Runtime,
    caller: Caller,
    events: mpsc::Receiver<CallerEvent>,
    recording: Recording,
    told: Vec<Value>,
}

impl Call {
    fn to(server: &Server, session: &Value) -> Result<Self, (u16, String)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mut caller, offer) = runtime.block_on(Caller::offer(CallerSettings::default())).unwrap();
        let body = json!({ "sdp": offer, "session": session }).to_string();
        let (answer, _) = server.post("/v1/realtime/calls", "application/json", body.as_bytes());
        if answer.status != 201 {
            runtime.block_on(caller.hang_up());
            return Err((answer.status, answer.error_code()));
        }
        let events = caller.events().unwrap();
        runtime.block_on(caller.accept(std::str::from_utf8(&answer.body).unwrap())).unwrap();
        Ok(Self { runtime, caller, events, recording: Recording::default(), told: Vec::new() })
    }

    fn send(&self, event: &Value) {
        self.runtime.block_on(self.caller.send(event.to_string())).unwrap();
    }

    /// Listens until `enough`.
    fn listen(&mut self, enough: impl Fn(&Self) -> bool) {
        let until = tokio::time::Instant::now() + NEVER;
        while !enough(self) {
            let next = self.runtime.block_on(async { tokio::time::timeout_at(until, self.events.recv()).await });
            let told = &self.told;
            let event = next.unwrap_or_else(|_| panic!("it does not come; told: {told:?}"));
            match event.unwrap_or_else(|| panic!("the call is over; told: {told:?}")) {
                CallerEvent { at, kind: CallerEventKind::Audio { pcm, timestamp } } => {
                    self.recording.push(at, timestamp, &pcm.samples);
                }
                CallerEvent { kind: CallerEventKind::Message(text), .. } => {
                    self.told.push(serde_json::from_str(&text).unwrap());
                }
                _ => {}
            }
        }
    }

    fn event(&self, kind: &str) -> Option<&Value> {
        self.told.iter().rev().find(|event| event["type"] == kind)
    }

    fn until(&mut self, kind: &str) -> Value {
        self.listen(|call| call.event(kind).is_some());
        self.event(kind).unwrap().clone()
    }

    fn token(&mut self) -> String {
        self.until("avatar.session.resumable")["token"].as_str().unwrap().to_owned()
    }

    /// The machine loses power: nothing is said, sockets are gone.
    fn die(self) -> (Recording, Vec<Value>) {
        let Self { runtime, caller, events, recording, told } = self;
        runtime.shutdown_background();
        // Dropped while a task still runs to its next pause, they would have it say goodbye.
        std::mem::forget((caller, events));
        (recording, told)
    }
}

fn with(token: &str) -> Value {
    json!({ "type": "realtime", "avatar": { "resume_token": token } })
}

/// From its first to its last sound.
fn audible(pcm: &Pcm) -> Pcm {
    audio::level::trim(pcm, audio::level::VOICE_FLOOR, Duration::ZERO)
}

struct Evidence {
    reply: String,
    stored: Pcm,
    before: Pcm,
    after: Pcm,
    resumed: Value,
    /// From the second call's offer to the first sound on it.
    back: Duration,
    used: (u16, String),
    conversation: Value,
    turns: usize,
    /// After the server was killed.
    restarted: Value,
    session: Value,
    turns_after: usize,
    guessed: (u16, String),
}

static EVIDENCE: LazyLock<Evidence> = LazyLock::new(gather);

fn gather() -> Evidence {
    let folder = TempDir::new().unwrap();
    let start = || {
        Server::start(folder.path(), None, |command| {
            command.args(["--set", "session.temperature=0", "--set", "session.max_reply_tokens=48"]);
        })
    };
    let server = start();
    let mut first = Call::to(&server, &json!({ "type": "realtime", "instructions": INSTRUCTIONS })).unwrap();
    let token = first.token();
    let content = json!([{ "type": "input_text", "text": "Tell me a story about a dog and a river." }]);
    first.send(&json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": content } }));
    first.send(&json!({ "type": "response.create" }));
    first.until("output_audio_buffer.started");
    let packets = first.recording.packets();
    // Three seconds of the reply.
    first.listen(|call| call.recording.packets() >= packets + 150);
    let (before, told) = first.die();
    let conversation = told[0]["session"]["avatar"]["conversation_id"].clone();

    let offered = Instant::now();
    let mut second = Call::to(&server, &with(&token)).unwrap();
    let resumed = second.until("avatar.session.resumed");
    let again = second.token();
    second.until("output_audio_buffer.stopped");
    let done = second.until("response.done");
    let back = second.recording.first_audible(offered).unwrap() - offered;
    let after = second.recording.pcm();
    let used = Call::to(&server, &with(&token)).err().unwrap();
    let turns = |server: &Server| {
        let path = format!("/api/conversations/{}", conversation.as_str().unwrap());
        server.get(&path).json()["turns"].as_array().unwrap().clone()
    };
    let kept = turns(&server);
    let stored = server.get(kept[0]["assistant"]["audio"].as_str().unwrap());
    let stored = audio::ogg::read(&stored.body[..]).unwrap();
    // The power goes on the other side.
    server.kill();
    second.die();

    let server = start();
    let mut third = Call::to(&server, &with(&again)).unwrap();
    let restarted = third.until("avatar.session.resumed");
    let session = third.until("session.created")["session"].clone();
    let guessed = Call::to(&server, &with("rt_guessed")).err().unwrap();
    let turns_after = turns(&server).len();
    third.die();
    Evidence {
        reply: done["response"]["output"][0]["content"][0]["transcript"].as_str().unwrap().to_owned(),
        stored,
        before: before.pcm(),
        after,
        resumed,
        back,
        used,
        turns: kept.len(),
        conversation,
        restarted,
        session,
        turns_after,
        guessed,
    }
}

#[test]
fn the_rest_of_the_reply_is_heard_and_nothing_twice() {
    let evidence = &*EVIDENCE;
    let (before, after) = (audible(&evidence.before), audible(&evidence.after));
    let whole = audible(&evidence.stored).duration();
    let heard = before.duration() + after.duration();
    eprintln!("{whole:?} of reply; {heard:?} heard on both calls; back after {:?}", evidence.back);
    assert!(heard <= whole + Duration::from_millis(200), "{heard:?} of {whole:?} were heard");
    // A pause of speech at the seam is trimmed from both sides.
    assert!(heard + Duration::from_millis(900) >= whole, "{heard:?} of {whole:?} were heard");
    let mut all = before.clone();
    all.samples.extend(&after.samples);
    let transcript = transcribe(&all);
    let rate = word_error_rate(&evidence.reply, &transcript);
    assert!(rate <= 0.25, "{rate}: '{}' was heard as '{transcript}'", evidence.reply);
}

#[test]
fn the_talk_goes_on_as_one_conversation_and_its_turn_is_one() {
    let evidence = &*EVIDENCE;
    assert_eq!(evidence.resumed["from"], "memory");
    assert_eq!(evidence.resumed["conversation_id"], evidence.conversation);
    assert!(evidence.resumed["response_id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(evidence.turns, 1);
}

#[test]
fn a_killed_server_goes_on_from_its_history_with_the_same_settings() {
    let evidence = &*EVIDENCE;
    assert_eq!(evidence.restarted["from"], "history");
    assert_eq!(evidence.session["avatar"]["conversation_id"], evidence.conversation);
    assert_eq!(evidence.session["instructions"], INSTRUCTIONS);
    assert_eq!(evidence.turns_after, 1);
}

#[test]
fn a_token_that_was_used_or_guessed_is_refused_before_any_media() {
    let refused = (409, "resume_token_invalid".to_owned());
    assert_eq!((&EVIDENCE.used, &EVIDENCE.guessed), (&refused, &refused));
}
