//! Configuration: one typed struct ([`Config`]), read from a file, then the environment, then flags, each over the one before.
//!
//! Promises that a key nobody knows, a value of the wrong shape and settings that do not fit together are errors which name where
//! they stand and what to write instead, and that no message shows a key or credential. Reads nothing but what it is given in
//! [`Inputs`].

mod choices;
mod flags;
mod keep_fast;
mod read;
mod reference;
mod remote;
mod settings;
mod span;
mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use self::choices::Chinese;
use crate::data_folder::{DataFolder, KeyError};
pub use choices::{BesideCalls, LogFormat, SpeechFormat, TlsMode, TurnEndMode};
pub use flags::ConfigFlags;
pub use keep_fast::KeepFast;
use models::stt::script::Script;
pub use read::{ConfigError, FlagValue, Inputs, Origin};
pub use reference::reference;
pub use remote::REMOTE;
pub use settings::{
    Config, Engines, Field, HistorySettings, Hq, Key, Limits, Log, Remote, RemoteLlm, RemoteStt, RemoteTts, Security,
    SessionDefaults, Stt, Tls, keys,
};
use signaling::line::TurnEnd;
pub use span::Span;

/// As the name of the engine that renders replies again: nobody does.
pub const HQ_OFF: &str = "off";

impl Config {
    /// Reads `avatar.toml` in the working directory (or the file named), the process's environment and the flags.
    pub fn load(file: Option<&Path>, flags: Vec<FlagValue>) -> Result<Self, ConfigError> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let inputs = Inputs { file: file.map(Path::to_owned), default_file: "avatar.toml".into(), variables, flags };
        let config = inputs.read()?;
        config.validate()?;
        Ok(config)
    }

    /// The data folder, unlocked.
    pub fn data_folder(&self) -> Result<DataFolder, KeyError> {
        DataFolder::open(&self.data_dir, self.data_key_file.as_deref())
    }

    /// Folder of the models.
    pub fn models_dir(&self) -> PathBuf {
        self.models_dir.clone().unwrap_or_else(|| self.data_dir.join("models"))
    }

    /// Where the calls' audio comes in on UDP, when the page is at `page`: the same port, unless another is set.
    pub fn media_address(&self, page: SocketAddr) -> SocketAddr {
        SocketAddr::new(page.ip(), if self.udp_port == 0 { page.port() } else { self.udp_port })
    }

    /// Whether other machines can connect.
    pub fn is_public(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

impl Stt {
    pub fn script(&self) -> Script {
        match self.chinese {
            Chinese::Auto => Script::ByLanguage,
            Chinese::Traditional => Script::Traditional,
            Chinese::AsHeard => Script::AsHeard,
        }
    }
}

impl SessionDefaults {
    pub fn turn_end(&self) -> TurnEnd {
        match self.turn_end {
            TurnEndMode::Semantic => TurnEnd::Semantic,
            TurnEndMode::Silence => TurnEnd::Silence(self.turn_silence.0),
            TurnEndMode::Manual => TurnEnd::Manual,
        }
    }
}
