//! Every route tried by everybody who should not get in. The table in `SECURITY.md` is written from here.

use std::fmt::Write as _;

use super::*;

/// What needs no key: the page, which asks for one, and health, for whoever watches the server.
const OPEN: [&str; 1] = ["/health"];

/// Who tries, and what each is told.
const TRIES: [(&str, &str); 5] = [
    ("no key", "401 missing_api_key"),
    ("a wrong key", "401 invalid_api_key"),
    ("an expired key", "401 invalid_api_key"),
    ("a revoked key", "401 invalid_api_key"),
    ("a client secret of a revoked key", "401 invalid_api_key"),
];

fn shown(told: &Told) -> String {
    format!("{} {}", told.status.as_u16(), told.code())
}

/// A key for each of [`TRIES`], in that order.
async fn strangers(server: &Server) -> [Option<String>; 5] {
    let past = SystemTime::now() - 2 * HOUR;
    let brief = Wanted { name: "expired".to_owned(), valid: Some(HOUR), ..Wanted::default() };
    let (_, expired) = server.give_as(brief, past);
    let (id, revoked) = server.give("revoked");
    let secret = server.client_secret(&revoked).await;
    server.keys.revoke(&id, SystemTime::now()).unwrap();
    [None, Some("a-key-that-nobody-ever-gave-out".to_owned()), Some(expired), Some(revoked), Some(secret)]
}

/// Each route with what each of [`TRIES`] was told.
async fn table() -> Vec<(String, String, Vec<String>)> {
    let server = Server::with(|config| {
        config.api_keys = vec![Secret::new(OWN)];
        config.limits.wrong_keys_per_minute = 0;
    });
    let strangers = strangers(&server).await;
    let mut table = Vec::new();
    for (method, path) in routes::of(&server).await {
        let mut tries = Vec::new();
        for key in &strangers {
            let told = server.send(method.parse().unwrap(), &routes::filled(&path), key.as_deref()).await;
            tries.push(if OPEN.contains(&path.as_str()) { "open".to_owned() } else { shown(&told) });
            if !OPEN.contains(&path.as_str()) {
                assert_eq!(told.header("www-authenticate"), "Bearer", "{method} {path}");
            }
        }
        table.push((method, path, tries));
    }
    table
}

#[tokio::test]
async fn every_route_refuses_everybody_without_a_key_that_is_valid() {
    let table = table().await;
    assert!(table.len() >= 18);
    for (method, path, tries) in table.iter().filter(|(_, path, _)| !OPEN.contains(&path.as_str())) {
        for ((who, expected), told) in TRIES.iter().zip(tries) {
            assert_eq!(told, expected, "{method} {path} by {who}");
        }
    }
}

