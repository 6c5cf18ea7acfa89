//! The doors `/v1/realtime/calls` and `/v1/realtime/client_secrets`.

use std::time::{Duration, SystemTime};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http::tests::{OFFER, Reply, Scripted, Server, request, with};
use crate::line::{Refusal, SessionPatch, TurnEnd};
use crate::secret::Secret;

const CALLS: &str = "/v1/realtime/calls";
const SECRETS: &str = "/v1/realtime/client_secrets";

async fn post_json(server: &Server, path: &str, body: &Value) -> Reply {
    server.send(request(Method::POST, path, "application/json; charset=utf-8", body.to_string())).await
}

fn form(parts: &[(&str, &str)]) -> String {
    let parts = parts.iter().map(|(name, content)| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n"
        )
    });
    format!("{}--b--\r\n", parts.collect::<String>())
}

async fn post_form(server: &Server, parts: &[(&str, &str)]) -> Reply {
    server.send(request(Method::POST, CALLS, "multipart/form-data; boundary=b", form(parts))).await
}

fn voice(name: &str) -> SessionPatch {
    SessionPatch { voice: Some(name.to_owned()), ..SessionPatch::default() }
}

#[tokio::test]
async fn an_offer_is_taken_in_each_of_the_three_shapes() {
    let server = Server::new();
    let session = json!({ "type": "realtime", "audio": { "output": { "voice": "slt" } } });
    let replies = [
        server.send(request(Method::POST, CALLS, "application/sdp", OFFER)).await,
        post_form(&server, &[("sdp", OFFER), ("session", &session.to_string())]).await,
        post_json(&server, CALLS, &json!({ "sdp": OFFER, "session": session })).await,
    ];
    for reply in &replies {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        assert_eq!(reply.header("content-type"), "application/sdp");
        assert!(reply.header("location").starts_with("/v1/realtime/calls/rtc_"), "{reply:?}");
        assert!(reply.body.starts_with("v=0"));
    }
    assert_eq!(server.negotiator.sessions(), [SessionPatch::default(), voice("slt"), voice("slt")]);
    assert!(server.negotiator.offers.lock().unwrap().iter().all(|(door, _)| *door == "webrtc"));
}

#[tokio::test]
async fn a_call_ends_by_delete_and_by_hangup_and_then_is_unknown() {
    let server = Server::new();
    for (method, suffix) in [(Method::DELETE, ""), (Method::POST, "/hangup")] {
        let call = server.send(request(Method::POST, CALLS, "application/sdp", OFFER)).await;
        let path = format!("{}{suffix}", call.header("location"));
        assert_eq!(server.send(request(method.clone(), &path, "", "")).await.status, StatusCode::OK);
        server.send(request(method, &path, "", "")).await.refused(StatusCode::NOT_FOUND, "call_not_found");
    }
    assert_eq!(server.negotiator.live_calls(), 0);
}

#[tokio::test]
async fn a_bad_form_or_json_says_what_is_wrong_with_it() {
    let server = Server::new();
    let bad = StatusCode::BAD_REQUEST;
    post_form(&server, &[("session", "{}")]).await.refused(bad, "missing_required_parameter");
    post_form(&server, &[("sdp", "")]).await.refused(bad, "invalid_sdp");
    post_form(&server, &[("sdp", OFFER), ("session", "{")]).await.refused(bad, "invalid_json");
    post_form(&server, &[("sdp", OFFER), ("session", "[]")]).await.refused(bad, "invalid_type");
    let kinds = ["multipart/form-data", "multipart/form-data; boundary=other"];
    for kind in kinds {
        let reply = server.send(request(Method::POST, CALLS, kind, form(&[("sdp", OFFER)]))).await;
        reply.refused(bad, "invalid_form");
    }
    server.send(request(Method::POST, CALLS, "application/json", "{")).await.refused(bad, "invalid_json");
    post_json(&server, CALLS, &json!({})).await.refused(bad, "missing_required_parameter");
    post_json(&server, CALLS, &json!({ "sdp": 7 })).await.refused(bad, "invalid_type");
    let reply = post_json(&server, CALLS, &json!({ "sdp": OFFER, "session": { "voice": 7 } })).await;
    reply.refused(bad, "invalid_type");
    assert_eq!(reply.json()["error"]["param"], "session.voice");
    assert_eq!(server.negotiator.live_calls(), 0);
}

