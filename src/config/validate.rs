//! Whether settings fit together, before anything is started with them.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::read::ConfigError;
use models::memory::Wanted;
use signaling::http::IceServer;

use super::choices::TlsMode;
use super::settings::Config;

/// Shorter keys can be guessed.
const SHORTEST_KEY: usize = 16;
/// More calls than one machine's media can carry.
const MOST_CALLS: u16 = 1000;

impl Config {
    /// The first thing that cannot work, with what to do about it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid =
            |key, reason: String, hint: &str| Err(ConfigError::Invalid { key, reason, hint: hint.to_owned() });
        if self.is_public() && self.api_keys.is_empty() {
            return invalid(
                "listen",
                format!("{} lets other machines in, and no API key is set", self.listen),
                "set AVATAR_API_KEYS to a random text (`openssl rand -hex 24` makes one), or listen on 127.0.0.1",
            );
        }
        if self.api_keys.iter().any(|key| key.reveal().len() < SHORTEST_KEY) {
            let reason = format!("a key is shorter than {SHORTEST_KEY} characters and could be guessed");
            return invalid("api_keys", reason, "make one with `openssl rand -hex 24`");
        }
        if !(1..=MOST_CALLS).contains(&self.max_calls) {
            return invalid("max_calls", format!("{} calls", self.max_calls), "choose 1 to 1000");
        }
        if !self.hub.starts_with("https://") && !self.hub.starts_with("http://") {
            let reason = format!("'{}' is no address", self.hub);
            return invalid("hub", reason, "write it as https://huggingface.co");
        }
        if let Some(address) = self.public_address.filter(|address| address.is_unspecified()) {
            let reason = format!("{address} is no address that a caller can reach");
            return invalid(
                "public_address",
                reason,
                "give the address callers reach this machine at, or leave it out",
            );
        }
        if !(24_000..=128_000).contains(&self.hq.bitrate) {
            let reason = format!("{} bits a second", self.hq.bitrate);
            return invalid(
                "hq.bitrate",
                reason,
                "choose 24000 to 128000; 64000 loses nothing that is heard of a voice",
            );
        }
        self.validate_tls()?;
        self.ice_servers.iter().try_for_each(validate_ice)?;
        self.validate_security()?;
        self.validate_session()?;
        self.validate_remote()?;
        self.device()?;
        if let Err(error) = EnvFilter::try_new(&self.log.level) {
            let reason = format!("'{}' is no filter: {error}", self.log.level);
            return invalid("log.level", reason, "use error, warn, info, debug or trace, or as info,avatar=debug");
        }
        Ok(())
    }

    /// Where engines may be placed.
    pub fn device(&self) -> Result<Wanted, ConfigError> {
        let invalid = |reason: String, hint: &str| {
            Err(ConfigError::Invalid { key: "engines.device", reason, hint: hint.to_owned() })
        };
        match self.engines.device.parse() {
            Ok(Wanted::At(place)) if !place.is_built_in() => invalid(
                format!("this build cannot compute on {place}"),
                "build with `scripts/build-cuda`, or with `--features metal` or `vulkan` (docs/gpu.md); or choose auto or cpu",
            ),
            Ok(wanted) => Ok(wanted),
            Err(reason) => invalid(reason, "auto takes the best there is"),
        }
    }

    fn validate_tls(&self) -> Result<(), ConfigError> {
        let invalid = |key, reason: &str, hint: &str| {
            Err(ConfigError::Invalid { key, reason: reason.to_owned(), hint: hint.to_owned() })
        };
        let given = (self.tls.cert.is_some(), self.tls.key.is_some());
        match (self.tls.mode, given) {
            (TlsMode::Files, (true, true)) | (TlsMode::Off | TlsMode::Auto, (false, false)) => Ok(()),
            (TlsMode::Files, (false, _)) => invalid("tls.cert", "it is not set", "name the PEM file with the chain"),
            (TlsMode::Files, (_, false)) => {
                invalid("tls.key", "it is not set", "name the PEM file with the private key")
            }
            (TlsMode::Off | TlsMode::Auto, _) => invalid(
                "tls.mode",
                "a certificate or key file is named that would not be used",
                "set tls.mode = \"files\" to use it, or leave tls.cert and tls.key out",
            ),
        }
    }

    fn validate_security(&self) -> Result<(), ConfigError> {
        let invalid =
            |key, reason: String, hint: &str| Err(ConfigError::Invalid { key, reason, hint: hint.to_owned() });
        let origins = &self.security.origins;
        if origins.iter().any(|origin| origin == "*") && self.api_keys.is_empty() {
            let reason = "every page on the web could use this server, and no API key is set".to_owned();
            return invalid("security.origins", reason, "list the pages that may, or set AVATAR_API_KEYS");
        }
        let is_origin = |origin: &str| {
            let parsed = origin.parse::<axum::http::Uri>().ok();
            let parts = parsed.map(|uri| (uri.scheme_str().map(str::to_owned), uri.path().to_owned()));
            matches!(parts, Some((Some(scheme), path)) if matches!(scheme.as_str(), "http" | "https") && path == "/")
        };
        if let Some(origin) = origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
            let reason = format!("'{origin}' is no origin");
            return invalid("security.origins", reason, "write it as https://shop.example or http://shop.example:8080");
        }
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', ' ', '*']) && !host.contains("://");
        if let Some(host) = self.security.hosts.iter().find(|host| !is_host(host)) {
            let reason = format!("'{host}' is no name of a host");
            return invalid("security.hosts", reason, "write it as avatar.example, without https:// and port");
        }
        Ok(())
    }

    fn validate_session(&self) -> Result<(), ConfigError> {
        let session = &self.session;
        if !(Duration::from_millis(100)..=Duration::from_secs(5)).contains(&session.turn_silence.0) {
            return Err(ConfigError::Invalid {
                key: "session.turn_silence",
                reason: format!("{} of silence", session.turn_silence),
                hint: "choose 100ms to 5s; people pause for about 500ms inside a sentence".into(),
            });
        }
        if !(0.0..=2.0).contains(&session.temperature) {
            return Err(ConfigError::Invalid {
                key: "session.temperature",
                reason: format!("{} is not 0 to 2", session.temperature),
                hint: "0.2 suits small models, 0.7 large ones".into(),
            });
        }
        if session.resume_seconds > 3_600 {
            return Err(ConfigError::Invalid {
                key: "session.resume_seconds",
                reason: format!("{} seconds", session.resume_seconds),
                hint: "choose at most 3600; a lost call takes a place meanwhile".into(),
            });
        }
        if session.resume_hours > 8_760 {
            return Err(ConfigError::Invalid {
                key: "session.resume_hours",
                reason: format!("{} hours", session.resume_hours),
                hint: "choose at most 8760, which is a year".into(),
            });
        }
        if session.max_reply_tokens == 0 {
            return Err(ConfigError::Invalid {
                key: "session.max_reply_tokens",
                reason: "replies of no token".into(),
                hint: "choose 1 or more; 200 is about a minute of speech".into(),
            });
        }
        Ok(())
    }
}