#[tokio::test]
async fn the_table_of_the_doors_is_what_they_do() {
    let mut page = String::from("| route |");
    TRIES.iter().for_each(|(who, _)| page.push_str(&format!(" {who} |")));
    page.push_str("\n|---|---|---|---|---|---|\n");
    for (method, path, tries) in table().await {
        let _ = writeln!(page, "| `{method} {path}` | {} |", tries.join(" | "));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md");
    let (begin, end) = ("<!-- table of doors -->\n", "<!-- end of table -->");
    let text = std::fs::read_to_string(file).unwrap();
    let (head, rest) = text.split_once(begin).unwrap();
    let (written, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, format!("{head}{begin}{page}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(written, page, "UPDATE_DOCS=1 cargo test --workspace --lib table_of_the_doors writes it anew");
}

#[tokio::test]
async fn a_client_secret_opens_calls_and_nothing_else() {
    let server = Server::closed();
    let (_, key) = server.give("ann");
    for key in [OWN, &key] {
        let secret = server.client_secret(key).await;
        for (method, path) in routes::of(&server).await {
            if OPEN.contains(&path.as_str()) {
                continue;
            }
            let told = server.send(method.parse().unwrap(), &routes::filled(&path), Some(&secret)).await;
            let is_of_calls =
                path.starts_with("/whip") || path.starts_with("/v1/realtime/calls") || path.starts_with("/ws/");
            if is_of_calls || path == "/api/ice-servers" {
                assert!(!matches!(told.status.as_u16(), 401 | 403), "{method} {path}: {}", told.text());
            } else {
                assert_eq!(shown(&told), "403 api_key_needed", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_is_ended_and_changed_by_its_owner_alone() {
    let server = Server::closed();
    let ((_, ann), (_, bob)) = (server.give("ann"), server.give("bob"));
    for door in ["/v1/realtime/calls", "/whip"] {
        let call = server.call(door, &ann).await;
        let routes = routes::of(&server).await;
        let of_a_call: Vec<_> = routes.iter().filter(|(_, path)| path.starts_with(&format!("{door}/{{"))).collect();
        assert!(of_a_call.len() >= 2);
        for (method, path) in of_a_call {
            let path = format!("{call}{}", path.split_once('}').unwrap().1);
            for stranger in [&bob, &server.client_secret(&bob).await, &server.client_secret(OWN).await] {
                let told = server.send(method.parse().unwrap(), &path, Some(stranger)).await;
                assert_eq!(shown(&told), "404 call_not_found", "{method} {path}");
            }
        }
        assert_eq!(server.switch.0.lock().unwrap().len(), 1);
        assert_eq!(
            server.send(Method::DELETE, &call, Some(&server.client_secret(&ann).await)).await.status,
            StatusCode::OK
        );
        let call = server.call(door, &ann).await;
        assert_eq!(server.send(Method::DELETE, &call, Some(OWN)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_conversation_is_seen_and_changed_by_its_owner_alone() {
    let server = Server::closed();
    let ((id, ann), (_, bob)) = (server.give("ann"), server.give("bob"));
    let mut checked = 0;
    for (method, path) in routes::of(&server).await.iter().filter(|(_, path)| path.starts_with("/api/conversations/{"))
    {
        // Anew for each, as one of them deletes it.
        let conversation = server.said_by(&id).await;
        let body = if path.contains("/turns/") { r#"{"user_text": "x"}"# } else { r#"{"title": "x"}"# };
        let ask = |key: &str, id: &str| {
            let path = routes::filled(&path.replace("{id}", id));
            let request = request(method.parse().unwrap(), &path, Some(key), Body::from(body));
            server.ask(with(request, "content-type", "application/json"))
        };
        let (told, of_none) = (ask(&bob, &conversation).await, ask(&bob, "conv_that_never_was").await);
        assert!(!told.status.is_success(), "{method} {path}");
        assert_eq!(shown(&told), shown(&of_none), "{method} {path}");
        // Turns are numbered through: the first is the first conversation's. Nothing is rendered here.
        let told = ask(&ann, &conversation).await;
        assert!(told.status.is_success() || path.contains("{turn}"), "{method} {path}: {}", told.text());
        checked += 1;
    }
    assert!(checked >= 3, "{checked}");
    let listed = |told: Told| told.json().as_array().unwrap().len();
    assert_eq!(listed(server.get("/api/conversations", Some(&bob)).await), 0);
    assert!(listed(server.get("/api/conversations", Some(&ann)).await) >= 2);
    assert!(listed(server.get("/api/conversations", Some(OWN)).await) >= 2);
}

#[tokio::test]
async fn a_talk_of_another_is_not_gone_on_with() {
    let server = Server::closed();
    let ((ann, _), (bob, _)) = (server.give("ann"), server.give("bob"));
    let conversation = server.said_by(&ann).await;
    assert!(server.exchange_takes(&ann, &conversation));
    assert!(!server.exchange_takes(&bob, &conversation));
    assert!(server.exchange_takes(&bob, "conv_that_is_yet_to_begin"));
}

#[tokio::test]
async fn a_server_without_keys_is_closed_by_the_first_that_is_given_out() {
    let server = Server::open();
    assert_eq!(server.get("/api/conversations", None).await.status, StatusCode::OK);
    let (id, key) = server.give("ann");
    assert_eq!(shown(&server.get("/api/conversations", None).await), "401 missing_api_key");
    assert_eq!(server.get("/api/conversations", Some(&key)).await.status, StatusCode::OK);
    server.keys.revoke(&id, SystemTime::now()).unwrap();
    assert_eq!(shown(&server.get("/api/conversations", Some(&key)).await), "401 invalid_api_key");
    assert_eq!(shown(&server.get("/api/conversations", None).await), "401 missing_api_key");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_so_at_every_route() {
    let server = Server::closed();
    let few = Wanted { name: "ann".to_owned(), requests_per_minute: Some(1), ..Wanted::default() };
    for (method, path) in routes::of(&server).await {
        if OPEN.contains(&path.as_str()) {
            continue;
        }
        let (_, key) = server.give_as(few.clone(), SystemTime::now());
        let send = async || server.send(method.parse().unwrap(), &routes::filled(&path), Some(&key)).await;
        assert_ne!(send().await.status, StatusCode::TOO_MANY_REQUESTS, "{method} {path}");
        let told = send().await;
        assert_eq!(shown(&told), "429 rate_limited", "{method} {path}");
        assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    // The server's own keys have no limit.
    for _ in 0..1_000 {
        assert_eq!(server.get("/api/conversations", Some(OWN)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn who_guesses_at_keys_is_told_to_wait() {
    let server = Server::with(|config| {
        config.api_keys = vec![Secret::new(OWN)];
        config.limits.wrong_keys_per_minute = 1;
    });
    let guess = async |n: u32| server.get("/api/conversations", Some(&format!("guess-number-{n}"))).await;
    assert_eq!(shown(&guess(1).await), "401 invalid_api_key");
    let told = guess(2).await;
    assert_eq!(shown(&told), "429 rate_limited");
    assert!(told.header("retry-after").parse::<u64>().unwrap() >= 1);
    // The right one does not show among the guesses; a key that was given out cannot be guessed, and opens.
    assert_eq!(shown(&server.get("/api/conversations", Some(OWN)).await), "429 rate_limited");
    assert_eq!(server.get("/api/conversations", Some(&server.give("ann").1)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_route_takes_a_compressed_or_enormous_request() {
    let server = Server::closed();
    for (method, path) in routes::of(&server).await {
        let ask = || request(method.parse().unwrap(), &routes::filled(&path), Some(OWN), Body::from(vec![0x1f, 0x8b]));
        for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip"] {
            let told = server.ask(with(ask(), "content-encoding", encoding)).await;
            assert_eq!(shown(&told), "415 unsupported_content_encoding", "{method} {path} {encoding}");
        }
        let told = server.ask(with(ask(), "content-length", "99999999999")).await;
        assert_eq!(shown(&told), "413 too_large", "{method} {path}");
    }
    let long = format!("/api/conversations?before={}", "x".repeat(30_000));
    assert_eq!(shown(&server.get(&long, Some(OWN)).await), "414 uri_too_long");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up_at_every_route() {
    let server = Server::closed();
    for (method, path) in routes::of(&server).await.iter().filter(|(method, _)| method != "GET" && method != "DELETE") {
        for kind in [
            "application/json",
            "application/sdp",
            "multipart/form-data; boundary=b",
            "application/trickle-ice-sdpfrag",
        ] {
            let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
            let ask = request(method.parse().unwrap(), &routes::filled(path), Some(OWN), endless);
            let answered = server.ask(with(ask, "content-type", kind));
            let told =
                tokio::time::timeout(10 * HOUR, answered).await.unwrap_or_else(|_| panic!("{method} {path} waits"));
            assert!(!told.status.is_success() || told.status == StatusCode::OK, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_refusal_before_the_body_has_come_says_that_the_connection_ends() {
    let server = Server::closed();
    let endless = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let told = server.ask(request(Method::POST, "/v1/realtime/calls", Some("wrong"), endless())).await;
    assert_eq!((told.status, told.header("connection")), (StatusCode::UNAUTHORIZED, "close"));
    let told = server.ask(request(Method::POST, "/v1/realtime/calls", Some(OWN), Body::from("no offer"))).await;
    assert!(!told.status.is_success());
    let told = server.get("/health", None).await;
    assert!(told.headers.get("connection").is_none(), "nothing is left unread");
}
