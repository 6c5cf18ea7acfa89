//! What each kind of machine is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{TcpListener, UdpSocket};

use std::path::Path;

use super::*;
use crate::config::TlsMode;

fn config_in(dir: &Path) -> Config {
    Config { data_dir: dir.to_owned(), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() }
}

fn found<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} was not looked at"))
}

#[test]
fn an_empty_machine_is_told_each_command_that_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let checks = examine(&config_in(dir.path())).checks;
    for (name, fix) in [
        ("voice activity", "avatar models pull silero-vad"),
        ("speech to text", "avatar models pull moonshine-tiny-en"),
        ("language model", "avatar models pull smollm2-135m-instruct"),
    ] {
        let check = found(&checks, name);
        assert_eq!(check.verdict, Verdict::Fail, "{check:?}");
        assert!(check.fix.as_ref().unwrap().contains(fix), "{check:?}");
    }
    // Talking works without it.
    assert_eq!(found(&checks, "turn ends").verdict, Verdict::Warn);
    assert_eq!(found(&checks, "data folder").verdict, Verdict::Ok);
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "the probe was left behind");
}

#[test]
fn an_engine_that_does_not_exist_or_is_of_another_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_in(dir.path());
    config.engines.stt = "whisper-bas".into();
    config.engines.llm = "silero-vad".into();
    config.engines.turn = "off".into();
    let checks = examine(&config).checks;
    let stt = found(&checks, "speech to text");
    assert!(stt.found.contains("whisper-base-q8_0"), "{stt:?}");
    assert!(found(&checks, "language model").found.contains("which is a vad model"));
    assert_eq!(found(&checks, "turn ends").verdict, Verdict::Ok);
}

#[test]
fn a_port_in_use_is_named_with_the_setting_that_moves_it() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let check = network::tcp_port(tcp.local_addr().unwrap());
    assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("set listen to another port"));
    let check = network::udp_port(udp.local_addr().unwrap());
    assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("set udp_port to another port"));
}

#[test]
fn a_data_folder_that_is_a_file_fails() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let check = machine::data_folder(&file.path().join("data"));
    assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("--data-dir"));
}

#[test]
fn a_public_server_without_https_is_warned_of_the_microphone() {
    let mut config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
    assert_eq!(network::certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Warn);
    config.tls.mode = TlsMode::Auto;
    assert_eq!(network::certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Ok);
    config.tls.mode = TlsMode::Files;
    config.tls.cert = Some("/nonexistent/cert.pem".into());
    assert_eq!(network::certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Fail);
}

#[test]
fn a_broken_configuration_is_a_finding_and_the_rest_is_still_looked_at() {
    let broken = ConfigError::Invalid { key: "max_calls", reason: "0 calls".into(), hint: "choose 1 to 1000".into() };
    let mut out = Vec::new();
    let code = run(Err(broken), false, &mut out).unwrap();
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    let text = String::from_utf8(out).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("FAIL") && first.contains("0 calls") && first.ends_with("-> choose 1 to 1000"), "{text}");
    assert!(text.lines().count() > 10, "{text}");
}

#[test]
fn json_has_the_same_findings() {
    let mut out = Vec::new();
    run(Ok(Config::default()), true, &mut out).unwrap();
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
    assert!(checks.iter().all(|check| ["ok", "warn", "fail"].contains(&check["verdict"].as_str().unwrap())));
}

#[test]
fn a_damaged_history_is_told_with_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_in(dir.path());
    let later = SystemTime::now() + std::time::Duration::from_secs(86_400);
    assert_eq!(history::history(&config, later).found, "none yet");
    assert_eq!(repair(&config, later).unwrap(), "there is no history to repair");
    drop(crate::history::History::open(dir.path()).unwrap());
    assert_eq!(history::history(&config, later).verdict, Verdict::Ok);
    std::fs::write(dir.path().join("audio/item_1.partial"), b"half").unwrap();
    let check = history::history(&config, later);
    assert!(check.verdict == Verdict::Warn && check.found.contains("1 recordings are half written"), "{check:?}");
    assert!(check.fix.unwrap().contains("avatar doctor --repair"));
    let told = repair(&config, later).unwrap();
    assert_eq!(told, "the history has been repaired: 1 recordings are half written");
    assert_eq!(history::history(&config, later).verdict, Verdict::Ok);
    std::fs::write(dir.path().join("history.sqlite3"), vec![7; 8_192]).unwrap();
    assert_eq!(history::history(&config, later).verdict, Verdict::Fail);
    repair(&config, later).unwrap();
    assert_eq!(history::history(&config, later).verdict, Verdict::Ok);
}