fn validate_ice(server: &IceServer) -> Result<(), ConfigError> {
    let invalid =
        |reason: String, hint: &str| Err(ConfigError::Invalid { key: "ice_servers", reason, hint: hint.to_owned() });
    if server.urls.is_empty() {
        return invalid("a server has no urls".into(), "give one, as urls = [\"stun:stun.example:3478\"]");
    }
    let has_scheme = |url: &str, schemes: &[&str]| schemes.iter().any(|scheme| url.starts_with(scheme));
    if let Some(url) = server.urls.iter().find(|url| !has_scheme(url, &["stun:", "stuns:", "turn:", "turns:"])) {
        return invalid(format!("'{url}' is no STUN or TURN address"), "write it as stun:host:port or turn:host:port");
    }
    let needs_login = server.urls.iter().any(|url| has_scheme(url, &["turn:", "turns:"]));
    if needs_login && (server.username.is_none() || server.credential.is_none()) {
        return invalid("a TURN server has no username or credential".into(), "TURN servers refuse clients without");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::Inputs;
    use super::super::read::FlagValue;
    use super::*;

    type Settings = &'static [(&'static str, &'static str)];

    fn validated(settings: Settings) -> Result<(), ConfigError> {
        let flag = |(key, value): &(&str, &str)| FlagValue {
            flag: format!("--set {key}={value}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        Inputs { flags: settings.iter().map(flag).collect(), ..Inputs::default() }.read().unwrap().validate()
    }

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_with_a_hint() {
        let cases: [(Settings, &str, &str); 21] = [
            (&[("listen", "0.0.0.0:8080")], "'listen'", "AVATAR_API_KEYS"),
            (&[("listen", "[::]:8080")], "'listen'", "openssl rand"),
            (&[("api_keys", "short")], "'api_keys'", "openssl rand"),
            (&[("max_calls", "0")], "'max_calls'", "1 to 1000"),
            (&[("max_calls", "1001")], "'max_calls'", "1 to 1000"),
            (&[("hub", "huggingface.co")], "'hub'", "https://"),
            (&[("public_address", "0.0.0.0")], "'public_address'", "leave it out"),
            (&[("tls.mode", "files")], "'tls.cert'", "PEM"),
            (&[("tls.mode", "files"), ("tls.cert", "a.pem")], "'tls.key'", "private key"),
            (&[("tls.cert", "a.pem"), ("tls.key", "b.pem")], "'tls.mode'", "would not be used"),
            (&[("ice_servers", "[{ urls = [] }]")], "'ice_servers'", "stun:"),
            (&[("ice_servers", "[{ urls = ['http://h'] }]")], "'ice_servers'", "http://h"),
            (&[("ice_servers", "[{ urls = ['turn:h:1'], username = 'u' }]")], "'ice_servers'", "credential"),
            (&[("security.origins", "*")], "'security.origins'", "AVATAR_API_KEYS"),
            (&[("security.origins", "shop.example")], "'security.origins'", "https://shop.example"),
            (&[("security.origins", "https://shop.example/page")], "'security.origins'", "https://shop.example"),
            (&[("security.hosts", "https://avatar.example")], "'security.hosts'", "avatar.example"),
            (&[("session.turn_silence", "20ms")], "'session.turn_silence'", "100ms to 5s"),
            (&[("session.temperature", "3")], "'session.temperature'", "0 to 2"),
            (&[("hq.bitrate", "6000")], "'hq.bitrate'", "24000 to 128000"),
            (&[("log.level", "in=fo=x")], "'log.level'", "info,avatar=debug"),
        ];
        for (settings, key, hint) in cases {
            let error = validated(settings).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(hint), "{settings:?}: {error}");
        }
    }

    #[test]
    fn what_fits_is_let_through() {
        let cases: [Settings; 7] = [
            &[("listen", "0.0.0.0:8080"), ("api_keys", "0123456789abcdef")],
            &[("listen", "[::1]:0")],
            &[("security.origins", "*"), ("api_keys", "0123456789abcdef")],
            &[("security.origins", "https://shop.example,http://a.example:81"), ("security.hosts", "avatar.example")],
            &[("tls.mode", "files"), ("tls.cert", "a.pem"), ("tls.key", "b.pem")],
            &[("ice_servers", "[{ urls = ['stun:h:1'] }, { urls = ['turn:h:1'], username = 'u', credential = 'c' }]")],
            &[("log.level", "info,avatar=debug"), ("session.turn_silence", "100ms")],
        ];
        for settings in cases {
            validated(settings).unwrap();
        }
    }
}
