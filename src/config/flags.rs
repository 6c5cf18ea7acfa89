//! The flags of every command that reads the configuration.

use std::path::PathBuf;

use super::read::{ConfigError, FlagValue};
use super::settings::Config;

/// Flags that set something for this run; each goes over the file and the environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigFlags {
    /// Read this file instead of avatar.toml in the working directory
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Address and port to serve on, as 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub listen: Option<String>,
    /// Folder of history, recordings and models
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
    /// Folder of the models, where it is not in the data folder
    #[arg(long, value_name = "DIR", global = true)]
    pub models_dir: Option<String>,
    /// Any setting of docs/configuration.md, as log.level=debug; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    pub set: Vec<(String, String)>,
}

impl ConfigFlags {
    /// The configuration with these flags.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), self.values())
    }

    fn values(&self) -> Vec<FlagValue> {
        let own = [("listen", &self.listen), ("data_dir", &self.data_dir), ("models_dir", &self.models_dir)];
        let own = own.into_iter().filter_map(|(key, value)| {
            let flag = format!("--{}", key.replace('_', "-"));
            Some(FlagValue { flag, key: key.to_owned(), value: value.clone()? })
        });
        // The value is not part of the flag's name: it may be a key.
        let set = self.set.iter().map(|(key, value)| FlagValue {
            flag: format!("--set {key}"),
            key: key.clone(),
            value: value.clone(),
        });
        set.chain(own).collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE, for instance log.level=debug")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: ConfigFlags,
    }

    #[test]
    fn a_flag_of_its_own_beats_set_and_neither_is_lost() {
        let arguments = ["avatar", "--set", "listen=127.0.0.1:1", "--listen", "127.0.0.1:2", "--set", "max_calls=9"];
        let flags = Cli::parse_from(arguments).flags;
        let inputs = super::super::Inputs { flags: flags.values(), ..Default::default() };
        let config = inputs.read().unwrap();
        assert_eq!((config.listen.port(), config.max_calls), (2, 9));
    }

    #[test]
    fn set_without_a_value_is_refused() {
        assert!(Cli::try_parse_from(["avatar", "--set", "max_calls"]).is_err());
    }
}
