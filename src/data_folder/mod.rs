//! Where everything that is kept lies, and how: readable by whoever may read the disk, or encrypted under a key that lies elsewhere.
//!
//! Encrypted, the database is one of SQLCipher, and each recording, sample and computed voice is an age file
//! (<https://age-encryption.org/v1>), which the `age` program reads too: `age --decrypt --identity KEY FILE`. A file says by its first
//! bytes which it is, so that a folder can be converted file by file ([`convert`]) and what a stopped conversion left is still read. The
//! file `encrypted-to` names the key's public half: a folder is never opened with another key, or without one, as if it were damaged.

pub mod convert;
mod files;
mod key;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::stream::StreamReader;
use rusqlite::{Connection, OpenFlags};

pub use self::files::Whole;
pub use self::key::DataKey;

/// The database, in the folder.
pub const DATABASE: &str = "history.sqlite3";
/// Names the key that the folder is encrypted to.
const MARKER: &str = "encrypted-to";
/// How a readable database begins.
const READABLE: &[u8] = b"SQLite format 3\0";
/// How an encrypted file begins.
const SEALED: &[u8] = b"age-encryption.org/v1\n";
/// Pages of an encrypted database that a connection keeps decrypted, KiB.
const PAGES_KIB: i64 = 16 * 1024;

/// Why a folder is not opened with this key, or without one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file {} cannot be read: {source}; make one with `avatar encryption new-key FILE`", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the key file {} has no line that begins with AGE-SECRET-KEY-1; make one with `avatar encryption new-key FILE`", path.display())]
    NotAKey { path: PathBuf },
    #[error("the key file {} may be read by others; run `chmod 600` on it", path.display())]
    Exposed { path: PathBuf },
    #[error("the key file {} cannot be written: {source}; choose another place, or remove it if nothing is encrypted with it", path.display())]
    NotWritten { path: PathBuf, source: io::Error },
    #[error("{} is encrypted to {wanted}; set data_key_file to the file with its key", folder.display())]
    Missing { folder: PathBuf, wanted: String },
    #[error("{} is encrypted to {wanted}, and the key in data_key_file is that of {found}; give the right one", folder.display())]
    Wrong { folder: PathBuf, wanted: String, found: String },
    #[error("{} is not encrypted: stop the server and run `avatar encryption on`, or leave out data_key_file", folder.display())]
    NotEncrypted { folder: PathBuf },
    #[error("{} was being converted when that was stopped; run `avatar encryption` again as before", folder.display())]
    HalfWay { folder: PathBuf },
    #[error("{} cannot be read: {source}; mend its permissions", path.display())]
    Folder { path: PathBuf, source: io::Error },
}

/// A data folder and its key, if it has one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    key: Option<Arc<DataKey>>,
}

/// A folder that is not encrypted.
impl From<&Path> for DataFolder {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), key: None }
    }
}

impl From<&PathBuf> for DataFolder {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<&DataFolder> for DataFolder {
    fn from(folder: &DataFolder) -> Self {
        folder.clone()
    }
}

/// A stored file, decrypted as it is read.
pub enum Stored {
    Readable(BufReader<File>),
    Sealed(Box<StreamReader<BufReader<File>>>),
}

impl DataFolder {
    /// The folder, which need not be there yet, with the key in `key_file`; changes nothing.
    pub fn open(path: &Path, key_file: Option<&Path>) -> Result<Self, KeyError> {
        let key = key_file.map(DataKey::read).transpose()?;
        Self::with_key(path, key)
    }

