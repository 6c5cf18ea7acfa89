//! Better audio, made by the real server: after a call, and after it was killed in the middle of making it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use audio::level::longest_clipping;
use models::stt::wer::word_error_rate;
use serde_json::Value;
use tempfile::TempDir;

use super::command::{avatar, run};
use super::server::Server;
use super::speech::{cut, transcribe};

/// A render takes a tenth of a second; what it waits for may take longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Festival that is as good as the real one, but holds its tongue while a file `hold` lies beside it.
fn hold_festival(folder: &Path) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("festival")).find(|program| program.is_file());
    let real = real.unwrap_or_else(|| panic!("Festival is not installed: run scripts/setup"));
    let tools = folder.join("tools");
    fs::create_dir(&tools).unwrap();
    let script = format!(
        "#!/bin/sh\n{{ while IFS= read -r line; do while [ -e '{hold}' ]; do sleep 0.05; done; printf '%s\\n' \"$line\"; done; }} | '{real}' \"$@\"\n",
        hold = folder.join("hold").display(),
        real = real.display(),
    );
    let wrapper = tools.join("festival");
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", tools.display())
}

/// The only turn's reply, once it is as it should be.
fn until(server: &Server, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let list = server.get("/api/conversations").json();
        if let Some(id) = list[0]["id"].as_str() {
            let reply = server.get(&format!("/api/conversations/{id}")).json()["turns"][0]["assistant"].clone();
            if is(&reply) {
                return reply;
            }
            assert!(started.elapsed() < PATIENCE, "not {what}: {reply}\n{}", server.log());
        }
        assert!(started.elapsed() < PATIENCE, "not {what}: {list}\n{}", server.log());
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_reply_gets_its_better_audio_though_the_server_is_killed_while_it_is_made() {
    let folder = TempDir::new().unwrap();
    cut("talking-about", &folder.path().join("question.wav"));
    let path = hold_festival(folder.path());
    let hold = folder.path().join("hold");
    let start = || {
        Server::start(folder.path(), None, |command: &mut Command| {
            command.env("PATH", &path);
            for setting in ["session.temperature=0", "session.max_reply_tokens=40", "session.voice=flite/slt"] {
                command.args(["--set", setting]);
            }
        })
    };
    let server = start();
    let health = server.get("/health").json();
    assert_ne!(health["models"]["hq"]["state"], "missing", "{health}");
    fs::write(&hold, b"").unwrap();
    let call = run(&mut avatar(folder.path(), &["call", "question.wav", "--to", &server.url, "--brief"]));
    assert!(call.status.success(), "{}\n{}", call.err, server.log());
    let rendering = until(&server, "rendering", |reply| reply["hq"]["state"] == "rendering");
    assert!(rendering["audio"].is_string() && rendering["hq"].get("audio").is_none(), "{rendering}");
    server.kill();
    fs::remove_file(&hold).unwrap();

    let server = start();
    let reply = until(&server, "ready", |reply| reply["hq"]["state"] == "ready");
    assert_eq!(reply["hq"]["voice"], "festival/slt-hts", "{reply}");
    let better = server.get(reply["hq"]["audio"].as_str().unwrap());
    assert_eq!(better.status, 200);
    let sound = audio::ogg::read(&better.body[..]).unwrap();
    assert_eq!(sound.duration().as_millis() as i64, reply["hq"]["duration_ms"].as_i64().unwrap());
    assert!(longest_clipping(&sound.samples) < 2);
    let text = reply["text"].as_str().unwrap();
    let heard = transcribe(&sound);
    let rate = word_error_rate(text, &heard);
    assert!(rate <= 0.25, "{rate}: '{text}' was heard as '{heard}'");
    // The audio of the call is still there beside it, and nothing half-made is.
    assert_eq!(server.get(reply["audio"].as_str().unwrap()).status, 200);
    let names = fs::read_dir(folder.path().join("kept/audio")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".hq.ogg")).count(), 1, "{names:?}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.terminate().code(), Some(0));
}
