//! What asking a server through [`models::remote`] costs, against asking the same server by hand over a plain socket.
//!
//! `remote_cost [URL [MODEL]]`: alternates both, for the same words, and gives the medians of the time to the first piece and of the
//! time a piece after it. Without a URL it asks a server of its own that sends a piece a millisecond, each with the time at which it
//! was sent, and gives the median delay of a piece from there to whoever waits for it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use models::fallback::FallbackLlm;
use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker};
use models::remote::{
    BreakerSettings, IoThread, Network, NetworkSettings, RemoteLlm, RemoteLlmSettings, ServerSettings,
};

const RUNS: usize = 15;
const PIECES: usize = 64;
/// Of the built-in server.
const OWN_PIECES: usize = 200;
const PACE: Duration = Duration::from_millis(1);
/// What the built-in server counts its times from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What was measured of one reply.
#[derive(Default)]
struct Run {
    began: Option<Instant>,
    first: Duration,
    last: Duration,
    pieces: u32,
    /// Of each piece that says when it was sent.
    delays: Vec<Duration>,
}

impl Run {
    fn begin() -> Self {
        Self { began: Some(Instant::now()), ..Self::default() }
    }

    fn hear(&mut self, text: &str) {
        let now = Instant::now();
        self.last = self.began.map_or(Duration::ZERO, |began| now - began);
        self.pieces += 1;
        if self.pieces == 1 {
            self.first = self.last;
        } else if let Some(sent) = text.trim().parse().ok().map(Duration::from_nanos) {
            self.delays.push((now - *START).saturating_sub(sent));
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (url, limit) = match arguments.next() {
        Some(url) => (url, PIECES),
        None => (own_server(), OWN_PIECES),
    };
    let model = arguments.next().unwrap_or_else(|| "any".to_owned());
    let io = IoThread::start().unwrap();
    let network = NetworkSettings { connect: Duration::from_secs(5), ca_file: None };
    let network = Network::new(Arc::clone(&io), &network).unwrap();
    let minute = Duration::from_secs(60);
    let server = ServerSettings {
        address: url.parse().unwrap(),
        authorization: None,
        model: model.clone(),
        first: minute,
        pause: minute,
        total: minute,
        retries: 0,
        breaker: BreakerSettings::default(),
    };
    let remote = RemoteLlm::new(network, RemoteLlmSettings { server, extra: serde_json::Map::new() });
    let row = FallbackLlm::new(io, vec![Arc::new(remote)]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let host = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let (mut by_hand, mut by_engine) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let one = ask_by_hand(&host, &model, limit);
        let other = runtime.block_on(ask(&row, limit));
        // The first of each warms the server up.
        if run > 0 {
            by_hand.push(one);
            by_engine.push(other);
        }
    }
    println!("                 first piece      a piece after it    delay of a piece    pieces");
    for (name, runs) in [("by hand", &by_hand), ("remote + row", &by_engine)] {
        let first = median(runs.iter().map(|run| run.first));
        let each =
            median(runs.iter().filter(|run| run.pieces > 1).map(|run| (run.last - run.first) / (run.pieces - 1)));
        let delay = median(runs.iter().flat_map(|run| run.delays.iter().copied()));
        let (first, each, delay) = (micros(first), micros(each), micros(delay));
        println!("{name:<14} {first:>10.1} us {each:>16.1} us {delay:>16.1} us {:>9}", runs[0].pieces);
    }
}

fn request(limit: usize) -> GenerateRequest {
    GenerateRequest {
        conversation: "cost".into(),
        messages: vec![Message { speaker: Speaker::User, text: "Tell me about the sea.".into() }],
        sampling: Sampling { temperature: 0.0, max_tokens: limit, seed: 1, ..Sampling::default() },
    }
}

async fn ask(row: &FallbackLlm, limit: usize) -> Run {
    let mut run = Run::begin();
    let mut generation = row.generate(request(limit)).unwrap();
    while let Some(piece) = generation.next().await {
        match piece.unwrap() {
            Piece::Text(text) => run.hear(&text),
            Piece::Done { .. } => break,
        }
    }
    run
}

/// The least that has to be done: one write, then lines, each parsed.
fn ask_by_hand(host: &str, model: &str, limit: usize) -> Run {
    let mut stream = BufReader::new(TcpStream::connect(host).unwrap());
    stream.get_ref().set_nodelay(true).unwrap();
    let body = serde_json::json!({
        "model": model, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": limit, "seed": 0,
        "temperature": 0.0, "messages": [{"role": "user", "content": "Tell me about the sea."}],
    });
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut run = Run::begin();
    stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
    let mut line = String::new();
    // Up to the last chunk, which is empty.
    while line != "0\r\n" {
        line.clear();
        if stream.read_line(&mut line).unwrap() == 0 {
            break;
        }
        let Some(data) = line.strip_prefix("data: ").filter(|data| data.starts_with('{')) else { continue };
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        if let Some(text) = value["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()) {
            run.hear(text);
        }
    }
    run
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Answers every request with the same pieces, a packet each.
fn own_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || answer(BufReader::new(stream)));
        }
    });
    url
}

fn answer(mut stream: BufReader<TcpStream>) -> Option<()> {
    stream.get_ref().set_nodelay(true).ok()?;
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0; length]).ok()?;
        let mut send = |text: &str| stream.get_mut().write_all(text.as_bytes()).ok();
        send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        for _ in 0..OWN_PIECES {
            std::thread::sleep(PACE);
            let sent = START.elapsed().as_nanos();
            let data = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {sent}\"}}}}]}}\n\n");
            send(&format!("{:x}\r\n{data}\r\n", data.len()))?;
        }
        let data = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        send(&format!("{:x}\r\n{data}\r\n0\r\n\r\n", data.len()))?;
    }
}
