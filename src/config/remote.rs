//! The settings of remote engines as the engines take them, and whether they can be used.

use audio::pcm::SampleRate;
use models::remote::{
    BreakerSettings, Encoding, NetworkSettings, RemoteLlmSettings, RemoteSttSettings, RemoteTtsSettings, ServerAddress,
    ServerSettings, bearer,
};
use serde_json::Map;
use signaling::secret::Secret;

use super::choices::SpeechFormat;
use super::read::ConfigError;
use super::settings::{Config, Remote};
use super::span::Span;

/// What `[engines]` calls a server.
pub const REMOTE: &str = "remote";
/// More would keep a caller waiting for nothing.
const MOST_RETRIES: u32 = 5;

/// What a section says of its server.
struct Named<'a> {
    keys: [&'static str; 3],
    url: Option<&'a str>,
    api_key: Option<&'a Secret>,
    model: &'a str,
    first: Span,
    pause: Span,
    total: Span,
}

impl Remote {
    pub fn network(&self) -> NetworkSettings {
        NetworkSettings { connect: self.connect_timeout.0, ca_file: self.ca_file.clone() }
    }

    /// The server that answers, if one is named.
    pub fn llm_server(&self) -> Result<Option<RemoteLlmSettings>, ConfigError> {
        let llm = &self.llm;
        let server = self.server(&Named {
            keys: ["remote.llm.url", "remote.llm.api_key", "remote.llm.first_timeout"],
            url: llm.url.as_deref(),
            api_key: llm.api_key.as_ref(),
            model: &llm.model,
            first: llm.first_timeout,
            pause: llm.pause_timeout,
            total: llm.total_timeout,
        })?;
        let extra = match llm.extra.trim() {
            "" => Some(Map::new()),
            text => serde_json::from_str(text).ok(),
        };
        let extra = extra.ok_or_else(|| {
            invalid("remote.llm.extra", "it is no JSON object", "write it as '{\"top_k\": 20}', in single quotes")
        })?;
        Ok(server.map(|server| RemoteLlmSettings { server, extra }))
    }

    /// The server that writes speech down, if one is named.
    pub fn stt_server(&self) -> Result<Option<RemoteSttSettings>, ConfigError> {
        let stt = &self.stt;
        let server = self.server(&Named {
            keys: ["remote.stt.url", "remote.stt.api_key", "remote.stt.first_timeout"],
            url: stt.url.as_deref(),
            api_key: stt.api_key.as_ref(),
            model: &stt.model,
            first: stt.first_timeout,
            pause: stt.first_timeout,
            total: stt.total_timeout,
        })?;
        let partial_spacing = stt.partials.then_some(stt.partial_spacing.0);
        Ok(server.map(|server| RemoteSttSettings { server, partial_spacing }))
    }

    /// The server that speaks, if one is named.
    pub fn tts_server(&self) -> Result<Option<RemoteTtsSettings>, ConfigError> {
        let tts = &self.tts;
        let server = self.server(&Named {
            keys: ["remote.tts.url", "remote.tts.api_key", "remote.tts.first_timeout"],
            url: tts.url.as_deref(),
            api_key: tts.api_key.as_ref(),
            model: &tts.model,
            first: tts.first_timeout,
            pause: tts.pause_timeout,
            total: tts.total_timeout,
        })?;
        let rate = SampleRate::new(tts.rate);
        let rate = rate.ok_or_else(|| {
            invalid("remote.tts.rate", "no voice has such a rate", "24000 is what OpenAI's interface sends")
        })?;
        let encoding = match tts.format {
            SpeechFormat::Pcm => Encoding::Pcm,
            SpeechFormat::Wav => Encoding::Wav,
        };
        Ok(server.map(|server| RemoteTtsSettings { server, voices: tts.voices.clone(), encoding, rate }))
    }