    /// The same with a key that has been read.
    pub fn with_key(path: &Path, key: Option<DataKey>) -> Result<Self, KeyError> {
        let folder = || path.to_owned();
        let (marker, database) = (marker(path)?, database_kind(path)?);
        match (&key, marker) {
            (_, Some(Marker { is_converting: true, .. })) => return Err(KeyError::HalfWay { folder: folder() }),
            (None, Some(Marker { wanted, .. })) => return Err(KeyError::Missing { folder: folder(), wanted }),
            (Some(key), Some(Marker { wanted, .. })) if key.recipient() != wanted => {
                return Err(KeyError::Wrong { folder: folder(), wanted, found: key.recipient() });
            }
            (Some(_), None) if database == Some(Kind::Readable) => {
                return Err(KeyError::NotEncrypted { folder: folder() });
            }
            _ => {}
        }
        Ok(Self { path: folder(), key: key.map(Arc::new) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a key.
    pub fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Names the key in the folder, before anything is written with it.
    pub fn claim(&self) -> io::Result<()> {
        match &self.key {
            Some(key) if !self.path.join(MARKER).is_file() => mark(&self.path, key, false),
            _ => Ok(()),
        }
    }

    /// A connection to a database of the folder, unlocked.
    pub fn connect(&self, database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(database, flags)?;
        if let Some(key) = &self.key {
            key.unlock(&connection)?;
            connection.pragma_update(None, "cache_size", -PAGES_KIB)?;
        }
        Ok(connection)
    }

    /// Writes a file that is whole or not there, and gives the bytes it takes on the disk; see [`files::write`].
    pub fn write(&self, path: &Path, fill: impl FnOnce(&mut Whole) -> io::Result<()>) -> io::Result<u64> {
        files::write(path, self.key.as_deref(), fill)
    }

    /// Opens a stored file, encrypted or not.
    pub fn read(&self, path: &Path) -> io::Result<Stored> {
        open(path, self.key.as_deref())
    }

    /// The whole of a stored file, unless it is longer than `most` bytes.
    pub fn read_at_most(&self, path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        self.read(path)?.take(most as u64 + 1).read_to_end(&mut content)?;
        Ok(Some(content).filter(|content| content.len() <= most))
    }
}

/// Keeps a database for this connection alone, as long as it is open; `DatabaseBusy` while somebody else has it.
pub fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;")
}

/// Opens a stored file, with the key if it is encrypted.
fn open(path: &Path, key: Option<&DataKey>) -> io::Result<Stored> {
    let mut file = BufReader::new(File::open(path)?);
    if !is_sealed(&mut file)? {
        return Ok(Stored::Readable(file));
    }
    let sealed = age::Decryptor::new_buffered(file).map_err(io::Error::other)?;
    let opened = sealed.decrypt(key.map(DataKey::identity).into_iter()).map_err(io::Error::other)?;
    Ok(Stored::Sealed(Box::new(opened)))
}

/// Whether a file is encrypted; leaves it at its beginning.
fn is_sealed(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut begin = Vec::with_capacity(SEALED.len());
    file.by_ref().take(SEALED.len() as u64).read_to_end(&mut begin)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(begin == SEALED)
}

/// Whether a stored file is encrypted, by whatever key.
pub fn is_sealed_file(path: &Path) -> io::Result<bool> {
    is_sealed(&mut File::open(path)?)
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Readable(file) => file.read(buffer),
            Self::Sealed(file) => file.read(buffer),
        }
    }
}

impl Seek for Stored {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Readable(file) => file.seek(to),
            Self::Sealed(file) => file.seek(to),
        }
    }
}

/// How a database lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Readable,
    /// Encrypted, or damaged in its first bytes.
    Opaque,
}

/// `None` if there is no database, or nothing in it yet.
fn database_kind(folder: &Path) -> Result<Option<Kind>, KeyError> {
    let path = folder.join(DATABASE);
    let mut begin = Vec::with_capacity(READABLE.len());
    match File::open(&path).and_then(|file| file.take(READABLE.len() as u64).read_to_end(&mut begin)) {
        Ok(0) => Ok(None),
        Ok(_) if begin == READABLE => Ok(Some(Kind::Readable)),
        Ok(_) => Ok(Some(Kind::Opaque)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Said by whoever opens it, in better words.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(source) => Err(KeyError::Folder { path, source }),
    }
}

/// What a folder says of the key it is encrypted to.
struct Marker {
    /// The key's public half.
    wanted: String,
    /// A conversion has begun, and is not over.
    is_converting: bool,
}

/// Its second line while the folder is converted.
const CONVERTING: &str = "converting";

fn marker(folder: &Path) -> Result<Option<Marker>, KeyError> {
    let path = folder.join(MARKER);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let mut lines = text.lines().map(str::trim);
            let wanted = lines.next().unwrap_or_default().to_owned();
            Ok(Some(Marker { wanted, is_converting: lines.next() == Some(CONVERTING) }))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(KeyError::Folder { path, source }),
    }
}

fn mark(folder: &Path, key: &DataKey, is_converting: bool) -> io::Result<()> {
    let converting = if is_converting { CONVERTING } else { "" };
    let text = format!("{}\n{converting}", key.recipient());
    files::write(&folder.join(MARKER), None, |out| out.write_all(text.as_bytes())).map(drop)
}
