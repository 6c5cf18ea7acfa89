//! The servers of remote engines: whether they answer, have the model, and get their key unread.

use models::error::EngineError;
use models::remote::{IoThread, Network, ServerSettings, list_models};

use super::{Check, Verdict};
use crate::config::{Config, REMOTE};

/// Names that are listed at most.
const SHOWN: usize = 5;

/// A check of a local engine that only stands in: the server runs without it.
pub(super) fn as_fallback(check: Check) -> Check {
    Check { verdict: Verdict::Warn, found: format!("no fallback: {}", check.found), ..check }
}

/// Asks every server that an engine is set to. Takes some seconds where one is silent.
pub(super) fn servers(config: &Config) -> Vec<Check> {
    let (engines, remote) = (&config.engines, &config.remote);
    let llm = remote.llm_server().map(|llm| llm.map(|llm| llm.server));
    let stt = remote.stt_server().map(|stt| stt.map(|stt| stt.server));
    let tts = remote.tts_server().map(|tts| tts.map(|tts| tts.server));
    let all = [
        ("remote llm", "remote.llm", &engines.llm, &engines.llm_fallback, llm),
        ("remote stt", "remote.stt", &engines.stt, &engines.stt_fallback, stt),
        ("remote tts", "remote.tts", &engines.tts, &engines.tts_fallback, tts),
    ];
    let mut checks = Vec::new();
    for (name, section, engine, fallback, server) in all {
        if engine != REMOTE && fallback != REMOTE {
            continue;
        }
        let server = match server {
            Ok(Some(server)) => server,
            Ok(None) => {
                checks.push(Check::fail(name, "no address", format!("set url in [{section}]")));
                continue;
            }
            Err(error) => {
                let message = error.to_string();
                let (found, fix) = message.split_once("\nhint: ").unwrap_or((&message, "see docs/configuration.md"));
                checks.push(Check::fail(name, found, fix));
                continue;
            }
        };
        if server.authorization.is_some() && server.address.exposes_keys() {
            checks.push(Check::warn(
                name,
                format!("its api_key goes to {} in the clear", server.address),
                format!("give url in [{section}] as https://…, or reach the server through a tunnel"),
            ));
        }
        let stands_alone = engine == REMOTE && fallback == "off";
        checks.push(answers(config, name, section, server, stands_alone));
    }
    checks
}

fn answers(config: &Config, name: &str, section: &'static str, server: ServerSettings, stands_alone: bool) -> Check {
    let (address, model) = (server.address.clone(), server.model.clone());
    let network = IoThread::start().and_then(|io| Network::new(io, &config.remote.network()));
    let models = match network.and_then(|network| list_models(&network, section, server)) {
        Ok(models) => models,
        Err(error) => {
            let (found, fix) = match error {
                EngineError::Remote { server, reason, hint } => (format!("{server}: {reason}"), hint),
                other => (other.to_string(), format!("see [{section}]")),
            };
            // With a fallback there is an answer all the same.
            return if stands_alone { Check::fail(name, found, fix) } else { Check::warn(name, found, fix) };
        }
    };
    let shown = models.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match models.contains(&model) {
        true => Check::ok(name, format!("{address} answers, and has {model}")),
        false if model.is_empty() => Check::ok(name, format!("{address} answers, and has {shown}")),
        false => Check::warn(
            name,
            format!("{address} answers, and does not list {model}"),
            format!("set model in [{section}] to what it lists: {shown}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that lists one model to `visitors` who come one after the other.
    fn server(visitors: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().take(visitors) {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let body = r#"{"data":[{"id":"qwen3"}]}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes());
            }
        });
        address
    }

    fn config(url: &str, model: &str, fallback: &str) -> Config {
        let mut config = Config::default();
        config.engines.llm = REMOTE.into();
        config.engines.llm_fallback = fallback.into();
        config.remote.llm.url = Some(url.into());
        config.remote.llm.model = model.into();
        config
    }

    #[test]
    fn a_server_that_answers_is_asked_for_its_model() {
        let url = server(3);
        for (model, verdict, part) in [
            ("qwen3", Verdict::Ok, "has qwen3"),
            ("", Verdict::Ok, "has qwen3"),
            ("gpt", Verdict::Warn, "does not list gpt"),
        ] {
            let checks = servers(&config(&url, model, "auto"));
            assert!(checks.len() == 1 && checks[0].verdict == verdict, "{checks:?}");
            assert!(checks[0].found.contains(part), "{checks:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_fails_only_where_nobody_stands_in() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (fallback, verdict) in [("auto", Verdict::Warn), ("off", Verdict::Fail)] {
            let checks = servers(&config(&format!("http://{gone}"), "m", fallback));
            assert_eq!(checks[0].verdict, verdict, "{checks:?}");
            assert!(checks[0].fix.as_ref().unwrap().contains("[remote.llm]"), "{checks:?}");
        }
    }

    #[test]
    fn a_key_that_anyone_on_the_way_can_read_is_warned_of() {
        let mut config = config("http://192.0.2.1:9/v1", "m", "auto");
        config.remote.connect_timeout = crate::config::Span::from_millis(20);
        config.remote.llm.api_key = Some(signaling::secret::Secret::new("hunter2"));
        let checks = servers(&config);
        assert!(checks[0].verdict == Verdict::Warn && checks[0].found.contains("in the clear"), "{checks:?}");
        assert!(!format!("{checks:?}").contains("hunter2"));
    }
}
