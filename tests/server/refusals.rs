//! What cannot be done is refused in one line that names it and says what to do.

use std::net::{TcpListener, UdpSocket};

use tempfile::TempDir;

use super::command::{Ended, avatar, run};

fn refused(arguments: &[&str]) -> Ended {
    let folder = TempDir::new().unwrap();
    run(&mut avatar(folder.path(), arguments))
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_moves_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    refused(&["serve", "--listen", &address.to_string(), "--data-dir", "kept"])
        .refused_with(&[&format!("port {} is in use", address.port()), "--listen"]);
}

#[test]
fn a_media_port_in_use_is_named_before_any_model_is_loaded() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let setting = format!("udp_port={port}");
    let ended = refused(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "kept", "--set", &setting]);
    ended.refused_with(&[&format!("UDP port {port} is in use"), "--set udp_port"]);
    assert!(!ended.err.contains("loaded"), "{}", ended.err);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named_with_the_flag_that_moves_it() {
    let folder = TempDir::new().unwrap();
    // Root may write everywhere, but not into a file.
    std::fs::write(folder.path().join("kept"), b"no folder").unwrap();
    let ended = run(&mut avatar(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "kept"]));
    ended.refused_with(&["data folder kept", "--data-dir"]);
}

#[test]
fn a_damaged_history_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let history = folder.path().join("kept/history.sqlite3");
    std::fs::create_dir(folder.path().join("kept")).unwrap();
    std::fs::write(&history, vec![7; 8_192]).unwrap();
    let ended = run(&mut avatar(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "kept"]));
    ended.refused_with(&["history.sqlite3", "move it away"]);
    assert_eq!(std::fs::read(&history).unwrap(), vec![7; 8_192]);
}

#[test]
fn a_misspelt_setting_is_answered_with_the_one_that_was_meant() {
    refused(&["serve", "--set", "max_cals=3"]).refused_with(&["max_cals", "did you mean 'max_calls'?"]);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("avatar.toml"), "[session]\nvoise = \"flite/slt\"\n").unwrap();
    run(&mut avatar(folder.path(), &["serve"])).refused_with(&["avatar.toml", "did you mean 'session.voice'?"]);
    run(avatar(TempDir::new().unwrap().path(), &["serve"]).env("AVATAR_MAX_CALS", "3"))
        .refused_with(&["AVATAR_MAX_CALS", "did you mean 'AVATAR_MAX_CALLS'?"]);
}

#[test]
fn a_wrong_value_is_named_with_where_it_stands() {
    refused(&["serve", "--listen", "nowhere"]).refused_with(&["--listen", "'listen' is wrong"]);
    refused(&["serve", "--set", "max_calls=0"]).refused_with(&["'max_calls'", "1 to 1000"]);
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("avatar.toml"), "max_calls = 3\nlisten = \n").unwrap();
    run(&mut avatar(folder.path(), &["serve"])).refused_with(&["avatar.toml", "line 2"]);
    refused(&["serve", "--config", "none.toml"]).refused_with(&["none.toml"]);
}

#[test]
fn a_server_for_other_machines_without_a_key_is_not_started() {
    let ended = refused(&["serve", "--listen", "0.0.0.0:0", "--data-dir", "kept"]);
    ended.refused_with(&["'listen'", "no API key", "AVATAR_API_KEYS"]);
}

#[test]
fn a_key_that_is_refused_is_not_shown() {
    let folder = TempDir::new().unwrap();
    let ended = run(avatar(folder.path(), &["serve"]).env("AVATAR_API_KEYS", "hunter2"));
    ended.refused_with(&["'api_keys'", "openssl rand"]);
    assert!(!ended.err.contains("hunter2"), "{}", ended.err);
}

#[test]
fn what_is_no_recording_is_not_transcribed() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("noise.wav"), [0xA5; 4_096]).unwrap();
    std::fs::write(folder.path().join("cut.ogg"), b"OggS\0\x02 and then it ends").unwrap();
    std::fs::write(folder.path().join("empty.wav"), b"").unwrap();
    for file in ["noise.wav", "cut.ogg", "empty.wav"] {
        run(&mut avatar(folder.path(), &["transcribe", file])).refused_with(&[file, "WAV or Ogg Opus"]);
    }
    run(&mut avatar(folder.path(), &["transcribe", "none.wav"])).refused_with(&["none.wav", "cannot be read"]);
}

#[test]
fn a_text_without_words_is_not_said_and_no_file_is_made() {
    let folder = TempDir::new().unwrap();
    for text in ["", "   ", "…", "😀"] {
        run(&mut avatar(folder.path(), &["say", text, "-o", "said.wav"])).refused_with(&["nothing to say"]);
    }
    let ended = run(&mut avatar(folder.path(), &["say", "hello", "-o", "said.wav", "--voice", "nobody"]));
    ended.refused_with(&["no voice nobody", "flite/slt"]);
    assert!(!folder.path().join("said.wav").exists());
    run(&mut avatar(folder.path(), &["say", "hello", "-o", "none/said.wav"])).refused_with(&["none/said.wav"]);
}

#[test]
fn a_call_to_where_no_server_is_says_so() {
    let folder = TempDir::new().unwrap();
    super::speech::cut("talking-about", &folder.path().join("question.wav"));
    // Bound and let go: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let ended = run(&mut avatar(folder.path(), &["call", "question.wav", "--to", &url]));
    ended.refused_with(&[&url, "is the server running?"]);
    run(&mut avatar(folder.path(), &["call", "none.wav", "--to", &url])).refused_with(&["none.wav"]);
}
