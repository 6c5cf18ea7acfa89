//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use age::stream::StreamWriter;

use super::DataKey;

/// A file that is being written, encrypted on the way if there is a key.
pub enum Whole {
    Readable(BufWriter<File>),
    Sealed(Box<StreamWriter<BufWriter<File>>>),
}

/// Writes beside the final name, syncs, renames: whatever happens, the file is whole, or the one of that name is as it was. Gives the
/// length it has on the disk. What a killed process leaves ends in `.partial`.
pub fn write(path: &Path, key: Option<&DataKey>, fill: impl FnOnce(&mut Whole) -> io::Result<()>) -> io::Result<u64> {
    let partial = path.with_extension(match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) => format!("{extension}.partial"),
        None => "partial".to_owned(),
    });
    let file = BufWriter::new(File::create(&partial)?);
    let mut whole = match key {
        Some(key) => Whole::Sealed(Box::new(key.seal(file)?)),
        None => Whole::Readable(file),
    };
    fill(&mut whole)?;
    let file = match whole {
        Whole::Readable(file) => file,
        Whole::Sealed(stream) => stream.finish()?,
    };
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let length = file.metadata()?.len();
    fs::rename(&partial, path)?;
    Ok(length)
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Readable(file) => file.write(bytes),
            Self::Sealed(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Readable(file) => file.flush(),
            Self::Sealed(file) => file.flush(),
        }
    }
}
