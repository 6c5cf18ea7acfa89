//! `avatar encryption`: the data folder encrypted, given another key, or decrypted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::config::Config;
use crate::data_folder::convert::convert;
use crate::data_folder::{DataFolder, DataKey};
use crate::history::History;

#[derive(Debug, Subcommand)]
pub enum EncryptionCommand {
    /// Make a key and write it into a new file
    NewKey {
        /// Not in the data folder, and not the only copy
        file: PathBuf,
    },
    /// Encrypt what is there with the key in `data_key_file`; again, if that was stopped, to go on
    On,
    /// Encrypt it with another key
    Change {
        /// File with the new key; set `data_key_file` to it afterwards
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Decrypt it; leave out `data_key_file` afterwards
    Off,
}

/// `aside` is told what people want to know.
pub fn run(command: &EncryptionCommand, config: &Config, aside: &mut impl Write) -> anyhow::Result<ExitCode> {
    match command {
        EncryptionCommand::NewKey { file } => {
            let is_inside = file.parent().is_some_and(|parent| lies_in(parent, &config.data_dir));
            if is_inside {
                bail!("{} is in the data folder, which the key is to protect; choose another place", file.display());
            }
            let key = DataKey::create(file)?;
            writeln!(aside, "{} has the key of {}", file.display(), key.recipient())?;
            writeln!(aside, "keep a copy of it: without it nobody reads what is encrypted with it, you neither")?;
            writeln!(
                aside,
                "hint: set data_key_file (or AVATAR_DATA_KEY_FILE) to it, then run `avatar encryption on`"
            )?;
        }
        EncryptionCommand::On => {
            let key = configured(config)?;
            change(config, None, Some(key), aside)?;
            writeln!(aside, "hint: readable copies may be left in backups and in free blocks of the disk")?;
        }
        EncryptionCommand::Change { to } => {
            let (from, to) = (configured(config)?, DataKey::read(to)?);
            change(config, Some(&from), Some(to), aside)?;
            writeln!(aside, "hint: set data_key_file to the new key's file now")?;
        }
        EncryptionCommand::Off => {
            let key = configured(config)?;
            change(config, Some(&key), None, aside)?;
            writeln!(aside, "hint: leave out data_key_file now")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lies_in(folder: &Path, outer: &Path) -> bool {
    // A bare name's folder is empty.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match (folder.canonicalize(), outer.canonicalize()) {
        (Ok(folder), Ok(outer)) => folder.starts_with(outer),
        _ => false,
    }
}

fn configured(config: &Config) -> anyhow::Result<DataKey> {
    let file = config.data_key_file.as_deref();
    let file =
        file.context("data_key_file is not set; make a key with `avatar encryption new-key FILE`, and set it to that")?;
    Ok(DataKey::read(file)?)
}

fn change(config: &Config, from: Option<&DataKey>, to: Option<DataKey>, aside: &mut impl Write) -> anyhow::Result<()> {
    let mut failed = None;
    let mut told = |done: usize, of: usize| {
        if (done.is_multiple_of(1000) || done == of)
            && let Err(error) = writeln!(aside, "{done} of {of} recordings")
        {
            failed.get_or_insert(error);
        }
    };
    let converted = convert(&config.data_dir, from, to.as_ref(), &mut told)?;
    failed.map_or(Ok(()), Err)?;
    for path in &converted.damaged {
        writeln!(aside, "warning: {} is damaged, and is left as it was", path.display())?;
    }
    let how = if to.is_some() { "encrypted" } else { "readable" };
    let folder = DataFolder::with_key(&config.data_dir, to)?;
    if folder.database().is_file() {
        // Counts anew what recordings take.
        drop(History::open(folder)?);
    }
    writeln!(aside, "{} is {how} now; {} files were changed", config.data_dir.display(), converted.changed)?;
    Ok(())
}
