//! Models on disk: `<models dir>/<id>/<file>`, and `models.lock` beside them.
//!
//! The lock file records, for every file that was hashed, its sha256, size and modification time. A start compares size and time
//! only, so 200 MB of models cost no more than a few `stat` calls; [`Store::verify`] hashes again. For files whose hash the
//! catalogue does not pin, the record is also the pin: a later pull must get the same bytes.
//!
//! Changes are made under an advisory lock of the whole folder ([`Store::lock`]), so two pulls never write the same file.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Model, ModelFile, SystemPackage, library};

const LOCK_FILE: &str = "models.lock";
const MUTEX_FILE: &str = ".pull.lock";
/// What a file is called until it is whole and verified.
pub const PARTIAL: &str = "partial";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} cannot be read: {reason}; delete it and run `avatar models verify`", path.display())]
    Record { path: PathBuf, reason: String },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// How a model stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Absent,
    /// Some of it is there.
    Partial {
        have: u64,
        of: u64,
    },
    /// A file is there that is not what it should be.
    Corrupt {
        file: String,
        reason: String,
    },
    /// All there; `verified` when each file has been hashed since it last changed.
    Present {
        verified: bool,
    },
}

impl State {
    pub const fn is_present(&self) -> bool {
        matches!(self, Self::Present { .. })
    }

    /// One word, as `models list` shows it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Partial { .. } => "partial",
            Self::Corrupt { .. } => "corrupt",
            Self::Present { .. } => "present",
        }
    }
}

/// Why a recorded hash is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The catalogue pins it.
    Catalogue,
    /// The hub stated it before the bytes came.
    Hub,
    /// Nobody stated it: the size was right, and what came first is what must come again.
    FirstUse,
}

/// What is known of one file that was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub sha256: String,
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: u64,
    pub trust: Trust,
    /// The source it came from, with the hub's commit where it is known.
    pub origin: String,
    /// The file as it was at `modified` did not have this hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corrupt: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Records {
    #[serde(default)]
    models: BTreeMap<String, BTreeMap<String, Record>>,
}

/// The folder of models.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// Exclusive use of the folder; freed when dropped, or when the process ends.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

impl Store {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn folder(&self, model: &Model) -> PathBuf {
        self.dir.join(&model.id)
    }

    pub fn path(&self, model: &Model, file: &str) -> PathBuf {
        self.folder(model).join(file)
    }

    pub(super) fn partial_path(&self, model: &Model, file: &str) -> PathBuf {
        self.folder(model).join(format!("{file}.{PARTIAL}"))
    }

