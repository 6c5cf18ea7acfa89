//! `avatar models list | pull | verify`.

use std::io::{self, Write};
use std::process::ExitCode;

use models::catalogue::pull::Progress;
use models::catalogue::store::Trust;
use models::catalogue::{
    Catalogue, CatalogueError, Kind, Model, PullError, PullOptions, State, Store, hub::Hub, pull, store::StoreError,
};
use serde_json::json;

use crate::config::Config;

#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("say which models: ids, --starter, or --all-for KIND; `avatar models list` shows them")]
    NothingNamed,
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

#[derive(Debug, Clone, clap::Subcommand)]
pub enum ModelsCommand {
    /// Show every model, and how it stands on this machine
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Fetch models, and what they need; resumes, verifies, and does nothing for what is there
    Pull {
        /// Which, by id
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// What `avatar serve` needs to talk
        #[arg(long)]
        starter: bool,
        /// All of a kind: vad, turn, stt, llm, tts
        #[arg(long, value_name = "KIND")]
        all_for: Option<Kind>,
    },
    /// Hash the files again; all that are there, or the named ones
    Verify {
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Where the command writes.
pub struct Terminal<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Progress.
    pub progress: &'a mut dyn Write,
    /// Whether progress is seen by a person, who likes a bar, or goes to a log, which likes few lines.
    pub interactive: bool,
}

/// Runs the command; fails with code 1 when a file is corrupt.
pub fn run(command: &ModelsCommand, config: &Config, terminal: Terminal<'_>) -> Result<ExitCode, ModelsError> {
    let catalogue = Catalogue::builtin()?;
    let store = Store::new(config.models_dir());
    match command {
        ModelsCommand::List { json } => list(&catalogue, &store, *json, terminal.out)?,
        ModelsCommand::Pull { ids, starter, all_for } => {
            let chosen = chosen(&catalogue, ids, *starter, *all_for)?;
            let hub = Hub { base: config.hub.clone(), ..Hub::default() };
            let options = PullOptions { hub, ..PullOptions::default() };
            let mut meter = Meter { terminal, drawn: None };
            let outcome = pull(&catalogue, &store, &chosen, &options, &mut |progress| meter.show(&progress));
            meter.clear();
            outcome?;
        }
        ModelsCommand::Verify { ids } => return verify(&catalogue, &store, ids, terminal.out),
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(
    catalogue: &'a Catalogue,
    ids: &'a [String],
    starter: bool,
    all_for: Option<Kind>,
) -> Result<Vec<&'a str>, ModelsError> {
    let mut chosen: Vec<&str> = ids.iter().map(String::as_str).collect();
    if starter {
        chosen.extend(catalogue.starters().map(|model| model.id.as_str()));
    }
    if let Some(kind) = all_for {
        // What the system's packages bring is not ours to fetch.
        let ours = catalogue.of_kind(kind).into_iter().filter(|model| model.system_package().is_none());
        chosen.extend(ours.map(|model| model.id.as_str()));
    }
    if chosen.is_empty() { Err(ModelsError::NothingNamed) } else { Ok(chosen) }
}

fn list(catalogue: &Catalogue, store: &Store, as_json: bool, out: &mut dyn Write) -> Result<(), ModelsError> {
    if as_json {
        let all: Vec<_> = catalogue.models().iter().map(|model| describe(model, &store.state(model))).collect();
        serde_json::to_writer_pretty(&mut *out, &all).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{:<28} {:<14} {:<9} {:>9}  {:<24} SOURCE", "ID", "KIND", "STATE", "SIZE", "LICENCE")?;
    for kind in Kind::ALL {
        for model in catalogue.of_kind(kind) {
            let state = store.state(model);
            let sources: Vec<_> = model.sources.iter().map(ToString::to_string).collect();
            let size = if model.files.is_empty() { "-".to_owned() } else { megabytes(model.size()) };
            let starter = if model.starter { " (starter)" } else { "" };
            writeln!(
                out,
                "{:<28} {kind:<14} {:<9} {size:>9}  {:<24} {}{starter}",
                model.id,
                state.word(),
                shortened(&model.licence, 24),
                sources.join(", then "),
            )?;
            match &state {
                State::Corrupt { file, reason } => {
                    writeln!(out, "    {file}: {reason}; run `avatar models pull {}`", model.id)?;
                }
                State::Present { verified: false } => {
                    writeln!(out, "    not verified; run `avatar models verify {}`", model.id)?;
                }
                State::Absent if model.system_package().is_some() => {
                    let command = model.system_package().map(|package| package.install_command());
                    writeln!(out, "    install it with `{}`", command.unwrap_or_default())?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn describe(model: &Model, state: &State) -> serde_json::Value {
    let (verified, problem) = match state {
        State::Present { verified } => (*verified, None),
        State::Corrupt { file, reason } => (false, Some(format!("{file}: {reason}"))),
        State::Partial { .. } | State::Absent => (false, None),
    };
    json!({
        "id": model.id,
        "kind": model.kind,
        "name": model.name,
        "state": state.word(),
        "verified": verified,
        "problem": problem,
        "size": model.size(),
        "licence": model.licence,
        "languages": model.languages,
        "quality": model.quality,
        "starter": model.starter,
        "memory_mib": model.memory_mib,
        "needs": model.needs,
        "sources": model.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "install": model.system_package().map(|package| package.install_command()),
    })
}

fn verify(catalogue: &Catalogue, store: &Store, ids: &[String], out: &mut dyn Write) -> Result<ExitCode, ModelsError> {
    let named = ids.iter().map(|id| catalogue.get(id)).collect::<Result<Vec<_>, _>>()?;
    let all = catalogue.models().iter().filter(|model| store.state(model) != State::Absent);
    let models: Vec<&Model> = if named.is_empty() { all.collect() } else { named };
    let lock = store.wait_for_lock()?;
    let mut sound = true;
    for model in models {
        let (word, note) = match store.verify(model, &lock)? {
            State::Present { verified: true } => ("ok", String::new()),
            State::Present { verified: false } => {
                ("unknown", format!("nothing to compare with yet; run `avatar models pull {}`", model.id))
            }
            State::Corrupt { file, reason } => {
                sound = false;
                ("corrupt", format!("{file}: {reason}; run `avatar models pull {}`", model.id))
            }
            State::Partial { have, of } => {
                sound = false;
                let (have, of) = (megabytes(have), megabytes(of));
                ("partial", format!("{have} of {of}; run `avatar models pull {}`", model.id))
            }
            State::Absent => {
                sound = false;
                ("absent", String::new())
            }
        };
        writeln!(out, "{}", format!("{:<28} {word:<8} {note}", model.id).trim_end())?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows progress: a bar that is redrawn for a person, a line each tenth for a log.
struct Meter<'a> {
    terminal: Terminal<'a>,
    /// What was last drawn of which item: thousandths or tenths.
    drawn: Option<(String, u64)>,
}

impl Meter<'_> {
    fn show(&mut self, progress: &Progress<'_>) {
        // A terminal that is gone does not stop a download.
        let _ = match progress {
            Progress::Bytes { model, item, source, done, of } => self.bytes(model, item, source, *done, *of),
            Progress::WaitingForLock => self.line("another pull is working in this folder; waiting for it"),
            Progress::AlreadyPresent { model } => self.line(&format!("{model}: present")),
            Progress::Checking { model, file } => self.line(&format!("{model}: checking {file}, which is there")),
            Progress::Discarded { model, file } => {
                self.line(&format!("{model}: {file} is not what it should be; fetching it again"))
            }
            Progress::Retrying { model, attempt, after, reason } => {
                self.line(&format!("{model}: {reason}; attempt {attempt} in {:.1} s", after.as_secs_f64()))
            }
            Progress::SourceFailed { model, source, reason } => {
                self.line(&format!("{model}: not from {source}: {reason}"))
            }
            Progress::Fetched { model, file, source, trust } => {
                let note = match trust {
                    Trust::Catalogue => "sha256 as in the catalogue",
                    Trust::Hub => "sha256 as the hub states it, recorded in models.lock",
                    Trust::FirstUse => "the source states no sha256: believed this once and recorded in models.lock",
                };
                self.line(&format!("{model}: {file} from {source} ({note})"))
            }
        };
    }

    fn bytes(&mut self, model: &str, item: &str, source: &str, done: u64, of: u64) -> io::Result<()> {
        let steps = if self.terminal.interactive { 1000 } else { 10 };
        let step = done.saturating_mul(steps).checked_div(of).unwrap_or(steps);
        let key = (format!("{model}/{item}"), step);
        if self.drawn.as_ref() == Some(&key) {
            return Ok(());
        }
        let begun = self.drawn.as_ref().is_some_and(|(drawn, _)| *drawn == key.0);
        self.drawn = Some(key);
        let (have, all) = (megabytes(done), megabytes(of));
        if self.terminal.interactive {
            let filled = usize::try_from(step * 24 / steps).unwrap_or(24).min(24);
            let bar: String = "█".repeat(filled) + &"░".repeat(24 - filled);
            write!(self.terminal.progress, "\r\x1b[K{model} {bar} {have} of {all}  {item}")?;
        } else if begun {
            writeln!(self.terminal.progress, "{model}: {item} {:>3} % ({have} of {all})", step * 10)?;
        } else {
            writeln!(self.terminal.progress, "{model}: {item} ({all}) from {source}")?;
        }
        self.terminal.progress.flush()
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.clear();
        writeln!(self.terminal.progress, "{text}")
    }

    /// Takes the bar away.
    fn clear(&mut self) {
        if self.drawn.take().is_some() && self.terminal.interactive {
            let _ = write!(self.terminal.progress, "\r\x1b[K");
            let _ = self.terminal.progress.flush();
        }
    }
}

/// Decimal, as hubs and disks count.
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        1_000_000..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    use super::*;

    fn run_in(dir: &Path, command: ModelsCommand) -> (Result<ExitCode, ModelsError>, String, String) {
        let config = Config { models_dir: Some(dir.to_owned()), ..Config::default() };
        let (mut out, mut progress) = (Vec::new(), Vec::new());
        let terminal = Terminal { out: &mut out, progress: &mut progress, interactive: false };
        let code = run(&command, &config, terminal);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(progress).unwrap())
    }

    #[test]
    fn list_shows_every_model_with_its_state_for_people_and_programs() {
        let dir = tempfile::tempdir().unwrap();
        let (code, text, _) = run_in(dir.path(), ModelsCommand::List { json: false });
        code.unwrap();
        let row = text.lines().find(|line| line.starts_with("silero-vad")).unwrap();
        for part in ["vad", "absent", "5 MB", "MIT", "wheel silero-vad 6.2.3", "(starter)"] {
            assert!(row.contains(part), "no {part} in {row}");
        }
        let (code, text, _) = run_in(dir.path(), ModelsCommand::List { json: true });
        code.unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = all.as_array().unwrap().iter().find(|entry| entry["id"] == "whisper-base-q8_0").unwrap();
        assert_eq!((entry["state"].as_str(), entry["kind"].as_str()), (Some("absent"), Some("stt")));
    }

    #[test]
    fn verify_finds_a_damaged_file_and_says_how_to_mend_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("smart-turn-v3");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("smart-turn-v3.2-cpu.onnx"), vec![0; 8_679_182]).unwrap();
        let (code, text, _) = run_in(dir.path(), ModelsCommand::Verify { ids: vec![] });
        assert_eq!(format!("{:?}", code.unwrap()), format!("{:?}", ExitCode::FAILURE));
        assert!(text.contains("corrupt") && text.contains("avatar models pull smart-turn-v3"), "{text}");
    }

    #[test]
    fn a_pull_of_nothing_or_of_an_unknown_model_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let pull = |ids: &[&str]| ModelsCommand::Pull {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            starter: false,
            all_for: None,
        };
        let (code, ..) = run_in(dir.path(), pull(&[]));
        assert!(code.unwrap_err().to_string().contains("--starter"));
        let (code, ..) = run_in(dir.path(), pull(&["silero"]));
        assert!(code.unwrap_err().to_string().contains("did you mean 'silero-vad'"));
    }

    #[test]
    fn a_log_gets_a_line_each_tenth_and_a_person_gets_a_bar() {
        let shown = |interactive| {
            let (mut out, mut progress) = (Vec::new(), Vec::new());
            let mut meter =
                Meter { terminal: Terminal { out: &mut out, progress: &mut progress, interactive }, drawn: None };
            for done in (0..=100_000_000).step_by(100_000) {
                meter.show(&Progress::Bytes { model: "m", item: "f", source: "s", done, of: 100_000_000 });
            }
            meter.clear();
            String::from_utf8(progress).unwrap()
        };
        let log = shown(false);
        assert_eq!(log.lines().count(), 11, "{log}");
        assert!(log.ends_with("m: f 100 % (100 MB of 100 MB)\n"), "{log}");
        let bar = shown(true);
        assert!(!bar.contains('\n') && bar.contains("████████████░░░░░░░░░░░░ 50 MB of 100 MB"), "{bar}");
        assert!(bar.ends_with("\r\x1b[K"), "the bar stayed");
    }
}
