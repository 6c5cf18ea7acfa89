//! From text to [`Config`]: file, then environment, then flags.
//!
//! Each value is checked alone as it is found, so an error names its key and where it was written. Messages of secret keys do not
//! quote the value.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::settings::{Config, Key, is_section, keys, sections};

/// How alike two words must be for one to be offered for the other, 0 to 1.
const ALIKE: f64 = 0.8;
/// The same for variables: other programs, and Avatar's own tests, have some of this prefix too.
const VARIABLES_ALIKE: f64 = 0.9;
const PREFIX: &str = "AVATAR_";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{origin} is not valid TOML{}: {message}", line.map_or_else(String::new, |line| format!(" (line {line})")))]
    Syntax { origin: Origin, line: Option<usize>, message: String },
    #[error("{origin}: there is no setting '{key}'{}", suggestion.as_ref().map_or_else(|| "; docs/configuration.md lists them".to_owned(), |near| format!("; did you mean '{near}'?")))]
    UnknownKey { origin: Origin, key: String, suggestion: Option<String> },
    #[error("{origin}: '{key}' is wrong: {message}")]
    WrongValue { origin: Origin, key: String, message: String },
    /// The settings are readable but do not fit together.
    #[error("'{key}' cannot be used like this: {reason}\nhint: {hint}")]
    Invalid { key: &'static str, reason: String, hint: String },
}

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// As typed: `--listen`, or `--set log.level=debug`.
    pub flag: String,
    pub key: String,
    pub value: String,
}

/// All that a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Named by the user: must exist.
    pub file: Option<PathBuf>,
    /// Read if it exists, when none is named.
    pub default_file: PathBuf,
    pub variables: BTreeMap<String, String>,
    pub flags: Vec<FlagValue>,
}

impl Inputs {
    /// Everything put together, not yet checked as a whole ([`Config::validate`]).
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut reader = Reader { keys: keys(), table: Table::new() };
        if let Some((path, text)) = self.file_text()? {
            reader.file(&Origin::File(path), &text)?;
        }
        reader.variables(&self.variables)?;
        for flag in &self.flags {
            reader.text(&Origin::Flag(flag.flag.clone()), &flag.key, &flag.value)?;
        }
        // Each value has been checked; together they are as sound.
        Config::deserialize(reader.table).map_err(|error| ConfigError::WrongValue {
            origin: Origin::Flag("the configuration".into()),
            key: "?".into(),
            message: error.message().to_owned(),
        })
    }

    fn file_text(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let (path, required) = match &self.file {
            Some(path) => (path, true),
            None => (&self.default_file, false),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some((path.clone(), text))),
            Err(error) if !required && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::File { path: path.clone(), source }),
        }
    }
}

struct Reader {
    keys: Vec<Key>,
    table: Table,
}

impl Reader {
    fn file(&mut self, origin: &Origin, text: &str) -> Result<(), ConfigError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            // Without the quoted line, which may hold a key.
            ConfigError::Syntax { origin: origin.clone(), line, message: error.message().to_owned() }
        })?;
        self.table(origin, "", table)
    }

    /// What stands in a section, and in the sections in it.
    fn table(&mut self, origin: &Origin, section: &str, table: Table) -> Result<(), ConfigError> {
        for (name, value) in table {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match value {
                Value::Table(inner) if is_section(&path) => self.table(origin, &path, inner)?,
                _ if is_section(&path) => {
                    return Err(wrong(origin, &path, format!("it is a section: write [{path}]")));
                }
                // A section that nobody knows is more like a section than like a setting.
                Value::Table(_) if let Some(near) = nearest(&path, sections(), ALIKE) => {
                    let suggestion = Some(near);
                    return Err(ConfigError::UnknownKey { origin: origin.clone(), key: path, suggestion });
                }
                value => self.value(origin, &path, value)?,
            }
        }
        Ok(())
    }

    fn variables(&mut self, variables: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let known: Vec<(String, String)> = self.keys.iter().map(|key| (key.variable(), key.path.clone())).collect();
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(own) = name.strip_prefix(PREFIX) else { continue };
            let origin = Origin::Variable(name.clone());
            if let Some((_, path)) = known.iter().find(|(variable, _)| variable == name) {
                self.text(&origin, path, value)?;
                continue;
            }
            // Only what looks like a slip of the pen is one.
            let names = known.iter().filter_map(|(variable, _)| variable.strip_prefix(PREFIX));
            if let Some(near) = nearest(own, names, VARIABLES_ALIKE) {
                let suggestion = Some(format!("{PREFIX}{near}"));
                return Err(ConfigError::UnknownKey { origin, key: name.clone(), suggestion });
            }
        }
        Ok(())
    }

    /// A value that comes as text: taken as it is where the setting is a text, as TOML where it is not, and a list may be
    /// written with commas.
    fn text(&mut self, origin: &Origin, path: &str, text: &str) -> Result<(), ConfigError> {
        let key = self.key(origin, path)?;
        let as_text = Value::String(text.to_owned());
        let as_toml = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        let as_list = text.split(',').map(|part| Value::String(part.trim().to_owned())).collect();
        let readings = [Some(as_text), as_toml, Some(Value::Array(as_list))];
        let mut first_error = None;
        for reading in readings.into_iter().flatten() {
            match check(&key, &reading) {
                Ok(()) => {
                    self.set(&key, reading);
                    return Ok(());
                }
                Err(message) => first_error = first_error.or(Some(message)),
            }
        }
        Err(wrong(origin, path, first_error.unwrap_or_default()))
    }

    fn value(&mut self, origin: &Origin, path: &str, value: Value) -> Result<(), ConfigError> {
        let key = self.key(origin, path)?;
        check(&key, &value).map_err(|message| wrong(origin, path, message))?;
        self.set(&key, value);
        Ok(())
    }

    fn key(&self, origin: &Origin, path: &str) -> Result<Key, ConfigError> {
        self.keys.iter().find(|key| key.path == path).cloned().ok_or_else(|| {
            // A key may be misspelt, or stand in the wrong section.
            let paths = self.keys.iter().map(|key| key.path.as_str());
            let last = path.rsplit('.').next().unwrap_or(path);
            let moved = self.keys.iter().find(|key| key.field.name == last).map(|key| key.path.clone());
            let suggestion = moved.or_else(|| nearest(path, paths, ALIKE));
            ConfigError::UnknownKey { origin: origin.clone(), key: path.to_owned(), suggestion }
        })
    }

    fn set(&mut self, key: &Key, value: Value) {
        let (sections, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
        let mut table = &mut self.table;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
        table.insert(name.to_owned(), value);
    }
}

