//! What was remembered: whether it is whole, and mending it.

use std::time::SystemTime;

use super::Check;
use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::history::HistoryError;
use crate::history::check::{self, Findings};

const REPAIR: &str = "stop the server and run `avatar doctor --repair`";

pub(super) fn history(config: &Config, now: SystemTime) -> Check {
    let folder = match config.data_folder() {
        Ok(folder) => folder,
        Err(error) => return Check::fail("history", error.to_string(), "see what it says"),
    };
    let how = if folder.is_encrypted() { ", encrypted" } else { "" };
    match check::examine(folder, now) {
        Ok(None) => Check::ok("history", format!("none yet{how}")),
        Ok(Some(found)) => told(&found, how),
        Err(error) => unreadable(&error),
    }
}

fn told(found: &Findings, how: &str) -> Check {
    if found.is_sound() {
        let old = if found.is_old { ", of an older version; it is brought up to date at the next start" } else { "" };
        return Check::ok("history", format!("{} turns, {} recordings{how}{old}", found.turns, found.recordings));
    }
    match found.damage.is_empty() {
        true => Check::warn("history", in_words(found), REPAIR),
        false => Check::fail("history", in_words(found), REPAIR),
    }
}

/// What is wrong.
fn in_words(found: &Findings) -> String {
    let counted = [
        (found.missing.len(), "recordings are missing"),
        (found.broken.len(), "recordings are damaged"),
        (found.orphans.len(), "recordings belong to no turn"),
        (found.partials.len(), "recordings are half written"),
        (found.unsearchable, "texts are out of step with the search"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let damage = found.damage.first().map(|line| format!("the database is damaged ({line})"));
    damage.into_iter().chain(counted).collect::<Vec<_>>().join("; ")
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

/// Mends the history; gives what is to be told of it.
pub fn repair(config: &Config, now: SystemTime) -> anyhow::Result<String> {
    // Without its key a history looks damaged, and is not.
    let folder = config.data_folder()?;
    let Some(before) = examined(&folder, now)? else { return Ok("there is no history to repair".to_owned()) };
    if before.is_sound() && !before.is_old {
        return Ok("the history is whole".to_owned());
    }
    let after = check::repair(&folder, now)?;
    match after.is_sound() {
        true if before.is_sound() => Ok("the history has been brought up to date".to_owned()),
        true => Ok(format!("the history has been repaired: {}", in_words(&before))),
        false => Ok(format!("the history is still not whole: {}", in_words(&after))),
    }
}

/// A history that cannot even be opened is to be repaired too.
fn examined(folder: &DataFolder, now: SystemTime) -> Result<Option<Findings>, HistoryError> {
    match check::examine(folder, now) {
        Err(HistoryError::Open { .. } | HistoryError::Read(_)) => {
            Ok(Some(Findings { damage: vec!["it cannot be opened".to_owned()], ..Findings::default() }))
        }
        found => found,
    }
}
