//! `avatar doctor`: looks at each thing the server needs, and says the fix for what is wrong.
//!
//! Starts no engine and changes nothing but a probe file in the data folder, unless it is asked to repair the history. A warning is
//! something the server runs without; a failure is something it does not.

mod engines;
mod history;
mod machine;
mod network;
mod remote;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use models::catalogue::{Catalogue, Kind, Store};
use models::memory::Plan;
use serde::Serialize;
use time::OffsetDateTime;

use self::engines::Chosen;
pub use self::history::repair;
use crate::config::{Config, ConfigError};
use crate::placing;

/// Of the process itself, beside its models, bytes.
const OWN_MEMORY: u64 = 150 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; none when all is well.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything and writes one line each; code 1 if something fails. A configuration that cannot be read is one of the
/// things found, and the rest is then looked at with the defaults.
pub fn run(config: Result<Config, ConfigError>, json: bool, out: &mut dyn Write) -> io::Result<ExitCode> {
    let (config, first) = match config {
        Ok(config) => {
            let found = format!("listen {}, data in {}", config.listen, config.data_dir.display());
            (config, Check::ok("configuration", found))
        }
        Err(error) => {
            let message = error.to_string();
            let (found, fix) = message.split_once("\nhint: ").unwrap_or((&message, "see docs/configuration.md"));
            (Config::default(), Check::fail("configuration", found, fix))
        }
    };
    let Examined { checks, plan } = examine(&config);
    let checks: Vec<Check> = std::iter::once(first).chain(checks).collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &checks)?;
        writeln!(out)?;
    } else {
        write_lines(&checks, out)?;
        writeln!(out)?;
        write!(out, "{plan}")?;
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write_lines(checks: &[Check], out: &mut dyn Write) -> io::Result<()> {
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let fix = check.fix.as_ref().map_or_else(String::new, |fix| format!(" -> {fix}"));
        // One line each, whatever the system's own messages look like.
        let found = check.found.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(out, "{word}  {:<16} {found}{fix}", check.name)?;
    }
    Ok(())
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    pub checks: Vec<Check>,
    /// What would go where, as at start.
    pub plan: Plan,
}

/// Everything but the configuration itself.
pub fn examine(config: &Config) -> Examined {
    let store = Store::new(config.models_dir());
    let mut checks = Vec::new();
    let mut plan = Plan::default();
    match Catalogue::builtin() {
        Ok(catalogue) => {
            plan = placing::for_this_machine(config, &catalogue, &store);
            let engines = Chosen::new(config, &catalogue, &store, &plan);
            checks.extend(engines.checks());
            checks.extend(remote::servers(config));
            checks.push(engines::onnx_runtime(&catalogue, &store, &engines));
            checks.extend(engines::voices(&catalogue, &store));
            let unplanned = engines.models().filter(|model| matches!(model.kind, Kind::Vad | Kind::Turn));
            let others = OWN_MEMORY + unplanned.map(|model| model.memory_mib << 20).sum::<u64>();
            checks.push(machine::memory(&plan, others));
        }
        Err(error) => checks.push(Check::fail("catalogue", error.to_string(), "install Avatar again")),
    }
    checks.push(machine::data_folder(&config.data_dir));
    checks.push(machine::disk(&config.data_dir));
    checks.push(history::history(config, SystemTime::now()));
    checks.push(network::tcp_port(config.listen));
    checks.push(network::udp_port(config.media_address(config.listen)));
    checks.push(network::certificate(config, OffsetDateTime::now_utc()));
    checks.push(machine::cpu());
    checks.push(machine::gpu());
    Examined { checks, plan }
}
