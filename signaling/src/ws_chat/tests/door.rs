//! The whole door on a real socket, with a switchboard whose calls the test holds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::keys::Keys;
use crate::http::origins::Origins;
use crate::line::{
    Asking, CallEvent, CallerAudio, ConversationId, FromCaller, HangUp, HqAudio, ItemId, Line, Playout, Refusal,
    ReplyId, ResumedFrom, Seat, SessionPatch, Switchboard, ToCaller,
};
use crate::secret::Secret;
use crate::ws_chat::{ChatDoor, Recorded, Recordings, router};

/// No step of any test takes this long unless it never comes.
const NEVER: Duration = Duration::from_secs(20);

struct Board {
    refusal: Option<Refusal>,
    lines: mpsc::UnboundedSender<Line>,
}

impl Switchboard for Board {
    fn admit(&self, _: Asking<'_>) -> Result<Seat, Refusal> {
        self.refusal.clone().map_or_else(|| Ok(Seat::new(())), Err)
    }

    fn connect(&self, line: Line, _: Seat) {
        let _test_is_over = self.lines.send(line);
    }
}

/// Has the better audio of turn 7 alone.
struct Shelf;

impl Recordings for Shelf {
    fn better(&self, audio: &HqAudio, most: usize) -> BoxFuture<'static, Option<Recorded>> {
        let recorded = Recorded { file: b"OggS and so on".to_vec(), mime: "audio/ogg" };
        let is_there = audio.turn == 7 && recorded.file.len() <= most;
        Box::pin(async move { is_there.then_some(recorded) })
    }
}

struct Server {
    address: SocketAddr,
    lines: mpsc::UnboundedReceiver<Line>,
    stop: watch::Sender<bool>,
}

async fn server(keys: &[&str], refusal: Option<Refusal>) -> Server {
    let (lines_tx, lines) = mpsc::unbounded_channel();
    let stop = watch::Sender::new(false);
    let door = ChatDoor {
        switchboard: Arc::new(Board { refusal, lines: lines_tx }),
        keys: Arc::new(Keys::new(keys.iter().map(|key| Secret::new(*key)))),
        recordings: Arc::new(Shelf),
        stopping: stop.subscribe(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router(door, Origins::default())).await });
    Server { address, lines, stop }
}

struct Client(WebSocketStream<TcpStream>);

