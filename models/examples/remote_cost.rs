//! What asking a server through [`models::remote`] costs, against asking the same server by hand over a plain socket.
//!
//! `remote_cost [URL [MODEL]]`: alternates both, for the same words, and gives the medians of the time to the first piece and of the
//! time a piece after it. Without a URL it asks a server of its own that sends its pieces as fast as they are taken, so that what
//! remains is the cost itself.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use models::fallback::FallbackLlm;
use models::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker};
use models::remote::{
    BreakerSettings, IoThread, Network, NetworkSettings, RemoteLlm, RemoteLlmSettings, ServerSettings,
};

const RUNS: usize = 15;
const PIECES: usize = 64;
/// Of the built-in server.
const OWN_PIECES: usize = 500;

/// To the first piece, to the last, and how many there were.
type Run = (Duration, Duration, usize);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (url, limit) = match arguments.next() {
        Some(url) => (url, PIECES),
        None => (own_server(), OWN_PIECES),
    };
    let model = arguments.next().unwrap_or_default();
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
    let mut direct = BufReader::new(TcpStream::connect(&host).unwrap());
    direct.get_ref().set_nodelay(true).unwrap();
    let (mut by_hand, mut by_engine) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let one = ask_by_hand(&mut direct, &host, &model, limit);
        let other = runtime.block_on(ask(&row, limit));
        // The first of each warms the server up.
        if run > 0 {
            by_hand.push(one);
            by_engine.push(other);
        }
    }
    println!("                 first piece      a piece after it    pieces");
    for (name, runs) in [("by hand", &by_hand), ("remote + row", &by_engine)] {
        let first = median(runs.iter().map(|run| run.0));
        let each = median(runs.iter().filter(|run| run.2 > 1).map(|run| (run.1 - run.0) / (run.2 as u32 - 1)));
        println!("{name:<14} {:>10.1} us {:>16.1} us {:>11}", micros(first), micros(each), runs[0].2);
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
    let began = Instant::now();
    let mut generation = row.generate(request(limit)).unwrap();
    let (mut first, mut pieces) = (None, 0);
    while let Some(piece) = generation.next().await {
        match piece.unwrap() {
            Piece::Text(_) => {
                first.get_or_insert_with(|| began.elapsed());
                pieces += 1;
            }
            Piece::Done { .. } => break,
        }
    }
    (first.unwrap_or_default(), began.elapsed(), pieces)
}

/// The least that has to be done: one write, then lines, each parsed.
fn ask_by_hand(stream: &mut BufReader<TcpStream>, host: &str, model: &str, limit: usize) -> Run {
    let body = serde_json::json!({
        "model": model, "stream": true, "stream_options": {"include_usage": true}, "max_tokens": limit, "seed": 0,
        "temperature": 0.0, "messages": [{"role": "user", "content": "Tell me about the sea."}],
    });
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let began = Instant::now();
    stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
    let (mut first, mut last, mut pieces, mut line) = (None, Duration::ZERO, 0, String::new());
    // Up to the last chunk, which is empty.
    while line != "0\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the server closes");
        let Some(data) = line.strip_prefix("data: ").filter(|data| data.starts_with('{')) else { continue };
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        if value["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty()) {
            first.get_or_insert_with(|| began.elapsed());
            last = began.elapsed();
            pieces += 1;
        }
    }
    line.clear();
    stream.read_line(&mut line).unwrap();
    (first.unwrap_or_default(), last, pieces)
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
        for piece in 0..OWN_PIECES {
            let data = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {piece}\"}}}}]}}\n\n");
            send(&format!("{:x}\r\n{data}\r\n", data.len()))?;
        }
        let data = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        send(&format!("{:x}\r\n{data}\r\n0\r\n\r\n", data.len()))?;
    }
}
