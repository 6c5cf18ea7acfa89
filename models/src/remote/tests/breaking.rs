//! The breaker at work: a server is left alone, knocked at, and used again.

use super::scripted::{answer, reply};
use super::*;
use crate::llm::{GenerateRequest, LanguageModel, Message, Piece, Sampling, Speaker};

fn request() -> GenerateRequest {
    GenerateRequest {
        conversation: "c".into(),
        messages: vec![Message { speaker: Speaker::User, text: "Hi".into() }],
        sampling: Sampling { temperature: 0.0, max_tokens: 9, seed: 1, ..Sampling::default() },
    }
}

fn engine(server: &Scripted, rest: Duration) -> RemoteLlm {
    let breaker = BreakerSettings { failures: 2, rest, longest_rest: Duration::from_secs(600) };
    let server = ServerSettings { retries: 0, breaker, ..settings(&server.address) };
    RemoteLlm::new(network(), RemoteLlmSettings { server, extra: serde_json::Map::new() })
}

async fn first(engine: &RemoteLlm) -> Result<Piece, EngineError> {
    engine.generate(request())?.next().await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_down_is_not_asked_and_says_so() {
    let server = Scripted::start([answer(500, "", "")]);
    let engine = engine(&server, Duration::from_secs(300));
    for _ in 0..2 {
        assert!(first(&engine).await.is_err());
    }
    until(|| engine.standing().trouble().is_some()).await;
    for _ in 0..5 {
        let error = engine.generate(request()).map(drop).unwrap_err().to_string();
        assert!(error.contains("left alone"), "{error}");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_back_is_used_again() {
    let server = Scripted::start([answer(500, "", ""), answer(500, "", ""), reply(&["Hi"])]);
    let engine = engine(&server, Duration::from_millis(30));
    for _ in 0..2 {
        assert!(first(&engine).await.is_err());
    }
    // Nobody calls; knocking finds out.
    until(|| engine.standing().trouble().is_none()).await;
    assert_eq!(first(&engine).await.unwrap(), Piece::Text("Hi".into()));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn callers_who_interrupt_do_not_open_it() {
    let server = Scripted::start([vec![scripted::Act::UntilClosed]]);
    let engine = engine(&server, Duration::from_secs(300));
    for gone in 1..=4 {
        let waiting = engine.generate(request()).unwrap();
        until(|| server.seen().len() == gone).await;
        drop(waiting);
        until(|| server.closed() == gone).await;
    }
    assert!(engine.standing().trouble().is_none());
}

#[test]
fn doctor_is_told_the_models_or_why_not() {
    let server = Scripted::start([answer(500, "", "")]);
    let network = network();
    let asked = |address: &str| list_models(&network, "remote.llm", settings(address));
    assert_eq!(asked(&server.address).unwrap(), ["ear", "first-listed", "m"]);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(asked(&format!("http://{gone}")).unwrap_err().to_string().contains("no connection"));
}