impl Server {
    async fn open(&self, query: &str, headers: &[(&'static str, &str)]) -> Result<(Client, Option<String>), Error> {
        let mut request = format!("ws://{}/ws/chat{query}", self.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(self.address).await?;
        let (socket, response) = client_async(request, stream).await?;
        let protocol = response.headers().get("sec-websocket-protocol");
        Ok((Client(socket), protocol.map(|value| value.to_str().unwrap().to_owned())))
    }

    async fn client(&self) -> Client {
        self.open("", &[]).await.unwrap().0
    }

    async fn line(&mut self) -> Line {
        soon(self.lines.recv()).await.unwrap()
    }

    /// Status and error code of a handshake that fails.
    async fn refused(&self, query: &str, headers: &[(&'static str, &str)]) -> (u16, String) {
        let Err(Error::Http(response)) = self.open(query, headers).await else { panic!("it was let in") };
        let body: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap_or_default();
        (response.status().as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(NEVER, future).await.expect("what the test waits for did not come")
}

impl Client {
    async fn send(&mut self, message: &Value) {
        soon(self.0.send(Message::text(message.to_string()))).await.unwrap();
    }

    async fn chunk(&mut self, samples: &[i16], sr: u32) {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.send(&json!({ "type": "audio_chunk", "data": STANDARD.encode(bytes), "ts": 0, "sr": sr })).await;
    }

    /// The next message of that type.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = soon(self.0.next()).await.expect("the connection is over").unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == kind {
                    return message;
                }
            }
        }
    }

    /// Messages until the end, and the code it was closed with.
    async fn rest(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        loop {
            match soon(self.0.next()).await {
                Some(Ok(Message::Text(text))) => messages.push(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return (messages, frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (messages, None),
            }
        }
    }
}

async fn hear<T>(line: &mut Line, mut wanted: impl FnMut(FromCaller) -> Option<T>) -> T {
    soon(async {
        loop {
            let word = line.incoming.recv().await.expect("the line is gone without a hang-up");
            if let Some(found) = wanted(word) {
                return found;
            }
        }
    })
    .await
}

async fn hung_up(line: &mut Line) -> HangUp {
    hear(line, |word| match word {
        FromCaller::HungUp(why) => Some(why),
        _ => None,
    })
    .await
}

fn audio(word: FromCaller) -> Option<CallerAudio> {
    match word {
        FromCaller::Audio(audio) => Some(audio),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_sent_is_heard_and_what_is_said_is_sent() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    let mut line = server.line().await;
    assert_eq!((line.door, line.session.clone()), ("websocket", SessionPatch::default()));
    client.chunk(&[8_000; 24_000 / 2], 24_000).await;
    let frame = hear(&mut line, |word| audio(word).filter(|audio| audio.samples[160] > 0.2)).await;
    assert_eq!(frame.samples.len(), 320);

    let reply = ReplyId::fresh();
    line.outgoing.send(ToCaller::Event(CallEvent::ReplyStarted { reply: reply.clone() })).await.unwrap();
    let pcm = Pcm::new(SampleRate::HZ_16000, vec![0.3; 4_000]);
    line.outgoing.send(ToCaller::Speak { reply: reply.clone(), pcm }).await.unwrap();
    line.outgoing.send(ToCaller::Finish { reply: reply.clone() }).await.unwrap();
    let mut heard = Vec::new();
    loop {
        let piece = client.next("audio_response").await;
        let file = STANDARD.decode(piece["data"].as_str().unwrap()).unwrap();
        heard.extend(audio::wav::read(&file[..]).unwrap().samples);
        if piece["is_last"] == true {
            break;
        }
    }
    assert_eq!(heard.len(), 4_000);
    let drained = hear(&mut line, |word| match word {
        FromCaller::Playout(Playout::Drained { reply, played }) => Some((reply, played)),
        _ => None,
    });
    assert_eq!(drained.await, (reply, Duration::from_millis(250)));

    soon(client.0.close(None)).await.unwrap();
    assert_eq!(hung_up(&mut line).await, HangUp::ByCaller);
}

#[tokio::test]
async fn a_reply_is_sent_again_in_a_better_voice_once_that_is_made() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    let line = server.line().await;
    let reply = ReplyId::fresh();
    // One whose file was taken away says nothing, and keeps none from being sent.
    for turn in [6, 7] {
        let audio = HqAudio {
            conversation: ConversationId::from_text("conv_1"),
            turn,
            reply: reply.clone(),
            item: ItemId::fresh(),
            duration: Duration::from_secs(2),
        };
        line.outgoing.send(ToCaller::Event(CallEvent::HqReady(audio))).await.unwrap();
    }
    let sent = client.next("audio_response").await;
    let fields = ["mode", "mime", "is_last", "turn_id"].map(|name| sent[name].clone());
    assert_eq!(fields, [json!("hq"), json!("audio/ogg"), json!(true), json!(reply)]);
    assert_eq!(STANDARD.decode(sent["data"].as_str().unwrap()).unwrap(), b"OggS and so on");
}

#[tokio::test]
async fn a_client_that_is_cut_off_has_vanished() {
    let mut server = server(&[], None).await;
    let client = server.client().await;
    let mut line = server.line().await;
    drop(client);
    assert_eq!(hung_up(&mut line).await, HangUp::Vanished);
}

#[tokio::test]
async fn the_address_brings_the_session_and_a_token_goes_on_with_an_earlier_one() {
    let mut server = server(&[], None).await;
    let (_client, protocol) = server
        .open(
            "?conversation=conv_1&voice=slt&language=zh-TW",
            &[("sec-websocket-protocol", "chat, avatar-resume.rt_1")],
        )
        .await
        .unwrap();
    assert_eq!(protocol.as_deref(), Some("chat"), "a token is not repeated where something else can be");
    let session = server.line().await.session;
    assert_eq!(session.conversation.unwrap().as_str(), "conv_1");
    assert_eq!((session.voice.as_deref(), session.language), (Some("slt"), Some(Some("zh-TW".to_owned()))));
    assert_eq!(session.resume, Some(Secret::new("rt_1")));

    let (mut client, _) = server.open("?language=auto", &[("avatar-resume-token", "rt_2")]).await.unwrap();
    let line = server.line().await;
    assert_eq!((line.session.resume, line.session.language), (Some(Secret::new("rt_2")), Some(None)));
    let conversation = ConversationId::from_text("conv_1");
    let resumed = CallEvent::SessionResumed { conversation, from: ResumedFrom::History, reply: None };
    line.outgoing.send(ToCaller::Event(resumed)).await.unwrap();
    assert_eq!(client.next("session_resumed").await["from"], "history");

    assert_eq!(server.refused("?voice=", &[]).await, (400, "invalid_value".to_owned()));
    assert_eq!(server.refused(&format!("?voice={}", "x".repeat(200)), &[]).await.0, 400);
}

#[tokio::test]
async fn nobody_comes_in_without_a_key_or_from_a_foreign_page() {
    let server = server(&["sk-mine"], None).await;
    assert_eq!(server.refused("", &[]).await, (401, "missing_api_key".to_owned()));
    for (name, value) in [
        ("authorization", "Bearer sk-yours"),
        ("sec-websocket-protocol", "avatar-key.sk-yours"),
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key."),
        ("sec-websocket-protocol", "openai-insecure-api-key.sk-min"),
    ] {
        let (status, code) = server.refused("", &[(name, value)]).await;
        assert_eq!(status, 401, "{value}: {code}");
    }
    let key = ("authorization", "Bearer sk-mine");
    assert_eq!(server.refused("", &[key, ("origin", "https://evil.example")]).await.0, 403);
    assert!(server.open("", &[key, ("origin", "http://localhost:3000")]).await.is_ok());
    for list in ["avatar-key.sk-mine", "realtime, openai-insecure-api-key.sk-mine"] {
        let (_, protocol) = server.open("", &[("sec-websocket-protocol", list)]).await.unwrap();
        assert_eq!(protocol.as_deref(), list.split(',').next(), "browsers want one of theirs back");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_call_says_why_and_closes() {
    let retry_after = Duration::from_secs(5);
    for (refusal, code) in [
        (Refusal::Full { limit: 5, retry_after }, "busy"),
        (Refusal::Draining { retry_after }, "busy"),
        (Refusal::Loading { percent: 40, retry_after }, "loading"),
        (Refusal::EngineMissing { what: "the voice".to_owned(), hint: "pull one".to_owned() }, "internal"),
        (Refusal::ResumeTokenInvalid, "resume_token_invalid"),
        (Refusal::Quota { why: "this key has talked enough".to_owned(), retry_after }, "quota_exceeded"),
        (Refusal::NoSuchConversation(ConversationId::from_text("conv_1")), "conversation_not_found"),
    ] {
        let server = server(&[], Some(refusal)).await;
        let (messages, close) = server.client().await.rest().await;
        assert_eq!((messages[0]["code"].as_str(), close), (Some(code), Some(1013)), "{messages:?}");
    }
}

#[tokio::test]
async fn a_bad_message_is_answered_and_the_call_goes_on_until_there_is_nothing_else() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    let mut line = server.line().await;
    client.send(&json!({ "type": "video_chunk" })).await;
    assert_eq!(client.next("error").await["code"], "unknown_type");
    soon(client.0.send(Message::binary(vec![1, 2, 3]))).await.unwrap();
    assert_eq!(client.next("error").await["code"], "bad_message");
    client.send(&json!({ "type": "audio_chunk", "data": "A".repeat(800 * 1024), "sr": 16_000 })).await;
    assert_eq!(client.next("error").await["code"], "too_large");
    client.chunk(&[8_000; 4_800], 16_000).await;
    hear(&mut line, |word| audio(word).filter(|audio| audio.samples[0] > 0.2)).await;
    for _ in 0..5_000 {
        if client.0.send(Message::text("{")).await.is_err() {
            break;
        }
    }
    let (messages, close) = client.rest().await;
    let codes: Vec<_> = messages.iter().filter_map(|message| message["code"].as_str()).collect();
    assert!(codes.len() < 5_000, "{} answers", codes.len());
    assert!(close.is_none_or(|code| code == 1008), "{close:?}");
    assert_eq!(hung_up(&mut line).await, HangUp::ByServer);
}

#[tokio::test]
async fn a_flood_of_audio_is_answered_with_overloaded_and_keeps_no_more_than_its_bound() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    // The call takes nothing.
    let mut line = server.line().await;
    let second = vec![1_000_i16; 48_000];
    for _ in 0..40 {
        client.chunk(&second, 48_000).await;
    }
    assert_eq!(client.next("error").await["code"], "overloaded");
    let mut heard = Duration::ZERO;
    client.0.close(None).await.unwrap();
    hear(&mut line, |word| {
        if let FromCaller::Audio(audio) = &word {
            heard += SampleRate::HZ_16000.duration_of(audio.samples.len());
        }
        matches!(word, FromCaller::HungUp(_)).then_some(())
    })
    .await;
    assert!(heard <= Duration::from_secs(31), "{heard:?}");
}

#[tokio::test]
async fn a_message_beyond_all_bounds_ends_the_call() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    let mut line = server.line().await;
    let _reset = client.0.send(Message::text("x".repeat(6 * 1024 * 1024))).await;
    assert_eq!(hung_up(&mut line).await, HangUp::ByServer);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_before_it_takes_memory() {
    let mut server = server(&[], None).await;
    // The client is there, and reads nothing.
    let _client = server.client().await;
    let mut line = server.line().await;
    let token = "word ".repeat(2_000);
    let reply = ReplyId::fresh();
    let mut sent = 0;
    let why = loop {
        let item = ItemId::fresh();
        let event = CallEvent::ReplyText { reply: reply.clone(), item, delta: token.clone() };
        tokio::select! {
            word = line.incoming.recv() => match word {
                Some(FromCaller::HungUp(why)) => break why,
                Some(_) => {}
                None => panic!("the line is gone without a hang-up"),
            },
            // Fails once the door has let go; the word of that is still to come.
            _gone = line.outgoing.send(ToCaller::Event(event)) => sent += token.len(),
        }
        assert!(sent < 256 * 1024 * 1024, "{sent} bytes were taken");
    };
    assert_eq!(why, HangUp::Vanished);
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_hangs_up() {
    let mut server = server(&[], None).await;
    let mut client = server.client().await;
    let mut line = server.line().await;
    server.stop.send_replace(true);
    assert_eq!(hung_up(&mut line).await, HangUp::ByServer);
    assert_eq!(client.rest().await.1, Some(1001));
}

#[tokio::test]
async fn a_request_that_is_no_websocket_is_told_what_to_do() {
    let server = server(&[], None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /ws/chat HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 426") && answer.contains("websocket_needed"), "{answer}");
}
