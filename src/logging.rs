//! Logs on standard error. Transcripts, keys and addresses of callers are never given to it.

use std::io::IsTerminal;

use signaling::peer::QUIET_TARGETS;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging as configured.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&log.level)?;
    for quiet in QUIET_TARGETS {
        filter = filter.add_directive(quiet.parse()?);
    }
    // Colours are for people; in a file they are litter.
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colours);
    let started = match log.format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error))
}
