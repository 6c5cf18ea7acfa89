//! What was remembered: whether it is whole, and mending it.

use std::path::Path;
use std::time::SystemTime;

use super::Check;
use crate::config::Config;
use crate::history::HistoryError;
use crate::history::check::{self, Findings};

const REPAIR: &str = "stop the server and run `avatar doctor --repair`";

pub(super) fn history(dir: &Path, now: SystemTime) -> Check {
    match check::examine(dir, now) {
        Ok(None) => Check::ok("history", "none yet"),
        Ok(Some(found)) => told(&found),
        Err(error) => unreadable(&error),
    }
}

fn told(found: &Findings) -> Check {
    if found.is_sound() {
        let old = if found.is_old { ", of an older version; it is brought up to date at the next start" } else { "" };
        return Check::ok("history", format!("{} turns, {} recordings{old}", found.turns, found.recordings));
    }
    let counted = [
        (found.missing.len(), "recordings are missing"),
        (found.broken.len(), "recordings are damaged"),
        (found.orphans.len(), "recordings belong to no turn"),
        (found.partials.len(), "recordings are half written"),
        (found.unsearchable, "texts are out of step with the search"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let damage = found.damage.first().map(|line| format!("the database is damaged ({line})"));
    let wrong = damage.into_iter().chain(counted).collect::<Vec<_>>().join("; ");
    match found.damage.is_empty() {
        true => Check::warn("history", wrong, REPAIR),
        false => Check::fail("history", wrong, REPAIR),
    }
}

fn unreadable(error: &HistoryError) -> Check {
    match error {
        HistoryError::Open { path, source } => Check::fail(
            "history",
            format!("{} cannot be read: {source}", path.display()),
            format!("{REPAIR}; if that does not help, move it away and a new one is begun"),
        ),
        _ => Check::fail("history", error.to_string(), "see what it says"),
    }
}

/// Mends the history, and prints what was done to the person who asked.
pub fn repair(config: &Config, now: SystemTime) -> anyhow::Result<()> {
    let Some(before) = examined(config, now)? else {
        return Ok(crate::cli::print("There is no history to repair.")?);
    };
    if before.is_sound() && !before.is_old {
        return Ok(crate::cli::print("The history is whole.")?);
    }
    check::repair(&config.data_dir, now)?;
    Ok(crate::cli::print("The history has been repaired.")?)
}

/// A history that cannot even be opened is to be repaired too.
fn examined(config: &Config, now: SystemTime) -> Result<Option<Findings>, HistoryError> {
    match check::examine(&config.data_dir, now) {
        Err(HistoryError::Open { .. } | HistoryError::Read(_)) => {
            Ok(Some(Findings { damage: vec!["it cannot be opened".to_owned()], ..Findings::default() }))
        }
        found => found,
    }
}
