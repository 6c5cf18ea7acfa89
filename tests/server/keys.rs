//! Keys that are given out while the server runs, and what it makes of strange requests on a real socket. Without models, so that it is
//! up in a moment.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::command::{avatar, run};
use super::server::{Server, Told};

const OWN: &str = "the-servers-own-key-of-these-tests";

fn start(folder: &Path, key: Option<&'static str>) -> Server {
    std::fs::create_dir_all(folder.join("none")).unwrap();
    Server::start(folder, key, |command| {
        command.env("AVATAR_MODELS", folder.join("none")).args(["--set", "log.level=trace"]);
    })
}

fn keys(folder: &Path, arguments: &[&str]) -> String {
    let all = [&["--data-dir", "kept", "keys"], arguments].concat();
    let ended = run(&mut avatar(folder, &all));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.err);
    ended.out.trim_end().to_owned()
}

fn ask(server: &Server, method: &str, path: &str, key: &str) -> Told {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", server.url))
        .header("authorization", format!("Bearer {key}"))
        .body(())
        .unwrap();
    let mut answer = agent.run(request).unwrap();
    Told { status: answer.status().as_u16(), body: answer.body_mut().read_to_vec().unwrap() }
}

#[test]
fn a_key_counts_from_the_moment_it_is_made_to_the_moment_it_is_revoked() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path(), Some(OWN));
    let key = keys(folder.path(), &["create", "ann", "--expires", "30d", "--requests-per-minute", "1000"]);
    assert!(key.starts_with("sk-avatar-") && key.lines().count() == 1, "{key}");
    let id = key.split('-').nth(2).unwrap().to_owned();
    assert_eq!(ask(&server, "GET", "/api/conversations", &key).status, 200);
    let secret = ask(&server, "POST", "/v1/realtime/client_secrets", &key).json()["value"].as_str().unwrap().to_owned();
    assert_eq!(ask(&server, "DELETE", "/whip/nothing", &secret).status, 404);
    assert!(keys(folder.path(), &["list"]).contains(&id));

    keys(folder.path(), &["revoke", &id]);
    for dead in [&key, &secret] {
        let told = ask(&server, "GET", "/api/conversations", dead);
        assert_eq!((told.status, told.error_code().as_str()), (401, "invalid_api_key"));
    }
    assert_eq!(ask(&server, "GET", "/api/conversations", OWN).status, 200);
    let wrong = ask(&server, "GET", "/api/conversations", "a-key-that-was-never-made");
    assert_eq!(wrong.status, 401);

    // The log tells all that happened, and no key: neither whole nor in its secret part.
    let log = server.log();
    assert!(log.contains("listening on"), "the log is not the one meant");
    for hidden in
        [key.as_str(), key.rsplit('-').next().unwrap(), secret.as_str(), &secret[3..], OWN, "a-key-that-was-never"]
    {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn the_first_key_closes_a_server_that_had_none() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path(), None);
    assert_eq!(server.get("/api/conversations").status, 200);
    let key = keys(folder.path(), &["create", "ann"]);
    let told = server.get("/api/conversations");
    assert_eq!((told.status, told.error_code().as_str()), (401, "missing_api_key"));
    assert_eq!(ask(&server, "GET", "/api/conversations", &key).json(), json!([]));
}

/// What a socket gets for these bytes, as far as it comes within the patience of a test.
fn raw(server: &Server, bytes: &[u8]) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = socket.write_all(bytes);
    let mut answer = [0; 4_096];
    let length = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn a_head_without_end_is_refused_and_a_strange_host_is_not_answered() {
    let folder = TempDir::new().unwrap();
    let server = start(folder.path(), None);
    let evil = raw(&server, b"GET /api/conversations HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert!(evil.starts_with("HTTP/1.1 403") && evil.contains("host_not_allowed"), "{evil}");
    let ours = raw(&server, b"GET /api/conversations HTTP/1.1\r\nhost: localhost:1\r\nconnection: close\r\n\r\n");
    assert!(ours.starts_with("HTTP/1.1 200"), "{ours}");

    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(100));
    assert!(raw(&server, many.as_bytes()).starts_with("HTTP/1.1 431"));
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let refused = raw(&server, long.as_bytes());
    // Hyper may hang up while we still write.
    assert!(refused.starts_with("HTTP/1.1 431") || refused.is_empty(), "{refused}");
    let smuggled = b"POST /whip HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd";
    assert!(raw(&server, smuggled).starts_with("HTTP/1.1 400"));
    assert_eq!(server.get("/health").status, 503, "it still answers");
    assert_eq!(server.terminate().code(), Some(0));
}
