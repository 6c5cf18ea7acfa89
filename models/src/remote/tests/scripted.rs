//! The server: threads and blocking sockets, so that it shares nothing with what it tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Act {
    Send(Vec<u8>),
    /// Sends a byte now and then for as long as anybody listens.
    Trickle(u8),
    /// Does nothing until the client closes the connection, and counts that.
    UntilClosed,
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
    pub connection: usize,
}

/// Answers each `POST` by the next script; the last one stays. `GET` lists its models.
pub struct Scripted {
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<Vec<Vec<Act>>>,
    seen: Mutex<Vec<Seen>>,
    closed: AtomicUsize,
    connections: AtomicUsize,
}

impl Scripted {
    pub fn start(scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { scripts: Mutex::new(scripts.into_iter().collect()), ..Shared::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&serving));
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// The requests but those for the models.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Connections that the client closed while an answer was awaited.
    pub fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::SeqCst)
    }
}

const MODELS: &str = r#"{"object":"list","data":[{"id":"ear","kind":"stt"},{"id":"first-listed"},{"id":"m"}]}"#;

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    while let Some(mut seen) = read(&mut reader)? {
        if seen.head.starts_with("GET") {
            writer.write_all(&json(200, "", MODELS))?;
            continue;
        }
        seen.connection = connection;
        shared.seen.lock().unwrap().push(seen);
        let script = {
            let mut scripts = shared.scripts.lock().unwrap();
            if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() }
        };
        for act in script {
            match act {
                Act::Send(bytes) => writer.write_all(&bytes)?,
                Act::Trickle(byte) => loop {
                    if writer.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).is_err() {
                        shared.closed.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(5));
                },
                Act::UntilClosed => {
                    let _ = reader.read(&mut [0; 16]);
                    shared.closed.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                Act::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Some(Seen { path, head, body, connection: 0 }))
}

/// A whole answer.
pub fn json(code: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into()
}

pub fn answer(code: u16, headers: &str, body: &str) -> Vec<Act> {
    vec![Act::Send(json(code, headers, body))]
}

/// The head of an answer whose body comes in chunks.
pub fn head(kind: &str) -> Act {
    Act::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n").into())
}

pub fn chunk(bytes: &[u8]) -> Act {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend(b"\r\n");
    Act::Send(chunk)
}

/// The regular end of a body in chunks.
pub fn end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

/// A stream of events, regularly ended.
pub fn events(texts: &[&str]) -> Vec<Act> {
    let sent = texts.iter().map(|text| chunk(format!("data: {text}\n\n").as_bytes()));
    std::iter::once(head("text/event-stream")).chain(sent).chain([end()]).collect()
}

pub fn delta(text: &str) -> String {
    serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}).to_string()
}

/// A reply as most servers send it.
pub fn reply(words: &[&str]) -> Vec<Act> {
    let mut texts = vec![r#"{"choices":[{"delta":{"role":"assistant"},"finish_reason":null}]}"#.to_owned()];
    texts.extend(words.iter().map(|word| delta(word)));
    texts.push(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.into());
    texts.push(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#.into());
    texts.push("[DONE]".into());
    events(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}
