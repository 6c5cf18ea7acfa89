//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes beside the final name, syncs, renames: whatever happens, the file is whole, or the one of that name is as it was. Gives its
/// length. What a killed process leaves ends in `.partial`.
pub fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<u64> {
    let partial = path.with_extension(match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) => format!("{extension}.partial"),
        None => "partial".to_owned(),
    });
    let mut file = BufWriter::new(File::create(&partial)?);
    fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    let length = file.get_ref().metadata()?.len();
    fs::rename(&partial, path)?;
    Ok(length)
}
