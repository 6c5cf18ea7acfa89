//! The files of profiles: written whole or not at all, and removed when no row names them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use audio::ogg::{OggError, OggOpusWriter};
use audio::opus::EncoderSettings;
use audio::pcm::Pcm;

use super::{ID_PREFIX, VoiceError};
use crate::data_folder::{DataFolder, Whole};

/// For listening to what a voice was made of: above what a call needs.
const SAMPLE_BITRATE: u32 = 64_000;
/// The largest file of a computed voice that is read. Those of thirty seconds have 19 MB.
const LARGEST_VOICE: usize = 64 << 20;

pub(super) struct Files {
    data: DataFolder,
    folder: PathBuf,
}

impl Files {
    pub fn open(data: &DataFolder) -> io::Result<Self> {
        let folder = data.path().join("voices");
        fs::create_dir_all(folder.join("samples"))?;
        Ok(Self { data: data.clone(), folder })
    }

    pub fn data(&self) -> &DataFolder {
        &self.data
    }

    /// Removes the files of profiles that are not in `ids`, and what was half written.
    pub fn keep_only(&self, ids: &[String]) -> io::Result<()> {
        for folder in [self.folder.clone(), self.folder.join("samples")] {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                let is_partial = path.extension().is_some_and(|extension| extension == "partial");
                let is_orphan = stem.starts_with(ID_PREFIX) && !ids.iter().any(|id| id == stem);
                if path.is_file() && (is_partial || is_orphan) {
                    tracing::info!(path = %path.display(), "what was left of a voice is removed");
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// What the voice is computed from.
    pub fn reference(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.wav"))
    }

    /// The same, to listen to.
    pub fn listening(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.ogg"))
    }

    /// The computed voice.
    fn computed(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.voice"))
    }

    /// What a preset voice says of itself.
    pub fn preset(&self, voice: &str) -> PathBuf {
        let name =
            voice.replace(|character: char| !character.is_ascii_alphanumeric() && !"._-".contains(character), "+");
        self.folder.join("samples").join(format!("{name}.ogg"))
    }

    pub fn write_sample(&self, id: &str, pcm: &Pcm) -> Result<(), VoiceError> {
        self.write(&self.reference(id), |file| audio::wav::write(pcm, file))?;
        self.write_ogg(&self.listening(id), pcm)
    }

    pub fn write_ogg(&self, path: &Path, pcm: &Pcm) -> Result<(), VoiceError> {
        let settings = EncoderSettings { bitrate: SAMPLE_BITRATE, complexity: 10, fec: false, expected_loss: 0 };
        let encode = |file: &mut Whole| -> Result<(), OggError> {
            let mut writer = OggOpusWriter::with(file, settings)?;
            writer.push(pcm)?;
            writer.finish().map(drop)
        };
        self.write(path, |file| encode(file).map_err(io::Error::other))?;
        Ok(())
    }

    pub fn read_reference(&self, id: &str) -> Result<Pcm, audio::wav::WavError> {
        audio::wav::read(self.data.read(&self.reference(id))?)
    }

    pub fn write_computed(&self, id: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.computed(id), |file| file.write_all(bytes))
    }

    pub fn read_computed(&self, id: &str) -> io::Result<Vec<u8>> {
        let bytes = self.data.read_at_most(&self.computed(id), LARGEST_VOICE)?;
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file of the voice is far too large"))
    }

    /// What was computed; it is to be computed again.
    pub fn remove_computed(&self, id: &str) {
        let _ = fs::remove_file(self.computed(id));
    }

    /// All of a profile's; those that are not there are gone already.
    pub fn remove(&self, id: &str) {
        for path in [self.reference(id), self.listening(id), self.computed(id)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a file of a deleted voice is left; it goes at the next start");
                }
                _ => {}
            }
        }
    }

    /// Whole or not there, and the folder is synced: after that a power cut takes nothing back.
    fn write(&self, path: &Path, fill: impl FnOnce(&mut Whole) -> io::Result<()>) -> io::Result<()> {
        self.data.write(path, fill)?;
        #[cfg(unix)]
        File::open(path.parent().unwrap_or(&self.folder))?.sync_all()?;
        Ok(())
    }
}