#[tokio::test]
async fn a_browser_calls_with_a_client_secret_and_gets_the_session_that_was_kept_with_it() {
    let server = Server::with(Scripted::default(), &["sk-mine"]);
    let asked = json!({ "expires_after": { "anchor": "created_at", "seconds": 60 }, "session": {
        "type": "realtime", "instructions": "Be brief.",
        "audio": { "output": { "voice": "slt" }, "input": { "turn_detection": { "type": "semantic_vad" } } },
    } });
    let ask = request(Method::POST, SECRETS, "application/json", asked.to_string());
    let minted = server.send(with(ask, "authorization", "Bearer sk-mine")).await;
    assert_eq!(minted.status, StatusCode::OK, "{minted:?}");
    let minted = minted.json();
    let value = minted["value"].as_str().unwrap();
    assert!(value.starts_with("ek_"), "browsers insist on the prefix");
    assert_eq!(minted["session"]["type"], "realtime");
    assert_eq!(minted["session"]["object"], "realtime.session");
    assert!(minted["session"]["id"].is_string());
    assert_eq!(minted["session"]["instructions"], "Be brief.");
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(minted["expires_at"].as_u64().unwrap());
    assert!(expires > SystemTime::now() && expires <= SystemTime::now() + Duration::from_secs(60));

    let bearer = format!("Bearer {value}");
    let plain = with(request(Method::POST, CALLS, "application/sdp", OFFER), "authorization", &bearer);
    assert_eq!(server.send(plain).await.status, StatusCode::CREATED);
    let own = json!({ "sdp": OFFER, "session": { "voice": "rms" } }).to_string();
    let own = with(request(Method::POST, CALLS, "application/json", own), "authorization", &bearer);
    assert_eq!(server.send(own).await.status, StatusCode::CREATED);

    let kept =
        SessionPatch { instructions: Some("Be brief.".to_owned()), turn_end: Some(TurnEnd::Semantic), ..voice("slt") };
    let over = SessionPatch { voice: Some("rms".to_owned()), ..kept.clone() };
    assert_eq!(server.negotiator.sessions(), [kept, over]);

    let more = with(request(Method::POST, SECRETS, "", ""), "authorization", &bearer);
    server.send(more).await.refused(StatusCode::FORBIDDEN, "api_key_needed");
}

#[tokio::test]
async fn a_client_secret_is_valid_ten_minutes_unless_asked_for_less_or_more() {
    let server = Server::new();
    let reply = server.send(request(Method::POST, SECRETS, "", "")).await;
    let expires = Duration::from_secs(reply.json()["expires_at"].as_u64().unwrap());
    let left = expires.saturating_sub(SystemTime::UNIX_EPOCH.elapsed().unwrap());
    assert!(left > Duration::from_secs(500) && left <= Duration::from_secs(600), "{left:?}");

    for seconds in [json!(9), json!(7201), json!(-1), json!(60.5), json!("60")] {
        let reply = post_json(&server, SECRETS, &json!({ "expires_after": { "seconds": seconds } })).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_value");
    }
    let reply = post_json(&server, SECRETS, &json!({ "expires_after": { "anchor": "first_use" } })).await;
    reply.refused(StatusCode::BAD_REQUEST, "invalid_value");
    let reply = server.send(request(Method::POST, SECRETS, "text/plain", "{}")).await;
    reply.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type");
    let large = json!({ "session": { "instructions": "x".repeat(64 * 1024) } });
    post_json(&server, SECRETS, &large).await.refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
}

#[tokio::test]
async fn a_client_whose_network_changed_keeps_its_call_by_a_new_offer() {
    let server = Server::new();
    let call = server.send(request(Method::POST, CALLS, "application/sdp", OFFER)).await;
    let path = call.header("location").to_owned();
    let again = server.send(request(Method::PATCH, &path, "application/sdp", OFFER)).await;
    assert_eq!((again.status, again.header("content-type")), (StatusCode::OK, "application/sdp"), "{again:?}");
    assert!(again.body.contains("a=ice-ufrag:new"));
    assert_eq!(*server.negotiator.fragments.lock().unwrap(), [OFFER]);
    assert_eq!(server.negotiator.live_calls(), 1, "it is the same call");

    let fragment = request(Method::PATCH, &path, "application/trickle-ice-sdpfrag", "a=x");
    server.send(fragment).await.refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type");
    for broken in ["", "hello"] {
        let reply = server.send(request(Method::PATCH, &path, "application/sdp", broken)).await;
        reply.refused(StatusCode::BAD_REQUEST, "invalid_sdp");
    }
    let unknown = request(Method::PATCH, &format!("{CALLS}/rtc_nobody"), "application/sdp", OFFER);
    server.send(unknown).await.refused(StatusCode::NOT_FOUND, "call_not_found");
}

#[tokio::test]
async fn a_resume_token_reaches_the_call_and_a_dead_one_is_a_conflict() {
    let server = Server::new();
    let session = json!({ "avatar": { "resume_token": "rt_one" } });
    post_json(&server, CALLS, &json!({ "sdp": OFFER, "session": session })).await;
    let whip = with(request(Method::POST, "/whip", "application/sdp", OFFER), "avatar-resume-token", "rt_two");
    server.send(whip).await;
    let asked = server.negotiator.sessions().into_iter().map(|session| session.resume);
    assert_eq!(asked.collect::<Vec<_>>(), [Some(Secret::new("rt_one")), Some(Secret::new("rt_two"))]);

    let server = Server::new();
    for asked in [json!({ "keep_on_close": true }), json!({ "keep_on_close": false }), json!({})] {
        post_json(&server, CALLS, &json!({ "sdp": OFFER, "session": { "avatar": asked } })).await;
    }
    let kept = server.negotiator.sessions().into_iter().map(|session| session.keep_on_close);
    assert_eq!(kept.collect::<Vec<_>>(), [Some(true), Some(false), None]);

    let refusal = Some(Refusal::ResumeTokenInvalid);
    let server = Server::with(Scripted { refusal, ..Scripted::default() }, &[]);
    let reply = post_json(&server, CALLS, &json!({ "sdp": OFFER, "session": session })).await;
    reply.refused(StatusCode::CONFLICT, "resume_token_invalid");
    assert!(!reply.body.contains("rt_one"), "{reply:?}");
    for bad in [json!(""), json!(7), json!("x".repeat(129))] {
        let session = json!({ "avatar": { "resume_token": bad } });
        let reply = post_json(&Server::new(), CALLS, &json!({ "sdp": OFFER, "session": session })).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}