    fn server(&self, named: &Named<'_>) -> Result<Option<ServerSettings>, ConfigError> {
        let [url_key, api_key_key, first_key] = named.keys;
        let Some(url) = named.url.filter(|url| !url.trim().is_empty()) else { return Ok(None) };
        let address: ServerAddress =
            url.parse().map_err(|error| invalid(url_key, error, "write it as http://127.0.0.1:8000/v1"))?;
        let authorization = match named.api_key.map(Secret::reveal).filter(|key| !key.is_empty()) {
            Some(key) => Some(bearer(key).ok_or_else(|| {
                invalid(api_key_key, "it has characters that no key has", "see that it is one line, without spaces")
            })?),
            None => None,
        };
        if named.first.0.is_zero() || named.pause.0.is_zero() || named.total.0 < named.first.0 {
            let reason = "a time limit of zero, or a total_timeout below it, leaves no time to answer";
            return Err(invalid(first_key, reason, "give each some seconds, and total_timeout the most"));
        }
        Ok(Some(ServerSettings {
            address,
            authorization,
            model: named.model.trim().to_owned(),
            first: named.first.0,
            pause: named.pause.0,
            total: named.total.0,
            retries: self.retries,
            breaker: BreakerSettings { failures: self.failures, rest: self.rest.0, ..BreakerSettings::default() },
        }))
    }
}

impl Config {
    /// Whether the servers that are named can be asked, and those that are chosen are named.
    pub(super) fn validate_remote(&self) -> Result<(), ConfigError> {
        let remote = &self.remote;
        if remote.connect_timeout.0.is_zero() || remote.rest.0.is_zero() {
            return Err(invalid("remote.connect_timeout", "it or remote.rest is zero", "give each some seconds"));
        }
        if remote.retries > MOST_RETRIES || remote.failures == 0 {
            let reason = format!("{} retries, and {} failures", remote.retries, remote.failures);
            return Err(invalid("remote.retries", reason, "choose 0 to 5 retries, and 1 failure or more"));
        }
        let engines = &self.engines;
        let servers = [
            ("remote.llm.url", &engines.llm, &engines.llm_fallback, remote.llm_server()?.is_some()),
            ("remote.stt.url", &engines.stt, &engines.stt_fallback, remote.stt_server()?.is_some()),
            ("remote.tts.url", &engines.tts, &engines.tts_fallback, remote.tts_server()?.is_some()),
        ];
        for (key, engine, fallback, is_named) in servers {
            if (engine == REMOTE || fallback == REMOTE) && !is_named {
                let hint = "give the server's address, as http://127.0.0.1:8000/v1";
                return Err(invalid(key, "[engines] names a remote engine, and this is not set", hint));
            }
        }
        Ok(())
    }
}

fn invalid(key: &'static str, reason: impl std::fmt::Display, hint: &str) -> ConfigError {
    ConfigError::Invalid { key, reason: reason.to_string(), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::Inputs;
    use super::super::read::FlagValue;
    use super::*;

    type Settings<'a> = &'a [(&'a str, &'a str)];

    fn config(settings: Settings<'_>) -> Config {
        let flag = |(key, value): &(&str, &str)| FlagValue {
            flag: format!("--set {key}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        Inputs { flags: settings.iter().map(flag).collect(), ..Inputs::default() }.read().unwrap()
    }

    #[test]
    fn a_server_that_can_not_be_asked_is_refused_with_a_hint() {
        let named = ("remote.llm.url", "http://127.0.0.1:8000");
        let cases: [(Settings<'_>, &str, &str); 9] = [
            (&[("engines.llm", "remote")], "'remote.llm.url'", "http://127.0.0.1:8000/v1"),
            (&[("engines.tts_fallback", "remote")], "'remote.tts.url'", "http://127.0.0.1:8000/v1"),
            (&[("remote.stt.url", "127.0.0.1:8000")], "'remote.stt.url'", "http://"),
            (&[("remote.llm.url", "http://me:hunter2@host")], "'remote.llm.url'", "api_key"),
            (&[named, ("remote.llm.api_key", "hunter2\nhunter2")], "'remote.llm.api_key'", "one line"),
            (&[named, ("remote.llm.extra", "top_k=20")], "'remote.llm.extra'", "single quotes"),
            (&[named, ("remote.llm.first_timeout", "2m")], "'remote.llm.first_timeout'", "total_timeout"),
            (&[("remote.retries", "100")], "'remote.retries'", "0 to 5"),
            (&[("remote.tts.rate", "24")], "'remote.tts.rate'", "24000"),
        ];
        for (settings, key, hint) in cases {
            let error = config(settings).validate().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(key) && shown.contains(hint), "{settings:?}: {shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_key_of_a_server_is_never_shown() {
        let config =
            config(&[("engines.llm", "remote"), ("remote.llm.url", "http://h"), ("remote.llm.api_key", "hunter2")]);
        config.validate().unwrap();
        let server = config.remote.llm_server().unwrap().unwrap().server;
        let shown = format!("{config:?} {server:?} {}", serde_json::json!(config));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(server.authorization.unwrap(), "Bearer hunter2");
    }
}
