#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::http::{Method, StatusCode};

use crate::http::tests::{OFFER, Reply, Scripted, Server, request, with};
use crate::line::CallId;

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const CANDIDATE: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                         a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n";

async fn call(server: &Server) -> Reply {
    let reply = server.send(request(Method::POST, "/whip", "application/sdp", OFFER)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    reply
}

async fn patch(server: &Server, call: &Reply, kind: &str, tag: Option<&str>, content: &str) -> Reply {
    let request = request(Method::PATCH, call.header("location"), kind, content.to_owned());
    server
        .send(match tag {
            Some(tag) => with(request, "if-match", tag),
            None => request,
        })
        .await
}

#[tokio::test]
async fn an_offer_is_answered_with_where_the_call_is_and_which_ice_servers_there_are() {
    let server = Server::new();
    let reply = call(&server).await;
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert!(reply.header("location").starts_with("/whip/rtc_"));
    assert!(reply.header("etag").starts_with('"') && reply.header("etag").len() > 10);
    let links: Vec<&str> = reply.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    let expected = [
        "<stun:stun.example:3478>; rel=\"ice-server\"",
        "<turn:turn.example:3478?transport=udp>; rel=\"ice-server\"; username=\"me\"; credential=\"a\\\"b\"; \
         credential-type=\"password\"",
    ];
    assert_eq!(links, expected);
    assert_eq!(server.negotiator.offers.lock().unwrap()[0].0, "whip");
}

#[tokio::test]
async fn the_door_says_what_it_takes() {
    let server = Server::new();
    let reply = server.send(request(Method::OPTIONS, "/whip", "", "")).await;
    assert_eq!((reply.status, reply.header("accept-post")), (StatusCode::NO_CONTENT, "application/sdp"));
    let reply = server.send(request(Method::POST, "/whip", "application/json", "{}")).await;
    reply.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type");
    assert_eq!(reply.header("accept-post"), "application/sdp");
}

#[tokio::test]
async fn candidates_are_added_to_the_ice_session_that_they_name() {
    let server = Server::new();
    let call = call(&server).await;
    let tag = call.header("etag");
    let reply = patch(&server, &call, FRAGMENT, Some(tag), CANDIDATE).await;
    assert_eq!((reply.status, reply.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(patch(&server, &call, FRAGMENT, Some(&format!("\"x\", {tag}")), CANDIDATE).await.status, 204);
    assert_eq!(*server.negotiator.fragments.lock().unwrap(), [CANDIDATE, CANDIDATE]);
}

#[tokio::test]
async fn candidates_of_another_ice_session_or_of_none_are_refused() {
    let server = Server::new();
    let call = call(&server).await;
    let tag = call.header("etag").to_owned();
    let reply = patch(&server, &call, FRAGMENT, None, CANDIDATE).await;
    reply.refused(StatusCode::PRECONDITION_REQUIRED, "if_match_needed");
    for other in ["\"other\"", tag.trim_matches('"'), ""] {
        let reply = patch(&server, &call, FRAGMENT, Some(other), CANDIDATE).await;
        reply.refused(StatusCode::PRECONDITION_FAILED, "if_match_failed");
    }
    let reply = patch(&server, &call, "application/sdp", Some(&tag), CANDIDATE).await;
    reply.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type");
    assert_eq!(reply.header("accept-patch"), FRAGMENT);
    for bad in ["", "\r\n", "candidate", "m=audio 9 RTP/AVP 0\r\n", "a=x\r\nnonsense\r\n", "A=x"] {
        let reply = patch(&server, &call, FRAGMENT, Some(&tag), bad).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_sdp_fragment");
    }
    let large = "a=x\r\n".repeat(20_000);
    let reply = patch(&server, &call, FRAGMENT, Some(&tag), &large).await;
    reply.refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    assert!(server.negotiator.fragments.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_ice_restart_makes_the_old_tag_useless() {
    let server = Server::with(Scripted { restarts: true, ..Scripted::default() }, &[]);
    let call = call(&server).await;
    let restarted = patch(&server, &call, FRAGMENT, Some("*"), CANDIDATE).await;
    assert_eq!(restarted.status, StatusCode::OK);
    assert_eq!(restarted.header("content-type"), FRAGMENT);
    assert!(restarted.body.contains("a=ice-ufrag:new"));
    assert_ne!(restarted.header("etag"), call.header("etag"));
    let reply = patch(&server, &call, FRAGMENT, Some(call.header("etag")), CANDIDATE).await;
    reply.refused(StatusCode::PRECONDITION_FAILED, "if_match_failed");
    assert_eq!(patch(&server, &call, FRAGMENT, Some(restarted.header("etag")), CANDIDATE).await.status, 204);
}

#[tokio::test]
async fn a_server_that_cannot_restart_ice_says_so_and_keeps_the_call() {
    let server = Server::new();
    let call = call(&server).await;
    let reply = patch(&server, &call, FRAGMENT, Some("*"), CANDIDATE).await;
    reply.refused(StatusCode::UNPROCESSABLE_ENTITY, "unsupported");
    assert_eq!(patch(&server, &call, FRAGMENT, Some(call.header("etag")), CANDIDATE).await.status, 204);
}

#[tokio::test]
async fn a_call_that_is_over_takes_no_candidates() {
    let server = Server::new();
    let deleted = call(&server).await;
    let gone = call(&server).await;
    let reply = server.send(request(Method::DELETE, deleted.header("location"), "", "")).await;
    assert_eq!(reply.status, StatusCode::OK);
    let by_itself = gone.header("location").rsplit('/').next().unwrap();
    crate::http::negotiator::Negotiator::hang_up(&*server.negotiator, &CallId::from_text(by_itself));
    for call in [&deleted, &gone] {
        for _ in 0..2 {
            let reply = patch(&server, call, FRAGMENT, Some(call.header("etag")), CANDIDATE).await;
            reply.refused(StatusCode::NOT_FOUND, "call_not_found");
        }
    }
}