    /// Takes the folder for writing. `Ok(None)`: another process has it; call [`Self::wait_for_lock`].
    pub fn try_lock(&self) -> Result<Option<StoreLock>, StoreError> {
        let (file, path) = self.open_mutex()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(StoreLock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// The same, waiting for whoever has it.
    pub fn wait_for_lock(&self) -> Result<StoreLock, StoreError> {
        let (file, path) = self.open_mutex()?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(StoreLock(file))
    }

    fn open_mutex(&self) -> Result<(File, PathBuf), StoreError> {
        fs::create_dir_all(&self.dir).map_err(failed("make the folder", &self.dir))?;
        let path = self.dir.join(MUTEX_FILE);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        Ok((open.map_err(failed("open", &path))?, path))
    }

    /// How the model stands, without reading its files.
    pub fn state(&self, model: &Model) -> State {
        if let Some(package) = model.system_package() {
            return system_state(package);
        }
        // A lock file that cannot be read means that nothing is known to be verified; `verify` and `pull` report it.
        let records = self.records().unwrap_or_default();
        let (mut missing, mut have, mut all_verified) = (0_usize, 0_u64, true);
        for file in &model.files {
            let path = self.path(model, &file.name);
            let Ok(metadata) = fs::metadata(&path) else {
                missing += 1;
                have += fs::metadata(self.partial_path(model, &file.name)).map_or(0, |partial| partial.len());
                continue;
            };
            have += metadata.len();
            let record = records.of(model, file);
            let size = expected_size(file, record);
            if let Some(size) = size.filter(|size| *size != metadata.len()) {
                let reason = format!("it has {} bytes, not {size}", metadata.len());
                return State::Corrupt { file: file.name.clone(), reason };
            }
            if record.is_some_and(|record| record.corrupt && record.is_of(&metadata)) {
                return State::Corrupt { file: file.name.clone(), reason: "its sha256 is wrong".into() };
            }
            all_verified &= record.is_some_and(|record| record.describes(file, &metadata));
        }
        match (missing, have) {
            (0, _) => State::Present { verified: all_verified },
            (_, 0) => State::Absent,
            _ => State::Partial { have, of: model.size() },
        }
    }

    /// Hashes every file again and records what was found. The caller holds the lock.
    pub fn verify(&self, model: &Model, _lock: &StoreLock) -> Result<State, StoreError> {
        for file in &model.files {
            let path = self.path(model, &file.name);
            if !path.exists() {
                continue;
            }
            let found = sha256_of(&path).map_err(failed("read", &path))?;
            let records = self.records()?;
            let record = records.of(model, file);
            let pinned = file.sha256.as_deref().or(record.map(|record| record.sha256.as_str()));
            match pinned {
                Some(expected) if expected != found => {
                    let reason = format!("its sha256 is {found}, not {expected}");
                    self.note(model, file, expected, record, true)?;
                    return Ok(State::Corrupt { file: file.name.clone(), reason });
                }
                Some(_) => self.note(model, file, &found, record, false)?,
                // Put there by hand, of a model the catalogue does not pin: nothing to compare with until it is pulled.
                None => {}
            }
        }
        Ok(self.state(model))
    }

    /// The hash the file must have, if one is known: the catalogue's, else the one recorded at the first pull.
    pub(super) fn pin(&self, model: &Model, file: &ModelFile) -> Result<Option<(String, Trust)>, StoreError> {
        if let Some(pinned) = &file.sha256 {
            return Ok(Some((pinned.clone(), Trust::Catalogue)));
        }
        Ok(self.records()?.of(model, file).map(|record| (record.sha256.clone(), record.trust)))
    }

    /// Present, whole, and hashed since it last changed.
    pub(super) fn is_verified(&self, model: &Model, file: &ModelFile) -> Result<bool, StoreError> {
        let Ok(metadata) = fs::metadata(self.path(model, &file.name)) else { return Ok(false) };
        Ok(self.records()?.of(model, file).is_some_and(|record| record.describes(file, &metadata)))
    }

    /// Gives a verified partial file its name, and records it.
    pub(super) fn accept(
        &self,
        model: &Model,
        file: &ModelFile,
        sha256: String,
        trust: Trust,
        origin: String,
    ) -> Result<(), StoreError> {
        let path = self.path(model, &file.name);
        fs::rename(self.partial_path(model, &file.name), &path).map_err(failed("put in place", &path))?;
        self.record(model, file, sha256, trust, origin)
    }

    /// Records a file that is in place and has been hashed.
    pub(super) fn record(
        &self,
        model: &Model,
        file: &ModelFile,
        sha256: String,
        trust: Trust,
        origin: String,
    ) -> Result<(), StoreError> {
        self.write_record(model, file, Record { sha256, size: 0, modified: 0, trust, origin, corrupt: false })
    }

    /// The same after [`Self::verify`]: the file must have `sha256`, and has not if it is `corrupt`.
    fn note(
        &self,
        model: &Model,
        file: &ModelFile,
        sha256: &str,
        before: Option<&Record>,
        corrupt: bool,
    ) -> Result<(), StoreError> {
        let (trust, origin) = before.map_or_else(
            || (Trust::Catalogue, "found in place".to_owned()),
            |record| (record.trust, record.origin.clone()),
        );
        self.write_record(
            model,
            file,
            Record { sha256: sha256.to_owned(), size: 0, modified: 0, trust, origin, corrupt },
        )
    }

    /// Writes `record` with the file's own size and time.
    fn write_record(&self, model: &Model, file: &ModelFile, record: Record) -> Result<(), StoreError> {
        let path = self.path(model, &file.name);
        let metadata = fs::metadata(&path).map_err(failed("look at", &path))?;
        let record = Record { size: metadata.len(), modified: modified(&metadata), ..record };
        let mut records = self.records()?;
        records.models.entry(model.id.clone()).or_default().insert(file.name.clone(), record);
        self.write_records(&records)
    }

    fn records(&self) -> Result<Records, StoreError> {
        let path = self.dir.join(LOCK_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                toml::from_str(&text).map_err(|error| StoreError::Record { path, reason: error.message().to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Records::default()),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    fn write_records(&self, records: &Records) -> Result<(), StoreError> {
        let path = self.dir.join(LOCK_FILE);
        let text = toml::to_string_pretty(records)
            .map_err(|error| StoreError::Record { path: path.clone(), reason: error.to_string() })?;
        let fresh = self.dir.join(format!(".{LOCK_FILE}.new"));
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(b"# What `avatar models` fetched and hashed. Made by it; edit nothing.\n\n")?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(failed("write", &path))
    }
}

impl Records {
    fn of(&self, model: &Model, file: &ModelFile) -> Option<&Record> {
        self.models.get(&model.id)?.get(&file.name)
    }
}

impl Record {
    /// Was made of the file as it now is.
    fn is_of(&self, metadata: &Metadata) -> bool {
        self.size == metadata.len() && self.modified == modified(metadata)
    }

    /// The file as it now is was hashed, and right.
    fn describes(&self, file: &ModelFile, metadata: &Metadata) -> bool {
        self.is_of(metadata) && !self.corrupt && file.sha256.as_ref().is_none_or(|pinned| *pinned == self.sha256)
    }
}

/// Bytes the file must have, where that is known.
fn expected_size(file: &ModelFile, record: Option<&Record>) -> Option<u64> {
    if file.sha256.is_some() { Some(file.size) } else { record.map(|record| record.size) }
}

fn modified(metadata: &Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    // Until the year 2554; TOML has signed integers, which reach 2262.
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

/// sha256 of a file, as lower-case hex.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    read_into(&mut hasher, path)?;
    Ok(hex(&hasher.finalize()))
}

/// Feeds a file to `hasher`; gives its length.
pub(super) fn read_into(hasher: &mut Sha256, path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(length) };
        hasher.update(bytes);
        length += bytes.len() as u64;
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn system_state(package: &SystemPackage) -> State {
    let there = package.programs.iter().all(|program| on_path(program).is_some())
        && package.paths.iter().all(|path| Path::new(path).exists())
        && package.libraries.iter().all(|name| library::probe(name, None).is_ok());
    if there { State::Present { verified: true } } else { State::Absent }
}

/// Where a program lies on the search path.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests;
