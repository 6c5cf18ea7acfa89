//! The commands, one file each.

pub mod call;
pub mod doctor;
pub mod encryption;
pub mod keys;
pub mod models;
pub mod say;
pub mod serve;
pub mod transcribe;
pub mod voices;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand};

use self::encryption::EncryptionCommand;
use self::keys::KeysCommand;
use self::models::{ModelsCommand, Terminal};
use crate::config::ConfigFlags;

/// A self-hosted, real-time voice server: talk to a language model on one machine you own.
#[derive(Debug, Parser)]
#[command(name = "avatar", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    flags: ConfigFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve,
    /// Check each thing that the server needs, and say how to mend what is missing
    Doctor(DoctorOptions),
    /// List, fetch and verify models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Make, list and revoke keys for others
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Encrypt the data folder, change its key, or decrypt it; not while the server runs
    #[command(subcommand)]
    Encryption(EncryptionCommand),
    /// List, add and delete voices of a running server
    Voices(voices::Options),
    /// Write down what is said in a recording
    Transcribe(transcribe::Options),
    /// Say a text into a recording
    Say(say::Options),
    /// Call a running server with recordings as the microphone, and measure what comes back
    Call(call::Options),
}

#[derive(Debug, Args)]
struct DoctorOptions {
    /// For programs
    #[arg(long)]
    json: bool,
    /// Mend what is wrong with the history; not while the server runs
    #[arg(long)]
    repair: bool,
}

impl Cli {
    /// Does what was asked. Errors are for the person at the terminal.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let flags = self.flags;
        match self.command {
            Command::Serve => serve::run(&flags.load()?),
            Command::Doctor(DoctorOptions { json, repair }) => {
                let config = flags.load();
                if repair && let Ok(config) = &config {
                    // Standard output is for the findings alone.
                    writeln!(io::stderr(), "{}", doctor::repair(config, SystemTime::now())?)?;
                }
                Ok(doctor::run(config, json, &mut io::stdout().lock())?)
            }
            Command::Models(command) => {
                let (mut out, mut progress) = (io::stdout().lock(), io::stderr().lock());
                let interactive = progress.is_terminal();
                let terminal = Terminal { out: &mut out, progress: &mut progress, interactive };
                Ok(models::run(&command, &flags.load()?, terminal)?)
            }
            Command::Keys(command) => {
                let (mut out, mut aside) = (io::stdout().lock(), io::stderr().lock());
                keys::run(&command, &flags.load()?, &mut out, &mut aside)
            }
            Command::Encryption(command) => encryption::run(&command, &flags.load()?, &mut io::stderr().lock()),
            Command::Transcribe(options) => transcribe::run(&flags.load()?, &options),
            Command::Say(options) => say::run(&flags.load()?, &options),
            Command::Voices(options) => voices::run(&options),
            Command::Call(options) => call::run(&options),
        }
    }
}

/// Prints an error and what caused it.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(&format!("\n  caused by: {cause}"));
        }
    }
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// Prints a line for the person (or program) that asked.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A runtime for commands that need one for a moment.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