/// Whether `value` can be the value of `key`; if not, why.
fn check(key: &Key, value: &Value) -> Result<(), String> {
    let mut probe = Reader { keys: Vec::new(), table: Table::new() };
    probe.set(key, value.clone());
    match Config::deserialize(probe.table) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(key, error.message())),
    }
}

/// Serde's words for people; of a secret, only those that do not quote the value.
fn explain(key: &Key, message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    if !key.is_secret() || first.starts_with("unknown field") || first.starts_with("missing field") {
        return first.to_owned();
    }
    match key.path.as_str() {
        "ice_servers" => "it must be a list of { urls = [\"…\"], username = \"…\", credential = \"…\" }".into(),
        "api_keys" => "it must be a list of texts".into(),
        _ => "it must be a text".into(),
    }
}

fn wrong(origin: &Origin, key: &str, message: String) -> ConfigError {
    ConfigError::WrongValue { origin: origin.clone(), key: key.to_owned(), message }
}

fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>, alike: f64) -> Option<String> {
    words
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= alike)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;
    use std::time::Duration;

    use super::super::choices::{LogFormat, TlsMode};
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("avatar.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let flag = |(key, value): &(&str, &str)| FlagValue {
            flag: format!("--set {key}={value}"),
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        Inputs { file: None, default_file: path, variables, flags: flags.iter().map(flag).collect() }.read()
    }

    #[test]
    fn nothing_set_is_the_default() {
        assert_eq!(read("", &[], &[]).unwrap(), Config::default());
        let absent = Inputs { default_file: "/nonexistent/avatar.toml".into(), ..Inputs::default() };
        assert_eq!(absent.read().unwrap(), Config::default());
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file() {
        let file = "max_calls = 1\ndata_dir = \"from-file\"\n[log]\nlevel = \"warn\"";
        let variables = [("AVATAR_MAX_CALLS", "2"), ("AVATAR_DATA_DIR", "from-variable")];
        let config = read(file, &variables, &[("max_calls", "3")]).unwrap();
        assert_eq!(config.max_calls, 3);
        assert_eq!(config.data_dir, Path::new("from-variable"));
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn every_kind_of_value_can_come_from_the_environment() {
        let variables = [
            ("AVATAR_LISTEN", "0.0.0.0:443"),
            ("AVATAR_MODELS", "/srv/models"),
            ("AVATAR_API_KEYS", "first-key-of-two-00, second-key-of-two-0"),
            ("AVATAR_ICE_SERVERS", r#"[{ urls = ["stun:stun.example:3478"] }]"#),
            ("AVATAR_TLS_MODE", "auto"),
            ("AVATAR_SESSION_TURN_SILENCE", "700ms"),
            ("AVATAR_SESSION_TEMPERATURE", "0.5"),
            ("AVATAR_SESSION_INTERRUPT_RESPONSE", "false"),
            // A text that looks like a number stays a text.
            ("AVATAR_SESSION_VOICE", "7"),
            ("AVATAR_LOG_FORMAT", "json"),
            ("AVATAR_PUBLIC_ADDRESS", ""),
        ];
        let config = read("", &variables, &[]).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:443");
        assert_eq!(config.models_dir(), Path::new("/srv/models"));
        assert!(config.api_keys[1].matches("second-key-of-two-0"));
        assert_eq!(config.ice_servers[0].urls, ["stun:stun.example:3478"]);
        assert_eq!((config.tls.mode, config.log.format), (TlsMode::Auto, LogFormat::Json));
        assert_eq!(config.session.turn_silence.0, Duration::from_millis(700));
        assert!(!config.session.interrupt_response && config.session.temperature == 0.5);
        assert_eq!((config.session.voice.as_str(), config.public_address), ("7", None));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_place_and_what_to_write() {
        let cases: [(&str, &[&str]); 16] = [
            ("lisen = \"127.0.0.1:1\"", &["avatar.toml", "'lisen'", "did you mean 'listen'"]),
            ("[tls]\nmod = \"off\"", &["'tls.mod'", "did you mean 'tls.mode'"]),
            ("[log]\nmax_calls = 3", &["'log.max_calls'", "did you mean 'max_calls'"]),
            ("mode = \"off\"", &["'mode'", "did you mean 'tls.mode'"]),
            ("xyzzy = 1", &["'xyzzy'", "docs/configuration.md"]),
            ("[engine]\nstt = \"auto\"", &["'engine'", "did you mean 'engines"]),
            ("tls = \"off\"", &["'tls'", "write [tls]"]),
            ("max_calls = \"many\"", &["'max_calls'", "expected u16"]),
            ("max_calls = -1", &["'max_calls'"]),
            ("[tls]\nmode = \"on\"", &["'tls.mode'", "`off`, `auto`, `files`"]),
            ("listen = \"localhost\"", &["'listen'", "socket address"]),
            ("a = = b", &["avatar.toml", "line 1"]),
            ("[remote.llm]\nurll = \"x\"", &["'remote.llm.urll'", "did you mean 'remote.llm.url'"]),
            ("[remote.lm]\nurl = \"x\"", &["'remote.lm'", "did you mean 'remote.llm"]),
            ("[remote]\nstt = 1", &["'remote.stt'", "write [remote.stt]"]),
            ("[remote.tts]\nformat = \"mp3\"", &["'remote.tts.format'", "`pcm` or `wav`"]),
        ];
        for (file, expected) in cases {
            let error = read(file, &[], &[]).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{file}: no {part} in: {error}");
            }
        }
    }

    #[test]
    fn a_slip_in_a_variables_name_is_noticed_and_a_strangers_variable_is_not() {
        for (slip, meant) in [
            ("AVATAR_LISTN", "AVATAR_LISTEN"),
            ("AVATAR_MODELS_DIR", "AVATAR_MODELS"),
            ("AVATAR_APIKEYS", "AVATAR_API_KEYS"),
            ("AVATAR_SESSION_LANGAUGE", "AVATAR_SESSION_LANGUAGE"),
        ] {
            let error = read("", &[(slip, "x")], &[]).unwrap_err().to_string();
            assert!(error.contains(slip) && error.contains(&format!("did you mean '{meant}'")), "{error}");
        }
        for strange in ["AVATAR_BENCH_TURNS", "AVATAR_BIN", "AVATAR_SHOTS", "AVATAR_SPEECH", "AVATAR_URL", "OTHER"] {
            assert!(read("", &[(strange, "x")], &[]).is_ok(), "{strange}");
        }
    }

    #[test]
    fn a_wrong_flag_is_named_as_it_was_typed() {
        let error = read("", &[], &[("log.levl", "debug")]).unwrap_err().to_string();
        assert!(error.contains("--set log.levl=debug") && error.contains("did you mean 'log.level'"), "{error}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let inputs = Inputs { file: Some("/nonexistent/avatar.toml".into()), ..Inputs::default() };
        assert!(inputs.read().unwrap_err().to_string().contains("/nonexistent/avatar.toml"));
    }

    #[test]
    fn no_message_shows_a_key_or_credential() {
        let secret = "hunter2-hunter2-hunter2";
        let files = [
            format!("api_keys = \"{secret}\""),
            format!("api_keys = [[\"{secret}\"]]"),
            format!("api_keys = [\"{secret}\""),
            format!("ice_servers = [{{ urls = \"{secret}\" }}]"),
            format!("[remote.llm]\napi_key = [\"{secret}\"]"),
            format!("ice_servers = [{{ urls = [\"turn:h\"], credential = {{ a = \"{secret}\" }} }}]"),
        ];
        for file in files {
            let error = read(&file, &[], &[]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let both = format!("api_keys = [\"{secret}\"]\n[remote.stt]\napi_key = \"{secret}\"");
        let config = read(&both, &[("AVATAR_REMOTE_LLM_API_KEY", secret)], &[]).unwrap();
        assert!(config.remote.llm.api_key.as_ref().is_some_and(|key| key.matches(secret)));
        assert!(!format!("{config:?} {}", serde_json::json!(config)).contains("hunter2"));
    }

    #[test]
    fn a_wrong_key_in_an_ice_server_is_named() {
        let error = read("ice_servers = [{ url = \"stun:h\" }]", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("unknown field `url`") && error.contains("urls"), "{error}");
    }
}
