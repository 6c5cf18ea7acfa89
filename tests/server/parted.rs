//! A client that may come back closes its connection without a hang-up: its call waits, and its own key ends it all the same.

use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signaling::caller::{Caller, CallerEventKind, CallerSettings};
use tempfile::TempDir;

use super::command::{avatar, run};
use super::server::{Server, Told};

const OWN: &str = "the-servers-own-key-of-these-tests";
const NEVER: Duration = Duration::from_secs(60);

fn ask(server: &Server, method: &str, path: &str, key: Option<&str>, body: &Value) -> (Told, Option<String>) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build();
    let agent: ureq::Agent = config.into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.url));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
    let mut answer = agent.run(request).unwrap();
    let location = answer.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
    (Told { status: answer.status().as_u16(), body: answer.body_mut().read_to_vec().unwrap() }, location)
}

fn calls(server: &Server) -> Value {
    ask(server, "GET", "/api/status", Some(OWN), &Value::Null).0.json()["calls"]["active"].clone()
}

fn until(what: &str, server: &Server, is: impl Fn() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < NEVER, "it is not so that {what}: {}", server.log());
        sleep(Duration::from_millis(20));
    }
}

/// Calls, and closes the connection as soon as it is up. The call's address.
fn call_and_close(server: &Server, key: &str, session: &Value) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mut caller, offer) = runtime.block_on(Caller::offer(CallerSettings::default())).unwrap();
    let body = json!({ "sdp": offer, "session": session });
    let (answer, location) = ask(server, "POST", "/v1/realtime/calls", Some(key), &body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let mut events = caller.events().unwrap();
    let (told, told_of) = mpsc::channel();
    runtime.spawn(async move {
        while let Some(event) = events.recv().await {
            if matches!(event.kind, CallerEventKind::Message(_)) {
                let _over = told.send(());
            }
        }
    });
    runtime.block_on(caller.accept(std::str::from_utf8(&answer.body).unwrap())).unwrap();
    told_of.recv_timeout(NEVER).unwrap();
    runtime.block_on(caller.hang_up());
    location.unwrap()
}

#[test]
fn a_call_whose_client_may_come_back_waits_for_it_and_is_ended_by_its_own_key_alone() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), Some(OWN), |command| {
        command.args(["--set", "session.resume_seconds=600"]);
    });
    let created = |name: &str| {
        let ended = run(&mut avatar(folder.path(), &["--data-dir", "kept", "keys", "create", name]));
        ended.out.trim_end().to_owned()
    };
    let (ann, bob) = (created("ann"), created("bob"));

    // Whoever has not asked for it hangs up by closing.
    call_and_close(&server, &ann, &json!({ "type": "realtime" }));
    until("the call is over", &server, || calls(&server) == 0);

    let location = call_and_close(&server, &ann, &json!({ "type": "realtime", "avatar": { "keep_on_close": true } }));
    until("the call waits", &server, || server.log().contains("the line is lost; another may take over"));
    assert_eq!(calls(&server), 1);
    let delete = |path: &str, key: Option<&str>| {
        let told = ask(&server, "DELETE", path, key, &Value::Null).0;
        let code = if told.status == 200 { String::new() } else { told.error_code() };
        (told.status, code)
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(delete(&location, None), refused(401, "missing_api_key"));
    assert_eq!(delete(&location, Some(&bob)), refused(404, "call_not_found"));
    assert_eq!(calls(&server), 1);
    assert_eq!(delete(&location, Some(&ann)), refused(200, ""));
    until("the call is over", &server, || calls(&server) == 0);
    assert_eq!(delete(&location, Some(&ann)), refused(404, "call_not_found"));
    server.terminate();
}
