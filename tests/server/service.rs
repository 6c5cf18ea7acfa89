//! The models as a service, and the server while it loads them: one server with the starter models, one with a slow disk.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use models::stt::wer::{word_error_rate, words};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Server, Told, offer};

const KEY: &str = "a-key-of-the-service-tests-0001";
const QUESTION: &str = "What is the capital of France?";
const SENTENCE: &str = "The weather is nice today, and we are going for a walk.";

struct Evidence {
    reply: Value,
    stream: String,
    models: Value,
    sound: Vec<u8>,
    heard: Value,
    log: String,
}

static EVIDENCE: LazyLock<Evidence> = LazyLock::new(gather);

fn gather() -> Evidence {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), Some(KEY), |command| {
        command.args(["--set", "log.level=debug"]);
    });
    let ask = |path: &str, value: Value| post(&server, path, "application/json", value.to_string().as_bytes());
    let question = |stream: bool| {
        let messages = json!([{"role": "user", "content": QUESTION}]);
        json!({"model": "auto", "temperature": 0, "max_tokens": 24, "stream": stream, "messages": messages})
    };
    let reply = ask("/v1/chat/completions", question(false)).json();
    let stream = String::from_utf8(ask("/v1/chat/completions", question(true)).body).unwrap();
    let sound = ask("/v1/audio/speech", json!({"input": SENTENCE, "response_format": "opus"})).body;
    let mut form = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"said.ogg\"\r\n\r\n".to_vec();
    form.extend(&sound);
    form.extend(b"\r\n--b--\r\n");
    let heard = post(&server, "/v1/audio/transcriptions", "multipart/form-data; boundary=b", &form).json();
    let models = server.get("/v1/models").json();
    let log = server.log();
    assert_eq!(server.terminate().code(), Some(0));
    Evidence { reply, stream, models, sound, heard, log }
}

/// With the server's key.
fn post(server: &Server, path: &str, kind: &str, body: &[u8]) -> Told {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let key = server.key.unwrap_or_default();
    let request = agent.post(format!("{}{path}", server.url)).header("authorization", format!("Bearer {key}"));
    let mut answer = request.header("content-type", kind).send(body).unwrap();
    Told { status: answer.status().as_u16(), body: answer.body_mut().read_to_vec().unwrap() }
}

#[test]
fn a_question_is_answered_whole_and_streamed_in_the_same_words() {
    let evidence = &*EVIDENCE;
    let whole = evidence.reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(words(whole).len() >= 2, "{}", evidence.reply);
    let chunks =
        evidence.stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let streamed: String = chunks
        .map(|data| serde_json::from_str::<Value>(data).unwrap())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(streamed, whole);
    assert!(evidence.stream.ends_with("data: [DONE]\n\n"), "{}", evidence.stream);
}

#[test]
fn what_the_voice_says_is_what_the_recogniser_hears() {
    let evidence = &*EVIDENCE;
    let sound = audio::ogg::read(&evidence.sound[..]).unwrap();
    assert!(audio::level::peak(&sound.samples) > 0.05 && audio::level::longest_clipping(&sound.samples) < 3);
    let heard = evidence.heard["text"].as_str().unwrap();
    let rate = word_error_rate(SENTENCE, heard);
    assert!(rate <= 0.25, "{rate}: {heard}");
}

#[test]
fn each_engine_is_listed() {
    let kinds: Vec<_> = EVIDENCE.models["data"].as_array().unwrap().iter().map(|model| &model["kind"]).collect();
    assert_eq!(kinds, ["llm", "stt", "tts"]);
}

#[test]
fn the_log_holds_nothing_of_what_programs_say_and_get() {
    let evidence = &*EVIDENCE;
    assert!(evidence.log.contains(" DEBUG "), "the log is not the one meant");
    assert!(!evidence.log.contains(KEY), "the key is in the log");
    let logged = format!(" {} ", words(&evidence.log).join(" "));
    let reply = evidence.reply["choices"][0]["message"]["content"].as_str().unwrap();
    for said in [QUESTION, SENTENCE, reply] {
        for three in words(said).windows(3) {
            let three = format!(" {} ", three.join(" "));
            assert!(!logged.contains(&three), "'{three}' is in the log");
        }
    }
}

/// A server whose language model is a pipe that nobody writes to until the test does: it loads for as long as the test likes.
fn loading(folder: &TempDir) -> (Server, PathBuf) {
    let pipe = folder.path().join("slow.gguf");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let server = Server::start_loading(folder.path(), |command| {
        command.args(["--set", &format!("engines.llm={}", pipe.display())]);
    });
    (server, pipe)
}

#[test]
fn a_server_that_is_loading_says_how_far_it_is_and_goes_on_by_itself() {
    let folder = TempDir::new().unwrap();
    let (server, pipe) = loading(&folder);
    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("loading")));
    assert!(health.json()["percent"].as_u64().unwrap() < 100);
    assert_eq!(health.json()["models"]["llm"]["state"], "loading");
    assert_eq!(server.get("/").status, 200);

    let (refused, _) = server.post("/whip", "application/sdp", offer().as_bytes());
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "server_loading"));
    let asked = json!({"messages": [{"role": "user", "content": "Hi."}]}).to_string();
    let refused = post(&server, "/v1/chat/completions", "application/json", asked.as_bytes());
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "server_loading"));

    // What comes is no model: the server then says what is missing, instead of loading for ever. It looks at the file's head
    // when it plans its memory, reads it again when it loads it, and may be gone before it has read all.
    std::thread::spawn(move || {
        while pipe.exists() {
            let _ = std::fs::write(&pipe, b"no model at all");
        }
    });
    let health = server.until_known();
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("down")));
    assert_eq!(health.json()["models"]["llm"]["state"], "missing");
    assert_eq!(health.json()["models"]["stt"]["state"], "ready");
    // The others have made their first runs and serve.
    let said = post(&server, "/v1/audio/speech", "application/json", br#"{"input": "Hello there."}"#);
    assert_eq!(said.status, 200);
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn a_server_that_is_told_to_stop_while_it_loads_stops() {
    let folder = TempDir::new().unwrap();
    let (server, _) = loading(&folder);
    assert_eq!(server.terminate().code(), Some(0));
}
